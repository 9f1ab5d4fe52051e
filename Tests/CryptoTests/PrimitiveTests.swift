// Known answers of the primitives, from the documents that define them, and what must be refused.

import Core
import Crypto
import Testing

@Suite struct HashTests {
  @Test func `BLAKE2b-256 of abc and of nothing are the known ones (RFC 7693)`() {
    #expect(
      blake2b256(Array("abc".utf8)) == hex32("bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"))
    #expect(blake2b256([]) == hex32("0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"))
    #expect(
      blake2b256(counting(64), key: countingKey)
        == hex32("7f46f043d63dfb3c9b1102c8824b632cae1fce453e3c0e9dc9e7113f3c1acc36"))
  }

  @Test func `a derived key is the keyed hash of label and context`() {
    #expect(
      deriveKey(countingKey, "link key", context: [1, 2, 3])
        == blake2b256(Array("link key".utf8) + [1, 2, 3], key: countingKey))
    #expect(deriveKey(countingKey, "a") != deriveKey(countingKey, "b"))
    #expect(deriveKey(countingKey, "a") == blake2b256(Array("a".utf8), key: countingKey))
  }
}

@Suite struct StreamCipherTests {
  /// Key, nonce as its eight bytes, keystream (draft-agl-tls-chacha20poly1305-04 §7).
  static let vectors = [
    (
      "0000000000000000000000000000000000000000000000000000000000000000", "0000000000000000",
      "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a37"
        + "6a43b8f41518a11cc387b669"
    ),
    (
      "0000000000000000000000000000000000000000000000000000000000000000", "0000000000000001",
      "de9cba7bf3d69ef5e786dc63973f653a0b49e015adbff7134fcb7df137821031e85a050278a7084527214f73efc7fa5b"
        + "5277062eb7a0433e445f41e3"
    ),
    (
      "0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000",
      "ef3fdfd6c61578fbf5cf35bd3dd33b8009631634d21e42ac33960bd138e50d32111e4caf237ee53ca8ad6426194a8854"
        + "5ddc497a0b466e7d6bbdb004"
    ),
    (
      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "0001020304050607",
      "f798a189f195e66982105ffb640bb7757f579da31602fc93ec01ac56f85ac3c134a4547b733b46413042c9440049176905d3be59ea1c53f1"
        + "5916155c2be8241a38008b9a26bc35941e2444177c8ade6689de95264986d95889fb60e84629c9bd9a5acb1cc118be563eb9b3a4a472"
        + "f82e09a7e778492b562ef7130e88dfe031c79db9d4f7c7a899151b9a475032b63fc385245fe054e3dd5a97a5f576fe064025d3ce042c"
    ),
  ]

  @Test(arguments: vectors) func `ChaCha20's keystream is the published one`(
    key: String, nonce: String, stream: String
  ) {
    let expected = hex(stream)
    let number = hex(nonce).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    var out = [UInt8](repeating: 0xaa, count: expected.count)
    out.withUnsafeMutableBufferPointer {
      StreamCipher.keystream($0.baseAddress!, count: $0.count, key: hex32(key), nonce: number)
    }
    #expect(out == expected)
    var text = counting(expected.count)
    text.withUnsafeMutableBufferPointer {
      StreamCipher.xor($0.baseAddress!, count: $0.count, key: hex32(key), nonce: number)
    }
    #expect(text == zip(counting(expected.count), expected).map { $0 ^ $1 })
  }
}

