// IPv4, IPv6, TCP, UDP and ICMP headers as values, for what makes or answers packets (name service, translation, tests).
// The packet path does not build these values; it reads and changes single fields in place.

import Core

@inlinable
func requireBytes(_ needed: Int, _ have: Int) throws(WireError) {
  if have < needed { throw .truncated(neededBytes: needed, haveBytes: have) }
}

@inlinable
func requireRoom(_ needed: Int, _ have: Int) throws(WireError) {
  if have < needed { throw .noRoom(neededBytes: needed, haveBytes: have) }
}

/// RFC 791 §3.1. Options are `headerLength` − 20 bytes after the fixed part, which this value does not hold.
public struct IPv4Header: Sendable, Equatable {
  /// With options, bytes: 20…60, a multiple of 4.
  public var headerLength = 20
  public var trafficClass: UInt8 = 0
  /// Header and payload, bytes.
  public var totalLength: UInt16 = 20
  public var identification: UInt16 = 0
  /// Reserved, DF and MF in the top three bits, then the fragment's offset in units of 8 bytes.
  public var fragment: UInt16 = 0x4000
  public var timeToLive: UInt8 = 64
  public var transport: UInt8
  /// Host order, as are all fields.
  public var source: UInt32
  public var destination: UInt32

  public init(transport: UInt8, source: UInt32, destination: UInt32, totalLength: UInt16) {
    self.transport = transport
    self.source = source
    self.destination = destination
    self.totalLength = totalLength
  }

  /// Refuses a wrong version, length or header checksum.
  public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
    try requireBytes(20, bytes.count)
    let p = bytes.baseAddress!
    guard p.byte(at: 0) >> 4 == 4 else { throw .invalid(field: StaticFieldName("ip.version")) }
    headerLength = Int(p.byte(at: 0) & 15) * 4
    guard headerLength >= 20 else { throw .invalid(field: StaticFieldName("ipv4.ihl")) }
    try requireBytes(headerLength, bytes.count)
    guard InternetChecksum.of(p, count: headerLength) == 0 else {
      throw .invalid(field: StaticFieldName("ipv4.checksum"))
    }
    trafficClass = p.byte(at: 1)
    totalLength = p.bigEndian16(at: 2)
    guard Int(totalLength) >= headerLength else { throw .invalid(field: StaticFieldName("ipv4.total-length")) }
    identification = p.bigEndian16(at: 4)
    fragment = p.bigEndian16(at: 6)
    timeToLive = p.byte(at: 8)
    transport = p.byte(at: 9)
    source = p.bigEndian32(at: 12)
    destination = p.bigEndian32(at: 16)
  }

  /// Writes the fixed 20 bytes and the checksum over `headerLength`; options must be in place already.
  public func encode(into bytes: UnsafeMutableRawBufferPointer) throws(WireError) {
    guard headerLength >= 20, headerLength <= 60, headerLength % 4 == 0 else {
      throw .invalid(field: StaticFieldName("ipv4.ihl"))
    }
    try requireRoom(headerLength, bytes.count)
    let p = bytes.baseAddress!
    p.storeByte(0x40 | UInt8(headerLength / 4), at: 0)
    p.storeByte(trafficClass, at: 1)
    p.storeBigEndian16(totalLength, at: 2)
    p.storeBigEndian16(identification, at: 4)
    p.storeBigEndian16(fragment, at: 6)
    p.storeByte(timeToLive, at: 8)
    p.storeByte(transport, at: 9)
    p.storeBigEndian16(0, at: 10)
    p.storeBigEndian32(source, at: 12)
    p.storeBigEndian32(destination, at: 16)
    p.storeBigEndian16(InternetChecksum.of(p, count: headerLength), at: 10)
  }
}

/// RFC 8200 §3.
public struct IPv6Header: Sendable, Equatable {
  public static let size = 40
  public var trafficClass: UInt8 = 0
  /// 20 bits.
  public var flowLabel: UInt32 = 0
  /// What follows the 40 bytes.
  public var payloadLength: UInt16
  public var nextHeader: UInt8
  public var hopLimit: UInt8 = 64
  /// Network order.
  public var source: Bytes16
  public var destination: Bytes16

  public init(nextHeader: UInt8, source: Bytes16, destination: Bytes16, payloadLength: UInt16) {
    self.nextHeader = nextHeader
    self.source = source
    self.destination = destination
    self.payloadLength = payloadLength
  }

  public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
    try requireBytes(IPv6Header.size, bytes.count)
    let p = bytes.baseAddress!
    let first = p.bigEndian32(at: 0)
    guard first >> 28 == 6 else { throw .invalid(field: StaticFieldName("ip.version")) }
    trafficClass = UInt8(truncatingIfNeeded: first >> 20)
    flowLabel = first & 0xf_ffff
    payloadLength = p.bigEndian16(at: 4)
    nextHeader = p.byte(at: 6)
    hopLimit = p.byte(at: 7)
    source = Bytes16(loadingFrom: (p + 8).assumingMemoryBound(to: UInt8.self))
    destination = Bytes16(loadingFrom: (p + 24).assumingMemoryBound(to: UInt8.self))
  }

  public func encode(into bytes: UnsafeMutableRawBufferPointer) throws(WireError) {
    try requireRoom(IPv6Header.size, bytes.count)
    let p = bytes.baseAddress!
    p.storeBigEndian32(6 << 28 | UInt32(trafficClass) << 20 | flowLabel & 0xf_ffff, at: 0)
    p.storeBigEndian16(payloadLength, at: 4)
    p.storeByte(nextHeader, at: 6)
    p.storeByte(hopLimit, at: 7)
    source.withBytes { (p + 8).copyMemory(from: $0, byteCount: 16) }
    destination.withBytes { (p + 24).copyMemory(from: $0, byteCount: 16) }
  }
}

