// One search for one way: from the target towards the root, which the distances of the shortest path tree draw it to as
// the potentials of Suurballe's algorithm do (the reduced cost of a link is what going that way costs more than the
// shortest path; along the tree it is 0). What is shared with ways found before is charged by units that outweigh every
// cost, so the way found shares as few links as the graph allows, of these ways has as few links in risk groups in
// use, then passes as few nodes in use, and of these ways is the cheapest.

import Core

struct RouteSearch {
  /// One node shared, in the search's weight; below it stands the cost.
  static let sharedNode: UInt64 = 1 << 32
  static let sharedRisk: UInt64 = 1 << 42
  static let sharedLink: UInt64 = 1 << 52

  /// The way found last, arcs from the root to the target.
  var found: [Int32] = []
  /// The nodes whose links the searches since `beginReading` have looked at: only what happens to one of these, or to
  /// the distance of a neighbour, can make their results others.
  var read = BitSet()
  /// Arcs looked at.
  var work = 0

  /// All paths begin with these arcs, as each node on the way has no other link to go on by; then they part, at `fork`.
  private(set) var stem: [Int32] = []
  private(set) var fork = 0

  // By node and side (see DisjointPair): the weight, the arc it was reached by (-1: by none), whether it is settled.
  var weights: [UInt64] = []
  var via: [Int32] = []
  var seen: [UInt32] = []
  var settled: [UInt32] = []
  // Of the search for a pair: the state before, and the place of each node on the best path (-1: not on it).
  var previous: [Int32] = []
  var places: [Int32] = []
  var stamp: UInt32 = 0
  var heap = SearchHeap()
  var backHeap = SearchHeap()
  var sequence: UInt64 = 0

  // How many of the ways in use pass each link, risk group and inner node.
  private(set) var linkUse: [UInt8] = []
  private(set) var riskUse: [UInt8] = []
  private(set) var nodeUse: [UInt8] = []

  mutating func grow(nodes: Int, links: Int, risks: Int) {
    while seen.count < 2 * nodes {
      weights.append(0)
      via.append(-1)
      seen.append(0)
      settled.append(0)
      previous.append(-1)
    }
    while places.count < nodes { places.append(-1) }
    while nodeUse.count < nodes { nodeUse.append(0) }
    while linkUse.count < links { linkUse.append(0) }
    while riskUse.count < risks { riskUse.append(0) }
    read.grow(to: nodes)
  }

  mutating func beginReading() { read.removeAll() }

  /// Every search begins with a clean sheet.
  mutating func beginSearch() {
    stamp &+= 1
    if stamp == 0 {
      for i in seen.indices {
        seen[i] = 0
        settled[i] = 0
      }
      stamp = 1
    }
    heap.removeAll()
    sequence = 0
  }

  /// Follows the links from the root as long as there is one to go on by. True when the stem is another than before.
  mutating func findStem(root: Int, _ links: LinkTable) -> Bool {
    var arcs: [Int32] = []
    var node = root
    var came = -1
    while arcs.count < TopologyPath.longest {
      var only = -1
      var count = 0
      var index = Int(links.first[node])
      while index >= 0 && count < 2 {
        if links.arcs[index].isUsable && index != came {
          only = index
          count += 1
        }
        index = Int(links.arcs[index].next)
      }
      // A cycle back to where it began has a node with two ways on.
      if count != 1 { break }
      arcs.append(Int32(truncatingIfNeeded: only))
      node = links.to(only)
      came = only ^ 1
      if node == root { break }
    }
    let isNew = arcs != stem || node != fork
    stem = arcs
    fork = node
    return isNew
  }

  // MARK: ways in use

