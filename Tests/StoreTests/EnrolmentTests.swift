import Core
import Crypto
import Membership
import Testing

@testable import Store

@Suite struct EnrolmentTests {
  @Test func `Accepting gives the lowest free address, a certificate that verifies, and spends the secret`() throws {
    var authority = try founded()
    var (first, record) = try box(10, "sw1", of: &authority)
    #expect(!first.isEnrolled)
    let accepted = try authority.takeIn(record)
    let taken = try #require(accepted)
    #expect(dottedQuad(taken.opening.ipv4) == "10.20.0.2")
    #expect(taken.name.description == "sw1")
    try taken.certificate.verify(with: authority.descriptor)
    #expect(taken.opening.matches(taken.certificate))
    #expect(authority.authority.unusedSecretCount == 0)
    #expect(authority.authority.secrets[0].usedBy == first.identity.id)
    try first.install(taken.certificate, taken.opening)
    #expect(first.isEnrolled)
    #expect(first.ipv4 == taken.opening.ipv4)
    #expect(first.pendingSecret == nil)
    let second = try member(11, "sw2", of: &authority)
    #expect(dottedQuad(second.ipv4!) == "10.20.0.3")
    #expect(authority.authority.members.map { $0.certificate.serial } == [2, 3])

    let again = try StoreContents(decoding: try authority.encode())
    #expect(try again.encode() == authority.encode())
    try again.authority.members[1].certificate.verify(with: again.descriptor)
    #expect(try StoreContents(decoding: try second.encode()).certificate?.encode() == second.certificate?.encode())
  }

  @Test func `Listing says what would become of each and changes nothing`() throws {
    var authority = try founded()
    let (_, a) = try box(10, "a", of: &authority)
    let (_, b) = try box(11, "b", of: &authority)
    let before = try authority.encode()
    var source = entropy(1)
    let outcomes = try authority.accept(records: [a, b, [1, 2, 3]], policy: .list, entropy: &source)
    #expect(try authority.encode() == before)
    #expect(outcomes.map { $0.changesStore } == [false, false, false])
    guard case .listed(let second) = outcomes[1].verdict else {
      Issue.record("not listed")
      return
    }
    #expect(dottedQuad(second.opening.ipv4) == "10.20.0.3")
    guard case .record(.damagedFile) = refusal(outcomes[2].verdict) else {
      Issue.record("damage not named")
      return
    }
    #expect(outcomes[0].summary.contains("would be a at 10.20.0.2"))
  }

  @Test func `Only the expected ID is taken in, under another name if one is given`() throws {
    var authority = try founded()
    let (first, a) = try box(10, "sw", of: &authority)
    let (_, b) = try box(11, "other", of: &authority)
    var source = entropy(1)
    let policy = AcceptPolicy.only(first.identity.id, as: try NodeName("core-1"))
    let outcomes = try authority.accept(records: [b, a], policy: policy, entropy: &source)
    guard case .passedOver = outcomes[0].verdict, case .accepted(let member) = outcomes[1].verdict else {
      Issue.record("wrong verdicts")
      return
    }
    #expect(member.name.description == "core-1")
    #expect(authority.authority.members.count == 1)
  }

  @Test func `The same record twice is one member, a second box with the same secret is refused by name`() throws {
    var authority = try founded()
    var source = entropy(50)
    let secret = try authority.issueSecrets(1, entropy: &source)[0]
    let (first, a) = try box(10, "sw1", in: authority.descriptor, with: secret)
    let (_, b) = try box(11, "sw2", in: authority.descriptor, with: secret)
    let taken = try authority.takeIn(a)
    #expect(taken?.id == first.identity.id)
    let before = try authority.encode()
    guard case .alreadyMember(let member) = try authority.acceptOne(a) else {
      Issue.record("not a member already")
      return
    }
    #expect(member.id == first.identity.id)
    guard case .usedSecret(let user, let name) = refusal(try authority.acceptOne(b)) else {
      Issue.record("second use not refused")
      return
    }
    #expect(user == first.identity.id)
    #expect(name?.description == "sw1")
    #expect(try authority.encode() == before)
  }

