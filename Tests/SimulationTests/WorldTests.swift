// The simulator itself: that it does what it says to frames, clocks and boxes, and the same again.

import Core
import Node
import Testing

@testable import Simulator

@Suite struct WorldTests {
  /// Two nodes whose processes do not run, and what reaches the second.
  private func arrivals(_ quality: LinkQuality, frames: Int, bytes: Int = 1_000, gap: Duration = .milliseconds(1))
    throws -> (count: Int, times: [Duration])
  {
    let world = try World(.line(2), seed: 3)
    world.setQuality(0, quality)
    let tap = world.media[0].taps[0]
    var content = [UInt8](repeating: 0xff, count: bytes)
    for _ in 0..<frames {
      content.withUnsafeMutableBufferPointer {
        world.carry($0.baseAddress!, count: bytes, trail: 0, from: tap, to: .nearestBridge)
      }
      if gap > .zero { world.run(for: gap) }
    }
    var times: [Duration] = []
    while let event = world.queue.pop(notAfter: .max) {
      times.append(Instant(nanoseconds: event.time) - World.beginning)
      world.drop(event.reference)
    }
    #expect(world.frames.count == 0)
    return (times.count, times)
  }

  /// Frames whose arrival is in the future when they are all sent.
  private func quality(_ change: (inout LinkQuality) -> Void) -> LinkQuality {
    var quality = LinkQuality()
    quality.delay = .seconds(100)
    change(&quality)
    return quality
  }

  @Test func `a perfect link loses nothing and keeps the order`() throws {
    let (count, times) = try arrivals(quality { _ in }, frames: 500)
    #expect(count == 500)
    #expect(times.first?.nanoseconds == 100_000_000_000)
    #expect(times == times.sorted())
  }

  @Test func `loss, duplication and bursts are as frequent as they are said to be`() throws {
    #expect(abs(try arrivals(quality { $0.loss = 0.3 }, frames: 4_000).count - 2_800) < 150)
    #expect(abs(try arrivals(quality { $0.duplication = 0.2 }, frames: 4_000).count - 4_800) < 150)
    // A burst takes 1 / 0.1 frames and comes after 1 / 0.01: one frame in eleven is lost.
    let bursts = quality {
      $0.burstBegin = 0.01
      $0.burstEnd = 0.1
    }
    #expect(abs(try arrivals(bursts, frames: 20_000).count - 18_182) < 500)
  }

  @Test func `a link with a rate sends one frame after the other, and drops what its queue does not hold`() throws {
    let slow = quality {
      $0.bitsPerSecond = 8_000_000
      $0.queueBytes = 5_500
    }
    // 1,000 bytes and 38 of Ethernet are 1.038 ms; five of them fit into the queue.
    let (count, times) = try arrivals(slow, frames: 100, gap: .zero)
    #expect(count == 5)
    #expect(try #require(times.last).microseconds == 100_005_190)
    #expect(try arrivals(slow, frames: 100, gap: .milliseconds(2)).count == 100)
  }

  @Test func `events come in the order of their time, and of their setting at the same time`() {
    var queue = EventQueue()
    var random = SeededRandom(seed: 4)
    var expected: [(UInt64, Int32)] = []
    for i in 0..<5_000 {
      let time = UInt64(random.below(300))
      let kind = WorldEvent.Kind(rawValue: UInt64(random.below(4)))!
      queue.push(kind, at: Instant(nanoseconds: time), place: 0, reference: Int32(i))
      expected.append((time, Int32(i)))
    }
    expected.sort { ($0.0, $0.1) < ($1.0, $1.1) }
    for (time, reference) in expected {
      let event = queue.pop(notAfter: .max)
      #expect(event?.time == time && event?.reference == reference)
    }
    #expect(queue.pop(notAfter: .max) == nil)
  }

  @Test(arguments: [-500, -1, 0, 1, 200, 100_000] as [Int64])
  func `a clock that drifts shows each of its times first when the world's says so`(drift: Int64) {
    var clock = SimulatedClock(origin: .seconds(77), at: World.beginning)
    clock.set(drift: drift, at: World.beginning)
    let hour = clock.own(World.beginning + .seconds(3_600)) - clock.own(World.beginning)
    #expect(hour == .nanoseconds(3_600_000_000_000 + 3_600_000 * drift))
    var random = SeededRandom(seed: 9)
    for _ in 0..<2_000 {
      let own = clock.own(World.beginning) + .nanoseconds(Int64(random.below(1 << 50)))
      let time = clock.world(own)
      #expect(clock.own(time) >= own)
      #expect(clock.own(time - .nanoseconds(1)) < own || time == World.beginning)
    }
  }

