// A line of hops with keys of their own, and frames as arrays, so that a test reads as: build, pass on, look.

import Core
import Crypto
import Foundation
import TestSupport
import Testing

@testable import Onion

let allSizes: [OnionSize] = [0, 1, 2, 3].map { OnionSize(code: $0) }

extension OnionSize: CustomTestStringConvertible {
  public var testDescription: String { "N = \(entries)" }
}

let start = Instant(nanoseconds: 5_000_000_000)

/// One node: its relay, and its part in the line under test.
final class Hop {
  let key: Bytes32
  let ingress: UInt16
  let egress: UInt16
  var relay: OnionRelay

  init(key: Bytes32, ingress: UInt16, egress: UInt16, authority: Int, routeLimit: Int = RouteTable.defaultLimit) {
    self.key = key
    self.ingress = ingress
    self.egress = egress
    relay = OnionRelay(routeLimit: routeLimit, seed: 0x1234_5678)
    relay.setKey(key, authority: authority, at: start)
  }

  func process(_ frame: inout [UInt8], size: OnionSize, at now: Instant = start) -> OnionVerdict {
    process(&frame, size: size, ingress: ingress, at: now)
  }

  func process(_ frame: inout [UInt8], size: OnionSize, ingress: UInt16, at now: Instant = start) -> OnionVerdict {
    frame.withUnsafeMutableBufferPointer { p in
      let buffer = PacketBuffer(base: p.baseAddress!, capacity: p.count, start: 0, count: p.count)
      return relay.process(buffer, size: size, ingress: ingress, at: now)
    }
  }
}

/// A way over `hops`, the last of which delivers.
struct Line {
  let size: OnionSize
  let route: UInt32
  let hops: [Hop]
  let onionClass: OnionClass
  var entropy: Entropy

  init(
    hops count: Int, size: OnionSize, route: UInt32 = 0x0102_0304, authority: Int = 0, towardAuthority: Bool = false,
    seed: UInt64 = 1
  ) {
    var entropy = seeded(seed)
    self.size = size
    self.route = route
    onionClass = OnionClass(traffic: .bulk, towardAuthority: towardAuthority, authority: authority)
    hops = (0..<count).map { i in
      Hop(
        key: entropy.bytes32(), ingress: UInt16(entropy.below(255)) + 1,
        egress: i == count - 1 ? deliverHere : UInt16(entropy.below(255)) + 1, authority: authority)
    }
    self.entropy = entropy
  }

  var shares: [RouteHop] {
    hops.map { RouteHop(key: $0.key, route: route, ingress: $0.ingress, egress: $0.egress) }
  }

  mutating func builder() throws -> OnionBuilder { try builder(shares) }

  mutating func builder(_ shares: [RouteHop]) throws -> OnionBuilder {
    try #require(OnionBuilder(route: route, size: size, hops: shares, entropy: &entropy))
  }

  /// The shares, and random ones behind them up to N: what a component gets for its way back.
  mutating func sharesWithDecoys() -> [RouteHop] {
    var shares = shares
    while shares.count < size.entries { shares.append(RouteHop(decoyFrom: &entropy)) }
    return shares
  }

  /// A frame with a fresh header and `payload` behind it.
  func frame(_ builder: OnionBuilder, payload: [UInt8] = [UInt8](repeating: 0x5a, count: 40)) -> [UInt8] {
    var frame = [UInt8](repeating: 0xee, count: size.endToEnd) + payload
    #expect(frame.withUnsafeMutableBufferPointer { builder.build($0.baseAddress!, class: onionClass) })
    return frame
  }

  /// What the hop at `index` answers when everything is in order.
  func expected(_ index: Int) -> OnionVerdict {
    index == hops.count - 1
      ? .deliver(class: onionClass, route: route) : .forward(egress: hops[index].egress, class: onionClass)
  }

  /// Passes a frame from hop to hop; the index of the first that refuses it, or nil.
  func firstRefusal(_ frame: inout [UInt8], from first: Int = 0, at now: Instant = start) -> Int? {
    for i in first..<hops.count {
      let verdict = hops[i].process(&frame, size: size, at: now)
      if case .refused = verdict { return i }
      #expect(verdict == expected(i))
    }
    return nil
  }
}

extension Array where Element == UInt8 {
  /// The same bytes with one bit turned; bit 0 is the lowest of byte 0.
  func flipping(bit: Int) -> [UInt8] {
    var copy = self
    copy[bit / 8] ^= 1 << UInt8(bit % 8)
    return copy
  }
}
