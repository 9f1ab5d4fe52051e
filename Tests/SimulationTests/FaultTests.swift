// What goes wrong in a network that stands, and how long it takes to mend.

import Core
import Testing

@testable import Node
@testable import Simulator

@Suite struct FaultTests {
  private func standing(_ layout: Layout, seed: UInt64 = 1, quality: LinkQuality? = nil) throws -> World {
    let world = try World(layout, seed: seed)
    if let quality { world.setQualityEverywhere(quality) }
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    return world
  }

  private func judge(_ world: World) {
    world.checkTables()
    #expect(world.violations == [])
  }

  // MARK: Processes

  @Test(arguments: ["chain", "grid", "star"]) func `an MA that is killed and started again`(shape: String) throws {
    let layout: Layout = shape == "chain" ? .line(17) : shape == "grid" ? .grid(5, 5) : .star(12)
    for away: Int64 in [20, 700, 8_000] {
      let world = try standing(layout)
      world.crash(0)
      world.run(for: .milliseconds(away))
      world.start(0)
      let time = world.timeToReach(atMost: .seconds(10))
      tell("MA of a \(shape) back after \(away) ms: all reached", time)
      #expect(time ?? .seconds(99) < .seconds(3))
      judge(world)
    }
  }

  @Test(arguments: ["chain", "grid"]) func `a CM that is killed and started again`(shape: String) throws {
    let layout: Layout = shape == "chain" ? .line(9) : .grid(4, 4)
    let victim = shape == "chain" ? 4 : 5
    for away: Int64 in [20, 700, 8_000] {
      let world = try standing(layout, seed: 2)
      let flow = world.startFlow(from: 0, to: layout.nodeCount - 1)
      world.run(for: .milliseconds(200))
      let killed = world.now
      world.crash(victim)
      world.run(for: .milliseconds(away))
      world.start(victim)
      let time = world.timeToReach(atMost: .seconds(10))
      tell("CM of a \(shape) back after \(away) ms: all reached", time)
      #expect(time ?? .seconds(99) < .seconds(2))
      let gap = world.longestGap(flow, from: killed, to: world.now)
      tell("   gap of a flow past it", gap)
      if shape == "grid" { #expect(gap < .seconds(1)) }
      judge(world)
    }
  }

  /// Its neighbours' links get other numbers than before, so that the MA needs to hear of them from those behind it,
  /// whose routes lead through what it has forgotten.
  @Test(arguments: [1, 4], [20, 60, 200] as [Int64])
  func `a CM that comes back with other link numbers`(victim: Int, away: Int64) throws {
    let world = try World(.line(9), seed: 3)
    // Its link away from the MA is the first, then the one towards it; after the start it is the other way around.
    world.setCut(victim - 1, true)
    #expect(form(world, atMost: .milliseconds(300)) == nil)
    world.setCut(victim - 1, false)
    #expect(world.timeToReach(atMost: .seconds(10)) != nil)
    world.run(for: .milliseconds(1_350))
    let numbers = world.nodes[victim].running?.node.neighbour.adjacencies.map { $0.port.value }
    world.crash(victim)
    world.run(for: .milliseconds(away))
    world.start(victim)
    let time = world.timeToReach(atMost: .seconds(10))
    tell("CM \(victim) back after \(away) ms with other numbers: all reached", time)
    #expect(time ?? .seconds(99) < .milliseconds(400))
    #expect(numbers != world.nodes[victim].running?.node.neighbour.adjacencies.map { $0.port.value })
    judge(world)
  }

  @Test func `two halves of a network that meet`() throws {
    for pause: Int64 in [0, 500] {
      let world = try standing(.line(9), seed: 4)
      world.setCut(4, true)
      world.run(for: .milliseconds(3_000 + pause))
      world.setCut(4, false)
      let time = world.timeToReach(atMost: .seconds(10))
      tell("halves that meet after 3 s: all reached", time)
      #expect(time ?? .seconds(99) < .milliseconds(500))
      judge(world)
    }
  }

  @Test func `a node that says goodbye is left at once`() throws {
    let world = try standing(.grid(3, 3))
    let flow = world.startFlow(from: 0, to: 8)
    world.run(for: .milliseconds(200))
    let stopped = world.now
    world.stop(4)
    world.stop(1)
    world.run(for: .seconds(2))
    let gap = world.longestGap(flow, from: stopped, to: world.now)
    tell("gap of a flow whose nodes say goodbye", gap)
    #expect(gap < .milliseconds(500))
    #expect(world.unanswered([2, 3, 5, 6, 7, 8]) == [])
    judge(world)
  }

  @Test func `an MA whose store was set back`() throws {
    let world = try World(.line(5), seed: 4)
    #expect(form(world) != nil)
    let old = world.nodes[0].store
    for _ in 0..<4 {
      world.crash(0)
      world.run(for: .milliseconds(500))
      world.start(0)
      world.run(for: .seconds(3))
    }
    #expect(world.unanswered() == [])
    world.crash(0)
    world.nodes[0].store = old
    world.run(for: .milliseconds(500))
    world.start(0)
    let time = world.timeToReach(atMost: .seconds(10))
    tell("MA set back: all reached", time)
    #expect(time ?? .seconds(99) < .seconds(3))
    #expect(world.nodes[0].hasLogged("behind its network's"))
    judge(world)
  }

  @Test func `loops that are late`() throws {
    let world = try standing(.ring(5), seed: 6)
    let flow = world.startFlow(from: 0, to: 2)
    let start = world.now
    for round in 0..<10 {
      world.pause(round % 5, for: .milliseconds(Int64([15, 60, 25, 200, 40][round % 5])))
      world.run(for: .milliseconds(400))
    }
    world.run(for: .seconds(1))
    tell("gap of a flow with late loops", world.longestGap(flow, from: start, to: world.now))
    #expect(world.unanswered() == [])
    judge(world)
  }

  // MARK: Links

  @Test(arguments: ["ring", "grid", "parallel"], [true, false])
  func `a link that is cut`(shape: String, silently: Bool) throws {
    let layout: Layout = shape == "ring" ? .ring(8) : shape == "grid" ? .grid(5, 5) : .parallel(2)
    let world = try standing(layout, seed: 7)
    let far = shape == "ring" ? 3 : shape == "grid" ? 24 : 1
    let down = world.startFlow(from: 0, to: far)
    let up = world.startFlow(from: far, to: 0)
    world.run(for: .milliseconds(300))
    var worst = (Duration.zero, Duration.zero)
    for medium in 0..<world.mediumCount {
      let start = world.now
      if silently { world.setCut(medium, true) } else { world.setCarrier(medium, false) }
      world.run(for: .milliseconds(1_200))
      worst = (
        max(worst.0, world.longestGap(down, from: start, to: world.now)),
        max(worst.1, world.longestGap(up, from: start, to: world.now))
      )
      if silently { world.setCut(medium, false) } else { world.setCarrier(medium, true) }
      world.run(for: .milliseconds(600))
    }
    tell("\(shape), links cut \(silently ? "silently" : "by carrier"): worst gap down", worst.0)
    tell("   up", worst.1)
    #expect(worst.0 < .seconds(1))
    #expect(worst.1 < .seconds(1))
    world.run(for: .seconds(1))
    #expect(world.unanswered() == [])
    judge(world)
  }

  @Test func `a link deaf in one direction is not used`() throws {
    let world = try standing(.ring(6), seed: 8)
    let flow = world.startFlow(from: 0, to: 2)
    world.run(for: .milliseconds(300))
    var deaf = LinkQuality()
    deaf.loss = 1
    let start = world.now
    world.setQuality(0, deaf, from: 1)
    world.run(for: .seconds(3))
    let gap = world.longestGap(flow, from: start, to: world.now)
    tell("one-way loss: gap", gap)
    #expect(gap < .seconds(1))
    #expect(world.unanswered() == [])
    judge(world)
  }

  @Test func `a link that swallows long frames is found out`() throws {
    let world = try standing(.ring(4), seed: 9)
    world.setLargestFrame(0, 1_000)
    world.run(for: .seconds(5))
    let numbers = (0..<20).map { _ in
      world.run(for: .milliseconds(20))
      return world.send(.udp4, from: 0, to: 1, payload: 1_100)
    }
    world.run(for: .seconds(1))
    let arrived = numbers.filter { $0.map { world.traffic.packets[$0].isComplete } ?? false }.count
    print("SIM swallowed frames: \(arrived) of 20 packets arrive")
    #expect(arrived == 20)
    judge(world)
  }

  // MARK: Bad lines

  static let lines: [(name: String, quality: LinkQuality)] = {
    var loss = LinkQuality()
    loss.loss = 0.1
    var doubled = LinkQuality()
    doubled.duplication = 0.3
    var reordered = LinkQuality()
    reordered.jitter = .milliseconds(5)
    var corrupted = LinkQuality()
    corrupted.corruption = 0.05
    var slow = LinkQuality()
    slow.delay = .milliseconds(100)
    slow.bitsPerSecond = 1_000_000
    var everything = LinkQuality()
    everything.loss = 0.05
    everything.duplication = 0.1
    everything.jitter = .milliseconds(3)
    everything.corruption = 0.02
    everything.delay = .milliseconds(2)
    return [
      ("loss 10 %", loss), ("duplication", doubled), ("reordering", reordered), ("corruption 5 %", corrupted),
      ("100 ms, 1 Mb/s", slow), ("everything", everything),
    ]
  }()

  @Test(arguments: lines.indices) func `bad lines`(line: Int) throws {
    let (name, quality) = FaultTests.lines[line]
    let world = try World(.grid(3, 3), enrolled: false, seed: 11)
    world.setQualityEverywhere(quality)
    let time = form(world)
    tell("grid 3x3, \(name): formed", time)
    #expect(time != nil)
    let flow = world.startFlow(from: 0, to: 8, every: .milliseconds(10))
    for _ in 0..<20 {
      for kind in PacketKind.allCases {
        world.send(kind, from: 0, to: 1, payload: 900)
        world.send(kind, from: 8, to: 0, payload: kind.isSuperPacket ? 20_000 : 1_000)
      }
      world.run(for: .milliseconds(500))
    }
    let delivered = world.traffic.flows[flow].arrivals.count * 100 / max(1, world.traffic.flows[flow].sent)
    print("SIM    \(name): \(delivered) % delivered over 4 hops")
    world.setQualityEverywhere(.perfect)
    world.run(for: .seconds(3))
    let again = world.timeToReach(atMost: .seconds(3))
    tell("   quiet again: all reached", again)
    #expect(again != nil)
    judge(world)
  }

  @Test func `every kind of packet, both ways and from component to component`() throws {
    let world = try standing(.line(5), seed: 12)
    var numbers: [Int] = []
    for kind in PacketKind.allCases {
      for payload in kind.isSuperPacket ? [1, 1_000, 5_000, 60_000] : [12, 800, 1_200, 1_400] {
        for (a, b) in [(0, 4), (4, 0), (2, 4), (4, 1)] {
          if let number = world.send(kind, from: a, to: b, payload: payload) { numbers.append(number) }
          world.run(for: .milliseconds(20))
        }
      }
    }
    world.run(for: .seconds(1))
    #expect(numbers.count == 6 * 4 * 4)
    for number in numbers where !world.traffic.packets[number].isComplete {
      let packet = world.traffic.packets[number]
      Issue.record("packet \(packet.kind) from \(packet.source) to \(packet.destination) did not come whole")
    }
    judge(world)
  }
}

extension PacketKind {
  var isSuperPacket: Bool { self == .tcp4 || self == .tcp6 }
}
