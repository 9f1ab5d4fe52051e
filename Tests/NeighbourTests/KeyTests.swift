// Keys: renewal without losing a frame, and what somebody who hears, repeats and changes everything can do: nothing but
// be counted.

import Core
import Crypto
import Testing

@testable import Neighbour

@Suite struct KeyTests {
  private func upPair(seed: UInt8 = 1, adjust: (inout NeighbourConfiguration) -> Void = { _ in }) throws -> Harness {
    let harness = Harness.pair(seed: seed, adjust: adjust)
    try #require(harness.runUntilUp() != nil)
    return harness
  }

  private var port1: PortNumber { PortNumber(1) }

  @Test("keys are renewed at their age, both phases in turn, and not one data frame is refused", arguments: 1...4)
  func rekey(seed: Int) throws {
    let harness = try upPair(seed: UInt8(seed), adjust: { $0.rekeyAge = .seconds(2) })
    var dice = Entropy(seed: bytes32(UInt8(50 + seed)))
    // Handshakes and hellos are lost and late; the data frames below go by the same wire.
    harness.wires[0].fate = { _ in
      dice.below(20) == 0 ? [] : [.microseconds(Int64(dice.below(2000)))]
    }
    var (sent, phases) = (0, Set<UInt8>())
    for _ in 0..<20_000 {
      harness.run(for: .microseconds(500))
      for index in 0..<2 {
        if let frame = harness.onion(from: index) {
          sent += 1
          phases.insert(frame[0] >> 3 & 1)
          harness.send(frame, from: index, port1, to: .nearestBridge)
        }
      }
    }
    harness.run(for: .milliseconds(10))
    #expect(phases == [0, 1])
    #expect(sent == 40_000)
    for box in harness.boxes {
      #expect(box.engine.counters.keysProved >= 5)
      #expect(box.downs == 0)
      #expect(box.engine.counters[.badTag] == 0)
      #expect(box.engine.counters[.noKey] == 0)
      #expect(box.engine.counters[.replayed] == 0)
      #expect(box.contents.count > 18_000)
      let asSent = box.contents.allSatisfy {
        $0.count == 138 - 13 && $0[0] == 0 && $0[1] == 0 && $0[2] == 0x40 && $0[3] == 16 && $0[124] == 137
      }
      #expect(asSent)
    }
  }

  @Test("a key whose counter nears 2^48, in either direction, is renewed")
  func wornKey() throws {
    for whose in 0..<2 {
      let harness = try upPair(seed: UInt8(30 + whose))
      let ends = (0..<2).map { harness.record($0) }
      let worn = LinkProtocol.rekeyCounter + 5
      ends[whose].pointee.keys[0].sendCounter = worn
      _ = ends[1 - whose].pointee.keys[0].window.accept(worn)
      harness.run(for: .seconds(1))
      for (index, end) in ends.enumerated() {
        #expect(end.pointee.currentPhase == 1)
        #expect(end.pointee.keys[1].sendCounter < 1000)
        #expect(harness.boxes[index].downs == 0)
        #expect(harness.boxes[index].engine.counters.keysProved == 2)
      }
    }
  }

  @Test("the counter's high half is rebuilt across 2^32, and is part of what the tag covers")
  func counterTurnsOver() throws {
    let harness = try upPair(seed: 40)
    let ends = (0..<2).map { harness.record($0) }
    ends[0].pointee.keys[0].sendCounter = 0xffff_fff0
    _ = ends[1].pointee.keys[0].window.accept(0xffff_ffe0)
    for _ in 0..<64 {
      let frame = try #require(harness.onion(from: 0))
      #expect(harness.inject(frame, into: 1, from: harness.address(0, port1)) == .onion(adjacency: 1))
    }
    #expect(ends[1].pointee.keys[0].window.highest == 0x1_0000_0030)
    // The same low half, one turn later, has another tag.
    let frame = try #require(harness.onion(from: 0))
    _ = ends[1].pointee.keys[0].window.accept(0x2_0000_0020)
    #expect(harness.inject(frame, into: 1, from: harness.address(0, port1)) == .refused(.badTag))
  }

