import Core
import Crypto
import Testing

@testable import Membership

@Suite struct CertificateTests {
  @Test func `A certificate has one size, survives its codec and verifies`() throws {
    let (descriptor, identities) = try network(2)
    let short = try certify(identity(20), name: "a", by: 0, identities[0], in: descriptor)
    let long = try certify(
      identity(21), name: String(repeating: "b", count: 63), by: 1, identities[1], in: descriptor)
    for each in [short, long] {
      let bytes = each.certificate.encode()
      #expect(bytes.count == MembershipCertificate.encodedSize)
      let again = try MembershipCertificate(decoding: bytes)
      #expect(again.encode() == bytes)
      try again.verify(with: descriptor)
      #expect(each.opening.matches(again))
      #expect(try MembershipOpening(decoding: each.opening.encode()) == each.opening)
    }
    #expect(!short.opening.matches(long.certificate))
  }

  @Test func `It shows neither name nor address`() throws {
    let (descriptor, identities) = try network(1)
    let (certificate, opening) = try certify(identity(20), name: "switch-7", by: 0, identities[0], in: descriptor)
    let bytes = certificate.encode()
    for secret in [opening.name.bytes, [0x0a, 0x14, 0x01, 0x02]] {
      let found = bytes.indices.contains { bytes[$0...].starts(with: secret) }
      #expect(!found)
    }
    // Without the salt a guess cannot be checked.
    let guess = MembershipOpening(salt: salt(1), ipv4: opening.ipv4, name: opening.name)
    #expect(!guess.matches(certificate))
  }

  @Test func `Every reason to refuse one has its name`() throws {
    let (descriptor, identities) = try network(2)
    let (certificate, _) = try certify(identity(20), name: "a", by: 0, identities[0], in: descriptor)
    let other = try NetworkDescriptor(
      founding: DomainName("other"), prefix: descriptor.prefix, authorities: descriptor.authorities)
    #expect(throws: MembershipError.otherNetwork(descriptor.networkID)) { try certificate.verify(with: other) }

    let revoking = try descriptor.successor(authorities: descriptor.authorities, revoked: [certificate.id])
    #expect(throws: MembershipError.revoked(certificate.id)) { try certificate.verify(with: revoking) }

    let without = try descriptor.successor(authorities: [descriptor.authorities[1]])
    #expect(throws: MembershipError.unknownIssuer(0)) { try certificate.verify(with: without) }

    let forged = try certify(identity(20), name: "a", by: 0, identities[1], in: descriptor).certificate
    #expect(throws: MembershipError.badSignature) { try forged.verify(with: descriptor) }

    let usurper = try certify(identity(20), name: "a", role: .authority, by: 0, identities[0], in: descriptor)
    #expect(throws: MembershipError.notAnAuthority) { try usurper.certificate.verify(with: descriptor) }
    let genuine = try certify(identities[1], name: "ma1", role: .authority, by: 0, identities[0], in: descriptor)
    try genuine.certificate.verify(with: descriptor)
    let wrongKey = MembershipCertificate(
      issuing: genuine.opening, networkID: descriptor.networkID, signingKey: identities[1].signing.publicKey,
      agreementKey: identity(30).agreement.publicKey, role: .authority, serial: 1, epoch: 1, issuer: 0,
      with: identities[0].signing)
    #expect(throws: MembershipError.notAnAuthority) { try wrongKey.verify(with: descriptor) }

    var bytes = certificate.encode()
    bytes[20] ^= 1
    #expect(throws: MembershipError.badID) { try MembershipCertificate(decoding: bytes) }
  }

  @Test func `No bit of a certificate can be changed, no byte cut off`() throws {
    let (descriptor, identities) = try network(1)
    let good = try certify(identity(20), name: "a", by: 0, identities[0], in: descriptor).certificate.encode()
    for length in 0..<good.count {
      #expect(throws: MembershipError.self) { try MembershipCertificate(decoding: Array(good[..<length])) }
    }
    for bit in 0..<(good.count * 8) {
      var bytes = good
      bytes[bit / 8] ^= 1 << (bit % 8)
      #expect(throws: MembershipError.self, "bit \(bit)") {
        try MembershipCertificate(decoding: bytes).verify(with: descriptor)
      }
    }
  }
}
