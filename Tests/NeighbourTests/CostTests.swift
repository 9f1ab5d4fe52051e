// What the packet path and an idle link cost. Times mean something in a release build only, so this runs when asked:
//   LIFELINE_COSTS=1 swift test -c release -Xswiftc -enable-testing --filter CostTests

import Core
import Crypto
import Foundation
import Testing

@testable import Neighbour

@Suite(.enabled(if: ProcessInfo.processInfo.environment["LIFELINE_COSTS"] != nil)) struct CostTests {
  private func nanoseconds(_ count: Int, _ body: () -> Void) -> Double {
    var best = Double.infinity
    for _ in 0..<5 {
      let clock = ContinuousClock()
      let time = clock.measure(body)
      let (seconds, attoseconds) = time.components
      best = min(best, (Double(seconds) * 1e9 + Double(attoseconds) / 1e9) / Double(count))
    }
    return best
  }

  @Test("receiving and sealing a 112-byte header")
  func packetPath() throws {
    _ = Sodium.initialize()
    let harness = Harness.pair(seed: 1)
    try #require(harness.runUntilUp() != nil)
    let count = 100_000
    let slab = UnsafeMutablePointer<UInt8>.allocate(capacity: 2048)
    defer { slab.deallocate() }
    slab.initialize(repeating: 0x40, count: 2048)
    let (port, source, now) = (PortNumber(1), harness.address(0, PortNumber(1)), harness.now)
    let (from, to) = (harness.boxes[0], harness.boxes[1])
    for (onionClass, size) in [(2, 1500), (0, 1500), (0, 200)] as [(UInt8, Int)] {
      var refused = 0
      let sealing = nanoseconds(count) {
        for _ in 0..<count {
          slab[15] = onionClass << 5
          var frame = PacketBuffer(base: slab, capacity: 2048, start: 0, count: size)
          if from.engine.sealOnion(&frame, sizeCode: 0, on: 1, at: now) == nil { refused += 1 }
        }
      }
      let both = nanoseconds(count) {
        for _ in 0..<count {
          slab[15] = onionClass << 5
          var frame = PacketBuffer(base: slab, capacity: 2048, start: 0, count: size)
          if from.engine.sealOnion(&frame, sizeCode: 0, on: 1, at: now) == nil { refused += 1 }
          if to.engine.receive(&frame, on: port, from: source, at: now) != .onion(adjacency: 1) { refused += 1 }
        }
      }
      #expect(refused == 0)
      print("class \(onionClass), \(size) bytes: seal \(Int(sealing)) ns, receive \(Int(both - sealing)) ns")
    }
  }

  @Test("an idle link")
  func idle() throws {
    _ = Sodium.initialize()
    let harness = Harness(seed: 1)
    harness.addBox(10)
    for seed in 1...4 {
      harness.addBox(UInt8(30 + seed))
      _ = harness.wire([(0, UInt16(seed)), (seed, 1)])
    }
    for seed in 1...4 {
      harness.setPort(0, UInt16(seed))
      harness.setPort(seed)
    }
    harness.run(for: .seconds(3))
    let before = harness.boxes.map { $0.engine.counters.hellosSent }
    let seconds = 60
    let clock = ContinuousClock()
    let time = clock.measure { harness.run(for: .seconds(Int64(seconds))) }
    let hellos = harness.boxes.enumerated().reduce(0) {
      $0 + Int($1.element.engine.counters.hellosSent - before[$1.offset])
    }
    let (whole, atto) = time.components
    let spent = Double(whole) * 1e9 + Double(atto) / 1e9
    print("\(hellos) hellos sent and received with 5 engines, harness included: \(Int(spent) / hellos) ns each")
    let mine = Int(harness.boxes[0].engine.counters.hellosSent - before[0])
    print("the box with 4 links sends \(mine / seconds) a second")
  }
}
