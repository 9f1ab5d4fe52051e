// HELLO (docs/PROTOCOL.md §2): the sign of life on an authenticated adjacency. Here what stands behind the link header,
// which LinkProtection fills in.

import Core
import Wire

struct HelloFrame: Equatable {
  /// Of a small hello, link header included, bytes.
  static let size = 56
  /// Intervals a hello may announce, ms.
  static let intervals: ClosedRange<UInt16> = 10...1000
  static let lengthOffset = 54

  enum Flag {
    static let hearsYou: UInt8 = 1
    static let fullSize: UInt8 = 2
    static let leaving: UInt8 = 4
    static let answerNow: UInt8 = 8
    /// The sender doubts the link: the next hello of the receiver is overdue.
    static let missesYou: UInt8 = 16
  }

  var flags: UInt8
  /// The pace the sender asks for, ms.
  var interval: UInt16
  var epoch: UInt32
  /// Frames sent on this adjacency, this one included; low half.
  var sent: UInt32
  /// Authentic frames received on it; low half.
  var received: UInt32
  /// For the next handshake.
  var nonce: Bytes16
  /// The highest counter heard under the key that protects this hello; low half.
  var heard: UInt32
  /// The sender's frame size on this port, bytes.
  var frameSize: UInt16
  /// Of the largest frame heard of late, bytes.
  var largest: UInt16
  /// Of this hello, bytes: 56, or more in a full-size hello, which is padded with zeros.
  var length: UInt16

  init(
    flags: UInt8, interval: UInt16, epoch: UInt32, sent: UInt32, received: UInt32, nonce: Bytes16, heard: UInt32,
    frameSize: UInt16, largest: UInt16, length: UInt16
  ) {
    self.flags = flags
    self.interval = interval
    self.epoch = epoch
    self.sent = sent
    self.received = received
    self.nonce = nonce
    self.heard = heard
    self.frameSize = frameSize
    self.largest = largest
    self.length = length
  }

  /// With 15 zero bytes where the link header comes, and zeros up to `length`.
  func encode() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: max(Int(length), Self.size))
    bytes.withUnsafeMutableBufferPointer { if let p = $0.baseAddress { encode(into: p) } }
    return bytes
  }

  /// What stands between the link header and byte 56.
  @inline(__always)
  func encode(into p: UnsafeMutablePointer<UInt8>) {
    p[LinkHeader.size] = flags
    storeBig16(interval, p + 16)
    storeBig32(epoch, p + 18)
    storeBig32(sent, p + 22)
    storeBig32(received, p + 26)
    nonce.withBytes { UnsafeMutableRawPointer(p + 30).copyMemory(from: $0, byteCount: 16) }
    storeBig32(heard, p + 46)
    storeBig16(frameSize, p + 50)
    storeBig16(largest, p + 52)
    storeBig16(length, p + Self.lengthOffset)
  }

  /// From a frame of at least `size` bytes, which the caller has seen: fields in place, as everything on the packet path.
  @inline(__always)
  init(decoding p: UnsafePointer<UInt8>) throws(WireError) {
    flags = p[LinkHeader.size]
    interval = loadBig16(p + 16)
    epoch = loadBig32(p + 18)
    sent = loadBig32(p + 22)
    received = loadBig32(p + 26)
    nonce = Bytes16(loadingFrom: p + 30)
    heard = loadBig32(p + 46)
    frameSize = loadBig16(p + 50)
    largest = loadBig16(p + 52)
    length = loadBig16(p + Self.lengthOffset)
    if !Self.intervals.contains(interval) { throw .invalid(field: StaticFieldName("interval")) }
    if Int(frameSize) < Self.size { throw .invalid(field: StaticFieldName("frameSize")) }
    if Int(length) < Self.size { throw .invalid(field: StaticFieldName("length")) }
  }
}
