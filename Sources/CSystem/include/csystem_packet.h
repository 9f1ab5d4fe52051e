// Packet sockets and batches of frames. Declarations need only <stdint.h> and <stddef.h>.
#ifndef CSYSTEM_PACKET_H
#define CSYSTEM_PACKET_H

#include <stddef.h>
#include <stdint.h>

/// Frames in one batch at most.
#define CS_BATCH_FRAMES 64

/// The kernel's message headers for one batch, allocated once.
typedef struct cs_batch cs_batch;

typedef struct {
  uint16_t ethertype;
  /// SO_PRIORITY: 7 is TC_PRIO_CONTROL.
  int32_t priority;
  /// Asked of SO_RCVBUFFORCE and SO_SNDBUFFORCE, bytes.
  int32_t buffer_bytes;
  /// Nonzero: past the queueing discipline, straight to the driver.
  int32_t bypass_qdisc;
  /// Group addresses to receive, in the low 48 bits; 0 is none.
  uint64_t groups[2];
} cs_packet_options;

/// A nonblocking AF_PACKET socket on ETH_P_ALL of one interface that passes `ethertype` only (untagged or priority-tagged,
/// incoming). The filter is in place before it is bound, so nothing else slips in. The descriptor or -errno.
int32_t cs_packet_open(int32_t ifindex, const cs_packet_options *options);
/// Frames the kernel dropped at this socket since the last call, or -errno.
int64_t cs_packet_drops(int32_t fd);
/// The index of the interface it is bound to; -1 once that is gone, or -errno.
int32_t cs_packet_interface(int32_t fd);

/// Ends the process when there is no memory.
cs_batch *cs_batch_create(void);
void cs_batch_destroy(cs_batch *batch);
/// The frame of one place (below CS_BATCH_FRAMES): where it is, and its room or length in bytes. Stays until set again.
void cs_batch_set(cs_batch *batch, int32_t place, uint8_t *bytes, uint32_t length);
/// Receives up to `count` (at most CS_BATCH_FRAMES) frames into the first places. Their number, or -errno (-EAGAIN: none).
int32_t cs_batch_receive(int32_t fd, cs_batch *batch, int32_t count);
/// Bytes received in one place; 0 when the frame was longer than the room.
uint32_t cs_batch_length(const cs_batch *batch, int32_t place);
/// Sends the frames of the first `count` places. The number sent, at least 1, or -errno about the first.
int32_t cs_batch_send(int32_t fd, cs_batch *batch, int32_t count);

/// The number of the interface called `name`, or -errno.
int32_t cs_interface_index(const char *name);

#endif
