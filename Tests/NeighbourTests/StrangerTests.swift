// Those who are not members, not yet, or not any more; and floods of them.

import Core
import Crypto
import Membership
import Testing

@testable import Neighbour

@Suite struct StrangerTests {
  private var port1: PortNumber { PortNumber(1) }

  private func discover(
    _ seed: UInt8, network: TestNetwork = TestNetwork(), certificate: [UInt8] = [], flags: UInt8 = 4
  ) -> [UInt8] {
    var frame = DiscoverFrame(
      isWide: false, wantsAnswer: true, port: 1,
      network: network.descriptor.networkID.bytes.withBytes {
        UInt64(loadBig32($0)) << 32 | UInt64(loadBig32($0 + 4))
      },
      epoch: 1, nonce: Bytes16(), id: TestNetwork.identity(seed).id, certificate: certificate)
    frame.flags |= flags
    return frame.encode()
  }

  @Test("a box without a certificate is a stranger at both ends, until it gets one")
  func newBox() throws {
    let harness = Harness(seed: 1)
    harness.addBox(10)
    harness.addBox(11, isMember: false)
    _ = harness.wire([(0, 1), (1, 1)])
    harness.setPort(0)
    harness.setPort(1)
    harness.run(for: .seconds(5))
    for box in harness.boxes {
      #expect(box.times(of: .stranger(1)).count == 1)
      #expect(box.link?.state == .stranger)
      #expect(box.times(of: .up(1)).isEmpty)
    }
    #expect(harness.boxes[0].link?.role == nil)
    // Relay frames go both ways, in the clear.
    for from in 0..<2 {
      let content: [UInt8] = [1, 2, 3, UInt8(from)]
      let open = try #require(harness.open(from: from, subtype: ContentSubtype.relay, content: content))
      #expect(open.to == LinkDestination(port: port1, address: .nearestBridge))
      let padded = open.bytes + [UInt8](repeating: 0, count: 40)
      let verdict = harness.inject(padded, into: 1 - from, from: harness.address(from, port1))
      #expect(verdict == .open(adjacency: 1, subtype: ContentSubtype.relay, offset: 4, count: 4))
      #expect(harness.boxes[1 - from].contents.last == content)
    }
    let mine = harness.network.certificate(of: harness.boxes[1].identity)
    harness.boxes[1].engine.update(descriptor: harness.network.descriptor, certificate: mine, at: harness.now)
    harness.drain(1)
    #expect(try #require(harness.runUntilUp()) < .milliseconds(1))
    #expect(harness.boxes[0].times(of: .strangerGone(1)).isEmpty)
    #expect(harness.boxes[0].link?.role == .component)
  }

  @Test("a stranger that falls silent is forgotten after 35 s")
  func strangerGone() throws {
    let harness = Harness(seed: 2)
    harness.addBox(10)
    harness.setPort(0)
    #expect(harness.inject(discover(40), into: 0, from: MACAddress(7)) == .consumed)
    harness.run(for: .seconds(34))
    #expect(harness.boxes[0].engine.adjacencies.count == 1)
    harness.run(for: .seconds(2))
    #expect(harness.boxes[0].engine.adjacencies.isEmpty)
    #expect(harness.boxes[0].times(of: .strangerGone(1)).count == 1)
  }

  @Test("members that cannot agree on a key become strangers after a second, so that the relay works")
  func handshakeFails() throws {
    let harness = Harness.pair(seed: 3)
    harness.wires[0].fate = { $0.type == 2 ? [] : [.microseconds(20)] }
    harness.run(for: .seconds(3))
    for box in harness.boxes {
      let heard = try #require(box.times(of: .stranger(1)).first)
      #expect(heard - harness.start >= .seconds(1))
      #expect(heard - harness.start < .milliseconds(1200))
      #expect(box.link?.state == .handshaking)
    }
  }

