// A node that passes hellos and drops what it should pass on: the MA finds it, others' ways leave it, and it is used again
// when it carries again (docs/PROTOCOL.md §5, "Search").

import Core
import Session
import Store
import Testing
import Topology
import Wire

@testable import Node
@testable import Simulator

@Suite struct SearchTests {
  /// A search sends its frames by the route of the way that fell silent, and the end answers them.
  @Test func `answers to a search's frames are none to the way's own probes`() throws {
    var longest = Duration.zero
    for moment in stride(from: 2_900 as Int64, to: 3_300, by: 25) {
      let world = try World(.ring(6), seed: 92)
      try world.set("protected-rate=0")
      #expect(form(world) != nil)
      world.run(for: .seconds(2))
      world.setConduct(1, .greyHole)
      _ = world.startFlow(from: 0, to: 2, every: .milliseconds(2), payload: 64)
      world.run(for: .milliseconds(moment))
      world.setConduct(1, .honest)
      world.run(for: .seconds(2))
      let peer = world.nodes[2].running?.node.identity.id
      for channel in world.nodes[0].running?.node.channels ?? [] where channel.peer == peer {
        for case let way? in channel.ways.places { longest = max(longest, way.probing.roundTrip) }
      }
    }
    tell("a search's frames: longest round trip of a way", longest)
    #expect(longest > .zero && longest < .milliseconds(50))
  }

  private func standing(_ layout: Layout, seed: UInt64) throws -> World {
    let world = try World(layout, seed: seed)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    return world
  }

  /// The nodes of the MA's best way to a node, the MA not among them.
  private func way(_ world: World, to node: Int) -> [Int] {
    guard let id = world.nodes[node].running?.storage.pointee.id,
      let authority = world.nodes[0].running?.storage.pointee.authority,
      let number = authority.byID[id], let path = authority.admissions[number]?.path
    else { return [] }
    let ids = world.nodes.map { $0.running?.storage.pointee.id }
    return path.links.compactMap { ids.firstIndex(of: $0.to) }
  }

  /// Both nodes of each link that the MA avoids.
  private func avoided(_ world: World) -> [Set<Int>] {
    let ids = world.nodes.map { $0.running?.storage.pointee.id }
    let faults = world.nodes[0].running?.storage.pointee.authority?.faults
    return (faults?.condemned ?? []).filter { !$0.isLifted }.map { entry in
      Set([ids.firstIndex(of: entry.link.from), ids.firstIndex(of: entry.link.to)].compactMap { $0 })
    }
  }

  /// Searches by components' hints that are under way.
  private func hints(_ world: World) -> Int {
    let running = world.nodes[0].running?.storage.pointee.authority?.faults.running ?? []
    return running.filter { if case .hint = $0.purpose { true } else { false } }.count
  }

  private func name(_ world: World, _ node: Int) -> String {
    String(decoding: world.nodes[node].running?.storage.pointee.contents.name.bytes ?? [], as: UTF8.self)
  }

  private func isThrough(_ world: World, _ node: Int) -> Bool {
    world.nodes.indices.contains { $0 != 0 && $0 != node && way(world, to: $0).contains(node) }
  }

  @Test(arguments: ["there", "back", "both"]) func `in a ring the MA names the node`(flows: String) throws {
    let world = try standing(.ring(6), seed: 81)
    #expect(way(world, to: 2) == [1, 2])
    if flows != "back" { _ = world.startFlow(from: 0, to: 2, every: .milliseconds(2)) }
    if flows != "there" { _ = world.startFlow(from: 2, to: 0, every: .milliseconds(2)) }
    world.run(for: .seconds(1))
    world.setConduct(1, .greyHole)
    let named = "\(name(world, 1)) seems to drop what it should pass on"
    let time = world.run(atMost: .seconds(5)) { $0.nodes[0].hasLogged(named) }
    tell("ring, flow \(flows): the grey hole is named", time)
    #expect(time ?? .seconds(99) <= .milliseconds(1_500))
    world.run(for: .milliseconds(200))
    #expect(avoided(world).allSatisfy { $0.contains(1) })
    #expect(!isThrough(world, 1))
    world.setConduct(1, .honest)
    let back = world.run(atMost: .seconds(60)) { avoided($0).isEmpty && way($0, to: 2) == [1, 2] }
    tell("ring, flow \(flows): it is used again", back)
    #expect(back ?? .seconds(99) <= .seconds(12))
    world.checkTables()
    #expect(world.violations == [])
  }

