// Detours: walked step by step by the tables the nodes are given, in hand-made networks and through random changes.

import Core
import TestSupport
import Testing
import Wire
import Topology

@Suite struct DetourTests {
  func settled(_ network: Network) -> TopologyGraph {
    var network = network
    var graph = network.graph()
    network.install(in: &graph)
    graph.settleAll()
    return graph
  }

  /// Follows a detour from its head by the tables alone: the nodes passed, and the adjacency it counts as come by.
  func walk(_ head: DetourHead, from start: Int, _ walker: Walker) -> (nodes: [Int], arrival: UInt16)? {
    var (nodes, at, egress, label) = ([start], start, head.first, head.label)
    while nodes.count <= 17 {
      guard let far = walker.far(at, egress) else { return nil }
      at = far.node
      nodes.append(at)
      let matching = walker.tables[at].steps.filter { $0.ingress == far.ingress && $0.label == label }
      guard matching.count == 1, let step = matching.first else { return nil }
      if step.egress == 0 { return (nodes, step.next) }
      (egress, label) = (step.egress, step.next)
    }
    return nil
  }

  /// A network's links by end, and all tables.
  struct Walker {
    var ends: [[UInt16: (node: Int, ingress: UInt16)]] = []
    var tables: [DetourTable] = []

    init(_ network: Network, _ graph: TopologyGraph, absent: Set<Int> = []) {
      var numbers: [ComponentID: Int] = [:]
      for node in network.adjacencies.indices where !absent.contains(node) { numbers[id(node)] = node }
      for (node, own) in network.adjacencies.enumerated() {
        ends.append([:])
        tables.append(graph.detours(of: id(node)))
        for near in own where !absent.contains(node) {
          guard let other = numbers[near.neighbour], other != node,
            network.adjacencies[other].contains(where: {
              $0.number == near.neighbourNumber && $0.neighbour == id(node) && $0.neighbourNumber == near.number
                && min($0.frameSize, near.frameSize) >= TopologyGraph.smallestFrameSize
            })
          else { continue }
          ends[node][near.number] = (other, near.neighbourNumber)
        }
      }
    }

    func far(_ node: Int, _ adjacency: UInt16) -> (node: Int, ingress: UInt16)? { ends[node][adjacency] }
  }

  /// Walks every head of every table whose links stand; false when one does not do what it should.
  func check(_ network: Network, _ graph: TopologyGraph, absent: Set<Int> = [], _ note: String) -> Int {
    let walker = Walker(network, graph, absent: absent)
    var walked = 0
    for node in network.adjacencies.indices {
      let table = walker.tables[node]
      #expect(Set(table.steps.map { [$0.ingress, $0.label] }).count == table.steps.count, "\(note)")
      #expect(Set(table.heads.map { [$0.egress, $0.onward] }).count == table.heads.count, "\(note)")
      #expect(!table.steps.contains { $0.label == 0 } && table.heads.count <= 1024 && table.steps.count <= 4096)
      for head in table.heads {
        // One kept for a link that is gone is not judged.
        guard let neighbour = walker.far(node, head.egress) else { continue }
        let beyond = head.onward == 0 ? nil : walker.far(neighbour.node, head.onward)
        if head.onward != 0 && beyond == nil { continue }
        guard let (nodes, arrival) = walk(head, from: node, walker) else {
          Issue.record("node \(node), \(head): a dead end; \(note)")
          continue
        }
        walked += 1
        #expect(nodes.count <= 17 && Set(nodes).count == nodes.count, "\(note)")
        #expect(nodes.last == (beyond ?? neighbour).node && arrival == (beyond ?? neighbour).ingress, "\(note)")
        if beyond != nil {
          #expect(!nodes.contains(neighbour.node), "\(note)")
        } else {
          #expect(head.first != head.egress, "\(note)")
        }
      }
    }
    return walked
  }

  @Test func `in a ring every link has its way around both ways, and every inner node of a path`() throws {
    var network = Network(6)
    for node in 0..<6 { network.link(node, (node + 1) % 6) }
    let graph = settled(network)
    // 6 links both ways; all paths go round, so all 6 nodes but the root are passed by some path.
    #expect(check(network, graph, "ring") == 12 + 10)
    let table = graph.detours(of: id(1))
    // Node 1's adjacency 1 leads to the root, 2 to node 2; node 2's adjacency 2 leads on to node 3.
    let around = try #require(table.heads.first { $0.egress == 2 && $0.onward == 0 })
    let beyond = try #require(table.heads.first { $0.egress == 2 && $0.onward == 2 })
    #expect(around.first == 1 && beyond.first == 1 && around.frameSize == 1500)
    let walker = Walker(network, graph)
    #expect(walk(around, from: 1, walker)! == ([1, 0, 5, 4, 3, 2], 1))
    #expect(walk(beyond, from: 1, walker)! == ([1, 0, 5, 4, 3], 1))
  }

