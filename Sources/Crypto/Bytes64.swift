// 64 bytes held inline: signatures and the Noise handshake hash.

import Core
internal import CSodium

public struct Bytes64: Sendable, Equatable {
  var low = Bytes32()
  var high = Bytes32()

  /// All zero.
  public init() {}

  public init(_ low: Bytes32, _ high: Bytes32) {
    self.low = low
    self.high = high
  }

  /// The 64 bytes at `pointer`.
  public init(loadingFrom pointer: UnsafePointer<UInt8>) {
    low = Bytes32(loadingFrom: pointer)
    high = Bytes32(loadingFrom: pointer + 32)
  }

  /// The first 32 bytes.
  public var firstHalf: Bytes32 { low }

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

  public var array: [UInt8] { withBytes { Array(UnsafeBufferPointer(start: $0, count: 64)) } }

  mutating func erase() { withMutableBytes { sodium_memzero($0, 64) } }
}
