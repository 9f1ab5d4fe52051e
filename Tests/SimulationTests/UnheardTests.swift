// A node on the way that begins anew and gets no session for a while: its last LSA still stands, its neighbours name it
// again, and it has no keys. Nobody is led through it while there is another way.

import Core
import Testing
import Topology

@testable import Node
@testable import Simulator

@Suite struct UnheardTests {
  /// The MA's channel of a component.
  private func channel(_ world: World, of number: Int) throws -> Channel {
    let id = world.nodes[number].running?.node.identity.id
    let channels = world.nodes[0].running?.node.channels ?? []
    return try #require(channels.first { $0.peer == id && !$0.isUplink })
  }

  /// Components that the MA's best path to one goes through.
  private func hops(_ world: World, to number: Int) throws -> [ComponentID] {
    let id = try channel(world, of: number).peer
    return world.nodes[0].running?.node.authority?.graph.path(to: id)?.links.map(\.to).dropLast() ?? []
  }

  /// Long enough for its neighbours to use the numbers of their links to it again, or not. With a leaf behind it one of
  /// its links stays in the MA's graph while it is dead.
  @Test(arguments: [5, 1_000, 12_000, 25_000] as [Int64], [false, true])
  func `a node on the way begins anew and gets no session yet`(milliseconds: Int64, hasLeaf: Bool) throws {
    var layout = Layout(nodeCount: hasLeaf ? 7 : 6)
    for number in 0..<6 { layout.cable(number, (number + 1) % 6) }
    if hasLeaf { layout.cable(1, 6) }
    let world = try World(layout, seed: 81)
    try world.set("protected-rate=0")
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let flows = [(0, 2), (2, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64) }
    world.run(for: .milliseconds(500))
    let victim = try channel(world, of: 1)
    #expect(try hops(world, to: 2) == [victim.peer])
    // As if it had asked for one session after the other: one a second is left, the next some tenths after its start.
    let fall = world.now
    world.crash(1)
    world.run(for: .milliseconds(max(0, milliseconds - 400)))
    while victim.sessions.hasToken(at: world.nodes[0].own(world.now)) { victim.sessions.take() }
    world.run(for: .milliseconds(min(milliseconds, 400)))
    let start = world.now
    world.start(1)
    var isLinked = false
    var lateCount = 0
    for _ in 0..<700 {
      world.run(for: .milliseconds(10))
      let links = world.nodes[0].running?.node.authority?.graph.links(from: victim.peer) ?? []
      if victim.isUnheard && !links.isEmpty { isLinked = true }
      let isNew = victim.sessionSince >= world.nodes[0].own(start)
      if isNew && victim.isProved && victim.isUnheard { lateCount += 1 }
    }
    // Otherwise this shows nothing.
    #expect(isLinked)
    // What it said before it had a session was not believed; the session's first frame is, at once.
    #expect(lateCount <= 2)
    #expect(world.counter(0, "sessionsOverBudget") > 0)
    let worst = flows.map { world.longestGap($0, from: milliseconds < 1_000 ? fall : start, to: world.now) }.max()
    tell("unprotected, a node begins anew after \(milliseconds) ms and gets no session: worst gap", worst ?? .zero)
    #expect(worst ?? .seconds(9) <= .milliseconds(milliseconds < 1_000 ? 20 : 2))
    // As soon as it has been heard it is on the way again.
    #expect(!victim.isUnheard)
    #expect(try hops(world, to: 2) == [victim.peer])
    for flow in flows { world.endFlow(flow) }
    world.checkTables()
    #expect(world.violations == [])
  }

  @Test func `the only way leads through a node that has not been heard, and its session makes it good`() throws {
    let world = try World(.line(3), seed: 82)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let victim = try channel(world, of: 1)
    world.crash(1)
    world.run(for: .seconds(12))
    #expect(victim.isUnheard)
    let leaf = try channel(world, of: 2)
    #expect(!leaf.isUnheard)
    world.start(1)
    let time = world.timeToReach(atMost: .seconds(5))
    tell("a middle node of a line begins anew: all reached", time ?? .seconds(99))
    #expect(time ?? .seconds(99) < .seconds(2))
    #expect(!victim.isUnheard)
    #expect(try hops(world, to: 2) == [victim.peer])
    world.checkTables()
    #expect(world.violations == [])
  }

  /// Its child's link has a new key before its parent's: a beacon from there would lead it away from the MA.
  @Test func `a node that begins anew at once does not look for the MA behind itself`() throws {
    let world = try World(.line(4), seed: 83)
    var slow = LinkQuality()
    slow.delay = .milliseconds(3)
    world.setQuality(1, slow)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    var longest = Duration.zero
    for _ in 0..<5 {
      world.run(for: .milliseconds(1_770))
      world.crash(2)
      world.run(for: .milliseconds(5))
      world.start(2)
      longest = max(longest, world.timeToReach(atMost: .seconds(5)) ?? .seconds(99))
    }
    tell("a node with a slow link to the MA begins anew at once: all reached", longest)
    #expect(longest <= .milliseconds(120))
    world.checkTables()
    #expect(world.violations == [])
  }
}
