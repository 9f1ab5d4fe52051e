// Buffers ready to receive into, one system call for up to 64 frames. The node takes over what was filled; only those
// places get a new buffer before the next call, so that a batch of one costs one.

import CSystem
import Core

struct ReceiveBatch: ~Copyable {
  static let size = Int(CS_BATCH_FRAMES)
  /// Bytes of a frame that nobody has a buffer for, before they are thrown away.
  private static let wasteSize = 64

  private let pool: PacketPool
  /// Bytes before each frame: an Ethernet header, or nothing where datagrams are received.
  private let headerSize: Int
  private let kernel: OpaquePointer
  private let buffers: UnsafeMutablePointer<PacketBuffer>
  private let waste: UnsafeMutablePointer<UInt8>
  /// The places 0 ..< top have buffers, but for the first `missing`, whose buffers were handed on.
  private var top = 0
  private var missing = 0

  /// Buffers it keeps to receive into.
  var heldCount: Int { top - missing }

  /// Of packet sockets; with `datagrams` of UDP sockets, whose batches tell addresses.
  init(pool: PacketPool, datagrams: Bool = false) {
    self.pool = pool
    headerSize = datagrams ? 0 : PortSocket.headerSize
    kernel = datagrams ? cs_batch_create_addressed()! : cs_batch_create()!
    buffers = .allocate(capacity: ReceiveBatch.size)
    waste = .allocate(capacity: ReceiveBatch.wasteSize)
  }

  deinit {
    for place in missing..<top { pool.give(buffers[place]) }
    buffers.deallocate()
    waste.deallocate()
    cs_batch_destroy(kernel)
  }

  enum Outcome {
    /// Frames in the places 0 ..< count, each to be taken once, and whether there may be more in the socket.
    case frames(count: Int, mayBeMore: Bool)
    /// No buffer is free: this many frames were thrown away.
    case wasted(count: Int)
    /// Positive errno.
    case refused(Int32)
  }

  /// Receives what one call brings.
  mutating func receive(from descriptor: Int32) -> Outcome {
    refill()
    if top == 0 { return throwAway(from: descriptor) }
    let count = cs_batch_receive(descriptor, kernel, Int32(truncatingIfNeeded: top))
    if count < 0 { return .refused(0 &- count) }
    missing = Int(count)
    return .frames(count: missing, mayBeMore: missing == top)
  }

  private mutating func refill() {
    var place = 0
    while place < missing {
      if let buffer = pool.take() {
        set(place, buffer)
      } else if top > missing {
        top &-= 1
        set(place, buffers[top])
      } else {
        top = place
        break
      }
      place &+= 1
    }
    missing = 0
    while top < ReceiveBatch.size, let buffer = pool.take() {
      set(top, buffer)
      top &+= 1
    }
  }

  @inline(__always)
  private func set(_ place: Int, _ buffer: PacketBuffer) {
    buffers[place] = buffer
    cs_batch_set(
      kernel, Int32(truncatingIfNeeded: place), buffer.base + (PacketPool.headRoom - headerSize),
      UInt32(truncatingIfNeeded: buffer.capacity - (PacketPool.headRoom - headerSize)))
  }

  private func throwAway(from descriptor: Int32) -> Outcome {
    for place in 0..<ReceiveBatch.size {
      cs_batch_set(kernel, Int32(truncatingIfNeeded: place), waste, UInt32(ReceiveBatch.wasteSize))
    }
    let count = cs_batch_receive(descriptor, kernel, Int32(ReceiveBatch.size))
    return count < 0 ? .refused(0 &- count) : .wasted(count: Int(count))
  }

  /// The frame at a place without its Ethernet header, and the address it came from. Nil, and the buffer is back in the
  /// pool, when it was longer than a slab or shorter than a header.
  @inline(__always)
  func take(_ place: Int) -> (frame: PacketBuffer, source: MACAddress)? {
    var buffer = buffers[place]
    let length = Int(cs_batch_length(kernel, Int32(truncatingIfNeeded: place)))
    if length < PortSocket.headerSize {
      pool.give(buffer)
      return nil
    }
    buffer.start = PacketPool.headRoom
    buffer.count = length &- PortSocket.headerSize
    // The source address is the bytes 6 ..< 12; of the eight from byte 4 on, MACAddress keeps the low 48 bits.
    let header = UnsafeRawPointer(buffer.base + (PacketPool.headRoom - PortSocket.headerSize))
    let source = UInt64(bigEndian: header.loadUnaligned(fromByteOffset: 4, as: UInt64.self))
    return (buffer, MACAddress(source))
  }

  /// The datagram at a place, and the addresses it has. Nil, and the buffer is back in the pool, when it was longer than
  /// a slab, or empty.
  func takeDatagram(_ place: Int) -> (frame: PacketBuffer, address: TunnelAddress)? {
    var buffer = buffers[place]
    let length = Int(cs_batch_length(kernel, Int32(truncatingIfNeeded: place)))
    if length == 0 {
      pool.give(buffer)
      return nil
    }
    buffer.start = PacketPool.headRoom
    buffer.count = length
    var address = cs_peer_address()
    cs_batch_peer(kernel, Int32(truncatingIfNeeded: place), &address)
    return (buffer, TunnelAddress(address))
  }
}
