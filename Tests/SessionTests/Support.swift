// What the tests of this module share: vectors, seeds, and a finished handshake.

import Core
import Crypto
import Foundation
import TestSupport
import Testing

@testable import Session

/// Who is to talk to whom; each field may be changed to see it refused.
struct Meeting {
  var network: Bytes16
  var authority: ComponentID
  var authorityPair: AgreementKeyPair
  var component: ComponentID
  var componentPair: AgreementKeyPair
  var beside: ComponentID
  var nonce: Bytes16
  var entropy: Entropy

  init(seed: UInt64 = 1) {
    var entropy = seeded(seed)
    network = entropy.bytes16()
    authority = ComponentID(entropy.bytes16())
    authorityPair = AgreementKeyPair(secret: entropy.bytes32())
    component = ComponentID(entropy.bytes16())
    componentPair = AgreementKeyPair(secret: entropy.bytes32())
    nonce = entropy.bytes16()
    beside = ComponentID(entropy.bytes16())
    self.entropy = entropy
  }

  mutating func challenge(epoch: UInt8 = 1, spi: UInt32 = 77) throws(SessionHandshakeError) -> SessionChallenge {
    try SessionChallenge(
      network: network, authority: authority, authorityKey: authorityPair, component: component,
      componentKey: componentPair.publicKey, beside: beside, nonce: nonce, epoch: epoch, spi: spi, entropy: &entropy)
  }

  mutating func answer(_ body: [UInt8]) throws(SessionHandshakeError) -> SessionAnswer {
    try SessionAnswer(
      challenge: body.span, network: network, authority: authority, authorityKey: authorityPair.publicKey,
      component: component, componentKey: componentPair, beside: beside, nonce: nonce, entropy: &entropy)
  }

  /// The MA's session and the component's.
  mutating func sessions(epoch: UInt8 = 1) throws(SessionHandshakeError) -> (SecureSession, SecureSession) {
    var challenge = try challenge(epoch: epoch)
    let answer = try answer(challenge.body)
    return (SecureSession(keys: try challenge.complete(answer.body)), SecureSession(keys: answer.keys))
  }
}

extension SessionChallenge {
  mutating func complete(_ body: [UInt8]) throws(SessionHandshakeError) -> SessionKeys {
    try complete(response: body.span)
  }
}

extension SessionKeys {
  /// The same keys seen from the other end.
  func isCounterpart(of other: SessionKeys) -> Bool {
    seal == other.open && open == other.seal && onion == other.onion && renewal == other.renewal && epoch == other.epoch
      && spi == other.spi
  }
}

extension Array where Element == UInt8 {
  /// The same bytes with one bit turned; bit 0 is the lowest of byte 0.
  func flipping(bit: Int) -> [UInt8] {
    var copy = self
    copy[bit / 8] ^= 1 << UInt8(bit % 8)
    return copy
  }
}