  /// Counts a way to the target among those to keep apart from, or no longer.
  mutating func use(_ way: [Int32], _ links: LinkTable, remove: Bool = false) {
    for (i, arc) in way.enumerated() where i >= stem.count {
      let link = Int(arc) >> 1
      RouteSearch.count(&linkUse[link], remove)
      if links.arcs[Int(arc)].hasRisks {
        let risks = links.risks[link]
        if risks.nearLocal >= 0 { RouteSearch.count(&riskUse[Int(risks.nearLocal)], remove) }
        if risks.farLocal >= 0 { RouteSearch.count(&riskUse[Int(risks.farLocal)], remove) }
        if risks.nearNamed >= 0 { RouteSearch.count(&riskUse[Int(risks.nearNamed)], remove) }
        if risks.farNamed >= 0 { RouteSearch.count(&riskUse[Int(risks.farNamed)], remove) }
      }
      if i + 1 < way.count { RouteSearch.count(&nodeUse[links.to(Int(arc))], remove) }
    }
  }

  /// At most 8 ways of 64 links with 4 groups each: 2,048 uses of one group, so these are held at 255.
  private static func count(_ use: inout UInt8, _ remove: Bool) {
    if remove { use = 0 } else if use < .max { use += 1 }
  }

  @inline(__always)
  func charge(_ link: Int, _ arc: Arc, _ links: LinkTable) -> UInt64 {
    let use = linkUse[link]
    if use != 0 { return RouteSearch.sharedLink &* UInt64(use) }
    return arc.hasRisks && usesRisk(links.risks[link]) ? RouteSearch.sharedRisk : 0
  }

  private func usesRisk(_ risks: LinkRisks) -> Bool {
    risks.nearLocal >= 0 && riskUse[Int(risks.nearLocal)] != 0
      || risks.farLocal >= 0 && riskUse[Int(risks.farLocal)] != 0
      || risks.nearNamed >= 0 && riskUse[Int(risks.nearNamed)] != 0
      || risks.farNamed >= 0 && riskUse[Int(risks.farNamed)] != 0
  }

  /// So many nodes around the fork are looked at for what every way has to share there.
  private static let floorNodes = 32

  /// What a way from the fork to each node shares at least, found for the nodes around the fork; for all others, what it
  /// shares when it leaves these. Where few links lead away from the root and all are in use, the search would otherwise
  /// look at the whole graph before it believed that.
  private mutating func findFloors(_ target: Int, _ links: LinkTable) -> UInt64 {
    let far = seen.count / 2
    var count = 0
    reach(far + fork, weight: 0, by: -1, 0)
    while let top = heap.pop() {
      let state = Int(top.item)
      if settled[state] == stamp { continue }
      if count == RouteSearch.floorNodes { return top.key }
      settled[state] = stamp
      count += 1
      read.insert(state - far)
      if state - far == target { continue }
      var next = links.first[state - far]
      while next >= 0 {
        let index = Int(next)
        let arc = links.arcs[index]
        next = arc.next
        work += 1
        let to = far + Int(arc.to)
        guard arc.isUsable, settled[to] != stamp else { continue }
        let node = to - far == target ? 0 : RouteSearch.sharedNode &* UInt64(nodeUse[to - far])
        let weight = top.key &+ charge(index >> 1, arc, links) &+ node
        // One free way out, and nothing has to be shared.
        if weight == 0 && state - far == fork { return 0 }
        if seen[to] != stamp || weight < weights[to] { reach(to, weight: weight, by: -1, 0) }
      }
    }
    return 0
  }

  @inline(__always)
  private func floor(_ node: Int, _ far: UInt64) -> UInt64 {
    let state = seen.count / 2 + node
    return settled[state] == stamp ? weights[state] : far
  }

  // MARK: the search

