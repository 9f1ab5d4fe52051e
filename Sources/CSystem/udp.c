// UDP sockets of tunnels: many peers on one socket, datagrams in batches, no fragments.
#define _GNU_SOURCE
#include "csystem_udp.h"
#include "batch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef IP_FREEBIND
#define IP_FREEBIND 15
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
// Don't fragment, and do not believe ICMP about the path: IP_PMTUDISC_PROBE, IPV6_PMTUDISC_PROBE.
#define MTU_PROBE 3

static socklen_t fill(struct sockaddr_in6 *out, int ipv6, const void *address, uint16_t port) {
  memset(out, 0, sizeof *out);
  if (ipv6) {
    out->sin6_family = AF_INET6;
    out->sin6_port = htons(port);
    memcpy(&out->sin6_addr, address, 16);
    return sizeof *out;
  }
  struct sockaddr_in *four = (struct sockaddr_in *)out;
  four->sin_family = AF_INET;
  four->sin_port = htons(port);
  memcpy(&four->sin_addr, address, 4);
  return sizeof *four;
}

static int set_up(int fd, const cs_udp_options *options) {
  int on = 1, probe = MTU_PROBE, failed;
  if (options->ipv6) {
    failed = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0 ||
             setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof probe) < 0 ||
             setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) < 0;
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
  } else {
    failed = setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe) < 0 ||
             setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) < 0;
    (void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
  }
  if (failed) return -errno;
  (void)setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &options->priority, sizeof options->priority);
  int bytes = options->buffer_bytes;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  struct sockaddr_in6 name;
  socklen_t length = fill(&name, options->ipv6, options->address, options->port);
  return bind(fd, (struct sockaddr *)&name, length) < 0 ? -errno : 0;
}

int32_t cs_udp_open(const cs_udp_options *options) {
  int fd = socket(options->ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int result = set_up(fd, options);
  if (result < 0) {
    close(fd);
    return result;
  }
  return fd;
}

int32_t cs_udp_port(int32_t fd) {
  struct sockaddr_in6 name;
  socklen_t length = sizeof name;
  if (getsockname(fd, (struct sockaddr *)&name, &length) < 0) return -errno;
  return ntohs(name.sin6_port);  // at the same place in both families
}

int32_t cs_interface_mtu(int32_t ifindex) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  if (!if_indextoname((unsigned)ifindex, request.ifr_name)) return -errno;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int result = ioctl(fd, SIOCGIFMTU, &request) < 0 ? -errno : request.ifr_mtu;
  close(fd);
  return result;
}

cs_batch *cs_batch_create_addressed(void) {
  cs_batch *batch = cs_batch_create();
  batch->peers = calloc(CS_BATCH_FRAMES, sizeof *batch->peers);
  if (!batch->peers) abort();
  for (int i = 0; i < CS_BATCH_FRAMES; i++) {
    batch->messages[i].msg_hdr.msg_name = &batch->peers[i].name;
    batch->messages[i].msg_hdr.msg_control = &batch->peers[i].control;
  }
  return batch;
}

void cs_batch_expect_peers(cs_batch *batch, int32_t count) {
  for (int i = 0; i < count; i++) {
    batch->messages[i].msg_hdr.msg_namelen = sizeof batch->peers[i].name;
    batch->messages[i].msg_hdr.msg_controllen = sizeof batch->peers[i].control;
  }
}

void cs_batch_peer(cs_batch *batch, int32_t place, cs_peer_address *out) {
  struct msghdr *header = &batch->messages[place].msg_hdr;
  const struct sockaddr_in6 *name = &batch->peers[place].name;
  memset(out, 0, sizeof *out);
  out->ipv6 = name->sin6_family == AF_INET6;
  out->port = ntohs(name->sin6_port);
  if (out->ipv6)
    memcpy(out->address, &name->sin6_addr, 16);
  else
    memcpy(out->address, &((const struct sockaddr_in *)name)->sin_addr, 4);
  // The only one that was asked for.
  struct cmsghdr *c = CMSG_FIRSTHDR(header);
  if (!c) return;
  if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof info);
    memcpy(out->local, &info.ipi_spec_dst, 4);
    out->interface = info.ipi_ifindex;
  } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
    struct in6_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof info);
    memcpy(out->local, &info.ipi6_addr, 16);
    out->interface = (int32_t)info.ipi6_ifindex;
  }
}

void cs_batch_set_peer(cs_batch *batch, int32_t place, const cs_peer_address *peer) {
  struct msghdr *header = &batch->messages[place].msg_hdr;
  header->msg_namelen = fill(&batch->peers[place].name, peer->ipv6, peer->address, peer->port);
  header->msg_controllen = 0;
  if (!peer->local[0] && !peer->local[1]) return;
  // The macros need the room's size first.
  header->msg_controllen = sizeof batch->peers[place].control;
  memset(&batch->peers[place].control, 0, sizeof batch->peers[place].control);
  struct cmsghdr *c = CMSG_FIRSTHDR(header);
  if (peer->ipv6) {
    struct in6_pktinfo info = {.ipi6_ifindex = 0};
    memcpy(&info.ipi6_addr, peer->local, 16);
    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(c), &info, sizeof info);
    header->msg_controllen = CMSG_SPACE(sizeof info);
  } else {
    struct in_pktinfo info = {.ipi_ifindex = 0};
    memcpy(&info.ipi_spec_dst, peer->local, 4);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(c), &info, sizeof info);
    header->msg_controllen = CMSG_SPACE(sizeof info);
  }
}
