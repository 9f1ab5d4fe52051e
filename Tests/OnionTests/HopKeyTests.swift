// The keys a hop shares with MAs: apart from one another, replaced with grace, forgotten at once (docs/PROTOCOL.md §5).

import Core
import Crypto
import TestSupport
import Testing

@testable import Onion

@Suite struct HopKeyTests {
  let size = OnionSize(code: 0)

  func builder(_ key: Bytes32, route: UInt32, seed: UInt64 = 1) throws -> OnionBuilder {
    var entropy = seeded(seed)
    let share = RouteHop(key: key, route: route, ingress: 4, egress: 6)
    return try #require(OnionBuilder(route: route, size: size, hops: [share], entropy: &entropy))
  }

  func send(_ builder: OnionBuilder, authority: Int, to hop: Hop, at now: Instant = start) -> OnionVerdict {
    var frame = [UInt8](repeating: 0, count: size.endToEnd)
    let onionClass = OnionClass(traffic: .control, towardAuthority: false, authority: authority)
    #expect(frame.withUnsafeMutableBufferPointer { builder.build($0.baseAddress!, class: onionClass) })
    return hop.process(&frame, size: size, ingress: 4, at: now)
  }

  func passes(_ authority: Int) -> OnionVerdict {
    .forward(egress: 6, class: OnionClass(traffic: .control, towardAuthority: false, authority: authority))
  }

  func keys(_ count: Int) -> [Bytes32] {
    var entropy = seeded(42)
    return (0..<count).map { _ in entropy.bytes32() }
  }

  @Test func `one MA's key opens nothing of another's, and the same R of both is two routes (section 5)`() throws {
    let k = keys(2)
    let hop = Hop(key: k[0], ingress: 4, egress: 6, authority: 0)
    hop.relay.setKey(k[1], authority: 15, at: start)
    let (first, second) = (try builder(k[0], route: 5), try builder(k[1], route: 5))
    #expect(send(first, authority: 15, to: hop) == .refused(.wrongMAC))
    #expect(send(second, authority: 0, to: hop) == .refused(.wrongMAC))
    #expect(send(first, authority: 1, to: hop) == .refused(.noKey))
    #expect(hop.relay.routeCount == 0)
    for _ in 0..<5 {
      #expect(send(first, authority: 0, to: hop) == passes(0))
      #expect(send(second, authority: 15, to: hop) == passes(15))
      #expect(send(first, authority: 15, to: hop) == .refused(.wrongMAC))
    }
    #expect(hop.relay.routeCount == 2)
  }

  @Test func `after a key change known routes go on, and new ones under the old key for 10 s`() throws {
    let k = keys(3)
    let hop = Hop(key: k[0], ingress: 4, egress: 6, authority: 2)
    let known = try builder(k[0], route: 1)
    #expect(send(known, authority: 2, to: hop) == passes(2))
    hop.relay.setKey(k[1], authority: 2, at: start)
    #expect(send(try builder(k[1], route: 2), authority: 2, to: hop) == passes(2))
    let almost = start + .milliseconds(9_999)
    #expect(send(try builder(k[0], route: 3), authority: 2, to: hop, at: almost) == passes(2))
    let over = start + .seconds(10)
    #expect(send(try builder(k[0], route: 4), authority: 2, to: hop, at: over) == .refused(.wrongMAC))
    #expect(send(known, authority: 2, to: hop, at: start + .seconds(100_000)) == passes(2))
    #expect(send(try builder(k[1], route: 5), authority: 2, to: hop, at: over) == passes(2))
    // A second change within the grace forgets the first key, but not the routes in use.
    hop.relay.setKey(k[2], authority: 2, at: start)
    #expect(send(try builder(k[0], route: 6), authority: 2, to: hop) == .refused(.wrongMAC))
    #expect(send(try builder(k[1], route: 7), authority: 2, to: hop) == passes(2))
    #expect(send(try builder(k[2], route: 8), authority: 2, to: hop) == passes(2))
    #expect(send(known, authority: 2, to: hop) == passes(2))
  }

  @Test func `routes under old keys are good for 60 s, and then forgotten (section 5)`() throws {
    let k = keys(3)
    let hop = Hop(key: k[0], ingress: 4, egress: 6, authority: 2)
    #expect(hop.relay.nextDeadline == .never)
    let (old, other) = (try builder(k[0], route: 1), try builder(k[2], route: 2))
    hop.relay.setKey(k[2], authority: 3, at: start)
    #expect(send(old, authority: 2, to: hop) == passes(2))
    #expect(send(other, authority: 3, to: hop) == passes(3))
    hop.relay.setKey(k[1], authority: 2, at: start)
    let new = try builder(k[1], route: 3)
    #expect(send(new, authority: 2, to: hop) == passes(2))
    #expect(hop.relay.nextDeadline == start + .seconds(10))
    hop.relay.expireKeys(at: start + .seconds(10))
    #expect(hop.relay.nextDeadline == start + .seconds(60))
    let almost = start + .milliseconds(59_999)
    hop.relay.expireKeys(at: almost)
    #expect(send(old, authority: 2, to: hop, at: almost) == passes(2))
    hop.relay.expireKeys(at: start + .seconds(60))
    #expect(hop.relay.nextDeadline == .never && hop.relay.routeCount == 2)
    #expect(send(old, authority: 2, to: hop, at: start + .seconds(60)) == .refused(.wrongMAC))
    #expect(send(new, authority: 2, to: hop, at: start + .seconds(60)) == passes(2))
    #expect(send(other, authority: 3, to: hop, at: start + .seconds(60)) == passes(3))
  }

