// The routes a hop has seen authentic frames of: keys ready for use, and a replay window each.
//
// Open addressing over a power of two, keyed by R, which is random already. Records are raw memory, so that the packet
// path touches neither reference counts nor copies. At the limit the least recently used of eight neighbours in the
// table goes; its replay window goes with it, which an insider on the same link could use once a frame (counted).

import Core

public struct RouteTable: ~Copyable {
  struct Record {
    var route: UInt32 = 0
    var authority: UInt8 = 0
    var inUse = false
    var ingress: UInt16 = 0
    var egress: UInt16 = 0
    var egressPad: UInt16 = 0
    var entryKey = Bytes32()
    var macKey = Bytes16()
    var lastUsed: UInt64 = 0
    var window = ReplayWindow<17>()
  }

  /// 4,096 records × 232 B = 928 KiB at the most; half of it is filled before the table grows.
  public static let defaultLimit = 4_096

  private let limit: Int
  private var capacity: Int
  private var records: UnsafeMutablePointer<Record>
  public private(set) var count = 0
  public private(set) var evicted: UInt64 = 0

  public init(limit: Int) {
    var rounded = 64
    while rounded < limit { rounded *= 2 }
    self.limit = rounded
    capacity = 64
    records = .allocate(capacity: capacity)
    records.initialize(repeating: Record(), count: capacity)
  }

  deinit { records.deallocate() }

  /// Records a search looks at before it gives up.
  private static let probes = 8

  private func slot(_ route: UInt32, _ authority: Int, _ step: Int) -> Int {
    Int(truncatingIfNeeded: (route &* 0x9e37_79b1) >> 7) &+ authority &+ step & (capacity - 1)
  }

  func find(route: UInt32, authority: Int) -> Int? {
    for step in 0..<RouteTable.probes {
      let i = slot(route, authority, step)
      if records[i].inUse, records[i].route == route, records[i].authority == UInt8(authority) { return i }
    }
    return nil
  }

  mutating func insert(
    route: UInt32, authority: Int, entryKey: Bytes32, macKey: Bytes16, egressPad: UInt16, ingress: UInt16,
    egress: UInt16, at now: Instant
  ) -> Int {
    if count * 2 >= capacity, capacity < limit { grow() }
    var chosen = freeSlot(route, authority)
    if chosen == nil, capacity < limit {
      grow()
      chosen = freeSlot(route, authority)
    }
    let index: Int
    if let chosen {
      index = chosen
      count += 1
    } else {
      index = oldestSlot(route, authority)
      evicted &+= 1
    }
    records[index] = Record(
      route: route, authority: UInt8(authority), inUse: true, ingress: ingress, egress: egress, egressPad: egressPad,
      entryKey: entryKey, macKey: macKey, lastUsed: now.nanoseconds, window: ReplayWindow<17>())
    return index
  }

  private func freeSlot(_ route: UInt32, _ authority: Int) -> Int? {
    for step in 0..<RouteTable.probes {
      let i = slot(route, authority, step)
      if !records[i].inUse { return i }
    }
    return nil
  }

  private func oldestSlot(_ route: UInt32, _ authority: Int) -> Int {
    var best = slot(route, authority, 0)
    for step in 1..<RouteTable.probes {
      let i = slot(route, authority, step)
      if records[i].lastUsed < records[best].lastUsed { best = i }
    }
    return best
  }

  /// Doubles the table; records that find no place in the larger one either are dropped and counted.
  private mutating func grow() {
    let old = records
    let oldCapacity = capacity
    capacity *= 2
    records = .allocate(capacity: capacity)
    records.initialize(repeating: Record(), count: capacity)
    count = 0
    for i in 0..<oldCapacity where old[i].inUse {
      if let place = freeSlot(old[i].route, Int(old[i].authority)) {
        records[place] = old[i]
        count += 1
      } else {
        evicted &+= 1
      }
    }
    old.deallocate()
  }

  mutating func removeAll(authority: Int) {
    for i in 0..<capacity where records[i].inUse && records[i].authority == UInt8(authority) {
      records[i] = Record()
      count -= 1
    }
  }

  func entryKey(_ i: Int) -> Bytes32 { records[i].entryKey }
  func macKey(_ i: Int) -> Bytes16 { records[i].macKey }
  func egressPad(_ i: Int) -> UInt16 { records[i].egressPad }
  func ingress(_ i: Int) -> UInt16 { records[i].ingress }
  func egress(_ i: Int) -> UInt16 { records[i].egress }

  /// False when the counter was seen, or is older than the window.
  mutating func accept(_ i: Int, counter: UInt32, at now: Instant) -> Bool {
    records[i].lastUsed = now.nanoseconds
    return records[i].window.accept(UInt64(counter))
  }
}
