// Damping follows the neighbour and not its address, nor an interface that is made anew (docs/decisions/0064).

import Core
import Crypto
import Membership
import Testing

@testable import Neighbour

@Suite struct FallsTests {
  private func linksUp(_ harness: Harness) -> [Adjacency] {
    harness.boxes[0].engine.adjacencies.filter { $0.state == .up }
  }

  /// Box 1 falls so often, before each return `change` is made.
  private func flap(_ harness: Harness, _ count: Int, change: (Int) -> Void) {
    for i in 0..<count {
      harness.setPort(1, isUp: false)
      harness.run(for: .milliseconds(300))
      change(i)
      harness.setPort(1)
      harness.run(until: harness.now + .seconds(2), orWhen: { !linksUp(harness).isEmpty })
      #expect(!linksUp(harness).isEmpty)
    }
  }

  private func address(_ i: Int) -> MACAddress { MACAddress(0x0266_0000_0000 | UInt64(i)) }

  @Test(arguments: [0, 1, 3, 20]) func `who flaps pays for it, whatever his address`(addresses: Int) throws {
    let harness = try Harness.upPair(seed: 41)
    flap(harness, 20) { i in if addresses > 0 { harness.moved[1] = address(i % addresses) } }
    harness.run(for: .seconds(3))
    // The first fall is free.
    let (falls, costs) = (harness.boxes[0].downs, linksUp(harness).map(\.cost))
    #expect(falls >= 20)
    #expect(costs == [10 + UInt16(falls - 1) * 10])
    harness.run(for: .seconds(61))
    let left = 10 + UInt16(falls - 1) * 5
    #expect(linksUp(harness).map(\.cost) == [left])
    // And what is left meets him under another address.
    harness.moved[1] = address(1_000)
    harness.setPort(1)
    harness.run(for: .seconds(1))
    #expect(linksUp(harness).map(\.cost) == [left])
    harness.run(for: .seconds(600))
    #expect(linksUp(harness).map(\.cost) == [10])
  }

  @Test func `who gives its end of a link that stands another number pays for it as for a fall`() throws {
    let harness = Harness.pair(seed: 44, adjust: { $0.rekeyAge = .seconds(2) })
    try #require(harness.runUntilUp() != nil)
    for _ in 0..<5 {
      let keys = harness.boxes[0].engine.counters.keysProved
      harness.record(0).pointee.peerNumber &+= 1
      harness.run(until: harness.now + .seconds(10)) { harness.boxes[0].engine.counters.keysProved > keys }
    }
    #expect(harness.boxes[0].downs == 0 && linksUp(harness).map(\.cost) == [10 + 4 * 10])
    // A new key alone costs nothing.
    harness.run(for: .seconds(30))
    #expect(linksUp(harness).map(\.cost) == [10 + 4 * 10])
  }

  @Test func `who flaps pays for it on a port that is made anew each time`() throws {
    let harness = Harness(seed: 42)
    harness.addBox(10)
    harness.addBox(11)
    for port: UInt16 in 1...20 { _ = harness.wire([(0, port), (1, 1)]) }
    harness.setPort(1)
    for port: UInt16 in 1...20 {
      harness.setPort(0, port)
      harness.setPort(1)
      harness.run(for: .milliseconds(300))
      #expect(linksUp(harness).count == 1)
      harness.boxes[0].engine.portVanished(PortNumber(port), at: harness.now)
      harness.drain(0)
      harness.run(for: .milliseconds(300))
    }
    _ = harness.wire([(0, 21), (1, 1)])
    harness.setPort(0, 21)
    harness.setPort(1)
    harness.run(for: .milliseconds(300))
    #expect(linksUp(harness).map(\.cost) == [10 + 190])
  }

  @Test func `a bad wire makes another to the same neighbour no dearer, and a new neighbour begins anew`() throws {
    let harness = Harness(seed: 43)
    harness.addBox(10)
    for _ in 0..<2 { harness.addBox(11) }
    harness.addBox(12)
    for i in 1...3 { _ = harness.wire([(0, UInt16(i)), (i, 1)]) }
    for i in 1...3 { harness.setPort(0, UInt16(i)) }
    harness.setPort(1)
    harness.run(for: .seconds(2))
    flap(harness, 20) { _ in }
    harness.setPort(2)
    harness.setPort(3)
    harness.run(for: .seconds(2))
    #expect(linksUp(harness).sorted { $0.port.value < $1.port.value }.map(\.cost) == [200, 10, 10])
    // One fall of the good wire costs nothing.
    harness.setPort(2, isUp: false)
    harness.run(for: .milliseconds(300))
    harness.setPort(2)
    harness.run(for: .seconds(1))
    #expect(linksUp(harness).sorted { $0.port.value < $1.port.value }.map(\.cost) == [200, 10, 10])
  }

  @Test func `the table keeps the dearest, and what was lost with its port is kept once`() {
    func id(_ n: Int) -> ComponentID {
      var bytes = Bytes16()
      bytes.withMutableBytes { ($0[0], $0[1]) = (UInt8(n & 255), UInt8(n >> 8)) }
      return ComponentID(bytes)
    }
    let start = Instant(nanoseconds: 5_000_000_000)
    var memory = FallMemory()
    let wire = FallMemory.Place.port(PortNumber(1))
    func left(_ n: Int, _ place: FallMemory.Place, at now: Instant) -> UInt16 {
      memory.penalty(of: id(n), on: place, at: now).penalty
    }
    for i in 0..<5 { #expect(memory.note(id(0), on: wire, at: start + .seconds(Int64(i))) == UInt16(10 * i)) }
    for n in 1...2_000 { #expect(memory.note(id(n), on: wire, at: start + .seconds(10)) == 0) }
    #expect(left(0, wire, at: start + .seconds(10)) == 40)
    // Halved after a minute, gone after three.
    #expect(left(0, wire, at: start + .seconds(64)) == 20)
    #expect(memory.penalty(of: id(0), on: wire, at: start + .seconds(65)).until == start + .seconds(124))
    #expect(left(0, wire, at: start + .seconds(124)) == 10)
    #expect(left(0, wire, at: start + .seconds(184)) == 0)

    memory = FallMemory()
    let other = FallMemory.Place.port(PortNumber(2))
    for _ in 0..<3 { _ = memory.note(id(0), on: wire, at: start) }
    for _ in 0..<6 { _ = memory.note(id(0), on: other, at: start) }
    for _ in 0..<9 { _ = memory.note(id(0), on: .tunnels, at: start) }
    memory.lose(PortNumber(1))
    memory.lose(PortNumber(2))
    memory.lose(PortNumber(3))
    let third = FallMemory.Place.port(PortNumber(3))
    #expect(left(1, third, at: start) == 0)
    #expect(left(0, third, at: start) == 50)
    // It was taken over, and tunnels are for themselves.
    #expect(left(0, .port(PortNumber(4)), at: start) == 0)
    #expect(left(0, .tunnels, at: start) == 80)
  }
}
