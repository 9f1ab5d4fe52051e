// Addresses, routes and rules over rtnetlink: what the bearer needs of its own, and what others have that matters to it.

import Core

/// An IP address, 4 or 16 bytes in network order, with a prefix length.
struct IPPrefix: Equatable {
  var address: [UInt8]
  var length: Int

  var isIPv6: Bool { address.count == 16 }
  /// AF_INET or AF_INET6.
  var family: UInt8 { isIPv6 ? 10 : 2 }

  /// With the bits after the prefix cleared.
  var network: IPPrefix {
    var masked = address
    for i in 0..<masked.count {
      let bits = length - 8 * i
      if bits <= 0 { masked[i] = 0 } else if bits < 8 { masked[i] &= UInt8(truncatingIfNeeded: 0xff00 >> bits) }
    }
    return IPPrefix(address: masked, length: length)
  }

  var host: IPPrefix { IPPrefix(address: address, length: address.count * 8) }

  /// Some address lies in both.
  func overlaps(_ other: IPPrefix) -> Bool {
    if address.count != other.address.count { return false }
    let common = min(length, other.length)
    let mine = IPPrefix(address: address, length: common).network
    return mine == IPPrefix(address: other.address, length: common).network
  }

  /// "10.1.0.0/16", "fd00::/64".
  var text: String { "\(addressText)/\(length)" }

  /// Dotted decimal, or RFC 5952 §4 hexadecimal.
  var addressText: String {
    if address.count == 4 { return "\(address[0]).\(address[1]).\(address[2]).\(address[3])" }
    if address.count != 16 { return "?" }
    let groups = (0..<8).map { UInt16(address[2 * $0]) << 8 | UInt16(address[2 * $0 + 1]) }
    var best = (start: 8, count: 1)
    var i = 0
    while i < 8 {
      var j = i
      while j < 8 && groups[j] == 0 { j += 1 }
      if j - i > best.count { best = (i, j - i) }
      i = max(j, i + 1)
    }
    var out = ""
    i = 0
    while i < 8 {
      if i == best.start {
        out += "::"
        i += best.count
      } else {
        if i > 0 && i != best.start + best.count { out += ":" }
        out += String(groups[i], radix: 16)
        i += 1
      }
    }
    return out
  }
}

/// Numbers of ours in tables that are shared with others.
enum OwnNumber {
  /// The routing table "LI".
  static let table: UInt32 = 0x4c49
  /// The origin of our routes and rules (rtm_protocol), "L".
  static let origin: UInt8 = 0x4c
  /// The local table, which the kernel looks in first.
  static let localTable: UInt32 = 255
}

/// One address of an interface, from RTM_NEWADDR.
struct AddressRecord {
  var index: Int32
  var prefix: IPPrefix

  init?(_ message: NetlinkMessage) {
    let view = message.payload
    guard let family = view.u8(0), let length = view.u8(1), let number = view.u32(4) else { return nil }
    // IFA_LOCAL is the interface's own address; IPv6 has only IFA_ADDRESS.
    guard let value = view.attribute(2, from: 8) ?? view.attribute(1, from: 8) else { return nil }
    let size = family == 2 ? 4 : family == 10 ? 16 : 0
    guard size > 0, value.count == size, Int(length) <= size * 8 else { return nil }
    index = Int32(bitPattern: number)
    prefix = IPPrefix(address: value.array, length: Int(length))
  }

  static func dump(_ index: Int32) -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.getAddress, flags: NetlinkFlag.dump)
    w.zeros(4)
    w.u32(UInt32(bitPattern: index))
    return w
  }

  /// Adds it (without duplicate address detection) or takes it away.
  static func change(_ prefix: IPPrefix, on index: Int32, add: Bool) -> NetlinkWriter {
    var w = NetlinkWriter(
      type: add ? RouteMessage.newAddress : RouteMessage.deleteAddress,
      flags: NetlinkFlag.ack | (add ? NetlinkFlag.create | NetlinkFlag.replace : 0))
    w.u8(prefix.family)
    w.u8(UInt8(truncatingIfNeeded: prefix.length))
    w.u8(prefix.isIPv6 ? 0x02 : 0)  // IFA_F_NODAD
    w.u8(0)
    w.u32(UInt32(bitPattern: index))
    w.attribute(2, prefix.address)
    w.attribute(1, prefix.address)
    return w
  }
}

