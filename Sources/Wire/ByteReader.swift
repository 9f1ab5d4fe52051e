// The checked cursor every decoder reads through: one bounds check, in `claim`, and errors that say how much was missing.

import Core

/// Why bytes from outside were refused.
public enum WireError: Error, Equatable {
  case truncated(neededBytes: Int, haveBytes: Int)
  /// A field holds a value the format does not allow.
  case invalid(field: StaticFieldName)
}

/// The name of a wire field, as docs/PROTOCOL.md writes it.
public struct StaticFieldName: Sendable, Equatable {
  public let text: StaticString
  public init(_ text: StaticString) { self.text = text }
  public static func == (a: StaticFieldName, b: StaticFieldName) -> Bool {
    a.text.utf8CodeUnitCount == b.text.utf8CodeUnitCount
      && UnsafeBufferPointer(start: a.text.utf8Start, count: a.text.utf8CodeUnitCount).elementsEqual(
        UnsafeBufferPointer(start: b.text.utf8Start, count: b.text.utf8CodeUnitCount))
  }
}

/// Reads big-endian fields from the front of a span.
public struct ByteReader: ~Escapable {
  let bytes: Span<UInt8>
  /// Offset of the next unread byte.
  public private(set) var position = 0

  @_lifetime(copy bytes)
  public init(_ bytes: Span<UInt8>) { self.bytes = bytes }

  public var remaining: Int { bytes.count - position }

  /// The offset of the next `count` bytes, which are then read.
  @_lifetime(self: copy self)
  private mutating func claim(_ count: Int) throws(WireError) -> Int {
    guard count >= 0, bytes.count - position >= count else {
      throw .truncated(neededBytes: count, haveBytes: bytes.count - position)
    }
    defer { position += count }
    return position
  }

  @_lifetime(self: copy self)
  public mutating func u8() throws(WireError) -> UInt8 { bytes[try claim(1)] }

  @_lifetime(self: copy self)
  public mutating func u16() throws(WireError) -> UInt16 {
    let at = try claim(2)
    return UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
  }

  @_lifetime(self: copy self)
  public mutating func u32() throws(WireError) -> UInt32 {
    let at = try claim(4)
    var value: UInt32 = 0
    for i in 0..<4 { value = value << 8 | UInt32(bytes[at + i]) }
    return value
  }

  @_lifetime(self: copy self)
  public mutating func u64() throws(WireError) -> UInt64 {
    let at = try claim(8)
    var value: UInt64 = 0
    for i in 0..<8 { value = value << 8 | UInt64(bytes[at + i]) }
    return value
  }

  @_lifetime(self: copy self)
  public mutating func bytes16() throws(WireError) -> Bytes16 {
    let at = try claim(16)
    var value = Bytes16()
    value.withMutableBytes { for i in 0..<16 { $0[i] = bytes[at + i] } }
    return value
  }

  @_lifetime(self: copy self)
  public mutating func bytes32() throws(WireError) -> Bytes32 {
    let at = try claim(32)
    var value = Bytes32()
    value.withMutableBytes { for i in 0..<32 { $0[i] = bytes[at + i] } }
    return value
  }

  @_lifetime(self: copy self)
  public mutating func componentID() throws(WireError) -> ComponentID { ComponentID(try bytes16()) }

  /// The next `count` bytes, copied.
  @_lifetime(self: copy self)
  public mutating func array(_ count: Int) throws(WireError) -> [UInt8] {
    let at = try claim(count)
    var copy: [UInt8] = []
    copy.reserveCapacity(count)
    for i in 0..<count { copy.append(bytes[at + i]) }
    return copy
  }

  /// Everything that is left, copied.
  @_lifetime(self: copy self)
  public mutating func rest() -> [UInt8] {
    var copy: [UInt8] = []
    copy.reserveCapacity(remaining)
    for i in position..<bytes.count { copy.append(bytes[i]) }
    position = bytes.count
    return copy
  }

  @_lifetime(self: copy self)
  public mutating func skip(_ count: Int) throws(WireError) { _ = try claim(count) }
}
