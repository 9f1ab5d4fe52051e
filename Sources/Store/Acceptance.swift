// An authority's side of enrolment: from the sealed records of a key to members with a name, an address and a
// certificate. Every record gets an outcome of its own; one that is refused does not keep the others out.

import Core
import Crypto
import Membership

public enum AcceptPolicy {
  /// Say what would be taken in, change nothing.
  case list
  case all
  /// Only the box with this ID; under `name` when it is not nil instead of the name it wants.
  case only(ComponentID, as: NodeName?)

  public var isListing: Bool {
    switch self {
    case .list: true
    case .all, .only: false
    }
  }
}

public enum AcceptVerdict {
  /// With `.list`: what it would become.
  case listed(Member)
  case accepted(Member)
  /// It was taken in before and stays what it is; a new secret it used is spent.
  case alreadyMember(Member)
  /// An authority to come: this one has signed the descriptor that names it, and others must.
  case proposed(NetworkDescriptor, have: Int, need: Int)
  /// Not the ID that was asked for.
  case passedOver
  case refused(AcceptRefusal)
}

public struct AcceptOutcome {
  /// Which of the records given, from 0.
  public let position: Int
  /// Nil when it could not be opened.
  public let record: EnrolmentRecord?
  public let verdict: AcceptVerdict

  /// What the box is, or with `.list` would be; nil when it is nothing.
  public var member: Member? {
    switch verdict {
    case .listed(let member), .accepted(let member), .alreadyMember(let member): member
    case .passedOver, .refused, .proposed: nil
    }
  }

  /// Whether the record can never be of use again, so that its file may be removed from the key.
  public var isSpent: Bool {
    switch verdict {
    case .accepted, .alreadyMember, .proposed: true
    case .listed, .passedOver: false
    case .refused(.usedSecret), .refused(.unknownSecret): true
    case .refused: false
    }
  }

  /// Whether the store has to be written before anyone hears of it.
  public var changesStore: Bool {
    switch verdict {
    case .accepted, .alreadyMember, .proposed: true
    case .listed, .passedOver, .refused: false
    }
  }

  /// One line without the end, for a person: what the box is and what came of it.
  public var summary: String {
    var box = ""
    if let record {
      box =
        "\(record.name.description)  ID \(record.id.description)  \(record.role.name)  "
        + "fingerprint \(record.fingerprint)"
    }
    switch verdict {
    case .listed(let member):
      return box + "  would be \(member.name.description) at \(dottedQuad(member.opening.ipv4))"
    case .accepted(let member):
      return box + "  accepted as \(member.name.description) at \(dottedQuad(member.opening.ipv4))"
    case .alreadyMember(let member):
      return box + "  is a member already: \(member.name.description) at \(dottedQuad(member.opening.ipv4))"
    case .proposed(let next, let have, let need):
      return box
        + "  proposed as an authority: proposal \(next.proposalID.description), fingerprint \(next.fingerprint), "
        + "\(have) of \(need) signatures"
    case .passedOver: return box + "  passed over"
    case .refused(let refusal): return (box.utf8.isEmpty ? "" : box + "  ") + "refused: " + refusal.description
    }
  }
}

public enum AcceptRefusal: Error, CustomStringConvertible {
  case record(MembershipError)
  /// Sealed for another authority of this network: its name.
  case otherAuthority(NodeName)
  /// Its secret was never given out by this authority, was withdrawn, or was used long ago.
  case unknownSecret
  case usedSecret(by: ComponentID, name: NodeName?)
  case nameTaken(NodeName, holder: ComponentID, wanted: ComponentID)
  case addressesExhausted(IPv4Prefix)
  case storeFull(neededBytes: Int, haveBytes: Int)
  case authoritiesFull
  /// The descriptor that is to name a new authority.
  case proposal(ProposalRefusal)

  public var description: String {
    switch self {
    case .record(let error): return "record " + error.description
    case .otherAuthority(let name): return "record is for authority \(name.description): accept it there"
    case .unknownSecret:
      return "its enrolment secret was not given out by this authority, or was withdrawn: enroll again with a new key"
    case .usedSecret(let id, let name):
      let who = name.map { $0.description + " " } ?? ""
      return "its enrolment secret was already used by \(who)(ID \(id.description)): enroll again with a new secret"
    case .nameTaken(let name, let holder, let wanted):
      return "the name \(name.description) belongs to ID \(holder.description), and ID \(wanted.description) wants it: "
        + "accept it with --expect \(wanted.description) --name OTHER, or give up the old box with "
        + "lifeline ctl forget \(name.description)"
    case .addressesExhausted(let prefix):
      return "no address is left in \(prefix.description): forget nodes that are gone"
    case .storeFull(let needed, let have):
      return "the authority's store is full (\(needed) bytes needed, \(have) fit): forgetting does not free space, "
        + "another authority can take it in"
    case .authoritiesFull: return "the network has its \(NetworkDescriptor.authorityLimit) authorities"
    case .proposal(let error): return error.description
    }
  }
}

