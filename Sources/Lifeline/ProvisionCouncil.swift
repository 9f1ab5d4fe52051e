// What several authorities carry between them on a key: proposals that wait for signatures, the descriptor that came of
// them, and the admission of a box that has become an authority. The store is written first: a key that is pulled out
// costs another run of the same command, and nothing else.

import Core
import Crypto
import Membership
import Runtime
import Store

extension KeyDirectory {
  /// The proposal on the key as it lies there; nil when there is none.
  func readProposalFile() throws(CommandFailure) -> [UInt8]? {
    do throws(SystemError) {
      if try Files.statusIfPresent(proposalFile) == nil { return nil }
      return try Files.read(proposalFile, limit: KeyFile.sizeLimit + 1)
    } catch { throw .failed(systemMessage(error)) }
  }

  func proposal() throws(CommandFailure) -> NetworkDescriptor? {
    guard let file = try readProposalFile() else { return nil }
    do throws(MembershipError) {
      return try NetworkDescriptor(decoding: try KeyFile.unwrap(.proposal, file))
    } catch {
      throw .failed(
        "\(text(proposalFile)) is unusable (\(error.description)): remove it, and have the authority that proposed write it "
          + "again (lifeline provision accept --usb DIR there)")
    }
  }

  /// Puts the newest descriptor on the key, unless one as new is there.
  func write(network file: [UInt8], epoch: UInt32, of networkID: NetworkID) throws(CommandFailure) {
    if case .found(let there) = try readNetwork() {
      if there.networkID != networkID {
        throw .failed("\(text(root)) belongs to another network: use another directory")
      }
      if there.epoch >= epoch { return }
    }
    try replace(networkFile, file)
  }

  func write(proposal file: [UInt8]) throws(CommandFailure) { try replace(proposalFile, file) }

  /// What the key's proposal has become makes it worthless.
  func removeProposal() throws(CommandFailure) {
    do throws(SystemError) {
      if try Files.statusIfPresent(proposalFile) == nil { return }
      try Files.remove(proposalFile)
      try Files.synchronizeDirectory(root)
    } catch { throw .failed(systemMessage(error)) }
  }

  private func admissionPath(_ id: ComponentID) -> [UInt8] {
    Files.join(authorities, Array((id.description + ".lla").utf8))
  }

  func write(admission file: [UInt8], for id: ComponentID) throws(CommandFailure) {
    do throws(SystemError) { try Files.makeDirectory(authorities) } catch { throw .failed(systemMessage(error)) }
    try replace(admissionPath(id), file)
  }

  /// Nil when there is none for this box.
  func admission(for identity: Identity) throws(CommandFailure) -> [UInt8]? {
    let path = admissionPath(identity.id)
    let file: [UInt8]
    do throws(SystemError) {
      if try Files.statusIfPresent(path) == nil { return nil }
      file = try Files.read(path, limit: KeyFileKind.admission.sizeLimit + 1)
    } catch { throw .failed(systemMessage(error)) }
    do throws(MembershipError) { return try SealedAdmission(decoding: file).open(with: identity) } catch {
      throw .failed(
        "\(text(path)) is unusable (\(error.description)): run lifeline provision accept on the authority again")
    }
  }

  func removeAdmission(of id: ComponentID) throws(CommandFailure) {
    do throws(SystemError) {
      try Files.remove(admissionPath(id))
      try Files.synchronizeDirectory(authorities)
    } catch { throw .failed(systemMessage(error)) }
  }

  private func replace(_ path: [UInt8], _ file: [UInt8]) throws(CommandFailure) {
    do throws(SystemError) { try Files.replace(path, with: file) } catch { throw .failed(systemMessage(error)) }
  }

  /// Puts on the key what came of a decision: the descriptor, or the proposal that waits, and admissions of new
  /// authorities.
  func write(_ contents: StoreContents, admitting ids: [ComponentID]) throws(CommandFailure) {
    try makeDirectories()
    try write(
      network: KeyFile.wrap(.network, contents.descriptor.encode()), epoch: contents.descriptor.epoch,
      of: contents.networkID)
    var entropy = try freshEntropy()
    for entry in contents.descriptor.authorities where ids.contains(entry.id) {
      guard let admission = contents.admission(for: entry),
        let sealed = SealedAdmission(admission, for: entry, entropy: &entropy)
      else { continue }
      try write(admission: sealed.encode(), for: entry.id)
    }
    if let proposal = contents.authority.proposal {
      try write(proposal: KeyFile.wrap(.proposal, proposal.encode()))
    } else if let left = try proposal(), left.epoch <= contents.descriptor.epoch {
      try removeProposal()
    }
  }
}

/// Authorities that `after` has and `before` had not.
func newAuthorities(_ after: NetworkDescriptor, since before: NetworkDescriptor) -> [ComponentID] {
  var ids: [ComponentID] = []
  for entry in after.authorities where before.index(of: entry.id) == nil { ids.append(entry.id) }
  return ids
}

