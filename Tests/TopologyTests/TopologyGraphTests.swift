import Core
import TestSupport
import Testing
import Topology

@Suite struct TopologyGraphTests {
  @Test func `a link counts only when both ends report the same pair of adjacencies (section 8)`() {
    var graph = TopologyGraph(root: id(0))
    let near = Adjacency(number: 1, neighbour: id(1), neighbourNumber: 2, frameSize: 1500, cost: 10)
    graph.installRoot(adjacencies: [near])
    func install(_ far: Adjacency, _ version: UInt32) -> TopologyPath? {
      _ = graph.install(
        LinkStateAdvertisement(boot: 1, version: version, adjacencies: [far]), from: id(1), at: .zero)
      _ = graph.recompute()
      return graph.path(to: id(1))
    }
    let far = Adjacency(number: 2, neighbour: id(0), neighbourNumber: 1, frameSize: 1400, cost: 7)
    #expect(graph.path(to: id(1)) == nil)
    var wrong = far
    wrong.number = 3
    #expect(install(wrong, 1) == nil)
    wrong = far
    wrong.neighbour = id(2)
    #expect(install(wrong, 2) == nil)
    wrong = far
    wrong.neighbourNumber = 9
    #expect(install(wrong, 3) == nil)
    #expect(graph.confirmedLinks.isEmpty)
    #expect(graph.counters.unconfirmed == 2)
    let link = TopologyLink(from: id(0), fromAdjacency: 1, to: id(1), toAdjacency: 2)
    // The higher cost and the lower frame size of both reports.
    #expect(install(far, 4) == TopologyPath(links: [link], cost: 10, frameSize: 1400))
    #expect(graph.confirmedLinks.count == 1)
    #expect(graph.confirmedLinks.first?.cost == 10 && graph.confirmedLinks.first?.frameSize == 1400)
  }

  @Test func `self-loops, neighbour number 0 and links below the smallest frame size are no links`() {
    var network = Network(3)
    network.link(0, 0)
    network.link(1, 1)
    network.link(0, 1, frameSize: TopologyGraph.smallestFrameSize - 1)
    network.adjacencies[0].append(
      Adjacency(number: 77, neighbour: id(2), neighbourNumber: 0, frameSize: 1500, cost: 1))
    network.adjacencies[2].append(
      Adjacency(number: 1, neighbour: id(0), neighbourNumber: 77, frameSize: 1500, cost: 1))
    var graph = network.graph()
    network.install(in: &graph)
    #expect(graph.recompute().isEmpty)
    #expect(graph.path(to: id(1)) == nil && graph.path(to: id(2)) == nil)
    #expect(graph.counters.linksTooSmall == 1)
    #expect(graph.path(to: id(0)) == TopologyPath(links: [], cost: 0, frameSize: .max))
  }

  @Test func `the order of paths is cost, then frame size, then links, then the lowest ID and adjacency`() {
    // Cost before frame size and links.
    var network = Network(5)
    network.link(0, 1, cost: 21, frameSize: 9000)
    network.link(0, 2, cost: 10, frameSize: 600)
    network.link(2, 1, cost: 10, frameSize: 600)
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    #expect(hops(graph.path(to: id(1))) == [0, 2, 1])
    // Frame size before links.
    network = Network(5)
    network.link(0, 1, cost: 20, frameSize: 1400)
    network.link(0, 2, cost: 10, frameSize: 1500)
    network.link(2, 1, cost: 10, frameSize: 1500)
    graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    #expect(graph.path(to: id(1))?.frameSize == 1500)
    #expect(hops(graph.path(to: id(1))) == [0, 2, 1])
    // Links before IDs; then IDs.
    network = Network(5)
    network.link(0, 1, cost: 20)
    for middle in 2...4 {
      network.link(0, middle, cost: 10)
      network.link(middle, 1, cost: 10)
    }
    graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    #expect(hops(graph.path(to: id(1))) == [0, 1])
    network.adjacencies[1].removeAll { $0.neighbour == id(0) }
    #expect(graph.install(network.lsa(1), from: id(1), at: .zero) == .changed)
    #expect(graph.recompute() == [id(1)])
    let lowest = (2...4).min { id($0) < id($1) }!
    #expect(hops(graph.path(to: id(1))) == [0, lowest, 1])
    // Parallel links: the lowest adjacency number at the near end.
    network = Network(2)
    for _ in 0..<3 { network.link(0, 1) }
    graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    #expect(graph.path(to: id(1))?.links.first?.fromAdjacency == 1)
  }

