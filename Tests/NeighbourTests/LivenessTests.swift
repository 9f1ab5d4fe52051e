// Staying up and going down: the times in which a failure is seen, and what must not be taken for one.

import Core
import Crypto
import Testing

@testable import Neighbour

@Suite struct LivenessTests {
  @Test("three missed hellos are down: 60 ms and a tenth of an interval after the last sign of life")
  func silent() throws {
    let harness = try Harness.upPair()
    let cut = harness.now
    harness.wires[0].fate = { _ in [] }
    harness.run(for: .seconds(1))
    for box in harness.boxes {
      let down = try #require(box.times(of: .down(1, .silent)).first)
      #expect(down - cut <= .milliseconds(63))
      #expect(down - cut >= .milliseconds(40))
      #expect(box.link?.state == .down(.silent))
    }
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    // Within a tick: hellos go on at the normal pace for 10 s.
    #expect(try #require(harness.runUntilUp()) <= .milliseconds(21))
  }

  @Test("silence of a minute: the neighbour is forgotten, its number rests 10 s, and it comes back")
  func longSilence() throws {
    let harness = try Harness.upPair()
    harness.wires[0].fate = { _ in [] }
    harness.run(for: .seconds(30))
    // After 10 s one hello a second.
    let before = harness.boxes[0].engine.counters.hellosSent
    harness.run(for: .seconds(10))
    #expect(harness.boxes[0].engine.counters.hellosSent - before <= 50)
    harness.run(for: .seconds(21))
    #expect(harness.boxes[0].engine.adjacencies.isEmpty)
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    harness.run(for: .seconds(2))
    #expect(harness.boxes[0].engine.adjacencies.map(\.number) == [2])
    #expect(harness.boxes[0].engine.adjacency(2)?.state == .up)
  }

  @Test(
    "a carrier that only one end saw go and come back: what the other end heard before is not taken for a sign",
    arguments: [0, 1])
  func shortLoss(box: Int) throws {
    let harness = try Harness.upPair()
    // So that the other end's hold may be over before it hears us again.
    harness.wires[0].fate = { _ in [.milliseconds(4)] }
    for milliseconds: Int64 in 40...70 {
      let before = harness.boxes.map(\.log.count)
      harness.setPort(box, isUp: false)
      harness.run(for: .milliseconds(milliseconds))
      harness.setPort(box)
      #expect(try #require(harness.runUntilUp()) <= .milliseconds(35))
      harness.run(for: .milliseconds(500))
      #expect(harness.record(box).pointee.hearsFrom == 0)
      let since = harness.boxes[box].log.dropFirst(before[box]).map(\.what).filter { $0.isOfLink }
      #expect(since == [.down(1, .carrierLost), .up(1)], "\(milliseconds) ms: \(since)")
      let other = harness.boxes[1 - box].log.dropFirst(before[1 - box]).map(\.what).filter { $0.isOfLink }
      #expect(other.count == 2, "\(milliseconds) ms: \(other)")
    }
  }

  @Test("a link that loses one way: one end is silent, the other told so, both within 95 ms")
  func oneWay() throws {
    let harness = try Harness.upPair()
    let cut = harness.now
    harness.wires[0].fate = { $0.from == 0 ? [] : [.microseconds(20)] }
    harness.run(for: .milliseconds(200))
    let silent = try #require(harness.boxes[1].times(of: .down(1, .silent)).first)
    let told = try #require(harness.boxes[0].times(of: .down(1, .oneWay)).first)
    #expect(silent - cut <= .milliseconds(63))
    #expect(told - silent <= .milliseconds(1))
    harness.run(for: .seconds(20))
    #expect(harness.boxes[0].link?.state == .down(.oneWay))
    #expect(harness.boxes[1].link?.state == .down(.silent))
    #expect(harness.boxes[0].times(of: .up(1)).count == 1)
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    #expect(try #require(harness.runUntilUp()) <= .milliseconds(1100))
  }

