// The key of one link: how frames of types 3, 4 and 5 are sealed and checked (docs/PROTOCOL.md §1). On the packet path:
// in place, without allocation.

import Core
import Crypto

/// The keys of one direction.
struct DirectionKeys {
  /// ChaCha20; the nonce is the frame's counter.
  var stream = Bytes32()
  /// SipHash-2-4.
  var mac = Bytes16()

  /// From the key Noise's split gives for this direction.
  init(derivedFrom key: Bytes32) {
    stream = deriveKey(key, "link stream")
    var long = deriveKey(key, "link mac")
    mac = long.withBytes { Bytes16(loadingFrom: $0) }
    long.erase()
  }

  mutating func erase() {
    stream.erase()
    var wide = Bytes32()
    wide.erase()
    mac = wide.withBytes { Bytes16(loadingFrom: $0) }
  }
}

/// One key pair of a link with its counters: 96 B of keys, a window of 144 B, 264 B in all. What a hello needs, which is
/// only tagged, comes first.
struct LinkKey {
  var isLive = false
  var phase: UInt8 = 0
  /// The last counter used.
  var sendCounter: UInt64 = 0
  private var sendTag = Bytes16()
  private var receiveTag = Bytes16()
  var window = ReplayWindow<17>()
  private var sendStream = Bytes32()
  private var receiveStream = Bytes32()

  init() {}

  init(send: Bytes32, receive: Bytes32, phase: UInt8) {
    isLive = true
    self.phase = phase
    var there = DirectionKeys(derivedFrom: send)
    var back = DirectionKeys(derivedFrom: receive)
    (sendStream, sendTag) = (there.stream, there.mac)
    (receiveStream, receiveTag) = (back.stream, back.mac)
    there.erase()
    back.erase()
  }

  mutating func erase() {
    sendStream.erase()
    receiveStream.erase()
    var zero = Bytes32()
    zero.erase()
    sendTag = zero.withBytes { Bytes16(loadingFrom: $0) }
    receiveTag = sendTag
    isLive = false
  }

  /// What `open` finds.
  enum Opened {
    case authentic(counter: UInt64)
    case badTag
    case replayed
  }

  /// Fills the link header of the frame at `p` and protects it. Bytes 13 ..< `encryptedEnd` are encrypted (none when it
  /// is 13), 0 ..< `taggedEnd` are covered by the tag.
  @inline(__always)
  mutating func seal(
    _ p: UnsafeMutablePointer<UInt8>, head: UInt8, detour: UInt16, encryptedEnd: Int, taggedEnd: Int
  ) {
    sendCounter &+= 1
    p[0] = head
    storeBig32(UInt32(truncatingIfNeeded: sendCounter), p + LinkHeader.counter)
    storeBig16(detour, p + LinkHeader.detour)
    if encryptedEnd > LinkHeader.detour {
      StreamCipher.xor(
        p + LinkHeader.detour, count: encryptedEnd - LinkHeader.detour, key: sendStream, nonce: sendCounter)
    }
    storeBig32(UInt32(truncatingIfNeeded: sendCounter >> 32), p + LinkHeader.tag)
    storeBig32(0, p + LinkHeader.tag + 4)
    let tag = ShortMAC.sipHash24(p, count: taggedEnd, key: sendTag)
    storeLittle64(tag, p + LinkHeader.tag)
  }

  /// Checks the frame at `p`; the tag field is used up. Changes no state: `accept` does, when nothing else is wrong.
  @inline(__always)
  mutating func open(_ p: UnsafeMutablePointer<UInt8>, taggedEnd: Int) -> Opened {
    let counter = window.reconstruct(low: loadBig32(p + LinkHeader.counter))
    if !window.check(counter) { return .replayed }
    let tag = loadLittle64(p + LinkHeader.tag)
    storeBig32(UInt32(truncatingIfNeeded: counter >> 32), p + LinkHeader.tag)
    storeBig32(0, p + LinkHeader.tag + 4)
    if ShortMAC.sipHash24(p, count: taggedEnd, key: receiveTag) != tag {
      storeLittle64(tag, p + LinkHeader.tag)
      return .badTag
    }
    return .authentic(counter: counter)
  }

  @inline(__always)
  func decrypt(_ p: UnsafeMutablePointer<UInt8>, encryptedEnd: Int, counter: UInt64) {
    StreamCipher.xor(
      p + LinkHeader.detour, count: encryptedEnd - LinkHeader.detour, key: receiveStream, nonce: counter)
  }

  /// Decrypts what is behind `headerEnd`, up to which it is done already. The key stream comes in blocks of 64 bytes:
  /// what the one at hand does to the header's last bytes is undone.
  @inline(__always)
  func decryptRest(_ p: UnsafeMutablePointer<UInt8>, from headerEnd: Int, encryptedEnd: Int, counter: UInt64) {
    let start = p + LinkHeader.detour
    let block = (headerEnd - LinkHeader.detour) / 64
    let (from, done) = (start + block * 64, (headerEnd - LinkHeader.detour) % 64)
    var kept = InlineArray<64, UInt8>(repeating: 0)
    withUnsafeMutableBytes(of: &kept) { kept in
      guard let kept = kept.baseAddress else { return }
      kept.copyMemory(from: from, byteCount: done)
      StreamCipher.xor(
        from, count: encryptedEnd - LinkHeader.detour - block * 64, key: receiveStream, nonce: counter,
        fromBlock: UInt64(truncatingIfNeeded: block))
      UnsafeMutableRawPointer(from).copyMemory(from: kept, byteCount: done)
    }
  }
}
