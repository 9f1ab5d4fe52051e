// One port's packet socket and what waits to be sent on it. Frames go out in batches, one system call for up to 64; what
// the driver does not take at once waits in a ring of fixed size, and beyond that is dropped and counted: the protocols
// above repeat what matters, and old frames are worth less than new ones.

import CSystem
import Core

/// What was counted on one port since it appeared. Frames, unless the name says otherwise.
struct PortCounters {
  var received: UInt64 = 0
  var receivedBytes: UInt64 = 0
  var sent: UInt64 = 0
  var sentBytes: UInt64 = 0
  /// Longer than a slab.
  var receivedTooLong: UInt64 = 0
  /// Arrived while no buffer was free.
  var receivedWithoutBuffer: UInt64 = 0
  /// Dropped by the kernel because the loop did not read in time.
  var kernelDropped: UInt64 = 0
  /// The ring was full.
  var queueDropped: UInt64 = 0
  /// The port was down, or the kernel refused the frame.
  var sendFailed: UInt64 = 0
}

struct PortSocket {
  /// Frames that wait at most: 256 × 40 B = 10 KiB a port.
  static let queueLimit = 256
  /// Refusals in a row (the driver's queue is full) after which the oldest frame is given up.
  static let refusalLimit = 16
  static let headerSize = 14

  let ifindex: Int32
  let number: PortNumber
  let descriptor: Int32
  var status: PortStatus
  var counters = PortCounters()
  /// The last readiness that epoll reported and that reading has not yet used up.
  var isReadable = false
  /// What sending waits for.
  var pace = Pace.free
  /// Listed among the ports to flush.
  var isDirty = false
  private var refusals = 0
  private let ring: UnsafeMutablePointer<PacketBuffer>
  private var head = 0
  private(set) var waiting = 0

  /// Takes over a descriptor of `open`.
  init(ifindex: Int32, number: PortNumber, status: PortStatus, descriptor: Int32) {
    self.ifindex = ifindex
    self.number = number
    self.status = status
    self.descriptor = descriptor
    ring = .allocate(capacity: PortSocket.queueLimit)
  }

  /// A packet socket on an interface: its descriptor, or -errno. Waits for RTNL.
  static func open(_ ifindex: Int32, bypass: Bool) -> Int32 {
    var options = cs_packet_options()
    options.ethertype = channelEtherType
    options.priority = 7  // TC_PRIO_CONTROL
    options.buffer_bytes = 4 << 20
    options.bypass_qdisc = bypass ? 1 : 0
    options.groups = (MACAddress.nearestBridge.value, MACAddress.wideDiscovery.value)
    return cs_packet_open(ifindex, &options)
  }

  /// False once the device it was opened on has gone, also when it has come back.
  var isBound: Bool { cs_packet_interface(descriptor) == ifindex }

  /// Gives back what waits; the value is not used afterwards. The descriptor is the caller's to have closed, which takes
  /// the kernel 4 to 16 ms a socket.
  mutating func end(returningTo pool: PacketPool) {
    dropAll(returningTo: pool)
    ring.deallocate()
  }

  /// Puts the Ethernet header before the frame and the frame into the ring. False, and the frame is the caller's, when
  /// the ring is full.
  @inline(__always)
  mutating func enqueue(_ frame: PacketBuffer, to destination: MACAddress) -> Bool {
    if waiting == PortSocket.queueLimit { return false }
    invariant(frame.start >= PortSocket.headerSize, "a frame to send has head room for its Ethernet header")
    var frame = frame
    frame.start &-= PortSocket.headerSize
    frame.count &+= PortSocket.headerSize
    let header = UnsafeMutableRawPointer(frame.bytes)
    // Destination and source, 48 bits each, most significant byte first, then the EtherType.
    let (to, from) = (destination.value, status.address.value)
    header.storeBytes(of: (to << 16 | from >> 32).bigEndian, toByteOffset: 0, as: UInt64.self)
    header.storeBytes(of: UInt32(truncatingIfNeeded: from).bigEndian, toByteOffset: 8, as: UInt32.self)
    header.storeBytes(of: channelEtherType.bigEndian, toByteOffset: 12, as: UInt16.self)
    ring[(head &+ waiting) & (PortSocket.queueLimit - 1)] = frame
    waiting &+= 1
    return true
  }

  enum Pace {
    /// For nothing: what is queued goes out with the next flush.
    case free
    /// The socket's send buffer is full; epoll will say when there is room.
    case waitsForRoom
    /// The driver's queue is full; nothing will tell when there is room, so it is tried again a little later.
    case triesLater
  }

  /// Sends what waits as far as the kernel takes it, and keeps the pace up to date.
  mutating func flush(_ batch: OpaquePointer, _ pool: PacketPool) {
    pace = send(batch, pool)
  }

  private mutating func send(_ batch: OpaquePointer, _ pool: PacketPool) -> Pace {
    while waiting > 0 {
      let count = min(waiting, Int(CS_BATCH_FRAMES))
      for i in 0..<count {
        let frame = ring[(head &+ i) & (PortSocket.queueLimit - 1)]
        cs_batch_set(batch, Int32(truncatingIfNeeded: i), frame.bytes, UInt32(truncatingIfNeeded: frame.count))
      }
      let sent = Int(cs_batch_send(descriptor, batch, Int32(truncatingIfNeeded: count)))
      if sent > 0 {
        for _ in 0..<sent {
          let frame = popFirst()
          counters.sentBytes &+= UInt64(truncatingIfNeeded: frame.count)
          pool.give(frame)
        }
        counters.sent &+= UInt64(sent)
        refusals = 0
        continue
      }
      switch 0 &- Int32(sent) {
      case SystemCode.again: return .waitsForRoom
      case SystemCode.noBuffers:
        refusals += 1
        if refusals < PortSocket.refusalLimit { return .triesLater }
        refusals = 0
        dropFirst(pool)
      case SystemCode.networkDown, SystemCode.noDevice, SystemCode.noSuchAddress:
        dropAll(returningTo: pool)
      default: dropFirst(pool)
      }
    }
    return .free
  }

  private mutating func popFirst() -> PacketBuffer {
    let frame = ring[head]
    head = (head &+ 1) & (PortSocket.queueLimit - 1)
    waiting &-= 1
    return frame
  }

  private mutating func dropFirst(_ pool: PacketPool) {
    counters.sendFailed &+= 1
    pool.give(popFirst())
  }

  private mutating func dropAll(returningTo pool: PacketPool) {
    while waiting > 0 { dropFirst(pool) }
  }

  /// Adds what the kernel dropped since the last call.
  mutating func readKernelDrops() {
    let drops = cs_packet_drops(descriptor)
    if drops > 0 { counters.kernelDropped &+= UInt64(drops) }
  }
}

/// The errno values the runtime decides by; the same on every Linux port of Swift's Embedded targets.
enum SystemCode {
  static let again: Int32 = 11
  static let noSuchAddress: Int32 = 6
  static let noDevice: Int32 = 19
  static let invalid: Int32 = 22
  static let messageTooLong: Int32 = 90
  static let addressNotAvailable: Int32 = 99
  static let networkDown: Int32 = 100
  static let networkUnreachable: Int32 = 101
  static let noBuffers: Int32 = 105
}
