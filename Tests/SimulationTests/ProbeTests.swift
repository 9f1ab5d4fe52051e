// Probes of ways: what is slow is not taken for what loses frames, and what loses frames is left soon
// (docs/PROTOCOL.md §5, "Probes").

import Core
import Onion
import Session
import Store
import Testing
import Wire

@testable import Node
@testable import Simulator

@Suite struct ProbeTests {
  private let bulk = OnionClass(traffic: .bulk, towardAuthority: false, authority: 0)
  private let copied = OnionClass(traffic: .protected, towardAuthority: false, authority: 0)

  private func ways(_ world: World, of node: Int, to peer: Int = 0) -> Ways? {
    guard let here = world.nodes[node].running, let there = world.nodes[peer].running else { return nil }
    if let authority = here.storage.pointee.authority {
      let number = authority.byID[there.storage.pointee.id]
      return number.map { here.storage.pointee.channels[Int($0)].ways }
    }
    return here.storage.pointee.uplinks.first?.channel.ways
  }

  // MARK: Slow ways

  /// A round trip of 1.4 s on both of the MA's links, or on the one that the best way takes.
  @Test(arguments: [true, false], [true, false]) func `a slow link is neither left nor avoided`(
    all: Bool, isProtected: Bool
  ) throws {
    var layout = Layout(nodeCount: 4)
    layout.tunnel(0, 1)
    layout.cable(1, 2)
    layout.cable(2, 3)
    layout.tunnel(3, 0)
    let world = try World(layout, seed: 91)
    if !isProtected { try world.set("protected-rate=0") }
    #expect(form(world) != nil)
    var slow = LinkQuality()
    slow.delay = .milliseconds(700)
    world.setQuality(0, slow)
    if all { world.setQuality(3, slow) }
    world.run(for: .seconds(10))
    let again = world.run(atMost: .seconds(60)) { $0.isComplete }
    tell("slow links: all are reached", again)
    try #require(again != nil)
    let flows = [(0, 1), (1, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(10)) }
    world.run(for: .seconds(20))
    // A component that says so all the same.
    world.enter(world.nodes[1]) { node in
      guard let channel = node.uplinks.first?.channel else { return }
      for case let way? in channel.ways.places {
        _ = channel.stream.send(SuspectNotice(route: way.builder.route).encode())
      }
      node.pump(channel, at: world.nodes[1].own(world.now))
    }
    world.run(for: .seconds(10))
    for flow in flows { world.endFlow(flow) }
    world.run(for: .seconds(2))
    for flow in flows {
      print("SIM slow: \(world.traffic.flows[flow].arrivals.count) of \(world.traffic.flows[flow].sent)")
      #expect(world.traffic.flows[flow].sent == world.traffic.flows[flow].arrivals.count)
    }
    for node in [0, 1] {
      #expect(world.counter(node, "waysSilent") == 0 && world.counter(node, "probesLost") == 0)
      for case let way? in ways(world, of: node, to: 1 - node)?.places ?? [] {
        print("SIM slow: way of \(node) by \(way.egress), \(way.hops) hops: \(way.probing.roundTrip.milliseconds) ms")
        #expect(!way.isInDoubt(at: world.nodes[node].own(world.now)))
      }
    }
    #expect(world.counter(0, "searches") > 0)
    #expect(world.counter(0, "linksCondemned") == 0)
    #expect(world.violations == [])
  }

  @Test func `late answers are measured, and the last probe is not lost before twice that`() {
    var probing = WayProbing()
    var now = Instant(nanoseconds: 1_000_000_000)
    func send(_ number: UInt32) {
      probing.sent(number, counter: number, traffic: .bulk, isAlone: false, at: now)
      probing.nextProbe = now + probing.spacing
    }
    send(1)
    _ = probing.answered(1, at: now + .milliseconds(10))
    #expect(probing.roundTrip == .milliseconds(10) && probing.spacing == WayProbing.pace)
    let first = now + .seconds(1)
    for number: UInt32 in [2, 3, 4] {
      now = first + WayProbing.pace * Int64(number - 2)
      if number > 2 { probing.countLoss() }
      send(number)
    }
    #expect(probing.lost == 2 && probing.lostSince == first)
    #expect(probing.answered(2, at: first + .milliseconds(500)) == .milliseconds(500))
    #expect(probing.lost == 0 && probing.isOpen)
    #expect(probing.nextProbe == now + .seconds(1))
    #expect(probing.answered(2, at: first + .milliseconds(501)) == nil)
    _ = probing.answered(4, at: now + .milliseconds(100))
    #expect(probing.roundTrip == .milliseconds(450) && !probing.isOpen)
    // A component that answers after an hour gets no hour.
    send(5)
    _ = probing.answered(5, at: now + .seconds(3_600))
    #expect(probing.roundTrip == WayProbing.longest)
  }

