// The network's management prefix. Addresses are UInt32 in host order everywhere inside.

import Core
import Wire

/// A.B.C.D/8 to /24 without host bits: at least 254 addresses, so that a network of a few hundred boxes fits.
public struct IPv4Prefix: Sendable, Equatable, Hashable, CustomStringConvertible {
  public let address: UInt32
  /// 8...24.
  public let length: UInt8

  public init(address: UInt32, length: Int) throws(MembershipError) {
    guard (8...24).contains(length) else { throw .badPrefix(.badLength(length)) }
    let mask = UInt32.max << (32 - UInt32(length))
    if address & ~mask != 0 { throw .badPrefix(.hostBits) }
    if let range = ReservedRange(containing: address) { throw .badPrefix(.reserved(range)) }
    self.address = address
    self.length = UInt8(length)
  }

  /// "10.20.0.0/16".
  public init(_ text: [UInt8]) throws(MembershipError) {
    let (address, length) = try Self.parts(of: text)
    try self.init(address: address, length: length)
  }

  /// The same for a network that is founded: a /16 and nothing else.
  public init(founding text: [UInt8]) throws(MembershipError) {
    let (address, length) = try Self.parts(of: text)
    if length != 16 { throw .badPrefix(.notSixteen(length)) }
    try self.init(address: address, length: length)
  }

  private static func parts(of text: [UInt8]) throws(MembershipError) -> (UInt32, Int) {
    guard let slash = text.firstIndex(of: UInt8(ascii: "/")), let address = ipv4(dotted: text[..<slash]),
      let length = decimal(text[(slash + 1)...])
    else { throw .badPrefix(.notAPrefix) }
    return (address, length)
  }

  public init(_ text: String) throws(MembershipError) { try self.init(Array(text.utf8)) }

  public var mask: UInt32 { UInt32.max << (32 - UInt32(length)) }

  public func contains(_ address: UInt32) -> Bool { address & mask == self.address }

  /// How many addresses hosts can have: all but the first and the last.
  public var hostCount: UInt32 { ~mask - 1 }

  /// The address of host `number`, 1...hostCount.
  public func host(_ number: UInt32) -> UInt32 {
    invariant(number >= 1 && number <= hostCount, "a host number of the prefix")
    return address + number
  }

  /// Whether a host can have the address: within the prefix, neither its first nor its last.
  public func isHost(_ candidate: UInt32) -> Bool {
    contains(candidate) && candidate != address && candidate != address | ~mask
  }

  public var description: String { dottedQuad(address) + "/\(Int(length))" }

  public init(decoding reader: inout ByteReader) throws(MembershipError) {
    let address = try wired { () throws(WireError) in try reader.u32() }
    let length = try wired { () throws(WireError) in try reader.u8() }
    try self.init(address: address, length: Int(length))
  }

  public func encode(into writer: inout ByteWriter) {
    writer.u32(address)
    writer.u8(length)
  }
}

/// "10.20.0.1" from an address in host order.
public func dottedQuad(_ address: UInt32) -> String {
  "\(Int(address >> 24)).\(Int(address >> 16 & 255)).\(Int(address >> 8 & 255)).\(Int(address & 255))"
}
