// Ways that are laid anew again and again: a member that loses what it should pass on must not be forgotten for it
// (docs/PROTOCOL.md §5, "Probes" and "Search").

import Core
import Onion
import Session
import Testing
import Topology
import Wire

@testable import Neighbour
@testable import Node
@testable import Simulator

/// What a member does to have the ways through it laid anew.
enum Churn: String, CaseIterable {
  case session, cost, frameSize
  /// It gives its ends of all its links other numbers; the neighbours take them.
  case number

  /// Of its i-th link, the k-th time.
  static func number(_ k: Int, _ i: Int) -> UInt16 { UInt16(1_000 + k % 500 * 8 + i) }
}

extension Node {
  fileprivate mutating func churn(_ what: Churn, _ k: Int, at now: Instant) {
    guard let uplink = uplinks.first, let newest = beacon.newest(authority: 0) else { return }
    if what == .session {
      let ups = neighbour.adjacencies.filter { isUp($0.number) }.map(\.number)
      guard let adjacency = k == 0 ? newest.adjacency : ups[k % ups.count] else { return }
      let request = AttachRequest(
        id: identity.id, nonce: uplink.nonce, epoch: descriptor.epoch,
        keyEpoch: uplink.channel.session?.keys.epoch ?? 255, certificate: contents.certificate?.encode() ?? [])
      let message = RelayMessage(kind: .attach, authority: uplink.channel.peer, body: request.encode())
      sendLink(subtype: LinkSubtype.relay, message.encode(), on: adjacency, at: now)
    } else if uplink.channel.session != nil {
      var advertisement = ownAdvertisement()
      for i in advertisement.adjacencies.indices {
        if what == .cost { advertisement.adjacencies[i].cost = UInt16(10 + k % 2) }
        if what == .number { advertisement.adjacencies[i].number = Churn.number(k, i) }
        if what == .frameSize { advertisement.adjacencies[i].frameSize = UInt16(1500 - k % 2) }
      }
      sendDatagram([ControlType.lsa.rawValue] + advertisement.encode(), on: uplink.channel, at: now)
    }
    drainNeighbour(at: now)
  }

  /// Another node has given its end of the link another number.
  fileprivate mutating func renumber(_ id: ComponentID, _ number: UInt16, at now: Instant) {
    for view in neighbour.adjacencies where view.id == id && view.state == .up {
      neighbour.tables.record(view.number)?.pointee.peerNumber = number
      topologyIsDirty = true
    }
    settle(at: now)
  }
}

@Suite struct RelaidWayTests {
  private func churn(_ world: World, _ node: Int, _ what: Churn, every pace: Duration, for time: Duration) {
    var k = 0
    world.every(pace, for: time) { world in
      let box = world.nodes[node]
      k += 1
      if what == .number, let running = box.running {
        let links = running.storage.pointee.ownAdjacencies()
        for other in world.nodes {
          let id = other.running?.storage.pointee.identity.id
          guard let i = links.firstIndex(where: { $0.neighbour == id }) else { continue }
          world.enter(other) {
            $0.renumber(running.storage.pointee.identity.id, Churn.number(k, i), at: other.own(world.now))
          }
        }
      }
      world.enter(box) { $0.churn(what, what == .session ? 0 : k, at: box.own(world.now)) }
    }
  }

  private func avoids(_ world: World, _ node: Int) -> Bool {
    guard let id = world.nodes[node].running?.storage.pointee.identity.id,
      let faults = world.nodes[0].running?.storage.pointee.authority?.faults
    else { return false }
    return faults.condemned.contains { !$0.isLifted && ($0.link.from == id || $0.link.to == id) }
  }