  @Test func `Guessed, withdrawn and foreign secrets, and records for others, are refused`() throws {
    var authority = try founded()
    var source = entropy(50)
    let issued = try authority.issueSecrets(2, entropy: &source)
    let guess = EnrolmentSecret(
      networkID: authority.networkID, issuer: 0, serial: issued[0].serial, secret: Bytes32())
    guard
      case .record(.badSignature) = refusal(
        try authority.acceptOne(try box(10, "a", in: authority.descriptor, with: guess).record))
    else {
      Issue.record("guessed secret accepted")
      return
    }
    #expect(authority.authority.unusedSecretCount == 2)
    authority.withdrawSecrets([issued[0]])
    #expect(authority.authority.unusedSecretCount == 1)
    let withdrawn = authority.withdrawSecrets()
    #expect(withdrawn == 1)
    guard
      case .unknownSecret = refusal(
        try authority.acceptOne(try box(10, "a", in: authority.descriptor, with: issued[1]).record))
    else {
      Issue.record("withdrawn secret accepted")
      return
    }
    var other = try founded(seed: 2, name: "ma9")
    let (_, foreign) = try box(10, "a", of: &other)
    guard case .record(.otherNetwork(other.networkID)) = refusal(try authority.acceptOne(foreign)) else {
      Issue.record("foreign record accepted")
      return
    }
    #expect(authority.authority.members.isEmpty)
  }

  @Test func `A name in use is refused with both IDs; the authority's own name too`() throws {
    var authority = try founded()
    let holder = try member(10, "sw1", of: &authority)
    let (wanting, record) = try box(11, "SW1", of: &authority)
    guard case .nameTaken(let name, let first, let second) = refusal(try authority.acceptOne(record)) else {
      Issue.record("name given twice")
      return
    }
    #expect(name.description == "sw1")
    #expect(first == holder.identity.id)
    #expect(second == wanting.identity.id)
    let (_, own) = try box(12, "ma1", of: &authority)
    guard case .nameTaken(_, authority.identity.id, _) = refusal(try authority.acceptOne(own)) else {
      Issue.record("the authority's own name given away")
      return
    }
    let named = try authority.takeIn(record, .only(wanting.identity.id, as: NodeName("sw2")))
    #expect(named?.name.description == "sw2")
  }

  @Test func `A new box under a forgotten name gets its address, and the old ID stays known as forgotten`() throws {
    var authority = try founded()
    let old = try member(10, "sw1", of: &authority)
    _ = try member(11, "sw2", of: &authority)
    #expect(throws: StoreError.noSuchMember(try NodeName("sw9"))) { try authority.forget(NodeName("sw9")) }
    #expect(throws: StoreError.memberIsAuthority(try NodeName("ma1"))) { try authority.forget(NodeName("ma1")) }
    let gone = try authority.forget(NodeName("sw1"))
    #expect(gone.id == old.identity.id)
    #expect(authority.authority.member(old.identity.id)?.state == .forgotten)
    #expect(authority.authority.member(named: try NodeName("sw1")) == nil)
    #expect(throws: StoreError.self) { try authority.forget(NodeName("sw1")) }
    // The address waits for the name: another box does not get it.
    let third = try member(12, "sw3", of: &authority)
    #expect(dottedQuad(third.ipv4!) == "10.20.0.4")
    let new = try member(13, "sw1", of: &authority)
    #expect(new.ipv4 == old.ipv4)
    #expect(new.identity.id != old.identity.id)
    #expect(authority.authority.member(old.identity.id)?.state == .forgotten)
    #expect(try StoreContents(decoding: try authority.encode()).authority.members.count == 4)
  }

