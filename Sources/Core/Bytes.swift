// Small fixed-size byte strings held inline, so that they can be compared, hashed and stored without allocation.

/// 32 bytes: keys, hashes.
public struct Bytes32: Sendable, Equatable, Hashable {
  var a: UInt64 = 0
  var b: UInt64 = 0
  var c: UInt64 = 0
  var d: UInt64 = 0

  /// All zero.
  public init() {}

  /// The first 32 bytes at `pointer`.
  public init(loadingFrom pointer: UnsafePointer<UInt8>) {
    self.init()
    withMutableBytes { UnsafeMutableRawPointer($0).copyMemory(from: pointer, byteCount: 32) }
  }

  @inline(__always)
  public func withBytes<R, E: Error>(_ body: (UnsafePointer<UInt8>) throws(E) -> R) throws(E) -> R {
    try withUnsafeBytes(of: self) { (raw) throws(E) -> R in
      try body(raw.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
  }

  @inline(__always)
  public mutating func withMutableBytes<R, E: Error>(
    _ body: (UnsafeMutablePointer<UInt8>) throws(E) -> R
  ) throws(E) -> R {
    try withUnsafeMutableBytes(of: &self) { (raw) throws(E) -> R in
      try body(raw.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
  }

  public var array: [UInt8] { withBytes { Array(UnsafeBufferPointer(start: $0, count: 32)) } }

  /// In time that does not depend on the contents.
  public func equalsInConstantTime(_ other: Bytes32) -> Bool {
    ((a ^ other.a) | (b ^ other.b) | (c ^ other.c) | (d ^ other.d)) == 0
  }
}

/// 16 bytes: identifiers, nonces, SipHash keys.
public struct Bytes16: Sendable, Equatable, Hashable {
  var a: UInt64 = 0
  var b: UInt64 = 0

  public init() {}

  public init(loadingFrom pointer: UnsafePointer<UInt8>) {
    self.init()
    withMutableBytes { UnsafeMutableRawPointer($0).copyMemory(from: pointer, byteCount: 16) }
  }

  @inline(__always)
  public func withBytes<R, E: Error>(_ body: (UnsafePointer<UInt8>) throws(E) -> R) throws(E) -> R {
    try withUnsafeBytes(of: self) { (raw) throws(E) -> R in
      try body(raw.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
  }

  @inline(__always)
  public mutating func withMutableBytes<R, E: Error>(
    _ body: (UnsafeMutablePointer<UInt8>) throws(E) -> R
  ) throws(E) -> R {
    try withUnsafeMutableBytes(of: &self) { (raw) throws(E) -> R in
      try body(raw.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
  }
}

/// A component's identity: the first 16 bytes of BLAKE2b-256 of its Ed25519 public key. Ordered as a byte string.
public struct ComponentID: Sendable, Equatable, Hashable, Comparable, CustomStringConvertible {
  public var bytes: Bytes16

  public init(_ bytes: Bytes16) { self.bytes = bytes }

  public static func < (x: ComponentID, y: ComponentID) -> Bool {
    let (p, q) = (x.bytes.a.byteSwappedIfLittle, y.bytes.a.byteSwappedIfLittle)
    if p != q { return p < q }
    return x.bytes.b.byteSwappedIfLittle < y.bytes.b.byteSwappedIfLittle
  }

  /// 32 lower-case hexadecimal digits.
  public var description: String { bytes.withBytes { hexadecimal(UnsafeBufferPointer(start: $0, count: 16)) } }
}

extension UInt64 {
  /// The value whose big-endian bytes are this one's bytes in memory.
  @inline(__always)
  var byteSwappedIfLittle: UInt64 { UInt64(bigEndian: self) }
}

/// Lower-case hexadecimal digits, two a byte.
public func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  var text: [UInt8] = []
  for byte in bytes {
    for nibble in [byte >> 4, byte & 15] { text.append(nibble < 10 ? 48 + nibble : 87 + nibble) }
  }
  return String(decoding: text, as: UTF8.self)
}

/// The bytes of hexadecimal digits of either case, or nil when the text is not an even number of them.
public func bytes(hexadecimal text: some Sequence<UInt8>) -> [UInt8]? {
  var out: [UInt8] = []
  var high: UInt8?
  for c in text {
    let v: UInt8
    switch c {
    case 48...57: v = c - 48
    case 65...70: v = c - 55
    case 97...102: v = c - 87
    default: return nil
    }
    if let h = high {
      out.append(h << 4 | v)
      high = nil
    } else {
      high = v
    }
  }
  return high == nil ? out : nil
}

/// The value's bytes, the most significant first.
public func bigEndian(_ value: UInt32) -> [UInt8] {
  [
    UInt8(value >> 24), UInt8(truncatingIfNeeded: value >> 16), UInt8(truncatingIfNeeded: value >> 8),
    UInt8(truncatingIfNeeded: value),
  ]
}

public func bigEndian(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)] }
