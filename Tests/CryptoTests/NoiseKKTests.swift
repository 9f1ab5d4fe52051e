// Noise_KK_25519_ChaChaPoly_BLAKE2b against the published vectors, and everything it must refuse.

import Core
import Crypto
import Foundation
import Testing

/// One set of Tests/Vectors/noise-kk.txt.
struct NoiseVector {
  var name = ""
  var fields: [String: [UInt8]] = [:]
  var messages: [(payload: [UInt8], wire: [UInt8])] = []

  func key(_ field: String) throws -> Bytes32 {
    let bytes = try #require(fields[field])
    try #require(bytes.count == 32)
    return bytes.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
  }

  static func all() throws -> [NoiseVector] {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../Vectors/noise-kk.txt")
    var sets: [NoiseVector] = []
    for line in try String(contentsOf: path, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#") {
      let words = line.split(separator: " ").map(String.init)
      switch (words[0], words.count) {
      case ("set", 2): sets.append(NoiseVector(name: words[1]))
      case ("message", 3): sets[sets.count - 1].messages.append((hex(words[1]), hex(words[2])))
      case (_, 2): sets[sets.count - 1].fields[words[0]] = hex(words[1])
      default: Issue.record("a line of another form: \(line)")
      }
    }
    return sets
  }
}

/// Both roles with fixed keys, ready for the first message.
struct NoisePair {
  static let initiatorStatic = AgreementKeyPair(secret: blake2b256([1]))
  static let responderStatic = AgreementKeyPair(secret: blake2b256([2]))
  static let ephemeral = AgreementKeyPair(secret: blake2b256([3]))
  static let answerEphemeral = AgreementKeyPair(secret: blake2b256([4]))

  var initiator: NoiseKKInitiator
  var responder: NoiseKKResponder

  init(initiatorPrologue: [UInt8] = [9], responderPrologue: [UInt8] = [9]) {
    initiator = NoiseKKInitiator(
      prologue: initiatorPrologue, static: Self.initiatorStatic, remoteStatic: Self.responderStatic.publicKey,
      ephemeral: Self.ephemeral)
    responder = NoiseKKResponder(
      prologue: responderPrologue, static: Self.responderStatic, remoteStatic: Self.initiatorStatic.publicKey)
  }
}

@Suite struct NoiseKKTests {
  @Test func `handshake, hash and transport messages are those of the published vectors`() throws {
    let sets = try NoiseVector.all()
    #expect(sets.map(\.name) == ["cacophony", "noise-c"])
    for set in sets {
      let (si, sr) = (
        AgreementKeyPair(secret: try set.key("initiator-static")),
        AgreementKeyPair(secret: try set.key("responder-static"))
      )
      #expect(sr.publicKey == (try set.key("initiator-remote-static")))
      #expect(si.publicKey == (try set.key("responder-remote-static")))
      let prologue = try #require(set.fields["prologue"])
      var initiator = NoiseKKInitiator(
        prologue: prologue, static: si, remoteStatic: sr.publicKey,
        ephemeral: AgreementKeyPair(secret: try set.key("initiator-ephemeral")))
      var responder = NoiseKKResponder(prologue: prologue, static: sr, remoteStatic: si.publicKey)
      try #require(set.messages.count == 6)

      let first = try initiator.writeFirst(payload: set.messages[0].payload)
      #expect(first == set.messages[0].wire)
      #expect(try responder.readFirst(first) == set.messages[0].payload)
      let second = try responder.writeSecond(
        payload: set.messages[1].payload, ephemeral: AgreementKeyPair(secret: try set.key("responder-ephemeral")))
      #expect(second == set.messages[1].wire)
      #expect(try initiator.readSecond(second) == set.messages[1].payload)

      let (ours, theirs) = (initiator.split(), responder.split())
      #expect(ours.initiatorToResponder == theirs.initiatorToResponder)
      #expect(ours.responderToInitiator == theirs.responderToInitiator)
      #expect(ours.fullHandshakeHash == theirs.fullHandshakeHash)
      #expect(ours.handshakeHash.array == Array(ours.fullHandshakeHash.array.prefix(32)))
      if let hash = set.fields["handshake-hash"] { #expect(ours.fullHandshakeHash.array == hash) }

      for (i, message) in set.messages.enumerated().dropFirst(2) {
        let key = i % 2 == 0 ? ours.initiatorToResponder : ours.responderToInitiator
        var text = message.payload + [UInt8](repeating: 0, count: AEAD.tagSize)
        text.withUnsafeMutableBufferPointer {
          AEAD.seal(
            $0.baseAddress!, count: message.payload.count, additional: nil, additionalCount: 0, prefix: 0,
            counter: UInt64(i / 2 - 1), key: key)
        }
        #expect(text == message.wire)
      }
    }
  }

  @Test func `cacophony's handshake hash is the one an independent implementation computes`() throws {
    let set = try #require(try NoiseVector.all().first)
    var initiator = NoiseKKInitiator(
      prologue: try #require(set.fields["prologue"]),
      static: AgreementKeyPair(secret: try set.key("initiator-static")),
      remoteStatic: try set.key("initiator-remote-static"),
      ephemeral: AgreementKeyPair(secret: try set.key("initiator-ephemeral")))
    _ = try initiator.writeFirst(payload: set.messages[0].payload)
    _ = try initiator.readSecond(set.messages[1].wire)
    #expect(
      initiator.split().fullHandshakeHash.array
        == hex(
          "76dbc866183c8ee7363dbf0ebab8d6355010245f9817aa78359818a03a052586d7e8b4bb2ae5622a1a61212df90af04bb2b2cc189ce0"
            + "e819ba0c4970c9f71805"))
  }

