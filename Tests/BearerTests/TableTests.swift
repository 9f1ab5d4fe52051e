import Bearer
import Core
import Testing

@Suite("Reassembly slots: peers, limits, lateness")
struct TableTests {
  @Test("Two peers with the same sequence numbers do not mix")
  func twoPeers() throws {
    let a = TestPacket.make(.tcp4, payload: 40_000, gsoSize: 1_448, seed: 5)
    let b = TestPacket.make(.tcp4, payload: 40_000, gsoSize: 1_448, seed: 6)
    var rig = ReassemblyRig()
    for (x, y) in zip(try cut(a.all, payloadSize: 1_362), try cut(b.all, payloadSize: 1_362)) {
      #expect(rig.accept(x, peer: 1) == nil)
      #expect(rig.accept(y, peer: 2) == nil)
    }
    #expect(rig.delivered == [a.all, b.all])
    #expect(rig.deliveredPeers == [1, 2])
  }

  @Test("With all slots taken, the peer with the most packets gives up its oldest, and it is delivered")
  func exhaustion() throws {
    let packets = (1...6).map { TestPacket.make(.tcp4, payload: 9_000, gsoSize: 1_448, seed: $0) }
    let frames = try packets.enumerated().map { n, p in
      try cut(p.all, payloadSize: 1_362, firstSequence: UInt64(n * 7 + 1))
    }
    var rig = ReassemblyRig(slots: 4)
    for n in 1...3 { rig.accept(frames[n][0], peer: 1) }
    rig.accept(frames[0][0], peer: 9)
    for n in 1...3 {
      rig.now = rig.now + .microseconds(1)
      rig.accept(frames[n][1], peer: 1)
    }
    #expect(rig.reassembler.fillingCount == 4)
    #expect(rig.reassembler.counters[.reclaimed] == 0)
    // Peer 9 waits longest, but peer 1 has three.
    rig.accept(frames[4][0], peer: 2)
    #expect(rig.reassembler.fillingCount == 4)
    #expect(rig.reassembler.counters[.reclaimed] == 1)
    #expect(rig.deliveredPeers == [1])
    checkPieces(
      rig.delivered, of: packets[1], kind: .tcp4, gsoSize: 1_448,
      expected: (0..<9_000).map { $0 < 2 * 1_362 - 2 - 52 }, comment: "front of the reclaimed packet")
    for frame in frames[0].dropFirst() { #expect(rig.accept(frame, peer: 9) == nil) }
    #expect(rig.delivered.last == packets[0].all)
  }

  @Test("A caller that never drains gets no slot, and nothing is overwritten")
  func undrained() throws {
    var reassembler = Reassembler(slots: 2)
    let packets = (1...5).map { TestPacket.make(.tcp4, payload: 9_000, gsoSize: 1_448, seed: $0) }
    var refusals: [BearerError?] = []
    for (n, p) in packets.enumerated() {
      for frame in try cut(p.all, payloadSize: 1_362, firstSequence: UInt64(n * 7 + 1)) {
        refusals.append(
          reassembler.accept(frame.plaintext, count: frame.count, sequence: frame.sequence, peer: 1, at: .zero))
      }
    }
    #expect(refusals.filter { $0 == .noSlot }.count == 14)
    var delivered: [[UInt8]] = []
    while let d = reassembler.nextDelivery() { delivered.append(Array(d.packet)) }
    #expect(delivered == packets.prefix(3).map(\.all))
  }

  @Test("Frames of a finished packet open no slot")
  func late() throws {
    let frames = try cut(TestPacket.make(.udp6, payload: 9_000, gsoSize: 1_200).all, payloadSize: 1_362)
    var rig = ReassemblyRig()
    for frame in frames { rig.accept(frame) }
    for (i, frame) in frames.enumerated() { #expect(rig.accept(frame) == .late(index: i)) }
    #expect(rig.reassembler.fillingCount == 0 && rig.delivered.count == 1)
    #expect(rig.reassembler.counters[.late] == UInt64(frames.count))
  }

  @Test("A peer that is forgotten leaves nothing")
  func forget() throws {
    let frames = try cut(TestPacket.make(.tcp4, payload: 9_000, gsoSize: 1_200).all, payloadSize: 1_362)
    var rig = ReassemblyRig()
    rig.accept(frames[0], peer: 1)
    rig.accept(frames[0], peer: 2)
    rig.reassembler.forget(peer: 1)
    #expect(rig.reassembler.fillingCount == 1)
    rig.expire()
    #expect(rig.deliveredPeers == [2])
    // Finished packets neither: another peer of that number begins anew.
    for frame in frames { rig.accept(frame, peer: 1) }
    let delivered = rig.deliveredPeers.count
    rig.reassembler.forget(peer: 1)
    for frame in frames { #expect(rig.accept(frame, peer: 1) == nil) }
    #expect(rig.deliveredPeers.count == delivered + 1)
  }

  @Test("Every counter has a name of its own")
  func names() {
    let names = (0..<UInt8(BearerCounter.count)).compactMap { BearerCounter(rawValue: $0).map { "\($0.name)" } }
    #expect(Set(names).count == BearerCounter.count)
    #expect(BearerCounter(rawValue: UInt8(BearerCounter.count)) == nil)
  }
}

@Suite("Traffic classes (mms.md, Repair: protected flows of up to 1 Mb/s)")
struct TrafficClassifierTests {
  @Test("A burst of 32 KiB is protected, what follows is bulk until the bucket refills at 1 Mb/s")
  func burst() {
    var now = Instant(nanoseconds: 5_000_000_000)
    var classifier = TrafficClassifier(startingAt: now)
    for _ in 0..<32 { #expect(classifier.classify(bytes: 1_024, at: now) == .interactive) }
    #expect(classifier.classify(bytes: 1, at: now) == .bulk)
    // 1,500 bytes are 12 ms.
    now = now + .milliseconds(12) - .nanoseconds(1)
    #expect(classifier.classify(bytes: 1_500, at: now) == .bulk)
    now = now + .nanoseconds(1)
    #expect(classifier.classify(bytes: 1_500, at: now) == .interactive)
    #expect(classifier.classify(bytes: 1_500, at: now) == .bulk)
    now = now + .seconds(10)
    #expect(classifier.classify(bytes: 32_768, at: now) == .interactive)
    #expect(classifier.classify(bytes: 1, at: now) == .bulk)
  }

  @Test("A super-packet larger than the burst is always bulk, and takes nothing from the bucket")
  func large() {
    let now = Instant(nanoseconds: 1)
    var classifier = TrafficClassifier(startingAt: now)
    for _ in 0..<10 { #expect(classifier.classify(bytes: 65_535, at: now) == .bulk) }
    #expect(classifier.classify(bytes: .max, at: now) == .bulk)
    #expect(classifier.classify(bytes: 32_768, at: now) == .interactive)
  }

  @Test("A flow just below the rate is protected throughout, one at twice the rate is half bulk")
  func rates() {
    for (gap, least, most) in [(12_100_000, 1_000, 1_000), (6_000_000, 500, 530)] {
      var now = Instant.zero
      var classifier = TrafficClassifier(startingAt: now)
      var protected = 0
      for _ in 0..<1_000 {
        if classifier.classify(bytes: 1_500, at: now) == .interactive { protected += 1 }
        now = now + .nanoseconds(Int64(gap))
      }
      #expect(protected >= least && protected <= most)
    }
  }
}
