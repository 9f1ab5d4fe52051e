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
