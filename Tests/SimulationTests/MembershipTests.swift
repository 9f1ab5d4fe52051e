// Boxes that come and go while the network runs.

import Core
import Simulator
import Testing
import Wire

@Suite struct MembershipTests {
  @Test func `a box is forgotten, and another enrolls under its name`() throws {
    let world = try World(.line(5), seed: 21)
    #expect(form(world) != nil)
    world.run(for: .seconds(1))
    let oldAddress = world.nodes[2].addresses?.ipv4
    let oldStore = world.nodes[2].store
    #expect(world.ask(0, ["forget", "cm2"]) != nil)
    world.run(for: .seconds(2))
    // The forgotten one still relays links, but nobody reaches it or past it by its key.
    #expect(world.send(.echo4, from: 0, to: 2) != nil)
    world.run(for: .seconds(1))
    #expect(world.traffic.packets.last?.roundTrip == nil)

    let records = try world.replaceBox(2, named: "cm2")
    world.run(for: .seconds(1))
    #expect(world.ask(0, ["accept", "--yes"], attachment: records) != nil)
    world.start(2)
    let time = world.timeToReach(atMost: .seconds(15))
    tell("forgotten, and enrolled anew: all reached", time)
    #expect(time ?? .seconds(99) < .seconds(12))
    #expect(world.nodes[2].addresses?.ipv4 == oldAddress)
    #expect(world.violations == [])

    // The old box is not let in again.
    world.crash(2)
    world.nodes[2].store = oldStore
    world.start(2)
    world.run(for: .seconds(5))
    #expect(world.isReady(2) == false)
    #expect(world.violations == [])
  }

  /// The box is on its port before the MA knows of it: a stranger that asks and asks.
  @Test func `a box that is connected before it is accepted`() throws {
    let world = try World(.line(5), seed: 22)
    let records = try world.replaceBox(4, named: "late")
    for number in 0..<5 { world.start(number) }
    world.run(for: .seconds(20))
    #expect(world.isReady(4) == false)
    #expect(world.ask(0, ["accept", "--yes"], attachment: records) != nil)
    let time = world.run(atMost: .seconds(20)) { $0.isReady(4) }
    tell("a stranger for 20 s, then accepted: ready", time)
    #expect(time ?? .seconds(99) < .seconds(5))
    #expect(world.unanswered([4]) == [])
    #expect(world.violations == [])
  }

  /// Flash that is restored from a copy, or a number that was made up: neither may silence a box for good.
  @Test func `a box whose store was set back is reached again`() throws {
    let world = try World(.line(4), seed: 24)
    #expect(form(world) != nil)
    let early = world.nodes[2].store
    for _ in 0..<3 {
      world.crash(2)
      world.run(for: .seconds(1))
      world.start(2)
      world.run(for: .seconds(2))
    }
    #expect(world.isComplete)
    world.crash(2)
    world.nodes[2].store = early
    world.run(for: .seconds(1))
    world.start(2)
    let time = world.timeToReach(atMost: .seconds(10))
    tell("store set back: all reached", time)
    #expect(time ?? .seconds(99) < .seconds(2))
    #expect(world.violations == [])
  }

  @Test func `a fresh chain, one box after the other`() throws {
    let world = try World(.line(6), enrolled: false, seed: 23)
    for number in 0..<6 {
      world.start(number)
      world.run(for: .seconds(3))
    }
    #expect(world.isComplete)
    #expect(world.unanswered() == [])
    for number in 1..<6 { #expect(world.nodes[number].hasLogged("member of")) }
    // With their certificates, no box is a stranger to another.
    for number in 0..<6 { world.crash(number) }
    world.run(for: .seconds(1))
    let time = form(world)
    tell("chain of 6, all powered on again", time)
    #expect(time ?? .seconds(99) < .seconds(1))
    #expect(world.violations == [])
  }
}
