// When a port with IPv4 addresses is raised, the kernel brings back the routes to its connected networks, and what now
// takes another way would go into a port that is held closed. Those routes go again at once, and come back when the port
// is opened for data.

import Core

struct PortRoutes {
  /// Routes remembered a port, at most; further ones stay.
  static let limit = 64

  /// The routes as the kernel told them, to be told back.
  private var removed: [[UInt8]] = []

  /// Takes away the connected routes over `index` that the kernel made when the port came up.
  mutating func takeAway(over index: Int32, _ requests: NetlinkSocket) {
    var found: [[UInt8]] = []
    _ = requests.dump(RouteRecord.dumpConnected(over: index)) { m in
      guard m.type == RouteMessage.newRoute, let route = RouteRecord(m), route.interface == index,
        route.type == RouteType.unicast, route.origin == RouteRecord.kernelOrigin, found.count < PortRoutes.limit
      else { return }
      let payload = m.payload.array
      if !found.contains(where: { $0 == payload }) { found.append(payload) }
    }
    removed = []
    for route in found {
      if requests.request(RouteRecord.replay(route, add: false)) == 0 { removed.append(route) }
    }
  }

  mutating func giveBack(_ requests: NetlinkSocket) {
    for route in removed { _ = requests.request(RouteRecord.replay(route, add: true)) }
    removed = []
  }

  mutating func forget() { removed = [] }
}

extension RouteRecord {
  /// RTPROT_KERNEL.
  static let kernelOrigin: UInt8 = 2

  /// IPv4 routes of the kernel's making over one interface; an older kernel answers with all, the caller looks again.
  static func dumpConnected(over index: Int32) -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.getRoute, flags: NetlinkFlag.dump)
    w.u8(2)
    w.zeros(4)
    w.u8(kernelOrigin)
    w.zeros(1)
    w.u8(RouteType.unicast)
    w.u32(0)
    w.attribute(4, u32: UInt32(bitPattern: index))
    return w
  }

  /// The same route once more, added or deleted.
  static func replay(_ payload: [UInt8], add: Bool) -> NetlinkWriter {
    var w = NetlinkWriter(
      type: add ? RouteMessage.newRoute : RouteMessage.deleteRoute,
      flags: NetlinkFlag.ack | (add ? NetlinkFlag.create | NetlinkFlag.exclusive : 0))
    w.raw(payload)
    return w
  }
}
