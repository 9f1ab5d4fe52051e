// IP packets as a kernel hands them to a TUN device: a virtio header of 10 bytes, then the packet. Each carries its
// number where it can be found again, and a payload that follows from the number.

import Core
import Wire

public enum PacketKind: Sendable, CaseIterable {
  case udp4, udp6, echo4, echo6
  /// TCP over IPv4 or IPv6, to be cut by `gsoSize`.
  case tcp4, tcp6

  var isIPv4: Bool { self == .udp4 || self == .echo4 || self == .tcp4 }
  var isTCP: Bool { self == .tcp4 || self == .tcp6 }
  var isEcho: Bool { self == .echo4 || self == .echo6 }

  var transport: UInt8 {
    switch self {
    case .udp4, .udp6: 17
    case .echo4: 1
    case .echo6: 58
    case .tcp4, .tcp6: 6
    }
  }

  var transportHeader: Int { isTCP ? 20 : 8 }
}

func payloadByte(_ number: UInt32, _ index: Int) -> UInt8 {
  let word = (UInt64(number) &<< 20 &+ UInt64(index / 8) &+ 1) &* 0x9e37_79b9_7f4a_7c15
  return UInt8(truncatingIfNeeded: word >> UInt64(index % 8 * 8))
}

private func put(_ value: Int, _ bytes: inout [UInt8], at: Int) {
  bytes[at] = UInt8(truncatingIfNeeded: value >> 8)
  bytes[at + 1] = UInt8(truncatingIfNeeded: value)
}

/// The first byte of TCP payload has this sequence number.
let firstTCPSequence: UInt32 = 0xffff_f000

/// - Parameter isReply: of an echo.
func makePacket(
  _ kind: PacketKind, number: UInt32, from source: BearerAddresses, to destination: BearerAddresses, payload: Int,
  gsoSize: Int = 1200, isReply: Bool = false
) -> [UInt8] {
  let ipLength = kind.isIPv4 ? 20 : 40
  let headers = ipLength + kind.transportHeader
  var ip = [UInt8](repeating: 0, count: headers + payload)
  let transportLength = kind.transportHeader + payload
  if kind.isIPv4 {
    ip[0] = 0x45
    put(ip.count, &ip, at: 2)
    put(Int(number & 0xffff), &ip, at: 4)
    ip[6] = 0x40
    ip[8] = 64
    ip[9] = kind.transport
    for i in 0..<4 {
      ip[12 + i] = UInt8(truncatingIfNeeded: source.ipv4 >> UInt32(24 - 8 * i))
      ip[16 + i] = UInt8(truncatingIfNeeded: destination.ipv4 >> UInt32(24 - 8 * i))
    }
    put(Int(ip.withUnsafeBytes { InternetChecksum.of($0.baseAddress!, count: 20) }), &ip, at: 10)
  } else {
    ip[0] = 0x60
    put(transportLength, &ip, at: 4)
    ip[6] = kind.transport
    ip[7] = 64
    source.ipv6.withBytes { for i in 0..<16 { ip[8 + i] = $0[i] } }
    destination.ipv6.withBytes { for i in 0..<16 { ip[24 + i] = $0[i] } }
  }
  // The number stands in the two ports, or in an echo's identifier and sequence.
  let numberAt = ipLength + (kind.isEcho ? 4 : 0)
  put(Int(number >> 16), &ip, at: numberAt)
  put(Int(number & 0xffff), &ip, at: numberAt + 2)
  for i in 0..<payload { ip[headers + i] = payloadByte(number, i) }
  var virtio = VirtioNetHeader()
  var sumAt = ipLength + 6
  switch kind {
  case .udp4, .udp6: put(transportLength, &ip, at: ipLength + 4)
  case .echo4, .echo6:
    ip[ipLength] = kind == .echo4 ? (isReply ? 0 : 8) : (isReply ? 129 : 128)
    sumAt = ipLength + 2
  case .tcp4, .tcp6:
    put(Int(firstTCPSequence >> 16), &ip, at: ipLength + 4)
    put(Int(firstTCPSequence & 0xffff), &ip, at: ipLength + 6)
    ip[ipLength + 12] = 0x50
    ip[ipLength + 13] = 0x18
    sumAt = ipLength + 16
    if payload > gsoSize {
      virtio.gsoType = kind == .tcp4 ? VirtioNetHeader.gsoTCPv4 : VirtioNetHeader.gsoTCPv6
      virtio.gsoSize = UInt16(gsoSize)
    }
    virtio.flags = VirtioNetHeader.needsChecksum
    virtio.headerLength = UInt16(headers)
    virtio.checksumStart = UInt16(ipLength)
    virtio.checksumOffset = 16
  }
  let sum = transportSum(ip, kind, ipLength)
  put(Int(kind.isTCP ? sum.pseudo : sum.whole), &ip, at: sumAt)
  var packet = [UInt8](repeating: 0, count: VirtioNetHeader.size)
  packet.withUnsafeMutableBytes { virtio.encode(into: $0.baseAddress!) }
  return packet + ip
}

