// A node of a grid passes hellos and drops what it should pass on: another one every 2 s, each on the way that is in use.
// What was found of the one before is still held against ways that carry again, and the MA lays others through nodes of
// which nothing is known.

import Core
import Onion
import Testing

@testable import Node
@testable import Simulator

@Suite struct GreyHoleTests {
  /// In these a way was taken that passed the same node, or one put in doubt by an earlier grey hole was left unasked.
  @Test("fifty grey holes, what is sent once", arguments: [78, 83] as [UInt64])
  func unprotected(seed: UInt64) throws {
    let (gaps, lost) = try fiftyGreyHoles(seed: seed, isProtected: false)
    #expect(gaps.allSatisfy { $0 <= .seconds(1) })
    // The failures were failures: most of them cost three probes.
    #expect(gaps.filter { $0 >= .milliseconds(400) }.count >= 25 && lost > 10_000)
  }

  @Test("fifty grey holes, what is protected", arguments: [75, 79, 81, 83] as [UInt64])
  func protected(seed: UInt64) throws {
    let (gaps, lost) = try fiftyGreyHoles(seed: seed, isProtected: true)
    #expect(gaps.allSatisfy { $0 <= .milliseconds(10) })
    #expect(lost == 0)
  }

  /// - Returns: of each failure the longest gap of two streams of 1 kHz, one each way; and the packets lost in all.
  private func fiftyGreyHoles(seed: UInt64, isProtected: Bool) throws -> (gaps: [Duration], lost: Int) {
    let world = try World(.grid(5, 5), seed: seed)
    if !isProtected { try world.set("protected-rate=0") }
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let flows = [(0, 24), (24, 0)].map {
      world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1), payload: 64)
    }
    world.run(for: .milliseconds(1_300))
    var gaps: [Duration] = []
    for number in 0..<50 {
      let way = try #require(nodesInUse(world, to: 24))
      let inward = number / 2 % way.count
      let victim = number % 2 == 0 ? way[inward] : way[way.count - 1 - inward]
      let start = world.now
      world.setConduct(victim, .greyHole)
      world.run(for: .milliseconds(1_500))
      world.setConduct(victim, .honest)
      world.run(for: .milliseconds(500))
      gaps.append(flows.map { world.longestGap($0, from: start, to: world.now) }.max() ?? .zero)
    }
    flows.forEach(world.endFlow)
    world.run(for: .seconds(1))
    return (gaps, flows.reduce(0) { $0 + world.traffic.flows[$1].sent - world.traffic.flows[$1].arrivals.count })
  }

  /// The nodes between the MA, node 0, and a component on the way that carries what is sent once.
  private func nodesInUse(_ world: World, to component: Int) -> [Int]? {
    let ids = world.nodes.map { $0.running?.node.identity.id }
    guard let authority = world.nodes[0].running?.node.authority,
      let channel = world.nodes[0].running?.node.channels.first(where: { $0.peer == ids[component] }),
      let place = channel.ways.places.firstIndex(where: { $0 === channel.ways.main }),
      let path = authority.admissions[channel.number]?.laid[place].path
    else { return nil }
    return path.links.dropLast().compactMap { ids.firstIndex(of: $0.to) }
  }

  // MARK: How ways stand

  /// Five ways that are alike but for their paths, the second and third paired; main is the first.
  private func fiveWays(_ channel: Channel, at now: Instant) throws -> (ways: Ways, each: [Way]) {
    let builder = try #require(channel.ways.main).builder
    let each = (0..<5).map { (number: UInt16) -> Way in
      let isPaired = number == 1 || number == 2
      return Way(
        builder: builder, egress: number, frameSize: 1_500, hops: 2, isPaired: isPaired, pathTag: UInt32(number))
    }
    var ways = Ways()
    for (place, way) in each.enumerated() { ways.put(way, at: place, of: 5, at: now) }
    return (ways, each)
  }

  @Test func `who has answered comes before who has not`() throws {
    let world = try World(.line(3), seed: 84)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let channel = try #require(world.nodes[0].running?.node.channels.first { !$0.ways.isEmpty })
    let now = world.nodes[0].own(world.now)
    var (ways, each) = try fiveWays(channel, at: now)
    func answer(_ place: Int, alone: Bool = false, at time: Instant) {
      each[place].probing.sent(9, counter: 1, traffic: .bulk, isAlone: alone, at: time)
      #expect(each[place].probing.answered(9, at: time) != nil)
    }
    func chosen(at time: Instant, down: UInt16 = 99) -> (main: Int?, protected: [Int]) {
      ways.choose(at: time, isUp: { $0 != down })
      let copies = ([ways.first].compactMap { $0 } + ways.twins).compactMap { way in each.firstIndex { $0 === way } }
      return (each.firstIndex { $0 === ways.main }, copies)
    }
    // Nobody has answered: the order of places; the pair is not relied on alone.
    #expect(chosen(at: now).main == 0)
    #expect(chosen(at: now).protected == [0, 1, 2])
    // One of the pair has: it comes first, and with the other it carries what is protected.
    answer(2, at: now)
    #expect(chosen(at: now).main == 2)
    #expect(chosen(at: now).protected == [1, 2])
    for place in [0, 1, 3, 4] { answer(place, at: now) }
    #expect(chosen(at: now).main == 0 && chosen(at: now).protected == [1, 2])
    // One of the pair is in doubt: copied to all the same.
    each[1].probing.fallSilent(losing: .bulk, at: now)
    #expect(chosen(at: now).main == 0 && chosen(at: now).protected == [0, 2, 1])
    #expect(chosen(at: now, down: 1).protected == [0, 2, 3])
    // All the others are asked: in doubt or not, who answers comes first.
    for place in [0, 2, 3, 4] { each[place].probing.awaitAnswer(at: now + .seconds(1)) }
    let later = now + .milliseconds(1_002)
    answer(1, alone: true, at: later)
    #expect(chosen(at: later).main == 1)
    answer(4, at: later)
    #expect(chosen(at: later).main == 4)
    #expect(chosen(at: later).protected == [4, 1, 2])
    // A way laid through other nodes has to answer first, one through the same need not.
    let builder = each[4].builder
    for (tag, isAsked) in [(UInt32(4), false), (44, true)] {
      let new = Way(builder: builder, egress: 4, frameSize: 1_500, hops: 2, isPaired: false, pathTag: tag)
      ways.put(new, at: 4, of: 5, at: later + .seconds(1))
      #expect(new.probing.mustAnswer == isAsked && new.probing.isAsked == isAsked)
    }
  }

  @Test func `who answers lone probes and loses the traffic is asked less and less`() {
    var probing = WayProbing()
    var now = Instant.zero + .seconds(1_000)
    var pauses: [Int64] = []
    func ask() -> Bool {
      probing.sent(1, counter: 1, traffic: .bulk, isAlone: true, at: now)
      return probing.answered(1, at: now) != nil
    }
    // It loses traffic, answers when it is asked, and loses again.
    for _ in 0..<9 {
      probing.fallSilent(losing: .bulk, at: now)
      pauses.append((probing.nextAsking - now).milliseconds)
      #expect(probing.isDeceiver(at: now) == (pauses.count > 1))
      now = probing.nextAsking
      #expect(ask() && now < probing.silenceEnds + .milliseconds(1))
    }
    #expect(pauses == [100, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
    // What was lost comes through, of that class.
    probing.fallSilent(losing: .bulk, at: now)
    for (lost, isClear) in [(FrameClass.protected, false), (.bulk, true)] {
      probing.sent(2, counter: 1, traffic: lost, isAlone: false, at: now)
      #expect(probing.answered(2, at: now) != nil)
      #expect((probing.silenceEnds == .zero) == isClear)
    }
    probing.fallSilent(losing: nil, at: now)
    #expect((probing.nextAsking - now).milliseconds == 100)
    // Only what asked was lost: what asks shows that it carries.
    #expect(ask() && probing.silenceEnds == .zero)
  }

  @Test func `who answers nothing is asked again and again`() {
    var probing = WayProbing()
    var now = Instant.zero + .seconds(1_000)
    var pauses: [Int64] = []
    for _ in 0..<5 {
      probing.fallSilent(losing: nil, at: now)
      pauses.append((probing.nextAsking - now).milliseconds)
      now = probing.nextAsking
    }
    #expect(pauses == [100, 200, 400, 400, 400])
  }
}