enum RouteType {
  static let unicast: UInt8 = 1
  static let local: UInt8 = 2
  static let broadcast: UInt8 = 3
  static let anycast: UInt8 = 4
  static let multicast: UInt8 = 5
  static let throwing: UInt8 = 9
}

/// One route, from RTM_NEWROUTE or RTM_DELROUTE.
struct RouteRecord {
  var destination: IPPrefix
  var table: UInt32
  var type: UInt8
  var origin: UInt8
  /// The outgoing interface; 0 when it has none or several.
  var interface: Int32
  var metric: UInt32
  /// The type of service it is for (rtm_tos).
  var service: UInt8

  /// Nil for cached routes and other families.
  init?(_ message: NetlinkMessage) {
    let view = message.payload
    guard let family = view.u8(0), let length = view.u8(1), let service = view.u8(3), let small = view.u8(4),
      let origin = view.u8(5), let type = view.u8(7), let flags = view.u32(8), flags & 0x200 == 0
    else { return nil }
    let size = family == 2 ? 4 : family == 10 ? 16 : 0
    guard size > 0, Int(length) <= size * 8 else { return nil }
    var bytes = [UInt8](repeating: 0, count: size)
    table = UInt32(small)
    interface = 0
    metric = 0
    self.service = service
    var all = view.attributes(from: 12)
    while let (attribute, value) = all.next() {
      switch attribute {
      case 1: if value.count == size { bytes = value.array }
      case 4: interface = Int32(bitPattern: value.u32(0) ?? 0)
      case 6: metric = value.u32(0) ?? 0
      case 15: table = value.u32(0) ?? table
      default: break
      }
    }
    destination = IPPrefix(address: bytes, length: Int(length))
    self.type = type
    self.origin = origin
  }

  /// All routes of a family; of one table when `table` is not 0 and the kernel can tell (the caller checks again).
  static func dump(family: UInt8, table: UInt32) -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.getRoute, flags: NetlinkFlag.dump)
    w.u8(family)
    w.zeros(11)
    if table != 0 { w.attribute(15, u32: table) }
    return w
  }

  /// A route of ours to the link itself, or to the host (`type` local).
  static func add(_ destination: IPPrefix, type: UInt8, table: UInt32, interface: Int32, source: [UInt8])
    -> NetlinkWriter
  {
    var w = NetlinkWriter(
      type: RouteMessage.newRoute, flags: NetlinkFlag.ack | NetlinkFlag.create | NetlinkFlag.replace)
    body(&w, destination, type: type, table: table, interface: interface)
    if type == RouteType.unicast { w.attribute(7, source) }
    return w
  }

  static func remove(_ destination: IPPrefix, type: UInt8, table: UInt32, interface: Int32) -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.deleteRoute, flags: NetlinkFlag.ack)
    body(&w, destination, type: type, table: table, interface: interface)
    return w
  }

  /// Takes away just this one, whoever made it.
  static func remove(_ route: RouteRecord) -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.deleteRoute, flags: NetlinkFlag.ack)
    w.u8(route.destination.family)
    w.u8(UInt8(truncatingIfNeeded: route.destination.length))
    w.u8(0)
    w.u8(route.service)
    w.u8(0)
    w.u8(route.origin)
    w.u8(255)  // of any scope
    w.u8(route.type)
    w.u32(0)
    w.attribute(1, route.destination.network.address)
    if route.interface != 0 { w.attribute(4, u32: UInt32(bitPattern: route.interface)) }
    if route.metric != 0 { w.attribute(6, u32: route.metric) }
    w.attribute(15, u32: route.table)
    return w
  }

  private static func body(
    _ w: inout NetlinkWriter, _ destination: IPPrefix, type: UInt8, table: UInt32, interface: Int32
  ) {
    w.u8(destination.family)
    w.u8(UInt8(truncatingIfNeeded: destination.length))
    w.zeros(2)
    w.u8(table < 256 ? UInt8(truncatingIfNeeded: table) : 0)
    w.u8(OwnNumber.origin)
    w.u8(destination.isIPv6 ? 0 : type == RouteType.local ? 254 : 253)  // scope: host, link
    w.u8(type)
    w.u32(0)
    w.attribute(1, destination.network.address)
    w.attribute(4, u32: UInt32(bitPattern: interface))
    w.attribute(15, u32: table)
  }
}