  @Test("a link that never heard both ways does not come up, and says why")
  func oneWayFromTheStart() throws {
    let harness = Harness.pair()
    let high = harness.responder
    // The initiator's hellos pass, the responder's do not: it hears and is not heard.
    harness.wires[0].fate = { $0.type == 3 && $0.from == high ? [] : [.microseconds(20)] }
    harness.run(for: .seconds(3))
    #expect(harness.boxes[high].times(of: .up(1)).isEmpty || harness.boxes[high].link?.state != .up)
    #expect(harness.boxes[harness.initiator].times(of: .up(1)).isEmpty)
  }

  @Test("any authentic frame is a sign of life: data alone keeps a link up")
  func dataIsLife() throws {
    let harness = try Harness.upPair()
    harness.wires[0].fate = { _ in [] }
    for _ in 0..<50 {
      harness.run(for: .milliseconds(20))
      for index in 0..<2 {
        let frame = try #require(harness.onion(from: index))
        harness.inject(frame, into: 1 - index, from: harness.address(index, PortNumber(1)))
      }
    }
    for box in harness.boxes { #expect(box.downs == 0) }
    harness.run(for: .milliseconds(70))
    for box in harness.boxes { #expect(box.times(of: .down(1, .silent)).count == 1) }
  }

  @Test("carrier lost is down at once, carrier back is up within a round trip and a half")
  func carrier() throws {
    let harness = try Harness.upPair()
    harness.setPort(0, isUp: false)
    #expect(harness.boxes[0].times(of: .down(1, .carrierLost)).first == harness.now)
    harness.setPort(1, isUp: false)
    harness.run(for: .seconds(3))
    harness.setPort(0)
    harness.setPort(1)
    #expect(try #require(harness.runUntilUp()) <= .microseconds(100))
    #expect(harness.boxes[0].link?.number == 1)
  }

  @Test("a port that is lost and back at one end only")
  func carrierOneEnd() throws {
    let harness = try Harness.upPair()
    harness.setPort(0, isUp: false)
    harness.run(for: .milliseconds(5))
    harness.setPort(0)
    #expect(try #require(harness.runUntilUp()) <= .milliseconds(1))
    harness.run(for: .seconds(10))
    #expect(harness.boxes[1].downs <= 1)
  }

  @Test("goodbye is down at once and begins no handshake; a new process is let in again")
  func leaving() throws {
    let harness = try Harness.upPair()
    harness.boxes[0].engine.shutdown(at: harness.now)
    harness.drain(0)
    harness.boxes[0].isFrozen = true
    harness.run(for: .milliseconds(1))
    #expect(harness.boxes[0].times(of: .down(1, .stopped)).count == 1)
    #expect(harness.boxes[1].times(of: .down(1, .leaving)).count == 1)
    #expect(harness.boxes[1].engine.counters.refusedInAll == 0)
    #expect(harness.boxes[0].engine.nextDeadline == nil)
    let sent = harness.boxes[1].engine.counters.hellosSent
    harness.run(for: .seconds(3))
    #expect(harness.boxes[1].engine.counters.hellosSent == sent)
    harness.restart(0)
    #expect(try #require(harness.runUntilUp()) <= .milliseconds(1))
  }

  @Test("a box that restarts in 10 ms is linked again at once; the other end need not go down for it")
  func quickRestart() throws {
    for index in 0..<2 {
      let harness = try Harness.upPair(seed: UInt8(20 + index))
      harness.run(for: .milliseconds(7))
      harness.restart(index)
      let time = try #require(harness.runUntilUp())
      #expect(time <= .milliseconds(1))
      harness.run(for: .seconds(5))
      #expect(harness.boxes[1 - index].downs == 0)
      for from in 0..<2 {
        let data = try #require(harness.onion(from: from))
        let verdict = harness.inject(data, into: 1 - from, from: harness.address(from, PortNumber(1)))
        #expect(verdict == .onion(adjacency: 1))
      }
    }
  }

  @Test("a box that is frozen and thaws is linked again by its old key")
  func frozen() throws {
    let harness = try Harness.upPair()
    harness.boxes[0].isFrozen = true
    harness.run(for: .seconds(2))
    #expect(harness.boxes[1].link?.state == .down(.silent))
    harness.boxes[0].isFrozen = false
    harness.boxes[0].engine.loopWasLate(by: .seconds(2), at: harness.now)
    #expect(try #require(harness.runUntilUp()) <= .milliseconds(25))
  }

  @Test("own lateness extends the holds and is counted; the neighbour is not blamed")
  func lateness() throws {
    let harness = try Harness.upPair()
    harness.wires[0].fate = { _ in [.milliseconds(80)] }
    // The loop of box 0 stands still for 80 ms, while frames wait for it.
    let from = harness.now
    harness.boxes[0].isFrozen = true
    harness.run(until: from + .milliseconds(79))
    harness.boxes[0].isFrozen = false
    harness.now = from + .milliseconds(80)
    harness.boxes[0].engine.loopWasLate(by: .milliseconds(80), at: harness.now)
    harness.boxes[0].engine.timeout(at: harness.now)
    harness.drain(0)
    #expect(harness.boxes[0].downs == 0)
    #expect(harness.boxes[0].engine.counters.lateLoops == 1)
    // Not for ever: nothing comes, so it is down a hold later.
    harness.wires[0].fate = { _ in [] }
    harness.boxes[1].isFrozen = true
    harness.run(for: .milliseconds(150))
    #expect(harness.boxes[0].downs == 1)
    #expect(harness.boxes[0].link?.state != .up)
    // A little lateness counts for nothing.
    harness.boxes[0].engine.loopWasLate(by: .milliseconds(5), at: harness.now)
    #expect(harness.boxes[0].engine.counters.lateLoops == 1)
  }

  @Test("frames above 1,000 bytes are eaten: the frame size falls to what passes, within 3 s, and recovers")
  func someLargeLost() throws {
    let harness = try Harness.upPair()
    let cut = harness.now
    harness.wires[0].fate = { $0.bytes.count > 1300 ? [] : [.microseconds(20)] }
    harness.run(for: .seconds(5))
    for box in harness.boxes {
      // Smaller frames are tried before anything is judged.
      #expect(box.downs == 0)
      #expect(box.link?.state == .up)
      #expect(box.link?.frameSize == 1280)
      let fell = try #require(box.log.first { $0.at > cut && $0.what == .changed(1) })
      #expect(fell.at - cut <= .milliseconds(2650))
    }
    harness.run(for: .seconds(20))
    for box in harness.boxes { #expect(box.link?.frameSize == 1280) }
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    harness.run(for: .seconds(1))
    for box in harness.boxes { #expect(box.link?.frameSize == 1500) }
  }

  @Test("no usable size passes one way: that end is down, large frames lost, and up when they come again")
  func allLargeLost() throws {
    let harness = try Harness.upPair()
    let cut = harness.now
    harness.wires[0].fate = { $0.from == 0 && $0.bytes.count > 300 ? [] : [.microseconds(20)] }
    harness.run(for: .seconds(10))
    let down = try #require(harness.boxes[0].times(of: .down(1, .largeFramesLost)).first)
    #expect(down - cut <= .milliseconds(2650))
    #expect(harness.boxes[0].link?.state == .down(.largeFramesLost))
    #expect(harness.boxes[1].link?.state == .up)
    #expect(harness.boxes[0].times(of: .up(1)).count == 1)
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    #expect(try #require(harness.runUntilUp()) <= .milliseconds(600))
    #expect(harness.boxes[0].link?.frameSize == 1500)
  }

  @Test("a port with frames smaller than the network's: down at both ends at once, too small, and up with a larger one")
  func tooSmall() throws {
    let harness = try Harness.upPair()
    for index in 0..<2 { harness.boxes[index].engine.needFrames(of: 650, at: harness.now) }
    for size in [300, 575, 600, 649] {
      harness.setPort(0, frameSize: size)
      harness.run(for: .milliseconds(50))
      for box in harness.boxes { #expect(box.link?.state == .down(.tooSmall)) }
      let downs = harness.boxes.map(\.downs)
      harness.wires[0].isRecording = true
      harness.run(for: .seconds(10))
      // It stays so, and is no reason to ask for neighbours or keys.
      #expect(harness.wires[0].heard.filter { $0.type == 1 || $0.type == 2 }.count <= 4)
      harness.wires[0].isRecording = false
      harness.wires[0].heard = []
      for (index, box) in harness.boxes.enumerated() {
        #expect(box.link?.state == .down(.tooSmall))
        #expect(box.downs == downs[index])
        #expect(box.events(containing: "too small: needs 650 bytes, has \(size)") == 1)
      }
      harness.setPort(0, frameSize: 650)
      #expect(try #require(harness.runUntilUp()) < .milliseconds(50))
      #expect(harness.boxes[1].link?.frameSize == 650)
    }
    #expect(harness.boxes[0].engine.counters.linksTooSmall == 4)
    // The network's frames grow.
    harness.boxes[0].engine.needFrames(of: 730, at: harness.now)
    harness.drain(0)
    #expect(harness.boxes[0].link?.state == .down(.tooSmall))
  }

  @Test("a link that is too small from the beginning says so once, and is never up")
  func tooSmallFromTheBeginning() throws {
    let harness = Harness(seed: 21)
    for seed in [10, 11] as [UInt8] {
      harness.addBox(seed)
      harness.boxes[harness.boxes.count - 1].engine.needFrames(of: 650, at: harness.now)
    }
    _ = harness.wire([(0, 1), (1, 1)])
    for index in 0..<2 { harness.setPort(index, frameSize: index == 0 ? 600 : 1500) }
    harness.run(for: .seconds(5))
    for box in harness.boxes {
      #expect(box.link?.state == .down(.tooSmall))
      #expect(box.times(of: .up(1)).isEmpty)
      #expect(box.events(containing: "too small: needs 650 bytes, has 600") == 1)
      #expect(box.engine.counters.linksTooSmall == 1)
    }
  }

  @Test("a wire that eats frames above 649 or 700 bytes where 650 are needed: down with both sizes, or up with 650")
  func smallestProbed() throws {
    for (limit, isUp) in [(649, false), (700, true)] {
      let harness = try Harness.upPair()
      for index in 0..<2 { harness.boxes[index].engine.needFrames(of: 650, at: harness.now) }
      harness.wires[0].fate = { $0.bytes.count > limit ? [] : [.microseconds(20)] }
      harness.run(for: .seconds(8))
      for box in harness.boxes {
        #expect(box.link?.state == (isUp ? .up : .down(.largeFramesLost)))
        if isUp { #expect(box.link?.frameSize == 650) }
        // Smaller sizes are tried before it is down.
        #expect(box.events(containing: "large frames lost: needs 650 bytes, has ") == (isUp ? 0 : 1))
      }
    }
  }

  @Test("a tenth of all frames lost at random is not taken for large frames lost")
  func lossyIsNotLarge() throws {
    let harness = try Harness.upPair(adjust: { $0.ethernetInterval = 100 })
    var dice = Entropy(seed: bytes32(3))
    harness.wires[0].fate = { _ in dice.below(10) == 0 ? [] : [.microseconds(20)] }
    harness.run(for: .seconds(120))
    for box in harness.boxes {
      #expect(box.times(of: .down(1, .largeFramesLost)).isEmpty)
      #expect(box.link?.frameSize == 1500)
    }
  }

  @Test("losses are counted from both ends' counters, a late frame is not lost")
  func losses() throws {
    let harness = try Harness.upPair()
    var dice = Entropy(seed: bytes32(4))
    var lost = 0
    harness.wires[0].fate = {
      guard $0.from == 0 else { return [.microseconds(20)] }
      if dice.below(20) == 0 {
        lost += 1
        return []
      }
      return [.microseconds(Int64(dice.below(10_000)))]
    }
    harness.run(for: .seconds(20))
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    harness.run(for: .seconds(1))
    #expect(lost > 20)
    #expect(harness.boxes[1].link.map { $0.losses } == UInt64(lost))
    #expect(harness.boxes[0].link?.losses == 0)
  }

  @Test("a port that goes up and down ten times a second: cost rises to its limit, and falls again when it is quiet")
  func flapping() throws {
    let harness = try Harness.upPair()
    for _ in 0..<120 {
      harness.setPort(0, isUp: false)
      harness.run(for: .milliseconds(50))
      harness.setPort(0, isUp: true)
      harness.run(for: .milliseconds(50))
      #expect(harness.boxes[0].link?.state == .up)
    }
    #expect(harness.boxes[0].link?.cost == 1010)
    #expect(harness.boxes[0].downs == 120)
    harness.run(for: .seconds(61))
    #expect(harness.boxes[0].link?.cost == 510)
    harness.run(for: .seconds(600))
    #expect(harness.boxes[0].link?.cost == 10)
    #expect(harness.boxes[0].link?.state == .up)
  }

  @Test("a change sends three hellos at once; a full-size one comes every second at least")
  func bursts() throws {
    let harness = try Harness.upPair()
    harness.wires[0].isRecording = true
    harness.run(for: .seconds(5))
    let full = harness.wires[0].heard.filter { $0.from == 0 && $0.bytes.count == 1500 }
    #expect(full.count >= 5 && full.count <= 11)
    harness.wires[0].heard = []
    harness.boxes[1].isFrozen = true
    harness.run(for: .milliseconds(100))
    let down = try #require(harness.boxes[0].times(of: .down(1, .silent)).first)
    #expect(harness.wires[0].heard.filter { $0.from == 0 && $0.sent == down && $0.type == 3 }.count >= 3)
  }

  @Test("hellos of all ports go out on one tick: 50 wakes a second, however many ports")
  func commonTick() throws {
    let harness = Harness(seed: 6)
    harness.addBox(10)
    for seed in 1...4 {
      harness.addBox(UInt8(30 + seed))
      _ = harness.wire([(0, UInt16(seed)), (seed, 1)])
      harness.wires[seed - 1].isRecording = true
    }
    for seed in 1...4 {
      harness.run(for: .milliseconds(Int64(seed * 7)))
      harness.setPort(0, UInt16(seed))
      harness.setPort(seed)
    }
    harness.run(for: .seconds(2))
    for wire in harness.wires { wire.heard = [] }
    harness.run(for: .seconds(1))
    var times: Set<UInt64> = []
    for wire in harness.wires {
      for transit in wire.heard where transit.from == 0 && transit.type == 3 { times.insert(transit.sent.nanoseconds) }
    }
    // 50 ticks, and one answer to each of four probes.
    #expect(times.count <= 51 + 4)
  }

  @Test("a port that vanishes takes its neighbours along")
  func vanished() throws {
    let harness = try Harness.upPair()
    harness.boxes[0].engine.portVanished(PortNumber(1), at: harness.now)
    harness.drain(0)
    #expect(harness.boxes[0].times(of: .down(1, .portGone)).count == 1)
    #expect(harness.boxes[0].engine.adjacencies.isEmpty)
    #expect(harness.boxes[0].engine.nextDeadline == nil)
    // The number rests: the neighbour gets another when the port is back.
    harness.setPort(0)
    harness.run(for: .seconds(2))
    #expect(harness.boxes[0].engine.adjacencies.map(\.number) == [2])
    // 10 s later the lowest number is free again.
    harness.boxes[0].engine.portVanished(PortNumber(1), at: harness.now)
    harness.drain(0)
    harness.run(for: .seconds(11))
    harness.setPort(0)
    harness.run(for: .seconds(2))
    #expect(harness.boxes[0].engine.adjacencies.map(\.number) == [1])
  }
}
