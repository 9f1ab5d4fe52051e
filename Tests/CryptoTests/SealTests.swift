// Sealed boxes and passphrase-sealed files: golden bytes of the format, and what must not open.

import Core
import Crypto
import Testing

@Suite struct SealedBoxTests {
  let recipient = AgreementKeyPair(secret: hex32(String(repeating: "42", count: 32)))

  @Test func `a box is the golden bytes, 48 longer than its contents, and opens`() throws {
    var entropy = Entropy(seed: countingKey)
    let box = try #require(SealedBox.seal(Array("hello".utf8), to: recipient.publicKey, entropy: &entropy))
    #expect(
      box
        == hex(
          "d9be0256d3b3892b77ca211284ba2db27d5d5bf8cf11b7e3ca9824e4f812955befd7fa007b3b80a651c0470d961d4d0a36ba2166fc"))
    #expect(box.count == 5 + SealedBox.overhead)
    #expect(SealedBox.open(box, with: recipient) == Array("hello".utf8))
    let empty = try #require(SealedBox.seal([], to: recipient.publicKey, entropy: &entropy))
    #expect(SealedBox.open(empty, with: recipient) == [])
  }

  @Test func `two boxes with the same contents share no ephemeral key`() throws {
    var entropy = Entropy(seed: countingKey)
    let a = try #require(SealedBox.seal([1], to: recipient.publicKey, entropy: &entropy))
    let b = try #require(SealedBox.seal([1], to: recipient.publicKey, entropy: &entropy))
    #expect(a.prefix(32) != b.prefix(32))
  }

  @Test func `turned bits, shorter boxes and other keys do not open`() throws {
    var entropy = Entropy(seed: countingKey)
    let box = try #require(SealedBox.seal([1, 2, 3], to: recipient.publicKey, entropy: &entropy))
    for bit in 0..<box.count * 8 { #expect(SealedBox.open(box.flipping(bit: bit), with: recipient) == nil) }
    for count in 0..<box.count { #expect(SealedBox.open(Array(box.prefix(count)), with: recipient) == nil) }
    #expect(SealedBox.open(box, with: AgreementKeyPair(secret: countingKey)) == nil)
  }

  @Test(arguments: lowOrderPoints) func `nothing is sealed to or opened from a point of low order`(point: String) throws
  {
    var entropy = Entropy(seed: countingKey)
    #expect(SealedBox.seal([1], to: hex32(point), entropy: &entropy) == nil)
    let box = try #require(SealedBox.seal([1], to: recipient.publicKey, entropy: &entropy))
    #expect(SealedBox.open(hex(point) + box.dropFirst(32), with: recipient) == nil)
  }
}

@Suite struct PasswordSealTests {
  let passphrase = Array("passphrase".utf8)
  /// Entropy(seed: 000102..1f), "hello", "passphrase"; made with OpenSSL.
  let golden = hex(
    "6c666c2d7365616c012b23cce7a26023ab3f0eef693ac87f64000000030000c00074022db579bf6a003161cb2b03e7e4ff015ccabe43")

  func opened(_ result: PasswordSeal.Opened) -> [UInt8]? {
    if case .opened(let bytes) = result { return bytes }
    return nil
  }

  func isDamaged(_ result: PasswordSeal.Opened) -> Bool {
    if case .wrongPassphraseOrDamaged = result { return true }
    return false
  }

  func isForeign(_ result: PasswordSeal.Opened) -> Bool {
    if case .notThisFormat = result { return true }
    return false
  }

  @Test func `a file is the golden bytes and opens with its passphrase only`() throws {
    var entropy = Entropy(seed: countingKey)
    #expect(PasswordSeal.seal(Array("hello".utf8), passphrase: passphrase, entropy: &entropy) == golden)
    #expect(golden.count == 5 + PasswordSeal.overhead)
    #expect(opened(PasswordSeal.open(golden, passphrase: passphrase)) == Array("hello".utf8))
    #expect(isDamaged(PasswordSeal.open(golden, passphrase: Array("passphrasf".utf8))))
  }

  @Test func `an empty passphrase neither seals nor opens`() {
    var entropy = Entropy(seed: countingKey)
    #expect(PasswordSeal.seal([1], passphrase: [], entropy: &entropy) == nil)
    #expect(isDamaged(PasswordSeal.open(golden, passphrase: [])))
  }

  @Test func `a bit turned in salt, passes, contents or tag is noticed`() {
    for byte in [9, 24, 28, 33, 37, 38, golden.count - 1] {
      #expect(isDamaged(PasswordSeal.open(golden.flipping(bit: byte * 8), passphrase: passphrase)))
    }
  }

  @Test func `what is not this format says so, and a file cut short is damaged`() {
    #expect(isForeign(PasswordSeal.open([], passphrase: passphrase)))
    #expect(isForeign(PasswordSeal.open(Array("lfl-seal".utf8), passphrase: passphrase)))
    #expect(isForeign(PasswordSeal.open(golden.flipping(bit: 3), passphrase: passphrase)))
    #expect(isForeign(PasswordSeal.open(golden.flipping(bit: 8 * 8 + 1), passphrase: passphrase)))
    for count in 9..<PasswordSeal.overhead {
      #expect(isDamaged(PasswordSeal.open(Array(golden.prefix(count)), passphrase: passphrase)))
    }
  }

  @Test func `a header that asks for more than 16 passes or 64 MiB, or for nothing, is refused unspent`() {
    for (offset, word) in [(25, 17), (25, 0), (25, 0xffff_ffff), (29, 65_537), (29, 7), (29, 0xffff_ffff)] {
      var changed = golden
      for i in 0..<4 { changed[offset + i] = UInt8(word >> (24 - 8 * i) & 255) }
      #expect(isDamaged(PasswordSeal.open(changed, passphrase: passphrase)))
    }
  }
}

@Suite struct SelfTestTests {
  @Test func `the self-test of the shipped binary holds here too`() {
    let failed = cryptoSelfTest()
    #expect(failed == nil, "\(failed?.description ?? "")")
  }
}
