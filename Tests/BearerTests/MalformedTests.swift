import Bearer
import Core
import Testing

@Suite("What a peer or the kernel may send is refused by name, and never traps")
struct MalformedTests {
  private func refusal(_ bytes: [UInt8], sequence: UInt64 = 1_000) -> BearerError? {
    var rig = ReassemblyRig()
    let refusal = rig.accept(Frame(bytes, sequence: sequence))
    if refusal != nil { #expect(rig.delivered.isEmpty) }
    if let refusal { #expect(rig.reassembler.counters[refusal.counter] == 1) }
    return refusal
  }

  private func single(_ packet: TestPacket, gso: UInt8 = 0, gsoSize: Int = 0) -> [UInt8] {
    [0x21, 0, 0, 0, gso] + (gso & 7 == 0 ? [] : bytes16(gsoSize)) + packet.ip
  }

  @Test("Segment headers: kind, flags, reserved bits, segmentation kinds, lengths")
  func segmentHeaders() {
    let ip = TestPacket.plain(version: 4, count: 20).ip
    #expect(refusal([0x21, 0, 0, 0, 0] + ip) == nil)
    for bad in [
      [], [0x21], [0x21, 0, 0, 0, 0], [0x31, 0, 0, 0, 0] + ip, [0x23, 0, 0, 0, 0] + ip, [0x29, 0, 0, 0, 0] + ip,
      [0x21, 0, 0, 0, 0x10] + ip, [0x21, 0, 0, 0, 0x40] + ip, [0x21, 0, 0, 0, 0x84] + ip, [0x21, 0, 0, 0, 0x08] + ip,
      [0x21, 0, 0, 0, 0x8b, 0, 100] + ip, [0x21, 0, 0, 0, 0x81, 0], [0x21, 0, 0, 0, 0x81, 0, 1],
    ] as [[UInt8]] {
      #expect(refusal(bad) == .segmentHeader)
    }
  }

  @Test("Index, offset and length must fit together")
  func positions() {
    func frame(_ first: UInt8, index: UInt8, offset: Int, gso: UInt8 = 0, count: Int) -> [UInt8] {
      [first, index] + bytes16(offset) + [gso] + [UInt8](repeating: 0x45, count: count)
    }
    #expect(refusal(frame(0x20, index: 1, offset: 300, count: 300)) == nil)
    #expect(refusal(frame(0x21, index: 255, offset: 255 * 256, count: 1)) == nil)
    for (bytes, index, offset) in [
      (frame(0x20, index: 0, offset: 1, count: 300), 0, 1),
      (frame(0x20, index: 1, offset: 0, count: 300), 1, 0),
      (frame(0x20, index: 1, offset: 300, count: 299), 1, 300),
      (frame(0x20, index: 1, offset: 300, count: 301), 1, 300),
      (frame(0x21, index: 1, offset: 300, count: 301), 1, 300),
      (frame(0x20, index: 3, offset: 901, count: 300), 3, 901),
      (frame(0x20, index: 0, offset: 0, count: 255), 0, 0),
      (frame(0x21, index: 2, offset: 510, count: 10), 2, 510),
      (frame(0x20, index: 1, offset: 32_768, count: 32_768), 1, 32_768),
      (frame(0x21, index: 1, offset: 65_535, count: 1), 1, 65_535),
    ] {
      #expect(refusal(bytes) == .framePosition(index: index, offset: offset))
    }
    // The packet would have started before the sequence did.
    #expect(
      refusal(frame(0x20, index: 2, offset: 600, count: 300), sequence: 1) == .framePosition(index: 2, offset: 600))
  }

  @Test("Frames that contradict those held are refused, and the packet is not harmed")
  func contradictions() throws {
    let packet = TestPacket.make(.tcp4, payload: 3_000, gsoSize: 1_000)
    let frames = try cut(packet.all, payloadSize: 802)
    #expect(frames.count == 4)
    var rig = ReassemblyRig()
    rig.accept(frames[0])
    rig.accept(frames[2])
    func changed(_ i: Int, _ body: (inout [UInt8]) -> Void) -> Frame {
      var bytes = frames[i].bytes
      body(&bytes)
      return Frame(bytes, sequence: frames[i].sequence)
    }
    #expect(rig.accept(frames[0]) == .duplicate(index: 0))
    #expect(rig.accept(changed(1) { $0[4] ^= 2 }) == .contradiction(index: 1))
    #expect(rig.accept(changed(1) { $0[4] = 0 }) == .contradiction(index: 1))
    #expect(rig.accept(changed(1) { $0[3] ^= 1 }) == .contradiction(index: 1))
    #expect(rig.accept(changed(1) { $0.removeLast() }) == .contradiction(index: 1))
    #expect(rig.accept(changed(1) { $0.append(0) }) == .contradiction(index: 1))
    #expect(rig.accept(changed(1) { $0[0] |= 1 }) == .contradiction(index: 1))
    #expect(rig.accept(changed(0) { $0[0] |= 1 }) == .contradiction(index: 0))
    #expect(rig.accept(frames[3]) == nil)
    let beyond: [UInt8] = [0x20, 4] + bytes16(4 * 802 - 2) + [0x81] + [UInt8](repeating: 0, count: 802)
    #expect(rig.accept(Frame(beyond, sequence: 5)) == .contradiction(index: 4))
    #expect(rig.delivered.isEmpty)
    #expect(rig.accept(frames[1]) == nil)
    #expect(rig.delivered == [packet.all])
  }

  @Test("A packet must be as long as it says")
  func lengths() {
    var packet = TestPacket.plain(version: 4, count: 20)
    packet.ip.append(0)
    #expect(refusal(single(packet)) == .lengthsDisagree(stated: 40, have: 41))
    packet.ip.removeLast(2)
    #expect(refusal(single(packet)) == .lengthsDisagree(stated: 40, have: 39))
    packet = .plain(version: 6, count: 20)
    packet.ip.removeLast()
    #expect(refusal(single(packet)) == .lengthsDisagree(stated: 60, have: 59))
    for bytes in [[0x45], [UInt8](repeating: 0x55, count: 40), [0x44] + [UInt8](repeating: 0, count: 40)] {
      var junk = TestPacket()
      junk.ip = bytes
      guard case .malformed = refusal(single(junk)) else {
        Issue.record("taken as IP")
        continue
      }
    }
  }

  @Test("Segmentation needs the right protocol, a partial checksum, a sensible size and a packet it fits")
  func segmentation() {
    let tcp = TestPacket.make(.tcp4, payload: 900, gsoSize: 100)
    #expect(refusal(single(tcp, gso: 0x81, gsoSize: 100)) == nil)
    #expect(refusal(single(tcp, gso: 0x01, gsoSize: 100)) == .segmentationWithoutChecksum)
    #expect(refusal(single(tcp, gso: 0x82, gsoSize: 100)) == .segmentationMismatch)
    #expect(refusal(single(tcp, gso: 0x83, gsoSize: 100)) == .segmentationMismatch)
    for size in [0, 7, 901] {
      #expect(refusal(single(tcp, gso: 0x81, gsoSize: size)) == .segmentSize(bytes: size, payload: 900))
    }
    let udp = TestPacket.make(.udp6, payload: 900, gsoSize: 100)
    #expect(refusal(single(udp, gso: 0x83, gsoSize: 8)) == nil)
    #expect(refusal(single(udp, gso: 0x83, gsoSize: 7)) == .segmentSize(bytes: 7, payload: 900))
    #expect(refusal(single(udp, gso: 0x81, gsoSize: 100)) == .segmentationMismatch)
    func changed(_ packet: TestPacket, _ at: Int, _ value: UInt8) -> TestPacket {
      var p = packet
      p.ip[at] = value
      return p
    }
    // IPv6 extension header, IPv4 fragments.
    #expect(refusal(single(changed(udp, 6, 60), gso: 0x83, gsoSize: 100)) == .segmentationMismatch)
    #expect(refusal(single(changed(tcp, 6, 0x20), gso: 0x81, gsoSize: 100)) == .segmentationMismatch)
    #expect(refusal(single(changed(tcp, 7, 0x01), gso: 0x80)) == .checksumPosition)
    #expect(refusal(single(.plain(version: 4, count: 100), gso: 0x80)) == .checksumPosition)
    // TCP data offset too small and beyond the packet, UDP length, SYN.
    #expect(refusal(single(changed(tcp, 32, 0x40), gso: 0x81, gsoSize: 100)) == .transportHeader)
    #expect(
      refusal(single(changed(.make(.tcp4, payload: 9, gsoSize: 0), 32, 0xf0), gso: 0x80)) == .transportHeader)
    #expect(refusal(single(changed(udp, 45, 0), gso: 0x83, gsoSize: 100)) == .transportHeader)
    #expect(refusal(single(changed(tcp, 33, 0x12), gso: 0x81, gsoSize: 100)) == .flagsInSuperPacket(0x12))
  }

