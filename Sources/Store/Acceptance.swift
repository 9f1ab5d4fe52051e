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
}

public enum AcceptVerdict {
  /// With `.list`: what it would become.
  case listed(Member)
  case accepted(Member)
  /// It was taken in before and stays what it is; a new secret it used is spent.
  case alreadyMember(Member)
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
    case .passedOver, .refused: nil
    }
  }

  /// Whether the record can never be of use again, so that its file may be removed from the key.
  public var isSpent: Bool {
    switch verdict {
    case .accepted, .alreadyMember: true
    case .listed, .passedOver: false
    case .refused(.usedSecret), .refused(.unknownSecret): true
    case .refused: false
    }
  }

  /// Whether the store has to be written before anyone hears of it.
  public var changesStore: Bool {
    switch verdict {
    case .accepted, .alreadyMember: true
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
  /// A record for an authority where more than one signature is needed for a new descriptor.
  case needsSignatures(Int)
  case authoritiesFull
  case descriptor(MembershipError)

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
    case .needsSignatures(let k):
      return "a new authority needs \(k) authorities' signatures, and gathering them is not supported by this version"
    case .authoritiesFull: return "the network has its \(NetworkDescriptor.authorityLimit) authorities"
    case .descriptor(let error): return "the new network descriptor " + error.description
    }
  }
}

extension StoreContents {
  /// Judges sealed records (whole files, as read from a key) in the order given and takes in those the policy wants.
  public mutating func accept(
    records: [[UInt8]], policy: AcceptPolicy, entropy: inout Entropy
  ) throws(StoreError) -> [AcceptOutcome] {
    if role != .authority { throw .notAnAuthority }
    guard let index = authorityIndex else { throw .noNetwork }
    if case .list = policy {
      var copy = self
      return copy.judge(records, policy: policy, index: index, entropy: &entropy)
    }
    return judge(records, policy: policy, index: index, entropy: &entropy)
  }

  private mutating func judge(
    _ files: [[UInt8]], policy: AcceptPolicy, index: UInt8, entropy: inout Entropy
  ) -> [AcceptOutcome] {
    var outcomes: [AcceptOutcome] = []
    for position in files.indices {
      var record: EnrolmentRecord?
      var verdict: AcceptVerdict
      do throws(AcceptRefusal) {
        let opened = try open(files[position], index: index)
        record = opened
        verdict = try take(opened, policy: policy, index: index, entropy: &entropy)
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
    _ record: EnrolmentRecord, policy: AcceptPolicy, index: UInt8, entropy: inout Entropy
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
    let member = try after.admit(record, name: name, index: index, entropy: &entropy)
    do throws(StoreError) { _ = try after.encode() } catch {
      if case .tooLarge(let needed, let have) = error { throw .storeFull(neededBytes: needed, haveBytes: have) }
      invariantFailed("encoding a store fails for lack of room only")
    }
    self = after
    if case .list = policy { return .listed(member) }
    return .accepted(member)
  }

  private func holder(of name: NodeName) -> ComponentID? {
    if name == self.name { return identity.id }
    for entry in descriptor.authorities where entry.name == name { return entry.id }
    return authority.member(named: name)?.id
  }

  private mutating func admit(
    _ record: EnrolmentRecord, name: NodeName, index: UInt8, entropy: inout Entropy
  ) throws(AcceptRefusal) -> Member {
    guard let address = address(for: name, index: index) else { throw .addressesExhausted(descriptor.prefix) }
    if record.role == .authority { try addAuthority(record, name: name, address: address, index: index) }
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
    return member
  }

  /// One authority alone signs the successor that names a second; more need signatures gathered from others.
  private mutating func addAuthority(
    _ record: EnrolmentRecord, name: NodeName, address: UInt32, index: UInt8
  ) throws(AcceptRefusal) {
    if descriptor.threshold > 1 { throw .needsSignatures(Int(descriptor.threshold)) }
    guard let free = descriptor.freeIndex else { throw .authoritiesFull }
    let entry = AuthorityEntry(
      index: free, signingKey: record.signingKey, agreementKey: record.agreementKey, name: name, ipv4: address)
    var authorities = descriptor.authorities
    let at = authorities.firstIndex { $0.index > free } ?? authorities.count
    authorities.insert(entry, at: at)
    do throws(MembershipError) {
      var next = try descriptor.successor(authorities: authorities)
      next.sign(as: index, with: identity.signing)
      authority.remember(descriptor)
      descriptor = next
    } catch { throw .descriptor(error) }
  }

  /// The address the name had before it was forgotten, else the lowest free one of this authority's share: the share of
  /// index i begins at i sixteenths of the prefix and goes round, so that authorities that cannot hear one another
  /// rarely give out the same. Addresses of forgotten names go last. Looks at one candidate more than are in use.
  private func address(for name: NodeName, index: UInt8) -> UInt32? {
    var taken: Set<UInt32> = []
    var waiting: Set<UInt32> = []
    for entry in descriptor.authorities { taken.insert(entry.ipv4) }
    if let own = opening?.ipv4 { taken.insert(own) }
    for member in authority.members where member.state != .forgotten { taken.insert(member.opening.ipv4) }
    for member in authority.members.reversed() where member.state == .forgotten {
      if member.name == name, !taken.contains(member.opening.ipv4) { return member.opening.ipv4 }
      waiting.insert(member.opening.ipv4)
    }
    let prefix = descriptor.prefix
    let first = prefix.hostCount / UInt32(NetworkDescriptor.authorityLimit) * UInt32(index)
    for round in 0..<2 {
      for step in 0..<prefix.hostCount {
        let candidate = prefix.host((first + step) % prefix.hostCount + 1)
        if !taken.contains(candidate), round == 1 || !waiting.contains(candidate) { return candidate }
      }
    }
    return nil
  }
}
