// What it costs to be woken, send a frame on each port and receive one from each neighbour, every few milliseconds, and to
// do nothing else: the limit that hellos are measured against.
#define _GNU_SOURCE
#include "clab.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { frame_limit = 1514, port_limit = 64, gathering = 200000 };

static const unsigned char header[] = {0x01, 0x80, 0xC2, 0, 0, 0x0E, 2, 0, 0, 0, 0, 1, 0x88, 0xB6};

struct neighbour {
  int fd;
  size_t frame_bytes;
  pthread_t thread;
};

// Answers each frame with one, as a neighbour does whose tick is drawn to ours; an empty wait of 0.2 s ends it.
static void *answer(void *argument) {
  struct neighbour *own = argument;
  unsigned char frame[frame_limit] = {0}, heard[frame_limit];
  memcpy(frame, header, sizeof header);
  struct timeval patience = {0, 200000};
  setsockopt(own->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  while (recv(own->fd, heard, sizeof heard, 0) >= 0 || errno == EINTR)
    (void)!send(own->fd, frame, own->frame_bytes, MSG_DONTWAIT);
  return NULL;
}

static int64_t used(void) {
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int64_t tick(const int *ports, int count, size_t frame_bytes, int64_t interval, int64_t duration) {
  unsigned char frame[frame_limit] = {0}, heard[frame_limit];
  memcpy(frame, header, sizeof header);
  int64_t received = 0, next = lab_now(), end = next + duration;
  for (; next < end; next += interval) {
    lab_sleep_until(next);
    for (int i = 0; i < count; i++) (void)!send(ports[i], frame, frame_bytes, MSG_DONTWAIT);
    struct timespec moment = {.tv_nsec = gathering};
    nanosleep(&moment, NULL);
    for (int i = 0; i < count; i++) received += recv(ports[i], heard, sizeof heard, MSG_DONTWAIT) > 0;
  }
  return received;
}

int lab_hello_floor(
    const int *ports, const int *far, int count, size_t frame_bytes, int64_t interval, int64_t duration,
    struct lab_floor *floor) {
  if (count < 1 || count > port_limit || frame_bytes < sizeof header || frame_bytes > frame_limit || interval <= 0)
    return -EINVAL;
  struct neighbour neighbours[port_limit];
  int started = 0, failed = 0;
  for (; started < count && !failed; started += !failed) {
    neighbours[started] = (struct neighbour){.fd = far[started], .frame_bytes = frame_bytes};
    failed = pthread_create(&neighbours[started].thread, NULL, answer, &neighbours[started]);
  }
  int64_t before = used();
  if (!failed) floor->received = tick(ports, count, frame_bytes, interval, duration);
  floor->busy = used() - before;
  for (int i = 0; i < started; i++) pthread_join(neighbours[i].thread, NULL);
  return -failed;
}
