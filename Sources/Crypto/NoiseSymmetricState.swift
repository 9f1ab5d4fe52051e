// The SymmetricState and CipherState of Noise (rev. 34 §5.1, §5.2), for BLAKE2b and ChaCha20-Poly1305.
// In KK every payload directly follows a MixKey, which starts the nonce anew, so the handshake's nonce is always 0.

import Core

/// Why a handshake message was not made or not accepted. A refused message leaves the handshake as it was, so that a
/// forgery cannot end it.
public enum HandshakeError: Error, Equatable {
  case truncated(neededBytes: Int, haveBytes: Int)
  /// A message may have 65,535 bytes (Noise rev. 34 §3).
  case tooLong(limitBytes: Int, haveBytes: Int)
  /// The remote static or ephemeral key has low order.
  case lowOrderPoint
  /// The tag is wrong: another prologue, another key pair, or bytes changed on the way.
  case notAuthentic
  /// This call does not belong to the handshake's present step.
  case outOfOrder
}

struct NoiseSymmetricState {
  private var chainingKey: Bytes64
  private var hash: Bytes64
  private var key = Bytes32()

  /// InitializeSymmetric with a protocol name of at most HASHLEN = 64 bytes, then MixHash(prologue).
  init(protocolName: StaticString, prologue: [UInt8]) {
    invariant(protocolName.utf8CodeUnitCount <= 64, "a longer protocol name would have to be hashed")
    var name = Bytes64()
    name.withMutableBytes { $0.update(from: protocolName.utf8Start, count: protocolName.utf8CodeUnitCount) }
    chainingKey = name
    hash = name
    mixHash(prologue)
  }

  mutating func mixHash(_ bytes: UnsafePointer<UInt8>?, count: Int) {
    hash = hash.withBytes {
      blake2b512(UnsafeBufferPointer(start: $0, count: 64), UnsafeBufferPointer(start: bytes, count: count))
    }
  }

  mutating func mixHash(_ bytes: [UInt8]) {
    bytes.withUnsafeBufferPointer { mixHash($0.baseAddress, count: $0.count) }
  }

  mutating func mixHash(_ publicKey: Bytes32) {
    publicKey.withBytes { mixHash($0, count: 32) }
  }

  /// MixKey(DH(pair, remote)).
  mutating func mixAgreement(_ pair: AgreementKeyPair, _ remote: Bytes32) throws(HandshakeError) {
    guard var shared = pair.agree(with: remote) else { throw .lowOrderPoint }
    var (next, derived) = shared.withBytes { noiseHKDF(chainingKey, UnsafeBufferPointer(start: $0, count: 32)) }
    chainingKey = next
    key = derived.firstHalf
    next.erase()
    derived.erase()
    shared.erase()
  }

  /// Appends the sealed payload to `message` (EncryptAndHash).
  mutating func encryptAndHash(_ payload: [UInt8], appendingTo message: inout [UInt8]) {
    let start = message.count
    message.append(contentsOf: payload)
    for _ in 0..<AEAD.tagSize { message.append(0) }
    message.withUnsafeMutableBufferPointer {
      guard let base = $0.baseAddress else { return }
      seal(base + start, count: payload.count)
      mixHash(base + start, count: payload.count + AEAD.tagSize)
    }
  }

  private func seal(_ p: UnsafeMutablePointer<UInt8>, count: Int) {
    hash.withBytes {
      AEAD.seal(p, count: count, additional: $0, additionalCount: 64, prefix: 0, counter: 0, key: key)
    }
  }

  /// The payload in message[offset...] (DecryptAndHash).
  mutating func decryptAndHash(_ message: [UInt8], from offset: Int) throws(HandshakeError) -> [UInt8] {
    let count = message.count - offset - AEAD.tagSize
    guard count >= 0 else { throw .truncated(neededBytes: offset + AEAD.tagSize, haveBytes: message.count) }
    var payload = Array(message[offset...])
    let authentic = payload.withUnsafeMutableBufferPointer { p in
      hash.withBytes {
        AEAD.open(
          p.baseAddress!, count: count, additional: $0, additionalCount: 64, prefix: 0, counter: 0, key: key)
      }
    }
    guard authentic else { throw .notAuthentic }
    message.withUnsafeBufferPointer { mixHash($0.baseAddress! + offset, count: count + AEAD.tagSize) }
    payload.removeLast(AEAD.tagSize)
    return payload
  }

  /// Split: the two transport keys and the handshake hash.
  func split() -> NoiseKeys {
    var (first, second) = noiseHKDF(chainingKey, UnsafeBufferPointer(start: nil, count: 0))
    let keys = NoiseKeys(
      initiatorToResponder: first.firstHalf, responderToInitiator: second.firstHalf, fullHandshakeHash: hash)
    first.erase()
    second.erase()
    return keys
  }
}
