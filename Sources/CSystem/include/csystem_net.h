// Network configuration calls: netlink, the TUN device, probe sockets, sysctl files. Included by csystem.h.
// Every call that can fail returns -errno.
#ifndef CSYSTEM_NET_H
#define CSYSTEM_NET_H

#include <stddef.h>
#include <stdint.h>

/// A netlink socket of `protocol` (0 route, 12 netfilter), joined to `groups`. With `nonblocking` 0 a receive waits
/// at most one second. Strict checking of dump requests is switched on where the kernel has it.
int32_t cs_netlink_open(int32_t protocol, const uint32_t *groups, int32_t group_count, int32_t receive_bytes,
                        int32_t nonblocking);
int64_t cs_netlink_send(int32_t fd, const void *bytes, size_t count);
/// One datagram from the kernel; what other processes send is discarded. -EMSGSIZE when it did not fit.
int64_t cs_netlink_receive(int32_t fd, void *bytes, size_t count);

/// A new TUN device (10-byte virtio header, nonblocking, offloads on). -EEXIST when the name is taken.
/// `step` says what failed: 0 opening /dev/net/tun, 1 creating the device, 2 setting header size or offloads.
int32_t cs_tun_open(const char *name, int32_t *step);
/// Lets go of the device behind a descriptor, whose number stays: reading it gives -EAGAIN until `cs_tun_replace`.
/// 0 or -errno.
int32_t cs_tun_detach(int32_t fd);
/// Puts the device behind `fresh` behind the number `fd`, in one step; `fresh` is closed. 0 or -errno.
int32_t cs_tun_replace(int32_t fd, int32_t fresh);
int64_t cs_tun_read(int32_t fd, void *bytes, size_t count);
int64_t cs_tun_write(int32_t fd, const void *bytes, size_t count);

/// A nonblocking raw ICMP (or ICMPv6) socket that hears echo replies only.
int32_t cs_probe_open_echo(int32_t ipv6);
/// A nonblocking UDP socket bound to `address` (4 or 16 bytes), whether or not the host has it now, and a free port.
int32_t cs_probe_open_datagram(int32_t ipv6, const uint8_t *address, uint16_t *port);
int64_t cs_probe_send(int32_t fd, int32_t ipv6, const uint8_t *address, uint16_t port, const void *bytes, size_t count);
int64_t cs_probe_receive(int32_t fd, void *bytes, size_t count);

/// The interface's index, or -errno.
int32_t cs_net_index(const char *name);
/// At most `count` bytes of a small file.
int32_t cs_net_file_read(const char *path, void *bytes, size_t count);
int32_t cs_net_file_write(const char *path, const void *bytes, size_t count);
/// 1 when the path exists.
int32_t cs_net_file_exists(const char *path);
/// Random bytes of the kernel; at most 256.
int32_t cs_net_random(void *bytes, size_t count);
void cs_net_close(int32_t fd);

#endif
