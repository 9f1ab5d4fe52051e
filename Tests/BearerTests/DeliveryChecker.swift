// An independent judge of what is handed to the kernel: it does with a delivery what a kernel would (segment it by its
// virtio header, complete the checksums incrementally from the partial one) and looks at every resulting packet.

import Testing

/// One packet as it would stand on a wire.
struct WirePacket {
  var isTCP: Bool
  var sequence: UInt32
  var flags: UInt8
  var identification: Int?
  var payload: [UInt8]
}

struct DeliveryChecker {
  let bytes: [UInt8]
  var problems: [String] = []
  private(set) var segments: [WirePacket] = []

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    check()
  }

  private func native(_ at: Int) -> Int { Int(bytes[at]) | Int(bytes[at + 1]) << 8 }

  private mutating func check() {
    let virtio = bytes.prefix(10)
    let ip = Array(bytes.dropFirst(10))
    guard ip.count >= 20 else { return problems.append("short packet") }
    let is4 = ip[0] >> 4 == 4
    guard is4 || ip[0] >> 4 == 6 else { return problems.append("version") }
    let ipLength = is4 ? Int(ip[0] & 15) * 4 : 40
    let stated = is4 ? Int(ip[2]) << 8 | Int(ip[3]) : 40 + (Int(ip[4]) << 8 | Int(ip[5]))
    if stated != ip.count { problems.append("stated \(stated), have \(ip.count)") }
    if is4, plainSum(ip[0..<ipLength]) != 0xffff { problems.append("IPv4 header checksum") }
    let transport = is4 ? ip[9] : ip[6]
    let partial = virtio[0] & 1 != 0
    let type = virtio[1] & 0x7f
    let gsoSize = native(4)
    guard partial else {
      if virtio.contains(where: { $0 != 0 }) { problems.append("virtio header without checksum is not empty") }
      if transport == 6 || transport == 17, !(is4 && (ip[6] & 0x3f != 0 || ip[7] != 0)) {
        let l4 = ip[ipLength...]
        let pseudo = pseudoHeader(ip, transport: transport, length: l4.count)
        if plainSum(pseudo + l4) != 0xffff { problems.append("full checksum") }
      }
      return
    }
    let isTCP = transport == 6
    guard isTCP || transport == 17 else { return problems.append("partial checksum of protocol \(transport)") }
    let field = isTCP ? 16 : 6
    if native(6) != ipLength || native(8) != field { problems.append("checksum position") }
    let header = ipLength + (isTCP ? Int(ip[ipLength + 12] >> 4) * 4 : 8)
    guard header <= ip.count else { return problems.append("transport header") }
    if native(2) != header { problems.append("header length") }
    let at = ipLength + field
    let oldLength = ip.count - ipLength
    let want = plainSum(pseudoHeader(ip, transport: transport, length: oldLength))
    if Int(ip[at]) << 8 | Int(ip[at + 1]) != want { problems.append("pseudo-header sum") }
    if !isTCP, Int(ip[ipLength + 4]) << 8 | Int(ip[ipLength + 5]) != oldLength { problems.append("UDP length") }
    let payload = Array(ip[header...])
    if type != 0 {
      let expected: UInt8 = isTCP ? (is4 ? 1 : 4) : 5
      if type != expected { problems.append("gso type \(type)") }
      if gsoSize == 0 || payload.count <= gsoSize { problems.append("gso size \(gsoSize) for \(payload.count)") }
    } else if gsoSize != 0 || virtio[1] != 0 {
      problems.append("gso fields without segmentation")
    }
    if isTCP && payload.isEmpty && ip[ipLength + 13] & 0x10 == 0 { problems.append("empty TCP") }
    segment(ip, payload: payload, ipLength: ipLength, header: header, size: type == 0 ? max(1, payload.count) : gsoSize)
  }

  private mutating func segment(_ ip: [UInt8], payload: [UInt8], ipLength: Int, header: Int, size: Int) {
    let is4 = ip[0] >> 4 == 4
    let isTCP = (is4 ? ip[9] : ip[6]) == 6
    let at = ipLength + (isTCP ? 16 : 6)
    let id = is4 ? Int(ip[4]) << 8 | Int(ip[5]) : nil
    let sequence = isTCP ? ip[(ipLength + 4)..<(ipLength + 8)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } : 0
    var start = 0
    repeat {
      let end = min(start + size, payload.count)
      let part = Array(payload[start..<end])
      var l4 = Array(ip[ipLength..<header])
      let newLength = l4.count + part.count
      if isTCP {
        let s = sequence &+ UInt32(start)
        l4.replaceSubrange(4..<8, with: [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: s >> UInt32($0)) })
        if end < payload.count { l4[13] &= ~9 }
        if start > 0 { l4[13] &= ~0x80 }
      } else {
        l4.replaceSubrange(4..<6, with: bytes16(newLength))
      }
      // As tcp_gso_segment does: the partial sum, corrected for the new length, then the bytes.
      let correction = plainSum(bytes16(newLength) + bytes16(~(ip.count - ipLength) & 0xffff))
      let partial = plainSum([ip[at], ip[at + 1]] + bytes16(correction))
      l4.replaceSubrange((at - ipLength)..<(at - ipLength + 2), with: bytes16(partial))
      let full = ~plainSum(l4 + part) & 0xffff
      l4.replaceSubrange((at - ipLength)..<(at - ipLength + 2), with: bytes16(full))
      let pseudo = pseudoHeader(ip, transport: isTCP ? 6 : 17, length: newLength)
      if plainSum(pseudo + l4 + part) != 0xffff { problems.append("segment checksum at \(start)") }
      segments.append(
        WirePacket(
          isTCP: isTCP, sequence: sequence &+ UInt32(start), flags: isTCP ? l4[13] : 0,
          identification: id.map { ($0 + start / size) & 0xffff }, payload: part))
      start = end
    } while start < payload.count
  }
}
