// Random networks under random faults, then quiet: everything that is physically connected is reachable again; and a large
// one. Fixed seeds, and a fresh one that is printed, so that a failure can be run again.

import Core
import Simulator
import Testing

@Suite struct RandomTests {
  static let freshSeed = UInt64.random(in: 1...999_999)

  private func randomQuality(_ random: inout SeededRandom) -> LinkQuality {
    var quality = LinkQuality()
    switch random.below(6) {
    case 0: quality.loss = Double(random.below(30)) / 100
    case 1: quality.duplication = 0.2
    case 2: quality.jitter = .milliseconds(1 + Int64(random.below(10)))
    case 3: quality.corruption = Double(random.below(10)) / 100
    case 4: quality.delay = .milliseconds(1 + Int64(random.below(40)))
    default: quality.bitsPerSecond = 1_000_000 + Int64(random.below(20_000_000))
    }
    return quality
  }

  private func disturb(_ world: World, _ random: inout SeededRandom) {
    let node = random.below(world.nodes.count)
    let medium = random.below(world.mediumCount)
    switch random.below(10) {
    case 0: world.crash(node)
    case 1, 2: for box in world.nodes where !box.isRunning && random.below(2) == 0 { world.start(box.number) }
    case 3: world.setCut(medium, !world.isCut(medium))
    case 4: world.setCarrier(medium, !world.hasCarrier(medium))
    case 5, 6: world.setQuality(medium, randomQuality(&random), from: world.ends(of: medium)[random.below(2)])
    case 7: world.pause(node, for: .milliseconds(Int64(random.below(300))))
    case 8: world.setQuality(medium, .perfect)
    default: if random.below(2) == 0 { world.stop(node) } else { world.start(node) }
    }
  }

  @Test(arguments: [5, 101, 103, freshSeed])
  func `random networks and random faults`(seed: UInt64) throws {
    #expect(try live(through: seed) == [])
  }

  /// What went wrong in this seed's network.
  func live(through seed: UInt64, isTalkative: Bool = false) throws -> [String] {
    var random = SeededRandom(seed: seed)
    let count = 6 + random.below(7)
    let world = try World(
      .random(count, extra: random.below(count), seed: seed), enrolled: random.below(2) == 0, seed: seed)
    world.isTalkative = isTalkative
    world.startAll()
    world.run(for: .seconds(2))
    let flows = (0..<3).map { _ in
      world.startFlow(from: world.authority, to: random.below(count), every: .milliseconds(20), payload: 700)
    }
    while world.elapsed < .seconds(60) {
      disturb(world, &random)
      let kind = PacketKind.allCases[random.below(PacketKind.allCases.count)]
      world.send(
        kind, from: random.below(count), to: random.below(count),
        payload: 1 + random.below(kind.isSuperPacket ? 60_000 : 1_400))
      world.run(for: .milliseconds(Int64(20 + random.below(500))))
    }
    for flow in flows { world.endFlow(flow) }
    for box in world.nodes { world.start(box.number) }
    world.setQualityEverywhere(.perfect)
    // One stays as it is: the rest is what must be reachable.
    let left = random.below(world.mediumCount)
    for medium in 0..<world.mediumCount where medium != left {
      world.setCut(medium, false)
      world.setCarrier(medium, true)
    }
    let connected = world.connected(from: world.authority)
    let time = world.timeToReach(connected, atMost: .seconds(15))
    tell("seed \(seed): \(connected.count) of \(count) nodes reachable again", time)
    world.run(for: .seconds(2))
    let unanswered = world.unanswered(connected)
    world.checkTables()
    return world.violations + (time == nil ? ["not all came back"] : [])
      + (unanswered.isEmpty ? [] : ["\(unanswered) do not answer"])
  }

  @Test func `a hundred nodes form and stand`() throws {
    let world = try World(.grid(10, 10), seed: 100)
    let time = form(world)
    tell("grid 10x10 formed", time)
    #expect(time ?? .seconds(99) < .seconds(10))
    world.run(for: .seconds(4))
    #expect(world.unanswered() == [])
    world.checkTables()
    #expect(world.violations == [])
  }
}
