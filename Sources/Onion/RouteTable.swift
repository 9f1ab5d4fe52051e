// The routes a hop has seen authentic frames of: keys ready for use, and a replay window each.
//
// Open addressing over a power of two. An honest MA's R are a counter behind a bijection, scattered as if at random
// (decision 0003); a secret seed keeps one that is not honest from aiming its routes at another's places. Records are
// raw memory, so that the packet path touches neither reference counts nor copies. A small table keeps every route; a
// large one first forgets those that are idle, and grows only for routes in use. At the limit an MA with more than its
// share of the table gives way, to others as to itself: so routes in use are not displaced by a flood. With a route goes
// its replay window, which an insider on the same link could use to repeat the route's frames once (counted).

import Core

public struct RouteTable: ~Copyable {
  struct Record {
    /// Route and MA, or 0 in a free place.
    fileprivate(set) var identity: UInt64 = 0
    /// Which of the keys shared with the MA the route was laid under.
    var keyGeneration: UInt16 = 0
    var sizeCode: UInt8 = 0
    /// Streams the relay holds ready: those of counters `streamStart ..< streamStart + streamCount`.
    var streamCount: UInt8 = 0
    var streamStart: UInt32 = 0
    var ingress: UInt16 = 0
    var egress: UInt16 = 0
    var egressPad: UInt16 = 0
    var entryKey = Bytes32()
    var macKey = Bytes16()
    var lastUsed: UInt64 = 0
    /// When the source may be told again that the route is broken.
    var tellAfter: UInt64 = 0
    var window = ReplayWindow<17>()

    var route: UInt32 { UInt32(truncatingIfNeeded: identity) }
    var authority: Int { Int(truncatingIfNeeded: identity >> 32 & 15) }
  }

  /// 32,768 records × 240 B = 7.5 MiB at the most; half of it is filled before the table grows. A chokepoint of 1,000
  /// components and 3 MAs has 12,000 routes in use (docs/decisions/0058).
  public static let defaultLimit = 32_768
  /// In a smaller table than this, which holds up to 1,024 routes (half of 480 KiB), nothing is forgotten for being idle.
  static let patientCapacity = 4_096
  /// Routes in use are used within this time: every way that carries anything has an LSA and its answer in 30 s.
  static let idleTime = Duration.seconds(60)
  /// Places looked at for idle routes with each route that comes: all of them many times while the table fills.
  static let looksAtOnce = 32
  /// Places a route may stand in: with 16 one in 400 finds none in a table half full, with 32 one in 10,000.
  static let probes = 32
  static let firstCapacity = 64

  private let limit: Int
  private let seed: UInt32
  private(set) var capacity: Int
  private var records: UnsafeMutablePointer<Record>
  public private(set) var count = 0
  /// Of `count`, by MA.
  private var counts = InlineArray<16, Int>(repeating: 0)
  /// Routes that had to go for others.
  public private(set) var evicted: UInt64 = 0
  /// Routes that went because they were idle.
  public private(set) var forgotten: UInt64 = 0
  private var nextLook = 0

  /// `limit` is rounded up to a power of two, at least 64. `seed` is secret and random.
  public init(limit: Int, seed: UInt32) {
    var rounded = RouteTable.firstCapacity
    while rounded < limit { rounded *= 2 }
    self.limit = rounded
    self.seed = seed
    capacity = RouteTable.firstCapacity
    records = .allocate(capacity: capacity)
    records.initialize(repeating: Record(), count: capacity)
  }

  deinit { records.deallocate() }

  @inline(__always)
  static func identity(_ route: UInt32, _ authority: Int) -> UInt64 {
    1 << 63 | UInt64(truncatingIfNeeded: authority & 15) << 32 | UInt64(route)
  }

  /// The first place of a route; the others follow it.
  @inline(__always)
  func home(_ identity: UInt64) -> Int {
    var x = UInt32(truncatingIfNeeded: identity) ^ seed
    x = (x ^ x >> 16) &* 0x7feb_352d &+ UInt32(truncatingIfNeeded: identity >> 32) &* 0x9e37_79b1
    x = (x ^ x >> 15) &* 0x846c_a68b
    return Int(truncatingIfNeeded: x ^ x >> 16)
  }

  @inline(__always)
  private func place(_ home: Int, _ step: Int) -> Int { (home &+ step) & (capacity &- 1) }

  /// The record of a place that `find` or `insert` gave; good until the next insertion.
  @inline(__always)
  func record(_ index: Int) -> UnsafeMutablePointer<Record> { records + index }

  @inline(__always)
  func find(route: UInt32, authority: Int) -> Int? {
    let identity = RouteTable.identity(route, authority)
    let home = home(identity)
    var step = 0
    while step < RouteTable.probes {
      let i = place(home, step)
      if records[i].identity == identity { return i }
      step &+= 1
    }
    return nil
  }

