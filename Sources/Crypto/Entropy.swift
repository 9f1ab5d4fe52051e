// The only source of random values in the engines: a generator run from one 32-byte seed, so that a simulated run can
// be repeated. In production the seed is the kernel's. ChaCha20 with fast key erasure: each refill first replaces the
// key, and bytes handed out are wiped, so a later look at memory tells nothing about earlier values.
//
// A copy of an Entropy gives the same values as the original. Hold one in one place; `fork()` for another holder.

import Core
internal import CSodium

public struct Entropy {
  /// One refill: 32 bytes of the next key, then 512 to hand out.
  private static let refillBytes = 544

  private var key: Bytes32
  private var pool: [UInt8]
  /// Offset of the next byte to hand out.
  private var used: Int

  public init(seed: Bytes32) {
    key = seed
    pool = [UInt8](repeating: 0, count: Entropy.refillBytes)
    used = Entropy.refillBytes
  }

  /// Writes `count` bytes at `p`.
  public mutating func fill(_ p: UnsafeMutablePointer<UInt8>, count: Int) {
    var done = 0
    while done < count {
      if used == Entropy.refillBytes { refill() }
      let n = min(count - done, Entropy.refillBytes - used)
      pool.withUnsafeMutableBufferPointer {
        guard let base = $0.baseAddress else { return }
        // Not update(from:), which Embedded Swift 6.3.1 compiles to a loop over bytes, 100 times slower than memcpy.
        UnsafeMutableRawPointer(p + done).copyMemory(from: base + used, byteCount: n)
        sodium_memzero(base + used, n)
      }
      used += n
      done += n
    }
  }

  private mutating func refill() {
    pool.withUnsafeMutableBufferPointer {
      guard let base = $0.baseAddress else { return }
      StreamCipher.keystream(base, count: Entropy.refillBytes, key: key, nonce: 0)
      key = Bytes32(loadingFrom: base)
      sodium_memzero(base, 32)
    }
    used = 32
  }

  public mutating func u8() -> UInt8 {
    var value: UInt8 = 0
    fill(&value, count: 1)
    return value
  }

  public mutating func u16() -> UInt16 { UInt16(truncatingIfNeeded: integer(bytes: 2)) }
  public mutating func u32() -> UInt32 { UInt32(truncatingIfNeeded: integer(bytes: 4)) }
  public mutating func u64() -> UInt64 { integer(bytes: 8) }

  /// The next `bytes` bytes read as little endian, on every machine.
  private mutating func integer(bytes: Int) -> UInt64 {
    var value: UInt64 = 0
    withUnsafeMutableBytes(of: &value) {
      fill($0.baseAddress!.assumingMemoryBound(to: UInt8.self), count: bytes)
    }
    return UInt64(littleEndian: value)
  }

  public mutating func bytes16() -> Bytes16 {
    var value = Bytes16()
    value.withMutableBytes { fill($0, count: 16) }
    return value
  }

  public mutating func bytes32() -> Bytes32 {
    var value = Bytes32()
    value.withMutableBytes { fill($0, count: 32) }
    return value
  }

  /// Uniform in 0 ..< bound, without bias (Lemire, ACM TOMACS 29(1), 2019). `bound` is at least 1.
  public mutating func below(_ bound: UInt32) -> UInt32 {
    invariant(bound > 0, "a range to draw from is not empty")
    var product = UInt64(u32()) &* UInt64(bound)
    if UInt32(truncatingIfNeeded: product) < bound {
      let threshold = (0 &- bound) % bound
      while UInt32(truncatingIfNeeded: product) < threshold { product = UInt64(u32()) &* UInt64(bound) }
    }
    return UInt32(truncatingIfNeeded: product >> 32)
  }

  /// An independent generator for another holder.
  public mutating func fork() -> Entropy { Entropy(seed: bytes32()) }
}
