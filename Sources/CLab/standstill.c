// Whether a core ran at all. In a virtual machine it may not: then what runs on it is silent, whatever its priority.
#define _GNU_SOURCE
#include "clab.h"

#include <errno.h>
#include <sched.h>

enum { most_urgent = 99, watch_period = 2000000 };

int lab_cores(int *numbers, int capacity) {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) < 0) return -errno;
  int count = 0;
  for (int core = 0; core < CPU_SETSIZE && count < capacity; core++)
    if (CPU_ISSET(core, &cores)) numbers[count++] = core;
  return count;
}

static int take_core(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (core < 0 || core >= CPU_SETSIZE) return -EINVAL;
  CPU_SET(core, &cores);
  if (sched_setaffinity(0, sizeof cores, &cores) < 0) return -errno;
  return lab_real_time(most_urgent);
}

int lab_watch_core(
    int core, int64_t limit, struct lab_standstill *found, size_t capacity, size_t *count, const int *ended) {
  int failed = take_core(core);
  if (failed) return failed;
  int64_t last = lab_now();
  while (!__atomic_load_n(ended, __ATOMIC_ACQUIRE)) {
    lab_sleep_until(last + watch_period);
    int64_t time = lab_now();
    if (time - last >= limit && *count < capacity) {
      found[*count] = (struct lab_standstill){.begun = last, .ended = time};
      __atomic_store_n(count, *count + 1, __ATOMIC_RELEASE);
    }
    last = time;
  }
  lab_normal_time();
  return 0;
}

int lab_hold_core(int core, int64_t pause) {
  int failed = take_core(core);
  if (failed) return failed;
  int64_t end = lab_now() + pause;
  while (lab_now() < end) {}
  return 0;
}
