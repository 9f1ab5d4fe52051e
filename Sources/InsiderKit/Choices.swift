// Where a forger's decisions come from: the bytes of a fuzzer's input, or a seeded generator. Either way a run can be
// repeated exactly.

/// A stream of decisions. One made from bytes answers zeros once they are used up, and says so.
public struct Choices {
  private var bytes: [UInt8]
  private var position = 0
  private var state: UInt64?

  public init(bytes: [UInt8]) { self.bytes = bytes }

  /// Endless; SplitMix64 (Steele, Lea, Flood 2014).
  public init(seed: UInt64) {
    bytes = []
    state = seed
  }

  public var isExhausted: Bool { state == nil && position >= bytes.count }

  public mutating func u64() -> UInt64 {
    if state == nil {
      var value: UInt64 = 0
      for _ in 0..<8 { value = value << 8 | UInt64(u8()) }
      return value
    }
    let next = (state ?? 0) &+ 0x9e37_79b9_7f4a_7c15
    state = next
    var z = next
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  public mutating func u8() -> UInt8 {
    if state != nil { return UInt8(truncatingIfNeeded: u64()) }
    if position >= bytes.count { return 0 }
    position += 1
    return bytes[position - 1]
  }

  public mutating func u16() -> UInt16 { UInt16(u8()) << 8 | UInt16(u8()) }
  public mutating func u32() -> UInt32 { UInt32(u16()) << 16 | UInt32(u16()) }

  /// 0 ..< limit.
  public mutating func below(_ limit: Int) -> Int { limit <= 256 ? Int(u8()) % limit : Int(u16()) % limit }

  public mutating func array(_ count: Int) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(count)
    for _ in 0..<count { out.append(u8()) }
    return out
  }

  /// The original left as it is, changed in a few bytes, cut, or grown.
  public mutating func mutated(_ original: [UInt8], limit: Int = 1400) -> [UInt8] {
    var out = original
    switch u8() & 7 {
    case 0: break
    case 1: out.removeLast(below(out.count + 1))
    case 2: out += array(below(64))
    case 3:
      // A field of its own: extreme values are worth more than random ones.
      if out.isEmpty { break }
      let at = below(out.count)
      let fill: UInt8 = u8() & 1 == 0 ? 0xff : 0
      for i in at..<min(out.count, at + 1 << (u8() & 3)) { out[i] = fill }
    default:
      if out.isEmpty { break }
      for _ in 0...(u8() & 7) { out[below(out.count)] ^= 1 << (u8() & 7) }
    }
    return Array(out.prefix(limit))
  }
}
