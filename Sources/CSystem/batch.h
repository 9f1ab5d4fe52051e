// The batches of packet.c and udp.c. _GNU_SOURCE is defined before this.
#include "csystem_packet.h"

#include <netinet/in.h>
#include <sys/socket.h>

// Where a datagram came from or goes to, and the control message with the address of this host's it was sent to.
struct cs_peer {
  struct sockaddr_in6 name;  // the larger of the two families
  union {
    struct cmsghdr alignment;
    unsigned char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
  } control;
};

// The batches go to the kernel directly: musl's sendmmsg is a loop of sendmsg. Its msghdr is the kernel's as long as the
// padding is zero, which calloc sees to.
struct cs_batch {
  struct mmsghdr messages[CS_BATCH_FRAMES];
  struct iovec vectors[CS_BATCH_FRAMES];
  struct cs_peer *peers;  // one a frame, or NULL for frames without addresses
};

void cs_batch_expect_peers(cs_batch *batch, int32_t count);
