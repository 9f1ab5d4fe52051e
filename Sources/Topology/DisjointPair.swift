// Two ways that share as little as the graph allows when the best path is not one of them (it lies across every
// disjoint pair: a trap). Suurballe's and Bhandari's algorithm as a second augmentation of a flow of two units: a search
// from the target to the root that may also go back along the best path, and thereby takes that link from it.
//
// An inner node of the best path has two sides. *Outside*: one may leave it by any other link. *Inside*: arrived from
// beyond the best path while that passes here too; either both pass (a shared node, charged), or one goes back along
// the best path towards the target and leaves it there. The fork and the target have an inside when the best path uses a
// risk group there: all links of one group at that node count as one.
//
// For links, nodes, and risk groups at the root's and the target's side this finds a pair that shares nothing whenever
// there is one. With groups that span nodes the problem is NP-complete (Hu, IEEE Trans. Commun. 51(3), 2003): a bounded
// number of first ways is tried.

import Core

extension RouteSearch {
  /// At most so many risk groups of the best path are tried to be kept out of the first way.
  static let triedRisks = 8

  /// A pair that shares less than `bound`, or as good a pair as was found; nil when none was.
  mutating func disjointPair(
    around best: [Int32], to target: Int, _ links: LinkTable, _ labels: [PathLabel], bound: Sharing
  ) -> (first: [Int32], second: [Int32])? {
    var pair: (first: [Int32], second: [Int32])?
    var least = bound
    let named = namedRisks(of: best, links)
    // With the groups that span nodes charged, and not.
    for attempt in 0..<(named.isEmpty ? 1 : 2) {
      use(best, links)
      let found = augment(best, target, links, labels, chargesRisks: attempt == 0)
      use(best, links, remove: true)
      guard let found else { continue }
      let sharing = links.sharing(found.first, found.second)
      if sharing < least { (pair, least) = (found, sharing) }
      if least.isDisjoint { return pair }
    }
    for risk in named.prefix(RouteSearch.triedRisks) {
      guard search(to: target, links, labels, barred: risk) != nil else { continue }
      let first = found
      use(first, links)
      let second = search(to: target, links, labels) == nil ? [] : found
      use(first, links, remove: true)
      if second.isEmpty || second == first { continue }
      let sharing = links.sharing(first, second)
      if sharing < least { (pair, least) = ((first, second), sharing) }
      if least.isDisjoint { return pair }
    }
    return pair
  }

  /// Risk groups by name of the links of a way, in its order.
  private func namedRisks(of way: [Int32], _ links: LinkTable) -> [Int32] {
    var named: [Int32] = []
    for arc in way where links.arcs[Int(arc)].hasRisks {
      let risks = links.risks[Int(arc) >> 1]
      if risks.nearNamed >= 0, !named.contains(risks.nearNamed) { named.append(risks.nearNamed) }
      if risks.farNamed >= 0, !named.contains(risks.farNamed) { named.append(risks.farNamed) }
    }
    return named
  }

