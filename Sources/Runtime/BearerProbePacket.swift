// The packets of the bearer's self-probe, as they pass through the TUN device: a 10-byte virtio header (all zero: nothing
// left to do), an IP header, and an echo, a datagram or the opening of a connection.

import Core
import Wire

/// What a probe carries, so that nobody else's packet passes for an answer: 8 random bytes of this run and the round.
struct ProbeMark: Equatable {
  static let size = 12
  var cookie: [UInt8]
  var round: UInt32

  var bytes: [UInt8] { cookie + bigEndian(round) }

  /// Whether the mark stands in `packet` at `offset`.
  func stands(in packet: [UInt8], at offset: Int) -> Bool {
    offset >= 0 && packet.count - offset >= ProbeMark.size
      && packet[offset..<offset + ProbeMark.size].elementsEqual(bytes)
  }
}

enum ProbePacket {
  /// The TCP port a connection is tried to: ssh, which is what the channel is for.
  static let connectPort: UInt16 = 22

  /// Of at least one byte.
  static func checksum(_ bytes: [UInt8]) -> UInt16 {
    bytes.withUnsafeBytes { InternetChecksum.of($0.baseAddress!, count: $0.count) }
  }

  /// An ICMP or ICMPv6 echo without its checksum.
  static func echoBody(isIPv6: Bool, isRequest: Bool, identifier: UInt16, payload: [UInt8]) -> [UInt8] {
    let type: UInt8 = isIPv6 ? (isRequest ? 128 : 129) : (isRequest ? 8 : 0)
    return [type, 0, 0, 0] + bigEndian(identifier) + [0, 1] + payload
  }

  static func echo(
    from source: [UInt8], to destination: [UInt8], isRequest: Bool, identifier: UInt16, payload: [UInt8]
  ) -> [UInt8] {
    let isIPv6 = source.count == 16
    let body = echoBody(isIPv6: isIPv6, isRequest: isRequest, identifier: identifier, payload: payload)
    // ICMPv6 sums a pseudo header, ICMP does not.
    return packet(
      from: source, to: destination, next: isIPv6 ? IPProtocol.icmpv6 : IPProtocol.icmp, body, checksumAt: 2,
      pseudoHeader: isIPv6)
  }

  static func datagram(
    from source: [UInt8], port: UInt16, to destination: [UInt8], port destinationPort: UInt16, payload: [UInt8]
  ) -> [UInt8] {
    let length = UInt16(truncatingIfNeeded: IPProtocol.udpHeader + payload.count)
    let body = bigEndian(port) + bigEndian(destinationPort) + bigEndian(length) + [0, 0] + payload
    return packet(from: source, to: destination, next: IPProtocol.udp, body, checksumAt: 6, pseudoHeader: true)
  }

  /// A bare TCP segment with these `TCPFlag`s.
  static func segment(
    from source: [UInt8], port: UInt16, to destination: [UInt8], port destinationPort: UInt16, sequence: UInt32,
    flags: UInt8
  ) -> [UInt8] {
    let acknowledged: [UInt8] = [0, 0, 0, 0]
    let rest: [UInt8] = [0x50, flags, 0x20, 0, 0, 0, 0, 0]
    let body = bigEndian(port) + bigEndian(destinationPort) + bigEndian(sequence) + acknowledged + rest
    return packet(from: source, to: destination, next: IPProtocol.tcp, body, checksumAt: 16, pseudoHeader: true)
  }

  private static func packet(
    from source: [UInt8], to destination: [UInt8], next: UInt8, _ body: [UInt8], checksumAt: Int, pseudoHeader: Bool
  ) -> [UInt8] {
    var body = body
    let pseudo = source + destination + bigEndian(UInt32(truncatingIfNeeded: body.count)) + bigEndian(UInt32(next))
    let sum = checksum((pseudoHeader ? pseudo : []) + body)
    body[checksumAt] = UInt8(sum >> 8)
    body[checksumAt + 1] = UInt8(sum & 255)
    var header: [UInt8]
    if source.count == 16 {
      header = [0x60, 0, 0, 0] + bigEndian(UInt16(truncatingIfNeeded: body.count)) + [next, 64]
    } else {
      header = [0x45, 0] + bigEndian(UInt16(truncatingIfNeeded: 20 + body.count)) + [0, 0, 0x40, 0, 64, next, 0, 0]
      let own = checksum(header + source + destination)
      header[10] = UInt8(own >> 8)
      header[11] = UInt8(own & 255)
    }
    return [UInt8](repeating: 0, count: VirtioNetHeader.size) + header + source + destination + body
  }
}

/// A packet the kernel sent to the probe's address, read without trusting it.
struct ProbeReading {
  enum Content {
    case echo(isRequest: Bool, identifier: UInt16, payload: [UInt8])
    case datagram(destinationPort: UInt16, payload: [UInt8])
    case segment(sourcePort: UInt16, destinationPort: UInt16, acknowledged: UInt32, flags: UInt8)
    case other
  }
  var source: [UInt8]
  var content: Content

  /// An IP packet, without a virtio header; nil when it is too short for what it says.
  init?(_ packet: [UInt8]) {
    guard let first = packet.first else { return nil }
    let next: UInt8
    var at: Int
    if first >> 4 == 4 {
      at = Int(first & 15) * 4
      guard at >= 20, packet.count >= at else { return nil }
      next = packet[9]
      source = Array(packet[12..<16])
    } else {
      at = 40
      guard packet.count >= at else { return nil }
      next = packet[6]
      source = Array(packet[8..<24])
    }
    let left = packet.count - at
    func u16(_ offset: Int) -> UInt16 { UInt16(packet[at + offset]) << 8 | UInt16(packet[at + offset + 1]) }
    switch next {
    case IPProtocol.icmp where left >= 8 && (packet[at] == 0 || packet[at] == 8),
      IPProtocol.icmpv6 where left >= 8 && (packet[at] == 128 || packet[at] == 129):
      content = .echo(
        isRequest: packet[at] == 8 || packet[at] == 128, identifier: u16(4), payload: Array(packet[(at + 8)...]))
    case IPProtocol.udp where left >= IPProtocol.udpHeader:
      content = .datagram(destinationPort: u16(2), payload: Array(packet[(at + 8)...]))
    case IPProtocol.tcp where left >= 20:
      content = .segment(
        sourcePort: u16(0), destinationPort: u16(2), acknowledged: UInt32(u16(8)) << 16 | UInt32(u16(10)),
        flags: packet[at + 13])
    default: content = .other
    }
  }
}
