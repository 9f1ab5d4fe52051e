// Which way the kernel would send a tunnel's datagrams: over which interface, of what MTU. The channel's own device is no
// way: the channel would carry itself.

import CSystem
import Core
import Wire

enum TunnelRoute: Equatable {
  case over(interface: Int32, mtu: Int)
  /// None, or one that refuses: errno.
  case none(Int32)

  /// Asks with all that a rule may look at: ports and protocol too.
  static func find(_ peer: InternetEndpoint, from port: UInt16, _ requests: NetlinkSocket) -> TunnelRoute {
    var interface: Int32 = 0
    let refused = requests.request(question(peer, from: port)) { m in
      guard m.type == RouteMessage.newRoute, let index = m.payload.attribute(4, from: 12)?.u32(0) else { return }
      interface = Int32(bitPattern: index)
    }
    if refused != 0 { return .none(refused) }
    let mtu = cs_interface_mtu(interface)
    return mtu > 0 ? .over(interface: interface, mtu: Int(mtu)) : .none(0 &- mtu)
  }

  @inline(never)
  static func question(_ peer: InternetEndpoint, from port: UInt16) -> NetlinkWriter {
    let address = peer.addressBytes
    var w = NetlinkWriter(type: RouteMessage.getRoute, flags: NetlinkFlag.ack)
    w.u8(peer.isIPv6 ? 10 : 2)
    w.u8(UInt8(truncatingIfNeeded: address.count * 8))
    w.zeros(10)
    w.attribute(1, address)  // RTA_DST
    w.attribute(27, u8: IPProtocol.udp)  // RTA_IP_PROTO, then RTA_SPORT and RTA_DPORT in network order
    w.attribute(28, [UInt8(truncatingIfNeeded: port >> 8), UInt8(truncatingIfNeeded: port)])
    w.attribute(29, [UInt8(truncatingIfNeeded: peer.port >> 8), UInt8(truncatingIfNeeded: peer.port)])
    return w
  }
}
