// nf_tables over nfnetlink (linux/netfilter/nf_tables.h), as far as the channel needs it: which base chains there are,
// an accept rule at the head of one, and a chain of our own that holds a port closed. Numbers are in network order.

enum FilterFamily {
  static let inet: UInt8 = 1
  static let ipv4: UInt8 = 2
  static let netdev: UInt8 = 5
  static let ipv6: UInt8 = 10
}

enum FilterMessage {
  static let subsystem: UInt16 = 10 << 8
  static let newTable = subsystem | 0
  static let deleteTable = subsystem | 2
  static let newChain = subsystem | 3
  static let getChain = subsystem | 4
  static let deleteChain = subsystem | 5
  static let newRule = subsystem | 6
  static let getRule = subsystem | 7
  static let deleteRule = subsystem | 8
  static let batchBegin: UInt16 = 0x10
  static let batchEnd: UInt16 = 0x11
  /// NFNLGRP_NFTABLES.
  static let group: UInt32 = 7
}

/// A base chain: one that hangs on a hook.
struct FilterChain {
  /// Where packets meet it, whatever the family's numbers.
  enum Hook { case ingress, prerouting, input, forward, output, postrouting, egress }

  var family: UInt8
  var table: [UInt8]
  var name: [UInt8]
  var type: [UInt8]
  var hook: Hook
  /// The devices of an ingress or egress chain.
  var devices: [[UInt8]]
  var dropsByDefault: Bool
  /// Rules in it (a base chain is not jumped to).
  var ruleCount: UInt32

  /// Nil for chains that hang on no hook of the families ip, ip6, inet, netdev.
  init?(_ message: NetlinkMessage) {
    let view = message.payload
    guard message.type == FilterMessage.newChain, let family = view.u8(0), view.count >= 4 else { return nil }
    self.family = family
    table = []
    name = []
    type = []
    devices = []
    dropsByDefault = false
    ruleCount = 0
    var number: UInt32?
    var all = view.attributes(from: 4)
    while let (attribute, value) = all.next() {
      switch attribute {
      case 1: table = value.text
      case 3: name = value.text
      case 4:
        number = value.attribute(1)?.be32(0)
        if let one = value.attribute(3) { devices.append(one.text) }
        if let several = value.attribute(4) {
          var list = several.attributes()
          while let (_, device) = list.next() { devices.append(device.text) }
        }
      case 5: dropsByDefault = value.be32(0) == 0
      case 6: ruleCount = value.be32(0) ?? 0
      case 7: type = value.text
      default: break
      }
    }
    guard let number, let hook = FilterChain.hook(number, of: family) else { return nil }
    self.hook = hook
  }

  private static func hook(_ number: UInt32, of family: UInt8) -> Hook? {
    switch (family, number) {
    case (FilterFamily.netdev, 0): return .ingress
    case (FilterFamily.netdev, 1): return .egress
    case (FilterFamily.inet, 5): return .ingress
    case (FilterFamily.inet, 0...4), (FilterFamily.ipv4, 0...4), (FilterFamily.ipv6, 0...4):
      return [.prerouting, .input, .forward, .output, .postrouting][Int(number)]
    default: return nil
    }
  }

  /// "inet filter input".
  var text: String { "\(familyText) \(nameText(table)) \(nameText(name))" }
  private var familyText: String {
    switch family {
    case FilterFamily.inet: return "inet"
    case FilterFamily.ipv4: return "ip"
    case FilterFamily.ipv6: return "ip6"
    default: return "netdev"
    }
  }
}

/// A rule as far as finding ours again needs it.
struct FilterRule {
  var family: UInt8
  var table: [UInt8]
  var chain: [UInt8]
  var handle: UInt64
  /// The comment nft shows, or empty.
  var comment: [UInt8]

  init?(_ message: NetlinkMessage) {
    let view = message.payload
    guard message.type == FilterMessage.newRule, let family = view.u8(0), let t = view.attribute(1, from: 4),
      let c = view.attribute(2, from: 4), let h = view.attribute(3, from: 4)?.be64(0)
    else { return nil }
    self.family = family
    table = t.text
    chain = c.text
    handle = h
    comment = FilterRule.comment(view.attribute(7, from: 4)?.array ?? [])
  }

  /// User bytes are (type, length, value); type 0 is the comment, zero-terminated.
  private static func comment(_ bytes: [UInt8]) -> [UInt8] {
    var at = 0
    while at + 2 <= bytes.count {
      let end = at + 2 + Int(bytes[at + 1])
      if end > bytes.count { return [] }
      if bytes[at] == 0 { return Array(bytes[at + 2..<end].prefix { $0 != 0 }) }
      at = end
    }
    return []
  }
}

enum FilterRequest {
  static func chains(family: UInt8 = 0) -> NetlinkWriter {
    var w = NetlinkWriter(type: FilterMessage.getChain, flags: NetlinkFlag.dump)
    header(&w, family)
    return w
  }

  static func chain(family: UInt8, table: [UInt8], name: [UInt8]) -> NetlinkWriter {
    var w = NetlinkWriter(type: FilterMessage.getChain, flags: NetlinkFlag.ack)
    header(&w, family)
    w.attribute(1, text: table)
    w.attribute(3, text: name)
    return w
  }