  @Test func `a bridge has no way around, a parallel link is one, but not of the same risk group`() {
    var network = Network(4)
    network.link(0, 1)
    network.link(1, 2, riskGroup: 4)
    network.link(1, 2, riskGroup: 4)
    network.link(2, 3)
    network.link(2, 3)
    let graph = settled(network)
    _ = check(network, graph, "chain")
    #expect(graph.detours(of: id(0)).heads.isEmpty)
    #expect(graph.detours(of: id(1)).heads.isEmpty)
    let heads = graph.detours(of: id(2)).heads
    #expect(heads.map { [$0.egress, $0.first] } == [[3, 4], [4, 3]])
  }

  @Test func `a detour has at most 16 links: of the cheapest with more, the shortest is taken instead`() {
    var network = Network(40)
    network.link(0, 1)
    // 17 links around.
    for node in 2...17 { network.link(node == 2 ? 0 : node - 1, node, cost: 1) }
    network.link(17, 1, cost: 1)
    #expect(settled(network).detours(of: id(0)).heads.filter { $0.onward == 0 && $0.egress == 1 }.isEmpty)
    // 16, and much dearer.
    for node in 20...34 { network.link(node == 20 ? 0 : node - 1, node, cost: 100) }
    network.link(34, 1, cost: 100)
    let graph = settled(network)
    let walker = Walker(network, graph)
    let head = graph.detours(of: id(0)).heads.first { $0.onward == 0 && $0.egress == 1 }!
    #expect(walk(head, from: 0, walker)!.nodes == [0] + Array(20...34) + [1])
  }

  @Test func `a detour carries the smallest frame of its links`() {
    var network = Network(3)
    network.link(0, 1)
    network.link(0, 2, frameSize: 1400)
    network.link(2, 1, frameSize: 1300)
    var graph = settled(network)
    #expect(graph.detours(of: id(0)).heads.first?.frameSize == 1300)
    network.adjacencies[2][1].frameSize = 1250
    network.versions[2] += 5
    _ = graph.install(network.lsa(2), from: id(2), at: .zero)
    _ = graph.recompute()
    var named: Set<ComponentID> = []
    while graph.hasPendingDetours { named.formUnion(graph.nextDetours(budget: 10)) }
    #expect(graph.detours(of: id(0)).heads.first?.frameSize == 1250)
    #expect(named.contains(id(0)))
  }

