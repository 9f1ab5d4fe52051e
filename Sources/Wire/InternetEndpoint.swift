// An IP address with a UDP port, as operators write it: "192.0.2.1:4500", "[2001:db8::1]:4500". Literal addresses only.

import Core

public struct InternetEndpoint: Sendable, Equatable {
  /// Network order; an IPv4 address is the first four bytes, the others are zero.
  public var address: Bytes16
  public var isIPv6: Bool
  public var port: UInt16

  public init(address: Bytes16, isIPv6: Bool, port: UInt16) {
    self.address = address
    self.isIPv6 = isIPv6
    self.port = port
  }

  /// 4 or 16.
  public var addressBytes: [UInt8] {
    address.withBytes { Array(UnsafeBufferPointer(start: $0, count: isIPv6 ? 16 : 4)) }
  }

  /// Of an IPv4 address in host order.
  public init(ipv4: UInt32, port: UInt16) {
    var address = Bytes16()
    address.withMutableBytes { for i in 0..<4 { $0[i] = UInt8(truncatingIfNeeded: ipv4 >> UInt32(24 - 8 * i)) } }
    self.init(address: address, isIPv6: false, port: port)
  }

  /// One machine's, to be reached without naming an interface: not unspecified, multicast, broadcast or link-local.
  public var isUsable: Bool {
    let a = addressBytes
    if !isIPv6 { return a[0] != 0 && a[0] < 224 && !(a[0] == 169 && a[1] == 254) }
    return address != Bytes16() && a[0] != 0xff && !(a[0] == 0xfe && a[1] & 0xc0 == 0x80)
  }
}

/// RFC 4291 §2.2, forms 1 and 2: hexadecimal groups, one `::` at most; nil for anything else, zones and embedded IPv4 too.
func ipv6Literal(_ text: ArraySlice<UInt8>) -> Bytes16? {
  var groups: [UInt16] = []
  /// Where `::` stands, in groups.
  var gap: Int?
  var rest = text
  let colon = UInt8(ascii: ":")
  if rest.starts(with: [colon, colon]) {
    gap = 0
    rest = rest.dropFirst(2)
  }
  while !rest.isEmpty {
    let digits = rest.prefix { $0 != colon }
    guard let group = hexadecimalGroup(digits), groups.count < 8 else { return nil }
    groups.append(group)
    rest = rest.dropFirst(digits.count)
    if rest.isEmpty { break }
    rest = rest.dropFirst()
    if rest.first == colon {
      if gap != nil { return nil }
      gap = groups.count
      rest = rest.dropFirst()
    } else if rest.isEmpty {
      return nil
    }
  }
  let missing = 8 - groups.count
  if gap == nil ? missing != 0 : missing < 1 { return nil }
  var address = Bytes16()
  for (i, group) in groups.enumerated() {
    let place = gap.map { i >= $0 ? i + missing : i } ?? i
    address.withMutableBytes {
      $0[2 * place] = UInt8(truncatingIfNeeded: group >> 8)
      $0[2 * place + 1] = UInt8(truncatingIfNeeded: group)
    }
  }
  return address
}

/// RFC 4291 §2.5.5.2: the IPv4 address, in host order, that is written as an IPv6 one, `::ffff:192.0.2.1` or in groups;
/// nil for anything else.
func ipv4Mapped(_ text: ArraySlice<UInt8>) -> UInt32? {
  let colon = UInt8(ascii: ":")
  let end = text.lastIndex(of: colon).map { $0 + 1 } ?? text.startIndex
  guard let dotted = ipv4(dotted: text[end...]) else {
    guard let address = ipv6Literal(text), isMapped(address) else { return nil }
    return address.withBytes { p in (12..<16).reduce(0) { $0 << 8 | UInt32(p[$1]) } }
  }
  // In groups its last 32 bits may be any.
  guard let address = ipv6Literal(text[..<end] + [0x30, colon, 0x30]), isMapped(address) else { return nil }
  return dotted
}

private func isMapped(_ address: Bytes16) -> Bool {
  address.withBytes { p in
    for i in 0..<10 where p[i] != 0 { return false }
    return p[10] == 0xff && p[11] == 0xff
  }
}

private func hexadecimalGroup(_ digits: ArraySlice<UInt8>) -> UInt16? {
  if digits.isEmpty || digits.count > 4 { return nil }
  var value: UInt16 = 0
  for byte in digits {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt16(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt16(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): value = value << 4 | UInt16(byte - UInt8(ascii: "A") + 10)
    default: return nil
    }
  }
  return value
}
