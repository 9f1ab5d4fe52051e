// The network as one authority sees it: the LSAs of the components it has sessions with, its own adjacencies, and the
// best path to everybody. Paths are computed over the whole graph, but only when something was installed that can move
// them: at 1,000 nodes and 2,000 links that takes well under 5 ms, less than keeping up an incremental tree is worth.

import Core
import Wire

/// The order of paths. Of two paths to the same node the better one has
/// 1. the lower cost (sum over links of the higher of both ends' reports, 0 counting as 1);
/// 2. at equal cost, the larger frame size (minimum over links of the lower of both ends' reports);
/// 3. then fewer links;
/// 4. then the lower ID of the last node before the end, and there the lower adjacency number.
///
/// The best path to a node is the best of its neighbours' best paths continued by one link (so that best paths form a
/// tree). It depends on the LSAs alone, never on the order they came in.
///
/// Limits: `nodeLimit` components × 255 adjacencies × 56 B = 14 MiB at 1,024; past it a component is refused and counted.
public struct TopologyGraph {
  /// A component, or the root. Its index stays the same from one computation to the next.
  private struct Node {
    var id: ComponentID
    var lsa: LinkStateAdvertisement?
    /// The LSA's adjacencies sorted by number.
    var adjacencies: [LinkStateAdvertisement.Adjacency]
    var installed: Instant
    /// Removed, but in the last computation: to be reported as vanished.
    var isLeaving: Bool
  }

  public struct Counters: Sendable, Equatable {
    /// LSAs of components beyond the node limit.
    public var refusedFull: UInt64 = 0
    /// LSAs that were not newer than the one held.
    public var refusedOld: UInt64 = 0
    public var computations: UInt64 = 0
    /// As of the last computation: components whose best path has more than 64 links, and which have none therefore.
    public var pathsTooLong: UInt64 = 0
    /// As of the last computation: links that both ends report, too small to be used.
    public var linksTooSmall: UInt64 = 0
    /// As of the last computation: adjacencies that are reported by one end only.
    public var unconfirmed: UInt64 = 0
  }

  /// A link that carries less than this, bytes, does not count: headers for 8 hops take 138.
  public static let smallestFrameSize: UInt16 = 256
  /// The same for frames of the size in use, which may need more.
  public var smallestFrameSize = TopologyGraph.smallestFrameSize {
    didSet { if smallestFrameSize != oldValue { isStale = true } }
  }

  public let root: ComponentID
  public let nodeLimit: Int
  public private(set) var counters = Counters()

  private var members: [Node]
  private var indices: [ComponentID: Int]
  private var free: [Int] = []
  /// Components with an LSA.
  private var population = 0
  /// Something was installed that can move a path.
  private var isStale = false
  /// Of the last computation.
  private var table = EdgeTable()
  private var names: [ComponentID] = []
  private var labels: [PathLabel] = []

  private static let rootIndex = 0

  /// - Parameter nodeLimit: components beside the root, 1 … 16,384.
  public init(root: ComponentID, nodeLimit: Int = 1024) {
    invariant(nodeLimit >= 1 && nodeLimit <= 16_384, "a node limit of 1 to 16,384")
    self.root = root
    self.nodeLimit = nodeLimit
    members = [Node(id: root, lsa: nil, adjacencies: [], installed: .zero, isLeaving: false)]
    indices = [root: TopologyGraph.rootIndex]
  }

  // MARK: what is reported

  /// Takes a component's LSA, which must have come through that component's own session.
  public mutating func install(
    _ lsa: LinkStateAdvertisement, from id: ComponentID, at now: Instant
  ) -> InstallResult {
    if id == root {
      counters.refusedOld &+= 1
      return .old
    }
    let held = indices[id]
    if let held, let old = members[held].lsa {
      let isFirst = old.boot == 0 && old.version == 0
      guard isFirst || (lsa.boot != old.boot ? lsa.boot > old.boot : lsa.version > old.version) else {
        counters.refusedOld &+= 1
        return .old
      }
      let adjacencies = TopologyGraph.sorted(lsa.adjacencies)
      let sameLinks = TopologyGraph.haveSameLinks(adjacencies, members[held].adjacencies)
      let sameReport =
        sameLinks && lsa.boot == old.boot && TopologyGraph.haveSameNames(adjacencies, members[held].adjacencies)
      members[held].lsa = lsa
      members[held].adjacencies = adjacencies
      members[held].installed = now
      if !sameLinks { isStale = true }
      return sameReport ? .refreshed : .changed
    }
    // Leaving ones hold their index until the next computation; twice the limit bounds what a caller can pile up.
    guard population < nodeLimit, held != nil || !free.isEmpty || members.count <= 2 * nodeLimit else {
      counters.refusedFull &+= 1
      return .full
    }
    let node = Node(
      id: id, lsa: lsa, adjacencies: TopologyGraph.sorted(lsa.adjacencies), installed: now, isLeaving: false)
    if let held {
      members[held] = node
    } else if let index = free.popLast() {
      members[index] = node
      indices[id] = index
    } else {
      indices[id] = members.count
      members.append(node)
    }
    population += 1
    isStale = true
    return .changed
  }

