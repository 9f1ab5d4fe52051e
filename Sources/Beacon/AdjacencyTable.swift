// What the engine keeps for each adjacency: whether the neighbour is authenticated, and its budgets.

import Core

struct AdjacencyRecord {
  var number: UInt16
  /// Up and authenticated.
  var isUp: Bool
  /// Signature checks while the neighbour is a stranger: 64 a second, 32 at once.
  var strangerChecks: TokenBucket
  /// Signature checks of an authenticated neighbour: 128 a second, 64 at once, and a failed one costs 16, so that one
  /// that forges cannot use up what all neighbours share.
  var memberChecks: TokenBucket
  /// Answers to old beacons: never more than 5 in any second.
  var answers: TokenBucket
  var lastUsed: Instant

  init(number: UInt16, at now: Instant) {
    self.number = number
    isUp = false
    strangerChecks = TokenBucket(rate: 64, burst: 32, at: now)
    memberChecks = TokenBucket(rate: 128, burst: 64, at: now)
    answers = TokenBucket(rate: 3, burst: 2, at: now)
    lastUsed = now
  }
}

/// At most 255 records × 112 B = 28 KiB, as many as a node has adjacencies, sorted by number. At the limit the stranger
/// that was silent longest goes; when there is none, the new one is refused.
struct AdjacencyTable {
  static let limit = 255
  private(set) var records: [AdjacencyRecord] = []
  /// How many are up.
  private(set) var upCount = 0

  private func place(_ number: UInt16) -> (index: Int, found: Bool) {
    var (low, high) = (0, records.count)
    while low < high {
      let middle = (low + high) / 2
      if records[middle].number < number { low = middle + 1 } else { high = middle }
    }
    return (low, low < records.count && records[low].number == number)
  }

  /// The index of an adjacency's record, made when there is none; nil when there is no room. Valid until the next call.
  mutating func index(of number: UInt16, at now: Instant) -> Int? {
    var (index, found) = place(number)
    if !found {
      if records.count >= AdjacencyTable.limit {
        guard evictStranger() else { return nil }
        index = place(number).index
      }
      records.insert(AdjacencyRecord(number: number, at: now), at: index)
    }
    records[index].lastUsed = now
    return index
  }

  mutating func setUp(_ index: Int) {
    if !records[index].isUp { upCount += 1 }
    records[index].isUp = true
  }

  /// The record stays, so that going up and down gives no new budget.
  mutating func setDown(_ number: UInt16) {
    let (index, found) = place(number)
    guard found, records[index].isUp else { return }
    records[index].isUp = false
    upCount -= 1
  }

  mutating func mayCheck(_ index: Int, authenticated: Bool, at now: Instant) -> Bool {
    authenticated
      ? records[index].memberChecks.hasToken(at: now) : records[index].strangerChecks.hasToken(at: now)
  }

  mutating func charge(_ index: Int, authenticated: Bool, failed: Bool) {
    if authenticated {
      records[index].memberChecks.take(failed ? 16 : 1)
    } else {
      records[index].strangerChecks.take()
    }
  }

  mutating func mayAnswer(_ index: Int, at now: Instant) -> Bool { records[index].answers.takeIfAvailable(at: now) }

  private mutating func evictStranger() -> Bool {
    var oldest: Int?
    for index in records.indices where !records[index].isUp {
      if let held = oldest, records[held].lastUsed <= records[index].lastUsed { continue }
      oldest = index
    }
    guard let oldest else { return false }
    records.remove(at: oldest)
    return true
  }
}
