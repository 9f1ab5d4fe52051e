// Builds the onion header of each frame of one route: by an MA for a way to a component, by a component for a way back.
// Working memory is allocated with the first header, since most ways only stand by; later ones allocate nothing. Cost a hop: one SipHash, and one ChaCha20 call
// every few frames, which makes the streams of several counters at once.

import Core
import Crypto

/// One route as its source sees it.
public final class OnionBuilder {
  public let route: UInt32
  public let size: OnionSize
  private let hopCount: Int
  /// `hopCount` shares; behind them, where the way is shorter than N, one of nobody's, whose stream pads the header.
  private let shares: UnsafeMutablePointer<RouteHop>
  private let shareCount: Int
  /// A window of streams for each share: counters `windowStart ..< windowStart + windowCount`.
  private var streams: UnsafeMutablePointer<UInt8>?
  private var windowStart: UInt32 = 0
  private var windowCount: UInt32 = 0
  /// Counter of the last header built.
  public internal(set) var counter: UInt32 = 0

  /// A route is replaced before its counter reaches this, so that 32 bits never wrap.
  public static let counterLimit: UInt32 = 1 << 31
  /// Beyond this a replacement is asked for.
  public static let replaceAfter: UInt32 = 1 << 30

  /// Nil when there is no hop, or more than N. Memory: 50 B a hop, and from the first header on 768 B more at most.
  public init?(route: UInt32, size: OnionSize, hops: [RouteHop], entropy: inout Entropy) {
    guard !hops.isEmpty, hops.count <= size.entries else { return nil }
    self.route = route
    self.size = size
    hopCount = hops.count
    shareCount = hops.count < size.entries ? hops.count + 1 : hops.count
    shares = .allocate(capacity: shareCount)
    for i in hops.indices { (shares + i).initialize(to: hops[i]) }
    if shareCount > hopCount { (shares + hopCount).initialize(to: RouteHop(decoyFrom: &entropy)) }
  }

  deinit {
    for i in 0..<shareCount { shares[i].entryKey.erase() }
    shares.deallocate()
    streams?.deallocate()
  }

  public var isWornOut: Bool { counter >= OnionBuilder.replaceAfter }

  /// Writes bytes 15 ..< size.endToEnd of `frame`. False, and nothing written, when the route's counter is used up.
  public func build(_ frame: UnsafeMutablePointer<UInt8>, class onionClass: OnionClass) -> Bool {
    guard counter < OnionBuilder.counterLimit else { return false }
    counter &+= 1
    if counter &- windowStart >= windowCount { fillWindow() }
    guard let streams else { return false }
    let first = streams + Int(truncatingIfNeeded: counter &- windowStart) &* size.streamStride
    let stride = size.windowBytes
    let entrySize = OnionLayout.entrySize
    let entries = frame + OnionLayout.entries
    let macField = frame + OnionLayout.mac
    frame[OnionLayout.classByte] = onionClass.byte
    store(route, at: frame + OnionLayout.route)
    store(counter, at: frame + OnionLayout.counter)
    let last = hopCount &- 1
    writeTail(entries, first, stride)
    // What the last hop would take for the MAC of a next one: nobody's stream, or what the first hop's leaves over.
    var mac = loadMAC(shareCount > hopCount ? first + hopCount &* stride : first + size.entryBytes + entrySize)
    var i = last
    while true {
      let stream = first + i &* stride
      if i < last { wrap(entries, size: size, stream: stream) }
      storeShort(shares[i].hiddenEgress ^ loadShort(stream), at: entries)
      storeMAC(mac ^ loadMAC(stream + 2), at: entries + 2)
      mac = onionMAC(frame, size: size, key: shares[i].macKey)
      if i == 0 { break }
      i &-= 1
    }
    storeMAC(mac, at: macField)
    return true
  }

  /// The entries as the last hop finds them, its own left open: padding, fresh in every frame since a constant one would
  /// tell the last hop how long the way is, and at the end what the shifting of the hops before has left there.
  @inline(__always)
  private func writeTail(_ entries: UnsafeMutablePointer<UInt8>, _ first: UnsafePointer<UInt8>, _ stride: Int) {
    let entrySize = OnionLayout.entrySize
    let fillerBytes = entrySize &* (hopCount &- 1)
    let end = size.entryBytes
    if shareCount > hopCount {
      UnsafeMutableRawPointer(entries + entrySize).copyMemory(
        from: first + hopCount &* stride + entrySize, byteCount: end &- entrySize &- fillerBytes)
    }
    if fillerBytes == 0 { return }
    // Hop i leaves i + 1 entries at the end: those of the hop before, moved up and decrypted, and one of key stream.
    let tail = entries + end - fillerBytes
    var i = 0
    while i < hopCount &- 1 {
      let stream = first + i &* stride + end - entrySize &* i
      xor(tail, with: stream, count: entrySize &* i)
      copyEntry(tail + i &* entrySize, from: stream + i &* entrySize)
      i &+= 1
    }
  }

  private func fillWindow() {
    let capacity = size.windowBytes * shareCount
    let streams = self.streams ?? .allocate(capacity: capacity)
    if self.streams == nil { streams.initialize(repeating: 0, count: capacity) }
    self.streams = streams
    windowStart = counter
    windowCount = UInt32(truncatingIfNeeded: size.streamsAtOnce)
    for i in 0..<shareCount {
      makeStreams(
        streams + i &* size.windowBytes, size: size, from: counter, count: size.streamsAtOnce, key: shares[i].entryKey)
    }
  }
}
