// Going from one descriptor to the next: who signs, what is written down first, what a key carries.

import Core
import Crypto
import Membership
import Testing

@testable import Store

/// A network with this many authorities, all of which know one another.
func council(_ count: Int, threshold: UInt8? = nil) throws -> [StoreContents] {
  var stores = [try founded()]
  for i in 1..<count {
    var (box, record) = try box(UInt8(60 + i), "ma\(i + 1)", role: .authority, of: &stores[0])
    var source = entropy(UInt8(90 + i))
    let verdict = try stores[0].accept(records: [record], policy: .all, threshold: threshold, entropy: &source)[0]
      .verdict
    var finisher = 0
    if case .proposed(var proposal, _, _) = verdict {
      for j in 1..<stores.count where stores[0].descriptor.epoch == stores[j].descriptor.epoch {
        switch try stores[j].sign(proposal, entropy: &source) {
        case .waiting(let gathered, _, _): proposal = gathered
        case .adopted: finisher = j
        }
        if finisher != 0 { break }
      }
    }
    let next = stores[finisher].descriptor
    for j in stores.indices where stores[j].descriptor.epoch < next.epoch { try stores[j].adopt(next) }
    let index = try #require(next.index(of: box.identity.id))
    let own = try #require(next.authority(at: index))
    let admission = try #require(stores[finisher].admission(for: own))
    try box.complete(with: admission)
    stores.append(box)
  }
  return stores
}

@Suite struct ProposalTests {
  @Test func `a descriptor needs k signatures, and each authority signs one successor of an epoch`() throws {
    var stores = try council(3)
    #expect(stores.map { $0.authorityIndex } == [0, 1, 2])
    #expect(stores[2].descriptor.threshold == 2 && stores[2].descriptor.epoch == 3)
    var source = entropy(5)
    let order = try stores[0].removal(of: NodeName("ma3"), revoke: false, threshold: nil)
    guard case .waiting(let proposal, have: 1, need: 2) = try stores[0].propose(order, entropy: &source) else {
      Issue.record("one signature was enough")
      return
    }
    // What it has signed is in the store that is written before anybody sees it.
    let again = try StoreContents(decoding: try stores[0].encode())
    #expect(again.authority.proposal == proposal)
    let other = try stores[0].removal(of: NodeName("ma2"), revoke: true, threshold: nil)
    #expect(throws: ProposalRefusal.self) { try stores[0].propose(other, entropy: &source) }
    // The same one twice is no second signature.
    guard case .waiting(_, have: 1, need: 2) = try stores[0].sign(proposal, entropy: &source) else {
      Issue.record("an authority counted twice")
      return
    }
    guard case .adopted(let next) = try stores[1].sign(proposal, entropy: &source) else {
      Issue.record("two signatures were not enough")
      return
    }
    #expect(next.epoch == 4 && next.authorities.count == 2)
    #expect(next.isSuccessor(of: proposal.epoch == 4 ? stores[0].descriptor : next))
    #expect(stores[1].authority.proposal == nil)
    #expect(stores[1].authority.member(stores[2].identity.id)?.state == .forgotten)
    guard case .adopted = stores[0].gather(next, entropy: &source) else {
      Issue.record("the second signature did not finish it at the first")
      return
    }
    #expect(stores[0].descriptor == stores[1].descriptor)
    // The one that left: it signs nothing any more.
    try stores[2].adopt(next)
    #expect(stores[2].authorityIndex == nil)
    #expect(throws: ProposalRefusal.notAnAuthority) { try stores[2].sign(proposal, entropy: &source) }
  }