/// One rule of the policy database, from RTM_NEWRULE; rules come in the order they are tried.
struct RuleRecord {
  var priority: UInt32
  var table: UInt32
  var origin: UInt8
  var destination: IPPrefix
  /// FR_ACT_TO_TBL is 1, FR_ACT_NOP 3.
  var action: UInt8
  /// Bound to one interface of origin, or to a mark, source or port: it touches only part of the traffic.
  var isSelective: Bool
  /// Its source prefix's address; empty when it is for any source.
  var source: [UInt8] = []

  init?(_ message: NetlinkMessage) {
    let view = message.payload
    guard let family = view.u8(0), let length = view.u8(1), let sourceLength = view.u8(2), let small = view.u8(4),
      let action = view.u8(7), view.count >= 12
    else { return nil }
    let size = family == 2 ? 4 : family == 10 ? 16 : 0
    guard size > 0, Int(length) <= size * 8 else { return nil }
    self.action = action
    table = UInt32(small)
    priority = 0
    origin = 0
    isSelective = sourceLength > 0
    var bytes = [UInt8](repeating: 0, count: size)
    var all = view.attributes(from: 12)
    while let (attribute, value) = all.next() {
      switch attribute {
      case 1: if value.count == size { bytes = value.array }
      case 2: source = value.array
      case 3, 10, 17, 19, 22, 23, 24: isSelective = true
      case 6: priority = value.u32(0) ?? 0
      case 15: table = value.u32(0) ?? table
      case 21: origin = value.u8(0) ?? 0
      default: break
      }
    }
    destination = IPPrefix(address: bytes, length: Int(length))
  }

  static func dump(family: UInt8) -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.getRule, flags: NetlinkFlag.dump)
    w.u8(family)
    w.zeros(11)
    return w
  }

  /// Our rule: what goes to `destination` looks in our table. Priority 0 stands right after the kernel's own rule for
  /// local addresses; nobody can insert before it, and `ip rule flush` leaves it.
  /// With `source` for what has that source address only. With `again` even where there is the same rule already.
  static func change(_ destination: IPPrefix, from source: [UInt8] = [], add: Bool, again: Bool = false)
    -> NetlinkWriter
  {
    var w = NetlinkWriter(
      type: add ? RouteMessage.newRule : RouteMessage.deleteRule,
      flags: NetlinkFlag.ack | (add ? NetlinkFlag.create | (again ? 0 : NetlinkFlag.exclusive) : 0))
    w.u8(destination.family)
    w.u8(UInt8(truncatingIfNeeded: destination.length))
    w.u8(UInt8(truncatingIfNeeded: source.count * 8))
    w.zeros(4)
    w.u8(1)
    w.u32(0)
    w.attribute(1, destination.network.address)
    if !source.isEmpty { w.attribute(2, source) }
    w.attribute(6, u32: 0)
    w.attribute(15, u32: OwnNumber.table)
    w.attribute(21, u8: OwnNumber.origin)
    return w
  }

  /// The kernel's own rule, which asks the local table: added (at the end of priority 0), or the first one taken away.
  static func local(family: UInt8, add: Bool) -> NetlinkWriter {
    var w = NetlinkWriter(
      type: add ? RouteMessage.newRule : RouteMessage.deleteRule,
      flags: NetlinkFlag.ack | (add ? NetlinkFlag.create : 0))
    w.u8(family)
    w.zeros(6)
    w.u8(1)
    w.u32(0)
    w.attribute(6, u32: 0)
    w.attribute(15, u32: OwnNumber.localTable)
    if add { w.attribute(21, u8: 2) }  // RTPROT_KERNEL
    return w
  }

  var isLocal: Bool {
    priority == 0 && table == OwnNumber.localTable && action == 1 && destination.length == 0 && !isSelective
  }

  /// Ours, for this prefix or (nil) any; not the one for answers.
  func isOwn(_ prefix: IPPrefix?) -> Bool {
    guard table == OwnNumber.table, origin == OwnNumber.origin else { return false }
    guard let prefix else { return true }
    return destination == prefix.network && source.isEmpty
  }

  /// Ours, for what has our address of this prefix as its source.
  func isAnswer(_ prefix: IPPrefix) -> Bool {
    isOwn(nil) && destination == prefix.network && source == prefix.address
  }
}
