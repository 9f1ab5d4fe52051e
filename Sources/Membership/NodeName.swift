// Names of nodes and domains: RFC 1123 labels, lower-cased when read, compared as bytes (no Unicode tables).

import Wire

/// One RFC 1123 §2.1 label: 1 to 63 of `a-z 0-9 -`, no hyphen at either end.
public struct NodeName: Sendable, Equatable, Hashable, CustomStringConvertible {
  /// The most bytes of a label (RFC 1035 §2.3.4).
  public static let limit = 63

  public let bytes: [UInt8]

  /// Lower-cases what it reads.
  public init(_ text: some Sequence<UInt8>) throws(MembershipError) {
    var label: [UInt8] = []
    for byte in text { label.append(lowerCased(byte)) }
    if let fault = labelFault(label[...]) { throw .badLabel(fault) }
    bytes = label
  }

  public init(_ text: String) throws(MembershipError) { try self.init(Array(text.utf8)) }

  public var description: String { String(decoding: bytes, as: UTF8.self) }

  /// One byte of length, then the label.
  public init(decoding reader: inout ByteReader) throws(MembershipError) {
    let label = try readCounted(&reader)
    // On the wire a name has one form only: what is signed cannot be written in two ways.
    for byte in label where lowerCased(byte) != byte { throw .wire(.invalid(field: StaticFieldName("name"))) }
    try self.init(label)
  }

  public func encode(into writer: inout ByteWriter) { writeCounted(bytes, &writer) }
}

/// A domain: labels joined with dots, without the final one. At most 189 bytes, so that any node's full name stays
/// within the 253 of RFC 1035 §2.3.4.
public struct DomainName: Sendable, Equatable, Hashable, CustomStringConvertible {
  public static let limit = 253 - NodeName.limit - 1

  public let bytes: [UInt8]

  /// Lower-cases what it reads and drops one final dot.
  public init(_ text: some Sequence<UInt8>) throws(MembershipError) {
    var name: [UInt8] = []
    for byte in text { name.append(lowerCased(byte)) }
    if name.count > 1, name.last == UInt8(ascii: ".") { name.removeLast() }
    if name.isEmpty { throw .badLabel(.empty) }
    if name.count > Self.limit { throw .badLabel(.tooLong(haveBytes: name.count, limit: Self.limit)) }
    var start = 0
    for end in 0...name.count where end == name.count || name[end] == UInt8(ascii: ".") {
      if let fault = labelFault(name[start..<end]) { throw .badLabel(fault) }
      start = end + 1
    }
    bytes = name
  }

  public init(_ text: String) throws(MembershipError) { try self.init(Array(text.utf8)) }

  public var description: String { String(decoding: bytes, as: UTF8.self) }

  public init(decoding reader: inout ByteReader) throws(MembershipError) {
    let name = try readCounted(&reader)
    for byte in name where lowerCased(byte) != byte { throw .wire(.invalid(field: StaticFieldName("domain"))) }
    if name.last == UInt8(ascii: ".") { throw .wire(.invalid(field: StaticFieldName("domain"))) }
    try self.init(name)
  }

  public func encode(into writer: inout ByteWriter) { writeCounted(bytes, &writer) }
}

private func lowerCased(_ byte: UInt8) -> UInt8 {
  byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte + 32 : byte
}

/// Nil when `label`, already lower-cased, is one. Offsets are those of the array the slice was taken from.
private func labelFault(_ label: ArraySlice<UInt8>) -> LabelFault? {
  if label.isEmpty { return .empty }
  if label.count > NodeName.limit { return .tooLong(haveBytes: label.count, limit: NodeName.limit) }
  for i in label.indices {
    switch label[i] {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): continue
    default: return .badByte(label[i], offset: i)
    }
  }
  if label.first == UInt8(ascii: "-") || label.last == UInt8(ascii: "-") { return .hyphenAtEdge }
  return nil
}