  @Test("1,024 frames may come out of order, each once")
  func replayWindow() throws {
    let harness = try upPair(seed: 41)
    harness.wires[0].fate = { _ in [] }
    let frames = try (0..<1024).map { _ in try #require(harness.onion(from: 0)) }
    let from = harness.address(0, port1)
    for frame in frames.reversed() { #expect(harness.inject(frame, into: 1, from: from) == .onion(adjacency: 1)) }
    for frame in frames { #expect(harness.inject(frame, into: 1, from: from) == .refused(.replayed)) }
    let late = try #require(harness.onion(from: 0))
    let more = try (0..<1024).map { _ in try #require(harness.onion(from: 0)) }
    #expect(harness.inject(more[1023], into: 1, from: from) == .onion(adjacency: 1))
    #expect(harness.inject(late, into: 1, from: from) == .refused(.replayed))
    #expect(harness.inject(more[0], into: 1, from: from) == .onion(adjacency: 1))
  }

  @Test("everything ever heard, repeated at any time: the link stays, no key changes hands")
  func replayEverything() throws {
    let harness = Harness.pair(seed: 42, adjust: { $0.rekeyAge = .seconds(3) })
    harness.wires[0].isRecording = true
    harness.runUntilUp()
    harness.run(for: .seconds(4))
    let recorded = harness.wires[0].heard
    harness.wires[0].isRecording = false
    #expect(recorded.count > 400)
    let proved = harness.boxes.map { $0.engine.counters.keysProved }
    for round in 0..<3 {
      for transit in recorded {
        harness.inject(transit.bytes, into: transit.to, from: transit.source)
        // To the one that sent it, too, as if the other had.
        harness.inject(transit.bytes, into: transit.from, from: harness.address(transit.to, port1))
      }
      harness.run(for: .milliseconds(Int64(100 + 700 * round)))
    }
    for (index, box) in harness.boxes.enumerated() {
      #expect(box.downs == 0)
      #expect(box.link?.state == .up)
      #expect(box.engine.counters[.replayed] > 100)
      // Repeated DISCOVERs may begin a handshake each second, with the true neighbour.
      #expect(box.engine.counters.keysProved - proved[index] <= 8)
      #expect(box.link?.id == harness.boxes[1 - index].identity.id)
    }
  }

  @Test("a repeated DISCOVER cannot tear a link down; it causes budgeted handshakes")
  func discoverReplay() throws {
    let harness = Harness.pair(seed: 43)
    harness.wires[0].isRecording = true
    harness.runUntilUp()
    let (low, high) = (harness.initiator, harness.responder)
    let discover = try #require(
      harness.wires[0].heard.first { $0.type == 1 && $0.from == high && $0.bytes[2] & 4 != 0 }
        ?? harness.wires[0].heard.first { $0.type == 1 && $0.from == high })
    var bytes = discover.bytes
    bytes[2] |= DiscoverFrame.Flag.answerWanted
    let begun = harness.boxes[low].engine.counters.handshakesBegun
    let answered = harness.boxes[low].engine.counters.discoversSent
    for _ in 0..<1000 {
      for _ in 0..<3 { harness.inject(bytes, into: low, from: harness.address(high, port1)) }
      harness.run(for: .milliseconds(10))
    }
    #expect(harness.boxes[low].engine.counters.handshakesBegun - begun <= 40)
    #expect(harness.boxes[low].engine.counters.discoversSent - answered <= 10 * 20 + 25)
    for box in harness.boxes { #expect(box.downs == 0) }
    #expect(harness.boxes[low].engine.counters.answersWithheld > 2000)
  }

  @Test("the same first message again gets the same answer and makes no second key")
  func duplicateFirst() throws {
    let harness = Harness.pair(seed: 44)
    harness.wires[0].isRecording = true
    harness.wires[0].fate = { $0.type <= 2 ? [.microseconds(20), .microseconds(25)] : [.microseconds(20)] }
    harness.runUntilUp()
    let answers = harness.wires[0].heard.filter { $0.type == 2 && $0.bytes[1] == 2 }
    #expect(answers.count == 2)
    #expect(answers[0].bytes == answers[1].bytes)
    #expect(harness.boxes[harness.responder].engine.counters.handshakesAnswered == 1)
    harness.run(for: .seconds(3))
    for box in harness.boxes { #expect(box.engine.counters.keysProved == 1) }
  }

  @Test("a first message with an old nonce is refused; so is one whose nonce came before a used one")
  func staleNonce() throws {
    let harness = Harness.pair(seed: 45)
    harness.wires[0].isRecording = true
    harness.runUntilUp()
    let (low, high) = (harness.initiator, harness.responder)
    let first = try #require(harness.wires[0].heard.first { $0.type == 2 && $0.bytes[1] == 1 })
    // The same message: answered, as a repetition, while its nonce is one of the last two.
    #expect(harness.inject(first.bytes, into: high, from: harness.address(low, port1)) == .consumed)
    harness.run(for: .seconds(25))
    #expect(harness.inject(first.bytes, into: high, from: harness.address(low, port1)) == .refused(.staleNonce))
    #expect(harness.boxes[high].engine.counters.keysProved == 1)
    // From another address it is no better.
    #expect(harness.inject(first.bytes, into: high, from: MACAddress(0x0233_0000_0001)) == .refused(.staleNonce))
    #expect(harness.boxes[high].downs == 0)
  }

  @Test("a true first message cannot be used from another address to make a second link")
  func movedFirst() throws {
    let harness = Harness.pair(seed: 46)
    harness.wires[0].isRecording = true
    // The answers are lost, so that the message stays of use.
    harness.wires[0].fate = { $0.type == 2 && $0.bytes[1] == 2 ? [] : [.microseconds(20)] }
    harness.run(for: .milliseconds(30))
    let first = try #require(harness.wires[0].heard.first { $0.type == 2 && $0.bytes[1] == 1 })
    let high = harness.responder
    harness.inject(first.bytes, into: high, from: MACAddress(0x0233_0000_0001))
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    harness.run(for: .seconds(5))
    let up = harness.boxes[high].engine.adjacencies.filter { $0.state == .up }
    #expect(up.map(\.address) == [harness.address(harness.initiator, port1)])
  }

  @Test("every byte of every message of the handshake matters", arguments: [1, 2] as [UInt8])
  func changedHandshake(step: UInt8) throws {
    let harness = Harness.pair(seed: 47)
    harness.wires[0].isRecording = true
    harness.wires[0].fate = { $0.type == 2 && $0.bytes[1] == step ? [] : [.microseconds(20)] }
    harness.run(for: .milliseconds(30))
    let message = try #require(harness.wires[0].heard.last { $0.type == 2 && $0.bytes[1] == step })
    let proved = harness.boxes[message.to].engine.counters.keysProved
    for offset in message.bytes.indices {
      // The sender's number is told again under the seal; the clear one serves the answer's way only.
      if offset == 2 || offset == 3 || (step == 1 && offset < 6) { continue }
      var changed = message.bytes
      changed[offset] ^= 1
      let verdict = harness.inject(changed, into: message.to, from: message.source)
      guard case .refused = verdict else {
        Issue.record("offset \(offset) of step \(step): \(verdict)")
        continue
      }
      harness.run(for: .milliseconds(60))
      // The right one again while the nonce is good.
    }
    #expect(harness.boxes[message.to].engine.counters.keysProved == proved)
    harness.wires[0].fate = { _ in [.microseconds(20)] }
    #expect(harness.runUntilUp() != nil)
  }

  @Test("every byte of a hello, and every byte the tag covers of ONION and LINKED, matters")
  func changedFrames() throws {
    let harness = try upPair(seed: 48)
    harness.wires[0].isRecording = true
    harness.wires[0].fate = { _ in [] }
    harness.run(for: .milliseconds(25))
    let from = harness.address(0, port1)
    let hello = try #require(harness.wires[0].heard.last { $0.from == 0 && $0.bytes.count == HelloFrame.size }).bytes
    let onion = try #require(harness.onion(from: 0))
    let linked = try #require(harness.linked(from: 0, subtype: 2, content: [1, 2, 3, 4]))
    for (frame, covered) in [(hello, hello.count), (onion, 112), (linked, linked.count)] {
      for offset in 0..<covered {
        for bit in 0..<8 {
          var changed = frame
          changed[offset] ^= 1 << UInt8(bit)
          let verdict = harness.inject(changed, into: 1, from: from)
          guard case .refused = verdict else {
            Issue.record("byte \(offset) bit \(bit) of type \(frame[0] >> 4): \(verdict)")
            continue
          }
        }
      }
      // And the right one is taken, once.
      if case .refused = harness.inject(frame, into: 1, from: from) { Issue.record("type \(frame[0] >> 4) refused") }
      #expect(harness.inject(frame, into: 1, from: from) == .refused(.replayed))
    }
  }

  @Test("classes but bulk are encrypted whole, bulk in its header only; both come out as they went in")
  func encryption() throws {
    let harness = try upPair(seed: 49)
    for onionClass in 0...2 as ClosedRange<UInt8> {
      for size in [138, 300, 1500] {
        let frame = try #require(harness.onion(from: 0, size: size, onionClass: onionClass))
        let plain = (112..<size).map { UInt8(truncatingIfNeeded: $0) }
        #expect((Array(frame[112...]) == plain) == (onionClass == 2))
        #expect(Array(frame[16..<112]) != (16..<112).map { UInt8($0) })
        #expect(harness.inject(frame, into: 1, from: harness.address(0, port1)) == .onion(adjacency: 1))
        let content = try #require(harness.boxes[1].contents.last)
        #expect(Array(content[0...2]) == [0, 0, onionClass << 5])
        #expect(Array(content[3...]) == (16..<size).map { UInt8(truncatingIfNeeded: $0) })
      }
    }
  }

  @Test("LINKED content comes out as it went in, whatever the medium pads")
  func linked() throws {
    let harness = try upPair(seed: 50)
    for (size, padding) in [(0, 42), (1, 41), (96, 0), (1482, 0), (10, 2000)] {
      let content = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
      let frame = try #require(harness.linked(from: 0, subtype: 1, content: content))
      let padded = frame + [UInt8](repeating: 0xee, count: padding)
      let verdict = harness.inject(padded, into: 1, from: harness.address(0, port1))
      #expect(verdict == .linked(adjacency: 1, subtype: 1, offset: 18, count: size))
      #expect(harness.boxes[1].contents.last == content)
    }
    #expect(harness.linked(from: 0, subtype: 1, content: [UInt8](repeating: 0, count: 1483)) == nil)
    #expect(harness.boxes[0].engine.counters.tooLarge == 1)
  }

  @Test("nothing is sealed for an adjacency that is not up, not there, or too small")
  func notReady() throws {
    let harness = try upPair(seed: 51)
    #expect(harness.onion(from: 0, on: 2) == nil)
    #expect(harness.onion(from: 0, on: 0) == nil)
    #expect(harness.onion(from: 0, on: 65_535) == nil)
    #expect(harness.onion(from: 0, size: 1501) == nil)
    harness.setPort(0, isUp: false)
    #expect(harness.onion(from: 0) == nil)
    #expect(harness.boxes[0].engine.counters.notUp == 4)
    #expect(harness.boxes[0].engine.counters.tooLarge == 1)
  }

  @Test("the old key is taken for 3 s after the new one is proved, and not after")
  func oldKey() throws {
    let harness = try upPair(seed: 52, adjust: { $0.rekeyAge = .seconds(5) })
    let from = harness.address(0, port1)
    harness.run(for: .milliseconds(4980))
    let (one, two) = (try #require(harness.onion(from: 0)), try #require(harness.onion(from: 0)))
    harness.run(for: .milliseconds(100))
    #expect(harness.boxes[1].engine.counters.keysProved == 2)
    harness.run(for: .milliseconds(2800))
    #expect(harness.inject(one, into: 1, from: from) == .onion(adjacency: 1))
    harness.run(for: .milliseconds(500))
    #expect(harness.inject(two, into: 1, from: from) == .refused(.noKey))
  }
}
