// The log's way to standard error: a pipe, and a thread that copies what it holds. Standard error may be a terminal that
// somebody has stopped, or a file on a medium that is busy: there poll says it can be written to, and write waits.
#define _GNU_SOURCE
#include "csystem_log.h"
#include "csystem_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// The ends of the pipe, and what is readable when all is copied; -1 while there is none.
static int pipe_in = -1;
static int pipe_out = -1;
static int copied = -1;

// Lines that standard error refused.
static atomic_uint refused;

// How many of the bytes it took.
static size_t put(const char *bytes, size_t count) {
  size_t done = 0;
  while (done < count) {
    ssize_t n = write(STDERR_FILENO, bytes + done, count - done);
    if (n > 0) {
      done += (size_t)n;
    } else if (n < 0 && errno == EAGAIN) {
      struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
      poll(&p, 1, -1);
    } else if (n == 0 || errno != EINTR) {
      break;
    }
  }
  return done;
}

static void copy(void *unused) {
  (void)unused;
  char buffer[4096];
  size_t held = 0;
  // What stands at the end of the log is a part of a line.
  int is_torn = 0;
  for (;;) {
    ssize_t count = read(pipe_out, buffer + held, sizeof buffer - held);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    held += (size_t)count;
    // Whole lines only, so that it is known which of them are refused.
    for (size_t begun = 0;;) {
      char *end = memchr(buffer + begun, '\n', held - begun);
      if (!end) {
        held -= begun;
        memmove(buffer, buffer + begun, held);
        if (held == sizeof buffer) held = 0;
        break;
      }
      size_t length = (size_t)(end + 1 - (buffer + begun));
      if (is_torn && put("\n", 1) == 1) is_torn = 0;
      size_t done = is_torn ? 0 : put(buffer + begun, length);
      if (done < length) {
        atomic_fetch_add(&refused, 1);
        if (done > 0) is_torn = 1;
      }
      begun += length;
    }
  }
  uint64_t one = 1;
  ssize_t written = write(copied, &one, sizeof one);
  (void)written;
}

int32_t cs_log_begin(void) {
  if (pipe_in >= 0) return 0;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
  copied = eventfd(0, EFD_CLOEXEC);
  int32_t result = copied < 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
  pipe_out = ends[0];
  if (result == 0) result = cs_thread_start("log", copy, NULL, 32 * 1024);
  if (result < 0) {
    close(ends[0]);
    close(ends[1]);
    if (copied >= 0) close(copied);
    pipe_out = copied = -1;
    return result;
  }
  pipe_in = ends[1];
  return 0;
}

void cs_log_end(int64_t timeout_ns) {
  if (pipe_in < 0) return;
  close(pipe_in);
  pipe_in = -1;
  // A thread that still waits for its reader ends with the process, and has the other descriptors until then.
  if (cs_wait_readable(copied, timeout_ns) != 1) return;
  close(pipe_out);
  close(copied);
  pipe_out = copied = -1;
}

void cs_log_settle(int64_t limit_ns) {
  struct timespec pause = {.tv_nsec = 1000000};
  int waiting = 0;
  for (int64_t passed = 0; passed < limit_ns; passed += pause.tv_nsec) {
    if (pipe_out < 0 || ioctl(pipe_out, FIONREAD, &waiting) < 0) return;
    // And a moment for those that it has read.
    if (waiting == 0) limit_ns = limit_ns < passed + 3000000 ? limit_ns : passed + 3000000;
    nanosleep(&pause, NULL);
  }
}

uint32_t cs_log_refused(void) { return atomic_exchange(&refused, 0); }

int32_t cs_log_write(const void *bytes, size_t count) {
  if (pipe_in < 0) {
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&p, 1, 0) <= 0) return 0;
    if (p.revents & POLLNVAL) return -EBADF;
  }
  // A pipe takes a line of at most PIPE_BUF bytes whole, or not at all.
  ssize_t n = write(pipe_in < 0 ? STDERR_FILENO : pipe_in, bytes, count);
  if (n < 0) return errno == EAGAIN ? 0 : -errno;
  return 1;
}

int32_t cs_log_is_journal(void) {
  const char *stream = getenv("JOURNAL_STREAM");
  struct stat s;
  if (!stream || fstat(STDERR_FILENO, &s) < 0) return 0;
  char *end;
  if (strtoull(stream, &end, 10) != s.st_dev || *end != ':') return 0;
  return strtoull(end + 1, NULL, 10) == s.st_ino;
}
