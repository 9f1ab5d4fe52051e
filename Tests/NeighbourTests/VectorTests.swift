// The frames byte by byte, against vectors that another implementation wrote (Tests/Vectors/link_vectors.py).

import Core
import Crypto
import Foundation
import Testing
import Wire

@testable import Neighbour

/// One file of Tests/Vectors: names and bytes.
private struct Vectors {
  private var rows: [String: [UInt8]] = [:]

  init(_ name: String) throws {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Vectors/\(name)")
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#") {
      let words = line.split(separator: " ")
      rows[String(words[0])] = Core.bytes(hexadecimal: words[1].utf8) ?? []
    }
  }

  subscript(_ name: String) -> [UInt8] { rows[name] ?? [] }
  func bytes16(_ name: String) -> Bytes16 {
    self[name].withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
  }
  func bytes32(_ name: String) -> Bytes32 {
    self[name].withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
  }
}

private func fill(_ start: UInt8, _ count: Int) -> [UInt8] {
  (0..<count).map { start &+ UInt8(truncatingIfNeeded: $0) }
}

private func filled16(_ start: UInt8) -> Bytes16 {
  fill(start, 16).withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
}

@Suite struct VectorTests {
  @Test("DISCOVER with and without certificate (PROTOCOL §2)")
  func discover() throws {
    let vectors = try Vectors("discover.txt")
    let full = DiscoverFrame(
      isWide: false, wantsAnswer: true, port: 7, network: 0x1011_1213_1415_1617, epoch: 3, nonce: filled16(0x30),
      id: ComponentID(filled16(0x50)), certificate: fill(0x90, 203))
    var bare = full
    bare.flags = DiscoverFrame.Flag.wide
    bare.certificate = []
    // The proof: the sender's key for the one who sees it is the one that this one has for the sender.
    let keys = ["sender-static", "receiver-static"].map { AgreementKeyPair(secret: vectors.bytes32($0)) }
    let key = try #require(DiscoverProof.key(keys[0], with: keys[1].publicKey))
    #expect(DiscoverProof.key(keys[1], with: keys[0].publicKey) == key)
    var address: UInt64 = 0
    for byte in vectors["address"] { address = address << 8 | UInt64(byte) }
    var proving = full
    proving.flags |= DiscoverFrame.Flag.proofFollows
    proving.proof = DiscoverProof.tag(key, sender: full.id, nonce: full.nonce, address: MACAddress(address))
    for (frame, name) in [(full, "with-certificate"), (bare, "without"), (proving, "with-proof")] {
      #expect(frame.encode() == vectors[name])
      var reader = ByteReader(vectors[name].span)
      #expect(try DiscoverFrame(decoding: &reader) == frame)
      #expect(reader.remaining == 0)
    }
  }

  @Test("HANDSHAKE, both steps, and the link keys that follow (PROTOCOL §2)")
  func handshake() throws {
    let vectors = try Vectors("handshake.txt")
    let prologue = HandshakeFrame.prologue(
      network: vectors.bytes16("network"), initiator: ComponentID(vectors.bytes16("initiator")),
      responder: ComponentID(vectors.bytes16("responder")), nonce: vectors.bytes16("nonce"))
    func pair(_ name: String) -> AgreementKeyPair { AgreementKeyPair(secret: vectors.bytes32(name)) }
    var initiator = NoiseKKInitiator(
      prologue: prologue, static: pair("initiator-static"), remoteStatic: pair("responder-static").publicKey,
      ephemeral: pair("initiator-ephemeral"))
    var responder = NoiseKKResponder(
      prologue: prologue, static: pair("responder-static"), remoteStatic: pair("initiator-static").publicKey)
    let mine = HandshakePayload(adjacency: 5, frameSize: 1500, phase: 1, epoch: 3)
    let theirs = HandshakePayload(adjacency: 9, frameSize: 1400, phase: 1, epoch: 3)
    let first = HandshakeFrame(
      step: .first, sender: 5, receiver: 0, nonce: vectors.bytes16("nonce"), certificate: vectors["certificate"],
      message: try initiator.writeFirst(payload: mine.encode()))
    #expect(first.encode() == vectors["first"])
    let seen = try responder.readFirst(first.message)
    var payload = ByteReader(seen.span)
    #expect(try HandshakePayload(decoding: &payload) == mine)
    let second = HandshakeFrame(
      step: .second, sender: 9, receiver: 5, nonce: vectors.bytes16("nonce"), certificate: [],
      message: try responder.writeSecond(payload: theirs.encode(), ephemeral: pair("responder-ephemeral")))
    #expect(second.encode() == vectors["second"])
    for frame in [first, second] {
      let bytes = frame.encode()
      var reader = ByteReader(bytes.span)
      #expect(try HandshakeFrame(decoding: &reader) == frame)
    }
    #expect(try initiator.readSecond(second.message) == theirs.encode())
    let keys = initiator.split()
    #expect(keys.initiatorToResponder == vectors.bytes32("initiator-to-responder"))
    #expect(keys.responderToInitiator == vectors.bytes32("responder-to-initiator"))
    let direction = DirectionKeys(derivedFrom: keys.initiatorToResponder)
    #expect(direction.stream == vectors.bytes32("stream"))
    #expect(direction.mac == vectors.bytes16("mac"))
  }

