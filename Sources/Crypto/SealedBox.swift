// A message only the holder of one X25519 key can open, from a sender who stays anonymous. libsodium's crypto_box_seal
// draws from the kernel by itself, which a simulated run cannot repeat; here the ephemeral key comes from the caller.
//
//   box = ephemeral public key (32) ‖ ChaCha20-Poly1305(key, nonce 0, plain) with tag (16)
//   key = BLAKE2b-256(key: X25519 shared point, label ‖ ephemeral public key ‖ recipient's public key)
//
// The key is fresh for every box, which is why the nonce may be constant.

import Core

public enum SealedBox {
  /// Bytes a box is longer than its contents.
  public static let overhead = 48

  /// Nil when `recipient` is a low-order point.
  public static func seal(_ plain: [UInt8], to recipient: Bytes32, entropy: inout Entropy) -> [UInt8]? {
    let ephemeral = AgreementKeyPair(secret: entropy.bytes32())
    guard var key = boxKey(ephemeral.agree(with: recipient), ephemeral.publicKey, recipient) else { return nil }
    var box = ephemeral.publicKey.array
    box.reserveCapacity(plain.count + overhead)
    box.append(contentsOf: plain)
    for _ in 0..<AEAD.tagSize { box.append(0) }
    box.withUnsafeMutableBufferPointer {
      guard let base = $0.baseAddress else { return }
      AEAD.seal(
        base + 32, count: plain.count, additional: nil, additionalCount: 0, prefix: 0, counter: 0, key: key)
    }
    key.erase()
    return box
  }

  /// Nil when the box was not made for this key, was changed or is too short.
  public static func open(_ sealed: [UInt8], with recipient: AgreementKeyPair) -> [UInt8]? {
    let count = sealed.count - overhead
    guard count >= 0 else { return nil }
    let ephemeral = sealed.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
    guard var key = boxKey(recipient.agree(with: ephemeral), ephemeral, recipient.publicKey) else { return nil }
    var plain = Array(sealed[32...])
    let authentic = plain.withUnsafeMutableBufferPointer {
      AEAD.open(
        $0.baseAddress!, count: count, additional: nil, additionalCount: 0, prefix: 0, counter: 0, key: key)
    }
    key.erase()
    guard authentic else { return nil }
    plain.removeLast(AEAD.tagSize)
    return plain
  }

  private static func boxKey(_ shared: Bytes32?, _ ephemeral: Bytes32, _ recipient: Bytes32) -> Bytes32? {
    guard var shared else { return nil }
    let key = deriveKey(shared, "lifeline sealed box", context: ephemeral.array + recipient.array)
    shared.erase()
    return key
  }
}
