// What the tests of this module share: a seeded generator, vectors, and networks made of plain numbers.

import Core
import Foundation
import TestSupport
import Testing

import Topology

/// An ID whose order is not that of the numbers.
func id(_ number: Int) -> ComponentID {
  var generator = Generator(seed: UInt64(number))
  var bytes: [UInt8] = []
  for _ in 0..<2 {
    let word = generator.next()
    for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
  }
  return bytes.withUnsafeBufferPointer { ComponentID(Bytes16(loadingFrom: $0.baseAddress!)) }
}

typealias Adjacency = LinkStateAdvertisement.Adjacency

/// Both ends' reports of links between numbered nodes; node 0 is the root.
struct Network {
  var adjacencies: [[Adjacency]]
  var versions: [UInt32]

  init(_ count: Int) {
    adjacencies = Array(repeating: [], count: count)
    versions = Array(repeating: 0, count: count)
  }

  /// The adjacency numbers given to both ends.
  @discardableResult
  mutating func link(
    _ a: Int, _ b: Int, cost: UInt16 = 10, frameSize: UInt16 = 1500, riskGroup: UInt32 = 0, group: String = ""
  ) -> (UInt16, UInt16) {
    let label = PortLabel(port: "p", riskGroup: group)
    let (x, y) = (nextNumber(a), a == b ? nextNumber(a) + 1 : nextNumber(b))
    adjacencies[a].append(
      Adjacency(
        number: x, neighbour: id(b), neighbourNumber: y, frameSize: frameSize, cost: cost, riskGroup: riskGroup,
        label: label))
    adjacencies[b].append(
      Adjacency(
        number: y, neighbour: id(a), neighbourNumber: x, frameSize: frameSize, cost: cost, riskGroup: riskGroup,
        label: label))
    return (x, y)
  }

  /// Takes all links between two nodes away at both ends.
  mutating func cut(_ a: Int, _ b: Int) {
    adjacencies[a].removeAll { $0.neighbour == id(b) }
    adjacencies[b].removeAll { $0.neighbour == id(a) }
  }

  private func nextNumber(_ node: Int) -> UInt16 { (adjacencies[node].map(\.number).max() ?? 0) + 1 }

  /// The next version of a node's LSA.
  mutating func lsa(_ node: Int) -> LinkStateAdvertisement {
    versions[node] += 1
    return LinkStateAdvertisement(boot: 1, version: versions[node], adjacencies: adjacencies[node])
  }

  /// Installs the nodes in this order, or all.
  mutating func install(in graph: inout TopologyGraph, order: [Int]? = nil) {
    for node in order ?? Array(adjacencies.indices) {
      if node == 0 {
        graph.installRoot(adjacencies: adjacencies[0])
      } else {
        let result = graph.install(lsa(node), from: id(node), at: .zero)
        #expect(result != .old && result != .full)
      }
    }
  }

  func graph() -> TopologyGraph { TopologyGraph(root: id(0)) }

  /// `count` nodes, a random tree and then random links up to `links`, with costs and frame sizes from small sets so
  /// that ties are common.
  static func random(_ generator: inout Generator, nodes count: Int, links: Int, costs: Int = 4) -> Network {
    var network = Network(count)
    let sizes: [UInt16] = [1500, 1280, 9000, 1400]
    for n in 0..<links {
      let b = n + 1 < count ? n + 1 : generator.below(count)
      let a = n + 1 < count ? generator.below(n + 1) : generator.below(count)
      let cost = UInt16(generator.below(costs))
      network.link(a, b, cost: cost, frameSize: sizes[generator.below(4)])
    }
    return network
  }
}

/// The numbers of the nodes a path goes through, the root first.
func hops(_ path: TopologyPath?, in count: Int = 64) -> [Int]? {
  guard let path else { return nil }
  var numbers = [0]
  for link in path.links { numbers.append((0..<count).first { id($0) == link.to } ?? -1) }
  return numbers
}

extension TopologyGraph {
  /// Everything brought up to date, in small steps.
  mutating func settle(budget: Int = 50) {
    _ = recompute()
    while hasPendingAlternates { _ = nextAlternates(budget: budget) }
  }

  /// The detours too. The nodes whose tables were named.
  @discardableResult
  mutating func settleAll(budget: Int = 50) -> Set<ComponentID> {
    settle(budget: budget)
    var named: Set<ComponentID> = []
    while hasPendingDetours { named.formUnion(nextDetours(budget: budget)) }
    return named
  }
}

enum RandomChange {
  /// One random change of a network, installed.
  static func apply(
    _ network: inout Network, _ graph: inout TopologyGraph, _ absent: inout Set<Int>, _ generator: inout Generator
  ) {
    let count = network.adjacencies.count
    let node = 1 + generator.below(count - 1)
    var ends = [node]
    switch generator.below(6) {
    case 0:
      graph.remove(id(node))
      absent.insert(node)
      return
    case 1, 2:
      let other = generator.below(count)
      if other != node {
        network.link(node, other, cost: UInt16(generator.below(6)), riskGroup: UInt32(generator.below(3)))
        ends.append(other)
      }
    case 3:
      guard let gone = network.adjacencies[node].randomElement(using: &generator) else { return }
      let other = (0..<count).first { id($0) == gone.neighbour }!
      network.adjacencies[node].removeAll { $0.number == gone.number }
      if generator.below(2) == 0 {
        network.adjacencies[other].removeAll { $0.number == gone.neighbourNumber }
        ends.append(other)
      }
    default:
      guard !network.adjacencies[node].isEmpty else { return }
      let i = generator.below(network.adjacencies[node].count)
      network.adjacencies[node][i].cost = UInt16(generator.below(9))
      network.adjacencies[node][i].riskGroup = UInt32(generator.below(3))
      network.adjacencies[node][i].frameSize = [1500, 1400, 9000, 200][generator.below(4)]
    }
    for end in ends {
      if end == 0 {
        graph.installRoot(adjacencies: network.adjacencies[0])
      } else if end == node || !absent.contains(end) {
        absent.remove(end)
        _ = graph.install(network.lsa(end), from: id(end), at: .zero)
      }
    }
  }
}
