// The network as one authority sees it: the LSAs of the components it has sessions with, its own adjacencies, and the
// ways to everybody. What an LSA changes is brought in where it changes it: the links of its component, the tree of best
// paths, and, a little at a time, the alternates (RouteSets) and the detours (DetourPlan) it can concern.

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
  /// A component, or the root. Its index stays the same as long as it is there.
  struct Node {
    var id: ComponentID
    var lsa: LinkStateAdvertisement?
    /// The LSA's adjacencies sorted by number.
    var adjacencies: [LinkStateAdvertisement.Adjacency]
    var installed: Instant
    /// Removed, but in the last computation: to be reported as vanished.
    var isLeaving: Bool
    /// Its adjacencies are not yet in the table of links.
    var isStale: Bool
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
    /// Detours that found no room in a node's table, or in all.
    public var detoursRefused: UInt64 = 0
    /// As of the last computation: adjacencies that are reported by one end only.
    public var unconfirmed: UInt64 = 0
  }

  /// A link that carries less than this, bytes, does not count: headers for 8 hops take 138.
  public static let smallestFrameSize: UInt16 = 256
  /// The same for frames of the size in use, which may need more.
  public var smallestFrameSize = TopologyGraph.smallestFrameSize {
    didSet { if smallestFrameSize != oldValue { isOtherSize = true } }
  }

  public let root: ComponentID
  public let nodeLimit: Int
  public internal(set) var counters = Counters()

  var members: [Node]
  var indices: [ComponentID: Int]
  var free: [Int] = []
  /// Components with an LSA.
  var population = 0
  /// Nodes whose adjacencies are not yet in the table of links.
  var stale: [Int32] = []
  var isOtherSize = false
  /// Adjacencies in the LSAs and at the root.
  var reported = 0

  // Of the last computation.
  var names: [ComponentID]
  var links = LinkTable()
  var tree = ShortestPathTree(root: TopologyGraph.rootIndex)
  var penalties = LinkPenalties()
  var sets: RouteSets
  var plan: DetourPlan
  /// The computation in which a node was last found to have moved, or was named.
  var moved: [UInt64] = []
  var named: [UInt64] = []

  static let rootIndex = 0

  /// Routes to each component beside the best, unless another number is asked for.
  public static let defaultAlternates = 3

  /// - Parameters:
  ///   - nodeLimit: components beside the root, 1 … 16,384.
  ///   - alternates: beside the best path of each component, 0 … 7.
  public init(root: ComponentID, nodeLimit: Int = 1024, alternates: Int = defaultAlternates) {
    invariant(nodeLimit >= 1 && nodeLimit <= 16_384, "a node limit of 1 to 16,384")
    invariant(alternates >= 0 && alternates <= 7, "0 to 7 alternates")
    self.root = root
    self.nodeLimit = nodeLimit
    members = [Node(id: root, lsa: nil, adjacencies: [], installed: .zero, isLeaving: false, isStale: false)]
    indices = [root: TopologyGraph.rootIndex]
    names = [root]
    sets = RouteSets(alternates: alternates)
    plan = DetourPlan(nodeLimit: nodeLimit)
    grow()
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
      reported += adjacencies.count - members[held].adjacencies.count
      members[held].lsa = lsa
      members[held].adjacencies = adjacencies
      members[held].installed = now
      if !sameLinks { makeStale(held) }
      return sameReport ? .refreshed : .changed
    }
    // Leaving ones hold their index until the next computation; twice the limit bounds what a caller can pile up.
    guard population < nodeLimit, held != nil || !free.isEmpty || members.count <= 2 * nodeLimit else {
      counters.refusedFull &+= 1
      return .full
    }
    var node = Node(
      id: id, lsa: lsa, adjacencies: TopologyGraph.sorted(lsa.adjacencies), installed: now, isLeaving: false,
      isStale: false)
    let index: Int
    if let held {
      index = held
      node.isStale = members[held].isStale
      members[held] = node
    } else if let free = free.popLast() {
      index = free
      indices[id] = index
      members[index] = node
      names[index] = id
    } else {
      index = members.count
      indices[id] = index
      members.append(node)
      names.append(id)
      grow()
    }
    reported += node.adjacencies.count
    population += 1
    makeStale(index)
    return .changed
  }

  mutating func makeStale(_ index: Int) {
    guard !members[index].isStale else { return }
    members[index].isStale = true
    stale.append(Int32(truncatingIfNeeded: index))
  }

  private mutating func grow() {
    links.grow(nodes: members.count)
    tree.grow(nodes: members.count)
    sets.grow(nodes: members.count)
    plan.grow(nodes: members.count)
    while moved.count < members.count {
      moved.append(0)
      named.append(0)
    }
  }

  /// The root's own adjacencies, all of them, each with a number of its own that is not 0.
  public mutating func installRoot(adjacencies: [LinkStateAdvertisement.Adjacency]) {
    let new = TopologyGraph.sorted(adjacencies)
    for i in new.indices {
      invariant(new[i].number != 0 && (i == 0 || new[i - 1].number != new[i].number), "adjacency numbers are unique")
    }
    let old = members[TopologyGraph.rootIndex].adjacencies
    if !TopologyGraph.haveSameLinks(new, old) { makeStale(TopologyGraph.rootIndex) }
    reported += new.count - old.count
    members[TopologyGraph.rootIndex].adjacencies = new
  }

  /// Forgets what a component said, for instance when its session ends. The root stays.
  public mutating func remove(_ id: ComponentID) {
    guard id != root, let index = indices[id], members[index].lsa != nil else { return }
    reported -= members[index].adjacencies.count
    members[index].lsa = nil
    members[index].adjacencies = []
    members[index].isLeaving = true
    population -= 1
    makeStale(index)
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

  /// Brings the best paths up to date and tells which components' best paths (links, cost or frame size) appeared,
  /// changed or vanished since the last call; sorted. Costs nothing when nothing was installed that can move a path.
  /// The alternates follow by `nextAlternates`, the detours by `nextDetours`.
  public mutating func recompute() -> [ComponentID] {
    guard !stale.isEmpty || isOtherSize else { return [] }
    counters.computations &+= 1
    for index in stale {
      members[Int(index)].isStale = false
      reconcile(Int(index))
    }
    if isOtherSize { links.setSmallest(smallestFrameSize) }
    isOtherSize = false
    counters.linksTooSmall = UInt64(links.tooSmall)
    counters.unconfirmed = UInt64(max(reported - 2 * links.count, 0))
    tree.update(links, names: names, dirty: links.dirtyNodes)
    let changed = changes()
    tell()
    for index in stale where members[Int(index)].isLeaving { release(Int(index)) }
    stale.removeAll(keepingCapacity: true)
    return changed
  }

  /// The best path to a component as of the last `recompute`, or nil when there is none of at most 64 links.
  public func path(to id: ComponentID) -> TopologyPath? {
    guard let index = indices[id], let way = RouteSets.best(index, links, tree.labels) else { return nil }
    return path(way)
  }

  /// The best path to a component as of the last `recompute` and its alternates as far as `nextAlternates` has come:
  /// each shares as few links with those before it as the graph allows, of these as few links of a risk group in use, then
  /// as few nodes, and of these costs least. In a trap, where the best path bars every disjoint pair, such a pair comes
  /// first among the alternates. Of paths with more than 64 links none is given.
  /// - Parameter longest: alternates with more links than that are left out.
  public func routes(to id: ComponentID, longest: Int = 64) -> RouteSet {
    var set = RouteSet()
    guard let index = indices[id] else { return set }
    set.isCurrent = sets.isCurrent(index)
    var ways = sets.ways(to: index, links, tree.labels)
    if let best = ways.first { ways = [best] + ways.dropFirst().filter { $0.count <= longest } }
    for (i, way) in ways.enumerated() {
      set.paths.append(path(way))
      for other in ways[(i + 1)...] { set.sharings.append(links.sharing(way, other)) }
    }
    set.choosePair()
    return set
  }

  /// Whether alternates wait to be computed.
  public var hasPendingAlternates: Bool { sets.hasWork }

  /// Computes alternates, those first that have a link that is gone, then those of components whose best path is
  /// another, last those that could be better now. Ends with the component that uses up the budget.
  /// - Parameter budget: arcs to look at.
  /// - Returns: the components whose alternates are others than before, sorted.
  public mutating func nextAlternates(budget: Int) -> [ComponentID] {
    var changed: [ComponentID] = []
    for node in sets.work(budget, root: TopologyGraph.rootIndex, links, tree.labels) {
      changed.append(names[Int(node)])
      plan.noteAlternates(of: Int(node))
    }
    changed.sort()
    return changed
  }

  // MARK: inside

  /// What the other end of a reported adjacency reports of it, when it confirms it.
  func farEnd(
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

  /// Brings the links of a node up to date with what it and its neighbours report. Both lists stand in the order of the
  /// node's adjacency numbers.
  private mutating func reconcile(_ index: Int) {
    let (id, reports) = (names[index], members[index].adjacencies)
    var arc = Int(links.first[index])
    for (i, original) in reports.enumerated() where i == 0 || reports[i - 1].number != original.number {
      var report = original
      while arc >= 0, links.arcs[arc].adjacency < report.number { arc = removeAndGoOn(arc) }
      let far = farEnd(of: report, at: id)
      if !penalties.isEmpty, let far {
        report.cost = penalties.raised(max(report.cost, far.report.cost, 1), report, at: id)
      }
      var isThere = false
      while arc >= 0, links.arcs[arc].adjacency == report.number {
        if let far, links.to(arc) == far.index, links.arcs[arc ^ 1].adjacency == far.report.number {
          links.update(arc, report, far.report, smallest: smallestFrameSize)
          isThere = true
          arc = Int(links.arcs[arc].next)
        } else {
          arc = removeAndGoOn(arc)
        }
      }
      if let far, !isThere { links.add(index, report, far.index, far.report, smallest: smallestFrameSize) }
    }
    while arc >= 0 { arc = removeAndGoOn(arc) }
  }

  private mutating func removeAndGoOn(_ arc: Int) -> Int {
    let next = Int(links.arcs[arc].next)
    links.remove(arc >> 1)
    return next
  }

  /// The components whose best path is another than before the tree's update, sorted.
  private mutating func changes() -> [ComponentID] {
    var changed: [ComponentID] = []
    // Where the links differ for a node, they do for everything behind it.
    var stack: [Int32] = []
    for (i, node) in tree.changed.enumerated() {
      let (old, new) = (tree.before[i], tree.labels[Int(node)])
      if old.isReached && !old.isUsable { counters.pathsTooLong -= 1 }
      if new.isReached && !new.isUsable { counters.pathsTooLong += 1 }
      if !new.hasSameLink(as: old) { stack.append(node) }
    }
    while let node = stack.popLast() {
      guard moved[Int(node)] != counters.computations else { continue }
      moved[Int(node)] = counters.computations
      var arc = links.first[Int(node)]
      while arc >= 0 {
        let next = links.arcs[Int(arc)]
        if tree.labels[Int(next.to)].arc == arc { stack.append(next.to) }
        arc = next.next
      }
      let label = tree.labels[Int(node)]
      if label.isUsable { name(node, &changed) }
    }
    for (i, node) in tree.changed.enumerated() {
      let (old, new) = (tree.before[i], tree.labels[Int(node)])
      if old.isUsable != new.isUsable
        || new.isUsable && (old.weight != new.weight || old.frameSize != new.frameSize)
      {
        name(node, &changed)
      }
    }
    changed.sort()
    return changed
  }

  private mutating func name(_ node: Int32, _ changed: inout [ComponentID]) {
    guard named[Int(node)] != counters.computations else { return }
    named[Int(node)] = counters.computations
    changed.append(names[Int(node)])
    sets.move(Int(node))
  }

  /// Tells those who keep ways over the links what happened.
  private mutating func tell() {
    for node in links.dirtyNodes { sets.touch(Int(node)) }
    for (i, node) in tree.changed.enumerated() where tree.before[i].weight != tree.labels[Int(node)].weight {
      sets.touch(Int(node))
      var arc = links.first[Int(node)]
      while arc >= 0 {
        sets.touch(links.to(Int(arc)))
        arc = links.arcs[Int(arc)].next
      }
    }
    sets.note(links.journal)
    if !links.dirtyNodes.isEmpty { plan.note(links.journal) }
    links.clearDirtyNodes()
    links.clearJournal()
  }

  /// A component that left gives its index back.
  private mutating func release(_ index: Int) {
    indices[names[index]] = nil
    members[index].isLeaving = false
    sets.forget(index)
    plan.forget(index)
    free.append(index)
  }

  func path(_ way: [Int32]) -> TopologyPath {
    var path = TopologyPath(links: [], cost: links.cost(of: way), frameSize: links.frameSize(of: way))
    path.links.reserveCapacity(way.count)
    for arc in way {
      let (near, far) = (links.arcs[Int(arc)], links.arcs[Int(arc) ^ 1])
      path.links.append(
        TopologyLink(
          from: names[Int(far.to)], fromAdjacency: near.adjacency, to: names[Int(near.to)], toAdjacency: far.adjacency))
    }
    return path
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
        || a[i].riskGroup != b[i].riskGroup || a[i].label.riskGroupNumber != b[i].label.riskGroupNumber
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
