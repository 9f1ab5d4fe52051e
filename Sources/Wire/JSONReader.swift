// Reads one JSON document (RFC 8259) strictly: for `lifeline ctl`, which renders what a node answers. Nesting is limited,
// so that no document exhausts the stack; nothing traps.

import Core

public enum JSONError: Error, Equatable {
  /// The grammar does not allow what stands at this byte.
  case unexpected(offset: Int)
  case tooDeep(limit: Int)
}

/// A JSON value. Numbers stay text, as they were written; members stay in their order.
public indirect enum JSONValue {
  case null
  case bool(Bool)
  case number([UInt8])
  /// UTF-8, unescaped.
  case string([UInt8])
  case array([JSONValue])
  case object([Member])

  public struct Member {
    public let name: [UInt8]
    public let value: JSONValue
  }

  /// Arrays and objects inside one another.
  public static let depthLimit = 32

  public init(decoding document: [UInt8]) throws(JSONError) {
    var reader = JSONReader(bytes: document)
    self = try reader.value(depth: 0)
    reader.skipSpace()
    if reader.position != document.count { throw .unexpected(offset: reader.position) }
  }

  /// The value of an object's first member called `name`.
  public subscript(_ name: StaticString) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    let wanted = UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    for member in members where member.name.elementsEqual(wanted) { return member.value }
    return nil
  }
}

struct JSONReader {
  let bytes: [UInt8]
  var position = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  mutating func skipSpace() {
    while let byte = next, byte == 32 || byte == 9 || byte == 10 || byte == 13 { position += 1 }
  }

  private mutating func expect(_ byte: UInt8) throws(JSONError) {
    guard next == byte else { throw .unexpected(offset: position) }
    position += 1
  }

  private mutating func literal(_ text: StaticString) throws(JSONError) {
    for i in 0..<text.utf8CodeUnitCount { try expect(text.utf8Start[i]) }
  }

  mutating func value(depth: Int) throws(JSONError) -> JSONValue {
    if depth > JSONValue.depthLimit { throw .tooDeep(limit: JSONValue.depthLimit) }
    skipSpace()
    switch next {
    case 110:
      try literal("null")
      return .null
    case 116:
      try literal("true")
      return .bool(true)
    case 102:
      try literal("false")
      return .bool(false)
    case 34: return .string(try string())
    case 91: return .array(try elements(depth: depth))
    case 123: return .object(try members(depth: depth))
    default: return .number(try number())
    }
  }

  private mutating func elements(depth: Int) throws(JSONError) -> [JSONValue] {
    var elements: [JSONValue] = []
    try expect(91)
    skipSpace()
    if next == 93 {
      position += 1
      return elements
    }
    while true {
      elements.append(try value(depth: depth + 1))
      skipSpace()
      if next == 93 { break }
      try expect(44)
    }
    position += 1
    return elements
  }

  private mutating func members(depth: Int) throws(JSONError) -> [JSONValue.Member] {
    var members: [JSONValue.Member] = []
    try expect(123)
    skipSpace()
    if next == 125 {
      position += 1
      return members
    }
    while true {
      skipSpace()
      let name = try string()
      skipSpace()
      try expect(58)
      members.append(JSONValue.Member(name: name, value: try value(depth: depth + 1)))
      skipSpace()
      if next == 125 { break }
      try expect(44)
    }
    position += 1
    return members
  }

  /// -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
  private mutating func number() throws(JSONError) -> [UInt8] {
    let start = position
    if next == 45 { position += 1 }
    if next == 48 { position += 1 } else { try digits() }
    if next == 46 {
      position += 1
      try digits()
    }
    if next == 69 || next == 101 {
      position += 1
      if next == 43 || next == 45 { position += 1 }
      try digits()
    }
    return Array(bytes[start..<position])
  }

  private mutating func digits() throws(JSONError) {
    let start = position
    while let byte = next, byte >= 48 && byte <= 57 { position += 1 }
    if position == start { throw .unexpected(offset: position) }
  }

  private mutating func string() throws(JSONError) -> [UInt8] {
    var text: [UInt8] = []
    try expect(34)
    while true {
      guard let byte = next, byte >= 32 else { throw .unexpected(offset: position) }
      position += 1
      if byte == 34 { return text }
      if byte == 92 { try escape(into: &text) } else { text.append(byte) }
    }
  }

  private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
    guard let kind = next else { throw .unexpected(offset: position) }
    position += 1
    switch kind {
    case 34, 47, 92: text.append(kind)
    case 98: text.append(8)
    case 102: text.append(12)
    case 110: text.append(10)
    case 114: text.append(13)
    case 116: text.append(9)
    case 117:
      let first = try fourDigits()
      if first >= 0xd800 && first < 0xdc00 {
        try expect(92)
        try expect(117)
        let second = try fourDigits()
        if second < 0xdc00 || second > 0xdfff { throw .unexpected(offset: position) }
        append(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00), to: &text)
      } else if first >= 0xdc00 && first <= 0xdfff {
        throw .unexpected(offset: position)
      } else {
        append(first, to: &text)
      }
    default: throw .unexpected(offset: position - 1)
    }
  }

  private mutating func fourDigits() throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      let digit: UInt32
      switch next {
      case .some(let c) where c >= 48 && c <= 57: digit = UInt32(c) - 48
      case .some(let c) where c >= 65 && c <= 70: digit = UInt32(c) - 55
      case .some(let c) where c >= 97 && c <= 102: digit = UInt32(c) - 87
      default: throw .unexpected(offset: position)
      }
      value = value << 4 | digit
      position += 1
    }
    return value
  }

  private func append(_ scalar: UInt32, to text: inout [UInt8]) {
    if scalar < 0x80 {
      text.append(UInt8(scalar))
    } else if scalar < 0x800 {
      text += [0xc0 | UInt8(scalar >> 6), 0x80 | UInt8(scalar & 63)]
    } else if scalar < 0x10000 {
      text += [0xe0 | UInt8(scalar >> 12), 0x80 | UInt8(scalar >> 6 & 63), 0x80 | UInt8(scalar & 63)]
    } else {
      text += [
        0xf0 | UInt8(scalar >> 18), 0x80 | UInt8(scalar >> 12 & 63), 0x80 | UInt8(scalar >> 6 & 63),
        0x80 | UInt8(scalar & 63),
      ]
    }
  }
}
