// Threads beside the loop, and the mailboxes that two of them talk through.
#define _GNU_SOURCE
#include "csystem_thread.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

struct cs_mailbox {
  int descriptor;
  // Each is written by one side only; they wrap.
  _Alignas(64) atomic_uint posted;
  _Alignas(64) atomic_uint taken;
  void *letters[CS_MAILBOX_LETTERS];
};

cs_mailbox *cs_mailbox_create(void) {
  cs_mailbox *box = aligned_alloc(64, sizeof *box);
  if (!box) abort();
  box->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (box->descriptor < 0) abort();
  atomic_init(&box->posted, 0);
  atomic_init(&box->taken, 0);
  return box;
}

void cs_mailbox_destroy(cs_mailbox *box) {
  close(box->descriptor);
  free(box);
}

int32_t cs_mailbox_descriptor(const cs_mailbox *box) { return box->descriptor; }

int32_t cs_mailbox_post(cs_mailbox *box, void *letter) {
  unsigned at = atomic_load_explicit(&box->posted, memory_order_relaxed);
  if (at - atomic_load_explicit(&box->taken, memory_order_acquire) == CS_MAILBOX_LETTERS) return 0;
  box->letters[at % CS_MAILBOX_LETTERS] = letter;
  atomic_store_explicit(&box->posted, at + 1, memory_order_release);
  uint64_t one = 1;
  // It fails only where the count is full, and then it is readable anyway.
  ssize_t written = write(box->descriptor, &one, sizeof one);
  (void)written;
  return 1;
}

void cs_mailbox_clear(cs_mailbox *box) {
  uint64_t count;
  while (read(box->descriptor, &count, sizeof count) < 0 && errno == EINTR) {}
}

void *cs_mailbox_take(cs_mailbox *box) {
  unsigned at = atomic_load_explicit(&box->taken, memory_order_relaxed);
  if (at == atomic_load_explicit(&box->posted, memory_order_acquire)) return NULL;
  void *letter = box->letters[at % CS_MAILBOX_LETTERS];
  atomic_store_explicit(&box->taken, at + 1, memory_order_release);
  return letter;
}

int32_t cs_mailbox_count(const cs_mailbox *box) {
  cs_mailbox *open = (cs_mailbox *)box;
  return (int32_t)(atomic_load_explicit(&open->posted, memory_order_acquire) -
                   atomic_load_explicit(&open->taken, memory_order_acquire));
}

struct beginning {
  char name[16];
  void (*body)(void *);
  void *argument;
};

static void *begin(void *raw) {
  struct beginning beginning = *(struct beginning *)raw;
  free(raw);
  prctl(PR_SET_NAME, beginning.name);
  // Nothing any of them does is urgent to the microsecond, as the loop is: timers may come together.
  prctl(PR_SET_TIMERSLACK, 5000000ul, 0, 0, 0);
  beginning.body(beginning.argument);
  return NULL;
}

int32_t cs_thread_start(const char *name, void (*body)(void *argument), void *argument, size_t stack_bytes) {
  struct beginning *beginning = malloc(sizeof *beginning);
  if (!beginning) return -ENOMEM;
  *beginning = (struct beginning){.body = body, .argument = argument};
  strncpy(beginning->name, name, sizeof beginning->name - 1);
  pthread_attr_t attributes;
  sigset_t all, before;
  sigfillset(&all);
  int result = pthread_attr_init(&attributes);
  // Some boards and libraries want more.
  size_t least = (size_t)PTHREAD_STACK_MIN;
  if (result == 0) result = pthread_attr_setstacksize(&attributes, stack_bytes > least ? stack_bytes : least);
  if (result == 0) result = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (result == 0) {
    pthread_t thread;
    // What is blocked when it is made stays blocked in it.
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&thread, &attributes, begin, beginning);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
  }
  pthread_attr_destroy(&attributes);
  if (result != 0) free(beginning);
  return -result;
}

int32_t cs_wait_readable(int32_t fd, int64_t timeout_ns) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  struct timespec time = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
  int n = ppoll(&p, 1, timeout_ns < 0 ? NULL : &time, NULL);
  if (n < 0) return errno == EINTR ? 0 : -errno;
  return n;
}
