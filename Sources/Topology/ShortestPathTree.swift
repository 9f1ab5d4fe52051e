// Dijkstra's algorithm with a binary heap over dense indices. Every link costs at least 1, so when a node is taken from
// the heap all nodes a best path could come from have been taken before it, and its label is final: the result depends
// on the labels' order alone, never on the order of equal entries in the heap.

import Core

/// A link that counts, in one direction.
struct Edge {
  /// Node indices.
  var from: Int32
  var to: Int32
  var fromAdjacency: UInt16
  var toAdjacency: UInt16
  /// Bytes.
  var frameSize: UInt16
  /// 1 … 65535.
  var cost: UInt16
  var fromRiskGroup: UInt32
  var toRiskGroup: UInt32
}

/// Edges sorted by the node they leave: those of node i stand at starts[i] ..< starts[i + 1].
struct EdgeTable {
  var edges: [Edge] = []
  var starts: [Int32] = [0]

  func leaving(_ node: Int) -> Range<Int> { Int(starts[node])..<Int(starts[node + 1]) }
  var nodeCount: Int { starts.count - 1 }

  /// The index of the same link in the other direction.
  func opposite(_ index: Int) -> Int? {
    let edge = edges[index]
    for other in leaving(Int(edge.to)) where edges[other].fromAdjacency == edge.toAdjacency { return other }
    return nil
  }
}

/// How a node is best reached. Kept from one computation to the next, to tell what changed.
struct PathLabel: Equatable {
  /// Surcharge in the high half, sum of the links' costs in the low half; .max when the node is not reached.
  var weight = UInt64.max
  var frameSize: UInt16 = 0
  var hops: UInt16 = 0
  /// The last link: the node before, and both adjacency numbers; -1 at the root and where nothing reaches.
  var parent: Int32 = -1
  var fromAdjacency: UInt16 = 0
  var toAdjacency: UInt16 = 0

  var isReached: Bool { weight != .max }
  var cost: UInt32 { UInt32(truncatingIfNeeded: weight) }
}

struct ShortestPathTree {
  private(set) var labels: [PathLabel]
  /// Nodes in the order they were settled, the root first: parents stand before their children.
  private(set) var order: [Int32] = []

  /// An edge with this surcharge is not there.
  static let forbidden = UInt64.max

  /// - Parameters:
  ///   - names: the ID of each node, for the last tie-break.
  ///   - surcharge: added to each edge's cost (in units of 2^32 it outweighs every cost); empty for none.
  ///   - target: stop when this node is settled.
  init(_ table: EdgeTable, names: [ComponentID], root: Int, surcharge: [UInt64] = [], target: Int? = nil) {
    labels = Array(repeating: PathLabel(), count: table.nodeCount)
    var settled = Array(repeating: false, count: table.nodeCount)
    order.reserveCapacity(table.nodeCount)
    labels[root].weight = 0
    labels[root].frameSize = .max
    var heap = NodeHeap()
    heap.push(weight: 0, node: Int32(root))
    while let node = heap.pop() {
      let from = Int(node)
      if settled[from] { continue }
      settled[from] = true
      order.append(node)
      if from == target { return }
      let label = labels[from]
      for index in table.leaving(from) {
        let edge = table.edges[index]
        let to = Int(edge.to)
        if settled[to] { continue }
        var weight = label.weight &+ UInt64(edge.cost)
        if !surcharge.isEmpty {
          if surcharge[index] == ShortestPathTree.forbidden { continue }
          weight = weight &+ surcharge[index]
        }
        let candidate = PathLabel(
          weight: weight, frameSize: min(label.frameSize, edge.frameSize), hops: label.hops &+ 1, parent: node,
          fromAdjacency: edge.fromAdjacency, toAdjacency: edge.toAdjacency)
        let held = labels[to]
        if !ShortestPathTree.isBetter(candidate, than: held, names) { continue }
        labels[to] = candidate
        if weight < held.weight { heap.push(weight: weight, node: edge.to) }
      }
    }
  }

  private static func isBetter(_ a: PathLabel, than b: PathLabel, _ names: [ComponentID]) -> Bool {
    if a.weight != b.weight { return a.weight < b.weight }
    if a.frameSize != b.frameSize { return a.frameSize > b.frameSize }
    if a.hops != b.hops { return a.hops < b.hops }
    if a.parent != b.parent { return names[Int(a.parent)] < names[Int(b.parent)] }
    return a.fromAdjacency < b.fromAdjacency
  }
}

/// A binary min-heap by weight. A node whose weight falls is pushed again; the stale entry is skipped when popped.
private struct NodeHeap {
  private struct Entry {
    var weight: UInt64
    var node: Int32
  }
  private var entries: [Entry] = []

  mutating func push(weight: UInt64, node: Int32) {
    var hole = entries.count
    let entry = Entry(weight: weight, node: node)
    entries.append(entry)
    while hole > 0 {
      let parent = (hole - 1) / 2
      if entries[parent].weight <= weight { break }
      entries[hole] = entries[parent]
      hole = parent
    }
    entries[hole] = entry
  }

  mutating func pop() -> Int32? {
    guard let first = entries.first, let last = entries.popLast() else { return nil }
    let count = entries.count
    if count == 0 { return first.node }
    var hole = 0
    while true {
      var child = 2 * hole + 1
      if child >= count { break }
      if child + 1 < count && entries[child + 1].weight < entries[child].weight { child += 1 }
      if last.weight <= entries[child].weight { break }
      entries[hole] = entries[child]
      hole = child
    }
    entries[hole] = last
    return first.node
  }
}