  @Test func `A /24 runs out with a clear refusal, after the addresses of forgotten names`() throws {
    var authority = try founded(prefix: "10.9.8.0/24")
    let template = try member(10, "sw-a", of: &authority)
    for host in 3...254 as ClosedRange<UInt32> {
      let opening = MembershipOpening(salt: Bytes16(), ipv4: 0x0a09_0800 + host, name: try NodeName("n\(host)"))
      authority.authority.members.append(
        Member(certificate: template.certificate!, opening: opening, state: host == 77 ? .forgotten : .active))
    }
    let late = try member(11, "late", of: &authority)
    #expect(dottedQuad(late.ipv4!) == "10.9.8.77")
    let (_, record) = try box(12, "later", of: &authority)
    guard case .addressesExhausted = refusal(try authority.acceptOne(record)) else {
      Issue.record("no refusal")
      return
    }
  }

  @Test func `Secrets outstanding have a limit, and only an authority gives them out`() throws {
    var authority = try founded()
    var component = try member(10, "sw1", of: &authority)
    var source = entropy(4)
    _ = try authority.issueSecrets(200, entropy: &source)
    #expect(throws: StoreError.secretLimit(outstanding: 200, limit: 256)) {
      try authority.issueSecrets(57, entropy: &source)
    }
    #expect(throws: StoreError.notAnAuthority) { try component.issueSecrets(1, entropy: &source) }
    #expect(throws: StoreError.notAnAuthority) {
      try component.accept(records: [], policy: .all, entropy: &source)
    }
    for seed in 0..<70 as Range<UInt8> {
      authority.authority.markUsed(authority.authority.secrets[0].serial, by: component.identity.id)
      _ = seed
    }
    #expect(authority.authority.secrets.count - authority.authority.unusedSecretCount == 64)
    #expect(authority.authority.unusedSecretCount == 130)
  }

  @Test func `A component installs only its own, valid, newer certificate`() throws {
    var authority = try founded()
    var (contents, record) = try box(10, "sw1", of: &authority)
    let accepted = try authority.takeIn(record)
    let mine = try #require(accepted)
    let other = try member(11, "sw2", of: &authority)
    #expect(throws: StoreError.notOurs) { try contents.install(other.certificate!, other.opening!) }
    #expect(throws: StoreError.membership(.badOpening)) { try contents.install(mine.certificate, other.opening!) }
    let stranger = try founded(seed: 3)
    let forged = MembershipCertificate(
      issuing: mine.opening, networkID: contents.networkID, signingKey: mine.certificate.signingKey,
      agreementKey: mine.certificate.agreementKey, role: .component, serial: 9, epoch: 1, issuer: 0,
      with: stranger.identity.signing)
    #expect(throws: StoreError.membership(.badSignature)) { try contents.install(forged, mine.opening) }
    try contents.install(mine.certificate, mine.opening)
    let renamed = MembershipOpening(salt: Bytes16(), ipv4: mine.opening.ipv4, name: try NodeName("edge"))
    func certificate(serial: UInt32) -> MembershipCertificate {
      MembershipCertificate(
        issuing: renamed, networkID: contents.networkID, signingKey: mine.certificate.signingKey,
        agreementKey: mine.certificate.agreementKey, role: .component, serial: serial, epoch: 1, issuer: 0,
        with: authority.identity.signing)
    }
    #expect(throws: StoreError.olderCertificate(1, have: 2)) { try contents.install(certificate(serial: 1), renamed) }
    try contents.install(certificate(serial: 8), renamed)
    #expect(contents.name.description == "edge")
  }

  @Test func `One authority takes in a second by a signed successor; a third needs both`() throws {
    var first = try founded()
    let component = try member(10, "sw1", of: &first)
    let founding = first.descriptor
    var (second, record) = try box(11, "ma2", role: .authority, of: &first)
    let (_, third) = try box(12, "ma3", role: .authority, of: &first)
    let accepted = try first.takeIn(record)
    let member = try #require(accepted)
    #expect(first.descriptor.epoch == 2)
    #expect(first.descriptor.threshold == 2)
    #expect(first.descriptor.isSuccessor(of: founding))
    #expect(first.authority.earlierDescriptors == [founding])
    #expect(first.descriptor.index(of: second.identity.id) == 1)
    guard case .proposed(let proposal, have: 1, need: 2) = try first.acceptOne(third) else {
      Issue.record("a third authority was taken in by one signature, or refused")
      return
    }
    #expect(first.descriptor.epoch == 2 && proposal.epoch == 3)
    // The new one: first the descriptor, then the certificate that only it makes valid.
    #expect(throws: StoreError.membership(.notAnAuthority)) {
      try second.install(member.certificate, member.opening)
    }
    #expect(second.authorityIndex == nil)
    try second.adopt(first.descriptor)
    try second.install(member.certificate, member.opening)
    #expect(second.authorityIndex == 1)
    // Its share of the prefix begins at one sixteenth.
    let (_, late) = try box(13, "sw9", of: &second)
    let joined = try second.takeIn(late)
    #expect(dottedQuad(try #require(joined).opening.ipv4) == "10.20.16.0")
    // A record for the second is not the first's.
    let (_, elsewhere) = try box(14, "sw8", of: &second)
    guard case .otherAuthority(let name) = refusal(try first.acceptOne(elsewhere)) else {
      Issue.record("a record for another authority was not told apart")
      return
    }
    #expect(name.description == "ma2")
    // A component goes on to epoch 2 and never back.
    var old = component
    try old.adopt(first.descriptor)
    #expect(old.descriptor.epoch == 2)
    #expect(throws: StoreError.notASuccessor) { try old.adopt(founding) }
    #expect(throws: StoreError.notASuccessor) { try old.adopt(first.descriptor) }
    #expect(try StoreContents(decoding: try first.encode()).authority.earlierDescriptors == [founding])
  }

  @Test func `A component keeps to its issuer as long as that one is an authority`() throws {
    var first = try founded()
    var (second, record) = try box(11, "ma2", role: .authority, of: &first)
    #expect(try first.takeIn(record) != nil)
    let entry = try #require(first.descriptor.authority(at: 1))
    let admission = try #require(first.admission(for: entry))
    try second.complete(with: admission)
    var component = try member(10, "sw1", of: &first)
    let certificate = try #require(component.certificate)
    let opening = MembershipOpening(salt: Bytes16(), ipv4: 0x0a14_1005, name: try NodeName("stolen"))
    let other = MembershipCertificate(
      issuing: opening, networkID: component.networkID, signingKey: certificate.signingKey,
      agreementKey: certificate.agreementKey, role: .component, serial: 99, epoch: 2, issuer: 1,
      with: second.identity.signing)
    #expect(throws: StoreError.otherIssuer(1, have: 0)) { try component.install(other, opening) }
    // Once the first has left, the second's counts.
    var source = entropy(5)
    let order = try first.removal(of: NodeName("ma1"), revoke: false, threshold: nil)
    guard case .waiting(let proposal, _, _) = try first.propose(order, entropy: &source),
      case .adopted(let next) = try second.sign(proposal, entropy: &source)
    else {
      Issue.record("not removed")
      return
    }
    try component.adopt(next)
    try component.install(other, opening)
    #expect(component.name.description == "stolen")
  }

  @Test func `A box that asks again may change name and secret, until it is a member`() throws {
    var authority = try founded()
    var source = entropy(50)
    let secrets = try authority.issueSecrets(2, entropy: &source)
    var (contents, _) = try box(10, "a", in: authority.descriptor, with: secrets[0])
    let id = contents.identity.id
    try contents.askAgain(as: NodeName("b"), with: secrets[1], in: authority.descriptor)
    #expect(contents.identity.id == id)
    let record = try #require(contents.enrolmentRecord)
    #expect(record.name.description == "b")
    #expect(record.secretSerial == secrets[1].serial)
    var done = try member(12, "c", of: &authority)
    #expect(throws: StoreError.alreadyEnrolled) {
      try done.askAgain(as: NodeName("d"), with: secrets[0], in: authority.descriptor)
    }
  }
}
