// Sessions and membership, checked in the binary as it is shipped: golden vectors of Tests/Vectors, made apart from this
// code.

import Core
import Crypto
import Membership
import Session

/// The bytes that hexadecimal constants stand for, joined.
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

private func constant16(_ text: StaticString) -> Bytes16 {
  let array = constant(text)
  invariant(array.count == 16, "a constant of 16 bytes")
  return array.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
}

/// session.txt: the handshake from its seeds, and the first control frame down, sealed and opened.
func sessionSelfTest() -> StaticString? {
  let authority = AgreementKeyPair(
    secret: constant32("417f151d36d1502d88370707fa913c8307933d8fe6fee4a22b3e402d8a661d14"))
  let component = AgreementKeyPair(
    secret: constant32("7b0e314da127669db507259d4bec7edc1ea4f1f033a13f9c645346116ef661c4"))
  var authorityEntropy = Entropy(
    seed: constant32("5a58ea9257dba73f567630e11dca3b231c84a7ecf10b1509ac660b47f0486d9f"))
  var componentEntropy = Entropy(
    seed: constant32("e9a6482e83ea4baa6f0fd73cb2f2d3986b9acac9ac818d748cc91970af727170"))
  let network = constant16("8a14e64c349685a8da04a1e6ed4666c1")
  let nonce = constant16("607e603d1ec274779cbd66003c54ad78")
  let authorityID = ComponentID(constant16("0053edc89d192a415c94a626db791bc9"))
  let componentID = ComponentID(constant16("f5112de0786664603bc90971f50297f1"))
  do throws(SessionHandshakeError) {
    var challenge = try SessionChallenge(
      network: network, authority: authorityID, authorityKey: authority, component: componentID,
      componentKey: component.publicKey, nonce: nonce, epoch: 2, spi: 0xcafef00d, entropy: &authorityEntropy)
    let goldenChallenge = constant(
      "607e603d1ec274779cbd66003c54ad78447e988108a4feb74d9d042f70cb7a37ba3da40c31d12f8b0740211f67eb1f29",
      "73eb64aadcdc3ea933674181a82578e445ec85ddce26251b")
    if challenge.body != goldenChallenge { return "the golden challenge" }
    let answer = try SessionAnswer(
      challenge: challenge.body.span, network: network, authority: authorityID, authorityKey: authority.publicKey,
      component: componentID, componentKey: component, nonce: nonce, entropy: &componentEntropy)
    let goldenResponse = constant(
      "607e603d1ec274779cbd66003c54ad781de1942f888e35946ba56e3be8d554dbab8d664ba3727c008f752d915da42d13",
      "47cb6171f2e7d9d53c36556f04bdc1849f73b1d1")
    if answer.body != goldenResponse { return "the golden response" }
    let down = SecureSession(keys: try challenge.complete(response: answer.body.span))
    return sealed(down, SecureSession(keys: answer.keys))
  } catch {
    return "the handshake"
  }
}

private func sealed(_ down: SecureSession, _ up: SecureSession) -> StaticString? {
  let plain = constant(
    "0100000000fe8421236b2e547e5e1991aa2233e0aa352c3bf16dc40702aa1a374d43f0bbd4")
  let golden = constant(
    "8000000001ecfa08bb401b58dec8d18f7858a57b2808ba92eec43e95c3465c6023cb7ca5c3856188c19bac39cfd97339",
    "312f0dc32ac562a2864f")
  var frame = [UInt8](repeating: 0, count: SessionLayout.header) + plain
  for _ in 0..<SessionLayout.tag { frame.append(0) }
  return frame.withUnsafeMutableBufferPointer { (p) -> StaticString? in
    let start = p.baseAddress!
    let count = down.seal(start, count: plain.count, space: .control)
    if !p.prefix(count).elementsEqual(golden) { return "the golden frame" }
    guard case .opened(space: .control, sequence: 1, count: plain.count) = up.open(start, count: count),
      p[SessionLayout.header..<(SessionLayout.header + plain.count)].elementsEqual(plain)
    else { return "opening the golden frame" }
    return nil
  }
}

/// membership.txt: the certificate, its opening, and the founding descriptor, which holds the issuer's key.
func certificateSelfTest() -> StaticString? {
  let golden = constant(
    "0177726958a91064e6239242349acabe1b6f59589c8ed04346d6d14baa999361c79625ac455ce491659366111f988640",
    "22e7ffe0cb836935ebd88fd723d2f66d0a478f3667d17c2dd4ff5cc5d76148c9ee6fe33864f293fe13f2f81676947f78",
    "050100000007000000010129c9ef16098e8a28a4a7b34fd821e7d45f201657a9e5d7593ea8e80f1622686b8be6e77968",
    "33803a6bed6b990ba636c9e28f7242ce72d7e177aff2866ba7ae2b9bee00bf1ce5004fccbd431f90be0dfbeb0637171c",
    "f6bc24656bdd15a0979403")
  do throws(MembershipError) {
    let descriptor = try NetworkDescriptor(
      decoding: constant(
        "0100000001000000000000000000000000000000000b6c61622e6578616d706c650a140000100000000002020049cf75",
        "48e60a3c0603b620724b2c2353fcc6560e81269131dca856b05cb5ac770d81c46fab93e70fe6be04701133914db88e14",
        "7e521e988c2e3d13404d82a11d0a140001036d613001caef07e906a2ecb02dc0392fa09ab8afb98267e44fbd6962319f",
        "8134edfebca58e8b1879f2cc93683eb3a21709741c6b915ac0a2ad855ee4cfb31ff8f18e38330a140002036d61310000",
        "0200ba8e4ac013227b05f849d72f1ce772dfe6997554135588f390ef9974f2483d93be652929b69ca2d8829e02adbc06",
        "64ecd51f13511b03d449d6dae8b42687dd0b01ff8e02ad9e4f955a4b3ab90aa1b74d8a915fa8c9f819d359802e13f684",
        "48e658c3c5069267f2575b00d535e61493aa65a920f9bb4c2c9a76d117119443e1140b"))
    let certificate = try MembershipCertificate(decoding: golden)
    let opening = try MembershipOpening(decoding: constant("090909090909090909090909090909090a14010203737731"))
    try certificate.verify(with: descriptor)
    if certificate.encode() != golden || !opening.matches(certificate) { return "the golden certificate" }
    var changed = golden
    changed[golden.count - 70] ^= 1
    do throws(MembershipError) {
      try MembershipCertificate(decoding: changed).verify(with: descriptor)
    } catch {
      return nil
    }
    return "refusing a changed certificate"
  } catch {
    return "verifying the golden certificate"
  }
}
