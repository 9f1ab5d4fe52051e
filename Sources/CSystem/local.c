// The run directory: its lock and the control socket.
#define _GNU_SOURCE
#include "csystem_local.h"
#include "decimal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int32_t cs_run_directory(const char *path) {
  if (mkdir(path, 0700) == 0) return 0;
  if (errno != EEXIST) return -errno;
  struct stat s;
  if (stat(path, &s) < 0) return -errno;
  return S_ISDIR(s.st_mode) ? 0 : -ENOTDIR;
}

static int32_t holder_of(int fd) {
  char text[16];
  ssize_t n = pread(fd, text, sizeof text - 1, 0);
  if (n <= 0) return 0;
  text[n] = 0;
  return atoi(text);
}

int32_t cs_pid_lock(const char *path, int32_t *holder) {
  *holder = 0;
  for (;;) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
      int code = errno;
      *holder = holder_of(fd);
      close(fd);
      return -code;
    }
    // The one before us may have removed the file between our open and our lock: then we hold a lock nobody sees.
    struct stat ours, there;
    if (fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
        ours.st_dev == there.st_dev) {
      char text[24];
      size_t length = format_decimal(text, getpid());
      text[length++] = '\n';
      if (ftruncate(fd, 0) < 0 || pwrite(fd, text, length, 0) != (ssize_t)length) {
        int code = errno;
        close(fd);
        return -code;
      }
      return fd;
    }
    close(fd);
  }
}

int32_t cs_unlink(const char *path) { return unlink(path) < 0 ? -errno : 0; }

static int32_t address_of(struct sockaddr_un *address, const char *path) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
  strcpy(address->sun_path, path);
  return 0;
}

int32_t cs_local_listen(const char *path, int32_t backlog) {
  struct sockaddr_un address;
  int32_t result = address_of(&address, path);
  if (result < 0) return result;
  if (unlink(path) < 0 && errno != ENOENT) return -errno;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  mode_t before = umask(0177);
  int bound = bind(fd, (struct sockaddr *)&address, sizeof address);
  int code = errno;
  umask(before);
  if (bound == 0 && listen(fd, backlog) == 0) return fd;
  if (bound == 0) code = errno;
  close(fd);
  return -code;
}

int32_t cs_local_accept(int32_t fd) {
  int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return -errno;
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || (peer.uid != 0 && peer.uid != geteuid())) {
    close(client);
    return -EPERM;
  }
  return client;
}

int32_t cs_local_patience(int32_t fd, int32_t milliseconds) {
  struct timeval limit = {milliseconds / 1000, milliseconds % 1000 * 1000};
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0) return -errno;
  return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ? -errno : 0;
}

int32_t cs_local_connect(const char *path, int32_t milliseconds) {
  struct sockaddr_un address;
  int32_t result = address_of(&address, path);
  if (result < 0) return result;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  // A stopped process's backlog fills up: without a limit the next client would wait for it here.
  if (cs_local_patience(fd, milliseconds) < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    int code = errno;
    close(fd);
    return -code;
  }
  return fd;
}

int64_t cs_receive(int32_t fd, void *bytes, size_t count) {
  ssize_t n;
  do n = recv(fd, bytes, count, 0);
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

int64_t cs_send(int32_t fd, const void *bytes, size_t count) {
  ssize_t n;
  do n = send(fd, bytes, count, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

int32_t cs_print(const void *bytes, size_t count) {
  const uint8_t *at = bytes;
  while (count > 0) {
    ssize_t n = write(STDOUT_FILENO, at, count);
    if (n < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    at += n;
    count -= (size_t)n;
  }
  return 0;
}

int32_t cs_output_is_terminal(void) { return isatty(STDOUT_FILENO); }
