// Netlink messages, built and read without trusting a length: the kernel's own format (netlink(7)), host byte order,
// attributes padded to four bytes. Readers answer nil where a message is shorter than it claims.

/// Message flags and the two message types every protocol shares (linux/netlink.h).
enum NetlinkFlag {
  static let request: UInt16 = 0x1
  static let ack: UInt16 = 0x4
  static let dump: UInt16 = 0x300
  static let replace: UInt16 = 0x100
  static let exclusive: UInt16 = 0x200
  static let create: UInt16 = 0x400
  /// Set by the kernel in a dump that a change overtook.
  static let dumpInterrupted: UInt16 = 0x10
}

enum NetlinkType {
  static let error: UInt16 = 2
  static let done: UInt16 = 3
}

/// Appends one message, or several in a row, to an array it owns.
struct NetlinkWriter {
  private(set) var bytes: [UInt8] = []
  private var start = 0

  /// A header; the length is set by `finish`.
  init(type: UInt16, flags: UInt16) {
    bytes.reserveCapacity(128)
    begin(type: type, flags: flags)
  }

  /// The next message of a batch; the one before is finished.
  mutating func begin(type: UInt16, flags: UInt16) {
    finish()
    start = bytes.count
    u32(0)
    u16(type)
    u16(flags | NetlinkFlag.request)
    u32(0)
    u32(0)
  }

  mutating func u8(_ value: UInt8) { bytes.append(value) }
  mutating func u16(_ value: UInt16) { withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) } }
  mutating func u32(_ value: UInt32) { withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) } }
  mutating func raw(_ payload: [UInt8]) { bytes.append(contentsOf: payload) }
  mutating func zeros(_ count: Int) { for _ in 0..<count { bytes.append(0) } }

  mutating func attribute(_ type: UInt16, _ value: [UInt8]) {
    u16(UInt16(truncatingIfNeeded: value.count + 4))
    u16(type)
    bytes.append(contentsOf: value)
    pad()
  }

  mutating func attribute(_ type: UInt16, u8 value: UInt8) { attribute(type, [value]) }
  mutating func attribute(_ type: UInt16, u32 value: UInt32) {
    attribute(type, withUnsafeBytes(of: value) { Array($0) })
  }
  /// Network order, as nf_tables wants its numbers.
  mutating func attribute(_ type: UInt16, be32 value: UInt32) { attribute(type, u32: value.bigEndian) }
  /// With the terminating zero.
  mutating func attribute(_ type: UInt16, text: [UInt8]) { attribute(type, text + [0]) }

  mutating func nested(_ type: UInt16, _ body: (inout NetlinkWriter) -> Void) {
    let at = bytes.count
    u16(0)
    u16(type | 0x8000)
    body(&self)
    patch16(at, UInt16(truncatingIfNeeded: bytes.count - at))
  }

  /// Sets the length of the last message.
  mutating func finish() {
    if bytes.count > start { patch32(start, UInt32(truncatingIfNeeded: bytes.count - start)) }
  }

  /// Numbers every message of the batch, so that answers can be told apart.
  mutating func number(_ sequence: UInt32) {
    finish()
    var at = 0
    while at + 16 <= bytes.count {
      patch32(at + 8, sequence)
      let size = Int(bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt32.self) })
      if size < 16 { return }
      at += size
    }
  }

  private mutating func pad() { while bytes.count & 3 != 0 { bytes.append(0) } }
  private mutating func patch16(_ at: Int, _ value: UInt16) {
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: at, as: UInt16.self) }
  }
  private mutating func patch32(_ at: Int, _ value: UInt32) {
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: at, as: UInt32.self) }
  }
}

/// A range of a received datagram. Every read is checked.
struct NetlinkView {
  let bytes: [UInt8]
  let start: Int
  let count: Int

  /// Nil when the range does not lie inside the bytes.
  init?(_ bytes: [UInt8], start: Int, count: Int) {
    guard start >= 0, count >= 0, start <= bytes.count, count <= bytes.count - start else { return nil }
    self.bytes = bytes
    self.start = start
    self.count = count
  }

  func u8(_ at: Int) -> UInt8? { at >= 0 && at < count ? bytes[start + at] : nil }
  func u16(_ at: Int) -> UInt16? { load(at, UInt16.self) }
  func u32(_ at: Int) -> UInt32? { load(at, UInt32.self) }
  func be32(_ at: Int) -> UInt32? { u32(at).map { UInt32(bigEndian: $0) } }
  func be64(_ at: Int) -> UInt64? { load(at, UInt64.self).map { UInt64(bigEndian: $0) } }

  private func load<T: FixedWidthInteger & BitwiseCopyable>(_ at: Int, _: T.Type) -> T? {
    guard at >= 0, count - at >= MemoryLayout<T>.size else { return nil }
    return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: start + at, as: T.self) }
  }

  var array: [UInt8] { Array(bytes[start..<start + count]) }
  /// Up to the first zero byte.
  var text: [UInt8] { Array(bytes[start..<start + count].prefix { $0 != 0 }) }

  /// The attributes that begin at `offset` (after the protocol's fixed header).
  func attributes(from offset: Int = 0) -> NetlinkAttributes { NetlinkAttributes(view: self, position: offset) }

  func attribute(_ type: UInt16, from offset: Int = 0) -> NetlinkView? {
    var all = attributes(from: offset)
    while let (t, value) = all.next() { if t == type { return value } }
    return nil
  }
}

/// Walks attributes; stops at the first that does not fit.
struct NetlinkAttributes {
  let view: NetlinkView
  var position: Int

  /// Type without its flag bits, and the value.
  mutating func next() -> (UInt16, NetlinkView)? {
    guard position >= 0, let length = view.u16(position), let type = view.u16(position + 2), length >= 4,
      Int(length) <= view.count - position,
      let value = NetlinkView(view.bytes, start: view.start + position + 4, count: Int(length) - 4)
    else { return nil }
    position += (Int(length) + 3) & ~3
    return (type & 0x3fff, value)
  }
}

/// One message of a datagram.
struct NetlinkMessage {
  let type: UInt16
  let flags: UInt16
  let sequence: UInt32
  let payload: NetlinkView

  /// Of an NLMSG_ERROR (0 is an acknowledgement) or of NLMSG_DONE: positive errno.
  var errorCode: Int32 {
    guard let raw = payload.u32(0) else { return 0 }
    return 0 &- Int32(bitPattern: raw)
  }
}

/// Walks the messages of a datagram; stops at the first that does not fit.
struct NetlinkMessages {
  let bytes: [UInt8]
  let end: Int
  var position = 0

  init(_ bytes: [UInt8], count: Int) {
    self.bytes = bytes
    end = min(max(0, count), bytes.count)
  }

  mutating func next() -> NetlinkMessage? {
    guard let header = NetlinkView(bytes, start: position, count: 16), end - position >= 16,
      let length = header.u32(0), length >= 16, Int(length) <= end - position,
      let type = header.u16(4), let flags = header.u16(6), let sequence = header.u32(8),
      let payload = NetlinkView(bytes, start: position + 16, count: Int(length) - 16)
    else { return nil }
    position += (Int(length) + 3) & ~3
    return NetlinkMessage(type: type, flags: flags, sequence: sequence, payload: payload)
  }
}
