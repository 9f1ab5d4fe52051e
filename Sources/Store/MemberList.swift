// The member list as several authorities keep it: each tells the others of what it takes in and gives up, and what they
// tell is judged by the certificates' signatures, not by who tells it.
//
// Two authorities that cannot hear one another may take in boxes meanwhile. Their records never replace one another's:
// a member's keys stay, and its certificate is replaced by a newer one of the same issuer only, or when its issuer is no
// authority any more. Names and addresses given twice are reported; both boxes stay members.

import Core
import Crypto
import Membership

/// What another authority's word about a member changed here.
public enum MemberChange {
  case unchanged
  case added(Member)
  /// Another certificate: the address or name may be another.
  case replaced(Member)
  /// Given up by as many authorities as it takes.
  case forgotten(Member)
  /// Another authority has given it up; this one goes on serving it until as many have as it takes.
  case givenUpElsewhere(Member)
  case refused(MemberRefusal)

  /// Whether the store has to be written.
  public var isStored: Bool {
    switch self {
    case .unchanged, .refused: false
    case .added, .replaced, .forgotten, .givenUpElsewhere: true
    }
  }
}

public enum MemberRefusal: Error, Equatable, CustomStringConvertible {
  case certificate(MembershipError)
  /// A certificate with another agreement key for a known ID: whoever issued it, issued it to deceive.
  case otherKeys(NodeName, issuer: UInt8)
  /// Another authority than the one that took it in has certified it again, while it is a member here.
  case otherIssuer(NodeName, issuer: UInt8, before: UInt8)
  case addressOutsidePrefix(NodeName)
  case storeFull(neededBytes: Int, haveBytes: Int)

  public var description: String {
    switch self {
    case .certificate(let error): "a member's certificate: " + error.description
    case .otherKeys(let name, let issuer):
      "authority number \(Int(issuer)) has certified \(name.description) with other keys than it has: refused"
    case .otherIssuer(let name, let issuer, let before):
      "authority number \(Int(issuer)) has certified \(name.description) anew, a member that number \(Int(before)) took in: "
        + "refused; forget it here first if that was meant"
    case .addressOutsidePrefix(let name): "\(name.description) was given an address outside the prefix: refused"
    case .storeFull(let needed, let have):
      "the store is full (\(needed) bytes needed, \(have) fit): a member that another authority took in is not kept"
    }
  }
}

/// Two members with one name or one address.
public struct MemberConflict: Equatable {
  public let first: ComponentID
  public let second: ComponentID
  public let name: NodeName
  public let ipv4: UInt32
  public let isAddress: Bool

  public var description: String {
    isAddress
      ? "the address \(dottedQuad(ipv4)) belongs to two nodes, ID \(first.description) and ID \(second.description) "
        + "(\(name.description)): forget one of them, and enroll it anew"
      : "the name \(name.description) belongs to two nodes, ID \(first.description) and ID \(second.description): forget one "
        + "of them by its ID, and enroll it anew under another name"
  }
}

extension Member {
  /// Who keeps a name or address that two were given: one that no authority has given up, then the one certified by the
  /// lower index, then the one certified first.
  public func precedes(_ other: Member) -> Bool {
    if (forgottenBy == 0) != (other.forgottenBy == 0) { return forgottenBy == 0 }
    return (certificate.issuer, certificate.serial) < (other.certificate.issuer, other.certificate.serial)
  }
}

extension StoreContents {
  /// How many authorities must give a member up before those who did not do so as well: one where there are two at most.
  public var forgetQuorum: Int { descriptor.authorities.count <= 2 ? 1 : Int(descriptor.threshold) }

  /// This node as others keep it; nil before it has a certificate.
  public var ownRecord: MemberRecord? {
    guard let certificate, let opening else { return nil }
    return MemberRecord(certificate: certificate, opening: opening, isForgotten: false)
  }

  /// A member in the words of this authority.
  public func record(of member: Member) -> MemberRecord {
    MemberRecord(
      certificate: member.certificate, opening: member.opening, isForgotten: member.state == .forgotten)
  }

