// Tunnels in the loop, over the loopback of a namespace: real sockets, real routes, a personality that counts.

import Core
import Foundation
import Glibc
import Testing
import Wire

@testable import Runtime

@Suite(.serialized, .enabled(if: isRoot))
struct TunnelTests {
  private func configuration(_ peers: String = "", listen: String = "") throws -> TunnelConfiguration {
    var all = TunnelConfiguration()
    if !peers.isEmpty { all.peers = try TunnelPeer.list(Array(peers.utf8)) }
    if !listen.isEmpty { all.listener = try TunnelListener(Array(listen.utf8)) }
    all.exclude([10, 77, 0, 0], length: 16)
    return all
  }

  private func id(_ byte: UInt8) -> ComponentID {
    var bytes = Bytes16()
    bytes.withMutableBytes { $0[0] = byte }
    return ComponentID(bytes)
  }

  private func tunnel(_ loop: borrowing Loop<Relay>) throws -> PortNumber {
    try #require(loop.tunnels?.places[0].number)
  }

  private func events(_ loop: borrowing Loop<Relay>) -> String {
    String(decoding: loop.log.document(from: 1).bytes, as: UTF8.self)
  }

  @Test(arguments: ["127.0.0.1", "[::1]"])
  func `frames cross a tunnel both ways, a datagram each, and nothing is before them`(host: String) throws {
    try inNamespace([]) {
      var hub = try relayLoop([], tunnels: configuration(listen: "4500,cost=9"))
      var site = try relayLoop([], tunnels: configuration("\(host):4500"))
      let port = try #require(site.node.ports.first)
      #expect(site.node.statuses[port]?.medium == .tunnel && site.node.statuses[port]?.isUp == true)
      #expect(hub.node.ports.isEmpty)
      let first: [UInt8] = [1] + (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
      #expect(site.withNode { $0.send(first, on: port) })
      hub.turns { $0.node.received == 1 }
      #expect(hub.node.firstPayloads == [first] && hub.node.sources == [.tunnelEnd])
      let back = try #require(hub.node.ports.first)
      #expect(hub.node.statuses[back]?.cost == 9)
      // One that nobody is known for is no newcomer; a known peer's may be anything.
      for i in 0..<200 { #expect(hub.withNode { $0.send([UInt8(i)], on: back) }) }
      site.turns { $0.node.received == 200 }
      #expect(site.node.received == 200)
      site.withNode { for i in 0..<200 { _ = $0.send([6, UInt8(i)], on: port) } }
      hub.turns { $0.node.received == 201 }
      #expect(hub.node.received == 201 && hub.node.ports.count == 1)
      for loop in [hub.pool, site.pool] { #expect(loop.freeCount > 0) }
      site.shutdown()
      hub.shutdown()
      #expect(site.pool.freeCount + site.buffersHeld + (site.tunnels?.received.heldCount ?? 0) == site.pool.slabCount)
    }
  }

  @Test func `two that send to each other's ports are one link, not two`() throws {
    try inNamespace([]) {
      var a = try relayLoop([], tunnels: configuration("127.0.0.1:4502", listen: "4501"))
      var b = try relayLoop([], tunnels: configuration("127.0.0.1:4501", listen: "4502"))
      a.withNode { _ = $0.send([1, 2], on: $0.ports[0]) }
      b.turns { $0.node.received == 1 }
      b.withNode { _ = $0.send([1, 3], on: $0.ports[0]) }
      a.turns { $0.node.received == 1 }
      #expect(a.node.ports.count == 1 && b.node.ports.count == 1)
      #expect(a.node.firstPayloads == [[1, 3]] && b.node.firstPayloads == [[1, 2]])
      a.shutdown()
      b.shutdown()
    }
  }

  @Test func `strangers get eight places, garbage none, and who has proved itself keeps its place`() throws {
    try inNamespace([]) {
      var hub = try relayLoop([], tunnels: configuration(listen: "4500"))
      let senders = try (0..<30).map { _ in try DatagramSender(to: 4500) }
      for sender in senders { sender.send([7, 7]) }
      hub.turns { $0.tunnels?.counters.strangers == 30 }
      #expect(hub.tunnels?.counters.strangers == 30 && hub.node.ports.isEmpty)
      for sender in senders.prefix(12) { sender.send([1]) }
      hub.turns { $0.node.received == 8 && $0.tunnels?.counters.noPlace == 4 }
      #expect(hub.node.ports.count == 8 && hub.tunnels?.counters.noPlace == 4)
      // The first proves itself: there is room for one more.
      let proved = hub.node.ports[0]
      hub.withNode { $0.neighbours[proved] = TunnelNeighbour(id: id(1), isUp: true) }
      senders[12].send([1])
      hub.turns { $0.node.ports.count == 9 }
      #expect(hub.node.ports.count == 9)
      // Silent ones make room for newcomers, after 1.5 s; the proved one does not.
      usleep(1_600_000)
      for sender in senders.suffix(8) { sender.send([1]) }
      hub.turns { $0.node.vanished == 8 }
      #expect(hub.node.vanished == 8 && hub.node.ports.count == 9 && hub.node.ports.contains(proved))
      // In the end the silent are given up; numbers come again, but only after they vanished.
      for _ in 0..<700 where hub.node.ports.count > 1 { _ = hub.turn(waitingAtMost: .milliseconds(10)) }
      #expect(hub.node.ports == [proved])
      hub.shutdown()
    }
  }

  @Test func `newcomers are let in at 20 a second at most`() throws {
    try inNamespace([]) {
      var hub = try relayLoop([], tunnels: configuration(listen: "4500"))
      for i in 0..<40 {
        let sender = try DatagramSender(to: 4500)
        sender.send([1])
        hub.turns { $0.node.received + Int($0.tunnels?.counters.noPlace ?? 0) == i + 1 }
        // At once a member's: it takes none of the strangers' places.
        hub.withNode {
          for port in $0.ports { $0.neighbours[port] = TunnelNeighbour(id: id(UInt8(port.value)), isUp: true) }
        }
      }
      #expect((20...24).contains(hub.node.ports.count), "\(hub.node.ports.count)")
      hub.shutdown()
    }
  }

  @Test func `a member has four places at most, and the longest silent one goes`() throws {
    try inNamespace([]) {
      var hub = try relayLoop([], tunnels: configuration(listen: "4500"))
      for _ in 0..<6 {
        let sender = try DatagramSender(to: 4500)
        let before = hub.node.ports.count
        sender.send([1])
        hub.turns { $0.node.ports.count > before }
        hub.withNode { for port in $0.ports { $0.neighbours[port] = TunnelNeighbour(id: id(1), isUp: true) } }
      }
      let all = hub.node.ports
      for _ in 0..<300 where hub.node.ports.count > 4 { _ = hub.turn(waitingAtMost: .milliseconds(10)) }
      #expect(all.count == 6 && hub.node.ports == Array(all.suffix(4)))
      hub.shutdown()
    }
  }

  @Test func `a peer whose hello comes from elsewhere is sent to there, and a place it had there is gone`() throws {
    try inNamespace([]) {
      var hub = try relayLoop([], tunnels: configuration(listen: "4500"))
      let (before, after) = (try DatagramSender(to: 4500), try DatagramSender(to: 4500))
      before.send([1])
      hub.turns { $0.node.ports.count == 1 }
      let port = try #require(hub.node.ports.first)
      hub.withNode { $0.neighbours[port] = TunnelNeighbour(id: id(1), isUp: true) }
      after.send([1])
      hub.turns { $0.node.ports.count == 2 }
      after.send([3, UInt8(port.value)])
      hub.turns { $0.node.vanished == 1 }
      #expect(hub.node.ports == [port] && hub.tunnels?.counters.moved == 1)
      hub.withNode { _ = $0.send([9], on: port) }
      #expect(after.receive() == [9])
      while let other = before.receive() { #expect(other != [9]) }
      #expect(events(hub).contains("its peer is at 127.0.0.1:\(after.port) now"))
      hub.shutdown()
    }
  }

  @Test func `a peer in the management prefix is refused, configured or come by itself`() throws {
    try inNamespace([("a0", "b0")]) {
      try ip("addr add 10.77.0.9/16 dev a0")
      var node = try relayLoop([], tunnels: configuration("10.77.3.3:4500", listen: "4501"))
      #expect(events(node).contains("tunnel1 to 10.77.3.3:4500 is not used: its address is in the management prefix"))
      let port = try tunnel(node)
      #expect(node.node.statuses[port]?.isUp == false)
      node.withNode { _ = $0.send([1], on: port) }
      let ports = node.node.ports.count
      let sender = try DatagramSender(to: 4501, host: "10.77.0.9")
      sender.send([1])
      node.turns { $0.tunnels?.counters.overBearer == 1 }
      #expect(node.node.ports.count == ports && node.tunnels?.counters.overBearer == 1)
      node.shutdown()
    }
  }

  @Test func `a peer that refuses, and one without a route, cost neither the socket nor a busy loop`() throws {
    try inNamespace([]) {
      var node = try relayLoop([], tunnels: configuration("127.0.0.1:9,192.0.2.1:4500,127.0.0.1:4501"))
      let peer = try DatagramSender(listeningOn: 4501)
      #expect(events(node).contains("tunnel2 to 192.0.2.1:4500 is not used: there is no route to it"))
      let before = node.counters.turns
      for _ in 0..<20 {
        node.withNode { for port in $0.ports { _ = $0.send([1], on: port) } }
        _ = node.turn(waitingAtMost: .milliseconds(10))
      }
      #expect(node.counters.turns - before < 60)
      var got = 0
      while peer.receive() != nil { got += 1 }
      #expect(got == 20)
      #expect(node.tunnels?.places[1].counters.sendFailed == 20)
      node.shutdown()
    }
  }

  @Test func `the frame size follows the interface's MTU, and datagrams are never fragments`() throws {
    try inNamespace([]) {
      try ip("link set lo mtu 1400")
      var node = try relayLoop([], tunnels: configuration("127.0.0.1:4501,[::1]:4501"))
      let peer = try DatagramSender(listeningOn: 4501)
      #expect(node.node.ports.map { node.node.statuses[$0]?.frameSize } == [1372, 1352])
      try ip("link set lo mtu 1300")
      let (four, count) = (node.node.ports[0], 1372)
      node.withNode { _ = $0.send([UInt8](repeating: 1, count: count), on: four) }
      // It was refused, which makes the loop look: sooner than once a second.
      for _ in 0..<30 where node.node.statuses[four]?.frameSize == 1372 {
        _ = node.turn(waitingAtMost: .milliseconds(10))
      }
      #expect(node.node.statuses[four]?.frameSize == 1272)
      #expect(peer.receive() == nil)
      node.withNode { _ = $0.send([UInt8](repeating: 1, count: 1272), on: four) }
      #expect(peer.receive()?.count == 1272)
      node.shutdown()
    }
  }

  @Test func `a tunnel is down while there is no route and up again within a second of its return`() throws {
    try inNamespace([("a0", "b0")]) {
      try ip("addr add 192.0.2.1/24 dev a0")
      var node = try relayLoop([], tunnels: configuration("192.0.2.7:4500"))
      let port = try tunnel(node)
      func wait(_ isUp: Bool, _ node: inout Loop<Relay>) {
        for _ in 0..<150 where node.node.statuses[port]?.isUp != isUp {
          _ = node.turn(waitingAtMost: .milliseconds(10))
        }
        #expect(node.node.statuses[port]?.isUp == isUp)
      }
      wait(true, &node)
      try ip("addr del 192.0.2.1/24 dev a0")
      wait(false, &node)
      try ip("addr add 192.0.2.1/24 dev a0")
      wait(true, &node)
      #expect(node.node.vanished == 0)
      node.shutdown()
    }
  }

  @Test func `a listener of a host with two addresses answers from the one that was spoken to`() throws {
    try inNamespace([]) {
      try ip("addr add 192.0.2.1/32 dev lo")
      try ip("addr add 192.0.2.2/32 dev lo")
      var hub = try relayLoop([], tunnels: configuration(listen: "4500"))
      // It hears what comes from there only.
      let sender = try DatagramSender(to: 4500, host: "192.0.2.2", from: "192.0.2.1")
      sender.send([1])
      hub.turns { $0.node.ports.count == 1 }
      hub.withNode { _ = $0.send([9], on: $0.ports[0]) }
      #expect(sender.receive() == [9])
      // The address goes: the route chooses another, and the loop goes on.
      try ip("addr del 192.0.2.2/32 dev lo")
      hub.withNode { _ = $0.send([9], on: $0.ports[0]) }
      #expect(hub.tunnels?.places[0].address.local == Bytes16())
      hub.shutdown()
    }
  }

  @Test func `a port that is taken is reported, and the tunnel made when it is free`() throws {
    try inNamespace([]) {
      var taken: DatagramSender? = try DatagramSender(listeningOn: 4500)
      var hub = try relayLoop([], tunnels: configuration(listen: "127.0.0.1:4500"))
      hub.turns { _ in false }
      #expect(events(hub).contains("cannot open UDP port 4500 over IPv4 for tunnels"))
      #expect(taken != nil)
      taken = nil
      for family in hub.tunnels?.reopen(at: Process.now + .seconds(11)) ?? [] { #expect(family == 0) }
      #expect(hub.tunnels?.sockets[0]?.listens == true)
      hub.shutdown()
    }
  }

  @Test func `a flood at the listener leaves a port its share`() throws {
    try inNamespace([("a0", "b0")]) {
      var hub = try relayLoop(["b0"], tunnels: configuration(listen: "4500"))
      let (raw, flood) = (try RawSender("a0"), try DatagramSender(to: 4500))
      for round in 0..<50 {
        for i in 0..<100 { flood.send([UInt8(truncatingIfNeeded: i &* 7 &+ round), 0, 1, 2]) }
        raw.send(etherType: [0x88, 0xb5], [UInt8(round)])
        _ = hub.turn(waitingAtMost: .zero)
        // In the turn it came in: not behind the flood.
        #expect(hub.ports.sockets[0].counters.received == UInt64(round + 1))
      }
      hub.shutdown()
    }
  }

  @Test func `a packet for the management device that is a tunnel's own is told from others`() throws {
    try inNamespace([]) {
      var node = try relayLoop([], tunnels: configuration("192.0.2.1:4500,[2001:db8::1]:4500", listen: "4501"))
      let six: [UInt8] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
      let four: [UInt8] = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1]
      let header = [UInt8](repeating: 0, count: 10)
      func isOwn(_ packet: [UInt8]) -> Bool {
        var bytes = header + packet + [UInt8](repeating: 0, count: 20)
        return bytes.withUnsafeMutableBytes { node.tunnels?.isOwn($0) ?? false }
      }
      let ports: [UInt8] = [0x11, 0x95, 0x11, 0x94]
      #expect(isOwn(four + [192, 0, 2, 1] + ports))
      #expect(!isOwn(four + [192, 0, 2, 2] + ports))
      #expect(!isOwn(four + [192, 0, 2, 1] + [0x11, 0x96, 0x11, 0x94]))
      let start: [UInt8] = [0x60, 0, 0, 0, 0, 20, 17, 64] + [UInt8](repeating: 0xfd, count: 16)
      #expect(isOwn(start + six + [1] + ports))
      #expect(!isOwn(start + six + [2] + ports))
      for count in 0..<40 {
        var short = [UInt8](repeating: 0x4f, count: count)
        #expect(!short.withUnsafeMutableBytes { node.tunnels?.isOwn($0) ?? true })
      }
      node.shutdown()
    }
  }
}

/// A plain UDP socket on the loopback.
final class DatagramSender {
  let descriptor: Int32
  private(set) var port: UInt16 = 0

  /// Hears only what comes from there.
  init(to port: UInt16, host: String = "127.0.0.1", from source: String? = nil) throws {
    descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    if let source { try use(source, 0, bind) }
    try use(host, port, connect)
    var name = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    self.port = UInt16(bigEndian: name.sin_port)
  }

  init(listeningOn port: UInt16) throws {
    descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    self.port = port
    try use("127.0.0.1", port, bind)
  }

  deinit { close(descriptor) }

  private func use(
    _ host: String, _ port: UInt16, _ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) throws {
    var patience = timeval(tv_sec: 0, tv_usec: 50_000)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = port.bigEndian
    inet_pton(AF_INET, host, &name.sin_addr)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(descriptor, $0, size) }
    }
    if result != 0 { throw Refused(what: "UDP socket", errno: errno) }
  }

  func send(_ payload: [UInt8]) { _ = write(descriptor, payload, payload.count) }

  /// The next datagram, or nil when none comes for 50 ms.
  func receive() -> [UInt8]? {
    var room = [UInt8](repeating: 0, count: 4096)
    let count = read(descriptor, &room, room.count)
    return count < 0 ? nil : Array(room.prefix(count))
  }
}
