// One UDP socket, of one family, for all tunnels of that family, and the datagrams that wait to be sent on it. A datagram
// is a frame, without any header before it. A peer that cannot be reached costs the others nothing: what the kernel
// refuses is dropped, and ICMP does not reach an unconnected socket.

import CSystem
import Core
import Wire

struct TunnelSocket {
  /// Frames that wait at most: 256 × 48 B = 12 KiB a socket.
  static let queueLimit = 256
  static let bufferBytes: Int32 = 4 << 20

  let isIPv6: Bool
  let descriptor: Int32
  let port: UInt16
  /// Strangers are let in.
  let listens: Bool
  var isReadable = false
  var waitsForRoom = false
  private let ring: UnsafeMutablePointer<(frame: PacketBuffer, place: Int)>
  private var head = 0
  private(set) var waiting = 0

  @inline(never)
  init(isIPv6: Bool, address: InternetEndpoint?, port: UInt16, listens: Bool) throws(SystemError) {
    var options = cs_udp_options()
    options.ipv6 = isIPv6 ? 1 : 0
    if let address { options.address = TunnelAddress.words(address.address) }
    options.port = port
    options.priority = 7  // TC_PRIO_CONTROL
    options.buffer_bytes = TunnelSocket.bufferBytes
    let fd = try SystemError.check(
      cs_udp_open(&options), "open UDP port \(Int(port)) over \(isIPv6 ? "IPv6" : "IPv4") for tunnels")
    let bound = cs_udp_port(fd)
    if bound < 0 {
      cs_close(fd)
      throw SystemError(code: 0 &- bound, action: "bind a UDP port for tunnels")
    }
    descriptor = fd
    self.isIPv6 = isIPv6
    self.listens = listens
    self.port = UInt16(truncatingIfNeeded: bound)
    ring = .allocate(capacity: TunnelSocket.queueLimit)
  }

  /// Gives back what waits and closes the socket; the value is not used afterwards.
  mutating func close(returningTo pool: PacketPool) {
    while waiting > 0 { pool.give(popFirst().frame) }
    ring.deallocate()
    cs_close(descriptor)
  }

  /// False, and the frame is the caller's, when the ring is full.
  mutating func enqueue(_ frame: PacketBuffer, for place: Int) -> Bool {
    if waiting == TunnelSocket.queueLimit { return false }
    ring[(head &+ waiting) & (TunnelSocket.queueLimit - 1)] = (frame, place)
    waiting &+= 1
    return true
  }

  /// Sends what waits as far as the kernel takes it. Bounded: each step sends or drops a frame, or ends it.
  mutating func flush(_ batch: OpaquePointer, _ pool: PacketPool, _ places: UnsafeMutablePointer<TunnelPlace>) {
    waitsForRoom = false
    while waiting > 0 {
      let count = min(waiting, Int(CS_BATCH_FRAMES))
      for i in 0..<count {
        let (frame, place) = ring[(head &+ i) & (TunnelSocket.queueLimit - 1)]
        var peer = places[place].address.forKernel
        cs_batch_set(batch, Int32(truncatingIfNeeded: i), frame.bytes, UInt32(truncatingIfNeeded: frame.count))
        cs_batch_set_peer(batch, Int32(truncatingIfNeeded: i), &peer)
      }
      let sent = Int(cs_batch_send(descriptor, batch, Int32(truncatingIfNeeded: count)))
      if sent > 0 {
        for _ in 0..<sent {
          let (frame, place) = popFirst()
          places[place].counters.sent &+= 1
          places[place].counters.sentBytes &+= UInt64(truncatingIfNeeded: frame.count)
          pool.give(frame)
        }
        continue
      }
      let code = 0 &- Int32(truncatingIfNeeded: sent)
      if code == SystemCode.again {
        waitsForRoom = true
        return
      }
      let (frame, place) = popFirst()
      places[place].refused(frame.count, code)
      pool.give(frame)
    }
  }

  private mutating func popFirst() -> (frame: PacketBuffer, place: Int) {
    let first = ring[head]
    head = (head &+ 1) & (TunnelSocket.queueLimit - 1)
    waiting &-= 1
    return first
  }
}