extension StoreContents {
  /// Judges sealed records (whole files, as read from a key) in the order given and takes in those the policy wants.
  /// - Parameter threshold: signatures the network will need once a new authority is in; nil is a majority.
  public mutating func accept(
    records: [[UInt8]], policy: AcceptPolicy, threshold: UInt8? = nil, entropy: inout Entropy
  ) throws(StoreError) -> [AcceptOutcome] {
    if role != .authority { throw .notAnAuthority }
    guard let index = authorityIndex else { throw .noNetwork }
    if case .list = policy {
      var copy = self
      return copy.judge(records, policy: policy, threshold, index: index, entropy: &entropy)
    }
    return judge(records, policy: policy, threshold, index: index, entropy: &entropy)
  }

  private mutating func judge(
    _ files: [[UInt8]], policy: AcceptPolicy, _ threshold: UInt8?, index: UInt8, entropy: inout Entropy
  ) -> [AcceptOutcome] {
    var outcomes: [AcceptOutcome] = []
    for position in files.indices {
      var record: EnrolmentRecord?
      var verdict: AcceptVerdict
      do throws(AcceptRefusal) {
        let opened = try open(files[position], index: index)
        record = opened
        verdict = try take(opened, policy: policy, threshold, index: index, entropy: &entropy)
      } catch { verdict = .refused(error) }
      outcomes.append(AcceptOutcome(position: position, record: record, verdict: verdict))
    }
    return outcomes
  }

  private func open(_ file: [UInt8], index: UInt8) throws(AcceptRefusal) -> EnrolmentRecord {
    let sealed: SealedRecord
    do throws(MembershipError) { sealed = try SealedRecord(decoding: file) } catch { throw .record(error) }
    if sealed.networkID != networkID { throw .record(.otherNetwork(sealed.networkID)) }
    if sealed.issuer != index {
      guard let other = descriptor.authority(at: sealed.issuer) else { throw .record(.unknownIssuer(sealed.issuer)) }
      throw .otherAuthority(other.name)
    }
    do throws(MembershipError) { return try sealed.open(with: identity) } catch { throw .record(error) }
  }

  private mutating func take(
    _ record: EnrolmentRecord, policy: AcceptPolicy, _ threshold: UInt8?, index: UInt8, entropy: inout Entropy
  ) throws(AcceptRefusal) -> AcceptVerdict {
    if descriptor.isRevoked(record.id) { throw .record(.revoked(record.id)) }
    guard let issued = authority.secrets.first(where: { $0.serial == record.secretSerial }) else {
      if let member = authority.member(record.id), member.state == .active { return .alreadyMember(member) }
      throw .unknownSecret
    }
    do throws(MembershipError) {
      try record.verify(with: enrolmentSecret(serial: issued.serial, issuer: index))
    } catch { throw .record(error) }
    if let member = authority.member(record.id), member.state == .active {
      if issued.usedBy == nil { authority.markUsed(issued.serial, by: record.id) }
      return .alreadyMember(member)
    }
    if let proposal = authority.proposal, proposal.index(of: record.id) != nil, issued.usedBy == record.id {
      let have = proposal.validSigners(among: descriptor.authorities).count
      return .proposed(proposal, have: have, need: Int(descriptor.threshold))
    }
    if let user = issued.usedBy { throw .usedSecret(by: user, name: authority.member(user)?.name) }

    var name = record.name
    if case .only(let id, let given) = policy {
      if id != record.id { return .passedOver }
      if let given { name = given }
    }
    if let holder = holder(of: name), holder != record.id {
      throw .nameTaken(name, holder: holder, wanted: record.id)
    }
    var after = self
    let verdict = try after.admit(record, name: name, threshold, index: index, entropy: &entropy)
    do throws(StoreError) { _ = try after.encode() } catch {
      if case .tooLarge(let needed, let have) = error { throw .storeFull(neededBytes: needed, haveBytes: have) }
      invariantFailed("encoding a store fails for lack of room only")
    }
    self = after
    if case .list = policy, case .accepted(let member) = verdict { return .listed(member) }
    return verdict
  }

