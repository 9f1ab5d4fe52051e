// The ways of the detours, their places in the nodes' tables, and their labels.

import Core

extension DetourPlan {
  // MARK: ways and labels

  mutating func compute(_ index: Int, _ links: LinkTable, _ labels: [PathLabel]) {
    guard !detours[index].isFree else { return }
    // What nothing needs, or goes around what is not there, is not mended.
    let (first, second) = (Int(detours[index].firstLink), Int(detours[index].secondLink))
    guard detours[index].references > 0, links.isUsable(first), second < 0 || links.isUsable(second) else {
      if detours[index].isBroken { uninstall(index) }
      return
    }
    let obstacle = obstacle(index)
    let (near, far) = (Int(detours[index].near), Int(detours[index].far))
    guard search.detour(from: near, to: far, around: obstacle, links, labels) else {
      uninstall(index)
      return
    }
    let way = search.found
    let (cost, risks) = (links.cost(of: way), risks(way, obstacle, links))
    let detour = detours[index]
    if !detour.hops.isEmpty {
      if isSame(detour.hops, way, links) {
        detours[index].isBroken = false
        refresh(index, links)
        return
      }
      // What stands and is no worse stays, with its labels.
      if !detour.isBroken, (detour.risks, detour.cost) <= (risks, cost) { return }
      uninstall(index)
    }
    install(index, way, links)
    detours[index].cost = cost
    detours[index].risks = risks
  }

  private mutating func install(_ index: Int, _ way: [Int32], _ links: LinkTable) {
    detours[index].isBroken = false
    detours[index].isRefused = false
    let ends = [Int(detours[index].near), Int(detours[index].far)]
    for (i, arc) in way.enumerated() {
      let node = links.to(Int(arc))
      let steps = i + 1 == way.count ? 1 : 2
      guard makeRoom(node, steps: steps, heads: i + 1 == way.count ? 1 : 0, for: index) else { return refuse(index) }
    }
    guard makeRoom(ends[0], steps: 1, heads: 1, for: index) else { return refuse(index) }
    var hops: [Hop] = []
    hops.reserveCapacity(way.count)
    var before = ends[0]
    for arc in way {
      let node = links.to(Int(arc))
      hops.append(
        Hop(
          arc: arc, node: Int32(truncatingIfNeeded: node), egress: links.arcs[Int(arc)].adjacency,
          ingress: links.arcs[Int(arc) ^ 1].adjacency, label: giveLabel(node), backLabel: giveLabel(before)))
      before = node
    }
    detours[index].hops = hops
    detours[index].frameSize = links.frameSize(of: way)
    enter(index, ends[0], steps: 1, heads: 1)
    for (i, hop) in hops.enumerated() {
      let isLast = i + 1 == hops.count
      enter(index, Int(hop.node), steps: isLast ? 1 : 2, heads: isLast ? 1 : 0)
    }
  }

  private func isSame(_ hops: [Hop], _ way: [Int32], _ links: LinkTable) -> Bool {
    guard hops.count == way.count else { return false }
    for (hop, arc) in zip(hops, way) {
      if hop.arc != arc || Int(hop.node) != links.to(Int(arc)) || hop.egress != links.arcs[Int(arc)].adjacency
        || hop.ingress != links.arcs[Int(arc) ^ 1].adjacency
      {
        return false
      }
    }
    return true
  }

  private mutating func refuse(_ index: Int) {
    detours[index].isRefused = true
    refused &+= 1
  }

  private mutating func enter(_ index: Int, _ node: Int, steps: Int, heads: Int) {
    places[node].detours.append(Int32(truncatingIfNeeded: index))
    places[node].steps += steps
    places[node].heads += heads
    noteChanged(Int32(truncatingIfNeeded: node))
  }

  private mutating func leave(_ index: Int, _ node: Int, steps: Int, heads: Int) {
    let this = Int32(truncatingIfNeeded: index)
    if let place = places[node].detours.firstIndex(of: this) {
      let last = places[node].detours.count - 1
      places[node].detours.swapAt(place, last)
      places[node].detours.removeLast()
    }
    places[node].steps -= steps
    places[node].heads -= heads
    noteChanged(Int32(truncatingIfNeeded: node))
  }

  mutating func uninstall(_ index: Int) {
    let hops = detours[index].hops
    detours[index].hops = []
    detours[index].isBroken = false
    detours[index].cost = 0
    detours[index].risks = 0
    if hops.isEmpty { return }
    leave(index, Int(detours[index].near), steps: 1, heads: 1)
    for (i, hop) in hops.enumerated() {
      let isLast = i + 1 == hops.count
      leave(index, Int(hop.node), steps: isLast ? 1 : 2, heads: isLast ? 1 : 0)
    }
  }

  /// Room in a node's table, if need be where one stood that nothing needs, or, for one around a link, one around a node.
  private mutating func makeRoom(_ node: Int, steps: Int, heads: Int, for index: Int) -> Bool {
    func fits(_ place: Place) -> Bool {
      place.steps + steps <= DetourTable.stepLimit && place.heads + heads <= DetourTable.headLimit
    }
    while !fits(places[node]) {
      let isAroundLink = detours[index].isAroundLink
      var victim = places[node].detours.first { detours[Int($0)].references == 0 }
      if victim == nil, isAroundLink { victim = places[node].detours.last { !detours[Int($0)].isAroundLink } }
      guard let victim else { return false }
      uninstall(Int(victim))
      if detours[Int(victim)].references > 0 { refuse(Int(victim)) }
    }
    return true
  }

  mutating func noteChanged(_ node: Int32) {
    guard !isChanged.contains(Int(node)) else { return }
    isChanged.insert(Int(node))
    changed.append(node)
  }

  /// Every label of a node is given once before one is given again, and none that is in use.
  private mutating func giveLabel(_ node: Int) -> UInt16 {
    labelsGiven &+= 1
    while true {
      places[node].lastLabel &+= 1
      if places[node].lastLabel == 0 {
        places[node].hasTurned = true
        continue
      }
      let label = places[node].lastLabel
      if !places[node].hasTurned || !isInUse(label, node) { return label }
    }
  }

  private func isInUse(_ label: UInt16, _ node: Int) -> Bool {
    for index in places[node].detours {
      let detour = detours[Int(index)]
      var before = Int(detour.near)
      for hop in detour.hops {
        if Int(hop.node) == node && hop.label == label || before == node && hop.backLabel == label { return true }
        before = Int(hop.node)
      }
    }
    return false
  }
}
