// Netlink sockets, the probe's sockets and small files. Messages are built and read in Swift.
#define _GNU_SOURCE
#include "csystem_net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif
#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif
#ifndef SOL_RAW
#define SOL_RAW 255
#endif
#define ICMP_FILTER_OPTION 1

static int32_t closed(int fd) {
  int32_t error = -errno;
  close(fd);
  return error;
}

int32_t cs_netlink_open(int32_t protocol, const uint32_t *groups, int32_t group_count, int32_t receive_bytes,
                        int32_t nonblocking) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), protocol);
  if (fd < 0) return -errno;
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return closed(fd);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof receive_bytes) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  int one = 1;
  setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof one);
  for (int32_t i = 0; i < group_count; i++) {
    int group = (int)groups[i];
    if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) return closed(fd);
  }
  if (!nonblocking) {
    struct timeval second = {.tv_sec = 1};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
  }
  return fd;
}

int64_t cs_netlink_send(int32_t fd, const void *bytes, size_t count) {
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  ssize_t n;
  do n = sendto(fd, bytes, count, 0, (struct sockaddr *)&kernel, sizeof kernel);
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

int64_t cs_netlink_receive(int32_t fd, void *bytes, size_t count) {
  for (int strangers = 0; strangers < 64; strangers++) {
    struct sockaddr_nl sender;
    struct iovec io = {.iov_base = bytes, .iov_len = count};
    struct msghdr header = {
        .msg_name = &sender, .msg_namelen = sizeof sender, .msg_iov = &io, .msg_iovlen = 1};
    ssize_t n = recvmsg(fd, &header, 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    if (header.msg_namelen != sizeof sender || sender.nl_pid != 0) continue;
    if (header.msg_flags & MSG_TRUNC) return -EMSGSIZE;
    return n;
  }
  return -EAGAIN;
}

int32_t cs_probe_open_echo(int32_t ipv6) {
  int type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  int fd = ipv6 ? socket(AF_INET6, type, IPPROTO_ICMPV6) : socket(AF_INET, type, IPPROTO_ICMP);
  if (fd < 0) return -errno;
  int room = 16384;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  if (ipv6) {
    struct icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
    if (setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter) < 0) return closed(fd);
  } else {
    uint32_t refused = ~(uint32_t)1;  // all but type 0, echo reply
    if (setsockopt(fd, SOL_RAW, ICMP_FILTER_OPTION, &refused, sizeof refused) < 0) return closed(fd);
  }
  return fd;
}

static socklen_t endpoint(struct sockaddr_storage *out, int32_t ipv6, const uint8_t *address, uint16_t port) {
  memset(out, 0, sizeof *out);
  if (ipv6) {
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    memcpy(&six->sin6_addr, address, 16);
    return sizeof *six;
  }
  struct sockaddr_in *four = (struct sockaddr_in *)out;
  four->sin_family = AF_INET;
  four->sin_port = htons(port);
  memcpy(&four->sin_addr, address, 4);
  return sizeof *four;
}

int32_t cs_probe_open_datagram(int32_t ipv6, const uint8_t *address, uint16_t *port) {
  int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int one = 1, room = 16384;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  if (ipv6) {
    setsockopt(fd, IPPROTO_IPV6, 78 /* IPV6_FREEBIND */, &one, sizeof one);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  } else {
    setsockopt(fd, IPPROTO_IP, 15 /* IP_FREEBIND */, &one, sizeof one);
  }
  struct sockaddr_storage where;
  socklen_t size = endpoint(&where, ipv6, address, 0);
  if (bind(fd, (struct sockaddr *)&where, size) < 0) return closed(fd);
  if (getsockname(fd, (struct sockaddr *)&where, &size) < 0) return closed(fd);
  *port = ntohs(ipv6 ? ((struct sockaddr_in6 *)&where)->sin6_port : ((struct sockaddr_in *)&where)->sin_port);
  return fd;
}

int64_t cs_probe_send(int32_t fd, int32_t ipv6, const uint8_t *address, uint16_t port, const void *bytes,
                      size_t count) {
  struct sockaddr_storage where;
  socklen_t size = endpoint(&where, ipv6, address, port);
  ssize_t n = sendto(fd, bytes, count, MSG_NOSIGNAL, (struct sockaddr *)&where, size);
  return n < 0 ? -errno : n;
}

int64_t cs_probe_receive(int32_t fd, void *bytes, size_t count) {
  ssize_t n = recv(fd, bytes, count, 0);
  return n < 0 ? -errno : n;
}

int32_t cs_net_index(const char *name) {
  unsigned index = if_nametoindex(name);
  return index == 0 ? -ENODEV : (int32_t)index;
}

int32_t cs_net_file_read(const char *path, void *bytes, size_t count) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t n = read(fd, bytes, count);
  if (n < 0) return closed(fd);
  close(fd);
  return (int32_t)n;
}

int32_t cs_net_file_write(const char *path, const void *bytes, size_t count) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t n = write(fd, bytes, count);
  if (n < 0) return closed(fd);
  close(fd);
  return (int32_t)n;
}

int32_t cs_net_file_exists(const char *path) { return access(path, F_OK) == 0; }

int32_t cs_net_random(void *bytes, size_t count) {
  return getrandom(bytes, count, 0) == (ssize_t)count ? 0 : -errno;
}

void cs_net_close(int32_t fd) {
  if (fd >= 0) close(fd);
}
