// Headers built and opened by real hops, from one hop to N, there and back (docs/PROTOCOL.md §5).

import Core
import Crypto
import TestSupport
import Testing

@testable import Onion

@Suite struct OnionLineTests {
  @Test(arguments: allSizes)
  func `a frame takes its way over every number of hops and comes out whole (section 5)`(size: OnionSize) throws {
    // Every length up to 16 hops, then some of the longer ones and the longest.
    var lengths = Array(1...min(size.entries, 16))
    if size.entries > 16 { lengths += [17, size.entries / 2 + 1, size.entries - 1, size.entries] }
    for count in lengths {
      var line = Line(hops: count, size: size, seed: UInt64(count))
      let builder = try line.builder()
      for round in 1...6 {
        let payload = (0..<(30 + round)).map { _ in line.entropy.u8() }
        var frame = line.frame(builder, payload: payload)
        let link = Array(frame[..<OnionLayout.linkHeader])
        #expect(link == [UInt8](repeating: 0xee, count: 15), "the link header is not the builder's")
        for (i, hop) in line.hops.enumerated() {
          #expect(hop.process(&frame, size: size) == line.expected(i), "hop \(i) of \(count), frame \(round)")
          #expect(Array(frame[size.endToEnd...]) == payload)
          #expect(Array(frame[..<OnionLayout.linkHeader]) == link)
        }
      }
      #expect(line.hops.allSatisfy { $0.relay.refused.allSatisfy { $0 == 0 } && $0.relay.routeCount == 1 })
    }
  }

  @Test(arguments: allSizes)
  func `a way back padded with decoys to N is good for every length (section 7)`(size: OnionSize) throws {
    for count in [1, 2, 3, 5, size.entries - 1, size.entries] {
      var line = Line(hops: count, size: size, authority: 7, towardAuthority: true, seed: UInt64(100 + count))
      let shares = line.sharesWithDecoys()
      #expect(shares.count == size.entries)
      let builder = try line.builder(shares)
      for _ in 0..<5 {
        var frame = line.frame(builder)
        #expect(line.firstRefusal(&frame) == nil)
      }
    }
  }

