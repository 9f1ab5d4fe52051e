// The self-probe of one address family: does a packet from the management network reach this host's stack, and does one
// of the host's own reach the management network? Asked from a reserved address, both ways, over the TUN device, so that
// every address, route, rule and filter on the way is asked too.

import CSystem
import Core
import Wire

/// What a round asks, and what it still waits for.
struct ProbeSet: OptionSet {
  var rawValue: UInt8
  /// An echo request from the network; the host's stack answers.
  static let echoIn = ProbeSet(rawValue: 1)
  /// An echo request from a socket of this host, and the answer back to it.
  static let echoOut = ProbeSet(rawValue: 2)
  /// A datagram from the network to a socket of this host. A filter that lets echoes pass may drop it.
  static let datagramIn = ProbeSet(rawValue: 4)
  static let datagramOut = ProbeSet(rawValue: 8)
  /// The opening of a connection to port 22; a refusal is an answer too.
  static let connectIn = ProbeSet(rawValue: 16)

  static let brief: ProbeSet = [.echoIn, .echoOut]
  static let full: ProbeSet = [.echoIn, .echoOut, .datagramIn, .datagramOut, .connectIn]
  static let inward: ProbeSet = [.echoIn, .datagramIn, .connectIn]
  static let outward: ProbeSet = [.echoOut, .datagramOut]

  /// "echo in, connection in".
  var text: String {
    var out = ""
    func add(_ member: ProbeSet, _ name: StaticString) {
      if contains(member) { out += out.isEmpty ? "\(name)" : ", \(name)" }
    }
    add(.echoIn, "echo in")
    add(.echoOut, "echo out")
    add(.datagramIn, "datagram in")
    add(.datagramOut, "datagram out")
    add(.connectIn, "connection in")
    return out
  }
}

struct ProbePath {
  /// The bearer's own address.
  let own: IPPrefix
  /// The address the network's side of the probe speaks from; no member ever has it.
  let reserved: [UInt8]
  let mark: ProbeMark
  private let echoSocket: Int32
  private let datagramSocket: Int32
  private let datagramPort: UInt16
  private var round: UInt32 = 0
  /// Asked in this round and not answered.
  private(set) var pending: ProbeSet = []
  /// What failed when it was last asked.
  var failing: ProbeSet = []
  /// The host answers no echoes (icmp_echo_ignore_all): datagrams ask in their place.
  var isEchoIgnored = false
  /// A round has been judged.
  var isKnown = false

  /// Source of datagrams from the network, and destination of those to it: different, so that a connection tracker
  /// never takes one for the answer to the other.
  private static let inwardPort: UInt16 = 40001
  private static let outwardPort: UInt16 = 40002

  init(own: IPPrefix, cookie: [UInt8]) {
    self.own = own
    reserved = ProbePath.reservedAddress(own)
    mark = ProbeMark(cookie: cookie, round: 0)
    let six: Int32 = own.isIPv6 ? 1 : 0
    var port: UInt16 = 0
    echoSocket = cs_probe_open_echo(six)
    datagramSocket = own.address.withUnsafeBufferPointer { cs_probe_open_datagram(six, $0.baseAddress, &port) }
    datagramPort = port
  }

  func close() {
    cs_net_close(echoSocket)
    cs_net_close(datagramSocket)
  }

  var isIPv6: Bool { own.isIPv6 }
  var familyText: String { isIPv6 ? "IPv6" : "IPv4" }

  /// The last address but one of an IPv4 prefix (x.y.255.254 of a /16), ::fffe of an IPv6 one; the one before when the
  /// host has that itself.
  static func reservedAddress(_ own: IPPrefix) -> [UInt8] {
    var address = own.network.address
    let last = address.count - 1
    if own.isIPv6 {
      address[last - 1] = 0xff
    } else {
      for i in 0..<4 {
        let bits = own.length - 8 * i
        if bits <= 0 { address[i] = 255 } else if bits < 8 { address[i] |= 0xff >> UInt8(bits) }
      }
    }
    address[last] = own.isIPv6 ? 0xfe : address[last] & 0xfe
    if address == own.address { address[last] &-= 1 }
    return address
  }

  /// Identifiers differ from round to round and by direction: a tracker's memory of an older round helps no newer one.
  private var inwardIdentifier: UInt16 { UInt16(truncatingIfNeeded: round) | 0x8000 }
  private var outwardIdentifier: UInt16 { UInt16(truncatingIfNeeded: round) & 0x7fff }
  private var connectSource: UInt16 { 40_100 + UInt16(truncatingIfNeeded: round % 20_000) }
  private var currentMark: ProbeMark { ProbeMark(cookie: mark.cookie, round: round) }