  @Test("The cutter refuses what it cannot carry")
  func cutter() {
    func refusal(_ packet: TestPacket, payloadSize: Int = 1_362) -> BearerError? {
      do throws(BearerError) { _ = try cut(packet.all, payloadSize: payloadSize) } catch { return error }
      return nil
    }
    var tcp = TestPacket.make(.tcp4, payload: 3_000, gsoSize: 1_000)
    #expect(refusal(tcp, payloadSize: 255) == .payloadTooSmall(bytes: 255))
    tcp.virtio[1] = 3
    #expect(refusal(tcp) == .unknownSegmentation(type: 3))
    tcp.virtio[1] = 0x85
    #expect(refusal(tcp) == .unknownSegmentation(type: 0x85))
    tcp.virtio[1] = 4
    #expect(refusal(tcp) == .segmentationMismatch)
    tcp.virtio[1] = 1
    tcp.virtio[0] = 0
    #expect(refusal(tcp) == .segmentationWithoutChecksum)
    tcp.virtio[0] = 1
    tcp.virtio[6] = 24
    #expect(refusal(tcp) == .checksumPosition)
    tcp.virtio[6] = 20
    tcp.ip.append(0)
    #expect(refusal(tcp) == .lengthsDisagree(stated: 3_052, have: 3_053))
    tcp.ip.removeLast(2)
    #expect(refusal(tcp) == .malformed(.truncated(neededBytes: 3_052, haveBytes: 3_051)))
    #expect(refusal(TestPacket.plain(version: 6, count: 65_535)) == .packetTooLong(bytes: 65_575))
    for count in 0..<30 {
      var short = TestPacket.plain(version: 4, count: 0)
      let bytes = Array(short.all.prefix(count))
      short.virtio = Array(bytes.prefix(10))
      short.ip = Array(bytes.dropFirst(10))
      guard case .malformed = refusal(short) else {
        Issue.record("\(count) bytes taken")
        continue
      }
    }
  }

