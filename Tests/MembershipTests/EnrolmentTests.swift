import Core
import Crypto
import Testing

@testable import Membership

@Suite struct EnrolmentTests {
  let secret: EnrolmentSecret
  let descriptor: NetworkDescriptor
  let authority: Identity

  init() throws {
    let (descriptor, identities) = try network(1)
    self.descriptor = descriptor
    authority = identities[0]
    secret = EnrolmentSecret(
      networkID: descriptor.networkID, issuer: 0, serial: salt(4), derivedFrom: identities[0].signing.seed)
  }

  @Test func `A record sealed to the authority opens there, and its secret authenticates it`() throws {
    let record = EnrolmentRecord(of: identity(20), name: try NodeName("sw1"), role: .component, using: secret)
    var source = entropy(5)
    let file = try #require(SealedRecord(record, for: descriptor.authorities[0], entropy: &source)).encode()
    #expect(file.count <= SealedRecord.sizeLimit)
    let opened = try SealedRecord(decoding: file).open(with: authority)
    #expect(opened.encode() == record.encode())
    try opened.verify(with: secret)
    #expect(opened.fingerprint == identity(20).fingerprint)
    #expect(throws: MembershipError.notSealedForUs) { try SealedRecord(decoding: file).open(with: identity(3)) }
  }

  @Test func `The longest record keeps within its limit`() throws {
    let name = try NodeName(String(repeating: "x", count: 63))
    var source = entropy(5)
    let record = EnrolmentRecord(of: identity(20), name: name, role: .component, using: secret)
    let file = try #require(SealedRecord(record, for: descriptor.authorities[0], entropy: &source)).encode()
    #expect(file.count <= SealedRecord.sizeLimit)
  }

  @Test func `Another secret, another box's key or another network does not verify`() throws {
    let record = EnrolmentRecord(of: identity(20), name: try NodeName("sw1"), role: .component, using: secret)
    let guess = EnrolmentSecret(
      networkID: secret.networkID, issuer: 0, serial: secret.serial, secret: Bytes32())
    #expect(throws: MembershipError.badSignature) { try record.verify(with: guess) }
    let elsewhere = EnrolmentSecret(
      networkID: NetworkID(salt(8)), issuer: 0, serial: secret.serial, secret: secret.secret)
    #expect(throws: MembershipError.otherNetwork(record.networkID)) { try record.verify(with: elsewhere) }
    let good = record.encode()
    for at in good.indices {
      var bytes = good
      bytes[at] ^= 0x20
      #expect(throws: MembershipError.self, "byte \(at)") { try EnrolmentRecord(decoding: bytes).verify(with: secret) }
    }
  }

  @Test func `A file of a key that is torn anywhere or has any bit changed is refused`() throws {
    let file = KeyFile.wrap(.secret, secret.encode())
    #expect(try KeyFile.unwrap(.secret, file) == secret.encode())
    #expect(throws: MembershipError.damagedFile) { try KeyFile.unwrap(.record, file) }
    for length in 0..<file.count {
      #expect(throws: MembershipError.damagedFile) { try KeyFile.unwrap(.secret, Array(file[..<length])) }
      // Torn on a medium that filled the rest with zeros.
      let padded = Array(file[..<length]) + [UInt8](repeating: 0, count: file.count - length)
      if padded != file { #expect(throws: MembershipError.damagedFile) { try KeyFile.unwrap(.secret, padded) } }
    }
    for bit in 0..<(file.count * 8) {
      var bytes = file
      bytes[bit / 8] ^= 1 << (bit % 8)
      #expect(throws: MembershipError.damagedFile) { try KeyFile.unwrap(.secret, bytes) }
    }
    #expect(throws: MembershipError.damagedFile) {
      try KeyFile.unwrap(.secret, [UInt8](repeating: 0, count: KeyFile.sizeLimit + 1))
    }
  }

  @Test func `Random bytes are no record, secret, opening or bundle that traps`() {
    var source = entropy(33)
    for _ in 0..<2000 {
      var bytes: [UInt8] = []
      for _ in 0..<source.below(320) { bytes.append(source.u8()) }
      if !bytes.isEmpty { bytes[0] = 1 }
      #expect((try? EnrolmentRecord(decoding: bytes))?.encode() ?? bytes == bytes)
      #expect((try? EnrolmentSecret(decoding: bytes))?.encode() ?? bytes == bytes)
      #expect((try? MembershipOpening(decoding: bytes))?.encode() ?? bytes == bytes)
      #expect((try? RecordBundle.decode(bytes)).map { RecordBundle.encode($0) } ?? bytes == bytes)
      #expect(throws: MembershipError.self) { try SealedRecord(decoding: bytes) }
    }
  }

  @Test func `A bundle keeps its records in order and within limits`() throws {
    let records: [[UInt8]] = [[1, 2, 3], [], [UInt8](repeating: 7, count: 512)]
    #expect(try RecordBundle.decode(RecordBundle.encode(records)) == records)
    #expect(throws: MembershipError.self) { try RecordBundle.decode([2, 1]) }
    #expect(throws: MembershipError.self) { try RecordBundle.decode([UInt8](repeating: 0, count: 2 * 1025)) }
  }
}
