// Links that the authority makes dearer because they lose frames.

import Core
import Testing
import Topology

@Suite struct LinkPenaltyTests {
  private func nodes(_ graph: TopologyGraph, _ end: Int) -> [ComponentID] {
    graph.path(to: id(end))?.links.map(\.to) ?? []
  }

  @Test func `a way round is taken while there is one, and the only way stays`() throws {
    // 0 - 1 - 2 and 0 - 3 - 4 - 2, and 5 behind 2.
    var network = Network(6)
    for (a, b) in [(0, 1), (1, 2), (0, 3), (3, 4), (4, 2), (2, 5)] { network.link(a, b) }
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    #expect(nodes(graph, 2) == [id(1), id(2)])
    let bad = try #require(graph.path(to: id(5))?.links[1])
    let only = try #require(graph.path(to: id(5))?.links[2])
    graph.setPenalty(20_000, on: bad)
    #expect(graph.recompute().contains(id(5)))
    #expect(nodes(graph, 5) == [id(3), id(4), id(2), id(5)])
    graph.setPenalty(20_000, on: only)
    _ = graph.recompute()
    #expect(nodes(graph, 5) == [id(3), id(4), id(2), id(5)] && graph.path(to: id(5))?.cost == 20_040)
    // Another LSA of either end does not shed it.
    for node in [1, 2, 5] { #expect(graph.install(network.lsa(node), from: id(node), at: .zero) == .refreshed) }
    _ = graph.recompute()
    #expect(graph.path(to: id(5))?.cost == 20_040)
    graph.setPenalty(0, on: bad)
    graph.setPenalty(0, on: only)
    _ = graph.recompute()
    #expect(nodes(graph, 5) == [id(1), id(2), id(5)] && graph.path(to: id(5))?.cost == 30)
  }

  @Test func `a component's links are dear whatever their numbers, and it is reached by the nearest`() throws {
    // 0 - 1 - 2 and 0 - 3 - 4 - 2.
    var network = Network(5)
    for (a, b) in [(0, 1), (1, 2), (0, 3), (3, 4), (4, 2)] { network.link(a, b) }
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    graph.setPenalty(20_000, onLinksOf: id(1))
    #expect(graph.recompute().contains(id(2)))
    #expect(nodes(graph, 1) == [id(1)] && graph.path(to: id(1))?.cost == 20_010)
    #expect(nodes(graph, 2) == [id(3), id(4), id(2)] && graph.path(to: id(2))?.cost == 30)
    // Its links go and come again under other numbers.
    network.adjacencies[0][0].number = 8
    network.adjacencies[1][0].neighbourNumber = 8
    graph.installRoot(adjacencies: network.adjacencies[0])
    #expect(graph.install(network.lsa(1), from: id(1), at: .zero) != .refreshed)
    _ = graph.recompute()
    #expect(graph.path(to: id(1))?.cost == 20_010)
    // A link of its own that is dear besides is not twice as dear, and stays dear.
    let link = try #require(graph.path(to: id(1))?.links.first)
    graph.setPenalty(20_000, on: link)
    _ = graph.recompute()
    #expect(graph.path(to: id(1))?.cost == 20_010)
    graph.setPenalty(0, onLinksOf: id(1))
    _ = graph.recompute()
    #expect(nodes(graph, 1) == [id(3), id(4), id(2), id(1)] && graph.path(to: id(1))?.cost == 40)
    graph.setPenalty(0, on: link)
    _ = graph.recompute()
    #expect(nodes(graph, 2) == [id(1), id(2)] && graph.path(to: id(2))?.cost == 20)
    // Of one that is not there it counts once it is.
    graph.setPenalty(20_000, onLinksOf: id(9))
    #expect(graph.recompute().isEmpty)
  }

  @Test func `costs do not go over, and a number of its own at one end does not shed it`() throws {
    var network = Network(2)
    network.link(0, 1, cost: 60_000)
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    let link = try #require(graph.path(to: id(1))?.links.first)
    graph.setPenalty(20_000, on: link)
    _ = graph.recompute()
    #expect(graph.path(to: id(1))?.cost == 65_535)
    network.adjacencies[0][0].neighbourNumber = 9
    network.adjacencies[1][0].number = 9
    graph.installRoot(adjacencies: network.adjacencies[0])
    _ = graph.install(network.lsa(1), from: id(1), at: .zero)
    _ = graph.recompute()
    #expect(graph.path(to: id(1))?.cost == 65_535 && graph.frameSize(of: link) == nil)
  }

  @Test func `links of a node are told in order, and only those of use`() {
    var network = Network(4)
    network.link(0, 1)
    network.link(0, 2)
    network.link(0, 3, frameSize: 100)
    var graph = network.graph()
    network.install(in: &graph)
    _ = graph.recompute()
    #expect(graph.links(from: id(0)).map(\.to) == [id(1), id(2)])
    #expect(graph.links(from: id(1)).map(\.to) == [id(0)])
    #expect(graph.links(from: id(9)).isEmpty)
  }
}
