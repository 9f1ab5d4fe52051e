// Alternates and protected pairs: hand-made networks, all paths of small random ones, and random changes against
// computations from nothing.

import Core
import TestSupport
import Testing
import Topology

@Suite struct RouteSetTests {
  func settled(_ network: Network, alternates: Int = 3) -> TopologyGraph {
    var network = network
    var graph = TopologyGraph(root: id(0), alternates: alternates)
    network.install(in: &graph)
    graph.settle()
    return graph
  }

  func ways(_ set: RouteSet) -> [[Int]] { set.paths.map { hops($0)! } }

  @Test func `in a ring the two ways round are the protected pair, and there is no third`() {
    var network = Network(6)
    for node in 0..<6 { network.link(node, (node + 1) % 6) }
    let set = settled(network).routes(to: id(2))
    #expect(ways(set) == [[0, 1, 2], [0, 5, 4, 3, 2]])
    #expect(set.pair == (0, 1) && set.protection == .nodes && set.isCurrent)
  }

  @Test func `where the best path bars every disjoint pair, a pair without it is found (Suurballe 1974)`() {
    // The best path 0-1-2-3 takes both bridges between the upper and the lower way.
    var network = Network(6)
    network.link(0, 1, cost: 1)
    network.link(1, 2, cost: 1)
    network.link(2, 5, cost: 1)
    network.link(0, 3, cost: 4)
    network.link(3, 2, cost: 4)
    network.link(1, 4, cost: 4)
    network.link(4, 5, cost: 4)
    let set = settled(network).routes(to: id(5))
    #expect(ways(set).first == [0, 1, 2, 5])
    #expect(set.protection == .nodes)
    #expect(Set([ways(set)[set.pair.first], ways(set)[set.pair.second]]) == [[0, 1, 4, 5], [0, 3, 2, 5]])
    // Alternates beside the pair are not wanted: the best path and its most disjoint one remain.
    #expect(settled(network, alternates: 1).routes(to: id(5)).paths.count == 2)
    #expect(ways(settled(network, alternates: 0).routes(to: id(5))) == [[0, 1, 2, 5]])
  }

  @Test func `over a bridge both paths go, and part before and behind it`() {
    var network = Network(6)
    network.link(0, 1)
    network.link(0, 2)
    network.link(1, 2)
    network.link(2, 3)
    network.link(3, 4)
    network.link(3, 5)
    network.link(4, 5)
    let set = settled(network).routes(to: id(5))
    #expect(ways(set).prefix(2) == [[0, 2, 3, 5], [0, 1, 2, 3, 4, 5]])
    #expect(set.sharing(0, 1) == Sharing(links: 1, risks: 0, nodes: 2) && set.protection == .none)
    // Nothing but bridges: one path.
    var chain = Network(3)
    chain.link(0, 1)
    chain.link(1, 2)
    let single = settled(chain).routes(to: id(2))
    #expect(ways(single) == [[0, 1, 2]] && single.pair == (0, 0) && single.protection == .none)
  }

  @Test func `parallel links are link-disjoint, and not of one risk group when they share a card`() {
    var network = Network(2)
    network.link(0, 1, cost: 1, riskGroup: 3)
    network.link(0, 1, cost: 2, riskGroup: 3)
    network.link(0, 1, cost: 3)
    let set = settled(network).routes(to: id(1))
    #expect(set.paths.map(\.cost) == [1, 3, 2])
    #expect(set.pair == (0, 1) && set.disjointness(0, 1) == .nodes && set.disjointness(0, 2) == .links)
  }

  @Test func `an alternate shares no link where it can, then no risk group, then no node`() {
    var network = Network(6)
    // Two parallel links to 1, a way over 2 that shares nothing, dearer.
    network.link(0, 1, cost: 1)
    network.link(0, 1, cost: 2)
    network.link(1, 3, cost: 1)
    network.link(1, 3, cost: 2)
    network.link(0, 2, cost: 100)
    network.link(2, 3, cost: 100)
    var set = settled(network).routes(to: id(3))
    #expect(ways(set) == [[0, 1, 3], [0, 2, 3], [0, 1, 3]])
    #expect(set.paths.map(\.cost) == [2, 200, 4])
    #expect(set.disjointness(0, 1) == .nodes && set.disjointness(0, 2) == .risks)
    // A risk group shared with the best path's first port counts against an alternate.
    network = Network(4)
    network.link(0, 1, cost: 1, riskGroup: 7)
    network.link(0, 2, cost: 1, riskGroup: 7)
    network.link(0, 3, cost: 50)
    network.link(3, 2, cost: 50)
    network.link(2, 1, cost: 1)
    set = settled(network).routes(to: id(1))
    #expect(ways(set).prefix(2) == [[0, 1], [0, 3, 2, 1]])
  }

