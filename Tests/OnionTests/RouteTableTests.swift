// The table of routes against a model that keeps its places in a dictionary.

import Core
import Crypto
import TestSupport
import Testing

@testable import Onion

/// What the table's opening comment says, without hashing: it asks the table only where a route's places begin.
struct RouteTableModel {
  struct Entry: Equatable {
    var identity: UInt64
    var egress: UInt16
    var lastUsed: UInt64
  }
  var places: [Int: Entry] = [:]
  var capacity = 64
  let limit: Int
  var evicted: UInt64 = 0

  func window(_ home: Int) -> [Int] { (0..<RouteTable.probes).map { (home &+ $0) & (capacity - 1) } }

  mutating func grow(_ home: (UInt64) -> Int) {
    let old = places
    capacity *= 2
    places = [:]
    for place in old.keys.sorted() {
      guard let entry = old[place] else { continue }
      if let free = window(home(entry.identity)).first(where: { places[$0] == nil }) {
        places[free] = entry
      } else {
        evicted += 1
      }
    }
  }

  /// Nothing is idle in these tests. False when the route has no place.
  mutating func insert(_ entry: Entry, home: (UInt64) -> Int) -> Bool {
    let at = home(entry.identity)
    if let known = window(at).first(where: { places[$0]?.identity == entry.identity }) {
      places[known] = entry
      return true
    }
    if places.count * 2 >= capacity, capacity < limit { grow(home) }
    if window(at).allSatisfy({ places[$0] != nil }), capacity < limit { grow(home) }
    if let free = window(at).first(where: { places[$0] == nil }) {
      places[free] = entry
      return true
    }
    func authority(_ entry: Entry) -> UInt64 { entry.identity >> 32 & 15 }
    let counts = Dictionary(grouping: places.values, by: authority).mapValues(\.count)
    let share = limit / 2 / max(counts.count, 1)
    func isGreedy(_ entry: Entry) -> Bool { counts[authority(entry), default: 0] > share }
    let own = window(at).filter { authority(places[$0]!) == authority(entry) }
    let greedy = window(at).filter { isGreedy(places[$0]!) }
    let candidates = isGreedy(entry) ? [own, greedy] : [greedy, own, window(at)]
    guard let crowd = candidates.first(where: { !$0.isEmpty }) else { return false }
    places[crowd.min { places[$0]!.lastUsed < places[$1]!.lastUsed }!] = entry
    evicted += 1
    return true
  }
}

@Suite struct RouteTableTests {
  func same(_ table: borrowing RouteTable, _ model: RouteTableModel) -> Bool {
    guard table.count == model.places.count, table.capacity == model.capacity, table.evicted == model.evicted else {
      return false
    }
    for i in 0..<table.capacity {
      let r = table.record(i).pointee
      if r.identity == 0 {
        if model.places[i] != nil { return false }
      } else if model.places[i] != .init(identity: r.identity, egress: r.egress, lastUsed: r.lastUsed) {
        return false
      }
    }
    return true
  }

  @Test(arguments: [(64, 200), (256, 2_000), (1_024, 400)])
  func `a table does what its model does, up to its limit and beyond`(limit: Int, routes: Int) {
    for seed in UInt64(1)...3 {
      var entropy = seeded(seed)
      var table = RouteTable(limit: limit, seed: entropy.u32())
      var model = RouteTableModel(limit: limit)
      var names: [(UInt32, Int)] = (0..<routes).map { _ in (entropy.u32(), Int(entropy.below(4))) }
      // Small numbers too, and one number under several MAs.
      for i in 0..<20 { names.append((UInt32(i % 5), i / 5)) }
      for step in 0..<3_000 {
        let now = Instant(nanoseconds: UInt64(step) + 1)
        let (route, authority) = names[Int(entropy.below(UInt32(names.count)))]
        let known = model.places.first { $0.value.identity == RouteTable.identity(route, authority) }
        let found = table.find(route: route, authority: authority)
        #expect(found == known?.key, "seed \(seed) step \(step)")
        switch entropy.below(20) {
        case 0 where step % 40 == 0:
          table.removeAll(authority: authority)
          model.places = model.places.filter { Int($0.value.identity >> 32 & 15) != authority }
        case 1...6:
          if let found {
            table.record(found).pointee.lastUsed = now.nanoseconds
            model.places[found]?.lastUsed = now.nanoseconds
          }
        default:
          let egress = entropy.u16()
          let index = table.insert(
            route: route, authority: authority, keyGeneration: 0, size: OnionSize(code: 0), entryKey: Bytes32(),
            macKey: Bytes16(), egressPad: 0, ingress: 1, egress: egress, at: now)
          let hasPlace = model.insert(
            .init(identity: RouteTable.identity(route, authority), egress: egress, lastUsed: now.nanoseconds)
          ) { table.home($0) }
          #expect(table.find(route: route, authority: authority) == index && hasPlace == (index != nil))
          if let index {
            #expect(table.record(index).pointee.route == route && table.record(index).pointee.authority == authority)
          }
        }
        if step % 16 == 0 || step > 2_950 {
          let agrees = same(table, model)
          #expect(agrees, "seed \(seed) step \(step)")
        }
      }
      #expect(table.count <= limit && table.capacity <= limit)
    }
  }

