// From one descriptor to the next: what an operator orders, what came of it in words, and the gathering of signatures on
// a proposal. A proposal is a descriptor that too few of the present authorities have signed yet.

import Core
import Crypto
import Wire

/// What a successor is to change.
public struct DescriptorChange {
  /// Authorities that join; their indices must be free.
  public var added: [AuthorityEntry] = []
  /// IDs of authorities that leave.
  public var removed: [ComponentID] = []
  /// IDs that are not members any more; an authority among them leaves as well.
  public var revoked: [ComponentID] = []
  /// Signatures the epoch after it will need; nil: a majority when authorities join or leave, as before otherwise.
  public var threshold: UInt8?

  public init() {}
}

extension NetworkDescriptor {
  /// Bytes of a descriptor without its signatures that every component's store has room for, beside the longest name, a
  /// certificate and an enrolment under way (its copy holds 1,998; `CapacityTests`).
  public static let componentRoom = 1_536

  /// The descriptor of the next epoch with a change made, not yet signed.
  public func successor(with change: DescriptorChange) throws(MembershipError) -> NetworkDescriptor {
    var entries: [AuthorityEntry] = []
    for entry in authorities where !change.removed.contains(entry.id) && !change.revoked.contains(entry.id) {
      entries.append(entry)
    }
    for entry in change.added {
      entries.insert(entry, at: entries.firstIndex { $0.index > entry.index } ?? entries.count)
    }
    var ids = revoked
    for id in change.revoked where !isRevoked(id) { ids.append(id) }
    ids.sort()
    let isSameCouncil = entries.count == authorities.count && change.added.isEmpty
    let next = try successor(
      authorities: entries, threshold: change.threshold ?? (isSameCouncil ? threshold : nil), revoked: ids)
    if isSameCouncil, ids.count == revoked.count, next.threshold == threshold {
      throw .badDescriptor(.nothingChanges)
    }
    let size = next.unsigned.encode().count
    if size > Self.componentRoom { throw .badDescriptor(.tooLarge(neededBytes: size, haveBytes: Self.componentRoom)) }
    return next
  }

  /// Names a descriptor whatever signatures it has: the first 16 bytes of BLAKE2b-256 of what is signed.
  public var proposalID: ComponentID { ComponentID(truncated(blake2b256(signedBytes, key: nil))) }

  /// What two people compare before the second signs: the first 80 bits of the same, as five groups of four digits.
  public var fingerprint: String {
    let hash = blake2b256(signedBytes, key: nil).array
    var text = ""
    for group in 0..<5 {
      if group > 0 { text += "-" }
      text += hexadecimal(hash[(group * 2)..<(group * 2 + 2)])
    }
    return text
  }

  /// The difference to the descriptor before, a line each.
  public func changes(from previous: NetworkDescriptor) -> [String] {
    var lines: [String] = []
    for entry in authorities where previous.index(of: entry.id) == nil {
      lines.append(
        "adds authority \(entry.name.description) at \(dottedQuad(entry.ipv4)), ID \(entry.id.description), fingerprint "
          + keyFingerprint(signing: entry.signingKey, agreement: entry.agreementKey))
    }
    for entry in previous.authorities where index(of: entry.id) == nil {
      lines.append("removes authority \(entry.name.description), ID \(entry.id.description)")
    }
    for id in revoked where !previous.isRevoked(id) { lines.append("revokes ID \(id.description)") }
    for id in previous.revoked where !isRevoked(id) {
      lines.append("takes back the revocation of ID \(id.description)")
    }
    if threshold != previous.threshold || authorities.count != previous.authorities.count {
      lines.append(
        "changes the threshold from \(Int(previous.threshold)) of \(previous.authorities.count) to \(Int(threshold)) of "
          + "\(authorities.count)")
    }
    if soloCommands != previous.soloCommands { lines.append("changes which commands one authority may order alone") }
    for entry in authorities {
      for before in previous.authorities where before.id == entry.id && before != entry {
        lines.append("changes the entry of authority \(before.name.description)")
      }
    }
    if !(prefix == previous.prefix) { lines.append("changes the prefix to \(prefix.description)") }
    if !(domain == previous.domain) { lines.append("changes the domain to \(domain.description)") }
    return lines
  }

  /// Takes over those signatures of another copy of the same descriptor that authorities of `previous` made; whether
  /// there was a new one.
  public mutating func gather(from other: NetworkDescriptor, signedBy previous: NetworkDescriptor) -> Bool {
    guard other.proposalID == proposalID else { return false }
    var isNew = false
    for each in other.signatures where !signatures.contains(where: { $0.authority == each.authority }) {
      guard let signer = previous.authority(at: each.authority),
        verifySignature(each.signature, of: signedBytes, by: signer.signingKey)
      else { continue }
      add(each)
      isNew = true
    }
    return isNew
  }

  /// Drops signatures that nobody of `previous` made.
  public mutating func dropForeignSignatures(_ previous: NetworkDescriptor) {
    keepSignatures(of: validSigners(among: previous.authorities))
  }
}

extension [ComponentID] {
  /// Ascending; few enough for insertion.
  fileprivate mutating func sort() {
    for i in indices.dropFirst() {
      var at = i
      while at > 0, self[at] < self[at - 1] {
        swapAt(at, at - 1)
        at -= 1
      }
    }
  }
}
