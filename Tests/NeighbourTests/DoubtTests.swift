// Doubt: a link is gone round before it is called down, at both ends, and never for long without cause. And ticks: the
// hellos of neighbours come together.

import Core
import Testing

@testable import Neighbour

@Suite struct DoubtTests {
  @Test("a silent link is in doubt 33 ms after the last sign of life, and down at 62 ms as ever")
  func silent() throws {
    let harness = try Harness.upPair()
    let cut = harness.now
    harness.wires[0].fate = { _ in [] }
    harness.run(for: .milliseconds(200))
    for box in harness.boxes {
      let doubt = try #require(box.times(of: .doubted(1)).first)
      let down = try #require(box.times(of: .down(1, .silent)).first)
      #expect(doubt - cut <= .milliseconds(33))
      #expect(down - doubt >= .milliseconds(28))
      #expect(!box.trustsItsLink)
      #expect(box.times(of: .trusted(1)).isEmpty)
    }
  }

  @Test("a neighbour that pauses for 35 ms is doubted, not called down, and trusted with its first frame")
  func pause() throws {
    let harness = try Harness.upPair()
    var doubted = 0
    for turn in 0..<20 {
      harness.boxes[0].isFrozen = true
      harness.run(for: .milliseconds(35))
      harness.boxes[0].isFrozen = false
      // Its loop comes back late, as the runtime tells it.
      harness.boxes[0].engine.loopWasLate(by: .milliseconds(30), at: harness.now)
      harness.boxes[0].engine.timeout(at: harness.now)
      harness.drain(0)
      harness.run(for: .milliseconds(613 + Int64(turn)))
      #expect(harness.boxes[1].trustsItsLink)
      doubted = harness.boxes[1].times(of: .doubted(1)).count
    }
    #expect(doubted > 0)
    #expect(harness.boxes.allSatisfy { $0.downs == 0 })
    #expect(harness.boxes[1].times(of: .trusted(1)).count == doubted)
  }

  @Test("what is lost one way is doubted by the end that sends it too, within 34 ms")
  func oneWay() throws {
    let harness = try Harness.upPair()
    let cut = harness.now
    harness.wires[0].fate = { $0.from == 0 ? [] : [.microseconds(20)] }
    harness.run(for: .milliseconds(50))
    for box in harness.boxes {
      #expect(try #require(box.times(of: .doubted(1)).first) - cut <= .milliseconds(34))
      #expect(box.downs == 0)
    }
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    harness.run(for: .milliseconds(21))
    #expect(harness.boxes.allSatisfy { $0.trustsItsLink && $0.downs == 0 })
  }

  @Test("the neighbour is asked before it is doubted: one lost hello puts nothing in doubt")
  func oneLost() throws {
    let harness = try Harness.upPair()
    var lose = false
    harness.wires[0].fate = { transit in
      defer { if transit.from == 0 { lose = false } }
      return lose && transit.from == 0 ? [] : [.microseconds(20)]
    }
    for _ in 0..<50 {
      lose = true
      harness.run(for: .milliseconds(97))
    }
    #expect(harness.boxes.allSatisfy { $0.times(of: .doubted(1)).isEmpty })
  }

  @Test("a neighbour that falls silent again and again has its link doubted twice a second, no more")
  func budget() throws {
    let harness = try Harness.upPair()
    var turn = 0
    for _ in 0..<100 {
      turn += 1
      let lost = turn % 2 == 0
      harness.wires[0].fate = { _ in lost ? [] : [.microseconds(20)] }
      harness.run(for: .milliseconds(50))
    }
    for box in harness.boxes { #expect((4...(4 + 2 * 5 + 1)).contains(box.times(of: .doubted(1)).count)) }
  }

  @Test("the ticks of neighbours come together", arguments: [3, 7, 11, 19] as [Int64])
  func ticks(offset: Int64) throws {
    let harness = Harness(seed: 5)
    harness.addBox(10)
    harness.run(for: .milliseconds(offset))
    harness.addBox(11)
    _ = harness.wire([(0, 1), (1, 1)])
    harness.setPort(0)
    harness.setPort(1)
    try #require(harness.runUntilUp() != nil)
    harness.run(for: .seconds(10))
    var sent: [[Instant]] = [[], []]
    harness.wires[0].fate = { transit in
      if transit.type == 3, transit.bytes.count == HelloFrame.size { sent[transit.from].append(transit.sent) }
      return [.microseconds(20)]
    }
    harness.run(for: .seconds(1))
    for box in 0..<2 {
      // Never more than half as fast again as the pace says, with its answers to questions once a second.
      #expect(sent[box].count >= 49 && sent[box].count <= 58, "\(sent[box].count)")
      for time in sent[box] {
        let nearest = sent[1 - box].map { abs(($0 - time).nanoseconds) }.min() ?? .max
        #expect(nearest <= 100_000 || time - sent[box][0] > .milliseconds(980))
      }
    }
  }
}