  /// Asks; `inject` writes into the TUN device.
  mutating func begin(round: UInt32, full: Bool, inject: ([UInt8]) -> Void) {
    self.round = round
    let payload = currentMark.bytes
    var asked = full ? ProbeSet.full : ProbeSet.brief
    if isEchoIgnored {
      asked.remove(.echoIn)
      asked.insert(.datagramIn)
    }
    pending = asked
    if asked.contains(.echoIn) {
      inject(
        ProbePacket.echo(
          from: reserved, to: own.address, isRequest: true, identifier: inwardIdentifier, payload: payload))
    }
    if asked.contains(.datagramIn) {
      inject(
        ProbePacket.datagram(
          from: reserved, port: ProbePath.inwardPort, to: own.address, port: datagramPort, payload: payload))
    }
    if asked.contains(.connectIn) {
      inject(
        ProbePacket.segment(
          from: reserved, port: connectSource, to: own.address, port: ProbePacket.connectPort, sequence: round,
          flags: TCPFlag.syn))
    }
    if asked.contains(.echoOut) {
      var body = ProbePacket.echoBody(
        isIPv6: isIPv6, isRequest: true, identifier: outwardIdentifier, payload: payload)
      if !isIPv6 {
        let sum = ProbePacket.checksum(body)
        body[2] = UInt8(sum >> 8)
        body[3] = UInt8(sum & 255)
      }
      send(echoSocket, port: 0, body)
    }
    if asked.contains(.datagramOut) { send(datagramSocket, port: ProbePath.outwardPort, payload) }
  }

  private func send(_ socket: Int32, port: UInt16, _ bytes: [UInt8]) {
    if socket < 0 { return }
    reserved.withUnsafeBufferPointer { to in
      bytes.withUnsafeBytes {
        _ = cs_probe_send(socket, isIPv6 ? 1 : 0, to.baseAddress, port, $0.baseAddress, $0.count)
      }
    }
  }

  /// A packet the kernel sent to the reserved address, without its virtio header.
  mutating func observed(_ packet: [UInt8], inject: ([UInt8]) -> Void) {
    guard let reading = ProbeReading(packet) else { return }
    switch reading.content {
    case .echo(let isRequest, let identifier, let payload):
      guard currentMark.stands(in: payload, at: 0) else { return }
      if !isRequest {
        if identifier == inwardIdentifier { pending.remove(.echoIn) }
        return
      }
      // Back to whatever address the host chose to ask from.
      inject(
        ProbePacket.echo(
          from: reserved, to: reading.source, isRequest: false, identifier: identifier, payload: payload))
    case .datagram(let port, let payload):
      if port == ProbePath.outwardPort && currentMark.stands(in: payload, at: 0) { pending.remove(.datagramOut) }
    case .segment(let from, let to, let acknowledged, let flags):
      guard from == ProbePacket.connectPort else { return }
      if to == connectSource && acknowledged == round &+ 1 { pending.remove(.connectIn) }
      // An opened connection is given up at once.
      if flags & TCPFlag.syn != 0 && flags & TCPFlag.ack != 0 {
        inject(
          ProbePacket.segment(
            from: reserved, port: to, to: own.address, port: from, sequence: acknowledged, flags: TCPFlag.rst))
      }
    case .other: break
    }
  }

  /// Takes in what has come to the sockets; at most 64 packets each.
  mutating func listen() {
    // A raw IPv4 socket hears the IP header, an IPv6 one does not.
    hear(echoSocket) { path, packet in
      let header = path.isIPv6 ? 0 : Int((packet.first ?? 0) & 15) * 4
      if path.currentMark.stands(in: packet, at: header + 8) { path.pending.remove(.echoOut) }
    }
    hear(datagramSocket) { path, packet in
      if path.currentMark.stands(in: packet, at: 0) { path.pending.remove(.datagramIn) }
    }
  }

  private mutating func hear(_ socket: Int32, _ each: (inout ProbePath, [UInt8]) -> Void) {
    if socket < 0 { return }
    var room = [UInt8](repeating: 0, count: 128)
    for _ in 0..<64 {
      let n = room.withUnsafeMutableBytes { cs_probe_receive(socket, $0.baseAddress, $0.count) }
      if n < 0 {
        // A waiting ICMP error is taken by the read that reports it; the queue may hold more.
        if n == -11 { return }
        continue
      }
      each(&self, Array(room.prefix(Int(n))))
    }
  }

  /// There is no device to ask over.
  mutating func failsEntirely() {
    failing = .full
    pending = []
    isKnown = true
  }

  /// Ends the round: what was asked and not answered fails, what was answered works.
  mutating func conclude(asked full: Bool) {
    failing = full ? pending : failing.subtracting(.brief).union(pending)
    pending = []
    isKnown = true
  }
}
