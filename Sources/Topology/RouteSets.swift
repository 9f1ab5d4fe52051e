// The alternates of all components, brought up to date a little at a time. A set follows from the links alone. Each
// search notes the nodes it has looked at; a set is computed anew when something happened to one of these (a link, or the
// distance of a neighbour from the root), or to the best path. So what is left alone is what would come out again.

import Core

/// Limits: at most 1 + 7 paths of 64 links a component: 1.8 KiB, and a bit for each node: 128 B at 1,024 nodes (all
/// together 2 MiB), 1.3 KiB at 10,240 (32 MiB, of which 13 for the bits).
struct RouteSets {
  /// Alternates beside the best path.
  let alternates: Int

  /// What is known of a component's alternates.
  private struct Entry {
    /// Each: its length, then its arcs from the root.
    var ways: [Int32] = []
    /// Cost and frame size of each, and what they share of risk groups: the same ways can have become others in these.
    var traits: [UInt32] = []
    /// The nodes the computation has looked at.
    var read = BitSet()
    /// Whether nextAlternates has to name the component even when the same ways come out.
    var hasLost = false
  }

  // Urgency: something near changed, a better alternate may have come; the best path is another, or there are no
  // alternates yet; an alternate has a link that is gone.
  private static let improve: UInt8 = 1
  private static let follow: UInt8 = 2
  private static let repair: UInt8 = 3

  private var entries: [Entry] = []
  private var queue = WorkQueue(levels: 3)

  // Since the last look.
  private var journal = LinkJournal()
  private var touched = BitSet()
  private var moved = BitSet()
  private var isAllTouched = false
  private var search = RouteSearch()
  /// Sets computed.
  private(set) var computations: UInt64 = 0

  init(alternates: Int) { self.alternates = alternates }

  var hasWork: Bool { queue.waiting > 0 || !touched.isEmpty || !moved.isEmpty || isAllTouched || !journal.isEmpty }

  // MARK: what happened

  mutating func grow(nodes: Int) {
    while entries.count < nodes { entries.append(Entry()) }
    queue.grow(to: nodes)
  }

  mutating func note(_ later: LinkJournal) { journal.append(later) }
  /// A link or the distance of a neighbour of this node is another.
  mutating func touch(_ node: Int) { touched.insert(node) }
  /// The best path to this node is another.
  mutating func move(_ node: Int) { moved.insert(node) }

  /// The node's number will stand for another component.
  mutating func forget(_ node: Int) {
    queue.forget(node)
    entries[node] = Entry()
    moved.remove(node)
  }

  // MARK: what there is

  /// The alternates held whose links all stand, with the best path before them.
  func ways(to node: Int, _ links: LinkTable, _ labels: [PathLabel]) -> [[Int32]] {
    guard let best = RouteSets.best(node, links, labels) else { return [] }
    var ways = [best]
    for way in RouteSets.split(entries[node].ways) where way != best && !hasDied(way) { ways.append(way) }
    return ways
  }

  func isCurrent(_ node: Int) -> Bool {
    return !queue.isWaiting(node) && !isAllTouched && !moved.contains(node) && !entries[node].read.intersects(touched)
  }

  private func hasDied(_ way: [Int32]) -> Bool {
    if journal.dead.isEmpty { return false }
    for arc in way where journal.dead.contains(Int(arc) >> 1) { return true }
    return false
  }

  static func best(_ node: Int, _ links: LinkTable, _ labels: [PathLabel]) -> [Int32]? {
    guard labels[node].isUsable else { return nil }
    var way: [Int32] = []
    way.reserveCapacity(Int(labels[node].hops))
    var at = node
    while labels[at].arc >= 0 {
      way.append(labels[at].arc)
      at = Int(labels[at].parent)
    }
    way.reverse()
    return way
  }

  static func split(_ packed: [Int32]) -> [[Int32]] {
    var ways: [[Int32]] = []
    var at = 0
    while at < packed.count {
      let end = at + 1 + Int(packed[at])
      ways.append(Array(packed[(at + 1)..<end]))
      at = end
    }
    return ways
  }

  // MARK: the work

  /// Does at least `budget` units of work (arcs looked at) when there is so much, and ends with a whole component.
  /// - Parameter root: its node.
  /// - Returns: nodes whose alternates are others.
  mutating func work(
    _ budget: Int, root: Int, _ links: LinkTable, _ labels: [PathLabel]
  ) -> [Int32] {
    var changed: [Int32] = []
    search.grow(nodes: entries.count, links: links.linkSlots, risks: links.riskSlots)
    search.work = 0
    look(root, links, labels)
    while search.work < budget, let (node, _) = queue.next() {
      if compute(node, links, labels) { changed.append(Int32(truncatingIfNeeded: node)) }
    }
    return changed
  }

