// What every file of this module shares: starting libsodium, wiping secrets, lengths for C.
//
// About secrets in memory: a Swift struct has no deinit, so keys held in structs stay where they were until that memory
// is used again. Intermediate secrets (shared points, derived keys, pads) are wiped here when their function ends;
// long-lived keys are the holder's to erase, with `Bytes32.erase()`.

import Core
internal import CSodium

public enum Sodium {
  /// Once, at start: picks the processor's fastest implementations. False when libsodium cannot initialise. Without it
  /// every function still gives right answers, slower.
  public static func initialize() -> Bool { sodium_init() >= 0 }
}

extension Bytes32 {
  /// Overwrites the bytes with zeros in a way the optimiser keeps.
  public mutating func erase() { withMutableBytes { sodium_memzero($0, 32) } }
}

/// A byte count as libsodium takes it.
@inline(__always)
func length(_ count: Int) -> UInt64 {
  invariant(count >= 0, "a byte count is not negative")
  return UInt64(truncatingIfNeeded: count)
}
