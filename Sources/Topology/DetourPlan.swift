// All detours: around every link, and around the middle node of every three that a path in use goes through, each for
// both directions. They are label-switched paths; a detour that stays the same keeps its labels. What is wanted and what
// has come to be wrong is found out when something happened (`look`); the searches follow a few at a time, broken detours
// first, then new ones, last those that could be shorter now.

import Core
import Wire

/// Limits: 1,024 heads and 4,096 steps a node; 64 detours for each node the graph may have, at about 200 B: 13 MiB at
/// 1,024 nodes.
struct DetourPlan {
  /// One link of a detour, in the direction from the near end.
  struct Hop {
    var arc: Int32
    /// The node it leads to, and the adjacency numbers at both its ends.
    var node: Int32
    var egress: UInt16
    var ingress: UInt16
    /// Of the detour from the near end, at `node`; of the one back, at the node before.
    var label: UInt16
    var backLabel: UInt16
  }

  /// A detour and the one back.
  struct Detour {
    /// The ends.
    var near: Int32
    var far: Int32
    /// The node gone around; -1: a link.
    var around: Int32
    /// The links gone around, at the near and at the far end; the second -1 for a link.
    var firstLink: Int32
    var secondLink: Int32
    /// At the near end: the adjacency that fails, and the one the neighbour would go on by. At the far end likewise.
    var nearEgress: UInt16
    var nearOnward: UInt16
    var farEgress: UInt16
    var farOnward: UInt16
    /// Paths in use that need it; none: it is kept for a while.
    var references: Int32 = 0
    /// The next detour that goes around the same first link.
    var next: Int32
    /// Empty while there is no way.
    var hops: [Hop] = []
    /// Links in risk groups with those gone around, and the cost.
    var risks: UInt16 = 0
    var cost: UInt32 = 0
    var frameSize: UInt16 = 0
    /// A link on it is gone.
    var isBroken = false
    /// Not needed when `age` was called last.
    var isOld = false
    /// There was no room for it.
    var isRefused = false
    var isFree = false

    var isAroundLink: Bool { around < 0 }
  }

  /// What a node has.
  struct Place {
    /// The detours that begin, pass or end here.
    var detours: [Int32] = []
    var heads = 0
    var steps = 0
    var lastLabel: UInt16 = 0
    /// All labels have been given once.
    var hasTurned = false
    /// The detour around the parent on the best path to this node; -1 for none.
    var onBestPath: Int32 = -1
    /// Those of its alternates.
    var onAlternates: [Int32] = []
  }

  let limit: Int
  var detours: [Detour] = []
  var free: [Int32] = []
  /// By link: the first detour around it.
  var chains: [Int32] = []
  var places: [Place] = []
  var queue = WorkQueue(levels: 6)
  var search = RouteSearch()

  var journal = LinkJournal()
  var isStale = false
  var otherAlternates = BitSet()
  /// Nodes whose tables are others than when they were named last.
  var changed: [Int32] = []
  var isChanged = BitSet()
  /// Counts on, so that a node that comes new does not begin with labels of one that left.
  var labelsGiven: UInt64 = 0

  /// Detours that found no room in a node's table, or in this one.
  var refused: UInt64 = 0

  // Urgency by two levels each: for detours around nodes, and around links.
  static let improve: UInt8 = 1
  static let begin: UInt8 = 3
  static let repair: UInt8 = 5

  init(nodeLimit: Int) { limit = 64 * nodeLimit }

  var hasWork: Bool { isStale || queue.waiting > 0 || !changed.isEmpty }

  // MARK: what happened

  mutating func grow(nodes: Int) {
    while places.count < nodes {
      var place = Place()
      place.lastLabel = UInt16(truncatingIfNeeded: labelsGiven)
      places.append(place)
    }
  }

  /// The links changed, or the best paths.
  mutating func note(_ later: LinkJournal) {
    journal.append(later)
    isStale = true
  }

  mutating func noteAlternates(of node: Int) {
    otherAlternates.insert(node)
    isStale = true
  }

  /// The node's number will stand for another component.
  mutating func forget(_ node: Int) {
    for index in places[node].detours {
      uninstall(Int(index))
      want(Int(index), DetourPlan.repair)
    }
    places[node].lastLabel = UInt16(truncatingIfNeeded: labelsGiven)
    places[node].hasTurned = false
    if isChanged.contains(node) {
      isChanged.remove(node)
      changed.removeAll { Int($0) == node }
    }
    otherAlternates.insert(node)
    isStale = true
  }

