// Arguments, clock, privileges: process-wide calls.
#define _GNU_SOURCE
#include "csystem.h"
#include "csystem_process.h"
#include "decimal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef LIFELINE_COMMIT
#define LIFELINE_COMMIT "unknown"
#endif
#ifndef LIFELINE_VERSION
#define LIFELINE_VERSION "0.1"
#endif

static int saved_argc;
static char **saved_argv;

#ifdef __GLIBC__
// glibc hands argc, argv and envp to constructors, in static programs too.
__attribute__((constructor)) static void save_arguments(int argc, char **argv, char **envp) {
  (void)envp;
  saved_argc = argc;
  saved_argv = argv;
}
#else
// The kernel lays argc, argv and envp down one behind the other: backwards from envp, over argv's closing null, to the
// word that is the count of what was passed. No pointer is as small as a count.
__attribute__((constructor)) static void save_arguments(void) {
  char **argument = environ - 1;
  intptr_t count = 0;
  while ((intptr_t)argument[-1] != count) {
    argument--;
    count++;
  }
  saved_argc = (int)count;
  saved_argv = argument;
}
#endif

// Whoever started us may have closed 0, 1 or 2. The next file to be opened, the store for instance, would get that number,
// and what is printed would go there. A descriptor for reading only in its place refuses to be written to.
__attribute__((constructor)) static void fill_standard_descriptors(void) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    int filler = open("/dev/null", O_RDONLY);
    if (filler < 0) filler = open("/", O_RDONLY);
    if (filler != fd) _exit(1);
  }
}

int32_t cs_argc(void) { return saved_argc; }
const char *cs_argv(int32_t index) { return index >= 0 && index < saved_argc ? saved_argv[index] : NULL; }

const char *cs_build_commit(void) { return LIFELINE_COMMIT; }
const char *cs_build_version(void) { return LIFELINE_VERSION; }

int64_t cs_write(int32_t fd, const void *bytes, size_t count) {
  ssize_t n = write(fd, bytes, count);
  return n < 0 ? -errno : n;
}

uint64_t cs_monotonic_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int64_t cs_realtime_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const char *cs_environment(const char *name) { return getenv(name); }
int32_t cs_process_id(void) { return getpid(); }
uint32_t cs_effective_user(void) { return geteuid(); }

int32_t cs_close(int32_t fd) { return close(fd) < 0 ? -errno : 0; }
void cs_exit(int32_t status) { exit(status); }
void cs_abort(void) { abort(); }

int64_t cs_resident_kib(void) {
  char text[64];
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t n = read(fd, text, sizeof text - 1);
  int code = errno;
  close(fd);
  if (n < 0) return -code;
  text[n] = 0;
  // The second number: resident pages.
  const char *second = strchr(text, ' ');
  return second ? (int64_t)strtoul(second, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : -EIO;
}

int32_t cs_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0; }

int32_t cs_schedule_fifo(int32_t priority) {
  struct sched_param p = {.sched_priority = priority};
  // musl's sched_setscheduler always refuses.
  return syscall(SYS_sched_setscheduler, 0, SCHED_FIFO | SCHED_RESET_ON_FORK, &p) < 0 ? -errno : 0;
}

int32_t cs_timer_slack(uint64_t nanoseconds) {
  return prctl(PR_SET_TIMERSLACK, (unsigned long)nanoseconds, 0, 0, 0) < 0 ? -errno : 0;
}

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

// A locked stack that grows counts against RLIMIT_MEMLOCK once CAP_IPC_LOCK is gone, and a growth that is refused is a
// SIGSEGV: so it grows before. Only its end is touched; what lies between takes no memory.
static __attribute__((noinline)) void grow_stack(void) {
  struct rlimit limit;
  size_t size = 1 << 20;
  if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur / 4 < size) size = limit.rlim_cur / 4;
  volatile char *end = __builtin_alloca(size);
  end[0] = 0;
}

int32_t cs_lock_memory(void) {
  grow_stack();
  return mlockall(MCL_CURRENT | MCL_ONFAULT) < 0 ? -errno : 0;
}

int32_t cs_oom_score(int32_t adjustment) {
  char text[24];
  size_t length = format_decimal(text, adjustment);
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int32_t result = write(fd, text, length) < 0 ? -errno : 0;
  close(fd);
  return result;
}

int32_t cs_ignore_signals(void) {
  static const int ignored[] = {SIGPIPE, SIGUSR1, SIGUSR2, SIGXFSZ};
  struct sigaction action = {.sa_handler = SIG_IGN};
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
    if (sigaction(ignored[i], &action, NULL) < 0) return -errno;
  return 0;
}
