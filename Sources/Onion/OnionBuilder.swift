// Builds the onion header of each frame of one route: by an MA for the way to a component, by a component for its one
// way back. Working memory is allocated once; building allocates nothing. Cost: one ChaCha20 stream and one SipHash a hop.

import Core
import Crypto

/// One route as its source sees it.
public final class OnionBuilder {
  public let route: UInt32
  public let size: OnionSize
  private let hops: [RouteHop]
  private let streams: UnsafeMutablePointer<UInt8>
  private let filler: UnsafeMutablePointer<UInt8>
  private let streamSize: Int
  /// Counter of the last header built.
  public private(set) var counter: UInt32 = 0
  private var decoy: Entropy

  /// A route is replaced before its counter reaches this, so that 32 bits never wrap.
  public static let counterLimit: UInt32 = 1 << 31
  /// Beyond this a replacement is asked for.
  public static let replaceAfter: UInt32 = 1 << 30

  /// Nil when there is no hop, or more than N.
  public init?(route: UInt32, size: OnionSize, hops: [RouteHop], entropy: inout Entropy) {
    guard !hops.isEmpty, hops.count <= size.entries else { return nil }
    self.route = route
    self.size = size
    self.hops = hops
    streamSize = OnionLayout.entrySize * (size.entries + 1)
    streams = .allocate(capacity: streamSize * hops.count)
    filler = .allocate(capacity: streamSize)
    decoy = entropy.fork()
  }

  deinit {
    streams.deallocate()
    filler.deallocate()
  }

  public var isWornOut: Bool { counter >= OnionBuilder.replaceAfter }

  /// Writes bytes 15 ..< size.endToEnd of `frame`. False, and nothing useful written, when the route's counter is used up.
  public func build(_ frame: UnsafeMutablePointer<UInt8>, class onionClass: OnionClass) -> Bool {
    guard counter < OnionBuilder.counterLimit else { return false }
    counter += 1
    let entrySize = OnionLayout.entrySize
    let entries = frame + OnionLayout.entries
    let entryBytes = entrySize * size.entries
    let last = hops.count - 1
    frame[OnionLayout.classByte] = onionClass.byte
    store(route, at: frame + OnionLayout.route)
    store(counter, at: frame + OnionLayout.counter)
    for i in 0...last {
      StreamCipher.keystream(streams + i * streamSize, count: streamSize, key: hops[i].entryKey, nonce: UInt64(counter))
    }
    // The filler as the last hop sees it: what each earlier hop's shifting puts at the end.
    for i in 0..<last {
      let length = entrySize * (i + 1)
      (filler + length - entrySize).update(repeating: 0, count: entrySize)
      let tail = streams + i * streamSize + streamSize - length
      for j in 0..<length { filler[j] ^= tail[j] }
    }
    let fillerBytes = entrySize * last
    decoy.fill(entries + entrySize, count: entryBytes - entrySize - fillerBytes)
    (entries + entryBytes - fillerBytes).update(from: filler, count: fillerBytes)
    decoy.fill(frame + OnionLayout.mac, count: 8)
    writeEntry(last, entries: entries, nextMAC: frame + OnionLayout.mac)
    writeMAC(last, frame: frame)
    var i = last
    while i > 0 {
      i -= 1
      let stream = streams + i * streamSize
      var j = entryBytes - 1
      while j >= entrySize {
        entries[j] = entries[j - entrySize] ^ stream[j]
        j -= 1
      }
      writeEntry(i, entries: entries, nextMAC: frame + OnionLayout.mac)
      writeMAC(i, frame: frame)
    }
    return true
  }

  private func writeEntry(_ i: Int, entries: UnsafeMutablePointer<UInt8>, nextMAC: UnsafeMutablePointer<UInt8>) {
    let stream = streams + i * streamSize
    let hidden = hops[i].hiddenEgress
    entries[0] = UInt8(hidden >> 8) ^ stream[0]
    entries[1] = UInt8(hidden & 255) ^ stream[1]
    for j in 0..<8 { entries[2 + j] = nextMAC[j] ^ stream[2 + j] }
  }

  private func writeMAC(_ i: Int, frame: UnsafeMutablePointer<UInt8>) {
    let mac = onionMAC(frame, size: size, key: hops[i].macKey)
    storeMAC(mac, at: frame + OnionLayout.mac)
  }
}

/// SipHash-2-4 over the onion header, with the MAC field holding N and zeros meanwhile. Leaves that field changed.
func onionMAC(_ frame: UnsafeMutablePointer<UInt8>, size: OnionSize, key: Bytes16) -> UInt64 {
  storeMAC(UInt64(size.entries), at: frame + OnionLayout.mac)
  return ShortMAC.sipHash24(
    frame + OnionLayout.classByte, count: size.endToEnd - OnionLayout.classByte, key: key)
}

@inline(__always)
func storeMAC(_ value: UInt64, at p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.littleEndian, as: UInt64.self)
}

@inline(__always)
func loadMAC(_ p: UnsafeMutablePointer<UInt8>) -> UInt64 {
  UInt64(littleEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt64.self))
}

@inline(__always)
func store(_ value: UInt32, at p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.bigEndian, as: UInt32.self)
}

@inline(__always)
func load(_ p: UnsafeMutablePointer<UInt8>) -> UInt32 {
  UInt32(bigEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt32.self))
}
