// X25519 (RFC 7748): the Diffie-Hellman of the handshakes and of sealed boxes.

import Core
internal import CSodium

public struct AgreementKeyPair: Sendable {
  public let publicKey: Bytes32
  /// 32 random bytes; clamped where it is used.
  public let secret: Bytes32

  public init(secret: Bytes32) {
    var point = Bytes32()
    point.withMutableBytes { q in
      secret.withBytes { _ = crypto_scalarmult_curve25519_base(q, $0) }
    }
    self.secret = secret
    publicKey = point
  }

  /// The shared point, to be hashed before use as a key; nil when `remote` is of low order, which would make the result
  /// the same for everyone (RFC 7748 §6.1).
  public func agree(with remote: Bytes32) -> Bytes32? {
    var shared = Bytes32()
    let status = shared.withMutableBytes { q in
      secret.withBytes { n in
        remote.withBytes { crypto_scalarmult_curve25519(q, n, $0) }
      }
    }
    return status == 0 ? shared : nil
  }
}
