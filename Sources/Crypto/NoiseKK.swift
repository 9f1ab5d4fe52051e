// Noise_KK_25519_ChaChaPoly_BLAKE2b (Noise rev. 34 §7.5): both ends know the other's static key beforehand.
//
//   -> s          (known)
//   <- s          (known)
//   -> e, es, ss  first message:  32 + payload + 16 bytes
//   <- e, ee, se  second message: 32 + payload + 16 bytes
//
// The first message can be replayed, so its payload must hold something fresh of the responder's, and the responder
// changes nothing of weight before the first transport message, which only the true initiator can make.
// Transport messages use AEAD with prefix 0 and a counter from 0 in each direction, unless the session layer says more.

import Core

private let protocolName: StaticString = "Noise_KK_25519_ChaChaPoly_BLAKE2b"
/// Ephemeral key and tag: what a handshake message has beside its payload, bytes.
private let messageOverhead = 48
private let messageLimit = 65_535

/// What a finished handshake gives both ends alike.
public struct NoiseKeys: Sendable {
  public let initiatorToResponder: Bytes32
  public let responderToInitiator: Bytes32
  /// h, 64 bytes: the same at both ends only when both saw the same handshake (channel binding, Noise rev. 34 §11.2).
  public let fullHandshakeHash: Bytes64
  /// The first 32 bytes of h.
  public var handshakeHash: Bytes32 { fullHandshakeHash.firstHalf }
}

public struct NoiseKKInitiator {
  private enum Step {
    case start, firstWritten, finished
  }

  private var symmetric: NoiseSymmetricState
  private let pair: AgreementKeyPair
  private let remote: Bytes32
  private let ephemeral: AgreementKeyPair
  private var step = Step.start

  /// `ephemeral` is fresh for every handshake and never used again.
  public init(
    prologue: [UInt8], static pair: AgreementKeyPair, remoteStatic: Bytes32, ephemeral: AgreementKeyPair
  ) {
    symmetric = NoiseSymmetricState(protocolName: protocolName, prologue: prologue)
    symmetric.mixHash(pair.publicKey)
    symmetric.mixHash(remoteStatic)
    self.pair = pair
    self.remote = remoteStatic
    self.ephemeral = ephemeral
  }

  /// The first message, 48 bytes longer than `payload`.
  public mutating func writeFirst(payload: [UInt8]) throws(HandshakeError) -> [UInt8] {
    guard step == .start else { throw .outOfOrder }
    try checkPayload(payload)
    var next = symmetric
    next.mixHash(ephemeral.publicKey)
    try next.mixAgreement(ephemeral, remote)
    try next.mixAgreement(pair, remote)
    var message = ephemeral.publicKey.array
    next.encryptAndHash(payload, appendingTo: &message)
    symmetric = next
    step = .firstWritten
    return message
  }

  /// The second message's payload.
  public mutating func readSecond(_ message: [UInt8]) throws(HandshakeError) -> [UInt8] {
    guard step == .firstWritten else { throw .outOfOrder }
    let remoteEphemeral = try ephemeralKey(of: message)
    var next = symmetric
    next.mixHash(remoteEphemeral)
    try next.mixAgreement(ephemeral, remoteEphemeral)
    try next.mixAgreement(pair, remoteEphemeral)
    let payload = try next.decryptAndHash(message, from: 32)
    symmetric = next
    step = .finished
    return payload
  }

  /// After `readSecond` succeeded.
  public func split() -> NoiseKeys {
    invariant(step == .finished, "a handshake is split when it has finished")
    return symmetric.split()
  }
}

public struct NoiseKKResponder {
  private enum Step {
    case start
    case firstRead(remoteEphemeral: Bytes32)
    case finished
  }

  private var symmetric: NoiseSymmetricState
  private let pair: AgreementKeyPair
  private let remote: Bytes32
  private var step = Step.start

  public init(prologue: [UInt8], static pair: AgreementKeyPair, remoteStatic: Bytes32) {
    symmetric = NoiseSymmetricState(protocolName: protocolName, prologue: prologue)
    symmetric.mixHash(remoteStatic)
    symmetric.mixHash(pair.publicKey)
    self.pair = pair
    self.remote = remoteStatic
  }

  /// The first message's payload.
  public mutating func readFirst(_ message: [UInt8]) throws(HandshakeError) -> [UInt8] {
    guard case .start = step else { throw .outOfOrder }
    let remoteEphemeral = try ephemeralKey(of: message)
    var next = symmetric
    next.mixHash(remoteEphemeral)
    try next.mixAgreement(pair, remoteEphemeral)
    try next.mixAgreement(pair, remote)
    let payload = try next.decryptAndHash(message, from: 32)
    symmetric = next
    step = .firstRead(remoteEphemeral: remoteEphemeral)
    return payload
  }

  /// The second message, 48 bytes longer than `payload`. `ephemeral` is fresh for every handshake and never used again.
  public mutating func writeSecond(
    payload: [UInt8], ephemeral: AgreementKeyPair
  ) throws(HandshakeError) -> [UInt8] {
    guard case .firstRead(let remoteEphemeral) = step else { throw .outOfOrder }
    try checkPayload(payload)
    var next = symmetric
    next.mixHash(ephemeral.publicKey)
    try next.mixAgreement(ephemeral, remoteEphemeral)
    try next.mixAgreement(ephemeral, remote)
    var message = ephemeral.publicKey.array
    next.encryptAndHash(payload, appendingTo: &message)
    symmetric = next
    step = .finished
    return message
  }

  /// After `writeSecond` succeeded.
  public func split() -> NoiseKeys {
    guard case .finished = step else { invariantFailed("a handshake is split when it has finished") }
    return symmetric.split()
  }
}

private func checkPayload(_ payload: [UInt8]) throws(HandshakeError) {
  guard payload.count <= messageLimit - messageOverhead else {
    throw .tooLong(limitBytes: messageLimit - messageOverhead, haveBytes: payload.count)
  }
}

private func ephemeralKey(of message: [UInt8]) throws(HandshakeError) -> Bytes32 {
  guard message.count >= messageOverhead else {
    throw .truncated(neededBytes: messageOverhead, haveBytes: message.count)
  }
  guard message.count <= messageLimit else { throw .tooLong(limitBytes: messageLimit, haveBytes: message.count) }
  return message.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
}
