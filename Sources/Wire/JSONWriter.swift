// Builds one JSON document (RFC 8259) for the control socket. Commas, nesting and escaping are its business; that keys
// are not repeated is the caller's.

import Core

/// A document in the making. Inside an object every value follows its `key`.
///
///     var json = JSONWriter()
///     json.beginObject()
///     json.field("name", "alpha")
///     json.key("ports")
///     json.array { json in json.string("eth0") }
///     json.endObject()
public struct JSONWriter {
  /// The document so far, UTF-8.
  public private(set) var bytes: [UInt8] = []
  /// A value has been written at this depth, so that the next one needs a comma.
  private var needsComma = false
  private var depth = 0

  public init(reserving capacity: Int = 256) { bytes.reserveCapacity(capacity) }

  // MARK: Structure

  public mutating func beginObject() { begin(123) }
  public mutating func endObject() { end(125) }
  public mutating func beginArray() { begin(91) }
  public mutating func endArray() { end(93) }

  /// An object whose members `body` writes.
  public mutating func object(_ body: (inout JSONWriter) -> Void) {
    beginObject()
    body(&self)
    endObject()
  }

  /// An array whose elements `body` writes.
  public mutating func array(_ body: (inout JSONWriter) -> Void) {
    beginArray()
    body(&self)
    endArray()
  }

  public mutating func key(_ name: StaticString) {
    separate()
    bytes.append(34)
    bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    bytes += [34, 58]
    needsComma = false
  }

  private mutating func begin(_ bracket: UInt8) {
    separate()
    bytes.append(bracket)
    depth += 1
    needsComma = false
  }

  private mutating func end(_ bracket: UInt8) {
    invariant(depth > 0, "as many ends as beginnings")
    bytes.append(bracket)
    depth -= 1
    needsComma = true
  }

  private mutating func separate() {
    if needsComma { bytes.append(44) }
    needsComma = true
  }

  // MARK: Values

  public mutating func string(_ text: String) {
    separate()
    quote(text.utf8)
  }

  /// Bytes that should be UTF-8; what is not becomes U+FFFD.
  public mutating func string(utf8 text: [UInt8]) {
    separate()
    quote(String(decoding: text, as: UTF8.self).utf8)
  }

  public mutating func integer(_ value: some BinaryInteger) {
    separate()
    // Decimal digits by hand: nothing of the library's formatting is needed for it.
    var magnitude = UInt64(value.magnitude)
    var digits: [UInt8] = []
    repeat {
      digits.append(48 + UInt8(magnitude % 10))
      magnitude /= 10
    } while magnitude > 0
    if value < 0 { bytes.append(45) }
    bytes.append(contentsOf: digits.reversed())
  }

  /// `value` thousandths as a number with three decimals, for milliseconds kept as microseconds and the like.
  public mutating func thousandths(_ value: Int64) {
    integer(value / 1000)
    if value < 0 && value > -1000 {
      bytes.removeLast()
      bytes += [45, 48]
    }
    let rest = (value % 1000).magnitude
    bytes += [46, 48 + UInt8(rest / 100), 48 + UInt8(rest / 10 % 10), 48 + UInt8(rest % 10)]
  }

  public mutating func bool(_ value: Bool) {
    separate()
    bytes.append(contentsOf: value ? "true".utf8 : "false".utf8)
  }

  public mutating func null() {
    separate()
    bytes.append(contentsOf: "null".utf8)
  }

  /// A value that is JSON already.
  public mutating func raw(_ document: [UInt8]) {
    separate()
    bytes.append(contentsOf: document)
  }

  // MARK: Members of an object

  public mutating func field(_ name: StaticString, _ value: String) {
    key(name)
    string(value)
  }

  public mutating func field(_ name: StaticString, utf8 value: [UInt8]) {
    key(name)
    string(utf8: value)
  }

  public mutating func field(_ name: StaticString, _ value: some BinaryInteger) {
    key(name)
    integer(value)
  }

  public mutating func field(_ name: StaticString, _ value: Bool) {
    key(name)
    bool(value)
  }

  /// Null when there is no value.
  public mutating func field(_ name: StaticString, _ value: String?) {
    key(name)
    if let value { string(value) } else { null() }
  }

  private mutating func quote(_ text: some Sequence<UInt8>) {
    bytes.append(34)
    for byte in text {
      switch byte {
      case 34, 92: bytes += [92, byte]
      case 10: bytes += [92, 110]
      case 13: bytes += [92, 114]
      case 9: bytes += [92, 116]
      case 0..<32, 127:
        let low = byte & 15
        bytes += [92, 117, 48, 48, 48 + byte >> 4, low < 10 ? 48 + low : 87 + low]
      default: bytes.append(byte)
      }
    }
    bytes.append(34)
  }
}
