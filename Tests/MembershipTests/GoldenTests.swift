// The bytes of every format of this module, fixed in Tests/Vectors/membership.txt: a change of format is seen here.

import Core
import Crypto
import Testing

@testable import Membership

@Suite struct GoldenTests {
  @Test func `Formats are those of Tests slash Vectors slash membership dot txt`() throws {
    let (descriptor, identities) = try network(2)
    var successor = try descriptor.successor(
      authorities: descriptor.authorities, soloCommands: 5, revoked: [identity(50).id])
    for i in 0..<2 { successor.sign(as: UInt8(i), with: identities[i].signing) }
    let (certificate, opening) = try certify(identity(20), name: "sw1", by: 1, identities[1], in: descriptor)
    let secret = EnrolmentSecret(
      networkID: descriptor.networkID, issuer: 1, serial: salt(4), derivedFrom: identities[1].signing.seed)
    let record = EnrolmentRecord(of: identity(20), name: try NodeName("sw1"), role: .component, using: secret)
    var source = entropy(5)
    let sealed = try #require(SealedRecord(record, for: descriptor.authorities[1], entropy: &source))
    let made: [(String, [UInt8])] = [
      ("component-id", identity(20).id.bytes.withBytes { copy($0, 16) }),
      ("network-id", descriptor.networkID.bytes.withBytes { copy($0, 16) }),
      ("descriptor-founding", descriptor.encode()),
      ("descriptor-successor", successor.encode()),
      ("certificate", certificate.encode()),
      ("opening", opening.encode()),
      ("enrolment-secret", secret.encode()),
      ("enrolment-record", record.encode()),
      ("sealed-record-file", sealed.encode()),
      ("network-file", KeyFile.wrap(.network, descriptor.encode())),
    ]
    let golden = try vectors("membership.txt")
    for (name, bytes) in made {
      #expect(golden[name] == bytes, "\(name) = \(hexadecimal(bytes))")
    }
    #expect(golden.count == made.count)

    // And what is fixed there is read back.
    let read = try NetworkDescriptor(decoding: try #require(golden["descriptor-successor"]))
    #expect(read.isSuccessor(of: try NetworkDescriptor(decoding: try #require(golden["descriptor-founding"]))))
    try MembershipCertificate(decoding: try #require(golden["certificate"])).verify(with: read)
    let opened = try SealedRecord(decoding: try #require(golden["sealed-record-file"])).open(with: identities[1])
    try opened.verify(with: try EnrolmentSecret(decoding: try #require(golden["enrolment-secret"])))
    #expect(identity(20).fingerprint.utf8.count == 24)
  }
}