  @Test func `the limit is a power of two of at least 64, and the default costs less than 8 MiB`() {
    for (asked, given) in [(0, 64), (64, 64), (65, 128), (4_096, 4_096)] {
      var entropy = seeded(1)
      var table = RouteTable(limit: asked, seed: 1)
      for _ in 0..<given * 4 { insert(&table, entropy.u32()) }
      #expect(table.capacity == given && table.count <= given)
      #expect(table.count + Int(table.evicted) == given * 4)
    }
    #expect(MemoryLayout<RouteTable.Record>.stride * RouteTable.defaultLimit <= 8 << 20)
    #expect(MemoryLayout<RouteTable.Record>.stride * RouteTable.patientCapacity <= 1 << 20)
  }

  /// A chokepoint before 1,000 components with 3 MAs: two ways, there and back, for each of both.
  @Test func `12,000 routes in use keep their places while others come and go`() {
    var entropy = seeded(7)
    var table = RouteTable(limit: RouteTable.defaultLimit, seed: entropy.u32())
    let live = (0..<12_000).map { (entropy.u32(), $0 % 3) }
    // Ten rounds of 30 s, in each of which every route is used, and 2,000 others are once: laid, and laid anew.
    for round in 0..<10 {
      let now = Instant(nanoseconds: 1 + UInt64(round) * 30_000_000_000)
      for (route, authority) in live {
        if round == 0 {
          insert(&table, route, authority, at: now)
        } else if let index = table.find(route: route, authority: authority) {
          table.record(index).pointee.lastUsed = now.nanoseconds
        }
      }
      for _ in 0..<2_000 { insert(&table, entropy.u32(), Int(entropy.below(3)), at: now) }
    }
    #expect(live.allSatisfy { table.find(route: $0.0, authority: $0.1) != nil })
    // Now and then one that is idle has to go before its time.
    #expect(table.evicted <= 20 && table.forgotten > 10_000)
    #expect(table.capacity == RouteTable.defaultLimit)
  }

  @Test func `one MA's flood of routes displaces none of another's that is in use`() {
    var entropy = seeded(8)
    var table = RouteTable(limit: 4_096, seed: entropy.u32())
    let live = (0..<1_000).map { (entropy.u32(), $0 % 2) }
    for (route, authority) in live { insert(&table, route, authority, at: Instant(nanoseconds: 1)) }
    var churned = 0
    for i in 0..<UInt64(100_000) {
      let now = Instant(nanoseconds: 2 + i * 1_000_000)
      insert(&table, entropy.u32(), 2, at: now)
      // The others' routes are used, and now and then laid anew.
      let (route, authority) = live[Int(entropy.below(1_000))]
      if let index = table.find(route: route, authority: authority) {
        table.record(index).pointee.lastUsed = now.nanoseconds
      }
      if i % 1_000 == 0 {
        churned += 1
        #expect(insert(&table, entropy.u32(), 0, at: now) != nil)
      }
    }
    #expect(live.allSatisfy { table.find(route: $0.0, authority: $0.1) != nil })
    #expect(churned == 100 && table.evicted > 90_000)
  }

  @Test func `a small table forgets nothing for being idle`() {
    var entropy = seeded(9)
    var table = RouteTable(limit: RouteTable.defaultLimit, seed: entropy.u32())
    for i in 0..<UInt64(1_000) { insert(&table, entropy.u32(), 0, at: Instant(nanoseconds: 1 + i * 1_000_000_000)) }
    #expect(table.count == 1_000 && table.forgotten == 0 && table.evicted == 0 && table.capacity == 2_048)
    // In a larger one the idle ones go.
    for i in 0..<UInt64(200) { insert(&table, entropy.u32(), 0, at: Instant(nanoseconds: (2_001 + i) * 1_000_000_000)) }
    #expect(table.forgotten > 900 && table.capacity == 4_096)
  }

  @Test func `routes in sequence and routes a kilo apart fill the table as well as random ones`() {
    for stride in [1, 2, 64, 1_024, 4_096, 1 << 20] as [UInt32] {
      var table = RouteTable(limit: 4_096, seed: 99)
      for i in 0..<UInt32(2_000) { insert(&table, i &* stride) }
      #expect(table.count + Int(table.evicted) == 2_000)
      #expect(table.evicted <= 2, "stride \(stride)")
    }
  }

  @Test func `routes that collide under one seed do not under another`() {
    // 200 numbers that share their first places, found by trying.
    let aimed = RouteTable(limit: 4_096, seed: 1)
    var numbers: [UInt32] = []
    var route: UInt32 = 0
    while numbers.count < 200 {
      if aimed.home(RouteTable.identity(route, 0)) & 4_095 < 8 { numbers.append(route) }
      route += 1
    }
    var hit = RouteTable(limit: 4_096, seed: 1)
    var other = RouteTable(limit: 4_096, seed: 2)
    for number in numbers {
      insert(&hit, number)
      insert(&other, number)
    }
    #expect(hit.evicted > 150 && other.evicted == 0)
  }

  @discardableResult
  private func insert(
    _ table: inout RouteTable, _ route: UInt32, _ authority: Int = 0, at now: Instant = start
  ) -> Int? {
    table.insert(
      route: route, authority: authority, keyGeneration: 0, size: OnionSize(code: 0), entryKey: Bytes32(),
      macKey: Bytes16(), egressPad: 0, ingress: 0, egress: 0, at: now)
  }
}