  // MARK: the tables

  func table(of node: Int) -> DetourTable {
    var table = DetourTable()
    let this = Int32(truncatingIfNeeded: node)
    for index in places[node].detours {
      let detour = detours[Int(index)]
      guard let first = detour.hops.first, let last = detour.hops.last else { continue }
      if detour.near == this {
        table.heads.append(
          DetourHead(
            egress: detour.nearEgress, onward: detour.nearOnward, first: first.egress, label: first.label,
            frameSize: detour.frameSize))
        table.steps.append(
          DetourStep(ingress: first.egress, label: first.backLabel, egress: 0, next: detour.nearEgress))
      }
      if detour.far == this {
        table.heads.append(
          DetourHead(
            egress: detour.farEgress, onward: detour.farOnward, first: last.ingress, label: last.backLabel,
            frameSize: detour.frameSize))
        table.steps.append(
          DetourStep(ingress: last.ingress, label: last.label, egress: 0, next: detour.farEgress))
      }
      for i in detour.hops.indices.dropLast() where detour.hops[i].node == this {
        let (come, go) = (detour.hops[i], detour.hops[i + 1])
        table.steps.append(
          DetourStep(ingress: come.ingress, label: come.label, egress: go.egress, next: go.label))
        table.steps.append(
          DetourStep(ingress: go.egress, label: go.backLabel, egress: come.ingress, next: come.backLabel))
      }
    }
    table.heads.sort { $0.egress != $1.egress ? $0.egress < $1.egress : $0.onward < $1.onward }
    table.steps.sort { $0.ingress != $1.ingress ? $0.ingress < $1.ingress : $0.label < $1.label }
    return table
  }

  // MARK: the work

  /// Does at least `budget` units of work (arcs looked at) when there is so much.
  /// - Returns: nodes whose tables are others.
  mutating func work(
    _ budget: Int, _ links: inout LinkTable, _ labels: [PathLabel], _ sets: RouteSets, _ names: [ComponentID]
  ) -> [Int32] {
    search.grow(nodes: places.count, links: 0, risks: 0)
    search.work = 0
    if isStale { look(&links, labels, sets, names) }
    while search.work < budget, let (index, _) = queue.next() {
      search.work += 8
      compute(index, links, labels)
    }
    let named = changed
    for node in changed { isChanged.remove(Int(node)) }
    changed.removeAll(keepingCapacity: true)
    return named
  }

  /// Detours that nothing has needed since the call before are given up.
  mutating func age(_ links: inout LinkTable) {
    for index in detours.indices where !detours[index].isFree && detours[index].references == 0 {
      if detours[index].isOld { destroy(index, &links) } else { detours[index].isOld = true }
    }
  }

  // MARK: what is wanted

  mutating func look(
    _ links: inout LinkTable, _ labels: [PathLabel], _ sets: RouteSets, _ names: [ComponentID]
  ) {
    isStale = false
    while chains.count < links.linkSlots { chains.append(-1) }
    if !journal.isEmpty {
      for index in detours.indices where !detours[index].isFree { check(index, links) }
      improve(links)
      journal.clear()
    }
    for link in 0..<links.linkSlots {
      let isWanted = links.isUsable(link) && labels[links.to(2 * link)].isReached
      let held = find(link, -1)
      if isWanted, held < 0 || detours[held].references == 0 {
        requireAround(link, &links, names)
      } else if !isWanted, held >= 0, detours[held].references > 0 {
        release(Int32(truncatingIfNeeded: held))
      }
    }
    for node in places.indices { followBestPath(node, &links, labels, names) }
    search.work += detours.count + links.linkSlots + places.count
    if otherAlternates.isEmpty { return }
    for node in places.indices where otherAlternates.contains(node) {
      followAlternates(node, sets.ways(to: node, links, labels), &links, names)
    }
    otherAlternates.removeAll()
  }