  @Test func `links whose labels name one duct fail together, at whatever nodes they are`() {
    var network = Network(7)
    network.link(0, 1, cost: 1)
    network.link(1, 6, cost: 1, group: "duct7")
    network.link(0, 2, cost: 2)
    network.link(2, 6, cost: 2, group: "duct7")
    network.link(0, 3, cost: 9)
    network.link(3, 6, cost: 9)
    let set = settled(network).routes(to: id(6))
    #expect(ways(set) == [[0, 1, 6], [0, 3, 6], [0, 2, 6]])
    #expect(set.disjointness(0, 2) == .links && set.protection == .nodes)
    // The best path's group is no bar when a pair can do without it.
    network = Network(7)
    network.link(0, 1, cost: 1, group: "duct7")
    network.link(1, 6, cost: 1)
    network.link(0, 2, cost: 2)
    network.link(2, 6, cost: 2, group: "duct7")
    network.link(0, 3, cost: 9)
    network.link(3, 1, cost: 9)
    let pair = settled(network).routes(to: id(6))
    #expect(pair.protection == .nodes, "\(ways(pair))")
  }

  @Test func `a label carries the port's name and the risk group after an at sign`() {
    #expect(PortLabel(port: "eth0", riskGroup: "duct7").description == "eth0@duct7")
    #expect(PortLabel(port: "enp193s0f1np1", riskGroup: "duct7").description == "enp193s0f@duct7")
    #expect(PortLabel(port: "eth0", riskGroup: "no good").description == "eth0")
    #expect(PortLabel(port: "eth0", riskGroup: "ninechars").description == "eth0")
    #expect(PortLabel("eth0@x").description == "eth0?x" && PortLabel("eth0@x").riskGroup.isEmpty)
    #expect(PortLabel(exactly: Array("eth0@duct-7.a".utf8))?.riskGroup == Array("duct-7.a".utf8))
    #expect(PortLabel(exactly: Array("eth0@".utf8))?.riskGroup == [])
    #expect(PortLabel(exactly: Array("e@b@c".utf8))?.riskGroup == Array("c".utf8))
  }