  @Test func `a proposal of another epoch, network or nobody is refused, and the store stays as it was`() throws {
    var stores = try council(3)
    var source = entropy(6)
    let order = try stores[0].removal(of: NodeName("ma3"), revoke: true, threshold: nil)
    let unsigned = try stores[0].descriptor.successor(with: order)
    let before = try stores[1].encode()
    #expect(throws: ProposalRefusal.unsigned) { try stores[1].sign(unsigned, entropy: &source) }
    var forged = unsigned
    forged.sign(as: 0, with: stores[2].identity.signing)
    #expect(throws: ProposalRefusal.unsigned) { try stores[1].sign(forged, entropy: &source) }
    #expect(throws: ProposalRefusal.oldEpoch(3, have: 3)) {
      try stores[1].sign(stores[1].descriptor, entropy: &source)
    }
    var late = try council(2)
    let foreign = try founded(seed: 9).descriptor
    #expect(throws: ProposalRefusal.otherNetwork(foreign.networkID)) { try stores[1].sign(foreign, entropy: &source) }
    var signed = unsigned
    signed.sign(as: 0, with: stores[0].identity.signing)
    #expect(throws: ProposalRefusal.laterEpoch(4, have: 2)) { try late[0].sign(signed, entropy: &source) }
    #expect(try stores[1].encode() == before)
    // Whoever is nobody's is refused by name; the last authority stays.
    #expect(throws: ProposalRefusal.noSuchNode(try NodeName("ma9"))) {
      try stores[0].removal(of: NodeName("ma9"), revoke: true, threshold: nil)
    }
    let alone = try founded()
    #expect(throws: ProposalRefusal.lastAuthority) {
      try alone.removal(of: NodeName("ma1"), revoke: false, threshold: nil)
    }
  }

  @Test func `a descriptor that would not fit the components' stores is not made`() throws {
    var authority = try founded()
    let victim = try member(10, "sw1", of: &authority)
    var change = DescriptorChange()
    change.revoked = (0..<90).map { number in
      var bytes = Bytes16()
      bytes.withMutableBytes { $0[0] = UInt8(number) }
      return ComponentID(bytes)
    }
    var source = entropy(7)
    guard
      case .descriptor(.badDescriptor(.tooLarge)) = refused({ () throws(ProposalRefusal) in
        _ = try authority.propose(change, entropy: &source)
      })
    else {
      Issue.record("not refused for its size")
      return
    }
    change.revoked = [victim.identity.id]
    guard case .adopted(let next) = try authority.propose(change, entropy: &source) else {
      Issue.record("one authority alone did not revoke")
      return
    }
    #expect(next.isRevoked(victim.identity.id) && next.threshold == 1)
    #expect(authority.authority.member(victim.identity.id)?.state == .revoked)
  }

  private func refused(_ body: () throws(ProposalRefusal) -> Void) -> ProposalRefusal? {
    do throws(ProposalRefusal) { try body() } catch { return error }
    return nil
  }

  @Test func `an admission brings a new authority the chain, its certificate and every member`() throws {
    var stores = try council(2)
    _ = try member(10, "sw1", of: &stores[0])
    let gone = try member(11, "sw2", of: &stores[0])
    try stores[0].forget(NodeName("sw2"))
    var (third, record) = try box(12, "ma3", role: .authority, of: &stores[0])
    var source = entropy(8)
    guard case .proposed(let proposal, _, _) = try stores[0].acceptOne(record),
      case .adopted(let next) = try stores[1].sign(proposal, entropy: &source)
    else {
      Issue.record("not adopted")
      return
    }
    // The record is used up; a second look says what became of it.
    guard case .proposed = try stores[0].acceptOne(record) else {
      Issue.record("the second accept of a proposed authority says something else")
      return
    }
    try stores[0].adopt(next)
    // The second knows the box from the descriptor, and the members that it took in itself: none.
    let entry = try #require(next.authority(at: 2))
    let fromSecond = try #require(stores[1].admission(for: entry))
    var early = third
    try early.complete(with: fromSecond)
    #expect(early.authorityIndex == 2 && early.isEnrolled)
    stores[0].certifyAuthorities(entropy: &source)
    let fromFirst = try #require(stores[0].admission(for: entry))
    try third.complete(with: fromFirst)
    #expect(third.authority.earlierDescriptors.map { $0.epoch } == [1, 2])
    #expect(third.authority.member(named: try NodeName("sw1"))?.state == .active)
    #expect(third.authority.member(gone.identity.id)?.state == .forgotten)
    #expect(third.authority.member(named: try NodeName("ma1")) != nil)
    #expect(try StoreContents(decoding: try third.encode()).authority.members.count == 4)
    // Not another's, and not a damaged one.
    var wrong = stores[1]
    #expect(throws: StoreError.self) { try wrong.complete(with: fromSecond) }
    var cut = early
    #expect(throws: StoreError.self) { try cut.complete(with: Array(fromSecond.dropLast(3))) }
  }
}

@Suite struct MemberListTests {
  private func record(_ contents: StoreContents, isForgotten: Bool = false) throws -> MemberRecord {
    MemberRecord(
      certificate: try #require(contents.certificate), opening: try #require(contents.opening), isForgotten: isForgotten
    )
  }

  @Test func `what one authority takes in, another keeps; in a network of two it forgets what the other forgets`()
    throws
  {
    var stores = try council(2)
    let box = try member(10, "sw1", of: &stores[0])
    guard case .added(let known) = stores[1].merge([try record(box)], from: 0)[0] else {
      Issue.record("not added")
      return
    }
    #expect(known.name.description == "sw1" && known.opening.ipv4 == box.ipv4)
    guard case .unchanged = stores[1].merge([try record(box)], from: 0)[0] else {
      Issue.record("the same again changes something")
      return
    }
    guard case .forgotten = stores[1].merge([try record(box, isForgotten: true)], from: 0)[0] else {
      Issue.record("not forgotten")
      return
    }
    let again = try StoreContents(decoding: try stores[1].encode())
    #expect(again.authority.member(box.identity.id)?.forgottenBy == 1)
    #expect(again.authority.member(box.identity.id)?.state == .forgotten)
    // Its certificate alone does not bring it back.
    _ = stores[1].merge([try record(box)], from: 1)
    #expect(stores[1].authority.member(box.identity.id)?.state == .forgotten)
  }