  private func key(counter: UInt64, phase: UInt8 = 0) throws -> LinkKey {
    let vectors = try Vectors("handshake.txt")
    let k = vectors.bytes32("initiator-to-responder")
    var key = LinkKey(send: k, receive: k, phase: phase)
    key.sendCounter = counter - 1
    if counter > 1 { _ = key.window.accept(counter - 1) }
    return key
  }

  /// Seals `plain`, compares, opens again.
  private func check(
    _ plain: [UInt8], against expected: [UInt8], counter: UInt64, head: FrameHead, detour: UInt16, encryptedEnd: Int,
    taggedEnd: Int
  ) throws {
    var (key, bytes) = (try key(counter: counter, phase: head.phase), plain)
    bytes.withUnsafeMutableBufferPointer {
      key.seal(
        $0.baseAddress!, head: head.byte, detour: detour, encryptedEnd: encryptedEnd, taggedEnd: taggedEnd)
    }
    #expect(bytes == expected)
    let found = bytes.withUnsafeMutableBufferPointer { key.open($0.baseAddress!, taggedEnd: taggedEnd) }
    guard case .authentic(counter) = found else {
      Issue.record("not authentic: \(found)")
      return
    }
  }

  @Test("HELLO small, under phase 1 beyond 2^32, and full-size (PROTOCOL §1, §2)")
  func hello() throws {
    let vectors = try Vectors("hello.txt")
    for (name, counter, phase, length) in [
      ("small", 1, 0, 56), ("phase-1-counter-2^32+2", 0x1_0000_0002, 1, 56), ("full-size-300", 3, 0, 300),
    ] as [(String, UInt64, UInt8, Int)] {
      let hello = HelloFrame(
        flags: length > 56 ? 3 : 1, interval: 20, epoch: 3, sent: 1000, received: 998, nonce: filled16(0x30),
        heard: 0xffff_fff0, frameSize: 1500, largest: 1400, length: UInt16(length))
      try check(
        hello.encode(), against: vectors[name], counter: counter, head: FrameHead(.hello, phase: phase), detour: 0,
        encryptedEnd: 13, taggedEnd: length)
      let decoded = try vectors[name].withUnsafeBufferPointer { try HelloFrame(decoding: $0.baseAddress!) }
      #expect(decoded == hello)
    }
  }

  @Test("ONION in three classes and two sizes, LINKED, OPEN (PROTOCOL §1, §2)")
  func link() throws {
    let vectors = try Vectors("link.txt")
    for (name, counter, code, onionClass, size, encrypted) in [
      ("onion-bulk", 7, 0, 2, 200, 112), ("onion-control", 8, 0, 0, 200, 200),
      ("onion-protected-64", 9, 3, 1, 700, 700),
    ] as [(String, UInt64, UInt8, UInt8, Int, Int)] {
      var plain = [UInt8](repeating: 0, count: 15) + [onionClass << 5] + fill(16, size - 16)
      plain[0] = 0
      try check(
        plain, against: vectors[name], counter: counter, head: FrameHead(.onion, sizeCode: code), detour: 0x1234,
        encryptedEnd: encrypted, taggedEnd: LinkHeader.onionHeaderEnd(sizeCode: code))
    }
    let linked = [UInt8](repeating: 0, count: 15) + [1, 0, 96] + fill(0xa0, 96)
    try check(
      linked, against: vectors["linked-beacon"], counter: 10, head: FrameHead(.linked), detour: 0, encryptedEnd: 114,
      taggedEnd: 114)
    // OPEN as the engine composes it.
    let harness = Harness.pair(seed: 1)
    harness.runUntilUp()
    #expect(harness.open(from: 0, subtype: 2, content: fill(0xa0, 96))?.bytes == vectors["open-relay"])
  }
}
