// What the authority adds to the cost of links that it has found to lose frames, and of all links of components that may
// have lost their keys, whatever their ends report of them.

import Core

/// A link is known again by either of its ends (component, its adjacency number, the neighbour), so that neither can shed
/// a penalty by giving the link another number at its side. Two entries for each link that the authority condemns, and one
/// for each component.
struct LinkPenalties {
  private struct End: Hashable {
    var component: ComponentID
    var adjacency: UInt16
    var neighbour: ComponentID
  }

  private var byEnd: [End: UInt16] = [:]
  /// Of all links of a component, whatever their numbers.
  private var byComponent: [ComponentID: UInt16] = [:]

  var isEmpty: Bool { byEnd.isEmpty && byComponent.isEmpty }

  /// Whether that is another than before.
  mutating func set(_ penalty: UInt16, onLinksOf id: ComponentID) -> Bool {
    if byComponent[id] ?? 0 == penalty { return false }
    byComponent[id] = penalty == 0 ? nil : penalty
    return true
  }

  mutating func set(_ penalty: UInt16, on link: TopologyLink) {
    let ends = [
      End(component: link.from, adjacency: link.fromAdjacency, neighbour: link.to),
      End(component: link.to, adjacency: link.toAdjacency, neighbour: link.from),
    ]
    for end in ends { byEnd[end] = penalty == 0 ? nil : penalty }
  }

  func penalty(_ a: ComponentID, _ aNumber: UInt16, _ b: ComponentID, _ bNumber: UInt16) -> UInt16 {
    let ofLink = max(
      byEnd[End(component: a, adjacency: aNumber, neighbour: b)] ?? 0,
      byEnd[End(component: b, adjacency: bNumber, neighbour: a)] ?? 0)
    return max(ofLink, max(byComponent[a] ?? 0, byComponent[b] ?? 0))
  }

  /// The cost of the link that `report` of `id` is of.
  func raised(_ cost: UInt16, _ report: LinkStateAdvertisement.Adjacency, at id: ComponentID) -> UInt16 {
    let penalty = penalty(id, report.number, report.neighbour, report.neighbourNumber)
    let (sum, isTooLarge) = cost.addingReportingOverflow(penalty)
    return isTooLarge ? .max : sum
  }
}

// MARK: In the graph

extension TopologyGraph {
  /// Makes a link dearer by `penalty`, 0 for none, in both directions and for all paths from the next `recompute` on. It
  /// stays the only way where it is the only way.
  public mutating func setPenalty(_ penalty: UInt16, on link: TopologyLink) {
    penalties.set(penalty, on: link)
    for end in [link.from, link.to] {
      if let index = indices[end], index == TopologyGraph.rootIndex || members[index].lsa != nil { makeStale(index) }
    }
  }

  /// The same for all links of a component: it is reached as before, and others' best paths lead through it only where
  /// there is no other way.
  public mutating func setPenalty(_ penalty: UInt16, onLinksOf id: ComponentID) {
    guard penalties.set(penalty, onLinksOf: id), let index = indices[id], index != TopologyGraph.rootIndex,
      members[index].lsa != nil
    else { return }
    makeStale(index)
    for report in members[index].adjacencies {
      if let far = indices[report.neighbour], far == TopologyGraph.rootIndex || members[far].lsa != nil {
        makeStale(far)
      }
    }
  }

  /// What a link costs more than its ends report.
  public func penalty(of link: ConfirmedLink) -> UInt16 {
    penalties.penalty(link.low.component, link.low.adjacency, link.high.component, link.high.adjacency)
  }

  /// Bytes a link carries as of the last `recompute`; nil when it is not there, or of no use.
  public func frameSize(of link: TopologyLink) -> UInt16? {
    guard let from = indices[link.from], let to = indices[link.to] else { return nil }
    var arc = Int(links.first[from])
    while arc >= 0 {
      let near = links.arcs[arc]
      if near.adjacency == link.fromAdjacency {
        return near.isUsable && links.to(arc) == to && links.arcs[arc ^ 1].adjacency == link.toAdjacency
          ? near.frameSize : nil
      }
      arc = Int(near.next)
    }
    return nil
  }

  /// The sum of the round trips that the ends of a path's links report, the longer of both for each; what is not measured
  /// counts nothing, and no link more than a minute.
  public func roundTrip(of path: [TopologyLink]) -> Duration {
    var sum = Duration.zero
    for link in path {
      let near = roundTrip(of: link.fromAdjacency, at: link.from)
      sum = sum + .microseconds(Int64(min(max(near, roundTrip(of: link.toAdjacency, at: link.to)), 60_000_000)))
    }
    return sum
  }

  private func roundTrip(of adjacency: UInt16, at id: ComponentID) -> UInt32 {
    guard let index = indices[id] else { return 0 }
    for report in members[index].adjacencies where report.number == adjacency { return report.roundTrip }
    return 0
  }

  /// The usable links that leave a node as of the last `recompute`, in the order of its adjacencies.
  public func links(from id: ComponentID) -> [TopologyLink] {
    guard let index = indices[id] else { return [] }
    var found: [TopologyLink] = []
    var arc = Int(links.first[index])
    while arc >= 0 {
      let near = links.arcs[arc]
      if near.isUsable {
        found.append(
          TopologyLink(
            from: id, fromAdjacency: near.adjacency, to: names[links.to(arc)],
            toAdjacency: links.arcs[arc ^ 1].adjacency))
      }
      arc = Int(near.next)
    }
    return found
  }
}
