// ChaCha20 in its original form, 64-bit nonce and 64-bit block counter from 0 (Bernstein 2008). It hides and does not
// authenticate: whoever uses it carries a MAC beside it, and never uses a nonce twice under a key.

import Core
internal import CSodium

public enum StreamCipher {
  /// Encrypts or decrypts p[0..<count] in place. The nonce's bytes are its little-endian ones.
  @inline(__always)
  public static func xor(_ p: UnsafeMutablePointer<UInt8>, count: Int, key: borrowing Bytes32, nonce: UInt64) {
    let n = length(count)
    key.withBytes { k in
      withUnsafeBytes(of: nonce.littleEndian) { iv in
        _ = crypto_stream_chacha20_xor(p, p, n, iv.baseAddress!.assumingMemoryBound(to: UInt8.self), k)
      }
    }
  }

  /// The same with the key stream from the 64-byte block numbered `block` on.
  @inline(__always)
  public static func xor(
    _ p: UnsafeMutablePointer<UInt8>, count: Int, key: borrowing Bytes32, nonce: UInt64, fromBlock block: UInt64
  ) {
    let n = length(count)
    key.withBytes { k in
      withUnsafeBytes(of: nonce.littleEndian) { iv in
        _ = crypto_stream_chacha20_xor_ic(p, p, n, iv.baseAddress!.assumingMemoryBound(to: UInt8.self), block, k)
      }
    }
  }

  /// Writes `count` bytes of keystream to `out`.
  public static func keystream(
    _ out: UnsafeMutablePointer<UInt8>, count: Int, key: borrowing Bytes32, nonce: UInt64
  ) {
    let n = length(count)
    key.withBytes { k in
      withUnsafeBytes(of: nonce.littleEndian) { iv in
        _ = crypto_stream_chacha20(out, n, iv.baseAddress!.assumingMemoryBound(to: UInt8.self), k)
      }
    }
  }

  /// Writes `count` bytes of keystream to `out`, from the 64-byte block numbered `block` on.
  public static func keystream(
    _ out: UnsafeMutablePointer<UInt8>, count: Int, key: borrowing Bytes32, nonce: UInt64, fromBlock block: UInt64
  ) {
    let n = length(count)
    UnsafeMutableRawPointer(out).initializeMemory(as: UInt8.self, repeating: 0, count: count)
    key.withBytes { k in
      withUnsafeBytes(of: nonce.littleEndian) { iv in
        _ = crypto_stream_chacha20_xor_ic(out, out, n, iv.baseAddress!.assumingMemoryBound(to: UInt8.self), block, k)
      }
    }
  }
}
