// The TUN device under the bearer.
#define _GNU_SOURCE
#include "csystem_net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#endif
#ifndef TUN_F_USO6
#define TUN_F_USO6 0x40
#endif
#ifndef IFF_TUN_EXCL
#define IFF_TUN_EXCL 0x8000
#endif

static int32_t attach(int32_t fd, const char *name, int32_t *step) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
  *step = 1;
  // An existing device answers EBUSY with EXCL; say EEXIST, which is what it is.
  if (ioctl(fd, TUNSETIFF, &request) < 0) return errno == EBUSY ? -EEXIST : -errno;
  *step = 2;
  int header = 10;
  if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0) return -errno;
  unsigned long base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctl(fd, TUNSETOFFLOAD, base | TUN_F_USO4 | TUN_F_USO6) < 0 && ioctl(fd, TUNSETOFFLOAD, base) < 0)
    return -errno;
  return 0;
}

int32_t cs_tun_open(const char *name, int32_t *step) {
  *step = 0;
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -errno;
  int32_t result = attach(fd, name, step);
  if (result < 0) {
    close(fd);
    return result;
  }
  return fd;
}

int32_t cs_tun_replace(int32_t fd, int32_t fresh) {
  int result = dup3(fresh, fd, O_CLOEXEC) < 0 ? -errno : 0;
  close(fresh);
  return result;
}

int32_t cs_tun_detach(int32_t fd) {
  // A timer that is never set: nothing to read, and what is written is refused.
  int idle = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  return idle < 0 ? -errno : cs_tun_replace(fd, idle);
}

int64_t cs_tun_read(int32_t fd, void *bytes, size_t count) {
  ssize_t n = read(fd, bytes, count);
  return n < 0 ? -errno : n;
}

int64_t cs_tun_write(int32_t fd, const void *bytes, size_t count) {
  ssize_t n = write(fd, bytes, count);
  return n < 0 ? -errno : n;
}