  @Test func `old versions are refused, a new boot is newer whatever its version`() {
    var network = Network(2)
    network.link(0, 1)
    var graph = network.graph()
    graph.installRoot(adjacencies: network.adjacencies[0])
    func install(_ boot: UInt32, _ version: UInt32) -> InstallResult {
      graph.install(
        LinkStateAdvertisement(boot: boot, version: version, adjacencies: network.adjacencies[1]), from: id(1),
        at: Instant(nanoseconds: UInt64(boot) * 1000 + UInt64(version)))
    }
    #expect(install(2, 5) == .changed)
    #expect(graph.recompute() == [id(1)])
    #expect(install(2, 5) == .old)
    #expect(install(2, 4) == .old)
    #expect(install(1, .max) == .old)
    #expect(graph.installed(of: id(1)) == Instant(nanoseconds: 2005))
    #expect(install(2, 6) == .refreshed)
    #expect(install(3, 1) == .changed)
    #expect(graph.recompute().isEmpty)
    #expect(graph.lsa(of: id(1))?.boot == 3)
    #expect(graph.install(LinkStateAdvertisement(boot: 9, version: 9, adjacencies: []), from: id(0), at: .zero) == .old)
    #expect(graph.counters.refusedOld == 4)
  }

  @Test func `with a new session the next LSA counts whatever its number, and the links stand until then`() {
    var network = Network(2)
    network.link(0, 1)
    var graph = network.graph()
    graph.installRoot(adjacencies: network.adjacencies[0])
    func install(_ boot: UInt32, _ version: UInt32) -> InstallResult {
      graph.install(
        LinkStateAdvertisement(boot: boot, version: version, adjacencies: network.adjacencies[1]), from: id(1),
        at: .zero)
    }
    #expect(install(.max, .max) == .changed)
    #expect(graph.recompute() == [id(1)])
    #expect(install(2, 1) == .old)
    graph.beginAnew(id(1))
    #expect(graph.recompute().isEmpty)
    #expect(graph.path(to: id(1)) != nil)
    #expect(install(2, 1) == .changed)
    #expect(graph.recompute().isEmpty)
    #expect(install(2, 1) == .old)
    // Of a component that was never heard, and of the root, nothing is begun.
    graph.beginAnew(id(77))
    graph.beginAnew(id(0))
    #expect(graph.path(to: id(1)) != nil)
  }

  @Test func `a refresh computes nothing, whatever the order of its adjacencies`() {
    var generator = Generator(seed: 5)
    var network = Network.random(&generator, nodes: 40, links: 80)
    var graph = network.graph()
    network.install(in: &graph)
    #expect(graph.recompute().count == 39)
    let computations = graph.counters.computations
    for node in 1..<40 {
      network.adjacencies[node].shuffle(using: &generator)
      for i in network.adjacencies[node].indices {
        network.adjacencies[node][i].roundTrip += 7
        network.adjacencies[node][i].losses += 1
      }
      var lsa = network.lsa(node)
      lsa.counters.framesIn = 99
      #expect(graph.install(lsa, from: id(node), at: .zero) == .refreshed)
      #expect(graph.lsa(of: id(node)) == lsa)
    }
    graph.installRoot(adjacencies: network.adjacencies[0].reversed())
    #expect(graph.recompute().isEmpty)
    #expect(graph.counters.computations == computations)
  }

  @Test func `a new label is a change that moves no path`() {
    var network = Network(2)
    network.link(0, 1)
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    network.adjacencies[1][0].label = PortLabel("wan")
    #expect(graph.install(network.lsa(1), from: id(1), at: .zero) == .changed)
    #expect(graph.recompute().isEmpty)
    let link = graph.confirmedLinks[0]
    #expect((link.low.component == id(1) ? link.low : link.high).label.description == "wan")
  }