  @Test func `a way that has never answered has three seconds for it`() {
    var probing = WayProbing()
    var now = Instant(nanoseconds: 1_000_000_000)
    let first = now
    var number: UInt32 = 0
    while !probing.isSilent {
      if number > 0 { probing.countLoss() }
      number += 1
      probing.sent(number, counter: number, traffic: .bulk, isAlone: false, at: now)
      if !probing.isSilent { now = now + probing.spacing }
    }
    #expect(now - first == .seconds(3) && probing.lostCounters == [2, 3, 4])
  }

  // MARK: Ways that lose frames

  @Test func `a grey hole that was there before the traffic is left within a second`() throws {
    let world = try World(.ring(6), seed: 92)
    try world.set("protected-rate=0")
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    world.setConduct(1, .greyHole)
    let start = world.now
    let flows = [(0, 2), (2, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1)) }
    world.run(for: .seconds(6))
    for flow in flows {
      let first = try #require(world.traffic.flows[flow].arrivals.first)
      tell("a grey hole before the traffic", first - start)
      #expect(first - start <= .seconds(1))
    }
    // What was only put aside at first is found out.
    #expect(world.counter(0, "waysSilent") == 1 && world.counter(0, "linksCondemned") > 0)
    #expect(world.violations == [])
  }

  /// Ways of the MA to a component of a ring that was asked for nothing yet, the best one first.
  private func twoWays(_ seed: UInt64, _ body: (inout Node, Channel, Way, Way, Instant) -> Void) throws {
    let world = try World(.ring(4), seed: seed)
    #expect(form(world) != nil)
    world.run(for: .seconds(1))
    let box = world.nodes[0]
    world.enter(box) { node in
      for channel in node.channels {
        let ways = channel.ways.places.compactMap { $0 }
        guard ways.count > 1 else { continue }
        return body(&node, channel, ways[0], ways[ways.count - 1], box.own(world.now))
      }
      Issue.record("no two ways")
    }
  }

  @Test func `a way that goes on losing what is copied to it is reported once`() throws {
    try twoWays(94) { node, channel, _, twin, start in
      var now = start
      for _ in 0..<60 {
        node.probe(twin, bulk, of: channel, at: now)
        now = now + twin.probing.spacing
      }
      #expect(now - start > .seconds(20))
      #expect(node.counters.waysSilent == 1)
    }
  }

  @Test func `a first answer has its time, however long the traffic paused after the first probe`() throws {
    try twoWays(95) { node, channel, main, other, start in
      node.probe(other, copied, of: channel, at: start)
      var now = start + .seconds(60)
      node.probe(other, copied, of: channel, at: now)
      now = now + .milliseconds(400)
      node.probe(other, copied, of: channel, at: now)
      #expect(other.probing.lost == 2 && other.isInDoubt(at: now))
      node.probe(main, bulk, of: channel, at: now + .seconds(2))
      #expect(node.counters.waysSilent == 0)
      node.probe(main, bulk, of: channel, at: now + .seconds(3))
      #expect(node.counters.waysSilent == 1)
    }
  }

  /// What the peer would say to the probe with this number.
  private func answer(_ number: UInt32, to way: Way, of channel: Channel, _ node: inout Node, at now: Instant) {
    var body: [UInt8] = []
    for value in [way.builder.route, number] {
      body += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }
    #expect(throws: Never.self) { try node.takeProbed(body.span, on: channel, at: now) }
  }

  @Test func `a late answer takes a way again, and not one whose link failed meanwhile`() throws {
    for linkFails in [false, true] {
      try twoWays(96) { node, channel, main, _, start in
        node.probe(main, bulk, of: channel, at: start)
        answer(main.probing.number, to: main, of: channel, &node, at: start + .milliseconds(1))
        var now = start
        while !main.isSilent(at: now), now - start < .seconds(5) {
          now = now + main.probing.spacing
          node.probe(main, bulk, of: channel, at: now)
        }
        #expect(main.isSilent(at: now) && channel.ways.main !== main)
        if linkFails { node.linkFailed(main.egress, at: now) }
        answer(main.probing.number, to: main, of: channel, &node, at: now + .milliseconds(1))
        #expect(main.isInDoubt(at: now + .milliseconds(1)) == linkFails)
        #expect((channel.ways.main === main) != linkFails)
      }
    }
  }

  /// What made it lose probes may be on the next way as well, so that one is asked with its first frame.
  @Test(arguments: [true, false]) func `a way that loses probes is left for another reason`(loses: Bool) throws {
    try twoWays(99) { node, channel, main, other, now in
      for (number, way) in [main, other].enumerated() {
        way.probing.sent(UInt32(7 + number), counter: 1, traffic: .bulk, isAlone: false, at: now)
        #expect(way.probing.answered(UInt32(7 + number), at: now) != nil)
      }
      if loses {
        main.probing.sent(9, counter: 2, traffic: .bulk, isAlone: false, at: now)
        main.probing.countLoss()
      }
      main.callBroken(at: now)
      node.chooseWays(channel, at: now)
      #expect(channel.ways.main === other)
      #expect(other.probing.isAsked == loses && other.probing.mustAnswer == loses)
    }
  }

  /// None of them lost probes, so none is asked for that.
  @Test func `where all ways were called broken all are asked, once in two seconds`() throws {
    try twoWays(100) { node, channel, main, other, start in
      for way in [main, other] {
        way.probing.sent(7, counter: 1, traffic: .bulk, isAlone: false, at: start)
        #expect(way.probing.answered(7, at: start) != nil)
        way.callBroken(at: start)
      }
      node.chooseWays(channel, at: start)
      #expect(channel.ways.main === main)
      for (milliseconds, isAsked) in [(0, true), (1_999, false), (2_000, true)] as [(Int64, Bool)] {
        let now = start + .milliseconds(milliseconds)
        for way in [main, other] { way.callBroken(at: now) }
        let before = other.probing.number
        other.probing.isAsked = false
        node.probe(main, bulk, of: channel, at: max(now, main.probing.nextProbe))
        #expect((other.probing.number != before) == isAsked, "after \(milliseconds) ms")
        for way in [main, other] { _ = way.probing.answered(way.probing.number, at: now) }
      }
    }
  }

  @Test func `where all ways are in doubt the one put there longest ago is taken, and what is protected goes by more`()
    throws
  {
    try twoWays(98) { node, channel, main, _, now in
      func choose(at now: Instant) -> Ways {
        node.chooseWays(channel, at: now)
        #expect(channel.ways.first === channel.ways.main)
        #expect(channel.ways.twins.first != nil && channel.ways.twins.first !== channel.ways.first)
        return channel.ways
      }
      let others = channel.ways.places.compactMap { $0 }.filter { $0 !== main }
      // Others called broken before probes were lost on the main one, again just after, and again later.
      for other in others { other.callBroken(at: now) }
      main.probing.silenceEnds = now + .milliseconds(50) + WayProbing.doubt
      #expect(choose(at: now + .milliseconds(50)).main !== main)
      for other in others { other.callBroken(at: now + .milliseconds(90)) }
      #expect(choose(at: now + .milliseconds(90)).main !== main)
      for other in others { other.callBroken(at: now + .milliseconds(200)) }
      #expect(choose(at: now + .milliseconds(200)).main === main)
      // On the main one probes go on being lost: what is only called broken comes first, for two seconds.
      main.probing.losingEnds = now + .milliseconds(300) + Way.doubt
      #expect(choose(at: now + .milliseconds(300)).main !== main)
      for other in others { other.callBroken(at: now + .milliseconds(2_250)) }
      #expect(choose(at: now + .milliseconds(2_250)).main !== main)
      #expect(channel.ways.nextChoice == now + .milliseconds(2_300))
      #expect(choose(at: now + .milliseconds(2_300)).main === main)
      // A dead way that is told of again and again is no better than one that was called broken later than it first.
      main.probing.silenceEnds = .zero
      for tenth in 30..<40 { main.callBroken(at: now + .milliseconds(100) * Int64(tenth)) }
      for other in others { other.callBroken(at: now + .milliseconds(3_850)) }
      #expect(choose(at: now + .milliseconds(3_900)).main !== main)
    }
  }

  @Test func `a hint that is to be looked into once more is being looked into`() {
    var searches = FaultSearches()
    searches.waiting.append(
      FaultSearches.Trial(purpose: .hint(channel: 3, place: 1), path: [], traffic: .bulk, settling: .zero))
    #expect(searches.isTrying(hintOf: 3) && !searches.isTrying(hintOf: 4))
  }

  @Test func `a probe that cannot be made is not counted as lost again`() throws {
    let world = try World(.line(2), seed: 93)
    #expect(form(world) != nil)
    world.run(for: .seconds(1))
    let box = world.nodes[0]
    world.enter(box) { node in
      guard let channel = node.channels.first(where: { !$0.ways.isEmpty }), let good = channel.ways.main else {
        Issue.record("no way")
        return
      }
      // Too narrow for a probe.
      let way = Way(builder: good.builder, egress: good.egress, frameSize: 0, hops: 1, isPaired: false, pathTag: 1)
      var now = box.own(world.now)
      way.probing.sent(1, counter: 7, traffic: .bulk, isAlone: false, at: now)
      way.probing.nextProbe = now + WayProbing.pace
      now = now + WayProbing.pace
      for _ in 0..<10 {
        node.probe(way, bulk, of: channel, at: now)
        now = now + .milliseconds(1)
      }
      #expect(way.probing.lost == 1 && way.probing.lostCounters == [7])
    }
  }
}