  @Test("the neighbour's certificate of another network, of another key, or forged: a stranger, never up")
  func falseCertificates() throws {
    let network = TestNetwork()
    let other = TestNetwork(seed: 201)
    let identity = TestNetwork.identity(40)
    var forged = network.certificate(of: identity).encode()
    forged[forged.count - 1] ^= 1
    for (index, bytes) in [other.certificate(of: identity).encode(), forged].enumerated() {
      let harness = Harness(seed: 4)
      harness.addBox(10)
      harness.setPort(0)
      let source = MACAddress(UInt64(50 + index))
      #expect(harness.inject(discover(40, certificate: bytes, flags: 5), into: 0, from: source) == .consumed)
      #expect(harness.boxes[0].engine.counters[.badCertificate] == 1)
      #expect(harness.boxes[0].link?.state == .stranger)
      #expect(harness.boxes[0].engine.counters.handshakesBegun == 0)
      // Shown again, it is not verified again.
      let verified = harness.boxes[0].engine.counters.certificatesVerified
      for _ in 0..<10 { harness.inject(discover(40, certificate: bytes, flags: 5), into: 0, from: source) }
      #expect(harness.boxes[0].engine.counters.certificatesVerified == verified)
    }
    // A good certificate under another's ID.
    let harness = Harness(seed: 4)
    harness.addBox(10)
    harness.setPort(0)
    let stolen = network.certificate(of: TestNetwork.identity(41)).encode()
    harness.inject(discover(40, certificate: stolen, flags: 5), into: 0, from: MACAddress(9))
    #expect(harness.boxes[0].engine.counters[.badCertificate] == 1)
    #expect(harness.boxes[0].link?.state == .stranger)
  }

  @Test("a node with a member's certificate and not its key is never up")
  func stolenCertificate() throws {
    let harness = Harness(seed: 5)
    harness.addBox(10)
    let victim = TestNetwork.identity(11)
    let thief = TestNetwork.identity(12)
    var configuration = NeighbourConfiguration(
      id: victim.id, agreement: thief.agreement, descriptor: harness.network.descriptor,
      certificate: harness.network.certificate(of: victim))
    configuration.wideDiscovery = false
    harness.boxes.append(
      Box(
        NeighbourEngine(configuration: configuration, entropy: harness.random.fork(), startingAt: harness.now),
        identity: victim))
    _ = harness.wire([(0, 1), (1, 1)])
    harness.setPort(0)
    harness.setPort(1)
    harness.run(for: .seconds(20))
    for box in harness.boxes {
      #expect(box.times(of: .up(1)).isEmpty)
      #expect(box.engine.counters.keysProved == 0)
    }
    let refused = harness.boxes.map { $0.engine.counters[.handshakeNotAuthentic] }
    #expect(refused[0] + refused[1] > 10)
  }

  @Test("a revoked neighbour is dropped at once, and let in no more")
  func revoked() throws {
    let harness = Harness.pair(seed: 6)
    harness.runUntilUp()
    let next = harness.network.revoking([harness.boxes[1].identity.id])
    harness.boxes[0].engine.update(
      descriptor: next, certificate: harness.network.certificate(of: harness.boxes[0].identity), at: harness.now)
    harness.drain(0)
    #expect(harness.boxes[0].times(of: .down(1, .revoked)) == [harness.now])
    harness.run(for: .seconds(20))
    #expect(harness.boxes[0].engine.adjacencies.isEmpty)
    #expect(harness.boxes[0].engine.counters[.badCertificate] > 5)
    #expect(harness.boxes[0].times(of: .up(1)).count == 1)
  }

  @Test("hellos carry the epoch: a neighbour with a newer descriptor is told of")
  func epochs() throws {
    let harness = Harness.pair(seed: 7)
    harness.runUntilUp()
    let next = harness.network.revoking([TestNetwork.identity(99).id])
    harness.boxes[0].engine.update(
      descriptor: next, certificate: harness.network.certificate(of: harness.boxes[0].identity), at: harness.now)
    harness.drain(0)
    harness.run(for: .milliseconds(25))
    #expect(harness.boxes[1].link?.neighbourEpoch == 2)
    #expect(harness.boxes[1].times(of: .changed(1)).count == 1)
    #expect(harness.boxes[0].link?.state == .up)
  }

  @Test("strangers that displace one another at an address use up no numbers")
  func numbers() throws {
    let harness = try Harness.upPair(seed: 9)
    let frames = (40..<60).map {
      discover($0, certificate: harness.network.certificate(of: TestNetwork.identity($0)).encode(), flags: 5)
    }
    for i in 0..<1_000 {
      harness.inject(frames[i % 20], into: 0, from: MACAddress(0x0266_0000_0001))
      harness.run(for: .milliseconds(10))
    }
    #expect(harness.boxes[0].engine.counters[.overBudget] < 500)
    #expect(harness.boxes[0].engine.tables.freeNumber(at: harness.now).map { $0 < 4 } == true)
    // One that was forgotten for its silence leaves none at rest either.
    harness.run(for: NeighbourLimits.strangerLife)
    #expect(harness.boxes[0].engine.tables.freeNumber(at: harness.now) == 2)
  }

