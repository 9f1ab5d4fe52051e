#define _GNU_SOURCE
#include "clab.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// <linux/ptrace.h> has the structure, and does not go together with <sys/ptrace.h>'s names: only what is used of it.
struct call_stop {
  uint8_t op, padding[3];
  uint32_t arch;
  uint64_t instruction_pointer, stack_pointer;
  uint64_t number, arguments[6];
};
enum { stop_entry = 1, stop_exit = 2 };

static long read_stop(pid_t pid, struct call_stop *stop) {
  return ptrace((enum __ptrace_request)0x420e, pid, sizeof *stop, stop);  // PTRACE_GET_SYSCALL_INFO
}

// Without AT_SYSINFO_EHDR a C library finds no clock in the process itself (vDSO) and asks the kernel each time. At the
// first instruction the stack holds argc, argv, 0, the environment, 0 and the auxiliary vector (System V ABI, 3.4.1).
static int hide_vdso(pid_t pid, uint64_t sp) {
  errno = 0;
  uint64_t at = sp + 8 * (2 + (uint64_t)ptrace(PTRACE_PEEKDATA, pid, sp, 0));
  while (!errno && ptrace(PTRACE_PEEKDATA, pid, at, 0)) at += 8;
  for (at += 8; !errno; at += 16) {
    long kind = ptrace(PTRACE_PEEKDATA, pid, at, 0);
    if (errno || kind == AT_NULL) break;
    if (kind == AT_SYSINFO_EHDR && ptrace(PTRACE_POKEDATA, pid, at, AT_IGNORE) < 0) break;
  }
  return -errno;
}

static int is_wall(uint64_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_TAI;
}

// A wait or a timer that ends by the wall clock, or a reading that is not made to jump.
static int is_beyond_us(const struct call_stop *stop) {
  switch (stop->number) {
    case SYS_gettimeofday:
#ifdef SYS_time
    case SYS_time:
#endif
      return 1;
    case SYS_timerfd_create:
    case SYS_timer_create:
    case SYS_clock_nanosleep: return is_wall(stop->arguments[0]);
    case SYS_futex: return (stop->arguments[1] & 256) != 0;  // FUTEX_CLOCK_REALTIME
    default: return 0;
  }
}

int lab_run_with_jumping_clock(char *const argv[]) {
  static const int64_t years[] = {10, -30, 60, -5, 0};
  unsigned long readings = 0, other = 0;
  struct call_stop stop = {0};
  int status;
  pid_t pid = fork();
  if (pid < 0) return 1;
  if (!pid) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    execvp(argv[0], argv);
    _exit(127);
  }
  // What ends a group of processes ends the program, and this one after it.
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) return 1;
  ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC);
  if (read_stop(pid, &stop) < 0 || hide_vdso(pid, stop.stack_pointer) < 0) {
    perror("the program's stack cannot be changed");
    kill(pid, SIGKILL);
    return 1;
  }
  uint64_t result = 0;
  int signal_number = 0;
  for (;;) {
    ptrace(PTRACE_SYSCALL, pid, 0, signal_number);
    signal_number = 0;
    if (waitpid(pid, &status, 0) != pid) return 1;
    if (!WIFSTOPPED(status)) break;
    if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
      // A script's interpreter, or a program that was started by another in its place.
      if (read_stop(pid, &stop) > 0) hide_vdso(pid, stop.stack_pointer);
      continue;
    }
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      signal_number = WSTOPSIG(status);
      continue;
    }
    if (read_stop(pid, &stop) < 0) continue;
    if (stop.op == stop_entry) {
      result = stop.number == SYS_clock_gettime && is_wall(stop.arguments[0]) ? stop.arguments[1] : 0;
      if (is_beyond_us(&stop)) {
        other++;
        fprintf(stderr, "jumping clock: system call %llu goes by the wall clock\n", (unsigned long long)stop.number);
      }
    } else if (stop.op == stop_exit && result) {
      errno = 0;
      long seconds = ptrace(PTRACE_PEEKDATA, pid, result, 0);
      if (!errno) ptrace(PTRACE_POKEDATA, pid, result, seconds + years[readings++ % 5] * 365 * 86400);
      result = 0;
    }
  }
  fprintf(stderr, "jumping clock: %lu readings, %lu other uses\n", readings, other);
  if (other) return 99;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
