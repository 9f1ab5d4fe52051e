// epoll and signals.
#define _GNU_SOURCE
#include "csystem_events.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef __NR_epoll_pwait2
#define __NR_epoll_pwait2 441
#endif

#define EVENTS_AT_ONCE 64

int32_t cs_epoll_create(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static int32_t control(int32_t epoll, int operation, int32_t fd, uint32_t interest, uint64_t tag) {
  struct epoll_event e = {.data.u64 = tag};
  if (interest & CS_READABLE) e.events |= EPOLLIN;
  if (interest & CS_WRITABLE) e.events |= EPOLLOUT;
  return epoll_ctl(epoll, operation, fd, &e) < 0 ? -errno : 0;
}

int32_t cs_epoll_add(int32_t epoll, int32_t fd, uint32_t interest, uint64_t tag) {
  return control(epoll, EPOLL_CTL_ADD, fd, interest, tag);
}

int32_t cs_epoll_change(int32_t epoll, int32_t fd, uint32_t interest, uint64_t tag) {
  return control(epoll, EPOLL_CTL_MOD, fd, interest, tag);
}

int32_t cs_epoll_remove(int32_t epoll, int32_t fd) { return control(epoll, EPOLL_CTL_DEL, fd, 0, 0); }

static int wait_for(int32_t epoll, struct epoll_event *events, int limit, int64_t timeout_ns) {
  // The kernel's own layout on every architecture: this call came after the 64-bit time change.
  struct { int64_t seconds, nanoseconds; } time = {timeout_ns / 1000000000, timeout_ns % 1000000000};
  static int missing;
  if (!missing) {
    long n = syscall(__NR_epoll_pwait2, epoll, events, limit, timeout_ns < 0 ? NULL : &time, NULL, 0);
    if (n >= 0 || errno != ENOSYS) return (int)n;
    missing = 1;
  }
  if (timeout_ns < 0) return epoll_wait(epoll, events, limit, -1);
  int64_t ms = (timeout_ns + 999999) / 1000000;
  return epoll_wait(epoll, events, limit, ms > 1000000 ? 1000000 : (int)ms);
}

int32_t cs_epoll_wait(int32_t epoll, cs_event *events, int32_t limit, int64_t timeout_ns) {
  struct epoll_event found[EVENTS_AT_ONCE];
  if (limit > EVENTS_AT_ONCE) limit = EVENTS_AT_ONCE;
  int n = wait_for(epoll, found, limit, timeout_ns);
  if (n < 0) return errno == EINTR ? 0 : -errno;
  for (int i = 0; i < n; i++) {
    events[i].tag = found[i].data.u64;
    events[i].readiness = (found[i].events & EPOLLIN ? CS_READABLE : 0) |
                          (found[i].events & EPOLLOUT ? CS_WRITABLE : 0) |
                          (found[i].events & (EPOLLERR | EPOLLHUP) ? CS_BROKEN : 0);
  }
  return n;
}

void cs_rest(int64_t ns) {
  struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  nanosleep(&time, NULL);
}

int32_t cs_signals_open(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -errno;
  int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return fd < 0 ? -errno : fd;
}

int32_t cs_signals_next(int32_t fd) {
  struct signalfd_siginfo information;
  ssize_t n = read(fd, &information, sizeof information);
  if (n < 0) return errno == EAGAIN ? 0 : -errno;
  return n == sizeof information ? (int32_t)information.ssi_signo : 0;
}
