import Core
import Crypto
import Testing

@testable import Membership

@Suite struct DescriptorTests {
  @Test func `A founding descriptor is signed by all founders, and survives its codec`() throws {
    let (descriptor, _) = try network(3)
    #expect(descriptor.isFounding)
    let again = try NetworkDescriptor(decoding: descriptor.encode())
    #expect(again == descriptor)
    #expect(again.isFounding)
    #expect(again.networkID == descriptor.networkID)
    #expect(again.threshold == 2)

    let unsigned = try NetworkDescriptor(
      founding: descriptor.domain, prefix: descriptor.prefix, authorities: descriptor.authorities)
    #expect(!unsigned.isFounding)
    #expect(unsigned.networkID == descriptor.networkID)
  }

  @Test func `Lookup by index and by ID`() throws {
    let (descriptor, identities) = try network(3)
    #expect(descriptor.authority(at: 2)?.id == identities[2].id)
    #expect(descriptor.authority(at: 3) == nil)
    #expect(descriptor.index(of: identities[1].id) == 1)
    #expect(descriptor.index(of: identity(99).id) == nil)
    #expect(descriptor.freeIndex == 3)
  }

  @Test func `Epoch e+1 counts only when k of epoch e's authorities signed it (mms.md, identity)`() throws {
    let (descriptor, identities) = try network(3)
    let stranger = identity(50)
    var next = try descriptor.successor(authorities: descriptor.authorities, revoked: [stranger.id])
    #expect(next.epoch == 2)
    #expect(next.networkID == descriptor.networkID)
    #expect(!next.isSuccessor(of: descriptor))
    next.sign(as: 0, with: identities[0].signing)
    next.sign(as: 0, with: identities[0].signing)
    #expect(next.signatures.count == 1)
    #expect(!next.isSuccessor(of: descriptor))
    next.sign(as: 1, with: stranger.signing)
    #expect(!next.isSuccessor(of: descriptor))
    next.sign(as: 1, with: identities[1].signing)
    #expect(next.isSuccessor(of: descriptor))
    #expect(try NetworkDescriptor(decoding: next.encode()).isSuccessor(of: descriptor))
    #expect(next.isRevoked(stranger.id))
    #expect(!next.isRevoked(identities[0].id))
    #expect(!descriptor.isSuccessor(of: next))
    #expect(!next.isSuccessor(of: next))
    #expect(!next.isSuccessor(of: try network(2).descriptor))
  }

  @Test func `What names too few signers is refused without a look at a signature`() throws {
    let (descriptor, identities) = try network(3)
    let stranger = identity(50)
    var next = try descriptor.successor(authorities: descriptor.authorities)
    #expect(!next.claimsToFollow(descriptor))
    next.sign(as: 0, with: stranger.signing)
    next.sign(as: 7, with: stranger.signing)
    #expect(!next.claimsToFollow(descriptor))
    next.sign(as: 1, with: identities[1].signing)
    // Two of three, one of them forged.
    #expect(next.claimsToFollow(descriptor))
    #expect(!next.isSuccessor(of: descriptor))
    #expect(!next.claimsToFollow(try network(2).descriptor))
    #expect(!descriptor.claimsToFollow(descriptor))
  }

  @Test func `A new authority's signature does not count for the epoch that names it first`() throws {
    let (descriptor, identities) = try network(2)
    let new = identity(9)
    var next = try descriptor.successor(authorities: descriptor.authorities + [try entry(2, new, name: "new")])
    next.sign(as: 0, with: identities[0].signing)
    next.sign(as: 2, with: new.signing)
    #expect(!next.isSuccessor(of: descriptor))
    next.sign(as: 1, with: identities[1].signing)
    #expect(next.isSuccessor(of: descriptor))
  }

  @Test func `An authority that stays keeps its index, and a freed one can be given again`() throws {
    let (descriptor, identities) = try network(3)
    var gap = try descriptor.successor(authorities: [descriptor.authorities[0], descriptor.authorities[2]])
    for i in 0..<3 { gap.sign(as: UInt8(i), with: identities[i].signing) }
    #expect(gap.isSuccessor(of: descriptor))
    #expect(gap.authority(at: 1) == nil)
    #expect(gap.index(of: identities[2].id) == 2)
    #expect(gap.freeIndex == 1)

    var moved = try descriptor.successor(
      authorities: [descriptor.authorities[0], try entry(1, identities[2], name: "ma2")])
    for i in 0..<3 { moved.sign(as: UInt8(i), with: identities[i].signing) }
    #expect(!moved.isSuccessor(of: descriptor))
  }

