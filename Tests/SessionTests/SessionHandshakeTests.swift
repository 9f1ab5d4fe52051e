// The handshake between an MA and a component: the golden one, and all that must be refused (docs/PROTOCOL.md §4).

import Core
import Crypto
import TestSupport
import Testing
import Wire

@testable import Session

@Suite struct SessionHandshakeTests {
  func refusal(_ body: () throws(SessionHandshakeError) -> Void) -> SessionHandshakeError? {
    do throws(SessionHandshakeError) {
      try body()
      return nil
    } catch { return error }
  }

  @Test func `challenge, response and keys are the golden ones (sections 4 and 6)`() throws {
    let golden = try vectors("session.txt")
    func field(_ name: String) throws -> [UInt8] { try #require(golden[name]) }
    var meeting = Meeting()
    meeting.network = bytes16(try field("network"))
    meeting.authority = ComponentID(bytes16(try field("authority")))
    meeting.component = ComponentID(bytes16(try field("component")))
    meeting.nonce = bytes16(try field("nonce"))
    meeting.beside = ComponentID(bytes16(try field("beside")))
    meeting.authorityPair = AgreementKeyPair(secret: bytes32(try field("authorityStatic")))
    meeting.componentPair = AgreementKeyPair(secret: bytes32(try field("componentStatic")))
    meeting.entropy = Entropy(seed: bytes32(try field("authoritySeed")))
    var challenge = try meeting.challenge(epoch: 2, spi: 0xcafe_f00d)
    let challengeBody = try field("challenge")
    #expect(challenge.body == challengeBody)
    meeting.entropy = Entropy(seed: bytes32(try field("componentSeed")))
    let answer = try meeting.answer(challenge.body)
    let response = try field("response")
    #expect(answer.body == response)
    let keys = try challenge.complete(answer.body)
    #expect(keys.isCounterpart(of: answer.keys))
    let expected = try ["sealDown", "sealUp", "onion"].map { bytes32(try field($0)) }
    #expect([keys.seal, keys.open, keys.onion] == expected)
    let renewal = bytes16(try field("renewal"))
    #expect(keys.renewal == renewal && answer.keys.renewal == renewal)
    #expect(keys.epoch == 2 && keys.spi == 0xcafe_f00d)
  }

  @Test func `both ends hold the same keys, with the epoch and the spi the MA chose (section 4)`() throws {
    for epoch in UInt8(0)...3 {
      var meeting = Meeting(seed: UInt64(epoch))
      var challenge = try meeting.challenge(epoch: epoch, spi: 0xffff_fff0 + UInt32(epoch))
      #expect(challenge.body.count == 16 + 32 + 8 + 16)
      let answer = try meeting.answer(challenge.body)
      #expect(answer.body.count == 16 + 32 + 4 + 16)
      let keys = try challenge.complete(answer.body)
      #expect(keys.isCounterpart(of: answer.keys) && keys.epoch == epoch && keys.spi == 0xffff_fff0 + UInt32(epoch))
      #expect(Set([keys.seal, keys.open, keys.onion]).count == 3)
    }
  }

  @Test func `two handshakes of the same two have nothing in common`() throws {
    var meeting = Meeting()
    var first = try meeting.challenge()
    var second = try meeting.challenge()
    #expect(first.body != second.body)
    let answers = (try meeting.answer(first.body), try meeting.answer(second.body))
    let keys = (try first.complete(answers.0.body), try second.complete(answers.1.body))
    #expect(Set([keys.0.seal, keys.0.open, keys.0.onion, keys.1.seal, keys.1.open, keys.1.onion]).count == 6)
    // Answering one challenge twice makes two sessions, of which the MA gets one.
    var third = try meeting.challenge()
    let (a, b) = (try meeting.answer(third.body), try meeting.answer(third.body))
    #expect(a.keys.seal != b.keys.seal)
    #expect(try third.complete(b.body).isCounterpart(of: b.keys))
  }

  @Test func `a challenge with another nonce than the component's is refused: a replay (section 4)`() throws {
    var meeting = Meeting()
    let old = try meeting.challenge()
    meeting.nonce = meeting.entropy.bytes16()
    #expect(refusal { () throws(SessionHandshakeError) in _ = try meeting.answer(old.body) } == .wrongNonce)
    // The new nonce written over the old one does not help: the prologue holds it.
    let nonce = meeting.nonce.withBytes { p in (0..<16).map { p[$0] } }
    let forged = nonce + old.body[16...]
    #expect(refusal { () throws(SessionHandshakeError) in _ = try meeting.answer(forged) } == .noise(.notAuthentic))
  }

  @Test func `a response is taken once, and only by the challenge it answers (section 4)`() throws {
    var meeting = Meeting()
    var challenge = try meeting.challenge()
    let answer = try meeting.answer(challenge.body)
    var other = try meeting.challenge()
    #expect(
      refusal { () throws(SessionHandshakeError) in _ = try other.complete(answer.body) } == .noise(.notAuthentic))
    _ = try challenge.complete(answer.body)
    #expect(
      refusal { () throws(SessionHandshakeError) in _ = try challenge.complete(answer.body) } == .noise(.outOfOrder))
    meeting.nonce = meeting.entropy.bytes16()
    var next = try meeting.challenge()
    #expect(refusal { () throws(SessionHandshakeError) in _ = try next.complete(answer.body) } == .wrongNonce)
  }

  @Test func `network, the three IDs and both keys are bound (section 4)`() throws {
    let meeting = Meeting()
    var attacker = seeded(99)
    let changes: [(String, (inout Meeting) -> Void)] = [
      ("network", { $0.network = attacker.bytes16() }),
      ("authority", { $0.authority = ComponentID(attacker.bytes16()) }),
      ("component", { $0.component = ComponentID(attacker.bytes16()) }),
      ("authority's key", { $0.authorityPair = AgreementKeyPair(secret: attacker.bytes32()) }),
      ("the one beside the component", { $0.beside = ComponentID(attacker.bytes16()) }),
      ("component's key", { $0.componentPair = AgreementKeyPair(secret: attacker.bytes32()) }),
    ]
    for (name, change) in changes {
      var (mine, theirs) = (meeting, meeting)
      change(&theirs)
      var challenge = try mine.challenge()
      let body = challenge.body
      #expect(
        refusal { () throws(SessionHandshakeError) in _ = try theirs.answer(body) } == .noise(.notAuthentic),
        "\(name) at the component")
      // And where the component's view is the true one.
      challenge = try theirs.challenge()
      let second = challenge.body
      #expect(
        refusal { () throws(SessionHandshakeError) in _ = try mine.answer(second) } == .noise(.notAuthentic),
        "\(name) at the MA")
    }
  }

  @Test func `a renewal is bound to the session it renews, and to no place (section 4)`() throws {
    var meeting = Meeting()
    var (mine, theirs) = try meeting.sessions(epoch: 1)
    meeting.beside = ComponentID(Bytes16())
    for epoch in [UInt8(2), 3, 0, 1] {
      #expect(mine.keys.renewal == theirs.keys.renewal && mine.keys.renewal != meeting.nonce)
      let before = meeting.nonce
      meeting.nonce = mine.keys.renewal
      var renewal = try meeting.challenge(epoch: epoch, spi: 5)
      let answer = try meeting.answer(renewal.body)
      let keys = try renewal.complete(answer.body)
      #expect(keys.isCounterpart(of: answer.keys) && keys.epoch == epoch)
      #expect(keys.onion != mine.keys.onion && keys.seal != mine.keys.seal)
      // Not good for a session made with another nonce, nor as a challenge that somebody carries.
      var other = meeting
      other.nonce = before
      #expect(refusal { () throws(SessionHandshakeError) in _ = try other.answer(renewal.body) } == .wrongNonce)
      other.nonce = meeting.nonce
      other.beside = meeting.authority
      #expect(
        refusal { () throws(SessionHandshakeError) in _ = try other.answer(renewal.body) } == .noise(.notAuthentic))
      (mine, theirs) = (SecureSession(keys: keys), SecureSession(keys: answer.keys))
    }
  }

  @Test func `a key of low order is refused by either end`() throws {
    var meeting = Meeting()
    let zero = Bytes32()
    let error = refusal { () throws(SessionHandshakeError) in
      _ = try SessionChallenge(
        network: meeting.network, authority: meeting.authority, authorityKey: meeting.authorityPair,
        component: meeting.component, componentKey: zero, nonce: meeting.nonce, epoch: 0, spi: 1,
        entropy: &meeting.entropy)
    }
    #expect(error == .noise(.lowOrderPoint))
    var body = try meeting.challenge().body
    for i in 16..<48 { body[i] = 0 }
    #expect(refusal { () throws(SessionHandshakeError) in _ = try meeting.answer(body) } == .noise(.lowOrderPoint))
  }

  @Test func `every bit of a challenge counts, and every byte (section 4)`() throws {
    var meeting = Meeting()
    let body = try meeting.challenge().body
    for bit in 0..<(body.count * 8) {
      // The highest bit of an X25519 key is masked, but hashed along.
      let damaged = body.flipping(bit: bit)
      #expect(refusal { () throws(SessionHandshakeError) in _ = try meeting.answer(damaged) } != nil, "bit \(bit)")
    }
    for count in 0..<body.count {
      let cut = Array(body[..<count])
      #expect(refusal { () throws(SessionHandshakeError) in _ = try meeting.answer(cut) } != nil, "\(count) bytes")
    }
    let long = body + [0]
    #expect(refusal { () throws(SessionHandshakeError) in _ = try meeting.answer(long) } == .noise(.notAuthentic))
    let short = Array(body[..<15])
    #expect(
      refusal { () throws(SessionHandshakeError) in _ = try meeting.answer(short) }
        == .wire(.truncated(neededBytes: 16, haveBytes: 15)))
  }

  @Test func `every bit of a response counts, and a refused one leaves the challenge as it was (section 4)`() throws {
    var meeting = Meeting()
    var challenge = try meeting.challenge()
    let answer = try meeting.answer(challenge.body)
    for bit in 0..<(answer.body.count * 8) {
      let damaged = answer.body.flipping(bit: bit)
      #expect(
        refusal { () throws(SessionHandshakeError) in _ = try challenge.complete(damaged) } != nil, "bit \(bit)")
    }
    for count in 0..<answer.body.count {
      let cut = Array(answer.body[..<count])
      #expect(refusal { () throws(SessionHandshakeError) in _ = try challenge.complete(cut) } != nil)
    }
    let long = answer.body + [0]
    #expect(refusal { () throws(SessionHandshakeError) in _ = try challenge.complete(long) } != nil)
    #expect(try challenge.complete(answer.body).isCounterpart(of: answer.keys))
  }

  @Test func `an authentic challenge with a short payload or an epoch beyond 3 is refused (section 4)`() throws {
    for (payload, expected) in [
      ([UInt8](), SessionHandshakeError.wire(.truncated(neededBytes: 1, haveBytes: 0))),
      ([1, 0, 0, 0], .wire(.truncated(neededBytes: 4, haveBytes: 3))),
      ([4, 0, 0, 0, 1, 0, 0, 0], .wire(.invalid(field: StaticFieldName("challenge epoch")))),
    ] {
      var meeting = Meeting()
      var noise = NoiseKKInitiator(
        prologue: SessionPrologue.bytes(
          network: meeting.network, authority: meeting.authority, component: meeting.component,
          beside: meeting.beside, nonce: meeting.nonce),
        static: meeting.authorityPair, remoteStatic: meeting.componentPair.publicKey,
        ephemeral: AgreementKeyPair(secret: meeting.entropy.bytes32()))
      let nonce = meeting.nonce.withBytes { p in (0..<16).map { p[$0] } }
      let body = nonce + (try noise.writeFirst(payload: payload))
      #expect(refusal { () throws(SessionHandshakeError) in _ = try meeting.answer(body) } == expected)
    }
  }
}
