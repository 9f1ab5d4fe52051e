// Of the graph, what is computed after the best paths and alternates: detours, and for a reader why a path is the best.

import Core

extension TopologyGraph {
  // MARK: detours

  /// Whether detours wait to be computed, or tables to be named.
  public var hasPendingDetours: Bool { plan.hasWork }

  /// Computes detours: around every link, and around the middle of every three nodes that a path in use goes through
  /// (best paths and alternates), for both directions. Those first whose way has a link that is gone, then new ones, last
  /// those that could be shorter now. Paths are followed as far as `nextAlternates` has come, so it is best called first.
  /// - Parameter budget: arcs to look at.
  /// - Returns: the nodes whose tables are others than before, sorted; the root may be among them.
  public mutating func nextDetours(budget: Int) -> [ComponentID] {
    var changed: [ComponentID] = []
    for node in plan.work(budget, &links, tree.labels, sets, names) { changed.append(names[Int(node)]) }
    counters.detoursRefused = plan.refused
    changed.sort()
    return changed
  }

  /// The detours that begin, pass or end at a component, or at the root.
  public func detours(of id: ComponentID) -> DetourTable {
    guard let index = indices[id] else { return DetourTable() }
    return plan.table(of: index)
  }

  /// Gives up detours that no path has needed since the call before: until then one around a link that is gone still
  /// serves frames of routes laid before. To be called every 30 s or so.
  public mutating func ageDetours() { plan.age(&links) }

  /// Whether the component reports a link that its other end does not report yet: that end has not been heard since.
  public func reportsUnconfirmedLink(_ id: ComponentID) -> Bool {
    guard let index = indices[id] else { return false }
    return members[index].adjacencies.contains { farEnd(of: $0, at: id) == nil }
  }

  // MARK: for a reader

  /// The best path to a component and up to three others, in the order of preference, to show an operator why the
  /// first was chosen: the best paths that avoid one of its links each, and the one most disjoint from it.
  public func explain(to id: ComponentID) -> [TopologyPath] {
    guard let index = indices[id], let best = RouteSets.best(index, links, tree.labels), !best.isEmpty else {
      return []
    }
    var search = RouteSearch()
    search.grow(nodes: members.count, links: links.linkSlots, risks: links.riskSlots)
    _ = search.findStem(root: TopologyGraph.rootIndex, links)
    var others: [TopologyPath] = []
    // At most 12 links are tried, spread over the path, so that an operator's question never holds up the loop.
    let tried = min(best.count, 12)
    for k in 0..<tried {
      let arc = best[tried == 1 ? 0 : k * (best.count - 1) / (tried - 1)]
      // A link all paths begin with has no way around.
      if search.stem.contains(arc) { continue }
      if search.search(to: index, links, tree.labels, barredLink: Int(arc) >> 1) != nil {
        others.append(path(search.found))
      }
    }
    search.use(best, links)
    if search.search(to: index, links, tree.labels) != nil { others.append(path(search.found)) }
    others.sort { $0.isBetter(than: $1) }
    var answer = [path(best)]
    for other in others where answer.count < 4 && other.links.count <= TopologyPath.longest {
      if !answer.contains(other) { answer.append(other) }
    }
    return answer
  }
}
