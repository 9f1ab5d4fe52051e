// One known answer for each primitive, checked inside the shipped binary (`lifeline --self-test`): a build linked with
// the wrong libsodium, or for a processor it misbehaves on, says so before it keys anything. Nothing is read from a
// file.

import Core

/// Nil when every known answer holds, else the name of what failed first.
public func cryptoSelfTest() -> StaticString? {
  if !Sodium.initialize() { return "libsodium did not initialise" }
  if !hashHolds() { return "BLAKE2b" }
  if !streamCipherHolds() { return "ChaCha20" }
  if !shortMACHolds() { return "SipHash-2-4" }
  if !aeadHolds() { return "ChaCha20-Poly1305" }
  if !signatureHolds() { return "Ed25519" }
  if !agreementHolds() { return "X25519" }
  if !passphraseHolds() { return "Argon2id" }
  if !entropyHolds() { return "generator" }
  if !handshakeHolds() { return "Noise KK" }
  return nil
}

/// The bytes that constants in hexadecimal stand for, joined.
private func constant(_ lines: StaticString...) -> [UInt8] {
  var joined: [UInt8] = []
  for line in lines {
    joined += bytes(hexadecimal: UnsafeBufferPointer(start: line.utf8Start, count: line.utf8CodeUnitCount)) ?? []
  }
  return joined
}

private func constant32(_ text: StaticString) -> Bytes32 {
  let array = constant(text)
  invariant(array.count == 32, "a constant of 32 bytes")
  return array.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
}

private func counting(_ count: UInt8) -> [UInt8] {
  var array: [UInt8] = []
  for i in 0..<count { array.append(i) }
  return array
}

private let countingKey: StaticString = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/// RFC 7693's "abc" with 32 bytes of output, and a keyed one.
private func hashHolds() -> Bool {
  blake2b256([97, 98, 99]) == constant32("bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319")
    && deriveKey(constant32(countingKey), "link key", context: [1, 2, 3])
      == constant32("4a8741d35c1202b2ded7822a724802ebb3ebc4705f0f00dd23f90ac96fb8007e")
}

/// draft-agl-tls-chacha20poly1305-04 §7, the fifth: counting key, nonce 0001020304050607.
private func streamCipherHolds() -> Bool {
  var text = [UInt8](repeating: 0, count: 64)
  text.withUnsafeMutableBufferPointer {
    StreamCipher.xor($0.baseAddress!, count: 64, key: constant32(countingKey), nonce: 0x0706_0504_0302_0100)
  }
  return text
    == constant(
      "f798a189f195e66982105ffb640bb7757f579da31602fc93ec01ac56f85ac3c134a4547b733b46413042c94400491769",
      "05d3be59ea1c53f15916155c2be8241a")
}

/// Aumasson, Bernstein, appendix A: 15 bytes.
private func shortMACHolds() -> Bool {
  let key = counting(16).withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
  return counting(15).withUnsafeBufferPointer {
    ShortMAC.sipHash24($0.baseAddress!, count: 15, key: key) == 0xa129_ca61_49be_45e5
  }
}

/// RFC 8439 §2.8.2, both ways.
private func aeadHolds() -> Bool {
  let plain = constant(
    "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a20496620492063",
    "6f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73",
    "637265656e20776f756c642062652069742e")
  let sealed = constant(
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b",
    "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc",
    "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691")
  let additional = constant("50515253c0c1c2c3c4c5c6c7")
  let key = constant32("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f")
  let n = plain.count
  var text = plain + [UInt8](repeating: 0, count: AEAD.tagSize)
  return text.withUnsafeMutableBufferPointer { text in
    additional.withUnsafeBufferPointer { ad in
      let (p, a) = (text.baseAddress!, ad.baseAddress)
      AEAD.seal(
        p, count: n, additional: a, additionalCount: ad.count, prefix: 7, counter: 0x4746_4544_4342_4140, key: key)
      if !text.elementsEqual(sealed) { return false }
      let opened = AEAD.open(
        p, count: n, additional: a, additionalCount: ad.count, prefix: 7, counter: 0x4746_4544_4342_4140, key: key)
      if !opened || !text.prefix(n).elementsEqual(plain) { return false }
      // What was opened is no longer what the tag belongs to.
      return !AEAD.open(
        p, count: n, additional: a, additionalCount: ad.count, prefix: 7, counter: 0x4746_4544_4342_4140, key: key)
    }
  }
}

