// Somebody on a segment says over and over what its members said in clear, from ever new addresses. A node that starts
// amid that finds its neighbour all the same (docs/PROTOCOL.md §2, docs/decisions/0029).

import Core
import Testing

@testable import Neighbour
@testable import Node
@testable import Simulator

enum ReplayFlood: CaseIterable {
  /// As they were heard.
  case replayed
  /// With ever new nonces.
  case forged
  /// So, and the neighbour itself starts a second later, when every budget is long used up.
  case forgedAndLater
}

@Suite struct ReplayFloodTests {
  /// From the start of the later of the two until its link is up, and until its component is reached.
  private func restart(perSecond rate: Int, flood: ReplayFlood, seed: UInt64) throws -> (
    link: Duration?, all: Duration?
  ) {
    let world = try World(.shared(.hub, 2), seed: seed)
    var heard: [[UInt8]] = [[], []]
    world.listen(to: 0) { world, frame in
      guard frame.isDiscover, frame.bytes.count >= 254 else { return }
      for number in 0..<2 where frame.source == world.nodes[number].ports[0].address && heard[number].isEmpty {
        heard[number] = Array(frame.bytes.prefix(254))
      }
    }
    #expect(form(world) != nil)
    world.run(for: .seconds(1))
    world.crash(0)
    #expect(heard.allSatisfy { !$0.isEmpty })
    var random = SeededRandom(seed: seed)
    world.every(.milliseconds(1), for: .seconds(15)) { world in
      for _ in 0..<rate / 1_000 {
        let source = MACAddress(0x0266_0000_0000 | random.next() & 0xffff_ffff)
        for number in 0..<2 {
          var bytes = heard[1 - number]
          if flood != .replayed { for i in 17..<33 { bytes[i] = UInt8(truncatingIfNeeded: random.next()) } }
          world.inject(bytes, into: 0, from: source, at: number)
        }
      }
    }
    world.run(for: .milliseconds(1_300))
    if flood == .forgedAndLater { world.crash(1) }
    world.start(0)
    if flood == .forgedAndLater {
      world.run(for: .seconds(1))
      world.start(1)
    }
    let start = world.now
    let link = world.run(atMost: .seconds(10)) {
      $0.nodes[0].running?.node.neighbour.adjacencies.contains { $0.state == .up } ?? false
    }
    let all = world.run(atMost: .seconds(10)) { $0.reachable == 1 && $0.isReady(1) }.map { _ in world.now - start }
    #expect(world.violations == [])
    return (link, all)
  }

  @Test(arguments: [1_000, 8_000], ReplayFlood.allCases)
  func `an MA that starts in a flood of its neighbour's DISCOVERs`(
    rate: Int, flood: ReplayFlood
  ) throws {
    var worst = (Duration.zero, Duration.zero)
    for seed in UInt64(51)...55 {
      let time = try restart(perSecond: rate, flood: flood, seed: seed)
      tell("   link up", time.link)
      worst = (max(worst.0, time.link ?? .seconds(99)), max(worst.1, time.all ?? .seconds(99)))
    }
    tell(
      "\(rate) DISCOVERs a second, \(flood): worst start until the link is up", worst.0)
    tell("   and until the neighbour is reached", worst.1)
    #expect(worst.0 < .seconds(2))
    #expect(worst.1 < .seconds(3))
  }
}