  @Test func `every turned bit of the first message is refused and leaves the responder able to go on`() throws {
    var pair = NoisePair()
    let first = try pair.initiator.writeFirst(payload: [1, 2, 3])
    for bit in 0..<first.count * 8 {
      #expect(throws: HandshakeError.notAuthentic) { try pair.responder.readFirst(first.flipping(bit: bit)) }
    }
    #expect(try pair.responder.readFirst(first) == [1, 2, 3])
  }

  @Test func `every turned bit of the second message is refused and leaves the initiator able to go on`() throws {
    var pair = NoisePair()
    _ = try pair.responder.readFirst(try pair.initiator.writeFirst(payload: []))
    let second = try pair.responder.writeSecond(payload: [4, 5], ephemeral: NoisePair.answerEphemeral)
    for bit in 0..<second.count * 8 {
      #expect(throws: HandshakeError.notAuthentic) { try pair.initiator.readSecond(second.flipping(bit: bit)) }
    }
    #expect(try pair.initiator.readSecond(second) == [4, 5])
    #expect(pair.initiator.split().handshakeHash == pair.responder.split().handshakeHash)
  }

  @Test func `every shorter message is refused`() throws {
    var pair = NoisePair()
    let first = try pair.initiator.writeFirst(payload: [1, 2, 3])
    for count in 0..<first.count {
      let expected: HandshakeError = count < 48 ? .truncated(neededBytes: 48, haveBytes: count) : .notAuthentic
      #expect(throws: expected) { try pair.responder.readFirst(Array(first.prefix(count))) }
    }
    #expect(throws: HandshakeError.notAuthentic) { try pair.responder.readFirst(first + [0]) }
    _ = try pair.responder.readFirst(first)
    let second = try pair.responder.writeSecond(payload: [], ephemeral: NoisePair.answerEphemeral)
    for count in 0..<second.count {
      #expect(throws: HandshakeError.truncated(neededBytes: 48, haveBytes: count)) {
        try pair.initiator.readSecond(Array(second.prefix(count)))
      }
    }
    #expect(try pair.initiator.readSecond(second) == [])
  }

  @Test func `messages have at most 65,535 bytes (Noise rev. 34 §3)`() throws {
    var pair = NoisePair()
    #expect(throws: HandshakeError.tooLong(limitBytes: 65_487, haveBytes: 65_488)) {
      try pair.initiator.writeFirst(payload: [UInt8](repeating: 0, count: 65_488))
    }
    let first = try pair.initiator.writeFirst(payload: [UInt8](repeating: 7, count: 65_487))
    #expect(first.count == 65_535)
    #expect(throws: HandshakeError.tooLong(limitBytes: 65_535, haveBytes: 65_536)) {
      try pair.responder.readFirst(first + [0])
    }
    #expect(try pair.responder.readFirst(first).count == 65_487)
  }

  @Test func `another prologue is refused`() throws {
    var pair = NoisePair(initiatorPrologue: [9], responderPrologue: [8])
    let first = try pair.initiator.writeFirst(payload: [])
    #expect(throws: HandshakeError.notAuthentic) { try pair.responder.readFirst(first) }
  }

  @Test func `an initiator without the expected static key is refused`() throws {
    var stranger = NoiseKKInitiator(
      prologue: [9], static: AgreementKeyPair(secret: blake2b256([66])),
      remoteStatic: NoisePair.responderStatic.publicKey, ephemeral: NoisePair.ephemeral)
    var pair = NoisePair()
    let first = try stranger.writeFirst(payload: [])
    #expect(throws: HandshakeError.notAuthentic) { try pair.responder.readFirst(first) }
  }

  @Test func `a responder without the expected static key cannot read, and so not answer`() throws {
    var pair = NoisePair()
    var stranger = NoiseKKResponder(
      prologue: [9], static: AgreementKeyPair(secret: blake2b256([66])),
      remoteStatic: NoisePair.initiatorStatic.publicKey)
    let first = try pair.initiator.writeFirst(payload: [])
    #expect(throws: HandshakeError.notAuthentic) { try stranger.readFirst(first) }
    #expect(throws: HandshakeError.outOfOrder) {
      try stranger.writeSecond(payload: [], ephemeral: NoisePair.answerEphemeral)
    }
  }

  @Test func `the answer to another first message is refused`() throws {
    var initiator = NoisePair().initiator
    _ = try initiator.writeFirst(payload: [])
    var other = NoisePair()
    var another = NoiseKKInitiator(
      prologue: [9], static: NoisePair.initiatorStatic, remoteStatic: NoisePair.responderStatic.publicKey,
      ephemeral: AgreementKeyPair(secret: blake2b256([67])))
    _ = try other.responder.readFirst(try another.writeFirst(payload: []))
    let second = try other.responder.writeSecond(payload: [], ephemeral: NoisePair.answerEphemeral)
    #expect(throws: HandshakeError.notAuthentic) { try initiator.readSecond(second) }
  }

  @Test(arguments: lowOrderPoints) func `ephemeral and static points of low order are refused (Noise rev. 34 §12.1)`(
    point: String
  ) throws {
    var pair = NoisePair()
    let first = try pair.initiator.writeFirst(payload: [])
    let weak = hex(point) + first.dropFirst(32)
    #expect(throws: HandshakeError.lowOrderPoint) { try pair.responder.readFirst(weak) }
    _ = try pair.responder.readFirst(first)
    let second = try pair.responder.writeSecond(payload: [], ephemeral: NoisePair.answerEphemeral)
    #expect(throws: HandshakeError.lowOrderPoint) { try pair.initiator.readSecond(hex(point) + second.dropFirst(32)) }
    #expect(try pair.initiator.readSecond(second) == [])

    var towardsWeak = NoiseKKInitiator(
      prologue: [9], static: NoisePair.initiatorStatic, remoteStatic: hex32(point), ephemeral: NoisePair.ephemeral)
    #expect(throws: HandshakeError.lowOrderPoint) { try towardsWeak.writeFirst(payload: []) }
    var fromWeak = NoiseKKResponder(prologue: [9], static: NoisePair.responderStatic, remoteStatic: hex32(point))
    #expect(throws: HandshakeError.lowOrderPoint) { try fromWeak.readFirst(first) }
  }

  @Test func `steps out of order are refused`() throws {
    var pair = NoisePair()
    #expect(throws: HandshakeError.outOfOrder) { try pair.initiator.readSecond([UInt8](repeating: 0, count: 48)) }
    #expect(throws: HandshakeError.outOfOrder) {
      try pair.responder.writeSecond(payload: [], ephemeral: NoisePair.answerEphemeral)
    }
    let first = try pair.initiator.writeFirst(payload: [])
    #expect(throws: HandshakeError.outOfOrder) { try pair.initiator.writeFirst(payload: []) }
    _ = try pair.responder.readFirst(first)
    #expect(throws: HandshakeError.outOfOrder) { try pair.responder.readFirst(first) }
    let second = try pair.responder.writeSecond(payload: [], ephemeral: NoisePair.answerEphemeral)
    #expect(throws: HandshakeError.outOfOrder) {
      try pair.responder.writeSecond(payload: [], ephemeral: NoisePair.answerEphemeral)
    }
    _ = try pair.initiator.readSecond(second)
    #expect(throws: HandshakeError.outOfOrder) { try pair.initiator.readSecond(second) }
  }
}
