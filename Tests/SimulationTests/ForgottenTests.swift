// Boxes that are forgotten make room for others: an MA does not run out of channels by replacing them.

import Core
import Testing

@testable import Node
@testable import Simulator

@Suite struct ForgottenTests {
  /// The MA's channel of the member of this name.
  private func channel(_ world: World, _ name: String) -> Channel? {
    guard let running = world.nodes[0].running else { return nil }
    return running.node.channels.last { $0.name.elementsEqual(name.utf8) && $0.session != nil }
  }

  private func channelCount(_ world: World) -> Int { world.nodes[0].running?.node.channels.count ?? 0 }

  /// A box of another identity in the place of one that is forgotten.
  private func replace(_ number: Int, _ name: String, _ world: World) throws {
    #expect(world.ask(0, ["forget", name]) != nil)
    let records = try world.replaceBox(number, named: name)
    #expect(world.ask(0, ["accept", "--yes"], attachment: records) != nil)
    world.start(number)
  }

  @Test func `a box that is replaced again and again takes one channel, and the new box none of the old one's state`()
    throws
  {
    let world = try World(.line(4), seed: 31)
    #expect(form(world) != nil)
    let before = channelCount(world)
    let number = try #require(channel(world, "cm2")).number
    for _ in 0..<3 {
      let old = try #require(channel(world, "cm2"))
      let addresses = world.nodes[2].addresses
      // A packet is on its way while its sender is forgotten.
      _ = world.send(.echo4, from: 2, to: 0)
      try replace(2, "cm2", world)
      #expect(old.session == nil && old.previousSession == nil && !old.isRouted)
      let time = world.timeToReach(atMost: .seconds(15))
      #expect(time != nil, "the new box and the one behind it are reached")
      let new = try #require(channel(world, "cm2"))
      #expect(new !== old && new.number == number && new.peer != old.peer)
      #expect(channelCount(world) == before)
      #expect(world.nodes[2].addresses?.ipv4 == addresses?.ipv4)
    }
    #expect(world.counter(0, "memberLimit") == 0)
    #expect(world.unanswered() == [])
    #expect(world.violations == [])
  }

  @Test func `at the limit of channels a forgotten member's place serves the next`() throws {
    let world = try World(.line(3), seed: 32)
    #expect(form(world) != nil)
    let running = try #require(world.nodes[0].running)
    // Stands for as many other members.
    while running.node.channels.count < running.node.limits.channels {
      let number = UInt32(running.node.channels.count)
      var id = Bytes16()
      id.withMutableBytes { for i in 0..<4 { $0[i] = UInt8(truncatingIfNeeded: number >> UInt32(8 * i)) } }
      running.node.channels.append(
        Channel(
          number: number, peer: ComponentID(id), authorityIndex: 0, isUplink: false, protectedRate: 0,
          agenda: running.node.agenda))
    }
    try replace(2, "cm2", world)
    #expect(world.run(atMost: .seconds(15)) { $0.isReady(2) } != nil)
    #expect(world.counter(0, "memberLimit") == 0)
    #expect(!world.nodes[0].hasLogged("cannot be served"))

    // Without one, the operator is told.
    let records = try world.replaceBox(1, named: "more")
    #expect(world.ask(0, ["accept", "--yes"], attachment: records) != nil)
    #expect(world.nodes[0].hasLogged("more cannot be served: 1040 nodes are in use"))
    #expect(world.counter(0, "memberLimit") == 1)
    #expect(world.violations == [])
  }
}
