// BLAKE2b (RFC 7693): the 256-bit hash for identities and key derivation, and the 512-bit one with HMAC for Noise.

import Core
internal import CSodium

/// BLAKE2b with 32 bytes of output (RFC 7693), keyed when `key` is given.
public func blake2b256(_ bytes: UnsafeBufferPointer<UInt8>, key: Bytes32? = nil) -> Bytes32 {
  var digest = Bytes32()
  digest.withMutableBytes { out in
    if let key {
      key.withBytes { _ = crypto_generichash_blake2b(out, 32, bytes.baseAddress, length(bytes.count), $0, 32) }
    } else {
      _ = crypto_generichash_blake2b(out, 32, bytes.baseAddress, length(bytes.count), nil, 0)
    }
  }
  return digest
}

/// BLAKE2b with 32 bytes of output (RFC 7693), keyed when `key` is given.
public func blake2b256(_ bytes: [UInt8], key: Bytes32? = nil) -> Bytes32 {
  bytes.withUnsafeBufferPointer { blake2b256($0, key: key) }
}

/// A key for one purpose: BLAKE2b-256(key: `key`, `label` ‖ `context`). No label may be a prefix of another label used
/// with the same key, since nothing separates label and context.
public func deriveKey(_ key: Bytes32, _ label: StaticString, context: [UInt8] = []) -> Bytes32 {
  var derived = Bytes32()
  derived.withMutableBytes { out in
    key.withBytes { k in
      withHashState { state in
        crypto_generichash_blake2b_init(state, k, 32, 32)
        crypto_generichash_blake2b_update(state, label.utf8Start, length(label.utf8CodeUnitCount))
        context.withUnsafeBufferPointer {
          _ = crypto_generichash_blake2b_update(state, $0.baseAddress, length($0.count))
        }
        crypto_generichash_blake2b_final(state, out, 32)
      }
    }
  }
  return derived
}

/// BLAKE2b with 64 bytes of output of `first` ‖ `second`.
func blake2b512(_ first: UnsafeBufferPointer<UInt8>, _ second: UnsafeBufferPointer<UInt8>) -> Bytes64 {
  var digest = Bytes64()
  digest.withMutableBytes { out in
    withHashState { state in
      crypto_generichash_blake2b_init(state, nil, 0, 64)
      crypto_generichash_blake2b_update(state, first.baseAddress, length(first.count))
      crypto_generichash_blake2b_update(state, second.baseAddress, length(second.count))
      crypto_generichash_blake2b_final(state, out, 64)
    }
  }
  return digest
}

/// Room for libsodium's hash state on the stack, on the 64-byte boundary it asks for, wiped afterwards.
private func withHashState(_ body: (OpaquePointer) -> Void) {
  let (size, boundary) = (384, 64)
  invariant(crypto_generichash_blake2b_statebytes() <= size, "libsodium's hash state fits")
  withUnsafeTemporaryAllocation(byteCount: size + boundary, alignment: 16) { room in
    guard let base = room.baseAddress else { return }
    let state = base.alignedUp(toMultipleOf: boundary)
    body(OpaquePointer(state))
    sodium_memzero(state, size)
  }
}

/// HMAC (RFC 2104) over BLAKE2b-512, whose block is 128 bytes, as Noise wants it (Noise rev. 34 §4.3).
func hmacBlake2b512(key: Bytes64, _ message: UnsafeBufferPointer<UInt8>) -> Bytes64 {
  var tag = Bytes64()
  withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 128) { pad in
    key.withBytes { k in
      for i in 0..<128 { pad[i] = (i < 64 ? k[i] : 0) ^ 0x36 }
    }
    var inner = blake2b512(UnsafeBufferPointer(pad), message)
    for i in 0..<128 { pad[i] ^= 0x36 ^ 0x5c }
    tag = inner.withBytes { blake2b512(UnsafeBufferPointer(pad), UnsafeBufferPointer(start: $0, count: 64)) }
    inner.erase()
    sodium_memzero(pad.baseAddress, 128)
  }
  return tag
}

/// HKDF as Noise defines it, two outputs (Noise rev. 34 §4.3).
func noiseHKDF(_ chainingKey: Bytes64, _ material: UnsafeBufferPointer<UInt8>) -> (first: Bytes64, second: Bytes64) {
  var secret = hmacBlake2b512(key: chainingKey, material)
  var (first, second) = (Bytes64(), Bytes64())
  withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 65) { expand in
    expand[0] = 1
    first = hmacBlake2b512(key: secret, UnsafeBufferPointer(rebasing: expand[0..<1]))
    first.withBytes { for i in 0..<64 { expand[i] = $0[i] } }
    expand[64] = 2
    second = hmacBlake2b512(key: secret, UnsafeBufferPointer(expand))
    sodium_memzero(expand.baseAddress, 65)
  }
  secret.erase()
  return (first, second)
}
