// The links that both ends report, as of the last computation, changed in place. A link has a number for as long as it
// stands; its two directions are the arcs 2n and 2n + 1, so that the opposite of an arc is arc ^ 1. The arcs that leave a
// node hang in a list in the order of their adjacency numbers: what a search finds depends on the LSAs alone, never on
// the order they came in.

import Core

/// One direction of a link.
struct Arc {
  /// The node it leads to.
  var to: Int32
  /// The next arc that leaves the same node, -1 at the last.
  var next: Int32
  /// The adjacency number at the node it leaves.
  var adjacency: UInt16
  /// Of the link, bytes.
  var frameSize: UInt16
  /// Of the link, 1 … 65535.
  var cost: UInt16
  /// Not too small, and there.
  var isUsable: Bool
  /// The link is in a risk group.
  var hasRisks: Bool
}

/// The risk groups of a link by their numbers in `RiskRegistry`; -1 for none.
struct LinkRisks: Equatable {
  var nearLocal: Int32 = -1
  var farLocal: Int32 = -1
  var nearNamed: Int32 = -1
  var farNamed: Int32 = -1

  var isEmpty: Bool { nearLocal < 0 && farLocal < 0 && nearNamed < 0 && farNamed < 0 }

  @inline(__always)
  func contains(_ risk: Int32) -> Bool {
    risk >= 0 && (nearLocal == risk || farLocal == risk || nearNamed == risk || farNamed == risk)
  }

  func shares(_ other: LinkRisks) -> Bool {
    contains(other.nearLocal) || contains(other.farLocal) || contains(other.nearNamed) || contains(other.farNamed)
  }

  /// Calls `body` for each.
  @inline(__always)
  func forEach(_ body: (Int) -> Void) {
    if nearLocal >= 0 { body(Int(nearLocal)) }
    if farLocal >= 0 { body(Int(farLocal)) }
    if nearNamed >= 0 { body(Int(nearNamed)) }
    if farNamed >= 0 { body(Int(farNamed)) }
  }
}

/// What fails together: the adjacencies of one node with one group number, or the links with one name.
struct RiskKey: Hashable {
  /// Node index + 1, or 0 for a name.
  var node: UInt32
  var group: UInt64
}

/// Small numbers for risk groups in use.
struct RiskRegistry {
  private var numbers: [RiskKey: Int32] = [:]
  private var keys: [RiskKey] = []
  private var uses: [Int32] = []
  private var free: [Int32] = []

  /// As many as there were at the same time.
  var count: Int { keys.count }

  mutating func take(_ key: RiskKey) -> Int32 {
    guard key.group != 0 else { return -1 }
    if let number = numbers[key] {
      uses[Int(number)] += 1
      return number
    }
    let number: Int32
    if let old = free.popLast() {
      number = old
      keys[Int(old)] = key
      uses[Int(old)] = 1
    } else {
      number = Int32(truncatingIfNeeded: keys.count)
      keys.append(key)
      uses.append(1)
    }
    numbers[key] = number
    return number
  }

  mutating func release(_ number: Int32) {
    guard number >= 0 else { return }
    uses[Int(number)] -= 1
    if uses[Int(number)] == 0 {
      numbers[keys[Int(number)]] = nil
      free.append(number)
    }
  }
}

/// Limits: of `nodeLimit` + 1 nodes with 255 adjacencies each, half as many links, at 56 B: 7 MiB at 1,024 nodes.
struct LinkTable {
  /// Both directions of all links; those of a link that is gone are not usable.
  private(set) var arcs: [Arc] = []
  /// The first arc that leaves each node, -1 for none.
  private(set) var first: [Int32] = []
  /// By link.
  private(set) var risks: [LinkRisks] = []
  private var standing: [Bool] = []
  private var free: [Int32] = []
  private var registry = RiskRegistry()
  /// Of one node, links that are gone but not forgotten: see `hold`.
  private var firstHeld: [Int32] = []
  private var holds: [Int32] = []

  /// Links that stand.
  private(set) var count = 0
  /// Of these, too small to be used.
  private(set) var tooSmall = 0

  /// Ends of links that came, went or changed since this was cleared; some several times.
  private(set) var dirtyNodes: [Int32] = []
  private(set) var journal = LinkJournal()

  var linkSlots: Int { risks.count }
  var riskSlots: Int { registry.count }

  @inline(__always)
  func from(_ arc: Int) -> Int { Int(arcs[arc ^ 1].to) }
  @inline(__always)
  func to(_ arc: Int) -> Int { Int(arcs[arc].to) }
  func isStanding(_ link: Int) -> Bool { standing[link] }
  func isUsable(_ link: Int) -> Bool { arcs[2 * link].isUsable }

  mutating func grow(nodes: Int) {
    while first.count < nodes {
      first.append(-1)
      firstHeld.append(-1)
    }
  }

  mutating func clearDirtyNodes() { dirtyNodes.removeAll(keepingCapacity: true) }
  mutating func clearJournal() { journal.clear() }

  // MARK: links

