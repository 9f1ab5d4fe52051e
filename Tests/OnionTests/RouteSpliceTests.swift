// A component that was taken over knows the shares of its ways back, and may put them together as it likes. Nothing but
// the ways as they were laid may come of it (docs/PROTOCOL.md §5; threat 2).

import Core
import Crypto
import TestSupport
import Testing

@testable import Onion

@Suite struct RouteSpliceTests {
  /// Sends a frame into the line at its first hop, as the wires lead it: a hop's egress ends at the next hop.
  /// How many hops forwarded it, and whether it was delivered.
  func send(_ frame: [UInt8], into line: Line) -> (forwarded: Int, delivered: Bool) {
    var frame = frame
    for (i, hop) in line.hops.enumerated() {
      switch hop.process(&frame, size: line.size) {
      case .forward(let egress, _):
        #expect(egress == hop.egress, "no hop is made to send where its share does not lead")
      case .deliver: return (i, true)
      case .refused: return (i, false)
      }
    }
    return (line.hops.count, false)
  }

  @Test func `headers put together from two routes' frames are refused by the first hop (section 5)`() throws {
    var first = Line(hops: 4, size: OnionSize(code: 0))
    // The same nodes, laid again: other R, another way through the second of them.
    let other = Line(hops: 4, size: first.size, route: 0x0a0b_0c0d, seed: 9)
    let shares = first.hops.enumerated().map { i, hop in
      RouteHop(
        key: hop.key, route: other.route, ingress: hop.ingress, egress: i == 1 ? hop.egress ^ 1 : hop.egress)
    }
    var entropy = seeded(4)
    let builders = [
      try first.builder(),
      try #require(OnionBuilder(route: other.route, size: first.size, hops: shares, entropy: &entropy)),
    ]
    let frames = builders.map { first.frame($0) }
    for (a, b) in [(frames[0], frames[1]), (frames[1], frames[0])] {
      for cut in stride(from: 32, through: 102, by: 10) + [20, 24] {
        let spliced = Array(a[..<cut]) + Array(b[cut...])
        #expect(send(spliced, into: first) == (0, false), "cut at \(cut)")
      }
      // One entry of the other's in the middle.
      for entry in 0..<8 {
        var spliced = a
        spliced.replaceSubrange((32 + 10 * entry)..<(42 + 10 * entry), with: b[(32 + 10 * entry)..<(42 + 10 * entry)])
        #expect(send(spliced, into: first) == (0, false), "entry \(entry)")
      }
    }
    #expect(first.hops.allSatisfy { $0.relay.routeCount == 0 })
    #expect(send(frames[0], into: first) == (3, true))
  }

  @Test func `the shares of a route work in their own order and no other (section 5)`() throws {
    var line = Line(hops: 4, size: OnionSize(code: 0))
    let shares = line.shares
    var tried = 0
    // Every sequence of one to five shares, with gaps and repeats.
    var sequences: [[Int]] = [[]]
    for _ in 0..<5 {
      sequences += sequences.filter { $0.count == sequences.last?.count }.flatMap { s in (0..<4).map { s + [$0] } }
    }
    for sequence in sequences where !sequence.isEmpty {
      for padded in [false, true] {
        var hops = sequence.map { shares[$0] }
        while padded, hops.count < 8 { hops.append(RouteHop(decoyFrom: &line.entropy)) }
        let builder = try line.builder(hops)
        // Beyond what the other sequences' frames may have used.
        tried += 1
        builder.counter = UInt32(tried)
        let outcome = send(line.frame(builder), into: line)
        let whole = sequence.starts(with: [0, 1, 2, 3])
        #expect(outcome.delivered == whole, "\(sequence)")
        let good = zip(sequence, 0...).prefix { $0 == $1 }.count
        #expect(outcome.forwarded <= good, "\(sequence)")
      }
    }
    #expect(tried == 2 * (4 + 16 + 64 + 256 + 1_024))
  }

  @Test func `a share of another route does not fit in, under either R (section 5)`() throws {
    var line = Line(hops: 4, size: OnionSize(code: 0))
    let otherRoute: UInt32 = 0x7777_0001
    let others = line.hops.map { RouteHop(key: $0.key, route: otherRoute, ingress: $0.ingress, egress: $0.egress) }
    for at in 0..<4 {
      var mixed = line.shares
      mixed[at] = others[at]
      let builder = try line.builder(mixed)
      builder.counter = UInt32(100 * at)
      #expect(send(line.frame(builder), into: line) == (at, false))
      mixed = others
      mixed[at] = line.shares[at]
      var entropy = seeded(5)
      let under = try #require(OnionBuilder(route: otherRoute, size: line.size, hops: mixed, entropy: &entropy))
      under.counter = UInt32(100 * at)
      #expect(send(line.frame(under), into: line) == (at, false))
    }
    #expect(send(line.frame(try line.builder()), into: line) == (3, true))
  }

  @Test func `a changed hidden egress is refused by its hop, also when it would mean delivery (section 5)`() throws {
    var line = Line(hops: 3, size: OnionSize(code: 0))
    var counter: UInt32 = 0
    func outcome(_ shares: [RouteHop]) throws -> (forwarded: Int, delivered: Bool) {
      let builder = try line.builder(shares)
      builder.counter = counter
      counter += 1
      return send(line.frame(builder), into: line)
    }
    // Once while the route is unknown, once when it is known.
    for at in [0, 1, 2, 0, 1, 2] {
      // The egress itself makes it 0.
      for delta in Array(1...600) + [line.hops[at].egress] where delta != 0 {
        var shares = line.shares
        shares[at].hiddenEgress ^= delta
        #expect(try outcome(shares) == (at, false), "hop \(at) delta \(delta)")
      }
      if at == 2 { #expect(try outcome(line.shares) == (2, true)) }
    }
  }

  @Test func `a way cut short is not delivered early (section 5)`() throws {
    var line = Line(hops: 4, size: OnionSize(code: 0))
    for count in 1...3 {
      let builder = try line.builder(Array(line.shares[..<count]))
      builder.counter = UInt32(count) * 10
      #expect(send(line.frame(builder), into: line) == (count, false))
    }
  }

  @Test func `a share says nothing of its egress: the same egress is hidden differently in every route (section 7)`() {
    var entropy = seeded(6)
    let key = entropy.bytes32()
    let shares = (0..<500).map { RouteHop(key: key, route: $0, ingress: 1, egress: 7) }
    #expect(Set(shares.map(\.hiddenEgress)).count > 480)
    #expect(Set(shares.map(\.entryKey)).count == 500 && Set(shares.map(\.macKey)).count == 500)
    // Ingress and egress bind the MAC key alone.
    let moved = RouteHop(key: key, route: 3, ingress: 2, egress: 7)
    #expect(moved.entryKey == shares[3].entryKey && moved.hiddenEgress == shares[3].hiddenEgress)
    #expect(moved.macKey != shares[3].macKey)
    #expect(RouteHop(key: key, route: 3, ingress: 1, egress: 8).macKey != shares[3].macKey)
    #expect(RouteHop(key: key, route: 3, ingress: 7, egress: 1).macKey != shares[3].macKey)
  }
}

private func + (a: StrideThrough<Int>, b: [Int]) -> [Int] { Array(a) + b }
