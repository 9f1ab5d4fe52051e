// A stream of numbered datagrams at an even pace, each stamped when it leaves and when it arrives. Both ends run above the
// processes that are measured, so that what they see is the network's lateness and not their own.
#define _GNU_SOURCE
#include "clab.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { largest_datagram = 9000, nanoseconds = 1000000000 };

int lab_real_time(int priority) {
  struct sched_param wanted = {.sched_priority = priority};
  return -pthread_setschedparam(pthread_self(), SCHED_FIFO, &wanted);
}

void lab_normal_time(void) {
  struct sched_param wanted = {0};
  pthread_setschedparam(pthread_self(), SCHED_OTHER, &wanted);
}

int64_t lab_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * nanoseconds + time.tv_nsec;
}

void lab_sleep_until(int64_t when) {
  struct timespec time = {when / nanoseconds, when % nanoseconds};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {}
}

int64_t lab_stop_for(pid_t pid, int64_t pause) {
  lab_real_time(60);
  int64_t begun = lab_now();
  kill(pid, SIGSTOP);
  lab_sleep_until(begun + pause);
  kill(pid, SIGCONT);
  int64_t took = lab_now() - begun;
  lab_normal_time();
  return took;
}

void lab_set(int *flag) { __atomic_store_n(flag, 1, __ATOMIC_RELEASE); }
static int is_set(const int *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
size_t lab_count(const size_t *count) { return __atomic_load_n(count, __ATOMIC_ACQUIRE); }

void lab_send_paced(
    int fd, const void *address, uint32_t address_bytes, const struct lab_pace *pace, int64_t *sent, size_t capacity,
    size_t *count, const int *ended) {
  unsigned char datagram[largest_datagram];
  memset(datagram, 0x5a, sizeof datagram);
  int64_t next = lab_now();
  for (size_t number = 0; number < capacity && !is_set(ended); number++) {
    int is_large = pace->large_every && number % pace->large_every == 0;
    size_t bytes = is_large ? pace->large_bytes : pace->bytes;
    uint64_t big = htobe64(number);
    memcpy(datagram, &big, sizeof big);
    sent[number] = lab_now();
    // A refusal is as good as a loss, and so is a socket whose datagrams wait for somebody: the stream goes on.
    (void)!sendto(fd, datagram, bytes < sizeof datagram ? bytes : sizeof datagram, MSG_DONTWAIT, address, address_bytes);
    __atomic_store_n(count, number + 1, __ATOMIC_RELEASE);
    next += pace->period;
    lab_sleep_until(next);
  }
}

void lab_receive_stamped(int fd, struct lab_arrival *arrivals, size_t capacity, size_t *count, const int *ended) {
  struct timeval patience = {0, 50000};
  int room = 4 << 20;
  uint64_t datagram[largest_datagram / sizeof(uint64_t)];
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  for (size_t n = 0; n < capacity && !is_set(ended);) {
    ssize_t bytes = recv(fd, datagram, sizeof datagram, 0);
    if (bytes < (ssize_t)sizeof *datagram) continue;
    arrivals[n].time = lab_now();
    arrivals[n].number = be64toh(datagram[0]);
    __atomic_store_n(count, ++n, __ATOMIC_RELEASE);
  }
}
