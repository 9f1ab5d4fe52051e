// A node that begins anew has its session's keys when the MA's first frame has come, not before: until it is heard, what the
// MA says goes by where its answer came from, also when the MA has laid a route to it meanwhile.

import Core
import Testing
import Wire

@testable import Node
@testable import Session
@testable import Simulator

@Suite struct ProvingTests {
  enum Disturbance: CaseIterable {
    /// The MA's loop runs late: the answer and the laying of routes fall together.
    case late
    /// What the MA sends is lost for some milliseconds, by its link to the node or by both.
    case lossBeside, loss
    /// The neighbour that the node may have asked through is killed.
    case death
  }

  /// Begins a node of the ring anew; the disturbance comes so many quarters of a millisecond later.
  private func beginAnew(_ world: World, _ node: Int, _ disturbance: Disturbance, _ step: Int) {
    world.start(node)
    world.run(for: .microseconds(Int64(step) * 250))
    let media = world.media(of: 0).filter { disturbance == .loss || world.ends(of: $0).contains(node) }
    switch disturbance {
    case .late: world.pause(0, for: .milliseconds(3))
    case .death: world.crash(4)
    case .lossBeside, .loss:
      for medium in media { world.setCut(medium, true, from: 0) }
      world.run(for: .milliseconds(4))
      for medium in media { world.setCut(medium, false) }
    }
  }

  /// With links so slow that something comes between a challenge and its answer.
  private func slowRing() throws -> World {
    let world = try World(.ring(6), seed: 91)
    var slow = LinkQuality()
    slow.delay = .milliseconds(1)
    world.setQualityEverywhere(slow)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    return world
  }

  @Test(arguments: Disturbance.allCases)
  func `a node that begins anew is ready at once, whatever is late or lost`(_ disturbance: Disturbance) throws {
    let world = try slowRing()
    var longest = Duration.zero
    for step in 0..<120 {
      world.run(for: .milliseconds(1_500))
      world.crash(5)
      world.run(for: .seconds(1))
      let start = world.now
      beginAnew(world, 5, disturbance, step)
      while world.now - start < .seconds(3), !(world.nodes[5].running?.node.uplinks.first?.isReady ?? false) {
        world.run(for: .milliseconds(1))
      }
      longest = max(longest, world.now - start)
      if disturbance == .death { world.start(4) }
    }
    tell("a node begins anew, \(disturbance): ready at the latest", longest)
    #expect(longest <= .milliseconds(disturbance == .death ? 200 : 100))
    world.checkTables()
    #expect(world.violations == [])
  }

  /// The other side of the ring is killed a moment later, and begins anew itself: what is protected goes through the one
  /// that has its keys.
  @Test(arguments: [3, 5])
  func `nodes that begin anew on either side carry what others send`(node: Int) throws {
    let world = try slowRing()
    let flows = [(0, 2), (2, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64) }
    for step in 40..<120 {
      world.run(for: .milliseconds(1_500))
      world.crash(node)
      world.run(for: .seconds(1))
      beginAnew(world, node, .late, step)
      world.run(for: .milliseconds(100))
      world.crash(1)
      world.run(for: .seconds(1))
      world.start(1)
    }
    for flow in flows {
      world.endFlow(flow)
      world.run(for: .milliseconds(50))
      let record = world.traffic.flows[flow]
      let lost = record.sent - record.arrivals.count
      print("SIM protected, nodes \(node) and 1 begin anew in turn: \(lost) of \(record.sent) lost")
      #expect(lost == 0)
    }
    world.checkTables()
    #expect(world.violations == [])
  }

  /// Each asks through the one before, over two of its links in turn, and none has been heard: a chain that falls dark
  /// together and begins anew.
  @Test func `what is said to nodes not heard yet goes the second way once, not at every step`() throws {
    let world = try World(.line(6), seed: 92)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let authority = world.nodes[0]
    let ids = world.nodes.map { $0.running?.node.identity.id }
    let channels = try (1...5).map { number in
      try #require(authority.running?.node.channels.first { $0.peer == ids[number] })
    }
    for (before, channel) in zip(channels, channels.dropFirst()) {
      channel.isProved = false
      channel.carrier = .through(channel: before.number, adjacency: 1)
      channel.laterCarrier = .through(channel: before.number, adjacency: 2)
    }
    let control = Int(SequenceSpace.control.rawValue)
    let sent = channels.map { $0.session?.sent[control] ?? 0 }
    world.enter(authority) {
      $0.sendDatagram([ControlType.lsa.rawValue], on: channels[4], at: authority.own(world.now))
    }
    let said = zip(channels, sent).map { ($0.session?.sent[control] ?? 0) - $1 }
    #expect(said == [2, 2, 2, 2, 1])
  }
}
