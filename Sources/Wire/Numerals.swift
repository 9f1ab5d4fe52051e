// Numbers and addresses as people write them.

/// The address in host order, or nil when the text is not four decimal numbers of 0 to 255 without leading zeros.
public func ipv4(dotted text: some Sequence<UInt8>) -> UInt32? {
  var parts: [[UInt8]] = [[]]
  for byte in text {
    if byte == UInt8(ascii: ".") { parts.append([]) } else { parts[parts.count - 1].append(byte) }
  }
  if parts.count != 4 { return nil }
  var address: UInt32 = 0
  for part in parts {
    guard let value = decimal(part[...]), value < 256 else { return nil }
    address = address << 8 | UInt32(value)
  }
  return address
}

/// A decimal number of one to seven digits without a leading zero.
public func decimal(_ text: ArraySlice<UInt8>) -> Int? {
  if text.isEmpty || text.count > 7 || (text.count > 1 && text.first == UInt8(ascii: "0")) { return nil }
  var value = 0
  for byte in text {
    guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
    value = value * 10 + Int(byte - UInt8(ascii: "0"))
  }
  return value
}
