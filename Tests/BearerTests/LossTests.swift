import Bearer
import Core
import Testing

/// Which payload bytes of a super-packet must arrive when only these frames do, without the reassembler's arithmetic.
func expectedPayload(_ packet: TestPacket, kind: TestPacket.Kind, gsoSize: Int, held: [Frame]) -> [Bool] {
  let count = packet.ip.count - packet.headerLength
  var have = [Bool](repeating: false, count: count)
  guard held.contains(where: { $0.plaintext[1] == 0 }) else { return have }
  for frame in held {
    let p = frame.plaintext
    let offset = Int(p[2]) << 8 | Int(p[3])
    let end = offset + frame.count - 5 - (p[1] == 0 ? 2 : 0)
    for i in max(offset, packet.headerLength)..<end { have[i - packet.headerLength] = true }
  }
  guard kind == .udp4 || kind == .udp6 else { return have }
  for start in stride(from: 0, to: count, by: gsoSize) {
    let datagram = start..<min(start + gsoSize, count)
    if have[datagram].contains(false) { for i in datagram { have[i] = false } }
  }
  return have
}

/// Checks every delivery alone, then that together they are exactly `expected`, each byte once.
func checkPieces(
  _ delivered: [[UInt8]], of packet: TestPacket, kind: TestPacket.Kind, gsoSize: Int, expected: [Bool],
  comment: String
) {
  let payload = Array(packet.payload)
  var got = [Bool](repeating: false, count: payload.count)
  var twice = 0
  for bytes in delivered {
    let checker = DeliveryChecker(bytes)
    #expect(checker.problems.isEmpty, "\(comment): \(checker.problems)")
    for segment in checker.segments {
      guard let at = position(of: segment, in: payload, gsoSize: gsoSize) else {
        Issue.record("\(comment): bytes that were not sent, sequence \(segment.sequence)")
        continue
      }
      let range = at..<(at + segment.payload.count)
      if segment.isTCP {
        let last: UInt8 = range.upperBound == payload.count ? packet.ip[packet.tcpFlagsAt] & 9 : 0
        #expect(segment.flags & 9 == last, "\(comment): PSH and FIN only at the end")
      } else if let id = segment.identification {
        #expect(id == (0xfffe + at / gsoSize) & 0xffff, "\(comment)")
      }
      for i in range {
        if got[i] { twice += 1 }
        got[i] = true
      }
    }
  }
  #expect(twice == 0, "\(comment): bytes delivered twice")
  let wrong = zip(got, expected).count { $0 != $1 }
  #expect(wrong == 0, "\(comment): \(wrong) bytes too many or too few")
}

/// Where the segment's payload is in the super-packet's, by sequence number; a datagram has none, and is found by its
/// random bytes.
private func position(of segment: WirePacket, in payload: [UInt8], gsoSize: Int) -> Int? {
  func isAt(_ at: Int) -> Bool {
    at >= 0 && at + segment.payload.count <= payload.count
      && payload[at..<(at + segment.payload.count)] == segment.payload[...]
  }
  if segment.isTCP {
    let at = Int(segment.sequence &- 0xffff_f000)
    return isAt(at) ? at : nil
  }
  return stride(from: 0, to: payload.count, by: gsoSize).first(where: isAt)
}