  private func holder(of name: NodeName) -> ComponentID? {
    if name == self.name { return identity.id }
    for entry in descriptor.authorities where entry.name == name { return entry.id }
    for entry in authority.proposal?.authorities ?? [] where entry.name == name { return entry.id }
    return authority.member(named: name)?.id
  }

  private mutating func admit(
    _ record: EnrolmentRecord, name: NodeName, _ threshold: UInt8?, index: UInt8, entropy: inout Entropy
  ) throws(AcceptRefusal) -> AcceptVerdict {
    guard let address = address(for: name, index: index) else { throw .addressesExhausted(descriptor.prefix) }
    if record.role == .authority {
      return try admitAuthority(record, name: name, address: address, threshold, entropy: &entropy)
    }
    let opening = MembershipOpening(salt: entropy.bytes16(), ipv4: address, name: name)
    let certificate = MembershipCertificate(
      issuing: opening, networkID: networkID, signingKey: record.signingKey, agreementKey: record.agreementKey,
      role: record.role, serial: authority.takeSerial(), epoch: descriptor.epoch, issuer: index,
      with: identity.signing)
    let member = Member(certificate: certificate, opening: opening, state: .active)
    // A forgotten box that comes back is one member, not two.
    authority.members.removeAll { $0.id == record.id }
    authority.members.append(member)
    authority.markUsed(record.secretSerial, by: record.id)
    return .accepted(member)
  }

  /// An authority joins by a successor of the descriptor, which as many authorities as the threshold says must sign.
  private mutating func admitAuthority(
    _ record: EnrolmentRecord, name: NodeName, address: UInt32, _ threshold: UInt8?, entropy: inout Entropy
  ) throws(AcceptRefusal) -> AcceptVerdict {
    guard let free = descriptor.freeIndex else { throw .authoritiesFull }
    var change = DescriptorChange()
    change.threshold = threshold
    change.added = [
      AuthorityEntry(
        index: free, signingKey: record.signingKey, agreementKey: record.agreementKey, name: name, ipv4: address)
    ]
    let progress: ProposalProgress
    do throws(ProposalRefusal) { progress = try propose(change, entropy: &entropy) } catch { throw .proposal(error) }
    authority.markUsed(record.secretSerial, by: record.id)
    switch progress {
    case .waiting(let next, let have, let need): return .proposed(next, have: have, need: need)
    case .adopted:
      guard let member = authority.member(record.id) else { invariantFailed("an authority adopted is certified") }
      return .accepted(member)
    }
  }

  /// The address the name had before it was forgotten, else the lowest free one of this authority's share: a sixteenth of
  /// the prefix for each index. Then those of the shares of indices that no authority has, and never another
  /// authority's: two that cannot hear one another do not give out the same address while a share lasts. A network with
  /// one authority has all of the prefix. Addresses of forgotten names go last. Looks at one candidate more than are in
  /// use; the self-probe's address (the last) is nobody's.
  private func address(for name: NodeName, index: UInt8) -> UInt32? {
    var taken: Set<UInt32> = []
    var waiting: Set<UInt32> = []
    for entry in descriptor.authorities { taken.insert(entry.ipv4) }
    for entry in authority.proposal?.authorities ?? [] { taken.insert(entry.ipv4) }
    if let own = opening?.ipv4 { taken.insert(own) }
    for member in authority.members where member.state != .forgotten { taken.insert(member.opening.ipv4) }
    for member in authority.members.reversed() where member.state == .forgotten {
      if member.name == name, !taken.contains(member.opening.ipv4) { return member.opening.ipv4 }
      waiting.insert(member.opening.ipv4)
    }
    let prefix = descriptor.prefix
    let usable = prefix.hostCount - 1
    let shares = UInt32(NetworkDescriptor.authorityLimit)
    for round in 0..<2 {
      for turn in 0..<shares {
        let share = (UInt32(index) + turn) % shares
        if turn > 0, descriptor.authority(at: UInt8(share)) != nil { continue }
        let first = usable / shares * share
        let end = share == shares - 1 ? usable : usable / shares * (share + 1)
        for number in first..<end {
          let candidate = prefix.host(number + 1)
          if !taken.contains(candidate), round == 1 || !waiting.contains(candidate) { return candidate }
        }
      }
    }
    return nil
  }
}
