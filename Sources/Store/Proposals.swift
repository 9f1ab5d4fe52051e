// How a network goes from one descriptor to the next: an authority makes a successor and signs it, others add their
// signatures, and with k of them it is the descriptor. An authority signs one successor of an epoch and no other: the
// caller writes the store before anybody sees the signature.

import Core
import Crypto
import Membership

/// How far a successor has come.
public enum ProposalProgress {
  /// It is this store's descriptor now.
  case adopted(NetworkDescriptor)
  /// So many of the needed signatures are there, this authority's among them.
  case waiting(NetworkDescriptor, have: Int, need: Int)
}

public enum ProposalRefusal: Error, Equatable, CustomStringConvertible {
  case notAnAuthority
  case otherNetwork(NetworkID)
  /// Of an epoch this store has reached or passed.
  case oldEpoch(UInt32, have: UInt32)
  /// Of an epoch that does not follow this store's.
  case laterEpoch(UInt32, have: UInt32)
  /// No authority of the present descriptor has signed it.
  case unsigned
  /// It follows the present epoch, and moves an authority to another index or changes what may not be changed.
  case notASuccessor
  /// This authority has signed another successor of the same epoch.
  case anotherSigned(ComponentID, fingerprint: String, waitsFor: Int)
  case descriptor(MembershipError)
  case noSuchNode(NodeName)
  case lastAuthority
  case storeFull(neededBytes: Int, haveBytes: Int)

  public var description: String {
    switch self {
    case .notAnAuthority: return "this store is no authority's of the network: only authorities sign"
    case .otherNetwork(let id): return "the proposal is of another network (\(id.description))"
    case .oldEpoch(let epoch, let have):
      return
        "the proposal is for epoch \(Int(epoch)), and the network is at \(Int(have)) already: it counts for nothing "
        + "any more; remove it, and order the change anew if it is still wanted"
    case .laterEpoch(let epoch, let have):
      return
        "the proposal is for epoch \(Int(epoch)), and this store is at \(Int(have)): start this authority so that it "
        + "catches up, then try again"
    case .unsigned: return "the proposal is signed by no authority of this network: nothing vouches for it"
    case .notASuccessor: return "the proposal does not follow the network's descriptor"
    case .anotherSigned(let id, let fingerprint, let missing):
      return
        "this authority has signed another proposal of this epoch (\(id.description), fingerprint \(fingerprint)), and "
        + "signs one only: carry that one to \(missing) more authorit\(missing == 1 ? "y" : "ies"), or let another "
        + "authority's be finished"
    case .descriptor(let error): return "the new descriptor " + error.description
    case .noSuchNode(let name): return "no authority or member is named \(name.description)"
    case .lastAuthority: return "it is the network's last authority: take in another before"
    case .storeFull(let needed, let have): return "the store is full: \(needed) bytes are needed, \(have) fit"
    }
  }
}

extension StoreContents {
  /// Makes the successor with this change, signs it, and adopts it where one signature is enough.
  public mutating func propose(
    _ change: DescriptorChange, entropy: inout Entropy
  ) throws(ProposalRefusal) -> ProposalProgress {
    if authorityIndex == nil { throw .notAnAuthority }
    let next: NetworkDescriptor
    do throws(MembershipError) { next = try descriptor.successor(with: change) } catch {
      if case .badDescriptor(.authorityCount(0)) = error { throw .lastAuthority }
      throw .descriptor(error)
    }
    return try sign(next, isOwn: true, entropy: &entropy)
  }

  /// Adds this authority's signature to a proposal that others have signed.
  public mutating func sign(
    _ proposal: NetworkDescriptor, entropy: inout Entropy
  ) throws(ProposalRefusal) -> ProposalProgress {
    try sign(proposal, isOwn: false, entropy: &entropy)
  }

