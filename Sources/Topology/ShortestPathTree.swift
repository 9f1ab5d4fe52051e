// The best path to every node, kept from one change to the next: Ramalingam and Reps's algorithm for the dynamic
// shortest path problem (SWSF-FP; J. Algorithms 21, 1996). A node is consistent when its label is what its neighbours'
// labels make of it; the ones that are not stand in a heap by the lower of both weights. Every link costs at least 1, so
// a label depends on labels of lower weight alone, and what comes out is the same as of a computation from nothing,
// whatever came before. The work is that of the nodes whose label changes, and of their neighbours.

import Core

/// How a node is best reached.
struct PathLabel: Equatable {
  /// Sum of the links' costs; .max when the node is not reached.
  var weight = UInt32.max
  /// The last link: the node before, the arc from there, and both adjacency numbers; -1 at the root and where nothing
  /// reaches.
  var parent: Int32 = -1
  var arc: Int32 = -1
  var fromAdjacency: UInt16 = 0
  var toAdjacency: UInt16 = 0
  var frameSize: UInt16 = 0
  var hops: UInt16 = 0

  var isReached: Bool { weight != .max }
  /// Short enough for a header.
  var isUsable: Bool { weight != .max && Int(hops) <= TopologyPath.longest }

  /// Whether the last link is the same, whatever its number.
  func hasSameLink(as other: PathLabel) -> Bool {
    parent == other.parent && fromAdjacency == other.fromAdjacency && toAdjacency == other.toAdjacency
  }
}

struct ShortestPathTree {
  private(set) var labels: [PathLabel] = []
  /// The nodes whose label the last update changed, and the labels before.
  private(set) var changed: [Int32] = []
  private(set) var before: [PathLabel] = []
  /// Arcs looked at by the last update.
  private(set) var work = 0

  /// What the neighbours' labels make of each node.
  private var ahead: [PathLabel] = []
  /// The weight under which the node stands in the heap; .max when it does not.
  private var queued: [UInt32] = []
  private var heap = SearchHeap()
  /// The update that changed the node last, and its place in `changed` then.
  private var stamps: [UInt32] = []
  private var stamp: UInt32 = 0

  private let root: Int

  init(root: Int) { self.root = root }

  mutating func grow(nodes: Int) {
    while labels.count < nodes {
      var label = PathLabel()
      if labels.count == root {
        label.weight = 0
        label.frameSize = .max
      }
      labels.append(label)
      ahead.append(label)
      queued.append(.max)
      stamps.append(0)
    }
  }

  /// Brings the labels up to date after the links at `dirty` nodes came, went or changed.
  /// - Parameter names: the ID of each node, for the last tie-break.
  mutating func update(_ links: LinkTable, names: [ComponentID], dirty: [Int32]) {
    changed.removeAll(keepingCapacity: true)
    before.removeAll(keepingCapacity: true)
    work = 0
    stamp &+= 1
    if stamp == 0 {
      for i in stamps.indices { stamps[i] = 0 }
      stamp = 1
    }
    for node in dirty where Int(node) != root {
      ahead[Int(node)] = best(Int(node), links, names)
      enqueue(Int(node))
    }
    while let entry = heap.pop() {
      let node = Int(entry.item)
      guard UInt64(queued[node]) == entry.key, queued[node] != .max else { continue }
      queued[node] = .max
      if ahead[node].weight <= labels[node].weight {
        set(node, ahead[node])
      } else {
        set(node, PathLabel())
        enqueue(node)
      }
      propagate(node, links, names)
    }
    dropUnchanged()
  }

  /// Tells the neighbours of a node that its label is another.
  private mutating func propagate(_ node: Int, _ links: LinkTable, _ names: [ComponentID]) {
    let label = labels[node]
    var index = links.first[node]
    while index >= 0 {
      let arc = links.arcs[Int(index)]
      let this = index
      index = arc.next
      work += 1
      guard arc.isUsable else { continue }
      let to = Int(arc.to)
      if to == root { continue }
      let held = ahead[to]
      if label.isReached {
        let candidate = ShortestPathTree.extend(label, node, arc, this, links)
        if ShortestPathTree.isBetter(candidate, than: held, names) {
          ahead[to] = candidate
        } else if held.arc == this {
          ahead[to] = best(to, links, names)
        } else {
          continue
        }
      } else {
        guard held.arc == this else { continue }
        ahead[to] = best(to, links, names)
      }
      enqueue(to)
    }
  }

  private mutating func best(_ node: Int, _ links: LinkTable, _ names: [ComponentID]) -> PathLabel {
    var best = PathLabel()
    var index = links.first[node]
    while index >= 0 {
      let arc = links.arcs[Int(index)]
      let label = labels[Int(arc.to)]
      let this = index ^ 1
      index = arc.next
      work += 1
      guard arc.isUsable, label.isReached else { continue }
      let candidate = ShortestPathTree.extend(label, Int(arc.to), links.arcs[Int(this)], this, links)
      if ShortestPathTree.isBetter(candidate, than: best, names) { best = candidate }
    }
    return best
  }

  private mutating func enqueue(_ node: Int) {
    if ahead[node] == labels[node] {
      queued[node] = .max
      return
    }
    let key = min(ahead[node].weight, labels[node].weight)
    if queued[node] == key { return }
    queued[node] = key
    heap.push(key: UInt64(key), item: Int32(truncatingIfNeeded: node))
  }

  private mutating func set(_ node: Int, _ label: PathLabel) {
    if stamps[node] != stamp {
      stamps[node] = stamp
      changed.append(Int32(truncatingIfNeeded: node))
      before.append(labels[node])
    }
    labels[node] = label
  }

  /// A label that was lost and found again has not changed.
  private mutating func dropUnchanged() {
    var kept = 0
    for i in changed.indices where labels[Int(changed[i])] != before[i] {
      changed[kept] = changed[i]
      before[kept] = before[i]
      kept += 1
    }
    changed.removeLast(changed.count - kept)
    before.removeLast(before.count - kept)
  }

  private static func extend(
    _ label: PathLabel, _ node: Int, _ arc: Arc, _ index: Int32, _ links: LinkTable
  ) -> PathLabel {
    PathLabel(
      weight: label.weight &+ UInt32(arc.cost), parent: Int32(truncatingIfNeeded: node), arc: index,
      fromAdjacency: arc.adjacency, toAdjacency: links.arcs[Int(index) ^ 1].adjacency,
      frameSize: min(label.frameSize, arc.frameSize), hops: label.hops &+ 1)
  }

  private static func isBetter(_ a: PathLabel, than b: PathLabel, _ names: [ComponentID]) -> Bool {
    if a.weight != b.weight { return a.weight < b.weight }
    if a.frameSize != b.frameSize { return a.frameSize > b.frameSize }
    if a.hops != b.hops { return a.hops < b.hops }
    if a.parent != b.parent { return a.parent >= 0 && (b.parent < 0 || names[Int(a.parent)] < names[Int(b.parent)]) }
    return a.fromAdjacency < b.fromAdjacency
  }
}
