// The world's own source of chance, and the digest by which two runs are compared.

/// SplitMix64 (Steele, Lea, Flood 2014): one seed, one sequence, on every machine.
public struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// 0 ..< bound; the bias of a remainder of 64 bits does not matter here.
  public mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  /// True with this probability; draws only when the answer is open, so that a perfect link draws nothing.
  public mutating func happens(_ probability: Double) -> Bool {
    if probability <= 0 { return false }
    if probability >= 1 { return true }
    return Double(next() >> 11) / 9_007_199_254_740_992 < probability
  }
}

/// A running digest of everything that happened, in order: equal for two runs of one seed.
public struct TraceDigest: Equatable, Sendable {
  public private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325
  public private(set) var events = 0

  mutating func mix(_ word: UInt64) { value = (value ^ word) &* 0x9fb2_1c65_1e98_df25 ^ (value >> 29) }

  mutating func event(_ kind: UInt8, at time: UInt64, _ node: Int, _ port: Int) {
    events += 1
    mix(time)
    mix(UInt64(kind) << 48 | UInt64(node) << 16 | UInt64(port))
  }

  mutating func mix(_ bytes: UnsafePointer<UInt8>, count: Int) {
    mix(UInt64(count))
    let raw = UnsafeRawPointer(bytes)
    var at = 0
    if count >= 128 {
      // Large frames in four lanes side by side: one multiplication waits for the one before.
      var (a, b, c, d) = (value, value &+ 1, value &+ 2, value &+ 3)
      while at + 32 <= count {
        a = (a ^ raw.loadUnaligned(fromByteOffset: at, as: UInt64.self)) &* 0x9fb2_1c65_1e98_df25 ^ (a >> 29)
        b = (b ^ raw.loadUnaligned(fromByteOffset: at + 8, as: UInt64.self)) &* 0x9fb2_1c65_1e98_df25 ^ (b >> 29)
        c = (c ^ raw.loadUnaligned(fromByteOffset: at + 16, as: UInt64.self)) &* 0x9fb2_1c65_1e98_df25 ^ (c >> 29)
        d = (d ^ raw.loadUnaligned(fromByteOffset: at + 24, as: UInt64.self)) &* 0x9fb2_1c65_1e98_df25 ^ (d >> 29)
        at += 32
      }
      for lane in [a, b, c, d] { mix(lane) }
    }
    while at + 8 <= count {
      mix(raw.loadUnaligned(fromByteOffset: at, as: UInt64.self))
      at += 8
    }
    while at < count {
      mix(UInt64(bytes[at]))
      at += 1
    }
  }
}
