// A member that comes from ever new addresses: what it leaves behind makes room for it, and for nobody else.

import Core
import Crypto
import Membership
import Testing

@testable import Neighbour

@Suite struct MovingTests {
  private var port1: PortNumber { PortNumber(1) }

  private func place(_ i: Int) -> MACAddress { MACAddress(0x0266_0000_0000 | UInt64(i)) }

  /// Box 1 goes to `count` addresses, for `stay` to each.
  private func wander(
    _ harness: Harness, _ count: Int, from first: Int = 0, stay: Duration = .milliseconds(250)
  ) {
    for i in first..<(first + count) {
      harness.moved[1] = place(i)
      harness.setPort(1)
      harness.run(for: stay)
    }
  }

  private func linksUp(_ harness: Harness) -> [Adjacency] {
    harness.boxes[0].engine.adjacencies.filter { $0.state == .up }
  }

  private func withKey(_ harness: Harness) -> [MACAddress] {
    var addresses: [MACAddress] = []
    for number in harness.boxes[0].engine.tables.numbers {
      if let record = harness.boxes[0].engine.tables.record(UInt16(number)), record.pointee.hasKey {
        addresses.append(record.pointee.address)
      }
    }
    return addresses
  }

  @Test(arguments: [true, false])
  func `a member that changes its address four times a second is let in each time`(isBoxOneFirst: Bool) throws {
    // Either end may be the one that begins handshakes.
    let harness = Harness(seed: 21)
    harness.addBox(isBoxOneFirst ? 11 : 10)
    harness.addBox(isBoxOneFirst ? 10 : 11)
    _ = harness.wire([(0, 1), (1, 1)])
    harness.setPort(0)
    harness.setPort(1)
    try #require(harness.runUntilUp() != nil)
    wander(harness, 60)
    let box = harness.boxes[0]
    #expect(box.engine.tables.numbers.count <= NeighbourLimits.placesPerMember)
    let links = box.log.filter { if case .up = $0.what { return true } else { return false } }.count
    #expect(links > 50, "\(links)")
    // Nor does it use up numbers.
    for case .up(let number) in box.log.map(\.what) { #expect(number <= NeighbourLimits.neighboursPerPort) }
    // Then it stays where it is.
    harness.moved[1] = place(1_000)
    harness.setPort(1)
    let from = harness.now
    harness.run(until: from + .seconds(5), orWhen: { linksUp(harness).contains { $0.address == place(1_000) } })
    #expect(harness.now - from < .seconds(1), "\(harness.now - from)")
    // It may be there before what it left behind is silent.
    harness.run(for: .milliseconds(100))
    #expect(linksUp(harness).map(\.address) == [place(1_000)])
  }

  @Test func `a member that moved finds room also while strangers fill theirs on other ports`() throws {
    let harness = try Harness.upPair(seed: 23)
    wander(harness, 10, stay: .milliseconds(500))
    try #require(withKey(harness).count == NeighbourLimits.placesPerMember)
    let digits = harness.network.descriptor.networkID.bytes.withBytes {
      UInt64(loadBig32($0)) << 32 | UInt64(loadBig32($0 + 4))
    }
    func strangers() -> Int { harness.boxes[0].engine.adjacencies.count { $0.port != port1 } }
    for port: UInt16 in 2...9 {
      harness.setPort(0, port)
      for i in 0..<UInt8(NeighbourLimits.neighboursPerPort) {
        let frame = DiscoverFrame(
          isWide: false, wantsAnswer: false, port: 1, network: digits, epoch: 1, nonce: Bytes16(),
          id: TestNetwork.identity(UInt8(port) * 10 + i + 100).id, certificate: [])
        harness.inject(frame.encode(), into: 0, port: port, from: place(9_000 + Int(port) * 10 + Int(i)))
      }
    }
    try #require(strangers() == NeighbourLimits.strangers)
    harness.moved[1] = place(2_000)
    harness.setPort(1)
    let from = harness.now
    harness.run(until: from + .seconds(5), orWhen: { linksUp(harness).contains { $0.address == place(2_000) } })
    #expect(harness.now - from < .seconds(1), "\(harness.now - from)")
    #expect(strangers() < NeighbourLimits.strangers)
  }

  @Test func `who repeats a member's DISCOVER makes no room with it, and what is heard gives none`() throws {
    let harness = try Harness.upPair(seed: 22)
    harness.wires[0].isRecording = true
    wander(harness, 30)
    harness.run(for: .seconds(1))
    let box = harness.boxes[0]
    try #require(box.engine.adjacencies.count == NeighbourLimits.placesPerMember)
    let live = try #require(linksUp(harness).first)
    let (before, downs) = (withKey(harness), box.downs)
    try #require(before.count >= 3)
    // All it ever said, from other addresses: no place but those of who has no key.
    let heard = harness.wires[0].heard.filter { $0.type == 1 && $0.from == 1 }
    let proved = heard.filter { $0.bytes[2] & DiscoverFrame.Flag.proofFollows != 0 }
    for (i, frame) in heard.enumerated() {
      harness.inject(frame.bytes, into: 0, from: place(5_000 + i))
      harness.run(for: .milliseconds(20))
    }
    #expect(withKey(harness) == before)
    // From where it said it, proved, when that was forgotten: older silent records go, never the one that is heard.
    let gone = proved.filter { !before.contains($0.source) }
    try #require(gone.count >= 3)
    for frame in gone {
      harness.inject(frame.bytes, into: 0, from: frame.source)
      harness.run(for: .milliseconds(60))
    }
    #expect(withKey(harness).count < before.count)
    #expect(linksUp(harness).map(\.number) == [live.number])
    #expect(linksUp(harness).map(\.address) == [live.address])
    #expect(box.downs == downs)
    #expect(box.engine.tables.numbers.count <= NeighbourLimits.neighboursPerPort)
  }
}
