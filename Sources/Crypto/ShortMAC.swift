// SipHash-2-4 (Aumasson, Bernstein 2012): a 64-bit MAC for short messages between neighbours, at a tenth of an AEAD's
// cost. 64 bits are enough where a forger gets few tries and a wrong tag is counted.

import Core
internal import CSodium

public enum ShortMAC {
  /// The tag of p[0..<count] as the integer its 8 little-endian bytes are.
  public static func sipHash24(_ p: UnsafePointer<UInt8>, count: Int, key: borrowing Bytes16) -> UInt64 {
    var tag: UInt64 = 0
    let n = length(count)
    key.withBytes { k in
      withUnsafeMutableBytes(of: &tag) { out in
        _ = crypto_shorthash_siphash24(out.baseAddress!.assumingMemoryBound(to: UInt8.self), p, n, k)
      }
    }
    return UInt64(littleEndian: tag)
  }
}