  mutating func add(
    _ near: Int, _ nearReport: LinkStateAdvertisement.Adjacency, _ far: Int,
    _ farReport: LinkStateAdvertisement.Adjacency, smallest: UInt16
  ) {
    let link: Int
    if let held = takeHeld(near, nearReport.number, far, farReport.number) {
      link = held
    } else if let old = free.popLast() {
      link = Int(old)
    } else {
      link = risks.count
      risks.append(LinkRisks())
      standing.append(false)
      holds.append(0)
      let none = Arc(to: -1, next: -1, adjacency: 0, frameSize: 0, cost: 1, isUsable: false, hasRisks: false)
      arcs.append(none)
      arcs.append(none)
    }
    // A held link that comes back keeps its direction.
    let forward = holds[link] > 0 && arcs[2 * link].to == Int32(truncatingIfNeeded: near) ? 2 * link + 1 : 2 * link
    arcs[forward].to = Int32(truncatingIfNeeded: far)
    arcs[forward].adjacency = nearReport.number
    arcs[forward ^ 1].to = Int32(truncatingIfNeeded: near)
    arcs[forward ^ 1].adjacency = farReport.number
    standing[link] = true
    count += 1
    tooSmall += 1
    hang(forward, at: near)
    hang(forward ^ 1, at: far)
    supersedeHeld(near, nearReport.number)
    supersedeHeld(far, farReport.number)
    set(forward, nearReport, farReport, smallest: smallest)
  }

  /// Takes over what both ends report now of the link of `arc`.
  mutating func update(
    _ arc: Int, _ nearReport: LinkStateAdvertisement.Adjacency, _ farReport: LinkStateAdvertisement.Adjacency,
    smallest: UInt16
  ) {
    set(arc, nearReport, farReport, smallest: smallest)
  }

  mutating func remove(_ link: Int) {
    guard standing[link] else { return }
    let (a, b) = (2 * link, 2 * link + 1)
    note(link)
    if arcs[a].isUsable { journal.dead.insert(link) } else { tooSmall -= 1 }
    count -= 1
    unhang(a, at: from(a))
    unhang(b, at: from(b))
    setUsable(link, false)
    release(risks[link])
    risks[link] = LinkRisks()
    arcs[a].hasRisks = false
    arcs[b].hasRisks = false
    standing[link] = false
    if holds[link] > 0 {
      hangHeld(a)
      hangHeld(b)
      if isTaken(from(a), arcs[a].adjacency) || isTaken(from(b), arcs[b].adjacency) { journal.superseded.insert(link) }
    } else {
      free.append(Int32(truncatingIfNeeded: link))
    }
  }

  /// The smallest useful frame size is another.
  mutating func setSmallest(_ smallest: UInt16) {
    for link in risks.indices where standing[link] {
      let isUsable = arcs[2 * link].frameSize >= smallest
      if isUsable == arcs[2 * link].isUsable { continue }
      note(link)
      change(link, isUsable)
    }
  }

  // MARK: held links

  /// Keeps the number of a link for when the same link (same nodes, same adjacency numbers) comes back.
  mutating func hold(_ link: Int) { holds[link] += 1 }

  mutating func letGo(_ link: Int) {
    holds[link] -= 1
    guard holds[link] == 0, !standing[link] else { return }
    unhangHeld(2 * link)
    unhangHeld(2 * link + 1)
    free.append(Int32(truncatingIfNeeded: link))
  }

  private mutating func takeHeld(_ near: Int, _ nearNumber: UInt16, _ far: Int, _ farNumber: UInt16) -> Int? {
    var arc = Int(firstHeld[near])
    while arc >= 0 {
      if arcs[arc].adjacency == nearNumber, to(arc) == far, arcs[arc ^ 1].adjacency == farNumber {
        unhangHeld(arc)
        unhangHeld(arc ^ 1)
        return arc >> 1
      }
      arc = Int(arcs[arc].next)
    }
    return nil
  }

  /// A held link whose number at one end stands for another link now.
  private mutating func supersedeHeld(_ node: Int, _ number: UInt16) {
    var arc = Int(firstHeld[node])
    while arc >= 0 {
      if arcs[arc].adjacency == number { journal.superseded.insert(arc >> 1) }
      arc = Int(arcs[arc].next)
    }
  }

  private func isTaken(_ node: Int, _ number: UInt16) -> Bool {
    var arc = Int(first[node])
    while arc >= 0, arcs[arc].adjacency <= number {
      if arcs[arc].adjacency == number { return true }
      arc = Int(arcs[arc].next)
    }
    return false
  }

  private mutating func hangHeld(_ arc: Int) {
    let node = from(arc)
    arcs[arc].next = firstHeld[node]
    firstHeld[node] = Int32(truncatingIfNeeded: arc)
  }

  private mutating func unhangHeld(_ arc: Int) {
    let node = from(arc)
    if firstHeld[node] == Int32(truncatingIfNeeded: arc) {
      firstHeld[node] = arcs[arc].next
      return
    }
    var before = Int(firstHeld[node])
    while before >= 0 {
      if arcs[before].next == Int32(truncatingIfNeeded: arc) {
        arcs[before].next = arcs[arc].next
        return
      }
      before = Int(arcs[before].next)
    }
  }