  /// The way to the target that shares least with those in use, in `found`.
  /// - Parameters:
  ///   - barred: a risk group whose links are not to be used; -1 for none.
  /// - Returns: what it shares, in the units above without the cost; nil when there is no way.
  mutating func search(
    to target: Int, _ links: LinkTable, _ labels: [PathLabel], barred: Int32 = -1, barredLink: Int = -1
  ) -> UInt64? {
    found.removeAll(keepingCapacity: true)
    guard labels[target].isReached, target != fork else { return nil }
    beginSearch()
    read.insert(fork)
    let farFloor = findFloors(target, links)
    heap.removeAll()
    reach(target, weight: 0, by: -1, labels[target].weight)
    while let top = heap.pop() {
      let node = Int(top.item)
      if settled[node] == stamp { continue }
      settled[node] = stamp
      if node == fork {
        follow(from: node, to: target, links)
        return (top.key &+ floor(target, farFloor)) >> 32
      }
      read.insert(node)
      let near = UInt64(labels[node].weight) &+ floor(node, farFloor)
      let left = top.key &+ (node == target ? 0 : RouteSearch.sharedNode &* UInt64(nodeUse[node]))
      var next = links.first[node]
      while next >= 0 {
        let index = next
        let arc = links.arcs[Int(index)]
        next = arc.next
        work += 1
        let to = Int(arc.to)
        guard arc.isUsable, settled[to] != stamp, Int(index) >> 1 != barredLink else { continue }
        if barred >= 0, arc.hasRisks, links.risks[Int(index) >> 1].contains(barred) { continue }
        let far = labels[to].weight
        let ahead = UInt64(far) &+ floor(to, farFloor)
        let weight = left &+ UInt64(arc.cost) &+ charge(Int(index) >> 1, arc, links) &+ ahead &- near
        if seen[to] != stamp || weight < weights[to] { reach(to, weight: weight, by: index, far) }
      }
    }
    return nil
  }

  /// Of states of equal weight the one nearest to the root goes first, then the one reached last.
  @inline(__always)
  mutating func reach(_ state: Int, weight: UInt64, by arc: Int32, _ distance: UInt32) {
    seen[state] = stamp
    weights[state] = weight
    via[state] = arc
    sequence &+= 1
    heap.push(
      key: weight, tie: UInt64(distance) << 32 | (0xffff_ffff &- sequence), item: Int32(truncatingIfNeeded: state))
  }

  private mutating func follow(from start: Int, to target: Int, _ links: LinkTable) {
    found.append(contentsOf: stem)
    var node = start
    while node != target {
      let arc = via[node]
      found.append(arc ^ 1)
      node = links.from(Int(arc))
    }
  }
}

/// What two ways to one component have in common.
public struct Sharing: Sendable, Equatable, Comparable {
  /// Links on both.
  public var links = 0
  /// Links of the first that are not on the second but in a risk group with one of the second.
  public var risks = 0
  /// Nodes on both, without the two ends.
  public var nodes = 0

  public init(links: Int = 0, risks: Int = 0, nodes: Int = 0) {
    self.links = links
    self.risks = risks
    self.nodes = nodes
  }

  public var isLinkDisjoint: Bool { links == 0 }
  public var isRiskDisjoint: Bool { links == 0 && risks == 0 }
  /// No link, no risk group and no node: no single failure takes both.
  public var isDisjoint: Bool { links == 0 && risks == 0 && nodes == 0 }

  public static func < (a: Sharing, b: Sharing) -> Bool {
    if a.links != b.links { return a.links < b.links }
    return a.risks != b.risks ? a.risks < b.risks : a.nodes < b.nodes
  }
}

extension LinkTable {
  /// What two ways, arcs from the root to the same target, have in common.
  func sharing(_ a: [Int32], _ b: [Int32]) -> Sharing {
    var sharing = Sharing()
    for i in a.indices {
      let (arc, link) = (arcs[Int(a[i])], Int(a[i]) >> 1)
      var (sameLink, sameRisk, sameNode) = (false, false, false)
      for j in b.indices {
        if Int(b[j]) >> 1 == link { sameLink = true }
        if arc.hasRisks, arcs[Int(b[j])].hasRisks, risks[link].shares(risks[Int(b[j]) >> 1]) { sameRisk = true }
        if i + 1 < a.count, j + 1 < b.count, arcs[Int(b[j])].to == arc.to { sameNode = true }
      }
      if sameLink { sharing.links += 1 } else if sameRisk { sharing.risks += 1 }
      if sameNode { sharing.nodes += 1 }
    }
    return sharing
  }

  func cost(of way: [Int32]) -> UInt32 {
    var cost: UInt32 = 0
    for arc in way { cost = cost &+ UInt32(arcs[Int(arc)].cost) }
    return cost
  }

  func frameSize(of way: [Int32]) -> UInt16 {
    var size = UInt16.max
    for arc in way { size = min(size, arcs[Int(arc)].frameSize) }
    return size
  }
}
