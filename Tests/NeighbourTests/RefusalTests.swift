// Every refusal by its name, and random bytes: refused, counted, without a trap and without harm.

import Core
import Crypto
import Testing

@testable import Neighbour

@Suite struct RefusalTests {
  private var port1: PortNumber { PortNumber(1) }

  private func upPair(_ seed: UInt8) throws -> (Harness, MACAddress) {
    let harness = Harness.pair(seed: seed)
    harness.wires[0].isRecording = true
    try #require(harness.runUntilUp() != nil)
    return (harness, harness.address(0, PortNumber(1)))
  }

  @Test("byte 0: unknown types, the reserved bit, and bits a type does not use")
  func byteZero() throws {
    let (harness, from) = try upPair(1)
    for byte in 0...255 as ClosedRange<UInt8> {
      let type = byte >> 4
      let low = byte & 15
      let isKnown =
        (1...6).contains(type) && low & 1 == 0 && (type == 4 || ((type == 3 || type == 5) && low & 6 == 0) || low == 0)
      let verdict = harness.inject([byte], into: 1, from: from)
      #expect(verdict == .refused(isKnown ? .truncated : .unknownType))
    }
    #expect(harness.inject([], into: 1, from: from) == .refused(.truncated))
  }

  @Test("each kind cut short anywhere is refused as truncated")
  func truncated() throws {
    let (harness, from) = try upPair(2)
    var frames = [1, 2, 3].compactMap { type in harness.wires[0].heard.first { $0.type == type }?.bytes }
    frames.append(try #require(harness.onion(from: 0)))
    frames.append(try #require(harness.linked(from: 0, subtype: 1, content: [UInt8](repeating: 5, count: 96))))
    frames.append(try #require(harness.open(from: 0, subtype: 1, content: [9, 9])).bytes)
    #expect(frames.count == 6)
    for frame in frames {
      for count in 0..<frame.count {
        let verdict = harness.inject(Array(frame[..<count]), into: 1, from: from)
        // What LINKED is cut to is told by an encrypted length: then the tag cannot be right.
        let expected: [NeighbourVerdict] =
          frame[0] >> 4 == 5 && count >= 18 ? [.refused(.badTag)] : [.refused(.truncated)]
        #expect(expected.contains(verdict), "type \(frame[0] >> 4) cut to \(count)")
      }
    }
    #expect(harness.boxes[1].link?.state == .up)
  }

  @Test("DISCOVER: version, length, network, own ID from own and foreign addresses, another ID from a live address")
  func discoverFields() throws {
    let (harness, from) = try upPair(3)
    let discover = try #require(harness.wires[0].heard.first { $0.type == 1 && $0.from == 0 }).bytes
    func with(_ offset: Int, _ value: UInt8) -> [UInt8] {
      var changed = discover
      changed[offset] = value
      return changed
    }
    #expect(harness.inject(with(1, 2), into: 1, from: from) == .refused(.invalidField))
    #expect(harness.inject(with(50, 1), into: 1, from: from) == .refused(.invalidField))
    #expect(harness.inject(with(2, 4), into: 1, from: from) == .refused(.invalidField))
    #expect(harness.inject(with(5, discover[5] ^ 1), into: 1, from: from) == .refused(.otherNetwork))
    #expect(harness.inject(with(33, discover[33] ^ 1), into: 1, from: from) == .refused(.identityConflict))
    // Box 0's own words come back to it.
    #expect(harness.inject(discover, into: 0, from: from) == .refused(.ownPort))
    #expect(harness.boxes[0].events(containing: "cable loop: port p1 hears port p1") == 1)
    #expect(harness.inject(discover, into: 0, from: MACAddress(5)) == .refused(.clone))
    #expect(harness.inject(discover, into: 0, from: MACAddress(5)) == .refused(.clone))
    #expect(harness.boxes[0].events(containing: "clone") == 1)
    for box in harness.boxes { #expect(box.link?.state == .up) }
  }

  @Test("a cable from one port to another of the same box is reported, and makes no link")
  func cableLoop() throws {
    let harness = Harness(seed: 4)
    harness.addBox(10)
    _ = harness.wire([(0, 1), (0, 2)])
    harness.setPort(0, 1)
    harness.setPort(0, 2)
    harness.run(for: .seconds(5))
    #expect(harness.boxes[0].engine.adjacencies.isEmpty)
    #expect(harness.boxes[0].events(containing: "cable loop: port p2 hears port p1") == 1)
    #expect(harness.boxes[0].events(containing: "cable loop: port p1 hears port p2") == 1)
  }

  @Test("unknown and dead ports, unknown neighbours, missing keys")
  func places() throws {
    let (harness, from) = try upPair(5)
    let onion = try #require(harness.onion(from: 0))
    let linked = try #require(harness.linked(from: 0, subtype: 1, content: [1]))
    let hello = try #require(harness.wires[0].heard.last { $0.type == 3 && $0.from == 0 }).bytes
    #expect(harness.inject(onion, into: 1, port: 9, from: from) == .refused(.unknownPort))
    harness.run(for: .milliseconds(500))
    let discovers = harness.boxes[1].engine.counters.discoversSent
    for frame in [onion, linked, hello] {
      #expect(harness.inject(frame, into: 1, from: MACAddress(3)) == .refused(.unknownNeighbour))
    }
    // One question for all of them.
    #expect(harness.boxes[1].engine.counters.discoversSent == discovers + 1)
    for frame in [onion, linked, hello] {
      var other = frame
      other[0] ^= 8
      #expect(harness.inject(other, into: 1, from: from) == .refused(.noKey))
    }
    harness.setPort(1, isUp: false)
    #expect(harness.inject(onion, into: 1, from: from) == .refused(.portDown))
    harness.setPort(1)
    harness.boxes[1].engine.shutdown(at: harness.now)
    harness.drain(1)
    #expect(harness.inject(onion, into: 1, from: from) == .refused(.portDown))
  }

  @Test("a handshake nobody waits for, for another number, or at a node without a certificate")
  func handshakes() throws {
    let (harness, from) = try upPair(6)
    let second = try #require(harness.wires[0].heard.first { $0.type == 2 && $0.bytes[1] == 2 })
    #expect(harness.inject(second.bytes, into: second.to, from: second.source) == .refused(.unexpectedHandshake))
    #expect(
      harness.inject(second.bytes, into: second.to, from: MACAddress(3)) == .refused(.unknownNeighbour))
    let first = try #require(harness.wires[0].heard.first { $0.type == 2 && $0.bytes[1] == 1 })
    for (offset, value) in [(1, 0), (1, 3), (23, 1)] as [(Int, UInt8)] {
      var changed = first.bytes
      changed[offset] = value
      #expect(harness.inject(changed, into: first.to, from: first.source) == .refused(.invalidField))
    }
    let bare = harness.boxes.count
    harness.addBox(77, isMember: false)
    harness.setPort(bare)
    #expect(harness.inject(first.bytes, into: bare, from: from) == .refused(.unexpectedHandshake))
  }

  @Test("authentic hellos with values that are not allowed are refused")
  func helloFields() throws {
    let (harness, from) = try upPair(7)
    let end = harness.record(0)
    let good = HelloFrame(
      flags: 1, interval: 20, epoch: 1, sent: 1000, received: 1000, nonce: Bytes16(), heard: 1, frameSize: 1500,
      largest: 1500, length: 56)
    func sealed(_ change: (inout HelloFrame) -> Void) -> [UInt8] {
      var hello = good
      change(&hello)
      var bytes = hello.encode()
      let count = bytes.count
      bytes.withUnsafeMutableBufferPointer {
        end.pointee.keys[0].seal(
          $0.baseAddress!, head: FrameHead(.hello).byte, detour: 0, encryptedEnd: 13, taggedEnd: count)
      }
      return bytes
    }
    #expect(harness.inject(sealed { _ in }, into: 1, from: from) == .consumed)
    #expect(harness.inject(sealed { $0.interval = 9 }, into: 1, from: from) == .refused(.invalidField))
    #expect(harness.inject(sealed { $0.interval = 1001 }, into: 1, from: from) == .refused(.invalidField))
    #expect(harness.inject(sealed { $0.frameSize = 55 }, into: 1, from: from) == .refused(.invalidField))
    #expect(harness.inject(sealed { _ in }, into: 1, from: from) == .consumed)
    var short = sealed { _ in }
    short[55] = 55
    #expect(harness.inject(short, into: 1, from: from) == .refused(.invalidField))
    short[55] = 57
    #expect(harness.inject(short, into: 1, from: from) == .refused(.truncated))
  }

  @Test("a LINKED frame with an unknown subtype is refused although it is authentic")
  func linkedSubtype() throws {
    let (harness, from) = try upPair(8)
    for subtype in [0, 5, 7, 11, 255] as [UInt8] {
      let frame = try #require(harness.linked(from: 0, subtype: subtype, content: [1]))
      #expect(harness.inject(frame, into: 1, from: from) == .refused(.invalidField))
    }
    let toward = try #require(harness.linked(from: 0, subtype: ContentSubtype.toward, content: []))
    #expect(
      harness.inject(toward, into: 1, from: from) == .linked(adjacency: 1, subtype: 3, offset: 18, count: 0))
  }

  @Test("64 ports at most; the next is told of and waits for one of them to go")
  func portLimit() throws {
    let harness = Harness(seed: 9)
    harness.addBox(10)
    for port in 1...70 as ClosedRange<UInt16> { harness.setPort(0, port) }
    #expect(harness.boxes[0].events(containing: "64 ports are in use already") == 6)
    // However often they change.
    harness.setPort(0, 65, isUp: false)
    #expect(harness.boxes[0].events(containing: "64 ports are in use already") == 6)
    #expect(harness.inject([0x40], into: 0, port: 65, from: MACAddress(1)) == .refused(.unknownPort))
    harness.boxes[0].engine.portVanished(PortNumber(66), at: harness.now)
    for port in 3...5 as ClosedRange<UInt16> {
      harness.boxes[0].engine.portVanished(PortNumber(port), at: harness.now)
      harness.drain(0)
    }
    // The longest waiting ones are used now; all are found by their number.
    for (port, refusal) in [(65, .portDown), (67, .truncated), (68, .truncated)] as [(UInt16, NeighbourRefusal)] {
      #expect(harness.boxes[0].events(containing: "port p\(port) is used now") == 1)
      #expect(harness.inject([0x40], into: 0, port: port, from: MACAddress(1)) == .refused(refusal))
    }
    for port in [3, 66, 69] as [UInt16] {
      #expect(harness.inject([0x40], into: 0, port: port, from: MACAddress(1)) == .refused(.unknownPort))
    }
  }

  @Test("A port that waited finds its neighbours when it gets a place")
  func portThatWaited() {
    let harness = Harness(seed: 10)
    harness.addBox(10)
    harness.addBox(11)
    _ = harness.wire([(0, 65), (1, 1)])
    for port in 1...65 as ClosedRange<UInt16> { harness.setPort(0, port) }
    harness.setPort(1)
    harness.run(for: .seconds(1))
    #expect(harness.boxes[0].link == nil)
    harness.boxes[0].engine.portVanished(PortNumber(20), at: harness.now)
    harness.drain(0)
    harness.run(for: .seconds(2))
    #expect(harness.boxes[0].link?.state == .up && harness.boxes[0].link?.port == PortNumber(65))
  }

  @Test(
    "100,000 damaged, cut, mixed and random frames: no trap, nothing but counting, the link stays up", arguments: 1...2)
  func fuzz(seed: Int) throws {
    print("seed \(seed)")
    let (harness, _) = try upPair(UInt8(10 + seed))
    harness.run(for: .seconds(2))
    let recorded = harness.wires[0].heard
    harness.wires[0].isRecording = false
    var samples: [[UInt8]] = []
    for type in 1...3 as ClosedRange<UInt8> { samples += recorded.filter { $0.type == type }.prefix(6).map(\.bytes) }
    samples.append(try #require(harness.onion(from: 0)))
    samples.append(try #require(harness.onion(from: 1, size: 400, onionClass: 0)))
    samples.append(try #require(harness.linked(from: 0, subtype: 2, content: [UInt8](repeating: 1, count: 60))))
    samples.append(try #require(harness.open(from: 0, subtype: 2, content: [UInt8](repeating: 1, count: 60))).bytes)
    var dice = Entropy(seed: bytes32(UInt8(seed)))
    for round in 0..<50_000 {
      var bytes = samples[Int(dice.below(UInt32(samples.count)))]
      switch dice.below(6) {
      case 0: for _ in 0...dice.below(4) { bytes[Int(dice.below(UInt32(bytes.count)))] = dice.u8() }
      case 1: bytes[Int(dice.below(UInt32(bytes.count)))] ^= 1 << UInt8(dice.below(8))
      case 2: bytes.removeLast(Int(dice.below(UInt32(bytes.count))))
      case 3:
        let other = samples[Int(dice.below(UInt32(samples.count)))]
        let cut = Int(dice.below(UInt32(min(bytes.count, other.count))))
        bytes = Array(bytes[..<cut]) + Array(other[cut...])
      case 4: for i in 0..<min(24, bytes.count) where dice.below(4) == 0 { bytes[i] = dice.u8() }
      default:
        bytes = (0..<Int(dice.below(120))).map { _ in dice.u8() }
        if !bytes.isEmpty { bytes[0] = UInt8(dice.below(8)) << 4 | UInt8(dice.below(16)) }
      }
      let to = Int(dice.below(2))
      let source = dice.below(20) == 0 ? MACAddress(UInt64(dice.below(4))) : harness.address(1 - to, port1)
      harness.inject(bytes, into: to, from: source)
      // 20,000 a second.
      if round % 20 == 0 { harness.run(for: .milliseconds(1)) }
    }
    for box in harness.boxes {
      #expect(box.downs == 0)
      #expect(box.link?.state == .up)
      #expect(box.engine.counters.refusedInAll > 10_000)
      #expect(box.engine.tables.numbers.count <= 8)
    }
    // And the link still carries.
    let frame = try #require(harness.onion(from: 0))
    #expect(harness.inject(frame, into: 1, from: harness.address(0, port1)) == .onion(adjacency: 1))
  }
}
