// What a hop must refuse, and that what it refuses leaves no trace (docs/PROTOCOL.md §5).

import Core
import Crypto
import Testing

@testable import Onion

/// What a hop remembers of its routes, as far as a frame could change it for the worse.
struct TableTrace: Equatable {
  var count: Int
  var evicted: UInt64
  var capacity: Int
  var records: [Record]

  struct Record: Equatable {
    var place: Int
    var identity: UInt64
    var generation: UInt16
    var ports: [UInt16]
    var keys: [[UInt8]]
    var lastUsed: UInt64
    var highest: UInt64
    var seen: [Bool]
  }

  init(_ hop: Hop) {
    (count, evicted, capacity) = (hop.relay.routeCount, hop.relay.routesEvicted, hop.relay.table.capacity)
    records = []
    for i in 0..<capacity {
      var r = hop.relay.table.record(i).pointee
      if r.identity == 0 { continue }
      let highest = r.window.highest
      records.append(
        Record(
          place: i, identity: r.identity, generation: r.keyGeneration, ports: [r.ingress, r.egress, r.egressPad],
          keys: [r.entryKey.array, r.macKey.withBytes { p in (0..<16).map { p[$0] } }], lastUsed: r.lastUsed,
          highest: highest, seen: (0..<min(highest, 1_100)).map { r.window.check(highest - $0) }))
    }
  }
}

@Suite struct OnionRefusalTests {
  /// Flips every bit of the onion header before the hop at `index`, which must refuse all and remember nothing.
  func flipEveryBit(_ frame: [UInt8], _ line: Line, at index: Int) {
    let hop = line.hops[index]
    let before = TableTrace(hop)
    let refusedBefore = hop.relay.refused.reduce(0, +)
    for bit in (15 * 8)..<(line.size.endToEnd * 8) {
      var damaged = frame.flipping(bit: bit)
      let verdict = hop.process(&damaged, size: line.size)
      guard case .refused(let reason) = verdict, reason != .replayed, reason != .short else {
        Issue.record("bit \(bit) at hop \(index): \(verdict)")
        return
      }
    }
    #expect(hop.relay.refused.reduce(0, +) - refusedBefore == UInt64(line.size.endToEnd - 15) * 8)
    #expect(TableTrace(hop) == before)
  }

  @Test(arguments: allSizes)
  func `every bit of class, R, counter, MAC and entries is authenticated at every hop (section 5)`(
    size: OnionSize
  ) throws {
    var line = Line(hops: size.entries == 8 ? 8 : 3, size: size)
    let builder = try line.builder()
    // The first frame finds routes unknown, the second known ones.
    for _ in 0..<2 {
      var frame = line.frame(builder)
      for (i, hop) in line.hops.enumerated() {
        flipEveryBit(frame, line, at: i)
        #expect(hop.process(&frame, size: size) == line.expected(i), "the true frame still passes")
      }
    }
  }

  @Test func `a frame on the wrong adjacency is refused, whether its route is known or not (section 5)`() throws {
    var line = Line(hops: 2, size: OnionSize(code: 0))
    let builder = try line.builder()
    let hop = line.hops[0]
    for round in 0..<2 {
      var frame = line.frame(builder)
      let before = TableTrace(hop)
      for ingress in UInt16(0)...300 where ingress != hop.ingress {
        var copy = frame
        #expect(hop.process(&copy, size: line.size, ingress: ingress) == .refused(.wrongMAC))
      }
      #expect(TableTrace(hop) == before)
      #expect(hop.process(&frame, size: line.size) == line.expected(0), "round \(round)")
    }
  }

  @Test func `a frame under another size code is refused (section 5)`() throws {
    for size in allSizes {
      for other in allSizes where other != size {
        var line = Line(hops: 2, size: size)
        let builder = try line.builder()
        for _ in 0..<2 {
          // Long enough for every size.
          var frame = line.frame(builder, payload: [UInt8](repeating: 0, count: 700))
          let before = TableTrace(line.hops[0])
          var copy = frame
          #expect(line.hops[0].process(&copy, size: other) == .refused(.wrongMAC))
          #expect(TableTrace(line.hops[0]) == before)
          #expect(line.hops[0].process(&frame, size: size) == line.expected(0))
        }
      }
    }
  }

  @Test func `frames cut short anywhere in the header are refused (section 5)`() throws {
    for size in allSizes {
      var line = Line(hops: 1, size: size)
      let builder = try line.builder()
      let frame = line.frame(builder, payload: [])
      for count in 1..<size.endToEnd {
        var cut = Array(frame[..<count])
        #expect(line.hops[0].process(&cut, size: size) == .refused(.short))
      }
      #expect(line.hops[0].relay.refused == [UInt64(size.endToEnd) - 1, 0, 0, 0, 0, 0])
      var whole = frame
      #expect(line.hops[0].process(&whole, size: size) == line.expected(0))
    }
  }