  @Test func `the neighbours of a star's root have one path each`() {
    var network = Network(8)
    for node in 1..<8 { network.link(0, node) }
    let graph = settled(network)
    for node in 1..<8 { #expect(ways(graph.routes(to: id(node))) == [[0, node]]) }
    #expect(graph.routes(to: id(0)).paths.count == 1 && graph.routes(to: id(99)).paths.isEmpty)
  }

  @Test func `a root with one link, or one chain of links, parts its paths behind it`() {
    var network = Network(7)
    network.link(0, 1)
    network.link(1, 2)
    for node in 3..<6 {
      network.link(2, node)
      network.link(node, 6)
    }
    let set = settled(network).routes(to: id(6))
    #expect(set.paths.count == 3)
    for (i, j) in [(0, 1), (0, 2), (1, 2)] { #expect(set.sharing(i, j) == Sharing(links: 2, risks: 0, nodes: 2)) }
  }

  @Test(arguments: Array(1...60) as [UInt64])
  func `pairs share the least of all pairs of paths, and the first alternate the least with the best`(seed: UInt64) {
    var generator = Generator(seed: seed &+ 3000)
    let count = 4 + generator.below(5)
    var network = Network(count)
    for n in 0..<(count - 1 + generator.below(count + 2)) {
      let b = n + 1 < count ? n + 1 : generator.below(count)
      let a = n + 1 < count ? generator.below(n + 1) : generator.below(count)
      if a != b {
        network.link(
          a, b, cost: UInt16(1 + generator.below(5)), riskGroup: seed % 3 == 0 ? UInt32(generator.below(3)) : 0)
      }
    }
    let reference = ReferenceRoutes(network)
    let graph = settled(network)
    for node in 1..<count {
      let set = graph.routes(to: id(node))
      let all = reference.ways(to: node)
      #expect(set.paths.isEmpty == all.isEmpty)
      guard let best = set.best, let way = reference.way(best) else { continue }
      if all.count == 1 {
        #expect(set.paths.count == 1)
        continue
      }
      let least = reference.leastSharing(to: node)!
      let found = set.sharing(set.pair.first, set.pair.second)
      #expect(found.isDisjoint == least.isDisjoint, "seed \(seed), node \(node)")
      #expect(found.links == least.links, "seed \(seed), node \(node)")
      if seed % 3 != 0 { #expect(found == least, "seed \(seed), node \(node)") }
      // The sharings given are those of the paths.
      for j in set.paths.indices.dropFirst() {
        #expect(set.sharing(0, j) == reference.sharing(way, reference.way(set.paths[j])!))
      }
      let other = all.filter { $0.links != way.links }.map { (reference.sharing(way, $0), $0.cost) }.min { $0 < $1 }!
      if set.pair.first == 0 {
        let first = set.sharing(0, 1)
        #expect(first.links == other.0.links, "seed \(seed), node \(node)")
        if seed % 3 != 0 {
          #expect(first == other.0 && Int(set.paths[1].cost) == other.1, "seed \(seed), node \(node)")
        }
      }
    }
  }

  @Test(arguments: Array(1...12) as [UInt64])
  func `with ducts over several nodes a disjoint pair is found nearly always when there is one`(seed: UInt64) {
    var generator = Generator(seed: seed &+ 7000)
    var (there, found) = (0, 0)
    for _ in 0..<12 {
      let count = 5 + generator.below(3)
      var network = Network(count)
      for n in 0..<(2 * count) {
        let b = n + 1 < count ? n + 1 : generator.below(count)
        let a = n + 1 < count ? generator.below(n + 1) : generator.below(count)
        let group = ["", "", "", "x", "y", "z"][generator.below(6)]
        if a != b { network.link(a, b, cost: UInt16(1 + generator.below(9)), group: group) }
      }
      let reference = ReferenceRoutes(network)
      let graph = settled(network)
      for node in 1..<count {
        guard let least = reference.leastSharing(to: node), least.isDisjoint else { continue }
        there += 1
        if graph.routes(to: id(node)).protection == .nodes { found += 1 }
      }
    }
    #expect(found * 20 >= there * 19, "\(found) of \(there), seed \(seed)")
  }

  @Test(arguments: Array(1...16) as [UInt64])
  func `through random changes the alternates are those of a computation from nothing`(seed: UInt64) {
    var generator = Generator(seed: seed &+ 9000)
    let count = 12 + generator.below(30)
    var network = Network.random(
      &generator, nodes: count, links: count + generator.below(2 * count), costs: 2 + generator.below(20))
    var graph = network.graph()
    network.install(in: &graph)
    var absent: Set<Int> = []
    var given: [ComponentID: RouteSet] = [:]
    for round in 0..<40 {
      var named = Set(graph.recompute())
      // Sometimes the next change comes before the last one's alternates are done.
      let isPatient = generator.below(3) > 0
      var steps = 0
      while graph.hasPendingAlternates && (isPatient || steps < 2) {
        named.formUnion(graph.nextAlternates(budget: 30))
        steps += 1
      }
      if !graph.hasPendingAlternates {
        var anew = TopologyGraph(root: id(0))
        for node in (0..<count).shuffled(using: &generator) where !absent.contains(node) {
          if node == 0 {
            anew.installRoot(adjacencies: network.adjacencies[0])
          } else {
            _ = anew.install(network.lsa(node), from: id(node), at: .zero)
          }
        }
        anew.settle(budget: 1_000_000)
        for node in 0..<count {
          let (one, other) = (graph.routes(to: id(node)), anew.routes(to: id(node)))
          #expect(one == other && one.isCurrent, "seed \(seed), round \(round), node \(node)")
        }
      }
      for node in 0..<count {
        let set = graph.routes(to: id(node))
        if isPatient, let before = given[id(node)], before != set {
          #expect(named.contains(id(node)), "seed \(seed), round \(round): changed and not named")
        }
        given[id(node)] = isPatient ? set : nil
      }
      for _ in 0...generator.below(3) { RandomChange.apply(&network, &graph, &absent, &generator) }
    }
  }

  @Test func `a set without a link that went is given at once, and those that lost one are computed first`() {
    var network = Network(16)
    for y in 0..<4 {
      for x in 0..<4 {
        if x < 3 { network.link(4 * y + x, 4 * y + x + 1) }
        if y < 3 { network.link(4 * y + x, 4 * y + x + 4) }
      }
    }
    var graph = network.graph()
    network.install(in: &graph)
    graph.settle()
    let cut = graph.routes(to: id(15)).paths[1].links[2]
    let (a, b) = ((0..<16).first { id($0) == cut.from }!, (0..<16).first { id($0) == cut.to }!)
    var losers: Set<ComponentID> = []
    for node in 1..<16 {
      for path in graph.routes(to: id(node)).paths.dropFirst()
      where path.links.contains(where: { [$0.from, $0.to].sorted() == [cut.from, cut.to].sorted() }) {
        losers.insert(id(node))
      }
    }
    network.cut(a, b)
    for end in [a, b] where end != 0 { _ = graph.install(network.lsa(end), from: id(end), at: .zero) }
    _ = graph.recompute()
    #expect(graph.hasPendingAlternates && !graph.routes(to: id(15)).isCurrent)
    for node in 1..<16 {
      for path in graph.routes(to: id(node)).paths {
        #expect(!path.links.contains { [$0.from, $0.to].sorted() == [cut.from, cut.to].sorted() })
      }
    }
    var order: [ComponentID] = []
    while graph.hasPendingAlternates { order += graph.nextAlternates(budget: 1) }
    #expect(!losers.isEmpty && Set(order.prefix(losers.count)) == losers)
  }
}