  @Test("100,000 damaged frames: none traps, and what is delivered is fit for a kernel")
  func frameFuzz() throws {
    var random = Random(seed: 4)
    var pool: [[[UInt8]]] = []
    for n in 0..<16 {
      let kind = TestPacket.Kind.allCases[n % 4]
      let packet = TestPacket.make(kind, payload: 300 + n * 150, gsoSize: n % 3 == 0 ? 0 : 250, seed: UInt64(n + 1))
      pool.append(try cut(packet.all, payloadSize: n % 2 == 0 ? 256 : 802).map(\.bytes))
    }
    var rig = ReassemblyRig(slots: 3)
    var sequences: [UInt64] = [1, 1, 1 << 63]
    var frames = 0
    var whole = 0
    while frames < 100_000 {
      let peer = Int.random(in: 0..<3, using: &random)
      for bytes in pool.randomElement(using: &random)! {
        let isDamaged = Int.random(in: 0..<3, using: &random) == 0
        let isElsewhere = Int.random(in: 0..<50, using: &random) == 0
        let frame = Frame(
          isDamaged ? damage(bytes, &random) : bytes,
          sequence: isElsewhere ? UInt64.random(in: 0...UInt64.max, using: &random) : sequences[peer])
        rig.accept(frame, peer: UInt32(peer))
        if frames % 30 == 0 { rig.accept(frame, peer: UInt32(peer)) }
        sequences[peer] += 1
        frames += 1
      }
      if frames % 20 == 0 { rig.expire() }
      #expect(rig.reassembler.fillingCount <= 3)
      for packet in rig.delivered { expectFitForKernel(packet, comment: "frame \(frames)") }
      whole += rig.delivered.count
      rig.delivered = []
    }
    let cuttersOwn: [BearerCounter] = [
      .payloadTooSmall, .tooManyFrames, .noSlot, .unknownSegmentation, .packetTooLong,
    ]
    #expect(whole > 10_000 && rig.reassembler.counters[.piece] > 1_000, "the fuzz reaches delivery")
    for raw in 0..<UInt8(BearerCounter.count) {
      guard let counter = BearerCounter(rawValue: raw), !cuttersOwn.contains(counter) else { continue }
      #expect(rig.reassembler.counters[counter] > 0, "\(counter.name) is never reached")
    }
  }