  /// All rules, or those of one chain.
  static func rules(of chain: FilterChain?) -> NetlinkWriter {
    var w = NetlinkWriter(type: FilterMessage.getRule, flags: NetlinkFlag.dump)
    header(&w, chain?.family ?? 0)
    if let chain {
      w.attribute(1, text: chain.table)
      w.attribute(2, text: chain.name)
    }
    return w
  }

  /// `iifname "DEVICE" accept comment "COMMENT"` (or oifname) before every other rule of the chain.
  static func insertAccept(_ chain: FilterChain, outgoing: Bool, device: [UInt8], comment: [UInt8]) -> NetlinkWriter {
    batch(FilterMessage.newRule, chain.family, flags: NetlinkFlag.create) { w in
      w.attribute(1, text: chain.table)
      w.attribute(2, text: chain.name)
      w.nested(4) { list in
        // Register 1 is the first of 16 bytes: an interface name, padded with zeros.
        meta(&list, key: outgoing ? 7 : 6)
        compare(&list, equal: true, Array((device + [UInt8](repeating: 0, count: 16)).prefix(16)))
        verdict(&list, 1)
      }
      w.attribute(7, [0, UInt8(truncatingIfNeeded: comment.count + 1)] + comment + [0])
    }
  }

  static func remove(_ rule: FilterRule) -> NetlinkWriter {
    batch(FilterMessage.deleteRule, rule.family, flags: 0) { w in
      w.attribute(1, text: rule.table)
      w.attribute(2, text: rule.chain)
      w.attribute(3, withUnsafeBytes(of: rule.handle.bigEndian) { Array($0) })
    }
  }

  static func table(_ name: [UInt8], add: Bool) -> NetlinkWriter {
    batch(
      add ? FilterMessage.newTable : FilterMessage.deleteTable, FilterFamily.netdev,
      flags: add ? NetlinkFlag.create : 0
    ) { $0.attribute(1, text: name) }
  }

  /// A chain at a device's ingress or egress, first of all.
  static func deviceChain(table: [UInt8], name: [UInt8], device: [UInt8], egress: Bool, drops: Bool)
    -> NetlinkWriter
  {
    batch(FilterMessage.newChain, FilterFamily.netdev, flags: NetlinkFlag.create) { w in
      w.attribute(1, text: table)
      w.attribute(3, text: name)
      w.nested(4) {
        $0.attribute(1, be32: egress ? 1 : 0)
        $0.attribute(2, be32: UInt32(bitPattern: -500))
        $0.attribute(3, text: device)
      }
      w.attribute(5, be32: drops ? 0 : 1)
      w.attribute(7, text: Array("filter".utf8))
    }
  }

  /// In a chain of ours: drop everything but one EtherType.
  static func dropAllBut(etherType: UInt16, table: [UInt8], chain: [UInt8]) -> NetlinkWriter {
    batch(FilterMessage.newRule, FilterFamily.netdev, flags: NetlinkFlag.create) { w in
      w.attribute(1, text: table)
      w.attribute(2, text: chain)
      w.nested(4) { list in
        meta(&list, key: 1)
        compare(&list, equal: false, [UInt8(etherType >> 8), UInt8(etherType & 0xff)])
        verdict(&list, 0)
      }
    }
  }

  static func removeChain(table: [UInt8], name: [UInt8]) -> NetlinkWriter {
    batch(FilterMessage.deleteChain, FilterFamily.netdev, flags: 0) { w in
      w.attribute(1, text: table)
      w.attribute(3, text: name)
    }
  }

  /// Changes are transactions; ours hold one message each, so that one refusal concerns one thing.
  private static func batch(
    _ type: UInt16, _ family: UInt8, flags: UInt16, _ body: (inout NetlinkWriter) -> Void
  ) -> NetlinkWriter {
    var w = NetlinkWriter(type: FilterMessage.batchBegin, flags: 0)
    batchHeader(&w)
    w.begin(type: type, flags: flags | NetlinkFlag.ack)
    header(&w, family)
    body(&w)
    w.begin(type: FilterMessage.batchEnd, flags: 0)
    batchHeader(&w)
    return w
  }

  private static func header(_ w: inout NetlinkWriter, _ family: UInt8) {
    w.u8(family)
    w.zeros(3)
  }

  private static func batchHeader(_ w: inout NetlinkWriter) {
    w.u8(0)
    w.u8(0)
    w.u8(0)
    w.u8(10)
  }

  private static func expression(
    _ w: inout NetlinkWriter, _ name: StaticString, _ body: (inout NetlinkWriter) -> Void
  ) {
    w.nested(1) { e in
      e.attribute(1, text: Array(UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)))
      e.nested(2) { body(&$0) }
    }
  }

  /// Loads a packet's meta field into register 1.
  private static func meta(_ w: inout NetlinkWriter, key: UInt32) {
    expression(&w, "meta") {
      $0.attribute(2, be32: key)
      $0.attribute(1, be32: 1)
    }
  }

  private static func compare(_ w: inout NetlinkWriter, equal: Bool, _ value: [UInt8]) {
    expression(&w, "cmp") {
      $0.attribute(1, be32: 1)
      $0.attribute(2, be32: equal ? 0 : 1)
      $0.nested(3) { $0.attribute(1, value) }
    }
  }

  /// 0 drops, 1 accepts.
  private static func verdict(_ w: inout NetlinkWriter, _ code: UInt32) {
    expression(&w, "immediate") {
      $0.attribute(1, be32: 0)
      $0.nested(2) { data in data.nested(2) { $0.attribute(1, be32: code) } }
    }
  }
}
