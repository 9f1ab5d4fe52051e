// Failures on a flow's way: what is protected loses nothing, and what is not finds another way within the table of the
// design ("Repair: what a failure may cost").

import Core
import Store
import Testing

@testable import Node
@testable import Simulator

@Suite struct RepairTests {
  /// What happens to a link.
  enum Cut: String, CaseIterable, Sendable {
    case carrier, silent, oneWay

    /// The longest gap of an unprotected flow.
    var limit: Duration {
      switch self {
      case .carrier: .milliseconds(5)
      case .silent: .milliseconds(37)
      case .oneWay: .milliseconds(38)
      }
    }
  }

  private func standing(_ layout: Layout, isProtected: Bool, seed: UInt64) throws -> World {
    let world = try World(layout, seed: seed)
    if !isProtected { try world.set("protected-rate=0") }
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    return world
  }

  /// Ends protected flows, waits for what is under way, and judges.
  private func expectNoLoss(_ world: World, _ flows: [Int], _ what: String) {
    for flow in flows { world.endFlow(flow) }
    world.run(for: .milliseconds(200))
    for flow in flows {
      let lost = world.traffic.flows[flow].sent - world.traffic.flows[flow].arrivals.count
      print("SIM protected, \(what): \(lost) of \(world.traffic.flows[flow].sent) lost")
      #expect(lost == 0)
    }
  }

  private func cut(_ world: World, _ medium: Int, _ kind: Cut) {
    switch kind {
    case .carrier: world.setCarrier(medium, false)
    case .silent: world.setCut(medium, true)
    case .oneWay:
      var deaf = LinkQuality()
      deaf.loss = 1
      world.setQuality(medium, deaf, from: world.ends(of: medium)[medium % 2])
    }
  }

  private func mend(_ world: World, _ medium: Int, _ kind: Cut) {
    switch kind {
    case .carrier: world.setCarrier(medium, true)
    case .silent: world.setCut(medium, false)
    case .oneWay: world.setQuality(medium, .perfect)
    }
  }

  @Test(arguments: [7, 12] as [Int64])
  func `an MA that is cut off for a moment has both ways to each component again`(milliseconds: Int64) throws {
    // So many components that their alternates take longer than the cut.
    let world = try standing(.grid(7, 7), isProtected: true, seed: 91)
    let both = world.media(of: 0)
    #expect(both.count == 2)
    for medium in both { world.setCarrier(medium, false) }
    world.run(for: .milliseconds(milliseconds))
    for medium in both { world.setCarrier(medium, true) }
    world.run(for: .seconds(6))
    guard let node = world.nodes[0].running?.storage else {
      Issue.record("the MA runs")
      return
    }
    let channels = node.pointee.channels.filter { !$0.isUplink && $0.session != nil }
    #expect(channels.count == 48)
    for channel in channels {
      #expect(channel.ways.places.filter { $0 != nil }.count >= 2 && !channel.ways.twins.isEmpty)
    }
  }

  @Test(arguments: ["ring", "grid"], Cut.allCases)
  func `a protected flow loses no packet when a link fails`(shape: String, kind: Cut) throws {
    let layout: Layout = shape == "ring" ? .ring(6) : .grid(4, 4)
    let far = shape == "ring" ? 2 : 15
    let world = try standing(layout, isProtected: true, seed: 71)
    let flows = [(0, far), (far, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(2)) }
    world.run(for: .milliseconds(300))
    for medium in stride(from: 0, to: world.mediumCount, by: shape == "ring" ? 1 : 5) {
      cut(world, medium, kind)
      world.run(for: .milliseconds(400))
      mend(world, medium, kind)
      world.run(for: .milliseconds(600))
    }
    expectNoLoss(world, flows, "\(shape) \(kind.rawValue)")
    world.checkTables()
    #expect(world.violations == [])
  }

  @Test(arguments: ["ring", "grid"], Cut.allCases)
  func `an unprotected flow finds another way`(shape: String, kind: Cut) throws {
    let layout: Layout = shape == "ring" ? .ring(6) : .grid(4, 4)
    let far = shape == "ring" ? 2 : 15
    let world = try standing(layout, isProtected: false, seed: 72)
    let flows = [(0, far), (far, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64) }
    world.run(for: .milliseconds(300))
    var worst = Duration.zero
    for medium in stride(from: 0, to: world.mediumCount, by: shape == "ring" ? 1 : 5) {
      let start = world.now
      cut(world, medium, kind)
      world.run(for: .milliseconds(400))
      mend(world, medium, kind)
      world.run(for: .milliseconds(600))
      for flow in flows { worst = max(worst, world.longestGap(flow, from: start, to: world.now)) }
    }
    tell("unprotected \(shape) \(kind.rawValue): worst gap", worst)
    #expect(worst <= kind.limit)
    world.checkTables()
    #expect(world.violations == [])
  }