  /// The root's own adjacencies, all of them, each with a number of its own that is not 0.
  public mutating func installRoot(adjacencies: [LinkStateAdvertisement.Adjacency]) {
    let new = TopologyGraph.sorted(adjacencies)
    for i in new.indices {
      invariant(new[i].number != 0 && (i == 0 || new[i - 1].number != new[i].number), "adjacency numbers are unique")
    }
    if !TopologyGraph.haveSameLinks(new, members[TopologyGraph.rootIndex].adjacencies) { isStale = true }
    members[TopologyGraph.rootIndex].adjacencies = new
  }

  /// Forgets what a component said, for instance when its session ends. The root stays.
  public mutating func remove(_ id: ComponentID) {
    guard id != root, let index = indices[id], members[index].lsa != nil else { return }
    members[index].lsa = nil
    members[index].adjacencies = []
    members[index].isLeaving = true
    population -= 1
    isStale = true
  }

  /// The component has a new session: its next LSA counts whatever its number, as nothing older can come any more. What
  /// it said before stands until then. So neither a number that was made up nor a store that was set back silences it.
  public mutating func beginAnew(_ id: ComponentID) {
    guard let index = indices[id], index != TopologyGraph.rootIndex else { return }
    members[index].lsa?.boot = 0
    members[index].lsa?.version = 0
  }

  /// The LSA held of a component.
  public func lsa(of id: ComponentID) -> LinkStateAdvertisement? {
    guard let index = indices[id] else { return nil }
    return members[index].lsa
  }

  /// When the LSA held of a component came.
  public func installed(of id: ComponentID) -> Instant? {
    guard let index = indices[id], members[index].lsa != nil else { return nil }
    return members[index].installed
  }

  /// The components whose LSA is held, sorted; the root is not among them.
  public var nodes: [ComponentID] {
    var ids: [ComponentID] = []
    ids.reserveCapacity(population)
    for node in members where node.lsa != nil { ids.append(node.id) }
    ids.sort()
    return ids
  }

  /// The links that both ends report now, computed or not, usable or not; sorted by the lower end's ID and adjacency.
  public var confirmedLinks: [ConfirmedLink] {
    var links: [ConfirmedLink] = []
    for node in members {
      for report in node.adjacencies where node.id < report.neighbour {
        guard let (_, far) = farEnd(of: report, at: node.id) else { continue }
        links.append(ConfirmedLink(low: LinkEnd(node.id, report), high: LinkEnd(report.neighbour, far)))
      }
    }
    links.sort { a, b in
      a.low.component != b.low.component
        ? a.low.component < b.low.component : a.low.adjacency < b.low.adjacency
    }
    return links
  }

  // MARK: paths

  /// Brings the paths up to date and tells which components' paths (links, cost or frame size) appeared, changed or
  /// vanished since the last call; sorted. Costs nothing when nothing was installed that can move a path.
  public mutating func recompute() -> [ComponentID] {
    guard isStale else { return [] }
    isStale = false
    counters.computations &+= 1
    buildTable()
    let tree = ShortestPathTree(table, names: names, root: TopologyGraph.rootIndex)
    let changed = changes(to: tree)
    labels = tree.labels
    counters.pathsTooLong = 0
    for label in labels where label.isReached && Int(label.hops) > TopologyPath.longest { counters.pathsTooLong += 1 }
    for index in members.indices where members[index].isLeaving {
      indices[members[index].id] = nil
      members[index].isLeaving = false
      free.append(index)
    }
    return changed
  }

  /// The best path to a component as of the last `recompute`, or nil when there is none of at most 64 links.
  public func path(to id: ComponentID) -> TopologyPath? {
    guard let index = indices[id], index < labels.count else { return nil }
    return path(to: index, labels)
  }

  /// The best path to a component that shares as little as the graph allows with the given ones: first links, then
  /// ports that fail together and nodes on the way. Nil when there is none of at most 64 links. As of the last
  /// `recompute`.
  public func alternate(to id: ComponentID, avoiding paths: [TopologyPath]) -> TopologyPath? {
    guard let target = indices[id], target < labels.count, labels[target].isReached else { return nil }
    var surcharge = Array(repeating: UInt64(0), count: table.edges.count)
    for path in paths {
      for link in path.links { charge(link, target, &surcharge) }
    }
    let tree = ShortestPathTree(
      table, names: names, root: TopologyGraph.rootIndex, surcharge: surcharge, target: target)
    return path(to: target, tree.labels)
  }

