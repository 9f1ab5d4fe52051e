// How many routes to each component an MA lays beside the best is for its operator to say (docs/OPERATIONS.md, "Settings").

import Core
import Store
import Testing
import Topology

@testable import Node
@testable import Simulator

@Suite struct AlternatesTests {
  /// In a grid of 4 x 4 there are that many to the far corner; who is nearer to the MA may have fewer different ones.
  @Test(arguments: [0, 1, 3, 7])
  func `as many alternates as the store says, both ways`(count: Int) throws {
    let world = try World(.grid(4, 4), seed: 93)
    if count == TopologyGraph.defaultAlternates {
      try world.set("protected-rate=1000")
    } else {
      try world.set("alternates=\(count)")
    }
    #expect(form(world) != nil)
    world.run(for: .seconds(5))
    let ids = world.nodes.compactMap { $0.running?.node.identity.id }
    let channels = world.nodes[0].running?.node.channels ?? []
    for number in 1..<16 {
      let there = try #require(channels.first { !$0.isUplink && $0.peer == ids[number] })
      let back = try #require(world.nodes[number].running?.node.uplinks.first).channel
      let (out, home) = (there.ways.places.compactMap { $0 }, back.ways.places.compactMap { $0 })
      #expect(out.count == home.count, "\(number)")
      #expect(out.count <= 1 + count, "\(number)")
      #expect(out.filter { $0.isPaired }.count == (count == 0 ? 0 : 2), "\(number)")
    }
    let corner = try #require(world.nodes[15].running?.node.uplinks.first).channel
    #expect(corner.ways.places.count { $0 != nil } == 1 + count)

    // A failure on the way: the copy by the other way comes, or what is sent once is gone round where there is none.
    let flows = [(0, 15), (15, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64) }
    world.run(for: .milliseconds(500))
    let first = try #require(world.nodes[0].running?.node.authority?.graph.path(to: ids[15]))
    let victim = try #require(ids.firstIndex(of: first.links[1].to))
    let start = world.now
    world.crash(victim)
    world.run(for: .seconds(1))
    let gap = flows.map { world.longestGap($0, from: start, to: world.now) }.max() ?? .zero
    tell("\(count) alternates, a node of the best way killed: worst gap", gap)
    #expect(gap <= .milliseconds(count == 0 ? 75 : 2))
    for flow in flows { world.endFlow(flow) }
    world.checkTables()
    #expect(world.violations == [])
  }
}