  /// Who has signed a proposal so far, or why it is not one.
  public func signers(of proposal: NetworkDescriptor) throws(ProposalRefusal) -> [AuthorityEntry] {
    if proposal.networkID != networkID { throw .otherNetwork(proposal.networkID) }
    if proposal.epoch <= descriptor.epoch { throw .oldEpoch(proposal.epoch, have: descriptor.epoch) }
    if proposal.epoch != descriptor.epoch + 1 { throw .laterEpoch(proposal.epoch, have: descriptor.epoch) }
    let size = proposal.unsigned.encode().count
    if size > NetworkDescriptor.componentRoom {
      throw .descriptor(
        .badDescriptor(.tooLarge(neededBytes: size, haveBytes: NetworkDescriptor.componentRoom)))
    }
    if !(proposal.prefix == descriptor.prefix && proposal.domain == descriptor.domain) { throw .notASuccessor }
    for entry in proposal.authorities {
      for before in descriptor.authorities where before.id == entry.id && before != entry { throw .notASuccessor }
    }
    let signers = proposal.validSigners(among: descriptor.authorities)
    if signers.isEmpty { throw .unsigned }
    return signers
  }

  private mutating func sign(
    _ proposal: NetworkDescriptor, isOwn: Bool, entropy: inout Entropy
  ) throws(ProposalRefusal) -> ProposalProgress {
    guard let own = authorityIndex else { throw .notAnAuthority }
    if !isOwn { _ = try signers(of: proposal) }
    var next = proposal
    next.dropForeignSignatures(descriptor)
    if let signed = authority.proposal, signed.epoch == next.epoch {
      if signed.proposalID != next.proposalID {
        let have = signed.validSigners(among: descriptor.authorities).count
        throw .anotherSigned(
          signed.proposalID, fingerprint: signed.fingerprint, waitsFor: max(0, Int(descriptor.threshold) - have))
      }
      _ = next.gather(from: signed, signedBy: descriptor)
    }
    next.sign(as: own, with: identity.signing)
    var after = self
    let progress = after.settle(next, entropy: &entropy)
    do throws(StoreError) { _ = try after.encode() } catch {
      if case .tooLarge(let needed, let have) = error { throw .storeFull(neededBytes: needed, haveBytes: have) }
      throw .notASuccessor
    }
    self = after
    return progress
  }

  /// Signatures that came in for the proposal this authority has signed; nil when they change nothing.
  public mutating func gather(_ copy: NetworkDescriptor, entropy: inout Entropy) -> ProposalProgress? {
    guard var next = authority.proposal, next.gather(from: copy, signedBy: descriptor) else { return nil }
    return settle(next, entropy: &entropy)
  }

  private mutating func settle(_ next: NetworkDescriptor, entropy: inout Entropy) -> ProposalProgress {
    let have = next.validSigners(among: descriptor.authorities).count
    guard next.isSuccessor(of: descriptor) else {
      authority.proposal = next
      return .waiting(next, have: have, need: Int(descriptor.threshold))
    }
    do throws(StoreError) { try adopt(next) } catch {
      authority.proposal = next
      return .waiting(next, have: have, need: Int(descriptor.threshold))
    }
    certifyAuthorities(entropy: &entropy)
    return .adopted(next)
  }

  /// The change that takes an authority out, or any node with `revoke`.
  public func removal(of name: NodeName, revoke: Bool, threshold: UInt8?) throws(ProposalRefusal) -> DescriptorChange {
    var change = DescriptorChange()
    change.threshold = threshold
    for entry in descriptor.authorities where entry.name == name {
      if descriptor.authorities.count == 1 { throw .lastAuthority }
      if revoke { change.revoked = [entry.id] } else { change.removed = [entry.id] }
      return change
    }
    guard revoke, let member = authority.member(named: name) else { throw .noSuchNode(name) }
    change.revoked = [member.id]
    return change
  }
}

extension AcceptPolicy {
  /// Whether a proposal is agreed to: by its own ID, or by that of an authority it adds.
  public func takes(_ proposal: NetworkDescriptor, after descriptor: NetworkDescriptor) -> Bool {
    switch self {
    case .list: false
    case .all: true
    case .only(let id, _):
      proposal.proposalID == id || (proposal.index(of: id) != nil && descriptor.index(of: id) == nil)
    }
  }
}
