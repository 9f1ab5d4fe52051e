import Bearer
import Core
import Testing
import Wire

@Suite("Packets cut and put together (mms.md, IP bearer)")
struct RoundTripTests {
  static let payloadSizes = [256, 257, 802, 1000, 1122, 1282, 1361, 1362, 1400, 8900]

  private func roundTrip(_ packet: TestPacket, payloadSize: Int, expecting: [UInt8]? = nil) throws {
    let frames = try cut(packet.all, payloadSize: payloadSize)
    for frame in frames { #expect(frame.count <= Segment.headerSize + payloadSize) }
    var rig = ReassemblyRig()
    for frame in frames {
      #expect(rig.delivered.isEmpty)
      #expect(rig.accept(frame) == nil)
    }
    #expect(rig.delivered == [expecting ?? packet.all])
    #expect(rig.reassembler.fillingCount == 0)
    let checked = DeliveryChecker(rig.delivered.first ?? [])
    #expect(checked.problems.isEmpty, "\(checked.problems)")
  }

  @Test("Super-packets of every kind arrive byte for byte, virtio header included", arguments: TestPacket.Kind.allCases)
  func superPackets(kind: TestPacket.Kind) throws {
    for size in Self.payloadSizes {
      for payload in [2_000, 9_001, 61_000] where payload / size < 250 {
        try roundTrip(.make(kind, payload: payload, gsoSize: 1_400), payloadSize: size)
        try roundTrip(.make(kind, payload: payload, gsoSize: 701), payloadSize: size)
      }
    }
  }

  @Test("The longest packet, 65,535 bytes, needs 49 frames at 1,362 and 82 at 802")
  func longest() throws {
    let packet = TestPacket.make(.tcp4, payload: 65_535 - 52, gsoSize: 1_448)
    #expect(packet.ip.count == 65_535)
    #expect(try cut(packet.all, payloadSize: 1_362).count == 49)
    #expect(try cut(packet.all, payloadSize: 802).count == 82)
    try roundTrip(packet, payloadSize: 1_362)
    try roundTrip(packet, payloadSize: 802)
    #expect(throws: BearerError.tooManyFrames(needed: 257)) { try cut(packet.all, payloadSize: 256) }
    try roundTrip(packet, payloadSize: 257)
  }

  @Test("Every length around a frame's end arrives byte for byte", arguments: TestPacket.Kind.allCases)
  func boundaries(kind: TestPacket.Kind) throws {
    for payload in 1_290...1_375 {
      try roundTrip(.make(kind, payload: payload, gsoSize: 0), payloadSize: 1_362)
      try roundTrip(.make(kind, payload: payload, gsoSize: 0, partial: false), payloadSize: 1_362)
      try roundTrip(.make(kind, payload: payload, gsoSize: 500), payloadSize: 1_362)
    }
    for payload in 2_600...2_740 { try roundTrip(.make(kind, payload: payload, gsoSize: 1_300), payloadSize: 1_362) }
  }

  @Test("Packets without segmentation arrive with an empty virtio header", arguments: [4, 6])
  func plain(version: Int) throws {
    for count in [0, 1, 8, 700, 1_400, 1_480, 3_000, 60_000] {
      for size in [802, 1_362, 8_900] {
        try roundTrip(.plain(version: version, count: count), payloadSize: size)
        try roundTrip(.plain(version: version, count: count, transport: 47), payloadSize: size)
      }
    }
  }

  @Test("IPv4 and TCP options pass, up to 60 bytes of header each")
  func options() throws {
    try roundTrip(.make(.tcp4, payload: 20_000, gsoSize: 1_300, tcpOptions: 40, ipOptions: 40), payloadSize: 256)
    try roundTrip(.make(.tcp6, payload: 20_000, gsoSize: 1_300, tcpOptions: 40), payloadSize: 256)
    try roundTrip(.make(.udp4, payload: 20_000, gsoSize: 1_300, ipOptions: 40), payloadSize: 802)
  }

  @Test("The ECN mark of segmentation is kept")
  func ecn() throws {
    try roundTrip(.make(.tcp4, payload: 9_000, gsoSize: 1_400, flags: 0x90, ecn: true), payloadSize: 1_362)
  }

  @Test("Frames in any order give the packet")
  func anyOrder() throws {
    for seed in 1...60 as ClosedRange<UInt64> {
      var random = Random(seed: seed)
      let kind = TestPacket.Kind.allCases.randomElement(using: &random)!
      let packet = TestPacket.make(kind, payload: 20_000, gsoSize: 1_200, seed: seed)
      let frames = try cut(packet.all, payloadSize: 802).shuffled(using: &random)
      // A shuffle of 25 frames stays within the reorder tolerance.
      var rig = ReassemblyRig()
      for frame in frames { #expect(rig.accept(frame) == nil, "seed \(seed)") }
      #expect(rig.delivered == [packet.all], "seed \(seed)")
    }
  }

  @Test("A packet of one segment is not one to be segmented")
  func oneSegment() throws {
    let plain = TestPacket.make(.tcp4, payload: 1_000, gsoSize: 0)
    for gsoSize in [1_000, 1_001, 1_448] {
      let packet = TestPacket.make(.tcp4, payload: 1_000, gsoSize: gsoSize)
      try roundTrip(packet, payloadSize: 1_362, expecting: plain.all)
      try roundTrip(packet, payloadSize: 600, expecting: plain.all)
    }
  }

  @Test("Bytes behind the packet's stated end are left out")
  func trailing() throws {
    var packet = TestPacket.plain(version: 4, count: 20)
    let clean = packet.all
    packet.ip += [0, 0, 0, 0, 0, 0]
    try roundTrip(packet, payloadSize: 1_362, expecting: clean)
  }

  @Test("A partial checksum the frame cannot hand on is completed before it is sent")
  func otherChecksums() throws {
    // ICMPv6 with its checksum left to the device.
    var packet = TestPacket.plain(version: 6, count: 64, transport: 58)
    packet.ip.replaceSubrange(42..<44, with: bytes16(plainSum(pseudoHeader(packet.ip, transport: 58, length: 64))))
    var expected = packet.ip
    expected.replaceSubrange(42..<44, with: bytes16(~plainSum(packet.ip[40...]) & 0xffff))
    packet.virtio = [1, 0, 0, 0, 0, 0, 40, 0, 2, 0]
    try roundTrip(packet, payloadSize: 1_362, expecting: [UInt8](repeating: 0, count: 10) + expected)
    #expect(plainSum(pseudoHeader(expected, transport: 58, length: 64) + expected[40...]) == 0xffff)

    // Outside the packet.
    packet.virtio = [1, 0, 0, 0, 0, 0, 40, 0, 63, 0]
    #expect(throws: BearerError.checksumPosition) { try cut(packet.all, payloadSize: 1_362) }
  }

  @Test("Golden: the frames of a small UDP super-packet")
  func golden() throws {
    let packet = TestPacket.make(.udp4, payload: 300, gsoSize: 100)
    let frames = try cut(packet.all, payloadSize: 256)
    #expect(frames.count == 2)
    // kind 2, index 0, offset 0, UDP with partial checksum, gso size 100.
    #expect(frames[0].bytes == [0x20, 0, 0, 0, 0x83, 0, 100] + packet.ip[0..<254])
    // kind 2 and last, index 1, offset 254.
    #expect(frames[1].bytes == [0x21, 1, 0, 254, 0x83] + packet.ip[254...])
  }

  @Test("Addresses are read off the packet cut and the packet delivered")
  func addresses() throws {
    for (kind, source, destination) in [
      (TestPacket.Kind.tcp4, IPAddress.ipv4(0x0a01_0203), IPAddress.ipv4(0x0a09_0807)),
      (.tcp6, v6(0xa0), v6(0xb0)),
    ] {
      let packet = TestPacket.make(kind, payload: 3_000, gsoSize: 1_000).all
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: packet.count, alignment: 16)
      defer { buffer.deallocate() }
      buffer.copyBytes(from: packet)
      let cutter = try PacketCutter(buffer: buffer, payloadSize: 1_362)
      #expect(cutter.source == source && cutter.destination == destination)
      var reassembler = Reassembler()
      for frame in try cut(packet, payloadSize: 1_362) {
        reassembler.accept(frame.plaintext, count: frame.count, sequence: frame.sequence, peer: 7, at: .zero)
      }
      let delivery = reassembler.nextDelivery()
      #expect(delivery?.source == source && delivery?.destination == destination && delivery?.peer == 7)
    }
  }

  private func v6(_ first: UInt8) -> IPAddress {
    let bytes = (0..<16).map { first + UInt8($0) }
    return .ipv6(bytes.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) })
  }
}
