// What a pair of packet sockets can carry with nothing in between: the limit that the bearer is measured against.
#define _GNU_SOURCE
#include "clab.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { batch = 64, frame_limit = 9018 };

struct side {
  const char *network, *interface;
  size_t frame_bytes;
  uint64_t frames;
  int failed;
};

static atomic_int ended;

static void run_batches(struct side *side, int fd, int sends) {
  static const unsigned char header[] = {0x01, 0x80, 0xC2, 0, 0, 0x0E, 2, 0, 0, 0, 0, 1, 0x88, 0xB5};
  unsigned char frame[frame_limit] = {0};
  memcpy(frame, header, sizeof header);
  struct iovec vectors[batch];
  struct mmsghdr messages[batch];
  memset(messages, 0, sizeof messages);
  // Every receiving message may take the same bytes: nobody reads them.
  for (int i = 0; i < batch; i++) {
    vectors[i] = (struct iovec){frame, side->frame_bytes};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  struct timeval patience = {0, 50000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  while (!ended) {
    int n = sends ? sendmmsg(fd, messages, batch, 0) : recvmmsg(fd, messages, batch, MSG_WAITFORONE, NULL);
    if (n > 0) side->frames += (uint64_t)n;
    else if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) side->failed = errno;
    if (side->failed) return;
  }
}

static void *run_side(struct side *side, int sends) {
  int saved = lab_enter_network(side->network);
  int fd = saved < 0 ? saved : lab_packet_socket(side->interface, 0);
  if (fd < 0) side->failed = -fd;
  else {
    run_batches(side, fd, sends);
    close(fd);
  }
  if (saved >= 0) lab_leave_network(saved);
  return NULL;
}

static void *run_sender(void *side) { return run_side(side, 1); }
static void *run_receiver(void *side) { return run_side(side, 0); }

int lab_packet_rate(
    const char *from, const char *out, const char *to, const char *in, size_t frame_bytes, int milliseconds,
    double *frames_a_second) {
  if (frame_bytes < 14 || frame_bytes > frame_limit) return -EINVAL;
  struct side sender = {.network = from, .interface = out, .frame_bytes = frame_bytes};
  struct side receiver = {.network = to, .interface = in, .frame_bytes = frame_bytes};
  pthread_t threads[2];
  ended = 0;
  int failed = pthread_create(&threads[0], NULL, run_receiver, &receiver);
  if (failed) return -failed;
  failed = pthread_create(&threads[1], NULL, run_sender, &sender);
  if (!failed) {
    struct timespec length = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&length, NULL);
  }
  ended = 1;
  if (!failed) pthread_join(threads[1], NULL);
  pthread_join(threads[0], NULL);
  *frames_a_second = (double)receiver.frames * 1000 / milliseconds;
  if (!failed) failed = sender.failed ? sender.failed : receiver.failed;
  return -failed;
}
