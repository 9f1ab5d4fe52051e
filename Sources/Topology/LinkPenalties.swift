// What the authority adds to the cost of links that it has found to lose frames, whatever their ends report of them.

import Core

/// A link is known again by either of its ends (component, its adjacency number, the neighbour), so that neither can shed
/// a penalty by giving the link another number at its side. Two entries for each link that the authority condemns.
struct LinkPenalties {
  private struct End: Hashable {
    var component: ComponentID
    var adjacency: UInt16
    var neighbour: ComponentID
  }

  private var byEnd: [End: UInt16] = [:]

  var isEmpty: Bool { byEnd.isEmpty }

  mutating func set(_ penalty: UInt16, on link: TopologyLink) {
    let ends = [
      End(component: link.from, adjacency: link.fromAdjacency, neighbour: link.to),
      End(component: link.to, adjacency: link.toAdjacency, neighbour: link.from),
    ]
    for end in ends { byEnd[end] = penalty == 0 ? nil : penalty }
  }

  func penalty(_ a: ComponentID, _ aNumber: UInt16, _ b: ComponentID, _ bNumber: UInt16) -> UInt16 {
    max(
      byEnd[End(component: a, adjacency: aNumber, neighbour: b)] ?? 0,
      byEnd[End(component: b, adjacency: bNumber, neighbour: a)] ?? 0)
  }

  /// The cost of the link that `report` of `id` is of.
  func raised(_ cost: UInt16, _ report: LinkStateAdvertisement.Adjacency, at id: ComponentID) -> UInt16 {
    let penalty = penalty(id, report.number, report.neighbour, report.neighbourNumber)
    let (sum, isTooLarge) = cost.addingReportingOverflow(penalty)
    return isTooLarge ? .max : sum
  }
}