  /// What happened to the links concerns this detour.
  mutating func check(_ index: Int, _ links: LinkTable) {
    var (isBroken, isOther) = (false, false)
    let (first, second) = (Int(detours[index].firstLink), Int(detours[index].secondLink))
    if journal.superseded.contains(first) || second >= 0 && journal.superseded.contains(second) {
      uninstall(index)
      return
    }
    for hop in detours[index].hops {
      if journal.dead.contains(Int(hop.arc) >> 1) { isBroken = true }
      if journal.changed.contains(Int(hop.arc) >> 1) { isOther = true }
    }
    if isBroken {
      detours[index].isBroken = true
      // One that is not needed is not mended.
      if detours[index].references == 0 { uninstall(index) } else { want(index, DetourPlan.repair) }
      return
    }
    if journal.changed.contains(first) || second >= 0 && journal.changed.contains(second) { isOther = true }
    if isOther { refresh(index, links) }
    if isOther || detours[index].isRefused { want(index, DetourPlan.improve) }
  }

  /// New and better links: what could be shorter over one of them. The distances from its ends tell.
  mutating func improve(_ links: LinkTable) {
    if journal.better.isEmpty && !journal.isOverflowing { return }
    var radius: UInt64 = 0
    for index in detours.indices where isInNeed(index) {
      if isUnlimited(index) || journal.isOverflowing { want(index, DetourPlan.improve) }
      radius = max(radius, UInt64(detours[index].cost))
    }
    if journal.isOverflowing { return }
    for link in journal.better where links.isUsable(Int(link)) {
      let bounds = search.spread(from: Int(link), radius: radius, links)
      let cost = UInt64(links.arcs[2 * Int(link)].cost)
      for index in detours.indices where isInNeed(index) {
        let (near, far) = (Int(detours[index].near), Int(detours[index].far))
        let least = search.distance(near, far, over: bounds) &+ cost
        if least < UInt64(detours[index].cost) { want(index, DetourPlan.improve) }
      }
    }
  }

  private func isInNeed(_ index: Int) -> Bool { !detours[index].isFree && detours[index].references > 0 }

  /// Any new way would do, or one without risks may be there now.
  private func isUnlimited(_ index: Int) -> Bool { detours[index].hops.isEmpty || detours[index].risks > 0 }

  /// Cost, frame size and risks of the way as the links are now.
  mutating func refresh(_ index: Int, _ links: LinkTable) {
    guard !detours[index].hops.isEmpty else { return }
    let obstacle = obstacle(index)
    let arcs = detours[index].hops.map { $0.arc }
    let size = links.frameSize(of: arcs)
    if size != detours[index].frameSize {
      detours[index].frameSize = size
      noteChanged(detours[index].near)
      noteChanged(detours[index].far)
    }
    detours[index].cost = links.cost(of: arcs)
    detours[index].risks = risks(arcs, obstacle, links)
    guard obstacle.link >= 0, links.isStanding(obstacle.link) else { return }
    for arc in arcs where links.risks[Int(arc) >> 1].shares(links.risks[obstacle.link]) {
      detours[index].isBroken = true
      want(index, DetourPlan.repair)
    }
  }

  func risks(_ arcs: [Int32], _ obstacle: RouteSearch.Obstacle, _ links: LinkTable) -> UInt16 {
    var count: UInt16 = 0
    for arc in arcs where links.arcs[Int(arc)].hasRisks && obstacle.sharesRisk(Int(arc) >> 1, links) { count += 1 }
    return count
  }

  func obstacle(_ index: Int) -> RouteSearch.Obstacle {
    let detour = detours[index]
    let (first, second) = (Int(detour.firstLink), Int(detour.secondLink))
    return detour.isAroundLink
      ? RouteSearch.Obstacle(link: first, node: -1, near: -1, far: -1)
      : RouteSearch.Obstacle(link: -1, node: Int(detour.around), near: first, far: second)
  }

  mutating func requireAround(_ link: Int, _ links: inout LinkTable, _ names: [ComponentID]) {
    var arc = 2 * link
    if names[links.to(arc)] < names[links.from(arc)] { arc ^= 1 }
    guard let index = make(arc, -1, &links) else { return }
    reference(index)
  }

  /// The detour around the middle of two arcs that follow each other; nil when there is no room.
  mutating func requireAround(
    _ first: Int, _ second: Int, _ links: inout LinkTable, _ names: [ComponentID]
  ) -> Int? {
    if names[links.to(second)] < names[links.from(first)] { return make(second ^ 1, first ^ 1, &links) }
    return make(first, second, &links)
  }