  @Test func `routes may be laid under the key to come before it is used, and go on when it is (section 5)`() throws {
    let k = keys(3)
    let hop = Hop(key: k[0], ingress: 4, egress: 6, authority: 2)
    let (old, new) = (try builder(k[0], route: 1), try builder(k[1], route: 2))
    #expect(send(old, authority: 2, to: hop) == passes(2))
    #expect(send(new, authority: 2, to: hop) == .refused(.wrongMAC))
    hop.relay.setNextKey(k[1], authority: 2)
    for _ in 0..<3 {
      #expect(send(new, authority: 2, to: hop) == passes(2))
      #expect(send(old, authority: 2, to: hop) == passes(2))
    }
    #expect(send(try builder(k[0], route: 3), authority: 2, to: hop) == passes(2))
    hop.relay.useNextKey(authority: 2, at: start)
    #expect(send(new, authority: 2, to: hop) == passes(2))
    #expect(send(try builder(k[1], route: 4), authority: 2, to: hop) == passes(2))
    #expect(send(try builder(k[0], route: 5), authority: 2, to: hop) == passes(2))
    hop.relay.expireKeys(at: start + .seconds(60))
    #expect(send(new, authority: 2, to: hop) == passes(2))
    #expect(send(old, authority: 2, to: hop) == .refused(.wrongMAC))
    // One that is taken back opens nothing any more; without one there is nothing to use.
    hop.relay.setNextKey(k[2], authority: 2)
    hop.relay.setNextKey(nil, authority: 2)
    hop.relay.useNextKey(authority: 2, at: start)
    #expect(send(try builder(k[2], route: 6), authority: 2, to: hop) == .refused(.wrongMAC))
    #expect(send(try builder(k[1], route: 7), authority: 2, to: hop) == passes(2))
  }

  @Test func `under a new key a route may take the number of an old one`() throws {
    let k = keys(2)
    let hop = Hop(key: k[0], ingress: 4, egress: 6, authority: 2)
    let old = try builder(k[0], route: 1)
    #expect(send(old, authority: 2, to: hop) == passes(2))
    // Not before the key is there.
    let new = try builder(k[1], route: 1)
    #expect(send(new, authority: 2, to: hop) == .refused(.wrongMAC))
    hop.relay.setKey(k[1], authority: 2, at: start)
    #expect(send(old, authority: 2, to: hop) == passes(2))
    #expect(send(new, authority: 2, to: hop) == passes(2))
    #expect(send(new, authority: 2, to: hop) == passes(2))
    #expect(send(old, authority: 2, to: hop) == .refused(.wrongMAC))
    #expect(hop.relay.routeCount == 1 && hop.relay.routesEvicted == 0)
  }

  @Test func `a key that is removed takes its routes along at once, and no other's`() throws {
    let k = keys(2)
    let hop = Hop(key: k[0], ingress: 4, egress: 6, authority: 2)
    hop.relay.setKey(k[1], authority: 3, at: start)
    let mine = try (0..<40).map { try builder(k[0], route: $0) }
    let others = try (0..<40).map { try builder(k[1], route: $0) }
    for b in mine { #expect(send(b, authority: 2, to: hop) == passes(2)) }
    for b in others { #expect(send(b, authority: 3, to: hop) == passes(3)) }
    #expect(hop.relay.routeCount == 80)
    hop.relay.removeKey(authority: 2)
    #expect(hop.relay.routeCount == 40)
    for b in mine { #expect(send(b, authority: 2, to: hop) == .refused(.noKey)) }
    for b in others { #expect(send(b, authority: 3, to: hop) == passes(3)) }
    // Given again it starts anew, without the grace of an older key.
    hop.relay.setKey(k[1], authority: 2, at: start)
    #expect(send(mine[0], authority: 2, to: hop) == .refused(.wrongMAC))
    #expect(send(try builder(k[1], route: 0), authority: 2, to: hop) == passes(2))
  }

  @Test func `a hop that was restarted knows nothing and says so`() throws {
    let k = keys(2)
    let hop = Hop(key: k[0], ingress: 4, egress: 6, authority: 2)
    let route = try builder(k[0], route: 1)
    #expect(send(route, authority: 2, to: hop) == passes(2))
    let restarted = Hop(key: k[1], ingress: 4, egress: 6, authority: 2)
    #expect(send(route, authority: 2, to: restarted) == .refused(.wrongMAC))
    #expect(send(route, authority: 9, to: restarted) == .refused(.noKey))
  }

  @Test func `at the table's limit an MA displaces its own routes first, and what was displaced comes back`() throws {
    let k = keys(2)
    let hop = Hop(key: k[0], ingress: 4, egress: 6, authority: 0, routeLimit: 64)
    hop.relay.setKey(k[1], authority: 1, at: start)
    let few = try (0..<4).map { try builder(k[1], route: 0x5000 + $0) }
    for b in few { #expect(send(b, authority: 1, to: hop) == passes(1)) }
    // A flood of another MA's routes, each younger than the four.
    var now = start
    for route in UInt32(0)..<3_000 {
      now = now + .milliseconds(1)
      #expect(send(try builder(k[0], route: route), authority: 0, to: hop, at: now) == passes(0))
      #expect(hop.relay.routeCount <= 64)
    }
    #expect(hop.relay.routeCount == 64 && hop.relay.routesEvicted == 3_004 - 64)
    let kept = few.filter { hop.relay.table.find(route: $0.route, authority: 1) != nil }
    #expect(kept.count >= 3)
    for b in few { #expect(send(b, authority: 1, to: hop, at: now) == passes(1)) }
    #expect(send(try builder(k[0], route: 0), authority: 0, to: hop, at: now) == passes(0))
  }
}
