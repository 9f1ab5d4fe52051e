// What a node keeps for neighbours that no MA has reached yet: one ATTACH an adjacency and MA; and how much it carries for
// each neighbour towards MAs (docs/PROTOCOL.md §4, §6).

import Core
import Wire

/// A budget for each adjacency, full at first: 256 × 16 B = 4 KiB. Where anybody can send in a neighbour's name (OPEN),
/// a budget of its own for that, so that the neighbour keeps what it has for LINKED frames.
///
/// No array of `TokenBucket`: those hold their own rate and burst, 32 B each, which here are the same for all adjacencies;
/// the six tables below would take 48 KiB instead of 24.
struct AdjacencyBudgets {
  /// A second, and at once.
  let rate: Int64
  let burst: Int64
  /// Thousandths.
  private var tokens: [Int64]
  private var filledAt = [Instant](repeating: .zero, count: 256)

  init(rate: Int64, burst: Int64) {
    self.rate = rate
    self.burst = burst
    tokens = [Int64](repeating: burst * 1_000, count: 256)
  }

  /// Takes one frame's worth; false when it is used up.
  mutating func spend(_ adjacency: UInt16, at now: Instant) -> Bool {
    guard hasToken(adjacency, at: now) else { return false }
    take(adjacency)
    return true
  }

  mutating func hasToken(_ adjacency: UInt16, at now: Instant) -> Bool {
    let i = Int(adjacency & 255)
    let elapsed = min((now - filledAt[i]).milliseconds, 10_000)
    if elapsed > 0 {
      tokens[i] = min(burst * 1_000, tokens[i] + elapsed * rate)
      filledAt[i] = now
    }
    return tokens[i] >= 1_000
  }

  /// After `hasToken`, in the same instant.
  mutating func take(_ adjacency: UInt16) { tokens[Int(adjacency & 255)] -= 1_000 }
}

/// 64 requests × about 300 B = 19 KiB; six budgets of 4 KiB.
struct RelayDesk {
  struct Held {
    var adjacency: UInt16
    var authorityIndex: Int
    var message: RelayMessage
  }

  static let heldLimit = 64

  private(set) var held: [Held] = []
  /// RELAY frames of a neighbour's, LINKED and OPEN.
  private var relays = AdjacencyBudgets(rate: 64, burst: 32)
  private var openRelays = AdjacencyBudgets(rate: 64, burst: 32)
  /// ATTACH among them: a component sends ten in its first five seconds, and then one a second.
  private var attaches = AdjacencyBudgets(rate: 8, burst: 16)
  private var openAttaches = AdjacencyBudgets(rate: 8, burst: 16)
  /// BROKEN frames: a link that fails with 4,096 routes needs 35.
  private var notices = AdjacencyBudgets(rate: 256, burst: 128)
  /// TOWARD frames that a neighbour can always have carried.
  private var ownTowards = AdjacencyBudgets(rate: 64, burst: 64)
  /// TOWARD frames beyond those, of all neighbours together: whoever is cut off by one failure comes over one neighbour.
  /// A bucket for each MA (16 × 32 B): what is sent in vain to one that died takes nothing from the others'.
  private var sharedTowards = [TokenBucket](repeating: TokenBucket(rate: 512, burst: 512), count: 16)

  mutating func mayRelay(_ adjacency: UInt16, isLinked: Bool, at now: Instant) -> Bool {
    isLinked ? relays.spend(adjacency, at: now) : openRelays.spend(adjacency, at: now)
  }

  mutating func mayAttach(_ adjacency: UInt16, isLinked: Bool, at now: Instant) -> Bool {
    isLinked ? attaches.spend(adjacency, at: now) : openAttaches.spend(adjacency, at: now)
  }

  mutating func mayTell(_ adjacency: UInt16, at now: Instant) -> Bool { notices.spend(adjacency, at: now) }

  mutating func mayGoToward(_ adjacency: UInt16, authorityIndex: Int, at now: Instant) -> Bool {
    ownTowards.spend(adjacency, at: now) || sharedTowards[authorityIndex & 15].takeIfAvailable(at: now)
  }

  /// Keeps the newest request of an adjacency for an MA; at the limit the oldest goes.
  mutating func hold(_ message: RelayMessage, from adjacency: UInt16, authorityIndex: Int) {
    held.removeAll { $0.adjacency == adjacency && $0.authorityIndex == authorityIndex }
    if held.count == RelayDesk.heldLimit { held.removeFirst() }
    held.append(Held(adjacency: adjacency, authorityIndex: authorityIndex, message: message))
  }

  mutating func takeHeld(authorityIndex: Int) -> [Held] {
    let taken = held.filter { $0.authorityIndex == authorityIndex }
    held.removeAll { $0.authorityIndex == authorityIndex }
    return taken
  }

  mutating func adjacencyChanged(_ number: UInt16) {
    held.removeAll { $0.adjacency == number }
  }
}
