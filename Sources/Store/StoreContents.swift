// What a box must remember over a power cut: who it is, its network, its membership, its settings, and on an authority
// whom it took in. Pure: operations change the value; the caller writes the file before it acts on the change.

import Core
import Crypto
import Membership
import Wire

public struct StoreContents {
  public let role: NodeRole
  /// Bytes that the contents may take where the medium has more room than the files of `StoreLayout`; not stored itself.
  public var largerRoom: Int?
  public let identity: Identity
  /// The name wanted until a certificate says which was given.
  public internal(set) var name: NodeName
  public let networkID: NetworkID
  /// The newest descriptor known; nodes never go back.
  public internal(set) var descriptor: NetworkDescriptor
  public internal(set) var certificate: MembershipCertificate?
  public internal(set) var opening: MembershipOpening?
  /// Starts since the store was made; the high part of sequences that must not repeat.
  public internal(set) var bootCount: UInt32 = 0
  /// The secret of an enrolment not yet answered by a certificate.
  public internal(set) var pendingSecret: EnrolmentSecret?
  /// Changed by `change`.
  public internal(set) var settings = Settings()
  /// What only an authority keeps; empty on a component.
  public internal(set) var authority = AuthorityRecords()
  /// Sections a newer version wrote, kept as they are, so that going back to an older program loses nothing.
  var unknownSections: [UnknownSection] = []

  struct UnknownSection {
    let tag: UInt8
    let bytes: [UInt8]
  }

  init(role: NodeRole, identity: Identity, name: NodeName, descriptor: NetworkDescriptor) {
    self.role = role
    self.identity = identity
    self.name = name
    self.descriptor = descriptor
    networkID = descriptor.networkID
  }

  /// Founds a network: this node is its first authority, has the prefix's first address, and certifies itself.
  public init(
    founding domain: DomainName, prefix: IPv4Prefix, name: NodeName, entropy: inout Entropy
  ) throws(MembershipError) {
    let identity = Identity(entropy: &entropy)
    let address = prefix.host(1)
    let entry = AuthorityEntry(
      index: 0, signingKey: identity.signing.publicKey, agreementKey: identity.agreement.publicKey, name: name,
      ipv4: address)
    var descriptor = try NetworkDescriptor(founding: domain, prefix: prefix, authorities: [entry])
    descriptor.sign(as: 0, with: identity.signing)
    self.init(role: .authority, identity: identity, name: name, descriptor: descriptor)
    let opening = MembershipOpening(salt: entropy.bytes16(), ipv4: address, name: name)
    certificate = MembershipCertificate(
      issuing: opening, networkID: networkID, signingKey: identity.signing.publicKey,
      agreementKey: identity.agreement.publicKey, role: .authority, serial: authority.takeSerial(),
      epoch: descriptor.epoch, issuer: 0, with: identity.signing)
    self.opening = opening
  }

  /// A new box that uses `secret` to ask for membership.
  public init(
    enrolling descriptor: NetworkDescriptor, secret: EnrolmentSecret, name: NodeName, role: NodeRole,
    entropy: inout Entropy
  ) {
    self.init(role: role, identity: Identity(entropy: &entropy), name: name, descriptor: descriptor)
    pendingSecret = secret
  }

  /// This authority's index in the descriptor, nil on a component and on an authority not (or no longer) in it.
  public var authorityIndex: UInt8? { role == .authority ? descriptor.index(of: identity.id) : nil }

  public var isEnrolled: Bool { certificate != nil }

  /// Host order; known once a certificate is there.
  public var ipv4: UInt32? { opening?.ipv4 }

  /// At every start of a personality, written before anything is sent.
  public mutating func bumpBoot() { if bootCount < .max { bootCount += 1 } }

  /// The network has seen a higher count of this node's than the store holds: it was set back. Never lowers it.
  public mutating func jumpBoot(to boot: UInt32) { bootCount = max(bootCount, boot) }

  /// Asks again, perhaps under another name, with another secret, or by a key made in a later epoch. Only before a
  /// certificate came: until then the key in hand is what vouches for the network.
  public mutating func askAgain(
    as name: NodeName, with secret: EnrolmentSecret, in descriptor: NetworkDescriptor
  ) throws(StoreError) {
    if isEnrolled || secret.networkID != networkID || descriptor.networkID != networkID { throw .alreadyEnrolled }
    self.name = name
    pendingSecret = secret
    if descriptor.epoch > self.descriptor.epoch { self.descriptor = descriptor }
  }

  /// What goes to the authority while the enrolment is pending.
  public var enrolmentRecord: EnrolmentRecord? {
    pendingSecret.map { EnrolmentRecord(of: identity, name: name, role: role, using: $0) }
  }

  /// The answer to our enrolment, or a newer certificate: of the same issuer, or of another when that one has left.
  public mutating func install(
    _ certificate: MembershipCertificate, _ opening: MembershipOpening
  ) throws(StoreError) {
    guard certificate.id == identity.id, certificate.signingKey == identity.signing.publicKey,
      certificate.agreementKey == identity.agreement.publicKey, certificate.role == role
    else { throw .notOurs }
    do throws(MembershipError) { try certificate.verify(with: descriptor) } catch { throw .membership(error) }
    if !opening.matches(certificate) { throw .membership(.badOpening) }
    if !descriptor.prefix.isHost(opening.ipv4) { throw .membership(.badDescriptor(.addressOutsidePrefix)) }
    if let have = self.certificate {
      if have.issuer == certificate.issuer, certificate.serial < have.serial {
        throw .olderCertificate(certificate.serial, have: have.serial)
      }
      // One authority alone gives nobody whom another took in a new name or address.
      if have.issuer != certificate.issuer, descriptor.authority(at: have.issuer) != nil {
        throw .otherIssuer(certificate.issuer, have: have.issuer)
      }
    }
    self.certificate = certificate
    self.opening = opening
    name = opening.name
    pendingSecret = nil
  }

  /// Goes on to the next epoch's descriptor.
  public mutating func adopt(_ next: NetworkDescriptor) throws(StoreError) {
    if !next.isSuccessor(of: descriptor) { throw .notASuccessor }
    if role == .authority {
      authority.remember(descriptor)
      authority.proposal = nil
      for i in authority.members.indices {
        let member = authority.members[i]
        if next.isRevoked(member.id) {
          authority.members[i].state = .revoked
        } else if member.state == .active, member.certificate.role == .authority, next.index(of: member.id) == nil {
          // An authority that has left is no member either: it enrolls anew if it is to be one.
          authority.members[i].state = .forgotten
        }
      }
    }
    descriptor = next
    if role == .authority { reconsiderForgotten() }
  }

  /// The present descriptor with more signatures of it, for those who ask for it; nothing else may differ.
  public mutating func adoptSignatures(of copy: NetworkDescriptor) {
    if copy.proposalID == descriptor.proposalID, copy.signatures.count > descriptor.signatures.count {
      descriptor = copy
    }
  }
}