  @Test func `Impossible descriptors are refused whoever signed them`() throws {
    let (descriptor, identities) = try network(3)
    let list = descriptor.authorities
    func refused(_ fault: DescriptorFault, _ body: () throws -> NetworkDescriptor) {
      #expect(throws: MembershipError.badDescriptor(fault)) { _ = try body() }
    }
    refused(.authorityCount(0)) { try descriptor.successor(authorities: []) }
    refused(.order) { try descriptor.successor(authorities: [list[1], list[0]]) }
    refused(.order) { try descriptor.successor(authorities: [try entry(16, identities[0], name: "a")]) }
    refused(.threshold(4, authorities: 3)) { try descriptor.successor(authorities: list, threshold: 4) }
    refused(.threshold(0, authorities: 3)) { try descriptor.successor(authorities: list, threshold: 0) }
    refused(.duplicateAuthority) {
      try descriptor.successor(authorities: [list[0], try entry(1, identities[0], name: "x")])
    }
    refused(.duplicateAuthority) {
      try descriptor.successor(authorities: [list[0], try entry(1, identities[1], name: "ma0")])
    }
    refused(.revokedAuthority) { try descriptor.successor(authorities: list, revoked: [identities[0].id]) }
    var ids: [ComponentID] = []
    for i in 0..<257 { ids.append(ComponentID(salt16(UInt16(i)))) }
    ids.sort()
    refused(.tooManyRevoked(257)) { try descriptor.successor(authorities: list, revoked: ids) }
    #expect(try descriptor.successor(authorities: list, revoked: Array(ids[..<256])).revoked.count == 256)
    refused(.order) { try descriptor.successor(authorities: list, revoked: [ids[1], ids[0]]) }
    refused(.order) { try descriptor.successor(authorities: list, revoked: [ids[0], ids[0]]) }
    let outside = AuthorityEntry(
      index: 0, signingKey: list[0].signingKey, agreementKey: list[0].agreementKey, name: list[0].name,
      ipv4: 0x0a15_0001)
    refused(.addressOutsidePrefix) { try descriptor.successor(authorities: [outside]) }
  }

  @Test func `The largest descriptor is as long as the limit says`() throws {
    var entries: [AuthorityEntry] = []
    var identities: [Identity] = []
    for i in 0..<16 {
      identities.append(identity(UInt8(100 + i)))
      let name = String(repeating: "n", count: 61) + (i < 10 ? "0\(i)" : "\(i)")
      entries.append(try entry(UInt8(i), identities[i], name: name))
    }
    let label = String(repeating: "a", count: 62)
    var ids: [ComponentID] = []
    for i in 0..<256 { ids.append(ComponentID(salt16(UInt16(i)))) }
    var descriptor = try NetworkDescriptor(
      epoch: 2, networkID: NetworkID(salt(1)), domain: DomainName("\(label).\(label).\(label)a"),
      prefix: IPv4Prefix("10.20.0.0/16"), authorities: entries, threshold: 9, soloCommands: 0, revoked: ids.sorted())
    for i in 0..<16 { descriptor.sign(as: UInt8(i), with: identities[i].signing) }
    #expect(descriptor.encode().count == NetworkDescriptor.encodedLimit)
    #expect(try NetworkDescriptor(decoding: descriptor.encode()) == descriptor)
  }

  @Test func `Truncated and mutated descriptors never trap and never pass as a successor`() throws {
    let (descriptor, identities) = try network(3)
    var next = try descriptor.successor(authorities: descriptor.authorities, revoked: [identity(50).id])
    next.sign(as: 0, with: identities[0].signing)
    next.sign(as: 2, with: identities[2].signing)
    let good = next.encode()
    for length in 0..<good.count {
      #expect(throws: MembershipError.self) { try NetworkDescriptor(decoding: Array(good[..<length])) }
    }
    #expect(throws: MembershipError.self) { try NetworkDescriptor(decoding: good + [0]) }
    var source = entropy(77)
    var decoded = 0
    for _ in 0..<600 {
      var bytes = good
      for _ in 0...source.below(3) { bytes[Int(source.below(UInt32(bytes.count)))] ^= UInt8(1 + source.below(255)) }
      guard bytes != good, let mutant = try? NetworkDescriptor(decoding: bytes) else { continue }
      decoded += 1
      #expect(!mutant.isSuccessor(of: descriptor))
    }
    #expect(decoded > 100)
  }
}

func salt16(_ number: UInt16) -> Bytes16 {
  var bytes = [UInt8](repeating: 3, count: 16)
  bytes[0] = UInt8(number >> 8)
  bytes[1] = UInt8(number & 255)
  return bytes.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
}