  /// One to three changes, mostly among the headers.
  private func damage(_ frame: [UInt8], _ random: inout Random) -> [UInt8] {
    var bytes = frame
    for _ in 0..<Int.random(in: 1...3, using: &random) where bytes.count > 5 {
      switch Int.random(in: 0..<8, using: &random) {
      case 0: bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
      case 1: bytes.append(contentsOf: [UInt8](repeating: 0xff, count: Int.random(in: 1...60, using: &random)))
      case 2: bytes[Int.random(in: 0..<5, using: &random)] ^= 1 << UInt8.random(in: 0...7, using: &random)
      default:
        bytes[Int.random(in: 0..<min(bytes.count, 80), using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
    }
    return bytes
  }

  @Test("30,000 damaged super-packets: the cutter refuses or cuts, and the cut arrives or is refused")
  func cutterFuzz() throws {
    var random = Random(seed: 5)
    var arrived = 0
    let packets = (0..<60).map { n in
      TestPacket.make(TestPacket.Kind.allCases[n % 4], payload: 300 + n * 5, gsoSize: n % 3 == 0 ? 0 : 250).all
    }
    for n in 0..<30_000 {
      var bytes = packets[n % packets.count]
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        bytes[Int.random(in: 0..<70, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      if n % 7 == 0 { bytes.removeLast(Int.random(in: 0...bytes.count, using: &random)) }
      let frames: [Frame]
      do throws(BearerError) { frames = try cut(bytes, payloadSize: 256) } catch { continue }
      var rig = ReassemblyRig()
      for frame in frames { #expect(rig.accept(frame) == nil, "iteration \(n)") }
      #expect(rig.delivered.count == 1, "iteration \(n)")
      for packet in rig.delivered { expectFitForKernel(packet, comment: "iteration \(n)") }
      arrived += 1
    }
    #expect(arrived > 1_000)
  }

  /// What must hold however damaged the frames were: lengths, positions, segmentation. Checksums may be wrong.
  private func expectFitForKernel(_ bytes: [UInt8], comment: @autoclosure () -> String) {
    let problems = DeliveryChecker(bytes).problems.filter { !$0.contains("checksum") && !$0.contains("sum") }
    if !problems.isEmpty { Issue.record("\(comment()): \(problems)") }
  }
}
