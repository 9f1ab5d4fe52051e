// Coming up: discovery, handshake, the first hellos, on good and bad wires.

import Core
import Crypto
import Testing

@testable import Neighbour

@Suite struct EstablishTests {
  @Test("two members on a wire are up within four passages of the wire (PROTOCOL §2)")
  func upAtOnce() throws {
    let harness = Harness.pair()
    let time = try #require(harness.runUntilUp())
    #expect(time < .milliseconds(1))
    for box in harness.boxes {
      let link = try #require(box.link)
      #expect(link.frameSize == 1500)
      #expect(link.cost == 10)
      #expect(link.neighbourNumber == 1)
      #expect(link.role == .component)
      #expect(!link.isUnicast)
      #expect(box.log.map(\.what).filter { $0 == .up(1) }.count == 1)
    }
    #expect(harness.boxes[0].link?.id == harness.boxes[1].identity.id)
    harness.run(for: .seconds(30))
    for box in harness.boxes {
      #expect(box.downs == 0)
      #expect(box.engine.counters.keysProved == 1)
      #expect(box.engine.counters.refusedInAll == 0)
      #expect(box.link?.losses == 0)
    }
  }

  @Test("a round trip of the wire is measured, not the wait for a tick")
  func roundTrip() throws {
    let harness = Harness.pair()
    harness.wires[0].fate = { _ in [.milliseconds(3)] }
    harness.run(for: .seconds(5))
    let time = try #require(harness.boxes[0].link?.roundTrip)
    #expect((6000...6500).contains(time))
  }

  @Test("only the node with the lower ID begins: no glare", arguments: [1, 2, 3, 4] as [UInt8])
  func noGlare(seed: UInt8) throws {
    let harness = Harness.pair(seed: seed)
    harness.runUntilUp()
    #expect(harness.boxes[harness.initiator].engine.counters.handshakesBegun == 1)
    #expect(harness.boxes[harness.responder].engine.counters.handshakesBegun == 0)
    #expect(harness.boxes[harness.responder].engine.counters.handshakesAnswered == 1)
  }

  @Test("a first message from the higher ID is refused")
  func wrongInitiator() throws {
    let harness = Harness.pair()
    harness.wires[0].isRecording = true
    harness.wires[0].fate = { $0.type == 1 ? [.microseconds(20)] : [] }
    harness.run(for: .milliseconds(100))
    // The responder's DISCOVER told the initiator nothing but this: play it back as if it had begun.
    let (low, high) = (harness.initiator, harness.responder)
    let discover = try #require(harness.wires[0].heard.last { $0.type == 1 && $0.from == low })
    var reader = ByteReaderBox(discover.bytes)
    let nonce = try reader.discover().nonce
    let certificate = harness.network.certificate(of: harness.boxes[high].identity)
    var noise = NoiseKKInitiator(
      prologue: HandshakeFrame.prologue(
        network: harness.network.descriptor.networkID.bytes, initiator: harness.boxes[high].identity.id,
        responder: harness.boxes[low].identity.id, nonce: nonce),
      static: harness.boxes[high].identity.agreement,
      remoteStatic: harness.boxes[low].identity.agreement.publicKey,
      ephemeral: AgreementKeyPair(secret: bytes32(77)))
    let message = try noise.writeFirst(
      payload: HandshakePayload(adjacency: 1, frameSize: 1500, phase: 0, epoch: 1).encode())
    let frame = HandshakeFrame(
      step: .first, sender: 1, receiver: 0, nonce: nonce, certificate: certificate.encode(), message: message)
    let verdict = harness.inject(frame.encode(), into: low, from: harness.address(high, PortNumber(1)))
    #expect(verdict == .refused(.wrongInitiator))
  }

  @Test("it comes up through loss, duplication and reordering, and stays up", arguments: 1...12)
  func badWire(seed: Int) throws {
    print("seed \(seed)")
    let harness = Harness.pair(seed: UInt8(seed))
    var dice = Entropy(seed: bytes32(UInt8(100 + seed)))
    // A fifth lost, a fifth doubled, everything shuffled within 5 ms.
    harness.wires[0].fate = { _ in
      let roll = dice.below(10)
      if roll < 2 { return [] }
      let one = Duration.microseconds(Int64(dice.below(5000)))
      return roll < 4 ? [one, .microseconds(Int64(dice.below(5000)))] : [one]
    }
    let time = try #require(harness.runUntilUp(within: .seconds(10)))
    #expect(time < .seconds(3))
    // Calm down: whatever happened, both ends agree again.
    harness.run(for: .seconds(5))
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    harness.run(for: .seconds(3))
    for box in harness.boxes { #expect(box.link?.state == .up) }
    let data = try #require(harness.onion(from: 0))
    #expect(
      harness.inject(data, into: 1, from: harness.address(0, PortNumber(1))) == .onion(adjacency: 1))
  }

  @Test("each message of the handshake may be lost", arguments: 0..<6)
  func firstLost(which: Int) throws {
    let harness = Harness.pair()
    var seen = 0
    harness.wires[0].fate = { transit in
      guard transit.type != 1 else { return [.microseconds(20)] }
      seen += 1
      return seen - 1 == which ? [] : [.microseconds(20)]
    }
    let time = try #require(harness.runUntilUp())
    #expect(time < .milliseconds(200))
  }