/// RFC 9293 §3.1. Options are `headerLength` − 20 bytes after the fixed part, which this value does not hold.
public struct TCPHeader: Sendable, Equatable {
  public static let fin: UInt8 = 1
  public static let syn: UInt8 = 2
  public static let rst: UInt8 = 4
  public static let psh: UInt8 = 8
  public static let ack: UInt8 = 16
  public static let urg: UInt8 = 32
  public static let ece: UInt8 = 64
  public static let cwr: UInt8 = 128

  public var sourcePort: UInt16
  public var destinationPort: UInt16
  public var sequence: UInt32 = 0
  public var acknowledgement: UInt32 = 0
  /// With options, bytes: 20…60, a multiple of 4.
  public var headerLength = 20
  public var flags: UInt8 = TCPHeader.ack
  public var window: UInt16 = 0
  /// As it stands in the packet; the caller computes it.
  public var checksum: UInt16 = 0
  public var urgentPointer: UInt16 = 0

  public init(sourcePort: UInt16, destinationPort: UInt16) {
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
  }

  public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
    try requireBytes(20, bytes.count)
    let p = bytes.baseAddress!
    sourcePort = p.bigEndian16(at: 0)
    destinationPort = p.bigEndian16(at: 2)
    sequence = p.bigEndian32(at: 4)
    acknowledgement = p.bigEndian32(at: 8)
    headerLength = Int(p.byte(at: 12) >> 4) * 4
    guard headerLength >= 20 else { throw .invalid(field: StaticFieldName("tcp.data-offset")) }
    try requireBytes(headerLength, bytes.count)
    flags = p.byte(at: 13)
    window = p.bigEndian16(at: 14)
    checksum = p.bigEndian16(at: 16)
    urgentPointer = p.bigEndian16(at: 18)
  }

  /// Writes the fixed 20 bytes.
  public func encode(into bytes: UnsafeMutableRawBufferPointer) throws(WireError) {
    guard headerLength >= 20, headerLength <= 60, headerLength % 4 == 0 else {
      throw .invalid(field: StaticFieldName("tcp.data-offset"))
    }
    try requireRoom(headerLength, bytes.count)
    let p = bytes.baseAddress!
    p.storeBigEndian16(sourcePort, at: 0)
    p.storeBigEndian16(destinationPort, at: 2)
    p.storeBigEndian32(sequence, at: 4)
    p.storeBigEndian32(acknowledgement, at: 8)
    p.storeByte(UInt8(headerLength / 4) << 4, at: 12)
    p.storeByte(flags, at: 13)
    p.storeBigEndian16(window, at: 14)
    p.storeBigEndian16(checksum, at: 16)
    p.storeBigEndian16(urgentPointer, at: 18)
  }
}

/// RFC 768.
public struct UDPHeader: Sendable, Equatable {
  public static let size = 8
  public var sourcePort: UInt16
  public var destinationPort: UInt16
  /// Header and payload, bytes: at least 8.
  public var length: UInt16
  /// As it stands in the packet; 0 is none.
  public var checksum: UInt16 = 0

  public init(sourcePort: UInt16, destinationPort: UInt16, length: UInt16) {
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
    self.length = length
  }

  public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
    try requireBytes(UDPHeader.size, bytes.count)
    let p = bytes.baseAddress!
    sourcePort = p.bigEndian16(at: 0)
    destinationPort = p.bigEndian16(at: 2)
    length = p.bigEndian16(at: 4)
    checksum = p.bigEndian16(at: 6)
    guard length >= 8 else { throw .invalid(field: StaticFieldName("udp.length")) }
    try requireBytes(Int(length), bytes.count)
  }

  public func encode(into bytes: UnsafeMutableRawBufferPointer) throws(WireError) {
    try requireRoom(UDPHeader.size, bytes.count)
    let p = bytes.baseAddress!
    p.storeBigEndian16(sourcePort, at: 0)
    p.storeBigEndian16(destinationPort, at: 2)
    p.storeBigEndian16(length, at: 4)
    p.storeBigEndian16(checksum, at: 6)
  }
}

/// ICMP (RFC 792) and ICMPv6 (RFC 4443 §2.1): the eight bytes they share.
public struct ICMPHeader: Sendable, Equatable {
  public static let size = 8
  public var type: UInt8
  public var code: UInt8
  public var checksum: UInt16 = 0
  /// Identifier and sequence number of an echo; other types use it otherwise.
  public var rest: UInt32 = 0

  public init(type: UInt8, code: UInt8, rest: UInt32) {
    self.type = type
    self.code = code
    self.rest = rest
  }

  public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
    try requireBytes(ICMPHeader.size, bytes.count)
    let p = bytes.baseAddress!
    type = p.byte(at: 0)
    code = p.byte(at: 1)
    checksum = p.bigEndian16(at: 2)
    rest = p.bigEndian32(at: 4)
  }

  public func encode(into bytes: UnsafeMutableRawBufferPointer) throws(WireError) {
    try requireRoom(ICMPHeader.size, bytes.count)
    let p = bytes.baseAddress!
    p.storeByte(type, at: 0)
    p.storeByte(code, at: 1)
    p.storeBigEndian16(checksum, at: 2)
    p.storeBigEndian32(rest, at: 4)
  }
}