  @Test func `with three authorities one alone makes the others forget nobody`() throws {
    var stores = try council(3)
    let box = try member(10, "sw1", of: &stores[0])
    _ = stores[1].merge([try record(box)], from: 0)
    guard case .givenUpElsewhere = stores[1].merge([try record(box, isForgotten: true)], from: 0)[0] else {
      Issue.record("one word was enough, or counted for nothing")
      return
    }
    #expect(stores[1].authority.member(box.identity.id)?.state == .active)
    // The same word again is one word.
    _ = stores[1].merge([try record(box, isForgotten: true)], from: 0)
    #expect(stores[1].authority.member(box.identity.id)?.state == .active)
    guard case .forgotten = stores[1].merge([try record(box, isForgotten: true)], from: 2)[0] else {
      Issue.record("two of three were not enough")
      return
    }
  }

  @Test func `an authority gone bad cannot give a member other keys, another name or another issuer`() throws {
    var stores = try council(3)
    let box = try member(10, "sw1", of: &stores[0])
    _ = stores[1].merge([try record(box)], from: 0)
    let certificate = try #require(box.certificate)
    func forge(agreement: Bytes32, name: String) throws -> MemberRecord {
      let opening = MembershipOpening(salt: Bytes16(), ipv4: 0x0a14_2005, name: try NodeName(name))
      return MemberRecord(
        certificate: MembershipCertificate(
          issuing: opening, networkID: stores[2].networkID, signingKey: certificate.signingKey,
          agreementKey: agreement, role: .component, serial: 99, epoch: 3, issuer: 2,
          with: stores[2].identity.signing), opening: opening, isForgotten: false)
    }
    guard
      case .refused(.otherKeys) = stores[1].merge(
        [try forge(agreement: stores[2].identity.agreement.publicKey, name: "sw1")], from: 2)[0],
      case .refused(.otherIssuer) = stores[1].merge(
        [try forge(agreement: certificate.agreementKey, name: "other")], from: 2)[0]
    else {
      Issue.record("a forged certificate counted")
      return
    }
    #expect(stores[1].authority.member(box.identity.id)?.name.description == "sw1")
    // Nor does it vouch for another network's, or with another's signature.
    let stranger = try founded(seed: 77)
    var foreign = try record(box)
    foreign.certificate = try #require(stranger.certificate)
    guard case .refused = stores[1].merge([foreign], from: 2)[0] else {
      Issue.record("another network's certificate counted")
      return
    }
  }

  @Test func `two boxes with one name or address are both kept, and named`() throws {
    var stores = try council(2)
    let first = try member(10, "sw1", of: &stores[0])
    let second = try member(11, "sw1", of: &stores[1])
    #expect(first.ipv4 != second.ipv4)
    guard case .added(let merged) = stores[0].merge([try record(second)], from: 1)[0] else {
      Issue.record("not added")
      return
    }
    let conflicts = stores[0].conflicts(of: merged)
    #expect(conflicts.count == 1)
    #expect(conflicts[0].first == first.identity.id && conflicts[0].second == second.identity.id)
    #expect(conflicts[0].description.contains("the name sw1 belongs to two nodes"))
    // Whoever asks by name gets the same one everywhere; the other goes by its ID.
    _ = stores[1].merge([try record(first)], from: 0)
    for store in stores { #expect(store.authority.member(named: try NodeName("sw1"))?.id == first.identity.id) }
    try stores[0].forget(second.identity.id)
    let left = try #require(stores[0].authority.member(first.identity.id))
    #expect(stores[0].conflicts(of: left).isEmpty)
  }

  @Test func `addresses come from an authority's own share, and never from another's`() throws {
    var stores = try council(3)
    var seen: Set<UInt32> = []
    for i in stores.indices {
      for j in 0..<5 {
        let box = try member(UInt8(100 + i * 10 + j), "sw\(i)-\(j)", of: &stores[i])
        let ipv4 = try #require(box.ipv4)
        #expect(seen.insert(ipv4).inserted)
        #expect((Int(ipv4 & 0xffff) - 1) / 4_095 == i, "\(dottedQuad(ipv4))")
      }
    }
  }

  @Test func `a certificate's serial rises across authorities, and a member whose issuer has left is certified anew`()
    throws
  {
    var stores = try council(2)
    let box = try member(10, "sw1", of: &stores[1])
    _ = stores[0].merge([try record(box)], from: 1)
    let serial = try #require(box.certificate?.serial)
    #expect(stores[0].authority.nextSerial > serial)
    var source = entropy(9)
    let order = try stores[0].removal(of: NodeName("ma2"), revoke: false, threshold: nil)
    guard case .waiting(let proposal, _, _) = try stores[0].propose(order, entropy: &source),
      case .adopted(let next) = try stores[1].sign(proposal, entropy: &source)
    else {
      Issue.record("not removed")
      return
    }
    _ = stores[0].gather(next, entropy: &source)
    let orphan = try #require(stores[0].authority.member(box.identity.id))
    #expect(stores[0].issuerHasLeft(orphan.certificate))
    let again = stores[0].reissue(box.identity.id)
    let fresh = try #require(again)
    #expect(fresh.opening == orphan.opening && fresh.certificate.serial > serial)
    try fresh.certificate.verify(with: next)
    var contents = box
    try contents.adopt(next)
    try contents.install(fresh.certificate, fresh.opening)
  }
}