  // MARK: inside

  private mutating func note(_ link: Int) {
    dirtyNodes.append(arcs[2 * link].to)
    dirtyNodes.append(arcs[2 * link + 1].to)
  }

  private mutating func setUsable(_ link: Int, _ isUsable: Bool) {
    arcs[2 * link].isUsable = isUsable
    arcs[2 * link + 1].isUsable = isUsable
  }

  private mutating func change(_ link: Int, _ isUsable: Bool) {
    setUsable(link, isUsable)
    if isUsable {
      tooSmall -= 1
      journal.improved(link)
    } else {
      tooSmall += 1
      journal.dead.insert(link)
    }
  }

  private mutating func set(
    _ arc: Int, _ near: LinkStateAdvertisement.Adjacency, _ far: LinkStateAdvertisement.Adjacency, smallest: UInt16
  ) {
    let link = arc >> 1
    let cost = max(near.cost, far.cost, 1)
    let frameSize = min(near.frameSize, far.frameSize)
    let held = arcs[arc]
    let taken = takeRisks(from(arc), near, to(arc), far)
    let isUsable = frameSize >= smallest
    if isUsable == held.isUsable, cost == held.cost, frameSize == held.frameSize, taken == risks[link] {
      release(taken)
      return
    }
    note(link)
    if held.isUsable {
      journal.changed.insert(link)
      if cost < held.cost || taken != risks[link] || frameSize > held.frameSize { journal.improved(link) }
    }
    for i in 0..<2 {
      arcs[arc ^ i].cost = cost
      arcs[arc ^ i].frameSize = frameSize
      arcs[arc ^ i].hasRisks = !taken.isEmpty
    }
    release(risks[link])
    risks[link] = taken
    if isUsable != held.isUsable { change(link, isUsable) }
  }

  private mutating func takeRisks(
    _ near: Int, _ nearReport: LinkStateAdvertisement.Adjacency, _ far: Int,
    _ farReport: LinkStateAdvertisement.Adjacency
  ) -> LinkRisks {
    var taken = LinkRisks()
    taken.nearLocal = registry.take(
      RiskKey(node: UInt32(truncatingIfNeeded: near) &+ 1, group: UInt64(nearReport.riskGroup)))
    taken.farLocal = registry.take(
      RiskKey(node: UInt32(truncatingIfNeeded: far) &+ 1, group: UInt64(farReport.riskGroup)))
    taken.nearNamed = registry.take(RiskKey(node: 0, group: nearReport.label.riskGroupNumber))
    taken.farNamed = registry.take(RiskKey(node: 0, group: farReport.label.riskGroupNumber))
    return taken
  }

  private mutating func release(_ taken: LinkRisks) {
    registry.release(taken.nearLocal)
    registry.release(taken.farLocal)
    registry.release(taken.nearNamed)
    registry.release(taken.farNamed)
  }

  private mutating func hang(_ arc: Int, at node: Int) {
    let number = arcs[arc].adjacency
    var before = -1
    var after = first[node]
    while after >= 0, arcs[Int(after)].adjacency < number {
      before = Int(after)
      after = arcs[Int(after)].next
    }
    arcs[arc].next = after
    if before < 0 {
      first[node] = Int32(truncatingIfNeeded: arc)
    } else {
      arcs[before].next = Int32(truncatingIfNeeded: arc)
    }
  }

  private mutating func unhang(_ arc: Int, at node: Int) {
    if first[node] == Int32(truncatingIfNeeded: arc) {
      first[node] = arcs[arc].next
      return
    }
    var before = Int(first[node])
    while before >= 0 {
      if arcs[before].next == Int32(truncatingIfNeeded: arc) {
        arcs[before].next = arcs[arc].next
        return
      }
      before = Int(arcs[before].next)
    }
  }
}

/// What happened to links since somebody last looked. A number in `dead` may stand for another link by then: who holds
/// it from before the look holds the one that is gone.
struct LinkJournal {
  /// Gone, or too small now.
  var dead = BitSet()
  /// Cost, frame size or risk groups are others.
  var changed = BitSet()
  /// Gone, and the number at one end stands for another link now.
  var superseded = BitSet()
  /// New, or better in something. Past the limit everything counts as improved.
  private(set) var better: [Int32] = []
  private(set) var isOverflowing = false

  static let limit = 16

  mutating func improved(_ link: Int) {
    guard better.count < LinkJournal.limit else {
      isOverflowing = true
      return
    }
    better.append(Int32(truncatingIfNeeded: link))
  }

  /// Adds what happened later.
  mutating func append(_ later: LinkJournal) {
    dead.formUnion(later.dead)
    changed.formUnion(later.changed)
    superseded.formUnion(later.superseded)
    for link in later.better { improved(Int(link)) }
    if later.isOverflowing { isOverflowing = true }
  }

  var isEmpty: Bool { dead.isEmpty && changed.isEmpty && superseded.isEmpty && better.isEmpty && !isOverflowing }

  mutating func clear() {
    dead.removeAll()
    changed.removeAll()
    superseded.removeAll()
    better.removeAll(keepingCapacity: true)
    isOverflowing = false
  }
}