/// A proposal in an operator's words.
func describe(_ proposal: NetworkDescriptor, from descriptor: NetworkDescriptor) {
  say(
    "proposal     \(proposal.proposalID.description)  epoch \(Int(proposal.epoch))  fingerprint \(proposal.fingerprint)"
  )
  for line in proposal.changes(from: descriptor) { say("             \(line)") }
  var names = ""
  let signers = proposal.validSigners(among: descriptor.authorities)
  for signer in signers { names += (names.utf8.isEmpty ? "" : ", ") + signer.name.description }
  say("             signed by \(names); \(signers.count) of \(Int(descriptor.threshold)) signatures")
}

func tell(_ progress: ProposalProgress, _ before: NetworkDescriptor, _ key: KeyDirectory) {
  switch progress {
  case .adopted(let next):
    say("epoch \(Int(next.epoch)) of \(next.domain.description) is in force:")
    for line in next.changes(from: before) { say("             \(line)") }
    for id in newAuthorities(next, since: before) {
      for entry in next.authorities where entry.id == id {
        say(
          "On \(entry.name.description): lifeline provision enroll --usb DIR once more, then lifeline ma (where a wire leads "
            + "to the network lifeline ma alone will do)")
      }
    }
  case .waiting(let proposal, let have, let need):
    describe(proposal, from: before)
    say(
      "Take the key to \(need - have) more authorit\(need - have == 1 ? "y" : "ies"): lifeline provision accept --usb DIR "
        + "--yes (or lifeline ctl accept DIR --yes; running authorities know of it once this one runs: lifeline ctl sign)"
    )
  }
}

/// Has this authority agree to the proposal on a key, or shows it. Whether the store changed, and failures that keep
/// nothing else from being done.
func judgeProposal(
  _ proposal: NetworkDescriptor, _ contents: inout StoreContents, _ policy: AcceptPolicy, _ key: KeyDirectory
) throws(CommandFailure) -> (progress: ProposalProgress?, refusal: String?) {
  do throws(ProposalRefusal) { _ = try contents.signers(of: proposal) } catch {
    return (nil, "\(text(key.proposalFile)): \(error.description)")
  }
  if !policy.takes(proposal, after: contents.descriptor) {
    describe(proposal, from: contents.descriptor)
    return (nil, nil)
  }
  var entropy = try freshEntropy()
  do throws(ProposalRefusal) { return (try contents.sign(proposal, entropy: &entropy), nil) } catch {
    return (nil, "\(text(key.proposalFile)): \(error.description)")
  }
}

/// `provision descriptor`: an authority leaves, a node is revoked, or another number of signatures is needed.
func provisionDescriptor(_ options: ProvisionOptions) throws(CommandFailure) {
  let key = try KeyDirectory(options.usb ?? [])
  var store = try StoreOnDisk(options.store, whenLocked: "use lifeline ctl remove or lifeline ctl revoke")
  var contents = store.loaded
  try requireAuthority(contents, options)
  let before = contents.descriptor
  var entropy = try freshEntropy()
  let progress: ProposalProgress
  do throws(ProposalRefusal) {
    var change = DescriptorChange()
    change.threshold = options.threshold
    if let name = options.remove {
      change = try contents.removal(of: name, revoke: false, threshold: options.threshold)
    } else if let name = options.revoke {
      change = try contents.removal(of: name, revoke: true, threshold: options.threshold)
    }
    progress = try contents.propose(change, entropy: &entropy)
  } catch { throw .failed("\(text(options.store)): \(error.description)") }
  try store.write(contents)
  try key.write(contents, admitting: [])
  tell(progress, before, key)
}

/// The second `enroll` of a box that asked to become an authority, with what the others have put on the key for it. False
/// when there is nothing.
func completeAuthority(_ options: ProvisionOptions, _ key: KeyDirectory) throws(CommandFailure) -> Bool {
  guard case .found(let there) = try StoreState(of: options.store, warns: false), there.contents.role == .authority,
    let admission = try key.admission(for: there.contents.identity)
  else { return false }
  var store = try StoreOnDisk(options.store)
  var contents = store.loaded
  if contents.isEnrolled, contents.authorityIndex != nil {
    try key.removeAdmission(of: contents.identity.id)
    return false
  }
  do throws(StoreError) { try contents.complete(with: admission) } catch {
    throw .failed(
      "what \(text(key.authorities)) holds for this box does not fit \(text(options.store)) (\(error.description)): run "
        + "lifeline provision accept on the authority again")
  }
  try store.write(contents)
  try key.removeAdmission(of: contents.identity.id)
  say("name         \(contents.name.description).\(contents.descriptor.domain.description)")
  say("role         authority number \(Int(contents.authorityIndex ?? 0)), epoch \(Int(contents.descriptor.epoch))")
  say("address      \(dottedQuad(contents.ipv4 ?? 0))")
  say("members      \(contents.authority.members.count)")
  say("Next: lifeline ma")
  return true
}