  @Test func `what does not change keeps its labels, and a new detour gets labels not given before`() {
    var generator = Generator(seed: 11)
    var network = Network.random(&generator, nodes: 20, links: 45, costs: 8)
    var graph = settled(network)
    var given: [Int: Set<[UInt16]>] = [:]
    var before: [DetourTable] = (0..<20).map { graph.detours(of: id($0)) }
    for node in 0..<20 { given[node] = Set(before[node].steps.map { [$0.ingress, $0.label] }) }
    for round in 0..<30 {
      let node = 1 + generator.below(19)
      let saved = network.adjacencies[node]
      guard let gone = network.adjacencies[node].randomElement(using: &generator) else { continue }
      network.adjacencies[node].removeAll { $0.number == gone.number }
      _ = graph.install(network.lsa(node), from: id(node), at: .zero)
      var named = graph.settleAll()
      for again in 0..<2 {
        for other in 0..<20 {
          let table = graph.detours(of: id(other))
          if table != before[other] { #expect(named.contains(id(other)), "round \(round)") }
          let old = Set(before[other].steps.map { [$0.ingress, $0.label] })
          for step in table.steps where !old.contains([step.ingress, step.label]) {
            #expect(given[other]!.insert([step.ingress, step.label]).inserted, "a label given again, round \(round)")
          }
          before[other] = table
        }
        if again == 1 { break }
        network.adjacencies[node] = saved
        _ = graph.install(network.lsa(node), from: id(node), at: .zero)
        named = graph.settleAll()
      }
      #expect(check(network, graph, "round \(round)") > 0)
    }
  }

  @Test func `a link that comes back within the time finds its detours with the same labels, and later new ones`() {
    var network = Network(5)
    for node in 0..<5 { network.link(node, (node + 1) % 5) }
    network.link(0, 2)
    var graph = settled(network)
    let head = graph.detours(of: id(0)).heads.first { $0.egress == 1 && $0.onward == 0 }!
    let whole = network
    func cut() {
      network.cut(0, 1)
      graph.installRoot(adjacencies: network.adjacencies[0])
      _ = graph.install(network.lsa(1), from: id(1), at: .zero)
      _ = graph.settleAll()
    }
    func join() {
      let versions = network.versions
      network = whole
      network.versions = versions
      graph.installRoot(adjacencies: network.adjacencies[0])
      _ = graph.install(network.lsa(1), from: id(1), at: .zero)
      _ = graph.settleAll()
    }
    cut()
    // It serves those who do not know yet.
    #expect(graph.detours(of: id(0)).heads.contains(head))
    graph.ageDetours()
    #expect(graph.detours(of: id(0)).heads.contains(head))
    join()
    #expect(graph.detours(of: id(0)).heads.contains(head))
    cut()
    graph.ageDetours()
    graph.ageDetours()
    #expect(graph.hasPendingDetours && graph.nextDetours(budget: 1).contains(id(0)))
    #expect(!graph.detours(of: id(0)).heads.contains { $0.egress == 1 })
    join()
    let new = graph.detours(of: id(0)).heads.first { $0.egress == 1 && $0.onward == 0 }!
    #expect(new.first == head.first && new.label != head.label)
  }

  @Test func `at a node's limit ways around links go before ways around nodes, and refusals are counted`() {
    // Six hubs at the root, and 640 nodes at two hubs each: 1,280 ways from the root around a hub are wanted.
    var network = Network(7 + 641)
    for hub in 1...6 { network.link(0, hub) }
    for node in 7..<(7 + 640) {
      network.link(1 + node % 6, node, cost: 1)
      network.link(1 + (node + 1 + node / 6 % 4) % 6, node, cost: 2)
    }
    var graph = network.graph()
    network.install(in: &graph)
    graph.settleAll(budget: 100_000)
    let heads = graph.detours(of: id(0)).heads
    #expect(heads.count == DetourTable.headLimit && heads.filter { $0.onward == 0 }.count == 6)
    let refused = graph.counters.detoursRefused
    #expect(refused > 0)
    // One more link at the root, beside which there is a way: it displaces a way around a node.
    network.link(0, 7)
    graph.installRoot(adjacencies: network.adjacencies[0])
    _ = graph.install(network.lsa(7), from: id(7), at: .zero)
    graph.settleAll(budget: 100_000)
    let after = graph.detours(of: id(0)).heads
    #expect(after.count == DetourTable.headLimit && after.filter { $0.onward == 0 }.count == 7)
    #expect(graph.counters.detoursRefused > refused)
  }

  @Test(arguments: Array(1...12) as [UInt64])
  func `through random changes every detour leads where it should, by living links, and all that is needed is there`(
    seed: UInt64
  ) {
    var generator = Generator(seed: seed &+ 400)
    let count = 10 + generator.below(25)
    var network = Network.random(&generator, nodes: count, links: count + generator.below(2 * count), costs: 9)
    var graph = network.graph()
    network.install(in: &graph)
    var absent: Set<Int> = []
    var before = Array(repeating: DetourTable(), count: count)
    for round in 0..<25 {
      let named = graph.settleAll(budget: 40)
      let note = "seed \(seed), round \(round)"
      _ = check(network, graph, absent: absent, note)
      for node in 0..<count {
        let table = graph.detours(of: id(node))
        if table != before[node] && !absent.contains(node) { #expect(named.contains(id(node)), "\(note)") }
        before[node] = table
      }
      expectComplete(network, graph, absent, note)
      for _ in 0...generator.below(2) {
        RandomChange.apply(&network, &graph, &absent, &generator)
      }
      if generator.below(4) == 0 { graph.ageDetours() }
    }
  }

  /// Every link of a path, and every inner node, has its detour when there is a way of few links around it.
  private func expectComplete(_ network: Network, _ graph: TopologyGraph, _ absent: Set<Int>, _ note: String) {
    let walker = Walker(network, graph, absent: absent)
    let numbers = Dictionary(uniqueKeysWithValues: network.adjacencies.indices.map { (id($0), $0) })
    for target in network.adjacencies.indices {
      for path in graph.routes(to: id(target)).paths {
        for (link, next) in zip(path.links, path.links.dropFirst()) {
          guard let a = numbers[link.from], let b = numbers[link.to], let c = numbers[next.to] else { continue }
          let isThere = walker.tables[a].heads.contains {
            $0.egress == link.fromAdjacency && $0.onward == next.fromAdjacency
          }
          let back = walker.tables[c].heads.contains { $0.egress == next.toAdjacency && $0.onward == link.toAdjacency }
          #expect(isThere == reaches(a, c, without: b, walker) && isThere == back, "\(note), \(a) - \(b) - \(c)")
        }
      }
    }
  }

  private func reaches(_ a: Int, _ c: Int, without b: Int, _ walker: Walker) -> Bool {
    var (seen, edge) = (Set([a]), [a])
    for _ in 0..<16 {
      edge = edge.flatMap { node in walker.ends[node].values.map(\.node) }.filter {
        $0 != b && seen.insert($0).inserted
      }
    }
    return seen.contains(c)
  }
}