  /// Takes in what the authority with index `teller` says of members; a change for each.
  public mutating func merge(_ records: [MemberRecord], from teller: UInt8) -> [MemberChange] {
    var after = self
    var changes: [MemberChange] = []
    for record in records { changes.append(after.take(record, from: teller)) }
    if !changes.contains(where: { $0.isStored }) { return changes }
    do throws(StoreError) {
      _ = try after.encode()
      self = after
      return changes
    } catch {}
    // There is no room for all: each for itself.
    changes = []
    for record in records {
      after = self
      let change = after.take(record, from: teller)
      do throws(StoreError) {
        _ = try after.encode()
        self = after
        changes.append(change)
      } catch {
        guard case .tooLarge(let needed, let have) = error else { invariantFailed("a store lacks nothing but room") }
        changes.append(.refused(.storeFull(neededBytes: needed, haveBytes: have)))
      }
    }
    return changes
  }

  private mutating func take(_ record: MemberRecord, from teller: UInt8) -> MemberChange {
    let id = record.certificate.id
    if id == identity.id { return .unchanged }
    let place = authority.members.firstIndex { $0.id == id }
    let isKnown = place.map { authority.members[$0].certificate.isSame(as: record.certificate) } ?? false
    if !isKnown {
      do throws(MemberRefusal) {
        guard try isNews(record, place.map { authority.members[$0] }) else { return .unchanged }
      } catch { return .refused(error) }
    }
    return put(record, at: place, isKnown: isKnown, teller)
  }

  /// Whether a certificate that is not the one known counts; false for one that is merely late.
  private func isNews(_ record: MemberRecord, _ known: Member?) throws(MemberRefusal) -> Bool {
    let certificate = record.certificate
    if let known {
      if known.certificate.agreementKey != certificate.agreementKey {
        throw .otherKeys(known.name, issuer: certificate.issuer)
      }
      if descriptor.authority(at: known.certificate.issuer) == nil {
        // Whoever certifies it anew does well.
      } else if known.certificate.issuer == certificate.issuer {
        if certificate.serial <= known.certificate.serial, !issuerHasLeft(known.certificate) { return false }
      } else if known.state == .active, !issuerHasLeft(known.certificate) {
        // Two authorities may both have certified a third, or a member whose issuer has left, under the name and address
        // it had: either will do, and all settle on the lower index.
        if certificate.role == .authority || certificate.commitment == known.certificate.commitment {
          if certificate.issuer > known.certificate.issuer { return false }
        } else {
          if certificate.serial < known.certificate.serial { return false }
          throw .otherIssuer(known.name, issuer: certificate.issuer, before: known.certificate.issuer)
        }
      }
    }
    do throws(MembershipError) {
      try certificate.verify(with: descriptor)
      if !record.opening.matches(certificate) { throw .badOpening }
    } catch {
      // What the teller knew before an authority left, or a node was revoked, is no fault of the teller.
      switch error {
      case .unknownIssuer, .revoked, .notAnAuthority: return false
      default: throw .certificate(error)
      }
    }
    if !descriptor.prefix.isHost(record.opening.ipv4) { throw .addressOutsidePrefix(record.opening.name) }
    return true
  }

  private mutating func put(
    _ record: MemberRecord, at place: Int?, isKnown: Bool, _ teller: UInt8
  ) -> MemberChange {
    authority.nextSerial = max(authority.nextSerial, record.certificate.serial &+ 1)
    let bit: UInt16 = record.isForgotten ? 1 << UInt16(teller & 15) : 0
    guard let place else {
      var member = Member(certificate: record.certificate, opening: record.opening, state: .active)
      member.forgottenBy = bit
      authority.members.append(member)
      reconsiderForgotten()
      let now = authority.members[authority.members.count - 1]
      return now.state == .forgotten ? .forgotten(now) : .added(now)
    }
    let before = authority.members[place]
    if !isKnown {
      var member = Member(certificate: record.certificate, opening: record.opening, state: .active)
      member.forgottenBy = bit
      authority.members[place] = member
    } else {
      if before.forgottenBy | bit == before.forgottenBy { return .unchanged }
      authority.members[place].forgottenBy |= bit
    }
    reconsiderForgotten()
    let now = authority.members[place]
    if now.state == .forgotten, before.state != .forgotten { return .forgotten(now) }
    if !isKnown { return .replaced(now) }
    return now.state == .active ? .givenUpElsewhere(now) : .unchanged
  }

  /// A member is forgotten here when this authority gave it up, or as many as it takes.
  mutating func reconsiderForgotten() {
    let own = authorityIndex.map { UInt16(1) << UInt16($0) } ?? 0
    var present: UInt16 = 0
    for entry in descriptor.authorities { present |= 1 << UInt16(entry.index) }
    for i in authority.members.indices where authority.members[i].state == .active {
      let mask = authority.members[i].forgottenBy
      if mask & own != 0 || (mask & present).nonzeroBitCount >= forgetQuorum {
        authority.members[i].state = .forgotten
      }
    }
  }