/// RFC 8032 §7.1, test 2.
private func signatureHolds() -> Bool {
  let pair = SigningKeyPair(seed: constant32("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
  let signature = pair.sign([0x72])
  let expected = constant(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c",
    "387b2eaeb4302aeeb00d291612bb0c00")
  return pair.publicKey == constant32("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    && signature.array == expected && verifySignature(signature, of: [0x72], by: pair.publicKey)
    && !verifySignature(signature, of: [0x73], by: pair.publicKey)
}

/// RFC 7748 §5.2, the first.
private func agreementHolds() -> Bool {
  let pair = AgreementKeyPair(secret: constant32("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"))
  return pair.agree(with: constant32("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"))
    == constant32("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    && pair.agree(with: Bytes32()) == nil
}

/// Three passes over 64 KiB, salt 000102..0f; the answer is OpenSSL's.
private func passphraseHolds() -> Bool {
  let salt = counting(16).withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
  let passphrase: StaticString = "passphrase"
  let typed = Array(UnsafeBufferPointer(start: passphrase.utf8Start, count: passphrase.utf8CodeUnitCount))
  return PasswordSeal.stretch(typed, salt, passes: 3, memoryKibibytes: 64)
    == constant32("a335787b3b623fd60eb32e4a115530a46ba9039aa16d09980ce20926a7cd47a3")
}

/// The first bytes after the erased key are ChaCha20's from offset 32.
private func entropyHolds() -> Bool {
  var entropy = Entropy(seed: constant32(countingKey))
  return entropy.bytes32() == constant32("2b23cce7a26023ab3f0eef693ac87f64258235eab1f7a32dc22762a0485b410c")
}

/// The cacophony vector, both roles, with a transport message each way.
private func handshakeHolds() -> Bool {
  func pair(_ secret: StaticString) -> AgreementKeyPair { AgreementKeyPair(secret: constant32(secret)) }
  let initiatorStatic = pair("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1")
  let initiatorEphemeral = pair("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")
  let responderStatic = pair("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893")
  let responderEphemeral = pair("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")
  let prologue = constant("4a6f686e2047616c74")
  var initiator = NoiseKKInitiator(
    prologue: prologue, static: initiatorStatic, remoteStatic: responderStatic.publicKey,
    ephemeral: initiatorEphemeral)
  var responder = NoiseKKResponder(
    prologue: prologue, static: responderStatic, remoteStatic: initiatorStatic.publicKey)
  let (firstPayload, secondPayload) = (
    constant("4c756477696720766f6e204d69736573"), constant("4d757272617920526f746862617264")
  )
  do throws(HandshakeError) {
    let first = try initiator.writeFirst(payload: firstPayload)
    let firstExpected = constant(
      "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944f79a1d4b21fc3ea4a0c87213b8b4f059",
      "9d758682c26a3ae5e09195a3e742bc74")
    guard first == firstExpected, try responder.readFirst(first) == firstPayload else { return false }
    let second = try responder.writeSecond(payload: secondPayload, ephemeral: responderEphemeral)
    let secondExpected = constant(
      "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843e20b1bf85731f75d7e21b5d54baaa663",
      "41de4292c3d42571c1bd7e7f1abe38")
    guard second == secondExpected, try initiator.readSecond(second) == secondPayload else { return false }
  } catch {
    return false
  }
  let (ours, theirs) = (initiator.split(), responder.split())
  return ours.initiatorToResponder == theirs.initiatorToResponder
    && ours.responderToInitiator == theirs.responderToInitiator
    && ours.handshakeHash == constant32("76dbc866183c8ee7363dbf0ebab8d6355010245f9817aa78359818a03a052586")
    && theirs.handshakeHash == ours.handshakeHash
    && transport("462e20412e20486179656b", ours.initiatorToResponder)
      == constant("25bfaa58833b07cdd6af7c07f2c51daac681a8ac0a02dd373259bd")
    && transport("4361726c204d656e676572", ours.responderToInitiator)
      == constant("ef586cff556dec8ef0053871ff0d4bf3f2c72e842487ec6d1da69f")
}

/// The first transport message of a direction.
private func transport(_ payload: StaticString, _ key: Bytes32) -> [UInt8] {
  var text = constant(payload)
  let count = text.count
  for _ in 0..<AEAD.tagSize { text.append(0) }
  text.withUnsafeMutableBufferPointer {
    AEAD.seal($0.baseAddress!, count: count, additional: nil, additionalCount: 0, prefix: 0, counter: 0, key: key)
  }
  return text
}
