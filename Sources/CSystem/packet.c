// Packet sockets: one an interface, ETH_P_ALL with a classic BPF filter, frames in batches.
#define _GNU_SOURCE
#include "batch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

static int attach_filter(int fd, uint16_t ethertype) {
  // A frame of a VLAN with a number belongs to that VLAN's interface, not to this port; VLAN 0 carries only a priority.
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ethertype, 0, 7),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 5, 0),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG)),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x0fff, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, 0x40000),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0) return -errno;
  return 0;
}

static void set_buffers(int fd, int bytes) {
  // The limit of the plain options is a sysctl; the forced ones need CAP_NET_ADMIN. Either way more is only better.
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static int join(int fd, int32_t ifindex, uint64_t group) {
  struct packet_mreq request = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6};
  for (int i = 0; i < 6; i++) request.mr_address[i] = (uint8_t)(group >> (40 - 8 * i));
  return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request) < 0 ? -errno : 0;
}

static int set_up(int fd, int32_t ifindex, const cs_packet_options *options) {
  int on = 1;
  int result = attach_filter(fd, options->ethertype);
  if (result < 0) return result;
  // Before Linux 4.20 unknown: the filter refuses the copies then, at a cost for each frame sent.
  (void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  if (setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &options->priority, sizeof options->priority) < 0) return -errno;
  set_buffers(fd, options->buffer_bytes);
  if (options->bypass_qdisc && setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) < 0) return -errno;
  for (int i = 0; i < 2; i++) {
    if (options->groups[i] == 0) continue;
    result = join(fd, ifindex, options->groups[i]);
    if (result < 0) return result;
  }
  struct sockaddr_ll address = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = ifindex};
  return bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

int32_t cs_packet_open(int32_t ifindex, const cs_packet_options *options) {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int result = set_up(fd, ifindex, options);
  if (result < 0) {
    close(fd);
    return result;
  }
  return fd;
}

int64_t cs_packet_drops(int32_t fd) {
  struct tpacket_stats statistics;
  socklen_t length = sizeof statistics;
  if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) < 0) return -errno;
  return statistics.tp_drops;
}

int32_t cs_packet_interface(int32_t fd) {
  struct sockaddr_ll address;
  socklen_t length = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) return -errno;
  return address.sll_ifindex;
}

cs_batch *cs_batch_create(void) {
  cs_batch *batch = calloc(1, sizeof *batch);
  if (!batch) abort();
  for (int i = 0; i < CS_BATCH_FRAMES; i++) {
    batch->messages[i].msg_hdr.msg_iov = &batch->vectors[i];
    batch->messages[i].msg_hdr.msg_iovlen = 1;
  }
  return batch;
}

void cs_batch_destroy(cs_batch *batch) {
  free(batch->peers);
  free(batch);
}

void cs_batch_set(cs_batch *batch, int32_t place, uint8_t *bytes, uint32_t length) {
  batch->vectors[place].iov_base = bytes;
  batch->vectors[place].iov_len = length;
}

int32_t cs_batch_receive(int32_t fd, cs_batch *batch, int32_t count) {
  if (batch->peers) cs_batch_expect_peers(batch, count);
  long n = syscall(SYS_recvmmsg, fd, batch->messages, (unsigned)count, MSG_DONTWAIT, NULL);
  return n < 0 ? -errno : (int32_t)n;
}

uint32_t cs_batch_length(const cs_batch *batch, int32_t place) {
  const struct mmsghdr *message = &batch->messages[place];
  return message->msg_hdr.msg_flags & MSG_TRUNC ? 0 : message->msg_len;
}

int32_t cs_batch_send(int32_t fd, cs_batch *batch, int32_t count) {
  long n = syscall(SYS_sendmmsg, fd, batch->messages, (unsigned)count, MSG_DONTWAIT);
  return n < 0 ? -errno : (int32_t)n;
}

int32_t cs_interface_index(const char *name) {
  unsigned index = if_nametoindex(name);
  return index == 0 ? -ENODEV : (int32_t)index;
}
