// Paths of random networks against the reference, and the answers to "why this path".

import Core
import TestSupport
import Testing
import Topology

@Suite struct TopologyPathTests {
  func reports(_ network: Network, without absent: Set<Int> = []) -> [ComponentID: [Adjacency]] {
    var reports: [ComponentID: [Adjacency]] = [:]
    for node in network.adjacencies.indices where !absent.contains(node) {
      reports[id(node)] = network.adjacencies[node]
    }
    return reports
  }

  func paths(_ graph: TopologyGraph, _ count: Int) -> [ComponentID: TopologyPath] {
    var paths: [ComponentID: TopologyPath] = [:]
    for node in 0..<count { paths[id(node)] = graph.path(to: id(node)) }
    return paths
  }

  @Test(arguments: Array(1...40) as [UInt64])
  func `paths of random networks are those of Bellman and Ford, in any order of installation`(seed: UInt64) {
    var generator = Generator(seed: seed)
    let count = 2 + generator.below(40)
    var network = Network.random(&generator, nodes: count, links: count - 1 + generator.below(2 * count))
    // Some reports are made to disagree.
    for _ in 0..<generator.below(6) {
      let node = generator.below(count)
      guard !network.adjacencies[node].isEmpty else { continue }
      let i = generator.below(network.adjacencies[node].count)
      switch generator.below(4) {
      case 0: network.adjacencies[node][i].cost = 20
      case 1: network.adjacencies[node][i].frameSize = 500
      case 2: network.adjacencies[node][i].neighbour = id(generator.below(count))
      default: network.adjacencies[node].remove(at: i)
      }
    }
    let expected = ReferencePaths(root: id(0), reports: reports(network)).paths
    var first: [ComponentID]?
    for _ in 0..<3 {
      var graph = network.graph()
      network.install(in: &graph, order: Array(0..<count).shuffled(using: &generator))
      let changed = graph.recompute()
      #expect(paths(graph, count) == expected, "seed \(seed)")
      #expect(changed == (first ?? changed))
      first = changed
    }
  }

  @Test(arguments: Array(1...20) as [UInt64])
  func `through random changes, what recompute reports is what changed`(seed: UInt64) {
    var generator = Generator(seed: seed &+ 1000)
    let count = 30
    var network = Network.random(&generator, nodes: count, links: 55)
    var graph = network.graph()
    network.install(in: &graph)
    var absent: Set<Int> = []
    var before = [id(0): graph.path(to: id(0)) ?? TopologyPath(links: [], cost: 0, frameSize: .max)]
    for _ in 0..<60 {
      let now = { () -> [ComponentID: TopologyPath] in paths(graph, count) }
      let changed = graph.recompute()
      let after = now()
      let expected = (0..<count).map { id($0) }.filter { before[$0] != after[$0] }.sorted()
      #expect(changed == expected, "seed \(seed)")
      #expect(after == ReferencePaths(root: id(0), reports: reports(network, without: absent)).paths, "seed \(seed)")
      before = after
      for _ in 0...generator.below(3) {
        let node = 1 + generator.below(count - 1)
        switch generator.below(4) {
        case 0:
          graph.remove(id(node))
          absent.insert(node)
          continue
        case 1:
          let other = generator.below(count)
          network.link(node, other, cost: UInt16(generator.below(4)))
          if other == 0 {
            graph.installRoot(adjacencies: network.adjacencies[0])
          } else if !absent.contains(other), other != node {
            _ = graph.install(network.lsa(other), from: id(other), at: .zero)
          }
        case 2:
          if !network.adjacencies[node].isEmpty {
            network.adjacencies[node].remove(at: generator.below(network.adjacencies[node].count))
          }
        default:
          if !network.adjacencies[node].isEmpty {
            let i = generator.below(network.adjacencies[node].count)
            network.adjacencies[node][i].cost = UInt16(generator.below(6))
            network.adjacencies[node][i].frameSize = [1500, 1400, 9000][generator.below(3)]
          }
        }
        absent.remove(node)
        _ = graph.install(network.lsa(node), from: id(node), at: .zero)
      }
    }
  }

  @Test func `explain gives the best path first and then what it was preferred to`() {
    var network = Network(6)
    network.link(0, 1, cost: 10)
    network.link(1, 5, cost: 10)
    network.link(0, 2, cost: 15)
    network.link(2, 5, cost: 15)
    network.link(1, 2, cost: 1)
    network.link(0, 5, cost: 90)
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    let answer = graph.explain(to: id(5))
    #expect(answer.map { hops($0) } == [[0, 1, 5], [0, 2, 1, 5], [0, 1, 2, 5], [0, 2, 5]])
    #expect(answer.map(\.cost) == [20, 26, 26, 30])
    #expect(answer.first == graph.path(to: id(5)))
    #expect(graph.explain(to: id(0)).isEmpty)
    #expect(graph.explain(to: id(9)).isEmpty)
  }

  @Test(arguments: Array(1...10) as [UInt64])
  func `alternatives are paths of the graph without loops, all different`(seed: UInt64) {
    var generator = Generator(seed: seed &+ 500)
    var network = Network.random(&generator, nodes: 40, links: 80, costs: 20)
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    let links = ReferencePaths.links(reports(network))
    for node in 1..<40 {
      let answer = graph.explain(to: id(node))
      #expect(answer.first == graph.path(to: id(node)))
      for (i, path) in answer.enumerated() {
        #expect(!answer.prefix(i).contains(path))
        #expect(path.cost >= answer[0].cost)
        var (at, cost, size) = (id(0), UInt32(0), UInt16.max)
        var seen: Set<ComponentID> = [at]
        for link in path.links {
          let real = links.first {
            $0.from == at && $0.fromAdjacency == link.fromAdjacency && $0.to == link.to
              && $0.toAdjacency == link.toAdjacency
          }
          guard let real, link.from == at else {
            Issue.record("a link that is not there, seed \(seed)")
            return
          }
          (at, cost, size) = (link.to, cost + real.cost, min(size, real.frameSize))
          #expect(seen.insert(at).inserted)
        }
        #expect(at == id(node) && cost == path.cost && size == path.frameSize)
      }
    }
  }

  @Test func `of a thousand nodes and two thousand links every change is followed`() {
    var generator = Generator(seed: 77)
    var network = Network.random(&generator, nodes: 1000, links: 2000, costs: 100)
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    for round in 0..<5 {
      network.adjacencies[1 + round][0].cost &+= 1
      _ = graph.install(network.lsa(1 + round), from: id(1 + round), at: .zero)
      _ = graph.recompute()
      var anew = network.graph()
      network.install(in: &anew)
      _ = anew.recompute()
      for node in 1..<1000 { #expect(graph.path(to: id(node)) == anew.path(to: id(node)), "round \(round), \(node)") }
    }
    #expect(graph.path(to: id(999)) != nil)
  }
}
