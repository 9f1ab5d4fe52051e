// UDP sockets of tunnels, and batches of datagrams with addresses. Declarations need only <stdint.h> and <stddef.h>.
#ifndef CSYSTEM_UDP_H
#define CSYSTEM_UDP_H

#include <stddef.h>
#include <stdint.h>

#include "csystem_packet.h"

typedef struct {
  int32_t ipv6;
  /// The address to bind, in network order (IPv4: the first four bytes), whether the host has it now or not; zero: any.
  uint64_t address[2];
  /// 0: any that is free.
  uint16_t port;
  /// SO_PRIORITY: 7 is TC_PRIO_CONTROL.
  int32_t priority;
  /// Asked of SO_RCVBUFFORCE and SO_SNDBUFFORCE, bytes.
  int32_t buffer_bytes;
} cs_udp_options;

/// The other end of a datagram, and this end's.
typedef struct {
  int32_t ipv6;
  /// Network order; IPv4: the first four bytes.
  uint64_t address[2];
  uint16_t port;
  /// This host's address; zero when the route is to choose it.
  uint64_t local[2];
  /// Where a received datagram came in; not used when sending.
  int32_t interface;
} cs_peer_address;

/// A nonblocking UDP socket of one family whose datagrams are not fragmented, whatever ICMP says of the path. The
/// descriptor or -errno.
int32_t cs_udp_open(const cs_udp_options *options);
/// The port it is bound to, or -errno.
int32_t cs_udp_port(int32_t fd);
/// The interface's MTU, bytes, or -errno.
int32_t cs_interface_mtu(int32_t ifindex);

/// A batch whose frames have addresses: those received tell them, those to send need them.
cs_batch *cs_batch_create_addressed(void);
/// Of the frame received in a place.
void cs_batch_peer(cs_batch *batch, int32_t place, cs_peer_address *out);
void cs_batch_set_peer(cs_batch *batch, int32_t place, const cs_peer_address *peer);

#endif