  @Test func `a clock that stands still goes on where it stood`() {
    var clock = SimulatedClock(origin: .zero, at: World.beginning)
    clock.set(still: true, at: World.beginning + .seconds(1))
    #expect(clock.own(World.beginning + .seconds(5)) == World.beginning + .seconds(1))
    #expect(clock.world(World.beginning + .seconds(2)) == .never)
    clock.set(still: false, at: World.beginning + .seconds(5))
    #expect(clock.own(World.beginning + .seconds(6)) == World.beginning + .seconds(2))
  }

  @Test func `links stand when clocks drift by 500 ppm against each other, and stall`() throws {
    let world = try World(.ring(5), seed: 6)
    for number in 0..<5 { world.setDrift(number, number % 2 == 0 ? 500 : -500) }
    #expect(form(world) != nil)
    world.run(for: .seconds(60))
    world.stallClock(2, for: .milliseconds(30))
    world.run(for: .seconds(2))
    #expect(world.counter(1, "neighbour", "adjacenciesDown") == 0)
    #expect(world.unanswered() == [])
    #expect(world.violations == [])
  }

  @Test func `a tunnel is a link like others, late and out of order`() throws {
    var layout = Layout(nodeCount: 3)
    layout.cable(0, 1)
    layout.tunnel(1, 2)
    let world = try World(layout, seed: 8)
    #expect(form(world) != nil)
    #expect(world.unanswered() == [])
    #expect(world.violations == [])
  }

  @Test func `a grey hole passes hellos and beacons, and no frame of others`() throws {
    let world = try World(.line(3), seed: 2)
    #expect(form(world) != nil)
    world.setConduct(1, .greyHole)
    #expect(world.unanswered() == [2])
    #expect(world.unanswered([1]) == [])
    world.setConduct(1, .honest)
    #expect(world.timeToReach(atMost: .seconds(2)) != nil)
    #expect(world.violations == [])
  }
}

/// Each oracle sees what it is there for.
@Suite struct OracleTests {
  private func standing(_ setting: String? = nil) throws -> World {
    let world = try World(.ring(4), seed: 1)
    if let setting { try world.set(setting) }
    #expect(form(world) != nil)
    #expect(world.violations == [])
    return world
  }

  @Test func `a node that keeps a buffer`() throws {
    let world = try standing()
    let kept = world.pool.take()
    world.run(for: .milliseconds(100))
    #expect(kept != nil)
    #expect(world.violations.count == 1)
    #expect(world.violations.first?.contains("holds 1 buffers") == true)
  }