  /// The best path to a component and up to three others, in the order of preference, to show an operator why the
  /// first was chosen: the best paths that avoid one of its links each, and the one most disjoint from it.
  public func explain(to id: ComponentID) -> [TopologyPath] {
    guard let best = path(to: id), let target = indices[id], !best.links.isEmpty else { return [] }
    var others: [TopologyPath] = []
    // At most 12 links are tried, spread over the path, so that an operator's question never holds up the loop.
    let tried = min(best.links.count, 12)
    for k in 0..<tried {
      let link = best.links[tried == 1 ? 0 : k * (best.links.count - 1) / (tried - 1)]
      guard let index = edgeIndex(of: link) else { continue }
      var surcharge = Array(repeating: UInt64(0), count: table.edges.count)
      surcharge[index] = ShortestPathTree.forbidden
      if let opposite = table.opposite(index) { surcharge[opposite] = ShortestPathTree.forbidden }
      let tree = ShortestPathTree(
        table, names: names, root: TopologyGraph.rootIndex, surcharge: surcharge, target: target)
      if let other = path(to: target, tree.labels) { others.append(other) }
    }
    if let disjoint = alternate(to: id, avoiding: [best]) { others.append(disjoint) }
    others.sort { $0.isBetter(than: $1) }
    var answer = [best]
    for other in others where answer.count < 4 {
      if !answer.contains(other) { answer.append(other) }
    }
    return answer
  }

  /// Whether the component reports a link that its other end does not report yet: that end has not been heard since.
  public func reportsUnconfirmedLink(_ id: ComponentID) -> Bool {
    guard let index = indices[id] else { return false }
    return members[index].adjacencies.contains { farEnd(of: $0, at: id) == nil }
  }

  // MARK: inside

  /// What the other end of a reported adjacency reports of it, when it confirms it.
  private func farEnd(
    of report: LinkStateAdvertisement.Adjacency, at id: ComponentID
  ) -> (index: Int, report: LinkStateAdvertisement.Adjacency)? {
    guard report.neighbour != id, let index = indices[report.neighbour] else { return nil }
    let reports = members[index].adjacencies
    var (low, high) = (0, reports.count)
    while low < high {
      let middle = (low + high) / 2
      if reports[middle].number < report.neighbourNumber { low = middle + 1 } else { high = middle }
    }
    guard low < reports.count, reports[low].number == report.neighbourNumber, reports[low].neighbour == id,
      reports[low].neighbourNumber == report.number
    else { return nil }
    return (index, reports[low])
  }

  private mutating func buildTable() {
    var edges: [Edge] = []
    var starts: [Int32] = [0]
    edges.reserveCapacity(table.edges.count)
    starts.reserveCapacity(members.count + 1)
    names.removeAll(keepingCapacity: true)
    counters.linksTooSmall = 0
    counters.unconfirmed = 0
    for (index, node) in members.enumerated() {
      names.append(node.id)
      for report in node.adjacencies {
        guard let (far, other) = farEnd(of: report, at: node.id) else {
          counters.unconfirmed += 1
          continue
        }
        let frameSize = min(report.frameSize, other.frameSize)
        guard frameSize >= smallestFrameSize else {
          if index < far { counters.linksTooSmall += 1 }
          continue
        }
        edges.append(
          Edge(
            from: Int32(truncatingIfNeeded: index), to: Int32(truncatingIfNeeded: far), fromAdjacency: report.number,
            toAdjacency: other.number, frameSize: frameSize, cost: max(report.cost, other.cost, 1),
            fromRiskGroup: report.riskGroup, toRiskGroup: other.riskGroup))
      }
      starts.append(Int32(truncatingIfNeeded: edges.count))
    }
    table = EdgeTable(edges: edges, starts: starts)
  }