  @Test func `class, direction and authority come through unchanged`() throws {
    for traffic in [FrameClass.control, .protected, .bulk] {
      for toward in [false, true] {
        for authority in 0..<16 {
          let onionClass = OnionClass(traffic: traffic, towardAuthority: toward, authority: authority)
          #expect(OnionClass(byte: onionClass.byte) == onionClass)
          var line = Line(hops: 1, size: OnionSize(code: 0), authority: authority)
          let builder = try line.builder()
          var frame = [UInt8](repeating: 0, count: line.size.endToEnd)
          #expect(frame.withUnsafeMutableBufferPointer { builder.build($0.baseAddress!, class: onionClass) })
          #expect(line.hops[0].process(&frame, size: line.size) == .deliver(class: onionClass, route: line.route))
        }
      }
    }
    for byte in UInt8(0x60)...UInt8(0xff) { #expect(OnionClass(byte: byte) == nil) }
  }

  @Test func `the size is the smallest that holds the hops`() {
    for hops in 1...64 {
      let size = OnionSize(hops: hops)
      #expect((size?.entries ?? 0) >= hops)
      #expect(hops <= 8 || (size?.entries ?? 0) / 2 < hops)
    }
    #expect(OnionSize(hops: 0) == nil && OnionSize(hops: -1) == nil && OnionSize(hops: 65) == nil)
    #expect(allSizes.map(\.endToEnd) == [112, 192, 352, 672])
    // 1,500-byte links (section 5).
    #expect(allSizes.map { 1_500 - $0.endToEnd - 26 } == [1_362, 1_282, 1_122, 802])
  }

  @Test func `no hops, or more than N, make no builder`() {
    var entropy = seeded(3)
    let size = OnionSize(code: 0)
    let decoys = (0..<9).map { _ in RouteHop(decoyFrom: &entropy) }
    #expect(OnionBuilder(route: 1, size: size, hops: [], entropy: &entropy) == nil)
    #expect(OnionBuilder(route: 1, size: size, hops: decoys, entropy: &entropy) == nil)
    #expect(OnionBuilder(route: 1, size: size, hops: Array(decoys[..<8]), entropy: &entropy) != nil)
  }

  @Test func `a builder stops at its counter's limit and leaves the frame alone`() throws {
    var line = Line(hops: 2, size: OnionSize(code: 0))
    let builder = try line.builder()
    #expect(!builder.isWornOut)
    builder.counter = OnionBuilder.replaceAfter - 1
    var frame = line.frame(builder)
    #expect(builder.isWornOut && builder.counter == OnionBuilder.replaceAfter)
    #expect(line.firstRefusal(&frame) == nil)
    builder.counter = OnionBuilder.counterLimit - 1
    frame = line.frame(builder)
    #expect(line.firstRefusal(&frame) == nil)
    var untouched = [UInt8](repeating: 0xee, count: line.size.endToEnd)
    #expect(!untouched.withUnsafeMutableBufferPointer { builder.build($0.baseAddress!, class: line.onionClass) })
    #expect(untouched == [UInt8](repeating: 0xee, count: line.size.endToEnd))
    #expect(builder.counter == OnionBuilder.counterLimit)
  }

  @Test(arguments: allSizes)
  func `counters that come in any order are opened as those in order (section 5)`(size: OnionSize) throws {
    for seed in UInt64(1)...4 {
      var line = Line(hops: 3, size: size, seed: seed)
      let builder = try line.builder()
      var frames = (0..<60).map { _ in line.frame(builder) }
      // Jumps ahead too, over several windows of streams.
      builder.counter += line.entropy.below(100_000)
      frames += (0..<20).map { _ in line.frame(builder) }
      for i in 0..<60 { frames.swapAt(i, Int(line.entropy.below(60))) }
      for frame in frames {
        var frame = frame
        #expect(line.firstRefusal(&frame) == nil, "seed \(seed)")
      }
    }
  }

  @Test func `many routes over one hop share its cache of streams without mixing`() throws {
    var entropy = seeded(77)
    let size = OnionSize(code: 1)
    let key = entropy.bytes32()
    let hop = Hop(key: key, ingress: 9, egress: 0, authority: 2)
    let onionClass = OnionClass(traffic: .protected, towardAuthority: false, authority: 2)
    var builders: [OnionBuilder] = []
    for i in 0..<300 {
      let route = entropy.u32()
      let share = RouteHop(key: key, route: route, ingress: 9, egress: UInt16(i % 200))
      builders.append(try #require(OnionBuilder(route: route, size: size, hops: [share], entropy: &entropy)))
    }
    for step in 0..<6_000 {
      // Now one route several times in a row, now many in turn.
      let i = step % 50 < 25 ? step / 50 : Int(entropy.below(300))
      var frame = [UInt8](repeating: 0, count: size.endToEnd + 30)
      _ = frame.withUnsafeMutableBufferPointer { builders[i].build($0.baseAddress!, class: onionClass) }
      let expected: OnionVerdict =
        i % 200 == 0
        ? .deliver(class: onionClass, route: builders[i].route)
        : .forward(egress: UInt16(i % 200), class: onionClass)
      #expect(hop.process(&frame, size: size, ingress: 9) == expected, "step \(step)")
    }
    #expect(hop.relay.routesEvicted == 0)
  }

  @Test func `routes go on without a gap while the table grows under them`() throws {
    var entropy = seeded(78)
    let size = OnionSize(code: 0)
    let key = entropy.bytes32()
    let hop = Hop(key: key, ingress: 9, egress: 0, authority: 2)
    let onionClass = OnionClass(traffic: .protected, towardAuthority: false, authority: 2)
    var builders: [OnionBuilder] = []
    for count in [30, 60, 120, 240, 480] {
      while builders.count < count {
        let route = entropy.u32()
        let share = RouteHop(key: key, route: route, ingress: 9, egress: 7)
        builders.append(try #require(OnionBuilder(route: route, size: size, hops: [share], entropy: &entropy)))
      }
      // In turn, so that all stand at about the same counter, and again, so that streams are held ready.
      for builder in builders {
        for _ in 0..<7 {
          var frame = [UInt8](repeating: 0, count: size.endToEnd)
          _ = frame.withUnsafeMutableBufferPointer { builder.build($0.baseAddress!, class: onionClass) }
          let verdict = hop.process(&frame, size: size, ingress: 9)
          #expect(verdict == .forward(egress: 7, class: onionClass), "\(count) routes, counter \(builder.counter)")
        }
      }
    }
    #expect(hop.relay.routeCount == 480 && hop.relay.table.capacity == 1_024)
  }

  @Test(arguments: allSizes)
  func `headers of one hop and of N cannot be told apart by size or by filler (section 5)`(size: OnionSize) throws {
    // Every byte behind the counter is even over many frames at every hop of every length: no constant, no bias.
    for count in [1, 2, size.entries / 2, size.entries] {
      var line = Line(hops: count, size: size, seed: UInt64(count))
      let builder = try line.builder()
      let rounds = size.entries > 16 ? 24 : 64
      var ones = [[Int]](repeating: [Int](repeating: 0, count: (size.endToEnd - 24) * 8), count: count + 1)
      for _ in 0..<rounds {
        var frame = line.frame(builder, payload: [])
        #expect(frame.count == size.endToEnd)
        for i in 0...count {
          for (j, byte) in frame[24...].enumerated() { for b in 0..<8 { ones[i][j * 8 + b] += Int(byte >> b & 1) } }
          if i < count { #expect(line.hops[i].process(&frame, size: size) == line.expected(i)) }
        }
      }
      for i in 0...count {
        // A bit that never changes in 64 (24) frames: chance 2^-63 (2^-23); some thousands of bits are looked at.
        let constant = ones[i].filter { $0 == 0 || $0 == rounds }.count
        #expect(constant <= (rounds == 24 ? 1 : 0), "\(count) hops, after \(i)")
        let total = Double(ones[i].reduce(0, +)) / Double(rounds * ones[i].count)
        #expect(abs(total - 0.5) < 0.03, "\(count) hops, after \(i)")
      }
    }
  }

  @Test func `what the last hop sees beyond its own entry differs in every frame (section 5)`() throws {
    for count in 1...8 {
      var line = Line(hops: count, size: OnionSize(code: 0), seed: UInt64(count))
      let builder = try line.builder()
      var seen: [[[UInt8]]] = []
      for _ in 0..<8 {
        var frame = line.frame(builder, payload: [])
        #expect(line.firstRefusal(&frame) == nil)
        seen.append((0..<8).map { Array(frame[(32 + 10 * $0)..<(42 + 10 * $0)]) })
      }
      for j in 0..<8 {
        #expect(Set(seen.map { $0[j] }).count == 8, "entry \(j) of the delivered frame, \(count) hops")
        #expect(!seen.contains { $0[j].allSatisfy { $0 == 0 } })
      }
    }
  }
}
