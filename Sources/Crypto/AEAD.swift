// ChaCha20-Poly1305 (RFC 8439), in place. The 12-byte nonce is 4 bytes `prefix` and 8 bytes `counter`, both little
// endian; with prefix 0 it is the nonce of Noise (rev. 34 §12.3). The caller never uses a nonce twice under a key.

import Core
internal import CSodium

public enum AEAD {
  /// Bytes a sealed message is longer than the plain one.
  public static let tagSize = 16

  /// Encrypts p[0..<count] in place and writes the 16 tag bytes at p + count.
  public static func seal(
    _ p: UnsafeMutablePointer<UInt8>, count: Int, additional: UnsafePointer<UInt8>?, additionalCount: Int,
    prefix: UInt32, counter: UInt64, key: borrowing Bytes32
  ) {
    let (n, an) = (length(count), length(additionalCount))
    key.withBytes { k in
      withNonce(prefix, counter) { nonce in
        _ = crypto_aead_chacha20poly1305_ietf_encrypt_detached(
          p, p + count, nil, p, n, additional, an, nil, nonce, k)
      }
    }
  }

  /// Decrypts p[0..<count], which the 16 tag bytes follow, in place. False when the tag is wrong; p[0..<count] is
  /// unspecified then.
  public static func open(
    _ p: UnsafeMutablePointer<UInt8>, count: Int, additional: UnsafePointer<UInt8>?, additionalCount: Int,
    prefix: UInt32, counter: UInt64, key: borrowing Bytes32
  ) -> Bool {
    let (n, an) = (length(count), length(additionalCount))
    return key.withBytes { k in
      withNonce(prefix, counter) { nonce in
        crypto_aead_chacha20poly1305_ietf_decrypt_detached(p, nil, p, n, p + count, additional, an, nonce, k) == 0
      }
    }
  }

  @inline(__always)
  private static func withNonce<R>(_ prefix: UInt32, _ counter: UInt64, _ body: (UnsafePointer<UInt8>) -> R) -> R {
    let words = (
      prefix.littleEndian, UInt32(truncatingIfNeeded: counter).littleEndian,
      UInt32(truncatingIfNeeded: counter >> 32).littleEndian
    )
    return withUnsafeBytes(of: words) { body($0.baseAddress!.assumingMemoryBound(to: UInt8.self)) }
  }
}