  @Test func `in a grid the ways of all others leave it`() throws {
    let world = try standing(.grid(5, 5), seed: 82)
    // One of the nodes that others' ways lead through.
    let victim = try #require([6, 7, 8, 11, 12, 13].first { isThrough(world, $0) })
    let far = try #require(world.nodes.indices.last { $0 != victim && way(world, to: $0).contains(victim) })
    _ = world.startFlow(from: 0, to: far, every: .milliseconds(2))
    world.run(for: .seconds(1))
    world.setConduct(victim, .greyHole)
    let left = world.run(atMost: .seconds(5)) { !isThrough($0, victim) }
    tell("grid: the ways of all leave the grey hole", left)
    #expect(left ?? .seconds(99) <= .seconds(2))
    world.run(for: .seconds(2))
    #expect(world.nodes[0].hasLogged("\(name(world, victim)) seems to drop"))
    #expect(avoided(world).allSatisfy { $0.contains(victim) } && avoided(world).count >= 2)
    // It is reached itself all the same.
    #expect(!way(world, to: victim).isEmpty)
    world.setConduct(victim, .honest)
    let back = world.run(atMost: .seconds(90)) { avoided($0).isEmpty }
    tell("grid: it is used again", back)
    #expect(back ?? .seconds(99) <= .seconds(60))
    world.checkTables()
    #expect(world.violations == [])
  }

  @Test func `what is lost on the way back only is found as well`() throws {
    let world = try standing(.ring(6), seed: 83)
    _ = world.startFlow(from: 2, to: 0, every: .milliseconds(2))
    world.run(for: .seconds(1))
    world.setConduct(1, .greyTowards(0))
    let time = world.run(atMost: .seconds(5)) { avoided($0) == [[0, 1]] }
    tell("back only: found", time)
    #expect(time ?? .seconds(99) <= .seconds(2))
    world.run(for: .seconds(2))
    #expect(avoided(world).allSatisfy { $0.contains(1) })
    #expect(world.violations == [])
  }

  @Test func `the only way stays a way`() throws {
    let world = try standing(.line(4), seed: 84)
    let flow = world.startFlow(from: 0, to: 3, every: .milliseconds(2))
    world.run(for: .seconds(1))
    // What is small passes, the questions about what is lost too.
    world.setLargestFrame(1, 1_000)
    world.run(for: .milliseconds(1_200))
    #expect(world.counter(0, "linksCondemned") > 0)
    #expect(avoided(world) == [[1, 2]])
    #expect(way(world, to: 3) == [1, 2, 3])
    world.setLargestFrame(1, .max)
    world.endFlow(flow)
    world.run(for: .milliseconds(200))
    #expect(world.traffic.flows[flow].sent == world.traffic.flows[flow].arrivals.count)
    let back = world.run(atMost: .seconds(20)) { avoided($0).isEmpty }
    tell("the only way: it is not avoided any more", back)
    #expect(back != nil)
    #expect(world.violations == [])
  }

  @Test func `where all behind a link are silent nothing is avoided, and the way carries when the link does`() throws {
    let world = try standing(.line(4), seed: 84)
    _ = world.startFlow(from: 0, to: 3, every: .milliseconds(2))
    world.run(for: .seconds(1))
    world.setConduct(1, .greyTowards(2))
    world.run(for: .seconds(3))
    #expect(world.counter(0, "searchesVain") > 0 && world.counter(0, "linksCondemned") == 0)
    #expect(way(world, to: 3) == [1, 2, 3])
    world.setConduct(1, .honest)
    world.run(for: .milliseconds(300))
    let flow = world.startFlow(from: 0, to: 3, every: .milliseconds(10))
    world.run(for: .milliseconds(500))
    #expect(world.traffic.flows[flow].arrivals.count > 40)
    #expect(world.violations == [])
  }