  @Test func `each reason is counted under its own name`() throws {
    var line = Line(hops: 1, size: OnionSize(code: 0), authority: 3)
    let builder = try line.builder()
    let hop = line.hops[0]
    let frame = line.frame(builder)
    var copy = frame
    copy[15] = 0xff
    #expect(hop.process(&copy, size: line.size) == .refused(.unknownClass))
    copy = frame
    copy[15] = frame[15] & 0xf0 | 4
    #expect(hop.process(&copy, size: line.size) == .refused(.noKey))
    copy = frame
    copy[40] ^= 1
    #expect(hop.process(&copy, size: line.size) == .refused(.wrongMAC))
    copy = frame
    #expect(hop.process(&copy, size: line.size) == line.expected(0))
    copy = frame
    #expect(hop.process(&copy, size: line.size) == .refused(.replayed))
    #expect(hop.relay.refused == [0, 1, 1, 1, 1, 0])
    let names = OnionRefusal.allCases.map { "\($0.name)" }
    #expect(names == ["short", "unknownClass", "noKey", "wrongMac", "replayed", "noPlace"])
  }

  @Test func `random bytes are refused and leave nothing behind`() throws {
    var line = Line(hops: 1, size: OnionSize(code: 0))
    let hop = line.hops[0]
    for _ in 0..<5_000 {
      var frame = (0..<Int(line.entropy.below(300)) + 1).map { _ in line.entropy.u8() }
      let size = allSizes[Int(line.entropy.below(4))]
      guard case .refused = hop.process(&frame, size: size, ingress: line.entropy.u16()) else {
        Issue.record("random bytes accepted")
        return
      }
    }
    #expect(hop.relay.routeCount == 0 && hop.relay.routesEvicted == 0)
  }

  // MARK: Replay

  @Test func `each frame passes a hop once, in any order within the window of 1,024 (section 5)`() throws {
    for seed in UInt64(1)...3 {
      var line = Line(hops: 1, size: OnionSize(code: 0), seed: seed)
      let builder = try line.builder()
      let frames = (0..<4_000).map { _ in line.frame(builder, payload: []) }
      var highest = 0
      var accepted: Set<Int> = []
      for _ in 0..<12_000 {
        // Mostly near the highest so far, on both sides; now and then anywhere.
        let near = max(1, highest - 1_100 + Int(line.entropy.below(1_150)))
        let counter = line.entropy.below(50) == 0 ? Int(line.entropy.below(4_000)) + 1 : min(4_000, near)
        var frame = frames[counter - 1]
        let expected = !accepted.contains(counter) && (counter > highest || highest - counter < 1_024)
        let verdict = line.hops[0].process(&frame, size: line.size)
        #expect(verdict == (expected ? line.expected(0) : .refused(.replayed)), "seed \(seed) counter \(counter)")
        if expected {
          accepted.insert(counter)
          highest = max(highest, counter)
        }
      }
    }
  }

  @Test func `a forged counter far ahead does not move the window (section 5)`() throws {
    var line = Line(hops: 1, size: OnionSize(code: 0))
    let builder = try line.builder()
    for i in 0..<50 {
      var frame = line.frame(builder)
      var forged = frame
      for byte in 20..<24 { forged[byte] = i % 2 == 0 ? 0xff : 0x7f }
      #expect(line.hops[0].process(&forged, size: line.size) == .refused(.wrongMAC))
      #expect(line.hops[0].process(&frame, size: line.size) == line.expected(0))
    }
  }

  @Test func `counter 0 is never accepted, not even with a right MAC`() throws {
    var line = Line(hops: 1, size: OnionSize(code: 0))
    let builder = try line.builder()
    func zeroFrame() -> [UInt8] {
      // Wraps to 0 on the next build; the limit would not let it come to that.
      var frame = line.frame(builder)
      let hop = line.shares[0]
      for i in 20..<24 { frame[i] = 0 }
      var stream = [UInt8](repeating: 0, count: 128)
      stream.withUnsafeMutableBufferPointer {
        StreamCipher.keystream($0.baseAddress!, count: 128, key: hop.entryKey, nonce: 0)
      }
      frame[32] = UInt8(hop.hiddenEgress >> 8) ^ stream[0]
      frame[33] = UInt8(hop.hiddenEgress & 255) ^ stream[1]
      frame.withUnsafeMutableBufferPointer {
        let mac = onionMAC($0.baseAddress!, size: line.size, key: hop.macKey)
        storeMAC(mac, at: $0.baseAddress! + 24)
      }
      return frame
    }
    var frame = zeroFrame()
    #expect(line.hops[0].process(&frame, size: line.size) == .refused(.wrongMAC))
    #expect(line.hops[0].relay.routeCount == 0)
    frame = line.frame(builder)
    #expect(line.hops[0].process(&frame, size: line.size) == line.expected(0))
    frame = zeroFrame()
    #expect(line.hops[0].process(&frame, size: line.size) == .refused(.replayed))
  }
}