  @Test("10,000 strangers in 10 s: the tables stay within their limits, the link stays up, all is counted")
  func flood() throws {
    let harness = Harness.pair(seed: 8)
    harness.runUntilUp()
    let verified = harness.boxes[0].engine.counters.certificatesVerified
    let certificates = (40..<60).map { harness.network.certificate(of: TestNetwork.identity($0)).encode() }
    let frames = (40..<60).map { discover($0, certificate: certificates[Int($0) - 40], flags: 5) }
    for i in 0..<10_000 {
      let source = MACAddress(0x0266_0000_0000 | UInt64(i))
      let bytes = i % 2 == 0 ? discover(UInt8(60 + i % 100)) : frames[i % 20]
      harness.inject(bytes, into: 0, from: source)
      if i % 10 == 0 { harness.run(for: .milliseconds(10)) }
      #expect(harness.boxes[0].engine.tables.numbers.count <= 8)
    }
    let box = harness.boxes[0]
    #expect(box.downs == 0)
    #expect(box.link?.state == .up)
    // Of the 5,000 without a certificate at most 220 get in, of the 5,000 with one that holds at most 1,245.
    #expect(box.engine.counters[.overBudget] > 10_000 - 220 - 1_245)
    #expect(box.engine.counters.strangersReplaced > 100)
    #expect(box.engine.counters.certificatesVerified - verified <= 20)
    #expect(box.engine.counters.discoversSent < 10 * 21 + 40)
    let heard = box.log.filter { if case .stranger = $0.what { return true } else { return false } }.count
    let gone = box.log.filter { if case .strangerGone = $0.what { return true } else { return false } }.count
    #expect(heard - gone <= 7)
    // A member that comes now, amid the flood's leavings, is let in.
    harness.run(for: .seconds(1))
    harness.addBox(12)
    harness.wires[0].attachments.append(Attachment(box: 2, port: port1))
    harness.setPort(2)
    harness.run(for: .seconds(3))
    #expect(box.engine.adjacencies.filter { $0.state == .up }.count == 2)
  }

  @Test("strangers on the wire move no link: neither to another address, nor out of its table while it is down")
  func spoofs() throws {
    // Across a switch, where the group address leads nowhere.
    let harness = Harness(seed: 11)
    harness.addBox(10, adjust: { $0.wideDiscovery = true })
    harness.addBox(11, adjust: { $0.wideDiscovery = true })
    let wire = harness.wire([(0, 1), (1, 1)], isSwitch: true)
    wire.isRecording = true
    harness.setPort(0)
    harness.setPort(1)
    try #require(harness.runUntilUp(within: .seconds(11)) != nil)
    var direct = try #require(wire.heard.first { $0.type == 1 && $0.from == 1 }).bytes
    direct[2] &= ~DiscoverFrame.Flag.wide
    for _ in 0..<50 {
      harness.inject(direct, into: 0, from: harness.address(1, port1))
      harness.run(for: .milliseconds(100))
    }
    #expect(harness.boxes[0].downs == 0)
    #expect(harness.boxes[0].link?.isUnicast == true)
    // Down for a while, and somebody claims the address.
    wire.fate = { _ in [] }
    harness.run(for: .seconds(5))
    let claim = discover(40)
    #expect(harness.inject(claim, into: 0, from: harness.address(1, port1)) == .refused(.identityConflict))
    wire.fate = { _ in [.microseconds(20)] }
    #expect(try #require(harness.runUntilUp()) < .seconds(3))
    #expect(harness.boxes[0].link?.id == harness.boxes[1].identity.id)
  }

  @Test("a wire that carries one of the two addresses only: the other is given up", arguments: [true, false])
  func oneAddressOnly(group: Bool) throws {
    let harness = Harness.pair(seed: 12)
    harness.runUntilUp()
    harness.wires[0].fate = {
      ($0.destination == .nearestBridge) == group || $0.type == 1 ? [.microseconds(20)] : []
    }
    harness.run(for: .seconds(10))
    for box in harness.boxes {
      #expect(box.link?.state == .up)
      #expect(box.link?.isUnicast == !group)
      #expect(box.downs <= 2)
    }
  }