  @Test func `past the node limit components are refused and counted, and a removed one makes room`() {
    var network = Network(8)
    for node in 1..<8 { network.link(0, node) }
    var graph = TopologyGraph(root: id(0), nodeLimit: 3)
    graph.installRoot(adjacencies: network.adjacencies[0])
    for node in 1...3 { #expect(graph.install(network.lsa(node), from: id(node), at: .zero) == .changed) }
    #expect(graph.install(network.lsa(4), from: id(4), at: .zero) == .full)
    #expect(graph.install(network.lsa(2), from: id(2), at: .zero) == .refreshed)
    #expect(graph.counters.refusedFull == 1)
    #expect(graph.recompute() == [id(1), id(2), id(3)].sorted())
    graph.remove(id(2))
    graph.remove(id(2))
    graph.remove(id(0))
    graph.remove(id(7))
    #expect(graph.install(network.lsa(4), from: id(4), at: .zero) == .changed)
    #expect(graph.recompute() == [id(2), id(4)].sorted())
    #expect(graph.nodes == [id(1), id(3), id(4)].sorted())
    #expect(graph.path(to: id(2)) == nil && graph.path(to: id(4)) != nil)
    // Without a computation in between, indices are not given back; that is bounded too.
    var full = 0
    for round in 0..<50 {
      graph.remove(id(1))
      if graph.install(
        LinkStateAdvertisement(boot: 1, version: 1, adjacencies: []), from: id(100 + round), at: .zero) == .full
      {
        full += 1
      } else {
        graph.remove(id(100 + round))
      }
    }
    #expect(full > 0)
    _ = graph.recompute()
    #expect(
      graph.install(LinkStateAdvertisement(boot: 1, version: 1, adjacencies: []), from: id(200), at: .zero) == .changed)
  }

  @Test func `a component removed and installed again before the computation has not changed`() {
    var network = Network(3)
    network.link(0, 1)
    network.link(1, 2)
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    graph.remove(id(1))
    #expect(graph.install(network.lsa(1), from: id(1), at: .zero) == .changed)
    #expect(graph.recompute().isEmpty)
    #expect(hops(graph.path(to: id(2))) == [0, 1, 2])
  }

  @Test func `paths of more than 64 links are not given and are counted`() {
    var network = Network(70)
    for node in 1..<70 { network.link(node - 1, node) }
    var graph = network.graph()
    network.install(in: &graph)
    #expect(graph.recompute().count == 64)
    #expect(graph.path(to: id(64))?.links.count == 64)
    #expect(graph.path(to: id(65)) == nil)
    #expect(graph.counters.pathsTooLong == 5)
    #expect(graph.explain(to: id(65)).isEmpty)
    // A shortcut brings them in reach.
    network.link(0, 10, cost: 1)
    graph.installRoot(adjacencies: network.adjacencies[0])
    _ = graph.install(network.lsa(10), from: id(10), at: .zero)
    let changed = graph.recompute()
    #expect(Set(changed) == Set((6...69).map { id($0) }))
    #expect(graph.counters.pathsTooLong == 0)
    // And gone again they vanish.
    network.adjacencies[0].removeLast()
    graph.installRoot(adjacencies: network.adjacencies[0])
    #expect(Set(graph.recompute()) == Set((6...69).map { id($0) }))
    #expect(graph.path(to: id(65)) == nil)
  }

  @Test func `confirmed links show both ends and are sorted`() {
    var network = Network(4)
    network.link(2, 1, cost: 3, frameSize: 1500, riskGroup: 5)
    network.link(0, 1)
    network.link(0, 1)
    network.link(3, 0)
    network.adjacencies[1][0].roundTrip = 123
    network.adjacencies[1][0].losses = 4
    network.adjacencies[1][0].cost = 9
    var graph = network.graph()
    network.install(in: &graph)
    let links = graph.confirmedLinks
    #expect(links.count == 4)
    for (a, b) in zip(links, links.dropFirst()) {
      #expect(
        a.low.component < b.low.component
          || a.low.component == b.low.component && a.low.adjacency < b.low.adjacency)
    }
    for link in links { #expect(link.low.component < link.high.component) }
    let first = links.first { $0.low.riskGroup == 5 }!
    let end = first.low.component == id(1) ? first.low : first.high
    #expect(end.roundTrip == 123 && end.losses == 4 && end.cost == 9 && first.cost == 9)
  }
}