  /// Whether the authority that signed a certificate is gone, or another has its index.
  public func issuerHasLeft(_ certificate: MembershipCertificate) -> Bool {
    do throws(MembershipError) { try certificate.verify(with: descriptor) } catch {
      switch error {
      case .unknownIssuer, .badSignature: return true
      default: return false
      }
    }
    return false
  }

  /// Certifies a member anew, under its name and address: its issuer is no authority any more.
  public mutating func reissue(_ id: ComponentID) -> Member? {
    guard let own = authorityIndex, let place = authority.members.firstIndex(where: { $0.id == id }),
      authority.members[place].state == .active
    else { return nil }
    let before = authority.members[place]
    authority.members[place] = Member(
      certificate: MembershipCertificate(
        issuing: before.opening, networkID: networkID, signingKey: before.certificate.signingKey,
        agreementKey: before.certificate.agreementKey, role: before.certificate.role, serial: authority.takeSerial(),
        epoch: descriptor.epoch, issuer: own, with: identity.signing),
      opening: before.opening, state: .active)
    return authority.members[place]
  }

  /// Certifies this authority itself, when the one that did has left.
  public mutating func reissueOwn() -> Bool {
    guard let own = authorityIndex, let before = certificate, let opening else { return false }
    certificate = MembershipCertificate(
      issuing: opening, networkID: networkID, signingKey: before.signingKey, agreementKey: before.agreementKey,
      role: .authority, serial: authority.takeSerial(), epoch: descriptor.epoch, issuer: own, with: identity.signing)
    return true
  }

  /// Gives every other authority of the descriptor its certificate and place in the member list: its keys, name and
  /// address stand in the descriptor.
  public mutating func certifyAuthorities(entropy: inout Entropy) {
    for entry in descriptor.authorities { _ = certify(entry, entropy: &entropy) }
  }

  /// The member an authority of the descriptor is, certified now if nobody has done so; nil for this one itself.
  public mutating func certify(_ entry: AuthorityEntry, entropy: inout Entropy) -> Member? {
    guard let own = authorityIndex, entry.id != identity.id else { return nil }
    if let known = authority.member(entry.id), known.state == .active, known.certificate.role == .authority {
      return known
    }
    let opening = MembershipOpening(salt: entropy.bytes16(), ipv4: entry.ipv4, name: entry.name)
    let certificate = MembershipCertificate(
      issuing: opening, networkID: networkID, signingKey: entry.signingKey, agreementKey: entry.agreementKey,
      role: .authority, serial: authority.takeSerial(), epoch: descriptor.epoch, issuer: own, with: identity.signing)
    let member = Member(certificate: certificate, opening: opening, state: .active)
    authority.members.removeAll { $0.id == entry.id }
    authority.members.append(member)
    return member
  }

  /// Names and addresses that this member and another one both have.
  public func conflicts(of member: Member) -> [MemberConflict] {
    var found: [MemberConflict] = []
    if member.state != .active || member.forgottenBy != 0 { return found }
    for other in authority.members
    where other.state == .active && other.forgottenBy == 0 && other.id != member.id {
      let (first, second) = other.precedes(member) ? (other, member) : (member, other)
      for isAddress in [false, true] {
        let isShared = isAddress ? other.opening.ipv4 == member.opening.ipv4 : other.name == member.name
        if !isShared { continue }
        found.append(
          MemberConflict(
            first: first.id, second: second.id, name: second.name, ipv4: second.opening.ipv4, isAddress: isAddress))
      }
    }
    for entry in descriptor.authorities where entry.id != member.id {
      for isAddress in [false, true] {
        let isShared = isAddress ? entry.ipv4 == member.opening.ipv4 : entry.name == member.name
        if !isShared || found.contains(where: { $0.isAddress == isAddress && $0.first == entry.id }) { continue }
        found.append(
          MemberConflict(
            first: entry.id, second: member.id, name: member.name, ipv4: member.opening.ipv4, isAddress: isAddress))
      }
    }
    return found
  }
}

extension MembershipCertificate {
  func isSame(as other: MembershipCertificate) -> Bool {
    issuer == other.issuer && serial == other.serial && epoch == other.epoch && signature == other.signature
  }
}
