// All simple paths of a small network, and what the best of them and the best pair of them have in common: what the
// graph's alternates and protected pairs must agree with.

import Core

import Topology

struct ReferenceRoutes {
  struct Link: Hashable {
    /// The lower node number, then the other.
    var a: Int
    var b: Int
    var x: UInt16
    var y: UInt16
  }
  struct Way {
    var nodes: [Int]
    var links: [Link]
    var cost: Int
  }
  /// Risk groups of each link: (node, number) or a name.
  var risks: [Link: Set<String>] = [:]
  var costs: [Link: Int] = [:]

  init(_ network: Network) {
    var numbers: [ComponentID: Int] = [:]
    for node in network.adjacencies.indices { numbers[id(node)] = node }
    for (a, own) in network.adjacencies.enumerated() {
      for near in own {
        guard let b = numbers[near.neighbour], a < b,
          let far = network.adjacencies[b].first(where: {
            $0.number == near.neighbourNumber && $0.neighbour == id(a) && $0.neighbourNumber == near.number
          })
        else { continue }
        let link = Link(a: a, b: b, x: near.number, y: far.number)
        var groups: Set<String> = []
        if near.riskGroup != 0 { groups.insert("\(a):\(near.riskGroup)") }
        if far.riskGroup != 0 { groups.insert("\(b):\(far.riskGroup)") }
        for end in [near, far] where !end.label.riskGroup.isEmpty {
          groups.insert(String(decoding: end.label.riskGroup, as: UTF8.self))
        }
        risks[link] = groups
        costs[link] = Int(max(near.cost, far.cost, 1))
      }
    }
  }

  /// All simple paths from node 0.
  func ways(to target: Int) -> [Way] {
    var found: [Way] = []
    func go(_ way: Way) {
      let at = way.nodes.last!
      if at == target {
        found.append(way)
        return
      }
      for link in risks.keys where link.a == at || link.b == at {
        let next = link.a == at ? link.b : link.a
        if way.nodes.contains(next) { continue }
        go(Way(nodes: way.nodes + [next], links: way.links + [link], cost: way.cost + costs[link]!))
      }
    }
    go(Way(nodes: [0], links: [], cost: 0))
    return found
  }

  func sharing(_ a: Way, _ b: Way) -> Sharing {
    let common = Set(a.links).intersection(b.links)
    let groups = b.links.reduce(into: Set<String>()) { $0.formUnion(risks[$1]!) }
    let risky = a.links.filter { !common.contains($0) && !risks[$0]!.isDisjoint(with: groups) }
    let nodes = Set(a.nodes.dropFirst().dropLast()).intersection(b.nodes.dropFirst().dropLast())
    return Sharing(links: common.count, risks: risky.count, nodes: nodes.count)
  }

  func way(_ path: TopologyPath) -> Way? {
    var way = Way(nodes: [0], links: [], cost: Int(path.cost))
    for step in path.links {
      let at = way.nodes.last!
      guard
        let link = risks.keys.first(where: { link in
          link.a == at && link.x == step.fromAdjacency && link.y == step.toAdjacency && id(link.b) == step.to
            || link.b == at && link.y == step.fromAdjacency && link.x == step.toAdjacency && id(link.a) == step.to
        })
      else { return nil }
      way.links.append(link)
      way.nodes.append(link.a == at ? link.b : link.a)
    }
    return way
  }

  /// The least that two different ways have in common.
  func leastSharing(to target: Int) -> Sharing? {
    let all = ways(to: target)
    var least: Sharing?
    for i in all.indices {
      for j in all.indices where j > i {
        let sharing = sharing(all[i], all[j])
        if least.map({ sharing < $0 }) ?? true { least = sharing }
      }
    }
    return least
  }
}