  @Test(arguments: Churn.allCases, [250, 1_000] as [Int64])
  func `a grey hole that has its ways laid anew keeps no unprotected flow`(what: Churn, pace: Int64) throws {
    let world = try World(.ring(6), seed: 81)
    try world.set("protected-rate=0")
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let flows = [(0, 2), (2, 0)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(2), payload: 64) }
    world.run(for: .milliseconds(1_300))
    world.setConduct(1, .greyHole)
    let start = world.now
    churn(world, 1, what, every: .milliseconds(pace), for: .seconds(20))
    world.run(for: .seconds(20))
    for flow in flows {
      let gap = world.longestGap(flow, from: start, to: world.now)
      tell("a grey hole, \(what) every \(pace) ms", gap)
      #expect(gap <= .seconds(1))
    }
    #expect(avoids(world, 1))
    #expect(world.violations == [])
  }

  @Test(arguments: [300, 3_000] as [Int64])
  func `a grey hole that makes new sessions is found where the flow is protected`(pace: Int64) throws {
    let world = try World(.ring(6), seed: 81)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let flow = world.startFlow(from: 0, to: 2, every: .milliseconds(2))
    world.run(for: .seconds(1))
    world.setConduct(1, .greyHole)
    let start = world.now
    churn(world, 1, .session, every: .milliseconds(pace), for: .seconds(30))
    let found = world.run(atMost: .seconds(30)) { self.avoids($0, 1) }
    tell("a grey hole, a session every \(pace) ms", found)
    #expect(found != nil)
    #expect(world.longestGap(flow, from: start, to: world.now) <= .milliseconds(2))
  }

  @Test func `a member that asks for sessions all the time costs the others nothing`() throws {
    let world = try World(.grid(10, 10), seed: 61)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    var quality = LinkQuality()
    quality.bitsPerSecond = 10_000_000
    for medium in 0..<world.mediumCount {
      for end in world.ends(of: medium) { world.setQuality(medium, quality, from: end) }
    }
    let flows = [(0, 99), (99, 0), (0, 9), (90, 0)].map {
      world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(5))
    }
    world.run(for: .seconds(2))
    let before = world.counter(0, "computations")
    var k = 0
    world.every(.milliseconds(20), for: .seconds(10)) { world in
      let box = world.nodes[11]
      k += 1
      world.enter(box) { $0.churn(.session, k, at: box.own(world.now)) }
    }
    let start = world.now
    world.run(for: .seconds(10))
    for flow in flows { #expect(world.longestGap(flow, from: start, to: world.now) < .milliseconds(100)) }
    #expect(world.counter(0, "sessionsOverBudget") > 100)
    let computations = world.counter(0, "computations") - before
    print("SIM a member asks for sessions all the time: \(computations) computations in 10 s")
    #expect(computations < 60)
    // One that came to its end all the same gets another.
    world.crash(44)
    world.run(for: .milliseconds(500))
    world.start(44)
    #expect(world.timeToReach([44, 11], atMost: .seconds(10)) != nil)
    #expect(world.violations == [])
  }

  /// The alternate's link goes, and the only other way is longer than any best one: no frame has room for it.
  @Test func `an alternate that cannot be laid does not leave the one before at its place`() throws {
    var layout = Layout(nodeCount: 13)
    for number in 0..<12 { layout.cable(number, (number + 1) % 12) }
    layout.cable(0, 12)
    layout.cable(12, 1)
    let world = try World(layout, seed: 98)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let peer = try #require(world.nodes[1].running?.node.identity.id)
    func ways() throws -> Ways {
      try #require(world.nodes[0].running?.node.channels.first { $0.peer == peer && !$0.isUplink }).ways
    }
    #expect(try ways().at(1) != nil)
    let short = try #require(ways().at(1)).builder.route
    world.setCarrier(13, false)
    world.run(for: .seconds(3))
    #expect(try !ways().places.contains { $0?.builder.route == short })
    #expect(try ways().main != nil)
    #expect(world.violations == [])
  }

  @Test func `what was found of a path is kept for the ways on it, and a late answer to the route before counts`()
    throws
  {
    let world = try World(.ring(4), seed: 97)
    #expect(form(world) != nil)
    world.run(for: .seconds(1))
    let box = world.nodes[0]
    world.enter(box) { node in
      let now = box.own(world.now)
      guard let channel = node.channels.first(where: { $0.ways.at(1) != nil }), let way = channel.ways.main else {
        Issue.record("no two ways")
        return
      }
      var entropy = node.entropy
      func again(_ tag: UInt32, egress: UInt16? = nil) -> Way {
        let builder = OnionBuilder(
          route: entropy.u32(), size: way.builder.size, hops: [RouteHop(decoyFrom: &entropy)], entropy: &entropy)
        return Way(
          builder: builder ?? way.builder, egress: egress ?? way.egress, frameSize: way.frameSize, hops: way.hops,
          isPaired: way.isPaired, pathTag: tag)
      }
      way.probing.sent(7, counter: 70, traffic: .bulk, isAlone: false, at: now)
      way.probing.countLoss()
      way.probing.sent(8, counter: 80, traffic: .bulk, isAlone: false, at: now)
      let second = again(way.pathTag)
      var ways = channel.ways
      let count = ways.places.count
      ways.put(second, at: 0, of: count, at: now)
      second.probing.countLoss()
      #expect(second.probing.lost == 2 && second.probing.lostCounters == [])
      #expect(ways.way(of: way.builder.route) === second && second.probing.answered(7, at: now) != nil)
      // Away and back.
      second.probing.sent(9, counter: 90, traffic: .bulk, isAlone: false, at: now)
      second.probing.countLoss()
      second.probing.silenceEnds = now + .seconds(60)
      ways.put(again(way.pathTag &+ 1), at: 0, of: count, at: now)
      #expect(ways.at(0)?.probing.lost == 0 && ways.at(0)?.isInDoubt(at: now) == false)
      let third = again(way.pathTag)
      ways.put(third, at: 0, of: count, at: now)
      #expect(third.probing.lost == 1 && third.isSilent(at: now))
      // What a hop said of the route before is over with that route.
      third.probing.silenceEnds = .zero
      third.callBroken(at: now)
      let fourth = again(way.pathTag)
      ways.put(fourth, at: 0, of: count, at: now)
      #expect(!fourth.isInDoubt(at: now))
      // What was under way long ago is not judged now.
      fourth.probing.sent(10, counter: 100, traffic: .bulk, isAlone: false, at: now)
      fourth.probing.countLoss()
      fourth.probing.verdictDue = now + .seconds(1)
      ways.put(again(way.pathTag &+ 1), at: 0, of: count, at: now)
      let later = now + .seconds(600)
      let fifth = again(way.pathTag)
      ways.put(fifth, at: 0, of: count, at: later)
      #expect(fifth.probing.lost == 0 && !fifth.probing.isOpen && fifth.probing.verdictDue == .never)
      // The way that has a route is found before the one that had it.
      let sixth = again(way.pathTag)
      ways.put(sixth, at: 2, of: 3, at: later)
      let seventh = again(way.pathTag)
      ways.put(fifth, at: 0, of: 3, at: later)
      ways.put(seventh, at: 0, of: 3, at: later)
      #expect(seventh.formerRoute == fifth.builder.route)
      ways.put(fifth, at: 2, of: 3, at: later)
      #expect(ways.way(of: fifth.builder.route) === fifth && ways.way(of: seventh.builder.route) === seventh)
      // What is over of one that has gone is no worse than what the one at the place has found since.
      var again8 = Ways()
      let gone = again(8)
      again8.put(gone, at: 1, of: 2, at: now)
      gone.probing.silenceEnds = now + .seconds(1)
      again8.put(again(8), at: 0, of: 1, at: now)
      again8.at(0)?.probing.silenceEnds = .zero
      again8.at(0)?.probing.sent(11, counter: 110, traffic: .bulk, isAlone: false, at: later)
      again8.at(0)?.probing.countLoss()
      again8.put(again(8), at: 0, of: 1, at: later)
      #expect(again8.at(0)?.probing.lost == 1)
      // One of two links to a neighbour loses frames, and the MA lays the ways anew, the good one first: by links of this
      // node's own each keeps what was found of it; of links further on both are in doubt, and the MA's order decides.
      for other in [way.egress &+ 1, way.egress] {
        var pair = Ways()
        let bad = again(7)
        pair.put(bad, at: 0, of: 2, at: now)
        pair.put(again(7, egress: other), at: 1, of: 2, at: now)
        bad.probing.silenceEnds = now + .seconds(60)
        let good = again(7, egress: other)
        pair.put(good, at: 0, of: 1, at: now)
        pair.put(again(7), at: 1, of: 2, at: now)
        #expect(pair.at(1)?.isSilent(at: now) == true)
        #expect(good.isInDoubt(at: now) == (other == way.egress))
        pair.choose(at: now, isUp: { _ in true })
        #expect(pair.main === good)
      }
    }
  }
}
