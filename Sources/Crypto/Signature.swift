// Ed25519 (RFC 8032 §5.1): what authorities and components sign with.

import Core
internal import CSodium

/// A signature: R, then S, 64 bytes.
public struct Signature: Sendable, Equatable {
  private let bytes: Bytes64

  /// The 64 bytes at `pointer`, whatever they are; `verifySignature` judges them.
  public init(loadingFrom pointer: UnsafePointer<UInt8>) { bytes = Bytes64(loadingFrom: pointer) }

  /// Nil when S is not below the group order L: no such signature verifies (RFC 8032 §5.1.7).
  public init?(_ r: Bytes32, _ s: Bytes32) {
    guard s.withBytes({ isBelowGroupOrder($0) }) else { return nil }
    bytes = Bytes64(r, s)
  }

  public var array: [UInt8] { bytes.array }

  @inline(__always)
  public func withBytes<R, E: Error>(_ body: (UnsafePointer<UInt8>) throws(E) -> R) throws(E) -> R {
    try bytes.withBytes(body)
  }
}

/// L = 2^252 + 27742317777372353535851937790883648493, as two 128-bit halves of little-endian 64-bit words.
private func isBelowGroupOrder(_ s: UnsafePointer<UInt8>) -> Bool {
  let order: (UInt64, UInt64, UInt64, UInt64) = (0x1000_0000_0000_0000, 0, 0x14de_f9de_a2f7_9cd6, 0x5812_631a_5cf5_d3ed)
  func word(_ i: Int) -> UInt64 {
    var value: UInt64 = 0
    for j in 0..<8 { value |= UInt64(s[i * 8 + j]) << UInt64(8 * j) }
    return value
  }
  if word(3) != order.0 { return word(3) < order.0 }
  if word(2) != order.1 { return false }
  if word(1) != order.2 { return word(1) < order.2 }
  return word(0) < order.3
}

public struct SigningKeyPair: Sendable {
  public let publicKey: Bytes32
  /// RFC 8032's private key, from which everything else follows.
  public let seed: Bytes32

  public init(seed: Bytes32) {
    var (secret, point) = (Bytes64(), Bytes32())
    secret.withMutableBytes { sk in
      point.withMutableBytes { pk in
        seed.withBytes { _ = crypto_sign_ed25519_seed_keypair(pk, sk, $0) }
      }
    }
    secret.erase()
    self.seed = seed
    publicKey = point
  }

  public func sign(_ message: [UInt8]) -> Signature {
    var secret = Bytes64(seed, publicKey)  // libsodium's form of the secret key
    var signature = Bytes64()
    signature.withMutableBytes { out in
      secret.withBytes { sk in
        message.withUnsafeBufferPointer {
          _ = crypto_sign_ed25519_detached(out, nil, $0.baseAddress, length($0.count), sk)
        }
      }
    }
    secret.erase()
    return signature.withBytes { Signature(loadingFrom: $0) }
  }
}

/// Whether `key` signed exactly `message`. Keys and R of small order, and S not below L, are refused.
public func verifySignature(_ signature: Signature, of message: [UInt8], by key: Bytes32) -> Bool {
  signature.withBytes { s in
    key.withBytes { k in
      message.withUnsafeBufferPointer {
        crypto_sign_ed25519_verify_detached(s, $0.baseAddress, length($0.count), k) == 0
      }
    }
  }
}