  /// Makes the record of a route, in the place of an older one of the same name if there is one. Nil when its MA has more
  /// than its share and all places are in use by others.
  mutating func insert(
    route: UInt32, authority: Int, keyGeneration: UInt16, size: OnionSize, entryKey: Bytes32, macKey: Bytes16,
    egressPad: UInt16, ingress: UInt16, egress: UInt16, at now: Instant
  ) -> Int? {
    let identity = RouteTable.identity(route, authority)
    let index: Int
    if let existing = find(route: route, authority: authority) {
      index = existing
    } else {
      guard let place = takePlace(identity, at: now) else { return nil }
      index = place
      count += 1
      counts[authority & 15] += 1
    }
    records[index] = Record(
      identity: identity, keyGeneration: keyGeneration, sizeCode: size.code, ingress: ingress, egress: egress,
      egressPad: egressPad, entryKey: entryKey, macKey: macKey, lastUsed: now.nanoseconds)
    return index
  }

  /// A free place, if need be in a larger table or by giving up another route.
  private mutating func takePlace(_ identity: UInt64, at now: Instant) -> Int? {
    forgetIdle(at: now)
    if count * 2 >= capacity, capacity < limit { grow() }
    if let free = freePlace(identity) { return free }
    if capacity < limit {
      grow()
      if let free = freePlace(identity) { return free }
    }
    guard let index = placeToClear(identity, at: now) else { return nil }
    clear(index)
    evicted &+= 1
    return index
  }

  private mutating func clear(_ index: Int) {
    counts[records[index].authority] -= 1
    count -= 1
    records[index] = Record()
  }

  /// In a table that is large already, some of the routes that nobody has used for a while: all places have their turn
  /// before it is half full again.
  private mutating func forgetIdle(at now: Instant) {
    guard capacity >= RouteTable.patientCapacity else { return }
    for _ in 0..<RouteTable.looksAtOnce {
      if records[nextLook].identity != 0, isIdle(nextLook, at: now) {
        clear(nextLook)
        forgotten &+= 1
      }
      nextLook = (nextLook + 1) & (capacity - 1)
    }
  }

  private func isIdle(_ index: Int, at now: Instant) -> Bool {
    records[index].lastUsed &+ UInt64(RouteTable.idleTime.nanoseconds) < now.nanoseconds
  }

  private func freePlace(_ identity: UInt64) -> Int? {
    let home = home(identity)
    for step in 0..<RouteTable.probes where records[place(home, step)].identity == 0 { return place(home, step) }
    return nil
  }

  /// Routes that one MA may have at the limit before it gives way to others: half the table, divided by the MAs in it.
  private var share: Int {
    var present = 0
    for i in counts.indices where counts[i] > 0 { present += 1 }
    return limit / 2 / max(present, 1)
  }

  /// Among the places of a route the least recently used one of an MA above its share (its own first, if that is above
  /// its share), else of its own MA, else of all; for an MA above its share only an idle one.
  private func placeToClear(_ identity: UInt64, at now: Instant) -> Int? {
    let (home, share) = (home(identity), share)
    let own = Int(truncatingIfNeeded: identity >> 32 & 15)
    let isGreedy = counts[own] > share
    var oldest = place(home, 0)
    var ownOldest: Int?
    var greedyOldest: Int?
    for step in 0..<RouteTable.probes {
      let i = place(home, step)
      if records[i].lastUsed < records[oldest].lastUsed { oldest = i }
      if records[i].authority == own, records[i].lastUsed < ownOldest.map({ records[$0].lastUsed }) ?? .max {
        ownOldest = i
      }
      if counts[records[i].authority] > share,
        records[i].lastUsed < greedyOldest.map({ records[$0].lastUsed }) ?? .max
      {
        greedyOldest = i
      }
    }
    if isGreedy { return ownOldest ?? greedyOldest ?? (isIdle(oldest, at: now) ? oldest : nil) }
    return greedyOldest ?? ownOldest ?? oldest
  }

  /// Doubles the table; records that find no place in the larger one either are dropped and counted.
  private mutating func grow() {
    let old = records
    let oldCapacity = capacity
    capacity *= 2
    records = .allocate(capacity: capacity)
    records.initialize(repeating: Record(), count: capacity)
    count = 0
    counts = InlineArray(repeating: 0)
    for i in 0..<oldCapacity where old[i].identity != 0 {
      if let place = freePlace(old[i].identity) {
        records[place] = old[i]
        records[place].streamCount = 0
        count += 1
        counts[old[i].authority] += 1
      } else {
        evicted &+= 1
      }
    }
    old.deallocate()
  }

  func forEach(_ body: (borrowing Record) -> Void) {
    for i in 0..<capacity where records[i].identity != 0 { body(records[i]) }
  }

  /// Forgets an MA's routes; with a generation only those under older keys than that one and the one that follows it.
  mutating func removeAll(authority: Int, olderThan generation: UInt16? = nil) {
    for i in 0..<capacity where records[i].identity != 0 && records[i].authority == authority & 15 {
      if let generation, records[i].keyGeneration &- generation <= 1 { continue }
      clear(i)
    }
  }
}