  /// The components whose path in `tree` is another than in `labels`, sorted.
  private func changes(to tree: ShortestPathTree) -> [ComponentID] {
    var changed: [ComponentID] = []
    // Whether the links differ. Where they do for a node, they do for everything behind it that is still behind it.
    var moved = Array(repeating: false, count: tree.labels.count)
    for node in tree.order.dropFirst() {
      let index = Int(node)
      let new = tree.labels[index]
      let old = index < labels.count ? labels[index] : PathLabel()
      moved[index] =
        moved[Int(new.parent)] || old.parent != new.parent || old.fromAdjacency != new.fromAdjacency
        || old.toAdjacency != new.toAdjacency
      let had = old.isReached && Int(old.hops) <= TopologyPath.longest
      let has = Int(new.hops) <= TopologyPath.longest
      if had != has || has && (moved[index] || old.weight != new.weight || old.frameSize != new.frameSize) {
        changed.append(names[index])
      }
    }
    for index in labels.indices where labels[index].isReached && !tree.labels[index].isReached {
      if Int(labels[index].hops) <= TopologyPath.longest { changed.append(names[index]) }
    }
    changed.sort()
    return changed
  }

  private func path(to target: Int, _ labels: [PathLabel]) -> TopologyPath? {
    let end = labels[target]
    guard end.isReached, Int(end.hops) <= TopologyPath.longest else { return nil }
    var links: [TopologyLink] = []
    links.reserveCapacity(Int(end.hops))
    var index = target
    while labels[index].parent >= 0 {
      let label = labels[index]
      let parent = Int(label.parent)
      links.append(
        TopologyLink(
          from: names[parent], fromAdjacency: label.fromAdjacency, to: names[index], toAdjacency: label.toAdjacency))
      index = parent
    }
    links.reverse()
    return TopologyPath(links: links, cost: end.cost, frameSize: end.frameSize)
  }

  private func edgeIndex(of link: TopologyLink) -> Int? {
    guard let from = indices[link.from], from < table.nodeCount else { return nil }
    for index in table.leaving(from) where table.edges[index].fromAdjacency == link.fromAdjacency {
      let edge = table.edges[index]
      return names[Int(edge.to)] == link.to && edge.toAdjacency == link.toAdjacency ? index : nil
    }
    return nil
  }

  /// Raises what a path pays for using `link` again, a port that shares a risk group with it, or its far node.
  private func charge(_ link: TopologyLink, _ target: Int, _ surcharge: inout [UInt64]) {
    // In units of 2^32 these outweigh every cost; 16,384 links of all three stay below 2^63.
    let sharedLink = UInt64(1) << 48
    let sharedRisk = UInt64(1) << 40
    let sharedNode = UInt64(1) << 32
    guard let index = edgeIndex(of: link) else { return }
    let edge = table.edges[index]
    raise(index, by: sharedLink, &surcharge)
    raiseRiskGroup(edge.fromRiskGroup, at: Int(edge.from), by: sharedRisk, &surcharge)
    raiseRiskGroup(edge.toRiskGroup, at: Int(edge.to), by: sharedRisk, &surcharge)
    guard Int(edge.to) != target else { return }
    for leaving in table.leaving(Int(edge.to)) {
      if let entering = table.opposite(leaving) { raise(entering, by: sharedNode, &surcharge, both: false) }
    }
  }

  private func raise(_ index: Int, by amount: UInt64, _ surcharge: inout [UInt64], both: Bool = true) {
    // Many given paths over one link must not wrap to nothing.
    let ceiling = UInt64(1) << 49
    surcharge[index] = min(surcharge[index] + amount, ceiling)
    if both, let opposite = table.opposite(index) {
      surcharge[opposite] = min(surcharge[opposite] + amount, ceiling)
    }
  }

  private func raiseRiskGroup(_ group: UInt32, at node: Int, by amount: UInt64, _ surcharge: inout [UInt64]) {
    guard group != 0 else { return }
    for index in table.leaving(node) where table.edges[index].fromRiskGroup == group {
      raise(index, by: amount, &surcharge)
    }
  }

  private static func sorted(
    _ adjacencies: [LinkStateAdvertisement.Adjacency]
  ) -> [LinkStateAdvertisement.Adjacency] {
    var copy = adjacencies
    copy.sort { $0.number < $1.number }
    return copy
  }

  /// Whether two sorted lists give the same paths.
  private static func haveSameLinks(
    _ a: [LinkStateAdvertisement.Adjacency], _ b: [LinkStateAdvertisement.Adjacency]
  ) -> Bool {
    guard a.count == b.count else { return false }
    for i in a.indices {
      if a[i].number != b[i].number || a[i].neighbour != b[i].neighbour
        || a[i].neighbourNumber != b[i].neighbourNumber || a[i].frameSize != b[i].frameSize || a[i].cost != b[i].cost
        || a[i].riskGroup != b[i].riskGroup
      {
        return false
      }
    }
    return true
  }

  private static func haveSameNames(
    _ a: [LinkStateAdvertisement.Adjacency], _ b: [LinkStateAdvertisement.Adjacency]
  ) -> Bool {
    for i in a.indices where a[i].label != b[i].label { return false }
    return true
  }
}
