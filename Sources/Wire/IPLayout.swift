// Where things are in an IP packet: one look at the first bytes, shared by everything that carries or changes packets.

import Core

/// An IP address of either version.
public enum IPAddress: Sendable, Equatable, Hashable {
  /// Host order.
  case ipv4(UInt32)
  /// Network order: byte 0 is the most significant.
  case ipv6(Bytes16)
}

/// IANA protocol numbers.
public enum IPProtocol {
  public static let icmp: UInt8 = 1
  public static let tcp: UInt8 = 6
  public static let udp: UInt8 = 17
  public static let icmpv6: UInt8 = 58

  /// Bytes (RFC 768).
  public static let udpHeader = 8
}

/// Bits of byte 13 of a TCP header (RFC 9293 §3.1).
public enum TCPFlag {
  public static let fin: UInt8 = 1
  public static let syn: UInt8 = 2
  public static let rst: UInt8 = 4
  public static let psh: UInt8 = 8
  public static let ack: UInt8 = 16
  public static let urg: UInt8 = 32
  public static let cwr: UInt8 = 128
}

/// The shape of one packet as its IP header states it. IPv6 extension headers are not followed: `transport` is then
/// the first one's number, and what lies behind it is opaque.
public struct IPLayout: Sendable, Equatable {
  public var isIPv4: Bool
  /// IPv4 header with options (20…60), or 40.
  public var headerLength: Int
  /// The whole packet, bytes; at least `headerLength`, at most 65,575.
  public var totalLength: Int
  /// Protocol number of what follows the header.
  public var transport: UInt8
  /// An IPv4 fragment, the first included: no transport header can be relied on.
  public var isFragment: Bool

  /// `readable` bytes are at `packet`; they may be fewer than the packet, but must hold its IP header.
  @inlinable
  public init(_ packet: UnsafeRawPointer, readable: Int) throws(WireError) {
    guard readable >= 20 else { throw .truncated(neededBytes: 20, haveBytes: readable) }
    let first = packet.byte(at: 0)
    switch first >> 4 {
    case 4:
      isIPv4 = true
      headerLength = Int(first & 15) &* 4
      totalLength = Int(packet.bigEndian16(at: 2))
      transport = packet.byte(at: 9)
      isFragment = packet.bigEndian16(at: 6) & 0x3fff != 0
      guard headerLength >= 20 else { throw .invalid(field: StaticFieldName("ipv4.ihl")) }
      guard totalLength >= headerLength else { throw .invalid(field: StaticFieldName("ipv4.total-length")) }
    case 6:
      isIPv4 = false
      headerLength = 40
      totalLength = 40
      transport = packet.byte(at: 6)
      isFragment = false
      if readable >= 40 { totalLength = 40 &+ Int(packet.bigEndian16(at: 4)) }
    default:
      throw .invalid(field: StaticFieldName("ip.version"))
    }
    guard readable >= headerLength else { throw .truncated(neededBytes: headerLength, haveBytes: readable) }
  }

  /// The packet's source address; `packet` is what this layout was read from.
  @inlinable
  public func source(of packet: UnsafeRawPointer) -> IPAddress { address(of: packet, isDestination: false) }

  @inlinable
  public func destination(of packet: UnsafeRawPointer) -> IPAddress { address(of: packet, isDestination: true) }

  @usableFromInline
  func address(of packet: UnsafeRawPointer, isDestination: Bool) -> IPAddress {
    if isIPv4 { return .ipv4(packet.bigEndian32(at: isDestination ? 16 : 12)) }
    return .ipv6(Bytes16(loadingFrom: (packet + (isDestination ? 24 : 8)).assumingMemoryBound(to: UInt8.self)))
  }
}

/// The bytes of `packet` its IP header accounts for: link padding after them is left out. A packet that is shorter
/// than it says is an error.
@inlinable
public func trimTrailing(_ packet: UnsafeMutableRawBufferPointer) throws(WireError) -> UnsafeMutableRawBufferPointer {
  guard let base = packet.baseAddress else { throw .truncated(neededBytes: 20, haveBytes: 0) }
  let layout = try IPLayout(base, readable: packet.count)
  guard layout.totalLength <= packet.count else {
    throw .truncated(neededBytes: layout.totalLength, haveBytes: packet.count)
  }
  return UnsafeMutableRawBufferPointer(start: base, count: layout.totalLength)
}