  /// As behind a media converter. The far end tells the MA; nobody on the near side of the link has to.
  @Test func `a link of the authority's whose carrier is lost at the far end alone`() throws {
    for (layout, far) in [(Layout.ring(6), 2), (.grid(4, 4), 15)] {
      let world = try standing(layout, isProtected: false, seed: 77)
      let flow = world.startFlow(from: 0, to: far, every: .milliseconds(1), payload: 64)
      world.run(for: .milliseconds(300))
      var worst = Duration.zero
      for medium in 0..<world.mediumCount where world.ends(of: medium).contains(0) {
        let start = world.now
        world.setCut(medium, true)
        world.setCarrier(medium, false, of: world.ends(of: medium).max())
        world.run(for: .milliseconds(400))
        world.setCut(medium, false)
        world.setCarrier(medium, true)
        world.run(for: .milliseconds(600))
        worst = max(worst, world.longestGap(flow, from: start, to: world.now))
      }
      tell("unprotected, carrier lost at the far end of an MA's link: worst gap", worst)
      #expect(worst <= .milliseconds(3))
      world.checkTables()
      #expect(world.violations == [])
    }
  }

  @Test(arguments: [true, false], ["killed", "frozen"])
  func `a node on the way dies`(isProtected: Bool, how: String) throws {
    for (layout, far, victims) in [(Layout.ring(6), 2, [1, 5, 4]), (.grid(4, 4), 15, [1, 5, 10, 14])] {
      let world = try standing(layout, isProtected: isProtected, seed: 73)
      let flows = [(0, far), (far, 0)].map {
        world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64)
      }
      world.run(for: .milliseconds(300))
      var worst = Duration.zero
      for victim in victims {
        let start = world.now
        if how == "killed" { world.crash(victim) } else { world.pause(victim, for: .milliseconds(400)) }
        world.run(for: .milliseconds(400))
        if how == "killed" { world.start(victim) }
        world.run(for: .milliseconds(600))
        for flow in flows { worst = max(worst, world.longestGap(flow, from: start, to: world.now)) }
      }
      for flow in flows { world.endFlow(flow) }
      world.run(for: .milliseconds(200))
      tell("\(isProtected ? "protected" : "unprotected"), a node \(how): worst gap", worst)
      #expect(worst <= .milliseconds(37))
      if isProtected {
        for flow in flows {
          let lost = world.traffic.flows[flow].sent - world.traffic.flows[flow].arrivals.count
          print("SIM    \(lost) of \(world.traffic.flows[flow].sent) lost")
          #expect(lost == 0)
        }
      }
      world.checkTables()
      #expect(world.violations == [])
    }
  }

  /// Before its neighbours have missed it: its keys are gone, and no link is down.
  @Test func `a node on the way that begins anew at once`() throws {
    for (layout, seed, pairs, victims) in [
      (Layout.grid(5, 5), 76, [(0, 24), (24, 0), (0, 4), (20, 0)], [1, 5, 2, 10, 1, 23]),
      (.ring(6), 81, [(0, 2), (2, 0)], [1, 1, 5, 1, 4]),
      // Behind it are nodes whose beacons come through it.
      (.line(4), 82, [(0, 3), (3, 0)], [2, 1, 2, 2, 1]),
    ] {
      let world = try standing(layout, isProtected: false, seed: UInt64(seed))
      let flows = pairs.map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64) }
      world.run(for: .milliseconds(300))
      var (worst, reached) = (Duration.zero, Duration.zero)
      for victim in victims {
        // At all distances from the MA's beacons, one a second: nobody waits for the next one.
        world.run(for: .milliseconds(270))
        let start = world.now
        world.crash(victim)
        world.run(for: .milliseconds(5))
        world.start(victim)
        reached = max(reached, world.timeToReach(atMost: .seconds(5)) ?? .seconds(99))
        world.run(for: .milliseconds(1_500))
        for flow in flows { worst = max(worst, world.longestGap(flow, from: start, to: world.now)) }
      }
      tell("unprotected, a node that begins anew at once: worst gap", worst)
      tell("it is reached again after at most", reached)
      #expect(worst <= .milliseconds(20))
      // A round of questions waits 50 ms for its answers, and the first finds the node without a session.
      #expect(reached <= .milliseconds(60))
      world.checkTables()
      #expect(world.violations == [])
    }
  }

  @Test(arguments: [true, false]) func `a node that passes hellos and drops what it should pass on`(isProtected: Bool)
    throws
  {
    let world = try standing(.ring(6), isProtected: isProtected, seed: 74)
    let flows = [(0, 2), (2, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64) }
    world.run(for: .milliseconds(1_300))
    let start = world.now
    world.setConduct(1, .greyHole)
    world.run(for: .seconds(5))
    let worst = flows.map { world.longestGap($0, from: start, to: world.now) }.max() ?? .zero
    for flow in flows { world.endFlow(flow) }
    world.run(for: .milliseconds(200))
    tell("\(isProtected ? "protected" : "unprotected"), a grey hole: worst gap", worst)
    #expect(worst <= (isProtected ? .milliseconds(2) : .seconds(1)))
    for flow in flows where isProtected {
      #expect(world.traffic.flows[flow].sent == world.traffic.flows[flow].arrivals.count)
    }
    world.checkTables()
    #expect(world.violations == [])
  }

  /// Every other of them is found while the other way is still in doubt for the one before.
  @Test(arguments: [true, false]) func `grey holes on the way in use, one after the other`(isProtected: Bool) throws {
    let world = try standing(.ring(6), isProtected: isProtected, seed: 75)
    let flows = [(0, 2), (2, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64) }
    world.run(for: .milliseconds(1_300))
    var (worst, victims) = (Duration.zero, Set<Int>())
    for number in 0..<24 {
      let node = try #require(world.nodes[0].running?.storage)
      let channel = try #require(
        node.pointee.channels.first { world.nodes[2].running?.storage.pointee.identity.id == $0.peer })
      let egress = try #require(channel.ways.main?.egress)
      let first = node.pointee.neighbour.adjacencies.first { $0.number == egress }?.id
      let victim = first == world.nodes[1].running?.storage.pointee.identity.id ? 1 : [5, 3, 4][number % 3]
      victims.insert(victim)
      let start = world.now
      world.setConduct(victim, .greyHole)
      world.run(for: .milliseconds(1_500))
      world.setConduct(victim, .honest)
      world.run(for: .milliseconds(500))
      for flow in flows { worst = max(worst, world.longestGap(flow, from: start, to: world.now)) }
    }
    for flow in flows { world.endFlow(flow) }
    world.run(for: .milliseconds(200))
    tell("\(isProtected ? "protected" : "unprotected"), \(victims.count) grey holes in turn: worst gap", worst)
    #expect(worst <= (isProtected ? .milliseconds(2) : .seconds(1)))
    #expect(victims.count > 1)
    for flow in flows where isProtected {
      #expect(world.traffic.flows[flow].sent == world.traffic.flows[flow].arrivals.count)
    }
    world.checkTables()
    #expect(world.violations == [])
  }

  /// A node of the other way was a grey hole and carries again, but nobody has tried: who is told that the way in use is
  /// broken takes the other one all the same.
  @Test(arguments: [3, 4, 5], [true, false])
  func `a node dies while probes have been lost on the other way`(victim: Int, isProtected: Bool) throws {
    let world = try standing(.ring(6), isProtected: isProtected, seed: 78)
    let flows = [(0, 2), (2, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64) }
    world.run(for: .milliseconds(1_300))
    world.setConduct(1, .greyHole)
    world.run(for: .milliseconds(1_200))
    world.setConduct(1, .honest)
    let now = world.nodes[0].own(world.now)
    let ways = world.nodes[0].running?.node.channels.first { $0.peer == world.nodes[2].running?.node.identity.id }?.ways
    #expect(isProtected || ways?.places.contains { $0?.isSilent(at: now) ?? false } ?? false)
    #expect(isProtected || ways?.main?.isSilent(at: now) == false)
    let start = world.now
    world.crash(victim)
    world.run(for: .seconds(1))
    var worst = Duration.zero
    for flow in flows { worst = max(worst, world.longestGap(flow, from: start, to: world.now)) }
    world.start(victim)
    for flow in flows { world.endFlow(flow) }
    world.run(for: .milliseconds(200))
    tell("\(isProtected ? "protected" : "unprotected"), node \(victim) dies after a grey hole: worst gap", worst)
    #expect(worst <= (isProtected ? .milliseconds(2) : .milliseconds(37)))
    world.checkTables()
    #expect(world.violations == [])
  }

  /// Of three ways that share nothing the second goes, and the third becomes one of the pair: nothing is copied to the dead
  /// one any more, at either end.
  @Test func `a protected flow's pair is whole again after one of it is gone for good`() throws {
    var layout = Layout(nodeCount: 5)
    for middle in 1...3 {
      layout.cable(0, middle)
      layout.cable(middle, 4)
    }
    let world = try standing(layout, isProtected: true, seed: 79)
    let flows = [(0, 4), (4, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64) }
    world.run(for: .milliseconds(300))
    /// The node through which the MA's way at a place to node 4 goes.
    func middle(of place: Int) -> Int? {
      let channel = world.nodes[0].running?.node.channels.first { $0.peer == world.nodes[4].running?.node.identity.id }
      let egress = channel?.ways.at(place)?.egress
      let next = world.nodes[0].running?.node.neighbour.adjacencies.first { $0.number == egress }?.id
      return (1...3).first { world.nodes[$0].running?.node.identity.id == next }
    }
    let (second, first) = try (#require(middle(of: 1)), #require(middle(of: 0)))
    world.crash(second)
    world.run(for: .seconds(4))
    let paired = world.nodes[4].running?.node.uplinks.first?.channel.ways.places.count { $0?.isPaired ?? false }
    #expect(paired == 2)
    world.crash(first)
    world.run(for: .seconds(1))
    expectNoLoss(world, flows, "a second of three ways")
    world.checkTables()
    #expect(world.violations == [])
  }
}