  @Test func `a component that says its ways lose frames has nothing condemned, and few searches made`() throws {
    let world = try standing(.grid(4, 4), seed: 85)
    // It says so of all its ways, and keeps a healthy flow going meanwhile.
    let flow = world.startFlow(from: 0, to: 15, every: .milliseconds(5))
    let before = world.counter(0, "searches")
    for _ in 0..<200 {
      let box = world.nodes[15]
      world.enter(box) { node in
        guard let channel = node.uplinks.first?.channel else { return }
        for case let way? in channel.ways.places {
          _ = channel.stream.send(SuspectNotice(route: way.builder.route).encode())
        }
        _ = channel.stream.send(SuspectNotice(route: 12_345).encode())
        node.pump(channel, at: box.own(world.now))
      }
      world.run(for: .milliseconds(100))
      #expect(hints(world) <= 1)
    }
    #expect(avoided(world) == [] && world.counter(0, "linksCondemned") == 0)
    // 20 s: one in 2 s and three at once, each with a search of the way back at most.
    let searches = world.counter(0, "searches") - before
    #expect(searches > 0 && searches <= 2 * 13, "\(searches)")
    #expect(world.counter(0, "suspicionsRefused") > 100)
    world.endFlow(flow)
    world.run(for: .milliseconds(200))
    #expect(world.traffic.flows[flow].sent == world.traffic.flows[flow].arrivals.count)
    world.checkTables()
    #expect(world.violations == [])
  }

  @Test func `an avoided link that cannot be tried is let off, though there is a path to it`() throws {
    let world = try standing(.line(3), seed: 86)
    let box = world.nodes[0]
    world.enter(box) { node in
      guard let authority = node.authority, let id = world.nodes[2].running?.storage.pointee.id,
        let path = authority.graph.path(to: id)?.links
      else { return }
      // No place to wait at, ever.
      for _ in 0..<FaultSearches.waitingLimit {
        authority.faults.waiting.append(
          FaultSearches.Trial(purpose: .trial, path: [], traffic: .bulk, settling: .zero, notBefore: .never))
      }
      let now = box.own(world.now)
      authority.faults.condemned.append(
        CondemnedLink(link: path[1], path: path, traffic: .bulk, settling: .zero, since: now, due: now + .seconds(5)))
    }
    #expect(avoided(world) == [[1, 2]])
    world.run(for: .seconds(100))
    #expect(avoided(world) == [[1, 2]])
    world.run(for: .seconds(40))
    #expect(avoided(world).isEmpty)
    #expect(world.nodes[0].hasLogged("cannot be tried any more"))
  }

  @Test func `a link that loses frames again, now in the other direction, is tried in that one`() throws {
    let world = try standing(.ring(6), seed: 83)
    let box = world.nodes[0]
    let ids = world.nodes.map { $0.running?.storage.pointee.id }
    world.enter(box) { node in
      guard let authority = node.authority, let id = ids[1], let path = authority.graph.path(to: id)?.links,
        let link = path.first
      else { return }
      let now = box.own(world.now)
      // It lost control frames from here, and was let off.
      authority.faults.condemned.append(
        CondemnedLink(
          link: link, path: path, traffic: .control, settling: .zero, isLifted: true, since: now,
          due: now + CondemnedLink.memory))
    }
    _ = world.startFlow(from: 2, to: 0, every: .milliseconds(2))
    world.run(for: .seconds(1))
    world.setConduct(1, .greyTowards(0))
    #expect(world.run(atMost: .seconds(5)) { avoided($0).contains([0, 1]) } != nil)
    let faults = try #require(world.nodes[0].running?.storage.pointee.authority?.faults)
    let again = faults.condemned.filter { Set([$0.link.from, $0.link.to]) == Set([ids[0], ids[1]].compactMap { $0 }) }
    #expect(again.map(\.link.from) == [ids[1]])
    #expect(again.map(\.offences) == [2])
    #expect(again.allSatisfy { $0.traffic != .control && $0.settling > .zero && $0.path.contains($0.link) })
    world.setConduct(1, .honest)
    let back = world.run(atMost: .seconds(60)) { avoided($0).isEmpty }
    tell("the other direction: it is used again", back)
    #expect(back ?? .seconds(99) <= .seconds(25))
    #expect(world.violations == [])
  }

