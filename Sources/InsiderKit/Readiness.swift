// What a node that is played must have reached before forging makes sense, and how it keeps its link.

import Core

@testable import Neighbour
@testable import Node

/// A session with the first authority, and a way to it.
public func isReady(_ node: borrowing Node) -> Bool { node.uplinks.first?.isReady ?? false }

/// A link to a neighbour.
public func hasLink(_ node: borrowing Node) -> Bool { node.neighbour.adjacencies.contains { $0.state == .up } }

/// True hellos on every link, at once: what a false one said does not stand.
public func sayHello(_ node: inout Node, at now: Instant) {
  for adjacency in node.neighbour.adjacencies where adjacency.state == .up {
    if let record = node.neighbour.tables.record(adjacency.number) { node.neighbour.sendChangeBurst(record, at: now) }
  }
  node.drainNeighbour(at: now)
}
