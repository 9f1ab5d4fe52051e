import Core
import Crypto
import TestSupport
import Testing

@testable import Beacon

@Suite struct BeaconReceivingTests {
  let first = Authority(1)
  let second = Authority(2)

  @Test func `a newer beacon is passed on unchanged and its adjacency remembered for the last four (section 3)`() {
    var engine = BeaconEngine([first, second])
    #expect(engine.isSilent(authority: 1, at: milliseconds(0)))
    let content = second.beacon(7, 1, epoch: 3, sizeCode: 2)
    engine.take(content, 5, at: milliseconds(0))
    var out = engine.drain()
    #expect(out.order == "fnb")
    #expect(out.flooded.first?.content == content && out.flooded.first?.except == 5)
    #expect(out.newest.first! == (authority: 1, boot: 7, counter: 1, adjacency: 5, epoch: 3, sizeCode: 2))
    #expect(out.newBoots == [1])
    #expect(
      engine.newest(authority: 1) == NewestBeacon(boot: 7, counter: 1, epoch: 3, sizeCode: 2, reached: 0, adjacency: 5))
    #expect(engine.newest(authority: 0) == nil && engine.newest(authority: 2) == nil)
    for counter in 2...6 as ClosedRange<UInt32> {
      engine.take(second.beacon(7, counter), UInt16(counter) + 10, at: milliseconds(Int64(counter)))
    }
    out = engine.drain()
    #expect(out.order == "fnfnfnfnfn")
    #expect(engine.treeAdjacency(authority: 1, boot: 7, counter: 6) == 16)
    #expect(engine.treeAdjacency(authority: 1, boot: 7, counter: 3) == 13)
    #expect(engine.treeAdjacency(authority: 1, boot: 7, counter: 2) == nil)
    #expect(engine.treeAdjacency(authority: 1, boot: 6, counter: 6) == nil)
    #expect(engine.treeAdjacency(authority: 0, boot: 7, counter: 6) == nil)
    #expect(engine.treeAdjacency(authority: 9, boot: 7, counter: 6) == nil)
    #expect(engine.lastHeard(authority: 1) == milliseconds(6))
    #expect(!engine.isSilent(authority: 1, at: milliseconds(3505)))
    #expect(engine.isSilent(authority: 1, at: milliseconds(3506)))
    // A higher boot is newer whatever the counter.
    engine.take(second.beacon(8, 1), 2, at: milliseconds(10))
    #expect(engine.drain().newBoots == [1])
  }

  @Test func `copies cost no signature check, other bytes under the same number are refused`() {
    var engine = BeaconEngine([first])
    engine.take(first.beacon(1, 5), 1, at: milliseconds(0))
    _ = engine.drain()
    for round in 0..<2000 { engine.take(first.beacon(1, 5), UInt16(round % 9), at: milliseconds(1)) }
    #expect(engine.counters.duplicates == 2000 && engine.counters.refusedBudget == 0)
    engine.take(first.beacon(1, 5, epoch: 9), 3, at: milliseconds(1))
    #expect(engine.counters.refusedConflicting == 1)
    #expect(engine.drain().isEmpty)
    #expect(engine.treeAdjacency(authority: 0, boot: 1, counter: 5) == 1)
  }

  @Test func `forged, foreign and unknown beacons change nothing and are counted`() {
    var engine = BeaconEngine([first])
    engine.take(first.forged(1, 1), 1, at: milliseconds(0))
    engine.take(first.beacon(1, 1, network: bytes16(Array(repeating: 1, count: 16))), 1, at: milliseconds(0))
    engine.take(second.beacon(1, 1), 1, at: milliseconds(0))
    engine.take([1, 2, 3], 1, at: milliseconds(0))
    #expect(engine.drain().isEmpty)
    #expect(engine.newest(authority: 0) == nil && engine.lastHeard(authority: 0) == nil)
    let counters = engine.counters
    #expect(counters.refusedSignature == 2 && counters.refusedUnknownAuthority == 1 && counters.refusedMalformed == 1)
  }

  @Test func `an old beacon from a neighbour is answered with the newest, five a second at most; a stranger's is not`()
  {
    var engine = BeaconEngine([first])
    let newest = first.beacon(4, 9)
    engine.take(newest, 1, at: milliseconds(0))
    _ = engine.drain()
    let old = first.beacon(4, 8)
    engine.take(old, 2, at: milliseconds(0))
    let out = engine.drain()
    #expect(out.order == "s" && out.sent.first?.content == newest && out.sent.first?.adjacency == 2)
    engine.take(old, 3, authenticated: false, at: milliseconds(0))
    #expect(engine.drain().isEmpty)
    var times: [Int64] = []
    for now in 1...10_000 as ClosedRange<Int64> {
      engine.take(old, 2, at: milliseconds(now))
      for _ in engine.drain().sent { times.append(now) }
    }
    for (i, time) in times.enumerated() where i >= 5 { #expect(time - times[i - 5] >= 1000) }
    #expect(times.count >= 29)
    // Another adjacency has answers of its own.
    engine.take(old, 4, at: milliseconds(10_000))
    #expect(engine.drain().sent.count == 1)
  }

  @Test func `a stranger's garbage costs at most 32 and then 64 signature checks a second, and other ports nothing`() {
    var engine = BeaconEngine([first])
    let garbage = first.forged(9, 9)
    for now in 0..<2000 as Range<Int64> {
      for _ in 0..<3 { engine.take(garbage, 1, authenticated: false, at: milliseconds(now)) }
    }
    #expect(engine.counters.refusedSignature == 32 + 127)
    #expect(engine.counters.refusedBudget == 6000 - 32 - 127)
    engine.take(first.beacon(1, 1), 2, authenticated: false, at: milliseconds(2000))
    #expect(engine.drain().order == "fnb")
  }

  @Test func `all strangers together cost at most 128 and then 512 checks a second, and neighbours nothing`() {
    var engine = BeaconEngine([first])
    let garbage = first.forged(9, 9)
    for now in 0..<1000 as Range<Int64> {
      for adjacency in 1...20 as ClosedRange<UInt16> {
        engine.take(garbage, adjacency, authenticated: false, at: milliseconds(now))
      }
    }
    #expect(engine.counters.refusedSignature <= 128 + 512)
    #expect(engine.counters.refusedSignature > 500)
    engine.take(first.beacon(1, 1), 30, at: milliseconds(999))
    #expect(engine.counters.accepted == 1)
  }

  @Test func `a neighbour that forges loses its budget and not that of the others`() {
    var engine = BeaconEngine([first])
    let garbage = first.forged(9, 9)
    var accepted: UInt32 = 0
    for now in 0..<4000 as Range<Int64> {
      for adjacency in 1...8 as ClosedRange<UInt16> { engine.take(garbage, adjacency, at: milliseconds(now)) }
      if now % 100 == 0 {
        accepted += 1
        engine.take(first.beacon(1, accepted), 20, at: milliseconds(now))
      }
    }
    #expect(engine.counters.accepted == UInt64(accepted))
    // Eight neighbours, four at once and eight a second each.
    #expect(engine.counters.refusedSignature <= 8 * (4 + 8 * 4 + 1))
  }

  @Test func `all neighbours together cost at most 128 and then 512 checks a second`() {
    let authorities = (1...16).map { Authority($0) }
    var engine = BeaconEngine(authorities)
    var counter: UInt32 = 0
    // 60 neighbours, each authentic beacon newer than the last: what 16 authorities gone wild could do together.
    for now in stride(from: 0, to: 1000, by: 10) as StrideTo<Int64> {
      counter += 1
      for (index, authority) in authorities.enumerated() {
        engine.take(authority.beacon(1, counter), UInt16(index * 3 + 1), at: milliseconds(now))
        _ = engine.drain()
      }
    }
    #expect(engine.counters.accepted <= 128 + 512)
    #expect(engine.counters.accepted > 500)
    #expect(engine.counters.refusedBudget + engine.counters.refusedPace + engine.counters.accepted == 1600)
  }

  @Test func `an authority that floods is held to its pace, and another's beacons still pass`() {
    var engine = BeaconEngine([first, second])
    var counter: UInt32 = 0
    for now in 0..<1000 as Range<Int64> {
      counter += 1
      engine.take(first.beacon(1, counter), UInt16(1 + now % 8), at: milliseconds(now))
      if now % 20 == 0 { engine.take(second.beacon(1, UInt32(now) + 1), 9, at: milliseconds(now)) }
      _ = engine.drain()
    }
    #expect(engine.newest(authority: 1)?.counter == 981)
    #expect(engine.counters.accepted <= 32 + 64 + 50)
    #expect(engine.counters.refusedPace > 800)
  }

  @Test func `a stranger's beacon waits half a second for a neighbour to bring it`() {
    var engine = BeaconEngine([first])
    engine.adjacencyUp(1, at: milliseconds(0))
    #expect(engine.drain().isEmpty)
    // The stranger is faster; the neighbour's copy counts.
    engine.take(first.beacon(1, 1), 7, authenticated: false, at: milliseconds(0))
    #expect(engine.drain().isEmpty && engine.newest(authority: 0) == nil)
    #expect(engine.nextDeadline == milliseconds(500))
    engine.take(first.beacon(1, 1), 1, at: milliseconds(300))
    #expect(engine.drain().newest.first?.adjacency == 1)
    #expect(engine.nextDeadline == nil)
    engine.timeout(at: milliseconds(600))
    #expect(engine.drain().isEmpty)
    // Nobody else brings it: it counts after all, the newest of those held.
    engine.take(first.beacon(1, 2), 7, authenticated: false, at: milliseconds(1000))
    engine.take(first.beacon(1, 3), 8, authenticated: false, at: milliseconds(1100))
    engine.take(first.beacon(1, 3), 9, authenticated: false, at: milliseconds(1200))
    engine.timeout(at: milliseconds(1499))
    #expect(engine.drain().isEmpty)
    engine.timeout(at: milliseconds(1500))
    let out = engine.drain()
    #expect(out.order == "fn" && out.newest.first?.counter == 3 && out.newest.first?.adjacency == 8)
    #expect(out.flooded.first?.content == first.beacon(1, 3))
    #expect(engine.counters.acceptedLate == 1)
    // Without an authenticated adjacency there is nothing to wait for.
    engine.adjacencyDown(1)
    engine.take(first.beacon(1, 4), 7, authenticated: false, at: milliseconds(2000))
    #expect(engine.drain().order == "fn")
  }

  @Test func `a stranger's garbage does not push out what is held, and a stranger that goes takes it along`() {
    var engine = BeaconEngine([first])
    engine.adjacencyUp(1, at: milliseconds(0))
    engine.take(first.beacon(1, 1), 7, authenticated: false, at: milliseconds(0))
    engine.take(first.forged(5, 5), 7, authenticated: false, at: milliseconds(1))
    engine.timeout(at: milliseconds(500))
    #expect(engine.drain().newest.first?.counter == 1)
    engine.take(first.beacon(1, 2), 7, authenticated: false, at: milliseconds(1000))
    engine.adjacencyDown(7)
    engine.timeout(at: milliseconds(2000))
    #expect(engine.drain().isEmpty && engine.newest(authority: 0)?.counter == 1)
  }

  @Test func `an adjacency that comes up gets each authority's newest; one that goes leaves the tree`() {
    var engine = BeaconEngine([first, second])
    engine.take(first.beacon(1, 1), 1, at: milliseconds(0))
    engine.take(first.beacon(1, 2), 2, at: milliseconds(1))
    engine.take(second.beacon(2, 2), 2, at: milliseconds(2))
    _ = engine.drain()
    engine.adjacencyUp(9, at: milliseconds(3))
    let out = engine.drain()
    #expect(out.order == "ss")
    #expect(out.sent.map(\.content) == [first.beacon(1, 2), second.beacon(2, 2)])
    #expect(out.sent.allSatisfy { $0.adjacency == 9 })
    // A new key: both again, but not to where they came from.
    engine.adjacencyRenewed(9)
    #expect(engine.drain().sent.map(\.content) == [first.beacon(1, 2), second.beacon(2, 2)])
    engine.adjacencyRenewed(2)
    #expect(engine.drain().sent.isEmpty)
    engine.adjacencyDown(2)
    #expect(engine.newest(authority: 0)?.counter == 2 && engine.newest(authority: 0)?.adjacency == nil)
    #expect(engine.treeAdjacency(authority: 0, boot: 1, counter: 2) == nil)
    #expect(engine.treeAdjacency(authority: 0, boot: 1, counter: 1) == 1)
    engine.adjacencyDown(2)
    engine.adjacencyDown(77)
  }

  @Test func `another descriptor keeps what is known of the authorities in both`() {
    var engine = BeaconEngine([first, second])
    engine.take(first.beacon(1, 1), 1, at: milliseconds(0))
    engine.take(second.beacon(2, 2), 2, at: milliseconds(2))
    _ = engine.drain()
    let third = Authority(3)
    engine.update(authorities: [third.entry, second.entry])
    #expect(engine.newest(authority: 0) == nil)
    #expect(engine.treeAdjacency(authority: 1, boot: 2, counter: 2) == 2)
    engine.take(first.beacon(1, 2), 1, at: milliseconds(3))
    #expect(engine.counters.refusedUnknownAuthority == 1)
    engine.take(third.beacon(1, 1), 1, at: milliseconds(3))
    #expect(engine.drain().newBoots == [0])
    // Sixteen count.
    engine.update(authorities: (1...20).map { Authority($0).entry })
    #expect(engine.authorityCount == 16)
  }

  @Test func `past 255 adjacencies the stranger silent longest goes, and neighbours stay`() {
    var engine = BeaconEngine([first])
    for adjacency in 1...245 as ClosedRange<UInt16> { engine.adjacencyUp(adjacency, at: milliseconds(0)) }
    for adjacency in 2000..<2100 as Range<UInt16> {
      engine.take(first.forged(1, 1), adjacency, authenticated: false, at: milliseconds(Int64(adjacency)))
    }
    #expect(engine.counters.refusedAdjacency == 0)
    for adjacency in 246...265 as ClosedRange<UInt16> { engine.adjacencyUp(adjacency, at: milliseconds(9000)) }
    #expect(engine.counters.refusedAdjacency == 10)
    engine.take(first.beacon(1, 1), 3000, at: milliseconds(9000))
    #expect(engine.counters.refusedAdjacency == 11 && engine.counters.accepted == 0)
    engine.take(first.beacon(1, 1), 100, at: milliseconds(9000))
    #expect(engine.counters.accepted == 1)
  }

  @Test func `outputs that are not drained are dropped at 256 and counted`() {
    var engine = BeaconEngine([first])
    engine.take(first.beacon(1, 1), 1, at: milliseconds(0))
    for adjacency in 1...255 as ClosedRange<UInt16> { engine.adjacencyUp(adjacency, at: milliseconds(0)) }
    #expect(engine.counters.droppedOutputs == 258 - 256)
    #expect(engine.drain().order.count == 256)
  }
}