  /// Finds out whose alternates what happened can concern.
  private mutating func look(_ root: Int, _ links: LinkTable, _ labels: [PathLabel]) {
    guard !touched.isEmpty || !moved.isEmpty || isAllTouched || !journal.isEmpty else { return }
    if search.findStem(root: root, links) { isAllTouched = true }
    for node in entries.indices where node != root {
      search.work += touched.words.count / 16
      guard isAllTouched || moved.contains(node) || entries[node].read.intersects(touched) else { continue }
      let kept = RouteSets.split(entries[node].ways).filter { !hasDied($0) }
      if kept.reduce(0, { $0 + $1.count + 1 }) != entries[node].ways.count {
        entries[node].ways = RouteSets.pack(kept)
        entries[node].hasLost = true
        queue.want(node, RouteSets.repair)
      } else if labels[node].isReached || !entries[node].ways.isEmpty {
        queue.want(node, moved.contains(node) ? RouteSets.follow : RouteSets.improve)
      }
    }
    journal.clear()
    touched.removeAll()
    moved.removeAll()
    isAllTouched = false
  }

  static func pack(_ ways: [[Int32]]) -> [Int32] {
    var packed: [Int32] = []
    for way in ways {
      packed.append(Int32(truncatingIfNeeded: way.count))
      packed.append(contentsOf: way)
    }
    return packed
  }

  private static func traits(
    of ways: [[Int32]], to node: Int, _ links: LinkTable, _ labels: [PathLabel]
  ) -> [UInt32] {
    var traits: [UInt32] = []
    var hasRisks = false
    for way in ways {
      traits.append(links.cost(of: way))
      traits.append(UInt32(links.frameSize(of: way)))
      for arc in way where links.arcs[Int(arc)].hasRisks { hasRisks = true }
    }
    guard hasRisks, let best = best(node, links, labels) else { return traits }
    for i in ways.indices {
      traits.append(UInt32(truncatingIfNeeded: links.sharing(best, ways[i]).risks))
      for j in ways.indices where j > i {
        traits.append(UInt32(truncatingIfNeeded: links.sharing(ways[i], ways[j]).risks))
      }
    }
    return traits
  }

  /// Computes one set. True when it is another than what was given out before.
  private mutating func compute(_ node: Int, _ links: LinkTable, _ labels: [PathLabel]) -> Bool {
    computations &+= 1
    search.work += 16
    search.beginReading()
    let ways = find(node, links, labels)
    let (packed, traits) = (RouteSets.pack(ways), RouteSets.traits(of: ways, to: node, links, labels))
    let isNew = packed != entries[node].ways || traits != entries[node].traits || entries[node].hasLost
    entries[node].ways = packed
    entries[node].traits = traits
    entries[node].hasLost = false
    entries[node].read = search.read
    return isNew
  }

  private mutating func find(_ node: Int, _ links: LinkTable, _ labels: [PathLabel]) -> [[Int32]] {
    search.read.insert(node)
    guard alternates > 0, let best = RouteSets.best(node, links, labels), best.count > search.stem.count else {
      return []
    }
    for arc in best { search.read.insert(links.from(Int(arc))) }
    search.use(best, links)
    var used = [best]
    defer { for way in used { search.use(way, links, remove: true) } }
    guard let shared = search.search(to: node, links, labels), search.found != best else { return [] }
    var ways = [search.found]
    if shared > 0, alternates > 1 {
      let bound = links.sharing(best, search.found)
      search.use(best, links, remove: true)
      if let pair = search.disjointPair(around: best, to: node, links, labels, bound: bound) {
        ways = RouteSets.inOrder(pair.first, pair.second, best, links)
      }
      search.use(best, links)
    }
    var accepted: [[Int32]] = []
    while let way = ways.first {
      if way.count > TopologyPath.longest || way == best || accepted.contains(way) { break }
      accepted.append(way)
      used.append(way)
      if accepted.count == alternates { break }
      search.use(way, links)
      ways.removeFirst()
      if ways.isEmpty, search.search(to: node, links, labels) != nil { ways = [search.found] }
    }
    for way in accepted {
      for arc in way { search.read.insert(links.to(Int(arc))) }
    }
    return accepted
  }

  /// A pair without the best path, the one that shares less with it first, then the cheaper.
  private static func inOrder(
    _ a: [Int32], _ b: [Int32], _ best: [Int32], _ links: LinkTable
  ) -> [[Int32]] {
    if a == best { return [b] }
    if b == best { return [a] }
    let (p, q) = (links.sharing(best, a), links.sharing(best, b))
    let isSecondBetter = p == q ? links.cost(of: b) < links.cost(of: a) : q < p
    return isSecondBetter ? [b, a] : [a, b]
  }
}
