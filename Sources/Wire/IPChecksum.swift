// The Internet checksum (RFC 1071) of IPv4, TCP, UDP and ICMP, and the big-endian loads and stores the IP codecs share.
// Sums are taken in the machine's byte order, eight bytes at a time, and put in order once at the end (RFC 1071 §2 B).

extension UnsafeRawPointer {
  /// The big-endian 16-bit value `offset` bytes on; the caller knows that it is there.
  @inlinable @inline(__always)
  public func bigEndian16(at offset: Int) -> UInt16 {
    UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  /// The big-endian 32-bit value `offset` bytes on.
  @inlinable @inline(__always)
  public func bigEndian32(at offset: Int) -> UInt32 {
    UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  /// The byte `offset` bytes on.
  @inlinable @inline(__always)
  public func byte(at offset: Int) -> UInt8 { load(fromByteOffset: offset, as: UInt8.self) }
}

extension UnsafeMutableRawPointer {
  @inlinable @inline(__always)
  public func storeBigEndian16(_ value: UInt16, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
  }

  @inlinable @inline(__always)
  public func storeBigEndian32(_ value: UInt32, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
  }

  @inlinable @inline(__always)
  public func storeByte(_ value: UInt8, at offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt8.self) }
}

/// A running one's complement sum (RFC 1071). Every piece added, except the last, must have an even length.
public struct InternetChecksum: Sendable {
  /// The sum of 32-bit words in memory order, not yet folded; 2^32 words fit without overflow.
  @usableFromInline var sum: UInt64 = 0

  @inlinable public init() {}

  /// Adds `count` bytes; an odd last byte counts as followed by a zero.
  @inlinable
  public mutating func add(_ bytes: UnsafeRawPointer, count: Int) {
    var even: UInt64 = 0
    var odd: UInt64 = 0
    var at = 0
    while at &+ 8 <= count {
      let word = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
      even = even &+ (word & 0xffff_ffff)
      odd = odd &+ (word >> 32)
      at = at &+ 8
    }
    var rest: UInt64 = 0
    var shift: UInt64 = 0
    while at < count {
      rest |= UInt64(bytes.byte(at: at)) &<< shift
      shift = shift &+ 8
      at = at &+ 1
    }
    rest = UInt64(littleEndian: rest)
    sum = sum &+ even &+ odd &+ (rest & 0xffff_ffff) &+ (rest >> 32)
  }

  /// Adds one 16-bit field, given in host order.
  @inlinable
  public mutating func add(_ field: UInt16) { sum = sum &+ UInt64(field.bigEndian) }

  /// The folded sum, not complemented, in host order: what a field holds that is to be completed by an offload.
  @inlinable
  public var folded: UInt16 {
    var s = (sum & 0xffff_ffff) &+ (sum >> 32)
    s = (s & 0xffff) &+ ((s >> 16) & 0xffff) &+ (s >> 32)
    s = (s & 0xffff) &+ (s >> 16)
    s = (s & 0xffff) &+ (s >> 16)
    return UInt16(bigEndian: UInt16(truncatingIfNeeded: s))
  }

  /// The checksum field's value in host order; 0 for bytes whose checksum field is already right.
  @inlinable
  public var value: UInt16 { ~folded }

  /// Of `count` bytes, in host order.
  @inlinable
  public static func of(_ bytes: UnsafeRawPointer, count: Int) -> UInt16 {
    var checksum = InternetChecksum()
    checksum.add(bytes, count: count)
    return checksum.value
  }

  /// The sum of the pseudo-header (RFC 9293 §3.1, RFC 768, RFC 8200 §8.1) of the packet whose IP header starts at
  /// `header`. `length` is the transport header and payload, bytes.
  @inlinable
  public static func pseudoHeader(
    of header: UnsafeRawPointer, isIPv4: Bool, transport: UInt8, length: Int
  ) -> InternetChecksum {
    var checksum = InternetChecksum()
    checksum.add(header + (isIPv4 ? 12 : 8), count: isIPv4 ? 8 : 32)
    checksum.add(UInt16(transport))
    checksum.add(UInt16(truncatingIfNeeded: length))
    checksum.add(UInt16(truncatingIfNeeded: length >> 16))
    return checksum
  }
}