@Suite("What is delivered when frames are lost (one loss must not cost 64 KiB)")
struct LossTests {
  @Test(
    "Any one frame of a 64 KiB super-packet lost: all bytes of the others arrive in valid packets",
    arguments: TestPacket.Kind.allCases)
  func everySingleLoss(kind: TestPacket.Kind) throws {
    let gsoSize = 1_428
    // At most 128 datagrams, 65,535 bytes.
    let packet = TestPacket.make(kind, payload: 65_535 - 80, gsoSize: gsoSize, flags: 0x19)
    for size in [802, 1_362] {
      let frames = try cut(packet.all, payloadSize: size)
      for lost in frames.indices where size == 1_362 || lost % 8 == 0 {
        var held = frames
        held.remove(at: lost)
        var rig = ReassemblyRig()
        for frame in held { #expect(rig.accept(frame) == nil) }
        rig.expire()
        #expect(rig.reassembler.fillingCount == 0)
        checkPieces(
          rig.delivered, of: packet, kind: kind, gsoSize: gsoSize,
          expected: expectedPayload(packet, kind: kind, gsoSize: gsoSize, held: held), comment: "lost \(lost)")
      }
    }
  }

  @Test("Losses in any number and order, with duplicates: exactly the bytes held arrive, each once")
  func randomLosses() throws {
    for seed in 1...100 as ClosedRange<UInt64> {
      var random = Random(seed: seed)
      let kind = TestPacket.Kind.allCases.randomElement(using: &random)!
      let gsoSize = Int.random(in: 200...1_448, using: &random)
      let payload = Int.random(in: (gsoSize + 1)...min(60_000, gsoSize * 120), using: &random)
      let size = [256, 802, 1_122, 1_362, 8_900].filter { (payload + 100) / $0 < 250 }.randomElement(using: &random)!
      let packet = TestPacket.make(kind, payload: payload, gsoSize: gsoSize, seed: seed)
      let frames = try cut(packet.all, payloadSize: size)
      if frames.count < 2 { continue }
      var held = frames.filter { _ in Int.random(in: 0..<100, using: &random) < 80 }
      if held.count == frames.count { held.removeLast() }
      // Neighbours change places; some come twice.
      var sent = held
      for i in sent.indices.dropLast() where Bool.random(using: &random) { sent.swapAt(i, i + 1) }
      for frame in held where Int.random(in: 0..<8, using: &random) == 0 {
        sent.insert(frame, at: Int.random(in: 0...sent.count, using: &random))
      }
      var rig = ReassemblyRig()
      for frame in sent {
        switch rig.accept(frame) {
        case nil, .duplicate, .late: break
        case let refusal: Issue.record("seed \(seed): \(String(describing: refusal))")
        }
      }
      rig.expire()
      // What came after it was given up is late, and lost; it may only be frames, so exactness holds without them.
      if rig.reassembler.counters[.late] == 0 {
        checkPieces(
          rig.delivered, of: packet, kind: kind, gsoSize: gsoSize,
          expected: expectedPayload(packet, kind: kind, gsoSize: gsoSize, held: held), comment: "seed \(seed)")
      }
    }
  }

  @Test("A stream of super-packets with 1 % loss and small reordering delivers all of every frame held")
  func stream() throws {
    var random = Random(seed: 77)
    let gsoSize = 1_448
    var rig = ReassemblyRig()
    var sequence: UInt64 = 1
    var queue: [(Frame, Double)] = []
    var expectedBytes = 0
    for n in 0..<60 {
      let packet = TestPacket.make(.tcp4, payload: 50_000, gsoSize: gsoSize, seed: UInt64(n + 1))
      let frames = try cut(packet.all, payloadSize: 1_362, firstSequence: sequence)
      let held = frames.filter { _ in Int.random(in: 0..<100, using: &random) > 0 }
      expectedBytes += expectedPayload(packet, kind: .tcp4, gsoSize: gsoSize, held: held).count { $0 }
      for f in held { queue.append((f, Double(f.sequence) + Double.random(in: 0..<12, using: &random))) }
      sequence += UInt64(frames.count)
    }
    for (frame, _) in queue.sorted(by: { $0.1 < $1.1 }) { #expect(rig.accept(frame) == nil) }
    rig.expire()
    var got = 0
    for bytes in rig.delivered {
      let checker = DeliveryChecker(bytes)
      #expect(checker.problems.isEmpty, "\(checker.problems)")
      got += checker.segments.reduce(0) { $0 + $1.payload.count }
    }
    #expect(got == expectedBytes)
    #expect(rig.reassembler.counters[.lostFrame] > 0)
    #expect(rig.reassembler.counters[.reclaimed] == 0)
  }

  @Test("A loss is known 32 frames later, without waiting for the deadline")
  func reorderTolerance() throws {
    let packet = TestPacket.make(.tcp4, payload: 60_000, gsoSize: 1_448)
    let frames = try cut(packet.all, payloadSize: 1_362)
    #expect(frames.count == 45)
    // Frame 12 is lost: the last frame, 44, is 32 later.
    var rig = ReassemblyRig()
    for frame in frames where frame.sequence != 13 {
      rig.accept(frame)
      #expect(rig.delivered.isEmpty == (frame.sequence < 45))
    }
    #expect(rig.delivered.count == 2)
    #expect(rig.reassembler.counters[.lostFrame] == 1)
    #expect(rig.accept(frames[12]) == .late(index: 12))

    // Frame 13 is lost: the next packet's first frame shows it.
    rig = ReassemblyRig()
    for frame in frames where frame.sequence != 14 { rig.accept(frame) }
    #expect(rig.delivered.isEmpty)
    let small = TestPacket.plain(version: 4, count: 40)
    rig.accept(try cut(small.all, payloadSize: 1_362, firstSequence: 46)[0])
    #expect(rig.delivered.count == 3)
    #expect(rig.delivered.last == small.all)
  }

  @Test("A packet whose frames keep coming is not given up, however slow the link")
  func slowLink() throws {
    let packet = TestPacket.make(.tcp4, payload: 60_000, gsoSize: 1_448)
    var rig = ReassemblyRig()
    for frame in try cut(packet.all, payloadSize: 1_362) {
      rig.accept(frame)
      rig.now = rig.now + .milliseconds(49)
      rig.reassembler.expire(at: rig.now)
    }
    #expect(rig.delivered == [packet.all])
  }

  @Test("The deadline is 50 ms after the last frame")
  func deadline() throws {
    var rig = ReassemblyRig()
    #expect(rig.reassembler.nextDeadline == nil)
    let frames = try cut(TestPacket.make(.tcp4, payload: 9_000, gsoSize: 1_448).all, payloadSize: 1_362)
    rig.accept(frames[0])
    #expect(rig.reassembler.nextDeadline == rig.now + .milliseconds(50))
    rig.reassembler.expire(at: rig.now + .milliseconds(50) - .nanoseconds(1))
    rig.drain()
    #expect(rig.delivered.isEmpty && rig.reassembler.fillingCount == 1)
    rig.expire()
    #expect(rig.delivered.count == 1 && rig.reassembler.fillingCount == 0)
    #expect(rig.reassembler.nextDeadline == nil)
    #expect(rig.reassembler.counters[.timedOut] == 1 && rig.reassembler.counters[.piece] == 1)
  }

  @Test("Of a packet without segmentation nothing is delivered in part")
  func withoutSegmentation() throws {
    let frames = try cut(TestPacket.make(.udp4, payload: 1_450, gsoSize: 0).all, payloadSize: 1_362)
    #expect(frames.count == 2)
    for lost in 0...1 {
      var rig = ReassemblyRig()
      rig.accept(frames[1 - lost])
      rig.expire()
      #expect(rig.delivered.isEmpty && rig.reassembler.counters[.nothingLeft] == 1)
    }
  }

  @Test("CWR stays with the first piece, the urgent pointer moves with the sequence number")
  func flags() throws {
    var packet = TestPacket.make(.tcp4, payload: 9_000, gsoSize: 1_448, flags: 0xb9, ecn: true)
    packet.ip.replaceSubrange(38..<40, with: bytes16(4_000))
    var frames = try cut(packet.all, payloadSize: 1_362)
    frames.remove(at: 4)
    frames.remove(at: 1)
    var rig = ReassemblyRig()
    for frame in frames { rig.accept(frame) }
    rig.expire()
    #expect(rig.delivered.count == 3)
    let tcp = rig.delivered.map { Array($0[30...]) }
    #expect(tcp.map { $0[13] } == [0xb0, 0x30, 0x19])
    // The second piece starts at payload byte 2 · 1362 − 2 − 52.
    #expect(tcp.map { Int($0[18]) << 8 | Int($0[19]) } == [4_000, 4_000 - 2_670, 0])
    #expect(rig.delivered.map { $0[1] } == [0, 1, 1])
  }
}