/// The pseudo-header's sum, and the checksum over everything (0 where the field is already right).
private func transportSum(_ ip: [UInt8], _ kind: PacketKind, _ ipLength: Int) -> (pseudo: UInt16, whole: UInt16) {
  ip.withUnsafeBytes { raw in
    let length = raw.count - ipLength
    var sum = InternetChecksum.pseudoHeader(
      of: raw.baseAddress!, isIPv4: kind.isIPv4, transport: kind.transport, length: length)
    let pseudo = sum.folded
    if kind == .echo4 { sum = InternetChecksum() }
    sum.add(raw.baseAddress! + ipLength, count: length)
    return (pseudo, sum.value)
  }
}

/// What a packet handed to a host says of itself.
struct PacketView {
  var kind: PacketKind
  var number: UInt32
  var isReply = false
  /// Where its payload stands in the whole.
  var start = 0
  var payload: ArraySlice<UInt8>
  var source: [UInt8]
  var destination: [UInt8]

  /// nil, with the reason in `problem`, when it is not a packet of `makePacket`'s.
  init?(_ packet: [UInt8], problem: inout String) {
    guard packet.count > 30 else {
      problem = "a packet of \(packet.count) bytes"
      return nil
    }
    let needsChecksum = packet[0] & VirtioNetHeader.needsChecksum != 0
    let ip = Array(packet[10...])
    let isIPv4 = ip[0] >> 4 == 4
    let ipLength = isIPv4 ? 20 : 40
    let transport = isIPv4 ? ip[9] : ip[6]
    guard let kind = PacketKind.allCases.first(where: { $0.isIPv4 == isIPv4 && $0.transport == transport }),
      ip.count >= ipLength + kind.transportHeader
    else {
      problem = "a packet of transport \(transport)"
      return nil
    }
    let stated = isIPv4 ? Int(ip[2]) << 8 | Int(ip[3]) : 40 + (Int(ip[4]) << 8 | Int(ip[5]))
    if stated != ip.count {
      problem = "a packet that states \(stated) bytes and has \(ip.count)"
      return nil
    }
    if isIPv4, ip.withUnsafeBytes({ InternetChecksum.of($0.baseAddress!, count: 20) }) != 0 {
      problem = "a wrong IPv4 header checksum"
      return nil
    }
    if !needsChecksum, transportSum(ip, kind, ipLength).whole != 0 {
      problem = "a wrong checksum of transport \(transport)"
      return nil
    }
    self.kind = kind
    let numberAt = ipLength + (kind.isEcho ? 4 : 0)
    number = 0
    for i in 0..<4 { number = number << 8 | UInt32(ip[numberAt + i]) }
    if kind.isEcho { isReply = ip[ipLength] == 0 || ip[ipLength] == 129 }
    if kind.isTCP {
      var sequence: UInt32 = 0
      for i in 0..<4 { sequence = sequence << 8 | UInt32(ip[ipLength + 4 + i]) }
      start = Int(sequence &- firstTCPSequence)
    }
    payload = ip[(ipLength + kind.transportHeader)...]
    source = Array(isIPv4 ? ip[12..<16] : ip[8..<24])
    destination = Array(isIPv4 ? ip[16..<20] : ip[24..<40])
  }
}

extension BearerAddresses {
  func bytes(isIPv4: Bool) -> [UInt8] {
    if isIPv4 { return (0..<4).map { UInt8(truncatingIfNeeded: ipv4 >> UInt32(24 - 8 * $0)) } }
    return ipv6.withBytes { Array(UnsafeBufferPointer(start: $0, count: 16)) }
  }
}