@Suite struct ShortMACTests {
  /// Tags of the empty string, 00, 0001, ... under key 000102..0f, as bytes (the authors' reference vectors).
  static let reference = """
    310e0edd47db6f72 fd67dc93c539f874 5a4fa9d909806c0d 2d7efbd796666785
    b7877127e09427cf 8da699cd64557618 cee3fe586e46c9cb 37d1018bf50002ab
    6224939a79f5f593 b0e4a90bdf82009e f3b9dd94c5bb5d7a a7ad6b22462fb3f4
    fbe50e86bc8f1e75 903d84c02756ea14 eef27a8e90ca23f7 e545be4961ca29a1
    db9bc2577fcc2a3f 9447be2cf5e99a69 9cd38d96f0b3c14b bd6179a71dc96dbb
    98eea21af25cd6be c7673b2eb0cbf2d0 883ea3e395675393 c8ce5ccd8c030ca8
    94af49f6c650adb8 eab8858ade92e1bc f315bb5bb835d817 adcf6b0763612e2f
    a5c91da7acaa4dde 716595876650a2a6 28ef495c53a387ad 42c341d8fa92d832
    ce7cf2722f512771 e37859f94623f3a7 381205bb1ab0e012 ae97a10fd434e015
    b4a31508beff4d31 81396229f0907902 4d0cf49ee5d4dcca 5c73336a76d8bf9a
    d0a704536ba93e0e 925958fcd6420cad a915c29bc8067318 952b79f3bc0aa6d4
    f21df2e41d4535f9 87577519048f53a9 10a56cf5dfcd9adb eb75095ccd986cd0
    51a9cb9ecba312e6 96afadfc2ce666c7 72fe52975a4364ee 5a1645b276d592a1
    b274cb8ebf87870a 6f9bb4203de7b381 eaecb2a30b22a87f 9924a43cc1315724
    bd838d3aafbf8db7 0b1a2a3265d51aea 135079a3231ce660 932b2846e4d70666
    e1915f5cb1eca46c f325965ca16d629f 575ff28e60381be5 724506eb4c328a95
    """

  @Test func `SipHash-2-4 gives the reference tags for 0 to 63 bytes`() {
    let key = counting(16).withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
    let tags = Self.reference.split(whereSeparator: \.isWhitespace)
    #expect(tags.count == 64)
    for (count, tag) in tags.enumerated() {
      let expected = hex(String(tag)).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      #expect(
        counting(64).withUnsafeBufferPointer { ShortMAC.sipHash24($0.baseAddress!, count: count, key: key) } == expected
      )
    }
  }
}

@Suite struct AEADTests {
  let key = hex32("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f")
  let additional = hex("50515253c0c1c2c3c4c5c6c7")
  let plain = Array(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
      .utf8)
  let sealed = hex(
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b29"
      + "05d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586ce"
      + "c64b61161ae10b594f09e26a7e902ecbd0600691")

  func open(_ box: [UInt8], additional: [UInt8], prefix: UInt32 = 7, counter: UInt64 = 0x4746_4544_4342_4140)
    -> [UInt8]?
  {
    var text = box
    let opened = text.withUnsafeMutableBufferPointer { p in
      additional.withUnsafeBufferPointer {
        AEAD.open(
          p.baseAddress!, count: p.count - AEAD.tagSize, additional: $0.baseAddress, additionalCount: $0.count,
          prefix: prefix, counter: counter, key: key)
      }
    }
    return opened ? Array(text.dropLast(AEAD.tagSize)) : nil
  }

  @Test func `the sealed text and tag are those of RFC 8439 §2.8.2`() {
    var text = plain + [UInt8](repeating: 0, count: AEAD.tagSize)
    text.withUnsafeMutableBufferPointer { p in
      additional.withUnsafeBufferPointer {
        AEAD.seal(
          p.baseAddress!, count: plain.count, additional: $0.baseAddress, additionalCount: $0.count, prefix: 7,
          counter: 0x4746_4544_4342_4140, key: key)
      }
    }
    #expect(text == sealed)
    #expect(open(sealed, additional: additional) == plain)
  }

