// The best way around a link or a node: A* between its two ends, with what the distances from the root say of the
// distance between two nodes (they cannot be nearer to each other than the difference).

import Core

extension RouteSearch {
  /// What a detour has to keep away from.
  struct Obstacle {
    /// Not to be used, nor a link of its risk groups: -1 for none.
    var link: Int
    /// Not to be passed: -1 for none.
    var node: Int
    /// Links whose risk groups are better not used: -1 for none.
    var near: Int
    var far: Int

    func sharesRisk(_ link: Int, _ links: LinkTable) -> Bool {
      let risks = links.risks[link]
      return near >= 0 && risks.shares(links.risks[near]) || far >= 0 && risks.shares(links.risks[far])
    }
  }

  /// The cheapest way of at most 16 links, in `found`; where the cheapest of all has more, the shortest one.
  mutating func detour(
    from near: Int, to far: Int, around obstacle: Obstacle, _ links: LinkTable, _ labels: [PathLabel]
  ) -> Bool {
    var wasCut = false
    if detour(near, far, obstacle, links, labels, byLinks: false, &wasCut) { return true }
    return wasCut && detour(near, far, obstacle, links, labels, byLinks: true, &wasCut)
  }

  private mutating func detour(
    _ near: Int, _ far: Int, _ obstacle: Obstacle, _ links: LinkTable, _ labels: [PathLabel], byLinks: Bool,
    _ wasCut: inout Bool
  ) -> Bool {
    found.removeAll(keepingCapacity: true)
    let goal = labels[far].weight
    guard labels[near].isReached, labels[far].isReached, near != far else { return false }
    beginSearch()
    reach(near, weight: 0, by: -1, 0)
    previous[near] = 0
    while let top = heap.pop() {
      let node = Int(top.item)
      if settled[node] == stamp { continue }
      settled[node] = stamp
      if node == far {
        followBack(from: far, to: near, links)
        return true
      }
      let isLong = Int(previous[node]) == DetourTable.longest
      var next = links.first[node]
      while next >= 0 {
        let index = Int(next)
        let arc = links.arcs[index]
        next = arc.next
        work += 1
        let (to, link) = (Int(arc.to), index >> 1)
        guard arc.isUsable, settled[to] != stamp, to != obstacle.node, link != obstacle.link else { continue }
        if isLong {
          wasCut = true
          break
        }
        var weight = weights[node] &+ UInt64(arc.cost) &+ (byLinks ? RouteSearch.sharedNode : 0)
        if arc.hasRisks {
          if obstacle.link >= 0, links.risks[link].shares(links.risks[obstacle.link]) { continue }
          if obstacle.sharesRisk(link, links) { weight = weight &+ RouteSearch.sharedRisk }
        }
        guard seen[to] != stamp || weight < weights[to] else { continue }
        let left = byLinks ? 0 : RouteSearch.difference(labels[to].weight, goal)
        seen[to] = stamp
        weights[to] = weight
        via[to] = Int32(truncatingIfNeeded: index)
        previous[to] = previous[node] + 1
        sequence &+= 1
        heap.push(
          key: weight &+ UInt64(left), tie: UInt64(left) << 32 | (0xffff_ffff &- sequence),
          item: Int32(truncatingIfNeeded: to))
      }
    }
    return false
  }

  static func difference(_ a: UInt32, _ b: UInt32) -> UInt32 { a > b ? a - b : b - a }

  private mutating func followBack(from end: Int, to start: Int, _ links: LinkTable) {
    var node = end
    while node != start {
      found.append(via[node])
      node = links.from(Int(via[node]))
    }
    found.reverse()
  }
}
