// What building and opening a header have in common: byte order, the MAC, the key streams of consecutive counters, and
// moving the entries by one layer. Entries are moved eight bytes at a time, since pointer `update` and loops over bytes
// are slow in the Embedded build; the last, overlapping word of a row is read before it can have been written.

import Core
import Crypto

extension OnionSize {
  /// Bytes of all entries.
  @inline(__always)
  var entryBytes: Int { OnionLayout.entrySize * entries }

  /// Bytes from one counter's key stream to the next one's: 10·(N + 1), rounded up to whole ChaCha20 blocks.
  @inline(__always)
  var streamStride: Int { (entryBytes + OnionLayout.entrySize + 63) & ~63 }

  /// For how many consecutive counters streams are made in one go. One call for 512 bytes costs what one for 90 bytes
  /// does where ChaCha20 works on eight blocks at once; the limit is memory, 768 B a hop of a route.
  @inline(__always)
  var streamsAtOnce: Int { entries <= 16 ? 4 : entries == 32 ? 2 : 1 }

  /// Room for `streamsAtOnce` streams as they are made: 512, 768, 768, 768 bytes.
  @inline(__always)
  var windowBytes: Int { wholeBatches(streamStride * streamsAtOnce) }

  static let windowLimit = 768
}

/// ChaCha20 works on four or eight blocks at once: three blocks left over cost more than four (704 bytes 497 ns, 768 399).
@inline(__always)
func wholeBatches(_ bytes: Int) -> Int { (bytes + 255) & ~255 }

/// Writes the key streams of `count` consecutive counters from `counter` on, each at a multiple of the stride. There is
/// room for whole batches.
@inline(__always)
func makeStreams(
  _ out: UnsafeMutablePointer<UInt8>, size: OnionSize, from counter: UInt32, count: Int, key: Bytes32
) {
  let blocks = UInt64(truncatingIfNeeded: size.streamStride >> 6)
  StreamCipher.keystream(
    out, count: wholeBatches(size.streamStride &* count), key: key, nonce: 0, fromBlock: UInt64(counter) &* blocks)
}

/// SipHash-2-4 over the onion header, with the MAC field holding N and zeros meanwhile. Leaves that field changed.
@inline(__always)
func onionMAC(_ frame: UnsafeMutablePointer<UInt8>, size: OnionSize, key: Bytes16) -> UInt64 {
  storeMAC(UInt64(truncatingIfNeeded: size.entries), at: frame + OnionLayout.mac)
  return ShortMAC.sipHash24(
    frame + OnionLayout.classByte, count: size.endToEnd &- OnionLayout.classByte, key: key)
}

/// Takes the first entry off: the rest moves to the front, decrypted, and key stream fills up behind.
@inline(__always)
func unwrap(_ entries: UnsafeMutablePointer<UInt8>, size: OnionSize, stream: UnsafePointer<UInt8>) {
  let entrySize = OnionLayout.entrySize
  let end = size.entryBytes
  let lastWord = end &- entrySize &- 8
  var j = 0
  while j < lastWord {
    storeXOR(entries + j, entries + j + entrySize, stream + j + entrySize)
    j &+= 8
  }
  storeXOR(entries + lastWord, entries + end - 8, stream + end - 8)
  copyEntry(entries + end - entrySize, from: stream + end)
}

/// The inverse of `unwrap`: makes room for one entry at the front and encrypts the rest; the last entry drops out.
@inline(__always)
func wrap(_ entries: UnsafeMutablePointer<UInt8>, size: OnionSize, stream: UnsafePointer<UInt8>) {
  let entrySize = OnionLayout.entrySize
  var j = size.entryBytes &- 8
  while j > entrySize {
    storeXOR(entries + j, entries + j - entrySize, stream + j)
    j &-= 8
  }
  storeXOR(entries + entrySize, entries, stream + entrySize)
}

/// out[0..<8] = a[0..<8] XOR b[0..<8].
@inline(__always)
func storeXOR(_ out: UnsafeMutablePointer<UInt8>, _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>) {
  let word = UnsafeRawPointer(a).loadUnaligned(as: UInt64.self) ^ UnsafeRawPointer(b).loadUnaligned(as: UInt64.self)
  UnsafeMutableRawPointer(out).storeBytes(of: word, as: UInt64.self)
}

/// The ten bytes of an entry.
@inline(__always)
func copyEntry(_ out: UnsafeMutablePointer<UInt8>, from source: UnsafePointer<UInt8>) {
  let word = UnsafeRawPointer(source).loadUnaligned(as: UInt64.self)
  UnsafeMutableRawPointer(out).storeBytes(of: word, as: UInt64.self)
  let rest = UnsafeRawPointer(source + 8).loadUnaligned(as: UInt16.self)
  UnsafeMutableRawPointer(out + 8).storeBytes(of: rest, as: UInt16.self)
}

/// out[0..<count] ^= source[0..<count]; `count` is even.
@inline(__always)
func xor(_ out: UnsafeMutablePointer<UInt8>, with source: UnsafePointer<UInt8>, count: Int) {
  var j = 0
  while j &+ 8 <= count {
    storeXOR(out + j, out + j, source + j)
    j &+= 8
  }
  while j < count {
    let pair =
      UnsafeRawPointer(out + j).loadUnaligned(as: UInt16.self)
      ^ UnsafeRawPointer(source + j).loadUnaligned(as: UInt16.self)
    UnsafeMutableRawPointer(out + j).storeBytes(of: pair, as: UInt16.self)
    j &+= 2
  }
}

/// The MAC is read as the little-endian number its eight bytes are.
@inline(__always)
func storeMAC(_ value: UInt64, at p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.littleEndian, as: UInt64.self)
}

@inline(__always)
func loadMAC(_ p: UnsafePointer<UInt8>) -> UInt64 {
  UInt64(littleEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt64.self))
}

@inline(__always)
func store(_ value: UInt32, at p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.bigEndian, as: UInt32.self)
}

@inline(__always)
func load(_ p: UnsafePointer<UInt8>) -> UInt32 {
  UInt32(bigEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt32.self))
}

@inline(__always)
func storeShort(_ value: UInt16, at p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.bigEndian, as: UInt16.self)
}

@inline(__always)
func loadShort(_ p: UnsafePointer<UInt8>) -> UInt16 {
  UInt16(bigEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt16.self))
}
