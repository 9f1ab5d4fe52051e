// Strangers who hear a box's requests for admission and repeat, forge or forward them elsewhere. An admission comes no
// later for that (docs/PROTOCOL.md §4, docs/SECURITY.md).

import Core
import Testing
import Wire

@testable import Node
@testable import Simulator

enum AdmissionAttack: CaseIterable {
  /// ATTACH heard on the box's wire comes out again at another node, and at another port of the same.
  case repeated
  /// ATTACH with the box's ID and ever new nonces.
  case forged
  /// Every message of the handshake, both ways: the box's wire and the other place joined by one of the stranger's own.
  case forwarded
}

@Suite struct AdmissionAttackTests {
  static let stranger = MACAddress(0x0266_6666_6666)

  /// An OPEN frame with a RELAY message.
  private func open(_ relay: [UInt8]) -> [UInt8] {
    [0x60, 2, UInt8(relay.count >> 8), UInt8(relay.count & 255)] + relay
  }

  /// A chain of 0 (the MA), 1, 2 and the box, with an unused port on each that the stranger has got hold of.
  private func attacked(_ attack: AdmissionAttack, enrolled: Bool, seed: UInt64) throws -> World {
    let world = try World(.line(4), enrolled: enrolled, seed: seed)
    var quality = LinkQuality()
    quality.delay = .milliseconds(2)
    world.setQualityEverywhere(quality)
    let elsewhere = [1, 2].map { world.connect(.hub, [$0]) }
    for number in 0..<3 { world.start(number) }
    world.run(for: .seconds(2))
    let stranger = AdmissionAttackTests.stranger
    var last: [UInt8]?
    var nonce: UInt64 = 0
    // What the two nodes send to the stranger's ports, he has on the box's wire too.
    if attack == .forwarded {
      for medium in elsewhere {
        world.listen(to: medium) { world, frame in
          guard let relay = frame.openRelay else { return }
          let address = world.nodes[2].ports[1].address
          world.inject(open(relay), into: 2, from: address, at: 3)
        }
      }
    }
    world.listen(to: 2) { world, frame in
      guard frame.source == world.nodes[3].ports[0].address else { return }
      // So that the two nodes know who sends on those ports.
      if frame.isDiscover { for medium in elsewhere { world.inject(frame.bytes, into: medium, from: stranger) } }
      guard let relay = frame.openRelay else { return }
      if relay[0] == RelayMessage.Kind.attach.rawValue { last = relay }
      if attack == .forwarded { for medium in elsewhere { world.inject(frame.bytes, into: medium, from: stranger) } }
    }
    world.every(.milliseconds(5), for: .seconds(20)) { world in
      guard var relay = last else { return }
      if attack == .forged {
        // Anybody can read the ID in DISCOVER; the nonce is his own.
        nonce += 1
        for i in 0..<8 { relay[17 + 16 + i] = UInt8(truncatingIfNeeded: nonce >> UInt64(8 * i)) }
      }
      for medium in elsewhere { world.inject(open(relay), into: medium, from: stranger) }
    }
    return world
  }

  @Test(arguments: AdmissionAttack.allCases) func `a box that is taken in while a stranger attacks`(
    attack: AdmissionAttack
  ) throws {
    var worst = Duration.zero
    for seed in UInt64(1)...6 {
      let world = try attacked(attack, enrolled: false, seed: seed)
      world.start(3)
      let time = world.run(atMost: .seconds(15), every: .milliseconds(5)) { $0.isReady(3) }
      worst = max(worst, time ?? .seconds(99))
      world.run(for: .seconds(1))
      #expect(world.unanswered([3]) == [])
      #expect(world.violations == [])
    }
    tell("admission while a stranger has requests \(attack)", worst)
    #expect(worst < .milliseconds(300))
  }

  /// With its certificate it asks over links with keys: nobody hears it, and what strangers say in its name comes second.
  @Test func `a member that starts again while a stranger asks in its name`() throws {
    var worst = Duration.zero
    for seed in UInt64(11)...14 {
      let world = try attacked(.forged, enrolled: false, seed: seed)
      world.start(3)
      #expect(world.run(atMost: .seconds(15)) { $0.isReady(3) } != nil)
      for _ in 0..<3 {
        world.crash(3)
        world.run(for: .milliseconds(300))
        world.start(3)
        let time = world.run(atMost: .seconds(15), every: .milliseconds(5)) { $0.isReady(3) && $0.reachable == 3 }
        worst = max(worst, time ?? .seconds(99))
        world.run(for: .seconds(1))
        #expect(world.unanswered([3]) == [])
      }
      #expect(world.counter(1, "attachOverBudget") > 0)
      #expect(world.counter(0, "challengesMade") < 400)
      #expect(world.violations == [])
    }
    tell("a member back while a stranger asks in its name", worst)
    #expect(worst < .milliseconds(300))
  }
}
