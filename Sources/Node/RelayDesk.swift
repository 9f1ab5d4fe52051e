// What a node keeps for neighbours that no MA has reached yet: one ATTACH an adjacency and MA, and their budgets.

import Core
import Wire

/// 64 requests × about 300 B = 19 KiB; 256 buckets × 16 B = 4 KiB.
struct RelayDesk {
  struct Held {
    var adjacency: UInt16
    var authorityIndex: Int
    var message: RelayMessage
  }

  static let heldLimit = 64
  /// Relayed frames a second and adjacency.
  static let rate: Int64 = 64
  static let burst: Int64 = 32

  private(set) var held: [Held] = []
  private var tokens = [Int64](repeating: RelayDesk.burst * 1_000, count: 256)
  private var filledAt = [Instant](repeating: .zero, count: 256)

  /// Takes one frame's worth from the adjacency's budget; false when it is used up.
  mutating func spend(_ adjacency: UInt16, at now: Instant) -> Bool {
    let i = Int(adjacency & 255)
    let elapsed = min((now - filledAt[i]).milliseconds, 10_000)
    if elapsed > 0 {
      tokens[i] = min(RelayDesk.burst * 1_000, tokens[i] + elapsed * RelayDesk.rate)
      filledAt[i] = now
    }
    if tokens[i] < 1_000 { return false }
    tokens[i] -= 1_000
    return true
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