  @Test func `a packet at the wrong node, one that comes twice, and one that was changed`() throws {
    let world = try standing()
    let number = try #require(world.send(.udp4, from: 0, to: 2, payload: 100))
    world.run(for: .milliseconds(50))
    #expect(world.traffic.packets[number].isComplete)
    let (own, peer) = (try #require(world.nodes[0].addresses), try #require(world.nodes[2].addresses))
    var packet = makePacket(.udp4, number: UInt32(number), from: own, to: peer, payload: 100)
    world.hostReceives(packet, at: world.nodes[3])
    world.hostReceives(packet, at: world.nodes[2])
    packet[80] ^= 1
    world.hostReceives(packet, at: world.nodes[2])
    #expect(world.violations.count == 3)
  }

  @Test func `a frame that a node passes on twice`() throws {
    let world = try standing()
    let first = try #require(world.follow(0, world.nodes[1]))
    let second = try #require(world.follow(first, world.nodes[2]))
    #expect(world.follow(second, world.nodes[1]) == nil)
    #expect(world.violations.first?.contains("it went 1 2 1") == true)
    world.trails.retain(second)
    world.trails.release(second)
    #expect(world.trails.inUse == 0)
  }

  @Test func `a component that is connected and not authenticated`() throws {
    let world = try standing()
    world.rules.authentication = .seconds(5)
    world.run(for: .seconds(6))
    #expect(world.violations == [])
    // Cut behind the oracles' backs.
    for tap in world.nodes[2].taps { world.taps[Int(tap)].hasCarrier = false }
    for tap in world.nodes[2].taps { world.taps[Int(world.taps[Int(tap)].peer)].isCut = true }
    world.run(for: .seconds(3))
    for tap in world.nodes[2].taps { world.taps[Int(tap)].hasCarrier = true }
    for tap in world.nodes[2].taps { world.taps[Int(world.taps[Int(tap)].peer)].isCut = false }
    world.watch.authenticationDue = world.now
    world.run(for: .milliseconds(20))
    #expect(world.violations.first?.contains("not authenticated") == true)
  }

  @Test func `a flow that stands still longer than its repair may take`() throws {
    for (limit, isKept) in [(Duration.milliseconds(2), false), (.seconds(2), true)] {
      let world = try standing("protected-rate=0")
      var limits = RepairLimits()
      for kind in FaultKind.allCases { limits[kind] = limit }
      world.rules.repair = limits
      // Along the cable between them, as long as that is there, and around the ring then.
      let flow = world.startFlow(from: 0, to: 1)
      world.run(for: .seconds(6))
      world.setCut(0, true)
      world.run(for: .seconds(2))
      world.endFlow(flow)
      #expect(world.violations.isEmpty == isKept, "\(world.violations)")
    }
  }

  @Test func `tables are looked at`() throws {
    let world = try standing()
    var names: [String] = []
    world.nodes[0].running?.node.forEachTable { name, count, limit in
      names.append("\(name)")
      #expect(count <= limit)
    }
    #expect(names.contains("neighbours") && names.contains("ways back"))
  }
}

@Suite struct TopologyFileTests {
  @Test func `each network has the nodes and links that its file states`() throws {
    #expect(try Layout.zoo().count >= 5)
    for name in try Layout.zoo() {
      let layout = try Layout(zoo: name)
      let text = try String(contentsOfFile: "\(Layout.topologies)/\(name).txt", encoding: .utf8)
      let stated = "\(layout.nodeCount) nodes, \(layout.segments.count) links."
      #expect(text.hasPrefix("# "))
      #expect(text.split(separator: "\n")[0].hasSuffix(stated), "\(name): \(stated)")
    }
  }

  @Test(arguments: [
    ("a b\nb", "t.txt:2: 'b' is not 'NODE NODE' or 'NODE NODE RISK'"), ("a b\nb b", "t.txt:2: b is linked to itself"),
    ("# nothing\n\n", "t.txt has no links"), ("a b\nc d", "t.txt: no way leads to c"),
  ])
  func `what is wrong with a file is said with its line`(text: String, complaint: String) {
    do {
      _ = try Layout(text: text, file: "t.txt")
      Issue.record("no error")
    } catch { #expect("\(error)" == complaint) }
  }

  @Test func `links that share a risk say so to their ports`() throws {
    let layout = try Layout(text: "a b duct\nb c\na c duct # the same trench\n", file: "t.txt")
    #expect(layout.segments.map(\.riskGroup) == [1, 0, 1])
    let world = try World(layout, seed: 1)
    #expect(world.status(of: world.nodes[0], 1).riskGroup == 1)
  }

  @Test(arguments: [
    ("grid:4x3", 12, 17), ("ring:9", 9, 9), ("chain:5", 5, 4), ("star-of-rings:3x5", 13, 15), ("fat-tree:4", 20, 32),
    ("fat-tree:8", 80, 256), ("random:20,31", 20, 31), ("zoo:abilene", 11, 14), ("zoo:geant2012", 40, 61),
  ])
  func `topologies by name`(name: String, nodes: Int, links: Int) throws {
    let layout = try Layout(parsing: name, seed: 5)
    #expect(layout.nodeCount == nodes)
    #expect(layout.segments.count == links)
  }

  @Test(arguments: ["grid:4", "ring:2", "fat-tree:3", "random:9,3", "zoo:atlantis", "torus:3x3", ""])
  func `names that mean nothing are refused`(name: String) {
    #expect(throws: TopologyError.self) { try Layout(parsing: name, seed: 1) }
  }

  @Test(arguments: ["abilene", "nsfnet-t1"]) func `a real network forms`(name: String) throws {
    let world = try World(try Layout(zoo: name), seed: 11)
    let time = form(world)
    tell(name, time)
    #expect(time != nil)
    #expect(world.unanswered() == [])
    #expect(world.violations == [])
  }
}