  @Test func `every turned bit of text, tag and additional bytes is refused`() {
    for bit in 0..<sealed.count * 8 { #expect(open(sealed.flipping(bit: bit), additional: additional) == nil) }
    for bit in 0..<additional.count * 8 { #expect(open(sealed, additional: additional.flipping(bit: bit)) == nil) }
    #expect(open(sealed, additional: []) == nil)
  }

  @Test func `another prefix or counter is refused`() {
    #expect(open(sealed, additional: additional, prefix: 8) == nil)
    #expect(open(sealed, additional: additional, counter: 0x4746_4544_4342_4141) == nil)
    #expect(open(sealed, additional: additional, counter: 0x4646_4544_4342_4140) == nil)
  }
}

@Suite struct SignatureTests {
  /// Seed, public key, message, signature (RFC 8032 §7.1: tests 1, 2, 3 and SHA(abc)).
  static let vectors = [
    (
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        + "655141438e7a100b"
    ),
    (
      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        + "b00d291612bb0c00"
    ),
    (
      "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        + "c027beceea1ec40a"
    ),
    (
      "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
      "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e"
        + "2a9ac94fa54ca49f",
      "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
        + "d9bef1177331a704"
    ),
  ]

  @Test(arguments: vectors) func `Ed25519 keys and signatures are those of RFC 8032 §7.1`(
    seed: String, publicKey: String, message: String, signature: String
  ) {
    let pair = SigningKeyPair(seed: hex32(seed))
    #expect(pair.publicKey == hex32(publicKey))
    let made = pair.sign(hex(message))
    #expect(made.array == hex(signature))
    #expect(verifySignature(made, of: hex(message), by: pair.publicKey))
    #expect(!verifySignature(made, of: hex(message) + [0], by: pair.publicKey))
  }

  @Test func `every turned bit of signature and key is refused`() {
    let pair = SigningKeyPair(seed: countingKey)
    let array = pair.sign([1, 2, 3]).array
    for bit in 0..<512 {
      let changed = array.flipping(bit: bit).withUnsafeBufferPointer { Signature(loadingFrom: $0.baseAddress!) }
      #expect(!verifySignature(changed, of: [1, 2, 3], by: pair.publicKey))
    }
    let signature = pair.sign([1, 2, 3])
    for bit in 0..<256 {
      let key = pair.publicKey.array.flipping(bit: bit).withUnsafeBufferPointer {
        Bytes32(loadingFrom: $0.baseAddress!)
      }
      #expect(!verifySignature(signature, of: [1, 2, 3], by: key))
    }
  }

  @Test func `the all-zero key, of small order, verifies nothing`() {
    #expect(!verifySignature(Signature(Bytes32(), Bytes32())!, of: [], by: Bytes32()))
  }

  @Test func `S at or above the group order is no signature (RFC 8032 §5.1.7)`() {
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"
    #expect(Signature(Bytes32(), hex32(order)) == nil)
    #expect(Signature(Bytes32(), hex32("ec" + order.dropFirst(2))) != nil)
    #expect(Signature(Bytes32(), hex32("ee" + order.dropFirst(2))) == nil)
    #expect(Signature(Bytes32(), hex32("ffffffffffffffffffffffffffffff1300000000000000000000000000000010")) != nil)
    #expect(Signature(Bytes32(), hex32("0000000000000000000000000000000001000000000000000000000000000010")) == nil)
    #expect(Signature(Bytes32(), hex32(String(repeating: "ff", count: 32))) == nil)
    // The same signature with S + L, which a careless verifier takes as well.
    let pair = SigningKeyPair(seed: countingKey)
    let array = pair.sign([7]).array
    var (grown, carry) = (array, 0)
    for (i, byte) in hex(order).enumerated() {
      let sum = Int(array[32 + i]) + Int(byte) + carry
      grown[32 + i] = UInt8(sum & 255)
      carry = sum >> 8
    }
    let malleated = grown.withUnsafeBufferPointer { Signature(loadingFrom: $0.baseAddress!) }
    #expect(!verifySignature(malleated, of: [7], by: pair.publicKey))
  }
}

@Suite struct AgreementTests {
  @Test(arguments: [
    (
      "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
      "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
      "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    ),
    (
      "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
      "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
      "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"
    ),
  ]) func `X25519 gives the points of RFC 7748 §5.2`(scalar: String, point: String, product: String) {
    #expect(AgreementKeyPair(secret: hex32(scalar)).agree(with: hex32(point)) == hex32(product))
  }

  @Test func `a thousand iterations end where RFC 7748 §5.2 says`() throws {
    var (k, u) = (Bytes32(), Bytes32())
    k.withMutableBytes { $0[0] = 9 }
    u = k
    for _ in 0..<1000 { (k, u) = (try #require(AgreementKeyPair(secret: k).agree(with: u)), k) }
    #expect(k == hex32("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"))
  }

  @Test func `Alice and Bob of RFC 7748 §6.1 agree`() {
    let alice = AgreementKeyPair(secret: hex32("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    let bob = AgreementKeyPair(secret: hex32("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    #expect(alice.publicKey == hex32("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"))
    #expect(bob.publicKey == hex32("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"))
    let shared = hex32("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    #expect(alice.agree(with: bob.publicKey) == shared)
    #expect(bob.agree(with: alice.publicKey) == shared)
  }

  @Test(arguments: lowOrderPoints) func `points of low order agree with nobody (RFC 7748 §6.1)`(point: String) {
    #expect(AgreementKeyPair(secret: countingKey).agree(with: hex32(point)) == nil)
  }
}

/// The points of order 1, 2, 4 and 8 of the curve and its twist, and their forms at or above p.
let lowOrderPoints = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "0000000000000000000000000000000000000000000000000000000000000080",
]