  // States: 2 × node for the outside, 2 × node + 1 for the inside.
  private mutating func augment(
    _ best: [Int32], _ target: Int, _ links: LinkTable, _ labels: [PathLabel], chargesRisks: Bool
  ) -> (first: [Int32], second: [Int32])? {
    // The best path beyond the stem: the nodes p(0) = fork … p(m) = target, and the place of each on it.
    let way = Array(best.dropFirst(stem.count))
    guard let head = way.first, let tail = way.last else { return nil }
    for (i, arc) in way.enumerated() { places[links.to(Int(arc))] = Int32(truncatingIfNeeded: i + 1) }
    defer { for arc in way { places[links.to(Int(arc))] = -1 } }
    let (headLink, tailLink) = (Int(head) >> 1, Int(tail) >> 1)
    let goal = 2 * fork
    beginSearch()
    reach(2 * target, weight: 0, by: -1, labels[target].weight)
    while let top = heap.pop() {
      let state = Int(top.item)
      if settled[state] == stamp { continue }
      settled[state] = stamp
      if state == goal { break }
      let node = state >> 1
      let isInside = state & 1 == 1
      let near = labels[node].weight
      read.insert(node)
      if isInside && node != target {
        // The way the best path came from, as seen from the target: back along it, at no reduced cost.
        let arc = node == fork ? head : way[Int(places[node])]
        let back = links.to(Int(arc))
        let landing = back == target ? 2 * back + 1 : 2 * back
        step(landing, top.key, arc, labels[back].weight, after: state)
        let both = node == fork ? RouteSearch.sharedRisk : RouteSearch.sharedNode
        step(2 * node, top.key &+ both, -1, near, after: state)
        continue
      }
      let place = Int(places[node])
      if place > 0 && node != target { step(2 * node + 1, top.key, -1, near, after: state) }
      var next = links.first[node]
      while next >= 0 {
        let index = next
        let arc = links.arcs[Int(index)]
        next = arc.next
        work += 1
        let (to, link) = (Int(arc.to), Int(index) >> 1)
        guard arc.isUsable, to != target else { continue }
        var weight = top.key &+ UInt64(arc.cost) &+ UInt64(labels[to].weight) &- UInt64(near)
        if place > 0, link == Int(way[place - 1]) >> 1 {
          if isInside { continue }
          weight = weight &+ RouteSearch.sharedLink
        } else if place >= 0, place < way.count, link == Int(way[place]) >> 1 {
          continue
        } else if isInside {
          // At the target, in the place of the best path's last link: by a link of its group.
          guard arc.hasRisks, links.risks[link].shares(links.risks[tailLink]) else { continue }
        } else if arc.hasRisks {
          let risks = links.risks[link]
          if node == target && risks.shares(links.risks[tailLink])
            || chargesRisks && riskUseByName(risks) && to != fork
          {
            weight = weight &+ RouteSearch.sharedRisk
          }
        }
        let sharesHead =
          to == fork && link != headLink && arc.hasRisks && links.risks[link].shares(links.risks[headLink])
        let landing = to == fork ? (sharesHead ? goal + 1 : goal) : 2 * to + (places[to] < 0 ? 0 : 1)
        step(landing, weight, index, labels[to].weight, after: state)
      }
    }
    guard settled[goal] == stamp else { return nil }
    return decompose(way, goal, 2 * target, links)
  }

  private func riskUseByName(_ risks: LinkRisks) -> Bool {
    risks.nearNamed >= 0 && riskUse[Int(risks.nearNamed)] != 0
      || risks.farNamed >= 0 && riskUse[Int(risks.farNamed)] != 0
  }

  @inline(__always)
  private mutating func step(_ state: Int, _ weight: UInt64, _ arc: Int32, _ distance: UInt32, after before: Int) {
    if settled[state] == stamp || seen[state] == stamp && weights[state] <= weight { return }
    previous[state] = Int32(truncatingIfNeeded: before)
    reach(state, weight: weight, by: arc, distance)
  }

  /// Takes the links that were gone back along from the best path, adds the others, and reads both ways off.
  private func decompose(
    _ way: [Int32], _ goal: Int, _ start: Int, _ links: LinkTable
  ) -> (first: [Int32], second: [Int32])? {
    var pool = way
    var state = goal
    while state != start {
      let arc = via[state]
      // Without an arc it only changed sides. An arc of the best path is only ever taken backwards.
      if arc >= 0 {
        if way.contains(arc) {
          pool.removeAll { $0 == arc }
        } else {
          pool.append(arc ^ 1)
        }
      }
      state = Int(previous[state])
    }
    guard let first = takeWay(&pool, links), let second = takeWay(&pool, links) else { return nil }
    return (stem + first, stem + second)
  }

  /// A way from the fork to where no arc leads on.
  private func takeWay(_ pool: inout [Int32], _ links: LinkTable) -> [Int32]? {
    var way: [Int32] = []
    var node = fork
    while true {
      var taken = -1
      for (i, arc) in pool.enumerated() where links.from(Int(arc)) == node {
        if taken < 0 || links.arcs[Int(arc)].adjacency < links.arcs[Int(pool[taken])].adjacency { taken = i }
      }
      if taken < 0 { return way.isEmpty ? nil : way }
      way.append(pool[taken])
      node = links.to(Int(pool[taken]))
      pool.remove(at: taken)
      if way.count > TopologyPath.longest { return nil }
    }
  }
}