  @Test("a DISCOVER proves its sender to the one it answers, from its own address and with its own nonce only")
  func proofs() throws {
    let harness = Harness.pair(seed: 13)
    harness.wires[0].isRecording = true
    // No handshakes: neighbours without keys.
    harness.wires[0].fate = { $0.type == 2 ? [] : [.microseconds(20)] }
    harness.run(for: .seconds(2))
    for index in 0..<2 { #expect(harness.record(index).pointee.isProved) }
    let heard = try #require(
      harness.wires[0].heard.last {
        $0.type == 1 && $0.from == 1 && $0.bytes[2] & DiscoverFrame.Flag.proofFollows != 0
      })
    #expect(heard.bytes.count == 262)
    // One that has not heard of it, and the same frame from elsewhere, or changed.
    var changed = heard.bytes
    changed[20] ^= 1
    let others = (1...30).map { MACAddress(0x0266_0000_0000 | UInt64($0)) }
    for (bytes, source, isProved) in [
      (heard.bytes, others[0], false), (changed, harness.address(1, port1), false),
      (heard.bytes, harness.address(1, port1), true),
    ] {
      harness.restart(0)
      harness.inject(bytes, into: 0, from: source)
      #expect(harness.record(0).pointee.isProved == isProved)
    }
    // It does not make room for those who only show its certificate.
    for source in others {
      harness.inject(changed, into: 0, from: source)
      harness.run(for: .milliseconds(60))
    }
    #expect(harness.boxes[0].engine.adjacencies.contains { $0.address == harness.address(1, port1) })
    // Nobody else's proof either.
    let third = Harness(seed: 14)
    third.addBox(12)
    third.setPort(0)
    third.inject(heard.bytes, into: 0, from: harness.address(1, port1))
    #expect(third.record(0).pointee.isProved == false)
  }

  @Test(
    "a box with a new identity is linked within two seconds while the old one is still eagerly asked for",
    arguments: [0, 1])
  func newIdentity(which: Int) throws {
    let harness = Harness.pair(seed: 15)
    harness.runUntilUp()
    harness.restart(which, as: TestNetwork.identity(200))
    // Carrier comes and goes, as when a box is exchanged: the other asks for ten seconds more after the one it knew.
    harness.setPort(1 - which, isUp: false)
    harness.run(for: .milliseconds(100))
    harness.setPort(1 - which)
    let from = harness.now
    func isUp() -> Bool { harness.boxes.allSatisfy { $0.engine.adjacencies.contains { $0.state == .up } } }
    harness.run(until: from + .seconds(9), orWhen: isUp)
    #expect(isUp() && harness.now - from < .seconds(2), "\((harness.now - from).milliseconds) ms")
  }

  @Test("64 strangers at most on all ports; the longest silent makes room")
  func strangerLimit() throws {
    let harness = Harness(seed: 9)
    harness.addBox(10)
    for port in 1...10 as ClosedRange<UInt16> { harness.setPort(0, port) }
    for port in 1...10 as ClosedRange<UInt16> {
      for i in 0..<8 {
        harness.inject(
          discover(UInt8(i + 40)), into: 0, port: port, from: MACAddress(UInt64(port) << 8 | UInt64(i)))
        harness.run(for: .milliseconds(60))
      }
    }
    #expect(harness.boxes[0].engine.adjacencies.count == NeighbourLimits.strangers)
    #expect(harness.boxes[0].engine.counters.strangersReplaced == 16)
    #expect(harness.boxes[0].engine.adjacencies.allSatisfy { $0.port.value >= 3 })
  }

  @Test("OPEN frames: 32 at once and 64 a second, in and out, of the two subtypes, from known addresses")
  func openBudget() throws {
    let harness = Harness(seed: 10)
    harness.addBox(10)
    harness.setPort(0)
    let source = MACAddress(77)
    harness.inject(discover(40), into: 0, from: source)
    let relay: [UInt8] = [0x60, 2, 0, 3, 1, 2, 3]
    var letIn = 0
    for _ in 0..<100 { if case .open = harness.inject(relay, into: 0, from: source) { letIn += 1 } }
    #expect(letIn == 32)
    #expect(harness.boxes[0].engine.counters[.openOverBudget] == 68)
    harness.run(for: .milliseconds(250))
    for _ in 0..<100 { if case .open = harness.inject(relay, into: 0, from: source) { letIn += 1 } }
    #expect(letIn == 48)
    harness.run(for: .seconds(1))
    #expect(harness.inject([0x60, 3, 0, 0], into: 0, from: source) == .refused(.invalidField))
    #expect(harness.inject([0x60, 0, 0, 0], into: 0, from: source) == .refused(.invalidField))
    #expect(harness.inject([0x60, 2, 0, 4, 1, 2, 3], into: 0, from: source) == .refused(.truncated))
    #expect(harness.inject([0x60, 2, 0], into: 0, from: source) == .refused(.truncated))
    #expect(harness.inject(relay, into: 0, from: MACAddress(78)) == .refused(.unknownNeighbour))
    var out = 0
    for _ in 0..<100 where harness.open(from: 0, subtype: 1, content: [1]) != nil { out += 1 }
    #expect(out == 32)
    #expect(harness.boxes[0].engine.counters.openWithheld == 68)
  }
}
