// Netlink codecs: what is built reads back, and what is damaged is refused without a trap.

import Core
import Testing

@testable import Runtime

/// The messages in `writer`'s bytes.
func parsed(_ writer: NetlinkWriter) -> [NetlinkMessage] {
  var writer = writer
  writer.finish()
  var all = NetlinkMessages(writer.bytes, count: writer.bytes.count)
  var out: [NetlinkMessage] = []
  while let m = all.next() { out.append(m) }
  return out
}

/// A link as the kernel would tell it.
func linkMessage(
  index: Int32, name: String, kind: String = "", slaveKind: String = "", hardware: UInt16 = 1, flags: UInt32 = 0x10043,
  parent: Int32 = 0, bus: (String, String)? = nil, family: UInt8 = 0
) -> NetlinkMessage {
  var w = NetlinkWriter(type: RouteMessage.newLink, flags: 0)
  w.u8(family)
  w.u8(0)
  w.u16(hardware)
  w.u32(UInt32(bitPattern: index))
  w.u32(flags)
  w.u32(0)
  w.attribute(3, text: Array(name.utf8))
  w.attribute(1, [2, 0, 0, 0, 0, UInt8(truncatingIfNeeded: index)])
  w.attribute(4, u32: 1500)
  if parent != 0 { w.attribute(5, u32: UInt32(bitPattern: parent)) }
  w.nested(18) {
    if !kind.isEmpty { $0.attribute(1, text: Array(kind.utf8)) }
    if !slaveKind.isEmpty { $0.attribute(4, text: Array(slaveKind.utf8)) }
  }
  if let bus {
    w.attribute(56, text: Array(bus.1.utf8))
    w.attribute(57, text: Array(bus.0.utf8))
  }
  return parsed(w)[0]
}

func prefix(_ bytes: [UInt8], _ length: Int) -> IPPrefix { IPPrefix(address: bytes, length: length) }

@Suite struct NetlinkTests {
  @Test func `attributes are padded to four bytes and read back (netlink(7))`() {
    var w = NetlinkWriter(type: 77, flags: 0x400)
    w.attribute(1, [1, 2, 3])
    w.nested(2) { $0.attribute(5, be32: 0x01020304) }
    let messages = parsed(w)
    #expect(messages.count == 1)
    #expect(messages[0].type == 77)
    #expect(messages[0].flags == 0x401)
    #expect(messages[0].payload.count % 4 == 0)
    #expect(messages[0].payload.attribute(1)?.array == [1, 2, 3])
    #expect(messages[0].payload.attribute(2)?.attribute(5)?.be32(0) == 0x01020304)
    #expect(messages[0].payload.attribute(3) == nil)
  }

  @Test func `a batch is several messages with one sequence number`() {
    var w = FilterRequest.table(PortHold.table, add: true)
    w.number(9)
    let messages = parsed(w)
    #expect(messages.map { $0.type } == [FilterMessage.batchBegin, FilterMessage.newTable, FilterMessage.batchEnd])
    #expect(messages.allSatisfy { $0.sequence == 9 })
  }

  @Test func `no damaged message traps a reader`() {
    var w = NetlinkWriter(type: RouteMessage.newLink, flags: 0)
    w.raw(linkMessage(index: 3, name: "eth0", kind: "veth", slaveKind: "bridge").payload.array)
    w.finish()
    let whole = w.bytes
    var seed: UInt64 = 0x9e37_79b9_7f4a_7c15
    func random() -> Int {
      seed = seed &* 6_364_136_223_846_793_005 &+ 1
      return Int(seed >> 33)
    }
    var read = 0
    for _ in 0..<20_000 {
      var bytes = whole
      for _ in 0...random() % 4 { bytes[random() % bytes.count] = UInt8(truncatingIfNeeded: random()) }
      if random() % 2 == 0 { bytes.removeLast(random() % bytes.count) }
      var all = NetlinkMessages(bytes, count: bytes.count)
      while let m = all.next() {
        read += 1
        _ = LinkRecord(m)
        _ = AddressRecord(m)
        _ = RouteRecord(m)
        _ = RuleRecord(m)
        let asChain = NetlinkMessage(type: FilterMessage.newChain, flags: 0, sequence: 0, payload: m.payload)
        _ = FilterChain(asChain)
        let asRule = NetlinkMessage(type: FilterMessage.newRule, flags: 0, sequence: 0, payload: m.payload)
        _ = FilterRule(asRule)
      }
    }
    #expect(read > 1000)
  }

  @Test func `a bridge's view of its port is not a link`() {
    #expect(LinkRecord(linkMessage(index: 3, name: "eth0")) != nil)
    #expect(LinkRecord(linkMessage(index: 3, name: "eth0", family: 7)) == nil)
  }

  @Test func `routes and rules of ours read back as ours`() throws {
    let own = prefix([10, 1, 0, 1], 16)
    let rule = try #require(RuleRecord(parsed(RuleRecord.change(own, add: true))[0]))
    #expect(rule.isOwn(own))
    #expect(rule.priority == 0)
    #expect(!rule.isOwn(prefix([10, 2, 0, 1], 16)))
    let added = RouteRecord.add(
      own.network, type: RouteType.unicast, table: OwnNumber.table, interface: 7, source: own.address)
    let route = try #require(RouteRecord(parsed(added)[0]))
    #expect(route.destination == own.network)
    #expect(route.table == OwnNumber.table)
    #expect(route.interface == 7)
  }

  @Test func `prefixes overlap when one holds the other`() {
    let own = prefix([10, 1, 0, 1], 16)
    #expect(own.overlaps(prefix([10, 1, 5, 0], 24)))
    #expect(own.overlaps(prefix([10, 0, 0, 0], 8)))
    #expect(!own.overlaps(prefix([10, 2, 0, 0], 16)))
    #expect(!own.overlaps(prefix([UInt8](repeating: 0, count: 16), 0)))
  }

  @Test func `IPv6 addresses are written as RFC 5952 §4 says`() {
    func text(_ groups: [UInt16]) -> String { prefix(groups.flatMap { bigEndian($0) }, 64).addressText }
    #expect(text([0xfd11, 0, 0, 0, 0, 0, 0, 1]) == "fd11::1")
    #expect(text([0, 0, 0, 0, 0, 0, 0, 0]) == "::")
    #expect(text([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1]) == "2001:db8::1:0:0:1")
    #expect(text([0x2001, 0xdb8, 0, 1, 1, 1, 1, 1]) == "2001:db8:0:1:1:1:1:1")
    #expect(text([1, 0, 0, 0, 0, 0, 0, 0]) == "1::")
  }
}
