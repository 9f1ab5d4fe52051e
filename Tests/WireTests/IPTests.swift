import Core
import Testing
import Wire

/// The bytes in memory of their own, for the length of the test run.
private func memory(_ bytes: [UInt8]) -> UnsafeMutableRawBufferPointer {
  let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, bytes.count), alignment: 8)
  copy.copyBytes(from: bytes)
  return UnsafeMutableRawBufferPointer(rebasing: copy[0..<bytes.count])
}

private func raw(_ bytes: [UInt8]) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(memory(bytes)) }

/// What `encode` writes into `count` bytes.
private func encoded(_ count: Int, _ encode: (UnsafeMutableRawBufferPointer) throws -> Void) rethrows -> [UInt8] {
  let out = memory([UInt8](repeating: 0xee, count: count))
  try encode(out)
  return Array(out)
}

@Suite("IP headers and checksums")
struct IPTests {
  @Test("RFC 1071 §3: the sum of 00 01 f2 03 f4 f5 f6 f7 is ddf2")
  func rfc1071() {
    var sum = InternetChecksum()
    let bytes: [UInt8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]
    bytes.withUnsafeBytes { sum.add($0.baseAddress!, count: 8) }
    #expect(sum.folded == 0xddf2 && sum.value == 0x220d)
  }

