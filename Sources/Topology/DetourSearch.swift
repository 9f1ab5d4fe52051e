// The best way around a link or a node: a search from both its ends at once, which looks at little where there are many
// ways, and ends soon where one end lies behind a bridge.

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
    guard labels[near].isReached, labels[far].isReached, near != far else { return false }
    var wasCut = false
    if detour(near, far, obstacle, links, byLinks: false, &wasCut) { return true }
    return wasCut && detour(near, far, obstacle, links, byLinks: true, &wasCut)
  }

  // States: the node as seen from the near end, and, beyond all nodes, as seen from the far end.
  private mutating func detour(
    _ near: Int, _ far: Int, _ obstacle: Obstacle, _ links: LinkTable, byLinks: Bool, _ wasCut: inout Bool
  ) -> Bool {
    let back = seen.count / 2
    beginSearch()
    backHeap.removeAll()
    touch(near, 0, by: -1, depth: 0)
    touch(back + far, 0, by: -1, depth: 0)
    heap.push(key: 0, item: Int32(truncatingIfNeeded: near))
    backHeap.push(key: 0, item: Int32(truncatingIfNeeded: far))
    var best = UInt64.max
    var meeting = -1
    // What is still to come from each end costs at least this.
    var (leastAhead, leastBack): (UInt64, UInt64) = (0, 0)
    while leastAhead &+ leastBack < best {
      var side = 0
      while side <= back {
        guard let top = side == 0 ? heap.pop() : backHeap.pop() else {
          return meeting >= 0 && join(meeting, near, far, links, &wasCut)
        }
        if side == 0 { leastAhead = top.key } else { leastBack = top.key }
        let node = Int(top.item)
        if settled[side + node] == stamp { continue }
        settled[side + node] = stamp
        side = expand(node, side, obstacle, links, byLinks, &best, &meeting, &wasCut)
      }
    }
    return meeting >= 0 && join(meeting, near, far, links, &wasCut)
  }

  /// Follows the links of a node that was settled from one end. Returns where the other end's states begin, or, after
  /// that one's turn, what is beyond both.
  private mutating func expand(
    _ node: Int, _ side: Int, _ obstacle: Obstacle, _ links: LinkTable, _ byLinks: Bool, _ best: inout UInt64,
    _ meeting: inout Int, _ wasCut: inout Bool
  ) -> Int {
    let back = seen.count / 2
    let depth = Int(previous[side + node])
    var next = links.first[node]
    while next >= 0 {
      let index = Int(next)
      let arc = links.arcs[index]
      next = arc.next
      work += 1
      let (to, link) = (Int(arc.to), index >> 1)
      guard arc.isUsable, settled[side + to] != stamp, to != obstacle.node, link != obstacle.link else { continue }
      if depth == DetourTable.longest {
        wasCut = true
        break
      }
      var weight = weights[side + node] &+ UInt64(arc.cost) &+ (byLinks ? RouteSearch.sharedNode : 0)
      if arc.hasRisks {
        if obstacle.link >= 0, links.risks[link].shares(links.risks[obstacle.link]) { continue }
        if obstacle.sharesRisk(link, links) { weight = weight &+ RouteSearch.sharedRisk }
      }
      guard seen[side + to] != stamp || weight < weights[side + to] else { continue }
      touch(side + to, weight, by: index, depth: depth + 1)
      sequence &+= 1
      if side == 0 {
        heap.push(key: weight, tie: ~sequence, item: Int32(truncatingIfNeeded: to))
      } else {
        backHeap.push(key: weight, tie: ~sequence, item: Int32(truncatingIfNeeded: to))
      }
      let other = back - side + to
      guard seen[other] == stamp, weight &+ weights[other] < best else { continue }
      if depth + 1 + Int(previous[other]) > DetourTable.longest {
        wasCut = true
      } else {
        best = weight &+ weights[other]
        meeting = to
      }
    }
    return side + back
  }

  private mutating func touch(_ state: Int, _ weight: UInt64, by arc: Int, depth: Int) {
    seen[state] = stamp
    weights[state] = weight
    via[state] = Int32(truncatingIfNeeded: arc)
    previous[state] = Int32(truncatingIfNeeded: depth)
  }

  /// Puts both halves together. A half may have become cheaper and longer since they met: false when they are too long
  /// now, or have a node in common.
  private mutating func join(
    _ meeting: Int, _ near: Int, _ far: Int, _ links: LinkTable, _ wasCut: inout Bool
  ) -> Bool {
    let back = seen.count / 2
    found.removeAll(keepingCapacity: true)
    var node = meeting
    while node != near {
      found.append(via[node])
      node = links.from(Int(via[node]))
    }
    found.reverse()
    node = meeting
    while node != far {
      found.append(via[back + node] ^ 1)
      node = links.from(Int(via[back + node]))
    }
    if !wasCut { return true }
    for (i, arc) in found.enumerated() {
      for other in found[(i + 1)...] where links.to(Int(arc)) == links.to(Int(other)) { return false }
    }
    return found.count <= DetourTable.longest
  }

  // MARK: what a better link is near to

  /// So many nodes around each end of a link are looked at.
  private static let spreadNodes = 512

  /// Finds the distances from both ends of a link up to a radius; they stand until the next search.
  mutating func spread(from link: Int, radius: UInt64, _ links: LinkTable) -> (UInt64, UInt64) {
    beginSearch()
    let first = spread(links.to(2 * link), 0, radius, links)
    heap.removeAll()
    return (first, spread(links.to(2 * link + 1), seen.count / 2, radius, links))
  }

  private mutating func spread(_ start: Int, _ side: Int, _ radius: UInt64, _ links: LinkTable) -> UInt64 {
    touch(side + start, 0, by: -1, depth: 0)
    heap.push(key: 0, item: Int32(truncatingIfNeeded: start))
    var count = 0
    while let top = heap.pop() {
      let node = Int(top.item)
      if settled[side + node] == stamp { continue }
      if count == RouteSearch.spreadNodes || top.key > radius { return top.key }
      settled[side + node] = stamp
      count += 1
      var next = links.first[node]
      while next >= 0 {
        let arc = links.arcs[Int(next)]
        next = arc.next
        work += 1
        let (to, weight) = (side + Int(arc.to), top.key &+ UInt64(arc.cost))
        guard arc.isUsable, settled[to] != stamp, seen[to] != stamp || weight < weights[to] else { continue }
        touch(to, weight, by: -1, depth: 0)
        heap.push(key: weight, item: arc.to)
      }
    }
    return .max / 4
  }

  /// The least a way from one node over the link to another can cost, without the link.
  func distance(_ a: Int, _ b: Int, over bounds: (UInt64, UInt64)) -> UInt64 {
    let back = seen.count / 2
    func from(_ node: Int, _ side: Int, _ bound: UInt64) -> UInt64 {
      settled[side + node] == stamp ? weights[side + node] : bound
    }
    return min(
      from(a, 0, bounds.0) &+ from(b, back, bounds.1), from(b, 0, bounds.0) &+ from(a, back, bounds.1))
  }
}
