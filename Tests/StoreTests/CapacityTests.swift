import Core
import Crypto
import Membership
import Testing

@testable import Store

@Suite struct CapacityTests {
  /// Fabricated: what is measured is room, not signatures.
  private func filler(_ number: Int, of authority: StoreContents, nameLength: Int) throws -> Member {
    let digits = String(number)
    let name = try NodeName(String(repeating: "n", count: nameLength - digits.utf8.count) + digits)
    var key = [UInt8](repeating: 0, count: 32)
    key[0] = UInt8(number & 255)
    key[1] = UInt8(number >> 8)
    let signingKey = key.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
    let opening = MembershipOpening(
      salt: Bytes16(), ipv4: authority.descriptor.prefix.host(UInt32(number + 2)), name: name)
    let certificate = MembershipCertificate(
      networkID: authority.networkID, signingKey: signingKey, agreementKey: signingKey, role: .component, serial: 1,
      epoch: 1, issuer: 0, commitment: opening.commitment, signature: authority.certificate!.signature)
    return Member(certificate: certificate, opening: opening, state: .active)
  }

  @Test func `An authority's copy of 128 KiB holds 600 members with long names and all secrets outstanding`() throws {
    var authority = try founded()
    var source = entropy(3)
    _ = try authority.issueSecrets(AuthorityRecords.secretLimit, entropy: &source)
    for i in 0..<600 { authority.authority.members.append(try filler(i, of: authority, nameLength: 45)) }
    let bytes = try authority.encode()
    #expect(bytes.count <= StoreLayout(.authority).room)
    let again = try StoreContents(decoding: bytes)
    #expect(again.authority.members.count == 600)
    #expect(try again.encode() == bytes)
    #expect(
      again.authority.member(named: try NodeName(String(repeating: "n", count: 42) + "599"))?.opening.ipv4
        == 0x0a14_0259)
  }

  @Test func `A full authority refuses the next box by name and stays as it was`() throws {
    var authority = try founded()
    let (_, record) = try box(10, "late", of: &authority)
    var count = 0
    while (try? authority.encode()) != nil {
      for _ in 0..<8 {
        authority.authority.members.append(try filler(count, of: authority, nameLength: 12))
        count += 1
      }
    }
    while (try? authority.encode()) == nil {
      authority.authority.members.removeLast()
      count -= 1
    }
    #expect(count > 740)
    let before = try authority.encode()
    guard case .storeFull(let needed, let have) = refusal(try authority.acceptOne(record)) else {
      Issue.record("the record was not refused for lack of room")
      return
    }
    #expect(needed > have)
    #expect(try authority.encode() == before)
  }

  /// What SECURITY and PROTOCOL may promise: a component of a network with three authorities.
  @Test func `A component's copy of 2 KiB holds three authorities and 65 revoked IDs, or 16 authorities and none`()
    throws
  {
    var authority = try founded()
    let component = try member(10, "access-switch-01", of: &authority)
    func size(authorities: Int, signatures: Int, revoked: Int) throws -> Int {
      var entries = authority.descriptor.authorities
      for i in 1..<max(authorities, 1) {
        let other = try founded(seed: UInt8(40 + i), name: "authority\(i)").descriptor.authorities[0]
        entries.append(
          AuthorityEntry(
            index: UInt8(i), signingKey: other.signingKey, agreementKey: other.agreementKey, name: other.name,
            ipv4: 0x0a14_0100 + UInt32(i)))
      }
      var ids: [ComponentID] = []
      for i in 0..<revoked { ids.append(try filler(i, of: authority, nameLength: 9).id) }
      var next = try authority.descriptor.successor(authorities: entries, revoked: ids.sorted())
      for i in 0..<signatures { next.sign(as: UInt8(i), with: authority.identity.signing) }
      var copy = component
      copy.descriptor = next
      do throws(StoreError) { return try copy.encode().count } catch {
        guard case .tooLarge(let needed, let have) = error else { throw error }
        #expect(have == 1998)
        return needed
      }
    }
    let room = StoreLayout(.component).room
    #expect(room == 1998)
    #expect(try size(authorities: 3, signatures: 2, revoked: 65) <= room)
    #expect(try size(authorities: 5, signatures: 3, revoked: 51) <= room)
    #expect(try size(authorities: 16, signatures: 0, revoked: 0) <= room)
    // Signatures that have no room are left out.
    #expect(try size(authorities: 16, signatures: 9, revoked: 0) <= room)
    #expect(try size(authorities: 3, signatures: 2, revoked: 256) > room)
  }
}
