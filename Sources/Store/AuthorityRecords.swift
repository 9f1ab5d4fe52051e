// What an authority keeps of its network: the members it or another authority took in, the enrolment secrets it gave
// out, and the descriptors before the present one, which boxes that were long away must be led through.

import Core
import Crypto
import Membership
import Wire

public enum MemberState: UInt8, Sendable {
  case active = 1
  /// Its ID is in the descriptor's list.
  case revoked = 2
  /// Gone: its name and address may be given to the next box of that name. Its certificate still verifies, so the ID is
  /// kept, and refused.
  case forgotten = 3

  public var name: String {
    switch self {
    case .active: "active"
    case .revoked: "revoked"
    case .forgotten: "forgotten"
    }
  }
}

public struct Member {
  public let certificate: MembershipCertificate
  public let opening: MembershipOpening
  public internal(set) var state: MemberState
  /// Bit i: the authority with index i has given the member up.
  public internal(set) var forgottenBy: UInt16 = 0

  public var id: ComponentID { certificate.id }
  public var name: NodeName { opening.name }

  public init(certificate: MembershipCertificate, opening: MembershipOpening, state: MemberState) {
    self.certificate = certificate
    self.opening = opening
    self.state = state
  }
}

/// A secret given out; the secret itself follows from the serial and the authority's key.
public struct IssuedSecret: Equatable {
  public let serial: Bytes16
  /// Who used it, nil while nobody has.
  public internal(set) var usedBy: ComponentID?
}

public struct AuthorityRecords {
  /// Unused secrets outstanding: 256 × 17 B = 4.25 KiB.
  public static let secretLimit = 256
  /// Used secrets remembered, so that a second use is named; an older one is refused as unknown. 64 × 33 B = 2 KiB.
  public static let usedSecretLimit = 64
  /// Bytes of earlier descriptors kept, and how many; the oldest goes first. A box that missed more needs a key.
  public static let chainRoom = 32 * 1024
  public static let chainLimit = 64

  /// In the order they came.
  public internal(set) var members: [Member] = []
  public internal(set) var secrets: [IssuedSecret] = []
  /// The serial of the next certificate this authority signs.
  public internal(set) var nextSerial: UInt32 = 1
  /// Descriptors before the present one, oldest first.
  public internal(set) var earlierDescriptors: [NetworkDescriptor] = []
  /// The successor of the present descriptor that this authority has signed, with the signatures gathered so far. It
  /// signs no other one.
  public internal(set) var proposal: NetworkDescriptor?

  public var unusedSecretCount: Int {
    var count = 0
    for secret in secrets where secret.usedBy == nil { count += 1 }
    return count
  }

  /// Whether a box may still become a member with the secret of this serial.
  public func honours(_ serial: Bytes16) -> Bool { secrets.contains { $0.serial == serial && $0.usedBy == nil } }

  public func member(_ id: ComponentID) -> Member? {
    for member in members where member.id == id { return member }
    return nil
  }

  /// The member that has the name now; forgotten ones have lost theirs. Of two that were given one name see `precedes`.
  public func member(named name: NodeName) -> Member? {
    var found: Member?
    for member in members where member.state != .forgotten && member.name == name {
      if let found, !member.precedes(found) { continue }
      found = member
    }
    return found
  }

  mutating func takeSerial() -> UInt32 {
    defer { nextSerial &+= 1 }
    return nextSerial
  }

  mutating func remember(_ descriptor: NetworkDescriptor) {
    earlierDescriptors.append(descriptor)
    var bytes = 0
    for each in earlierDescriptors { bytes += each.encode().count }
    while bytes > Self.chainRoom || earlierDescriptors.count > Self.chainLimit {
      bytes -= earlierDescriptors.removeFirst().encode().count
    }
  }

  mutating func markUsed(_ serial: Bytes16, by id: ComponentID) {
    guard let at = secrets.firstIndex(where: { $0.serial == serial }) else { return }
    // Used ones stand at the end, in the order of their use.
    var secret = secrets.remove(at: at)
    secret.usedBy = id
    secrets.append(secret)
    if secrets.count - unusedSecretCount > Self.usedSecretLimit,
      let oldest = secrets.firstIndex(where: { $0.usedBy != nil })
    {
      secrets.remove(at: oldest)
    }
  }
}

extension StoreContents {
  /// New single-use secrets for boxes to come.
  public mutating func issueSecrets(
    _ count: Int, entropy: inout Entropy
  ) throws(StoreError) -> [EnrolmentSecret] {
    if role != .authority { throw .notAnAuthority }
    guard let index = authorityIndex else { throw .noNetwork }
    let outstanding = authority.unusedSecretCount
    if count > AuthorityRecords.secretLimit - outstanding {
      throw .secretLimit(outstanding: outstanding, limit: AuthorityRecords.secretLimit)
    }
    var issued: [EnrolmentSecret] = []
    for _ in 0..<max(count, 0) {
      let secret = enrolmentSecret(serial: entropy.bytes16(), issuer: index)
      authority.secrets.insert(IssuedSecret(serial: secret.serial, usedBy: nil), at: 0)
      issued.append(secret)
    }
    return issued
  }

  /// Makes every secret that is still unused worthless; the number of them.
  public mutating func withdrawSecrets() -> Int {
    let before = authority.secrets.count
    authority.secrets.removeAll { $0.usedBy == nil }
    return before - authority.secrets.count
  }

  /// The same for these only.
  public mutating func withdrawSecrets(_ withdrawn: [EnrolmentSecret]) {
    for secret in withdrawn { authority.secrets.removeAll { $0.usedBy == nil && $0.serial == secret.serial } }
  }

  func enrolmentSecret(serial: Bytes16, issuer: UInt8) -> EnrolmentSecret {
    EnrolmentSecret(networkID: networkID, issuer: issuer, serial: serial, derivedFrom: identity.signing.seed)
  }

  /// Takes a name and its box out of the network's books: the ID is refused from now on, the name and address wait for
  /// the next box that enrolls under the name.
  @discardableResult
  public mutating func forget(_ name: NodeName) throws(StoreError) -> Member {
    if role != .authority { throw .notAnAuthority }
    if name == self.name { throw .memberIsAuthority(name) }
    for entry in descriptor.authorities where entry.name == name { throw .memberIsAuthority(name) }
    guard let member = authority.member(named: name), member.state == .active else { throw .noSuchMember(name) }
    return try forget(member.id)
  }

  /// The same for one of two that have the same name.
  @discardableResult
  public mutating func forget(_ id: ComponentID) throws(StoreError) -> Member {
    if role != .authority { throw .notAnAuthority }
    guard let i = authority.members.firstIndex(where: { $0.id == id && $0.state == .active }) else {
      throw .notActive(id)
    }
    if descriptor.index(of: id) != nil { throw .memberIsAuthority(authority.members[i].name) }
    if let own = authorityIndex { authority.members[i].forgottenBy |= 1 << UInt16(own) }
    authority.members[i].state = .forgotten
    return authority.members[i]
  }
}