  @Test("a wide area: 300 ms there and back, retries do not defeat themselves")
  func slowWire() throws {
    let harness = Harness(seed: 9)
    harness.addBox(10)
    harness.addBox(11)
    let wire = harness.wire([(0, 1), (1, 1)])
    wire.fate = { _ in [.milliseconds(150)] }
    harness.setPort(0, frameSize: 1400, medium: .tunnel)
    harness.setPort(1, frameSize: 1400, medium: .tunnel)
    let time = try #require(harness.runUntilUp(within: .seconds(20)))
    #expect(time < .seconds(4))
    harness.run(for: .seconds(20))
    for box in harness.boxes {
      #expect(box.downs == 0)
      #expect(box.link?.cost == 200)
    }
  }

  @Test("frame size is the smaller of both ports'")
  func frameSizes() throws {
    let harness = Harness(seed: 2)
    harness.addBox(10)
    harness.addBox(11)
    _ = harness.wire([(0, 1), (1, 1)])
    harness.setPort(0, frameSize: 9000)
    harness.setPort(1, frameSize: 1500)
    harness.runUntilUp()
    harness.run(for: .seconds(10))
    for box in harness.boxes {
      #expect(box.link?.frameSize == 1500)
      #expect(box.downs == 0)
    }
    harness.setPort(1, frameSize: 1300)
    harness.run(for: .milliseconds(100))
    for box in harness.boxes { #expect(box.link?.frameSize == 1300) }
    #expect(harness.boxes[0].times(of: .changed(1)).count == 1)
  }

  @Test("three nodes on one medium: three links, each unicast")
  func sharedMedium() throws {
    let harness = Harness(seed: 3)
    for seed in [10, 11, 12] as [UInt8] { harness.addBox(seed) }
    _ = harness.wire([(0, 1), (1, 1), (2, 1)])
    for box in 0..<3 { harness.setPort(box) }
    harness.run(for: .seconds(2))
    for box in harness.boxes {
      let links = box.engine.adjacencies
      #expect(links.count == 2)
      #expect(links.allSatisfy { $0.state == .up && $0.isUnicast })
    }
    harness.run(for: .seconds(20))
    for box in harness.boxes { #expect(box.downs == 0) }
    // One leaves the medium: the others' link does not notice.
    harness.setPort(2, isUp: false)
    harness.run(for: .seconds(1))
    for index in 0..<2 {
      #expect(harness.boxes[index].downs == 1)
      #expect(harness.boxes[index].engine.adjacencies.filter { $0.state == .up }.count == 1)
    }
  }

  @Test("across a switch only the wide discovery passes; the link is unicast and costs a little more")
  func acrossSwitch() throws {
    let harness = Harness(seed: 4)
    harness.addBox(10, adjust: { $0.wideDiscovery = true })
    harness.addBox(11, adjust: { $0.wideDiscovery = true })
    _ = harness.wire([(0, 1), (1, 1)], isSwitch: true)
    harness.setPort(0)
    harness.setPort(1)
    #expect(harness.runUntilUp(within: .seconds(11)) != nil)
    harness.run(for: .seconds(60))
    for box in harness.boxes {
      #expect(box.link?.isUnicast == true)
      #expect(box.link?.cost == 15)
      #expect(box.downs == 0)
    }
  }

  @Test("with wide discovery off a node neither looks across a switch nor answers one that does")
  func wideDiscoveryOff() throws {
    let harness = Harness(seed: 6)
    harness.addBox(10, adjust: { $0.wideDiscovery = true })
    harness.addBox(11)
    _ = harness.wire([(0, 1), (1, 1)], isSwitch: true)
    harness.setPort(0)
    harness.setPort(1)
    harness.run(for: .seconds(25))
    for box in harness.boxes { #expect(box.engine.adjacencies.isEmpty) }
    #expect(harness.boxes[1].engine.counters[.wideDiscoveryOff] >= 2)
    #expect(harness.boxes[0].engine.counters.discoversReceived == 0)
  }

  @Test("many neighbours: intervals are lengthened to stay within the hello limit, and it is said")
  func manyNeighbours() throws {
    let harness = Harness(seed: 5)
    harness.addBox(10, adjust: { $0.helloLimitPerSecond = 100 })
    for seed in 1...5 {
      harness.addBox(UInt8(30 + seed))
      _ = harness.wire([(0, UInt16(seed)), (seed, 1)])
    }
    for seed in 1...5 {
      harness.setPort(0, UInt16(seed))
      harness.setPort(seed)
    }
    harness.run(for: .seconds(2))
    #expect(harness.boxes[0].events(containing: "intervals are 3 times") == 1)
    for link in harness.boxes[0].engine.adjacencies {
      #expect(link.interval == 60)
      #expect(link.state == .up)
    }
    // Longer intervals are no silence.
    for box in harness.boxes { #expect(box.engine.counters.adjacenciesDoubted == 0) }
    let before = harness.boxes[0].engine.counters.hellosSent
    let heard = harness.boxes[0].engine.counters.hellosReceived
    harness.run(for: .seconds(10))
    // 5 × 1000/60, two full-size ones and an answer each a second. The neighbours keep to the pace too.
    #expect(harness.boxes[0].engine.counters.hellosSent - before < 10 * (84 + 5 * 3) + 20)
    #expect(harness.boxes[0].engine.counters.hellosReceived - heard < 10 * (84 + 5 * 3) + 20)
    // When ports go, what is left is as quick as before, at both ends.
    for seed in 3...5 {
      harness.boxes[0].engine.portVanished(PortNumber(UInt16(seed)), at: harness.now)
      harness.drain(0)
    }
    harness.run(for: .seconds(1))
    for seed in 1...2 {
      let sent = harness.boxes[seed].engine.counters.hellosSent
      harness.run(for: .seconds(2))
      #expect(harness.boxes[seed].engine.counters.hellosSent - sent >= 100)
      #expect(harness.boxes[seed].downs == 0)
    }
    #expect(harness.boxes[0].events(containing: "down") == 3)
  }
}
