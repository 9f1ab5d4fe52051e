// Who a node is: an Ed25519 key to sign with, a separate X25519 key to agree with, and the ID that follows from the
// first. Made at enrolment on the box itself, never in an image.

import Core
import Crypto

public enum NodeRole: UInt8, Sendable {
  case component = 1
  case authority = 2

  public var name: String {
    switch self {
    case .component: "component"
    case .authority: "authority"
    }
  }
}

/// The first 16 bytes of BLAKE2b-256 of the Ed25519 public key.
public func componentID(of signingKey: Bytes32) -> ComponentID {
  ComponentID(truncated(blake2b256(signingKey.array, key: nil)))
}

public struct Identity {
  public let signing: SigningKeyPair
  public let agreement: AgreementKeyPair
  public let id: ComponentID

  public init(signingSeed: Bytes32, agreementSecret: Bytes32) {
    signing = SigningKeyPair(seed: signingSeed)
    agreement = AgreementKeyPair(secret: agreementSecret)
    id = componentID(of: signing.publicKey)
  }

  public init(entropy: inout Entropy) {
    let seed = entropy.bytes32()
    self.init(signingSeed: seed, agreementSecret: entropy.bytes32())
  }

  public var fingerprint: String { keyFingerprint(signing: signing.publicKey, agreement: agreement.publicKey) }
}

/// What two people compare when a box is taken in: 80 bits over both public keys, as five groups of four digits.
public func keyFingerprint(signing: Bytes32, agreement: Bytes32) -> String {
  let hash = blake2b256(context("lifeline fingerprint 1") + signing.array + agreement.array, key: nil).array
  var text = ""
  for group in 0..<5 {
    if group > 0 { text += "-" }
    text += hexadecimal(hash[(group * 2)..<(group * 2 + 2)])
  }
  return text
}