  @Test func `who lost an avoided link to make room is named anew`() {
    func id(_ n: UInt8) -> ComponentID {
      var bytes = Bytes16()
      bytes.withMutableBytes { $0[0] = n }
      return ComponentID(bytes)
    }
    var faults = FaultSearches()
    for far: UInt8 in [2, 3] {
      let link = TopologyLink(from: id(1), fromAdjacency: UInt16(far), to: id(far), toAdjacency: 1)
      faults.condemned.append(
        CondemnedLink(link: link, path: [link], traffic: .bulk, settling: .zero, since: .zero, due: .zero))
    }
    faults.named = [id(1)]
    #expect(faults.removeOldest().link.to == id(2))
    #expect(faults.named.isEmpty)
  }

  /// A frame comes to the node in the middle that lies, and goes on or not; honest nodes say what is.
  @Test func `a liar on the path has a link of its own blamed, or none`() {
    let said: [Passage?] = [.seen, .notSeen, .forgotten, nil]
    for length in 1...6 {
      for liar in 0..<length {
        for lies in said {
          for passesOn in [true, false] {
            // An honest end behind that does not answer for lack of a way.
            for mute in [nil] + Array(0..<length).map(Optional.some) where mute != liar {
              let passages: [[Passage]?] = (0..<length).map { i in
                if i == mute { return nil }
                if i == liar { return lies.map { Array(repeating: $0, count: 4) } }
                return Array(repeating: i < liar || passesOn ? .seen : .notSeen, count: 4)
              }
              switch FaultFinding(passages: passages, count: 4) {
              case .carries, .unclear: break
              // Link n ends at node n.
              case .link(let n): #expect(n == liar || n == liar + 1, "\(passages)")
              // Who does not answer is blamed himself.
              case .node(let n): #expect(n == liar || (n == mute && abs(n - liar) == 1), "\(passages)")
              }
            }
          }
        }
      }
    }
  }

  @Test func `a place is found only where the frames agree on it`() {
    let (yes, no) = (Passage.seen, Passage.notSeen)
    func find(_ rows: [[Passage]?]) -> FaultFinding { FaultFinding(passages: rows, count: 4) }
    #expect(find([[yes, yes, yes, yes], [no, no, no, no], [no, no, no, no]]) == .link(1))
    #expect(find([[yes, yes, yes, no], [no, no, no, no]]) == .link(1))
    #expect(find([[yes, yes, no, no], [no, no, no, no]]) == .unclear)
    #expect(find([[yes, yes, yes, yes], [yes, no, no, no]]) == .unclear)
    #expect(find([[yes, yes, yes, yes], [yes, yes, no, no]]) == .carries)
    #expect(find([[yes, yes, yes, yes], nil, [no, no, no, no]]) == .node(1))
    #expect(find([[yes, yes, yes, yes], nil]) == .unclear)
    #expect(find([nil, nil, [no, no, no, no]]) == .unclear)
    #expect(find([[.forgotten, yes, yes, yes], [no, no, no, no]]) == .link(1))
    #expect(find([[yes, yes, yes, yes], [.forgotten, .forgotten, .forgotten, .forgotten]]) == .unclear)
  }
}