  mutating func make(_ first: Int, _ second: Int, _ links: inout LinkTable) -> Int? {
    let held = find(first >> 1, second < 0 ? -1 : second >> 1)
    if held >= 0 { return held }
    let isAroundLink = second < 0
    guard !free.isEmpty || detours.count < limit else {
      refused &+= 1
      return nil
    }
    let (near, middle) = (links.arcs[first], links.arcs[first ^ 1])
    var detour = Detour(
      near: middle.to, far: near.to, around: -1, firstLink: Int32(truncatingIfNeeded: first >> 1), secondLink: -1,
      nearEgress: near.adjacency, nearOnward: 0, farEgress: middle.adjacency, farOnward: 0, next: chains[first >> 1])
    links.hold(first >> 1)
    if !isAroundLink {
      detour.around = near.to
      detour.far = links.arcs[second].to
      detour.secondLink = Int32(truncatingIfNeeded: second >> 1)
      detour.nearOnward = links.arcs[second].adjacency
      detour.farEgress = links.arcs[second ^ 1].adjacency
      detour.farOnward = middle.adjacency
      links.hold(second >> 1)
    }
    let index: Int
    if let old = free.popLast() {
      index = Int(old)
      detours[index] = detour
    } else {
      index = detours.count
      detours.append(detour)
      queue.grow(to: detours.count)
    }
    chains[first >> 1] = Int32(truncatingIfNeeded: index)
    return index
  }

  func find(_ first: Int, _ second: Int) -> Int {
    var index = chains[first]
    while index >= 0 {
      if Int(detours[Int(index)].secondLink) == second { return Int(index) }
      index = detours[Int(index)].next
    }
    return -1
  }

  mutating func followBestPath(
    _ node: Int, _ links: inout LinkTable, _ labels: [PathLabel], _ names: [ComponentID]
  ) {
    let held = places[node].onBestPath
    let label = labels[node]
    guard label.isUsable, label.hops >= 2 else {
      if held >= 0 { release(held) }
      places[node].onBestPath = -1
      return
    }
    let (first, second) = (labels[Int(label.parent)].arc, label.arc)
    if held >= 0 {
      let (a, b) = (detours[Int(held)].firstLink, detours[Int(held)].secondLink)
      if a == first >> 1 && b == second >> 1 || b == first >> 1 && a == second >> 1 { return }
    }
    let index = requireAround(Int(first), Int(second), &links, names)
    if let index { reference(index) }
    if held >= 0 { release(held) }
    places[node].onBestPath = index.map { Int32(truncatingIfNeeded: $0) } ?? -1
  }

  mutating func followAlternates(
    _ node: Int, _ ways: [[Int32]], _ links: inout LinkTable, _ names: [ComponentID]
  ) {
    var wanted: [Int32] = []
    for way in ways.dropFirst() {
      for i in way.indices.dropFirst() {
        guard let index = requireAround(Int(way[i - 1]), Int(way[i]), &links, names) else { continue }
        reference(index)
        wanted.append(Int32(truncatingIfNeeded: index))
      }
    }
    for index in places[node].onAlternates { release(index) }
    places[node].onAlternates = wanted
  }

  mutating func reference(_ index: Int) {
    detours[index].references += 1
    guard detours[index].references == 1 else { return }
    detours[index].isOld = false
    if detours[index].hops.isEmpty { want(index, DetourPlan.begin) }
  }

  mutating func release(_ index: Int32) { detours[Int(index)].references -= 1 }

  mutating func destroy(_ index: Int, _ links: inout LinkTable) {
    uninstall(index)
    queue.forget(index)
    let first = Int(detours[index].firstLink)
    let this = Int32(truncatingIfNeeded: index)
    if chains[first] == this {
      chains[first] = detours[index].next
    } else {
      var before = Int(chains[first])
      while before >= 0 {
        if detours[before].next == this {
          detours[before].next = detours[index].next
          break
        }
        before = Int(detours[before].next)
      }
    }
    links.letGo(first)
    if detours[index].secondLink >= 0 { links.letGo(Int(detours[index].secondLink)) }
    detours[index].isFree = true
    free.append(this)
  }

  mutating func want(_ index: Int, _ urgency: UInt8) {
    queue.want(index, urgency + (detours[index].isAroundLink ? 1 : 0))
  }
}