  @Test("Every length and alignment gives the sum taken byte by byte, also in two parts")
  func againstPlainSum() {
    let bytes = (0..<600).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 13) } + [UInt8](repeating: 0xff, count: 600)
    bytes.withUnsafeBytes { raw in
      for start in 0..<9 {
        for count in Array(0..<80) + [511, 512, 600, 1_100, 1_191] {
          var plain = 0
          for i in 0..<count { plain += Int(raw[start + i]) << (i % 2 == 0 ? 8 : 0) }
          while plain > 0xffff { plain = plain & 0xffff + plain >> 16 }
          var sum = InternetChecksum()
          sum.add(raw.baseAddress! + start, count: count)
          #expect(Int(sum.folded) == plain)
          let half = count / 4 * 2
          sum = InternetChecksum()
          sum.add(raw.baseAddress! + start, count: half)
          sum.add(raw.baseAddress! + start + half, count: count - half)
          #expect(Int(sum.folded) == plain)
        }
      }
    }
  }

  @Test("64 KiB of ff does not overflow")
  func longest() {
    let bytes = [UInt8](repeating: 0xff, count: 65_536)
    #expect(bytes.withUnsafeBytes { InternetChecksum.of($0.baseAddress!, count: $0.count) } == 0)
  }

  /// A UDP datagram whose own checksum is to be completed: 10.0.0.1:1234 to 10.0.0.2:53, "abc".
  static let udp4: [UInt8] = [
    0x45, 0x00, 0x00, 0x1f, 0x00, 0x01, 0x40, 0x00, 0x40, 0x11, 0x26, 0xcb, 10, 0, 0, 1, 10, 0, 0, 2,
    0x04, 0xd2, 0x00, 0x35, 0x00, 0x0b, 0x00, 0x00, 0x61, 0x62, 0x63,
  ]

  @Test("Golden: an IPv4 header (RFC 791 §3.1) decodes, encodes and checks")
  func ipv4() throws {
    // The widely printed example: checksum b861.
    let golden: [UInt8] = [
      0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8,
      0x00, 0xc7,
    ]
    let header = try IPv4Header(decoding: raw(golden))
    #expect(header.totalLength == 0x73 && header.transport == IPProtocol.udp && header.timeToLive == 64)
    #expect(header.source == 0xc0a8_0001 && header.destination == 0xc0a8_00c7 && header.fragment == 0x4000)
    #expect(try encoded(20) { try header.encode(into: $0) } == golden)
    for i in golden.indices {
      var bad = golden
      bad[i] ^= 0x10
      #expect(throws: WireError.self) { try IPv4Header(decoding: raw(bad)) }
      #expect(throws: WireError.self) {
        try IPv4Header(decoding: raw(Array(golden.prefix(i))))
      }
    }
    let small = [UInt8](repeating: 0, count: 19)
    #expect(throws: WireError.noRoom(neededBytes: 20, haveBytes: 19)) {
      try header.encode(into: memory(small))
    }
  }

  @Test("Golden: IPv6 (RFC 8200 §3), TCP (RFC 9293 §3.1), UDP (RFC 768), ICMP (RFC 792) headers")
  func others() throws {
    let v6: [UInt8] = [0x6a, 0xbf, 0xed, 0xcb, 0x12, 0x34, 58, 63] + (0..<32).map { UInt8($0) }
    let six = try IPv6Header(decoding: raw(v6))
    #expect(six.trafficClass == 0xab && six.flowLabel == 0xfedcb && six.payloadLength == 0x1234 && six.hopLimit == 63)
    #expect(try encoded(40) { try six.encode(into: $0) } == v6)

    let tcp: [UInt8] = [0, 22, 0x9c, 0x40, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x19, 0xff, 0xfe, 0xab, 0xcd, 0, 9]
    let t = try TCPHeader(decoding: raw(tcp))
    #expect(t.sourcePort == 22 && t.destinationPort == 40_000 && t.sequence == 0x0102_0304 && t.urgentPointer == 9)
    #expect(t.flags == TCPHeader.ack | TCPHeader.psh | TCPHeader.fin && t.headerLength == 20 && t.window == 0xfffe)
    #expect(try encoded(20) { try t.encode(into: $0) } == tcp)
    for bad in [0x40, 0x60] as [UInt8] {
      var wrong = tcp
      wrong[12] = bad
      #expect(throws: WireError.self) { try TCPHeader(decoding: raw(wrong)) }
    }

    let udp: [UInt8] = [0, 53, 4, 0xd2, 0, 8, 0x12, 0x34]
    let u = try UDPHeader(decoding: raw(udp))
    #expect(
      u
        == {
          var h = UDPHeader(sourcePort: 53, destinationPort: 1_234, length: 8); h.checksum = 0x1234; return h
        }())
    #expect(try encoded(8) { try u.encode(into: $0) } == udp)
    #expect(throws: WireError.truncated(neededBytes: 9, haveBytes: 8)) {
      try UDPHeader(decoding: raw([0, 53, 4, 0xd2, 0, 9, 0, 0]))
    }

    let icmp: [UInt8] = [8, 0, 0xf7, 0xff, 0, 0, 0, 0]
    let i = try ICMPHeader(decoding: raw(icmp))
    #expect(i.type == 8 && i.code == 0 && i.checksum == 0xf7ff && i.rest == 0)
    #expect(try encoded(8) { try i.encode(into: $0) } == icmp)
    #expect(icmp.withUnsafeBytes { InternetChecksum.of($0.baseAddress!, count: 8) } == 0)
  }

  @Test("The pseudo-header's sum is what completes a UDP checksum, IPv4 and IPv6")
  func pseudoHeader() {
    var packet = Self.udp4
    packet.withUnsafeMutableBytes { raw in
      let base = raw.baseAddress!
      #expect(InternetChecksum.of(base, count: 20) == 0)
      let partial = InternetChecksum.pseudoHeader(of: base, isIPv4: true, transport: 17, length: 11).folded
      // 10.0.0.1 + 10.0.0.2 + 17 + 11
      #expect(partial == 0x0a00 + 1 + 0x0a00 + 2 + 17 + 11)
      base.storeBigEndian16(partial, at: 26)
      // 141f + 04d2 + 0035 + 000b + 6162 + 6300 = dd93
      #expect(InternetChecksum.of(base + 20, count: 11) == ~0xdd93)
    }
    let v6: [UInt8] = [0x60, 0, 0, 0, 0, 11, 17, 64] + [UInt8](repeating: 0, count: 31) + [1]
    v6.withUnsafeBytes {
      #expect(
        InternetChecksum.pseudoHeader(of: $0.baseAddress!, isIPv4: false, transport: 17, length: 0x1_0002).folded
          == 1 + 17 + 1 + 2)
    }
  }

  @Test("Golden: struct virtio_net_hdr in little-endian memory")
  func virtio() throws {
    let golden: [UInt8] = [1, 0x81, 52, 0, 0xa8, 0x05, 20, 0, 16, 0]
    let header = try VirtioNetHeader(decoding: raw(golden))
    #expect(
      header
        == VirtioNetHeader(
          flags: VirtioNetHeader.needsChecksum, gsoType: VirtioNetHeader.gsoTCPv4 | VirtioNetHeader.gsoECN,
          headerLength: 52, gsoSize: 1_448, checksumStart: 20, checksumOffset: 16))
    #expect(encoded(10) { header.encode(into: $0.baseAddress!) } == golden)
    #expect(throws: WireError.truncated(neededBytes: 10, haveBytes: 9)) {
      try VirtioNetHeader(decoding: raw(Array(golden.prefix(9))))
    }
  }

  @Test("The layout names version, header, length, transport and fragments, and refuses what is no IP packet")
  func layout() throws {
    func layout(_ bytes: [UInt8]) throws -> IPLayout {
      try IPLayout(raw(bytes + [0]).baseAddress!, readable: bytes.count)
    }
    let four = try layout(Self.udp4)
    #expect(four.isIPv4 && four.headerLength == 20 && four.totalLength == 31 && four.transport == 17)
    #expect(!four.isFragment)
    for (at, value) in [(6, 0x20), (7, 1)] as [(Int, UInt8)] {
      var fragment = Self.udp4
      fragment[at] = value
      #expect(try layout(fragment).isFragment)
    }
    Self.udp4.withUnsafeBytes {
      #expect(four.source(of: $0.baseAddress!) == .ipv4(0x0a00_0001))
      #expect(four.destination(of: $0.baseAddress!) == .ipv4(0x0a00_0002))
    }
    let v6: [UInt8] = [0x60, 0, 0, 0, 0xff, 0xff, 6, 64] + (0..<32).map { UInt8($0) }
    #expect(try layout(v6).totalLength == 65_575)
    for n in 0..<40 { #expect(throws: WireError.self) { try layout(Array(v6.prefix(n)) + []) } }
    for first in [0x44, 0x05, 0x75, 0x4f] as [UInt8] {
      var bad = Self.udp4
      bad[0] = first
      #expect(throws: WireError.self) { try layout(bad) }
    }
    var short = Self.udp4
    short[3] = 19
    #expect(throws: WireError.invalid(field: StaticFieldName("ipv4.total-length"))) { try layout(short) }
  }

  @Test("Trailing bytes are trimmed; a packet shorter than it says is refused")
  func trim() throws {
    var padded = Self.udp4 + [0, 0, 0]
    let count = try trimTrailing(memory(padded)).count
    #expect(count == 31)
    padded.removeLast(4)
    #expect(throws: WireError.truncated(neededBytes: 31, haveBytes: 30)) {
      try trimTrailing(memory(padded))
    }
  }
}
