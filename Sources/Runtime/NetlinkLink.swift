// Links as rtnetlink shows them (rtnetlink(7), linux/if_link.h): what the choice of ports and the bearer's guard read.

import Core

enum RouteMessage {
  static let newLink: UInt16 = 16
  static let deleteLink: UInt16 = 17
  static let getLink: UInt16 = 18
  static let setLink: UInt16 = 19
  static let newAddress: UInt16 = 20
  static let deleteAddress: UInt16 = 21
  static let getAddress: UInt16 = 22
  static let newRoute: UInt16 = 24
  static let deleteRoute: UInt16 = 25
  static let getRoute: UInt16 = 26
  static let newRule: UInt16 = 32
  static let deleteRule: UInt16 = 33
  static let getRule: UInt16 = 34
  static let newNetconf: UInt16 = 80
}

enum RouteGroup {
  static let link: UInt32 = 1
  static let addresses4: UInt32 = 5
  static let routes4: UInt32 = 7
  static let rules4: UInt32 = 8
  static let addresses6: UInt32 = 9
  static let routes6: UInt32 = 11
  static let rules6: UInt32 = 19
  static let configuration4: UInt32 = 24
  static let configuration6: UInt32 = 25
}

enum LinkFlag {
  static let up: UInt32 = 0x1
  /// Carrier is present.
  static let lowerUp: UInt32 = 0x10000
}

/// One link, from RTM_NEWLINK or RTM_DELLINK of family AF_UNSPEC.
struct LinkRecord {
  static let ethernet: UInt16 = 1

  var index: Int32 = 0
  /// ARPHRD.
  var hardware: UInt16 = 0
  var flags: UInt32 = 0
  var name: [UInt8] = []
  var address: [UInt8] = []
  var mtu: UInt32 = 0
  var transmitQueue: UInt32 = 0
  /// Bridge, bond or VRF it is enslaved to; 0 none.
  var master: Int32 = 0
  /// The link it sits on (IFLA_LINK), in this namespace; 0 none.
  var parent: Int32 = 0
  /// IFLA_INFO_KIND; empty for a physical device.
  var kind: [UInt8] = []
  /// IFLA_INFO_SLAVE_KIND: the kind of its master.
  var slaveKind: [UInt8] = []
  /// The device's bus and its name there ("pci", "0000:03:00.1"); empty when not known.
  var parentBus: [UInt8] = []
  var parentDevice: [UInt8] = []
  /// Carrier by itself, also of a link that is administratively down, and how often it has come and gone so far (modulo
  /// 2^32); nil where the kernel does not say (before Linux 3.15).
  var carrier: (isThere: Bool, changes: UInt32)?
  /// The port monitor's number of the message it came in; 0 when it was read.
  var message: UInt32 = 0

  var isAdministrativelyUp: Bool { flags & LinkFlag.up != 0 }
  var isUp: Bool { flags & LinkFlag.up != 0 && flags & LinkFlag.lowerUp != 0 }

  init() {}

  /// Nil for other families (a bridge's view of its port), for wireless events, which carry no full link, and for
  /// messages that are short.
  init?(_ message: NetlinkMessage) {
    let view = message.payload
    guard view.u8(0) == 0, let type = view.u16(2), let number = view.u32(4), let bits = view.u32(8), view.count >= 16
    else { return nil }
    hardware = type
    index = Int32(bitPattern: number)
    flags = bits
    var elsewhere = false
    var isThere: Bool?
    var changes: UInt32?
    var all = view.attributes(from: 16)
    while let (type, value) = all.next() {
      switch type {
      case 1: address = value.array
      case 3: name = value.text
      case 4: mtu = value.u32(0) ?? 0
      case 5: parent = Int32(bitPattern: value.u32(0) ?? 0)
      case 10: master = Int32(bitPattern: value.u32(0) ?? 0)
      case 11: return nil
      case 13: transmitQueue = value.u32(0) ?? 0
      case 18:
        kind = value.attribute(1)?.text ?? []
        slaveKind = value.attribute(4)?.text ?? []
      case 33: isThere = value.u8(0).map { $0 != 0 }
      case 35: changes = value.u32(0)
      case 37: elsewhere = true
      case 56: parentDevice = value.text
      case 57: parentBus = value.text
      default: break
      }
    }
    if elsewhere { parent = 0 }
    if let isThere, let changes { carrier = (isThere, changes) }
    if name.isEmpty { return nil }
  }
}

/// What to ask or set of links.
enum LinkRequest {
  /// All links, without statistics.
  static func dump() -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.getLink, flags: NetlinkFlag.dump)
    w.zeros(16)
    w.attribute(29, u32: 8)  // IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS
    return w
  }

  static func get(_ index: Int32) -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.getLink, flags: NetlinkFlag.ack)
    header(&w, index, flags: 0, change: 0)
    w.attribute(29, u32: 8)
    return w
  }

  /// Sets the administrative state.
  static func set(_ index: Int32, up: Bool) -> NetlinkWriter {
    change(index, flags: up ? LinkFlag.up : 0, change: LinkFlag.up) { _ in }
  }

  static func change(
    _ index: Int32, flags: UInt32 = 0, change: UInt32 = 0, _ attributes: (inout NetlinkWriter) -> Void
  ) -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.setLink, flags: NetlinkFlag.ack)
    header(&w, index, flags: flags, change: change)
    attributes(&w)
    return w
  }

  /// A bridge port's forwarding state: 0 disabled, 3 forwarding.
  static func bridgePort(_ index: Int32, state: UInt8) -> NetlinkWriter {
    var w = NetlinkWriter(type: RouteMessage.setLink, flags: NetlinkFlag.ack)
    w.u8(7)  // AF_BRIDGE
    w.zeros(3)
    w.u32(UInt32(bitPattern: index))
    w.zeros(8)
    w.nested(12) { $0.attribute(1, u8: state) }
    return w
  }

  private static func header(_ w: inout NetlinkWriter, _ index: Int32, flags: UInt32, change: UInt32) {
    w.zeros(4)
    w.u32(UInt32(bitPattern: index))
    w.u32(flags)
    w.u32(change)
  }
}

extension NetlinkSocket {
  /// The link as it is now, or nil when it is gone.
  func link(_ index: Int32) -> LinkRecord? {
    var found: LinkRecord?
    _ = request(LinkRequest.get(index)) { m in if m.type == RouteMessage.newLink { found = LinkRecord(m) } }
    return found
  }
}
