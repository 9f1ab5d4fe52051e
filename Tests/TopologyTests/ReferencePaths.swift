// Bellman and Ford's algorithm over plain dictionaries, written from the doc comment of TopologyGraph and nothing else:
// what the graph must agree with.

import Core

import Topology

struct ReferencePaths {
  struct Link {
    var from: ComponentID
    var fromAdjacency: UInt16
    var to: ComponentID
    var toAdjacency: UInt16
    var cost: UInt32
    var frameSize: UInt16
  }

  var paths: [ComponentID: TopologyPath] = [:]

  init(root: ComponentID, reports: [ComponentID: [Adjacency]]) {
    let links = ReferencePaths.links(reports)
    paths[root] = TopologyPath(links: [], cost: 0, frameSize: .max)
    var again = true
    while again {
      again = false
      for link in links where link.to != root {
        guard let before = paths[link.from] else { continue }
        let candidate = TopologyPath(
          links: before.links + [
            TopologyLink(
              from: link.from, fromAdjacency: link.fromAdjacency, to: link.to, toAdjacency: link.toAdjacency)
          ],
          cost: before.cost + link.cost, frameSize: min(before.frameSize, link.frameSize))
        // A held path whose last link goes on from where its start's path no longer is, is out of date.
        if let held = paths[link.to], held != candidate {
          let sameLast = held.links.last == candidate.links.last
          if !sameLast && !ReferencePaths.better(candidate, held) { continue }
          paths[link.to] = candidate
          again = true
        } else if paths[link.to] == nil {
          paths[link.to] = candidate
          again = true
        }
      }
    }
  }

  static func better(_ a: TopologyPath, _ b: TopologyPath) -> Bool {
    let (p, q) = (a.links.last!, b.links.last!)
    if a.cost != b.cost { return a.cost < b.cost }
    if a.frameSize != b.frameSize { return a.frameSize > b.frameSize }
    if a.links.count != b.links.count { return a.links.count < b.links.count }
    return p.from != q.from ? p.from < q.from : p.fromAdjacency < q.fromAdjacency
  }

  static func links(_ reports: [ComponentID: [Adjacency]]) -> [Link] {
    var links: [Link] = []
    for (a, own) in reports {
      for near in own where near.neighbour != a {
        for far in reports[near.neighbour] ?? []
        where far.neighbour == a && far.number == near.neighbourNumber && far.neighbourNumber == near.number {
          let frameSize = min(near.frameSize, far.frameSize)
          if frameSize < TopologyGraph.smallestFrameSize { continue }
          links.append(
            Link(
              from: a, fromAdjacency: near.number, to: near.neighbour, toAdjacency: far.number,
              cost: UInt32(max(near.cost, far.cost, 1)), frameSize: frameSize))
        }
      }
    }
    return links
  }
}
