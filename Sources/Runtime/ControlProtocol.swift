// The framing on the control socket. A request is u32 length, then u16 number of words, each u16 length and bytes, then
// u32 length and bytes of the attachment. An answer is one status byte, u32 length and that many bytes. Big-endian.

import Core
import Wire

enum ControlProtocol {
  /// A request's body, bytes: 1,024 enrolment records of 514 B, and words.
  static let requestLimit = 1024 * 514 + 4096
  static let wordLimit = 64
  static let answerHeaderSize = 5
  /// What the client believes; an authority with thousands of members answers with some hundred bytes for each.
  static let answerLimit = 16 << 20

  enum Status: UInt8 {
    /// One JSON document.
    case document = 0
    /// One line of text.
    case failure = 1
    /// One JSON document, and more will follow.
    case part = 2
  }

  static func encode(_ request: ControlRequest) -> [UInt8] {
    var body = ByteWriter(reserving: 256 + request.attachment.count)
    body.u16(UInt16(truncatingIfNeeded: request.words.count))
    for word in request.words {
      body.u16(UInt16(truncatingIfNeeded: word.count))
      body.array(word)
    }
    body.u32(UInt32(truncatingIfNeeded: request.attachment.count))
    body.array(request.attachment)
    var whole = ByteWriter(reserving: body.bytes.count + 4)
    whole.u32(UInt32(truncatingIfNeeded: body.bytes.count))
    whole.array(body.bytes)
    return whole.bytes
  }

  /// A request from its body (without the length in front).
  static func decode(_ body: Span<UInt8>) throws(WireError) -> ControlRequest {
    var reader = ByteReader(body)
    let count = Int(try reader.u16())
    if count == 0 || count > wordLimit { throw .invalid(field: StaticFieldName("number of words")) }
    var words: [[UInt8]] = []
    for _ in 0..<count {
      let length = Int(try reader.u16())
      words.append(try reader.array(length))
    }
    let length = Int(try reader.u32())
    let attachment = try reader.array(length)
    if reader.remaining != 0 { throw .invalid(field: StaticFieldName("attachment length")) }
    return ControlRequest(words: words, attachment: attachment)
  }

  static func answer(_ status: Status, _ bytes: [UInt8]) -> [UInt8] {
    var writer = ByteWriter(reserving: bytes.count + answerHeaderSize)
    writer.u8(status.rawValue)
    writer.u32(UInt32(truncatingIfNeeded: bytes.count))
    writer.array(bytes)
    return writer.bytes
  }
}
