// key, enroll and accept: how a box becomes a member by a key carried between it and an authority.

import Core
import Crypto
import Membership
import Runtime
import Store

private let secretsByDefault = 16

func provisionKey(_ options: ProvisionOptions) throws(CommandFailure) {
  let key = try KeyDirectory(options.usb ?? [])
  var store = try StoreOnDisk(options.store)
  var contents = store.loaded
  try requireAuthority(contents, options)
  switch try key.readNetwork() {
  case .absent, .damaged: break
  case .found(let other):
    if other.networkID != contents.networkID {
      throw .failed(
        "\(text(key.root)) belongs to another network (\(other.domain.description)): use another directory, or remove it"
      )
    }
    if other.epoch > contents.descriptor.epoch {
      throw .failed(
        "\(text(key.networkFile)) has epoch \(Int(other.epoch)) of the network, newer than this store's "
          + "\(Int(contents.descriptor.epoch)): start the authority once so that it catches up")
    }
  }
  try key.makeDirectories()
  let frame = KeyFile.wrap(.network, contents.descriptor.encode())
  do throws(SystemError) { try Files.replace(key.networkFile, with: frame) } catch {
    throw .failed(systemMessage(error))
  }
  var entropy = try freshEntropy()
  var withdrawn = 0
  if options.withdraw { withdrawn = contents.withdrawSecrets() }
  let issued: [EnrolmentSecret]
  do throws(StoreError) {
    issued = try contents.issueSecrets(options.count ?? secretsByDefault, entropy: &entropy)
  } catch {
    var advice = ""
    if case .secretLimit = error {
      advice = ": give fewer with --count, or make the old ones worthless with --withdraw"
    }
    throw .failed("\(text(options.store)) \(error.description)\(advice)")
  }
  // The store first: a secret on a key that the authority does not know would cost a walk to the box.
  try store.write(contents)
  var written = 0
  var worthless = 0
  var failure: CommandFailure?
  do throws(CommandFailure) {
    worthless = try key.discardWorthless(contents)
    (written, failure) = try key.write(issued)
  } catch { failure = error }
  if let failure {
    contents.withdrawSecrets(Array(issued[written...]))
    try store.write(contents)
    throw failure
  }
  if withdrawn > 0 { say("\(withdrawn) unused secrets given out before are worthless now") }
  if worthless > 0 { say("\(worthless) worthless secrets were removed from \(text(key.root))") }
  say(
    "\(text(key.root)) carries \(contents.descriptor.domain.description) and \(written) new enrolment secrets; "
      + "on each new box: lifeline provision enroll --usb DIR")
}

// MARK: - The new box

func provisionEnroll(_ options: ProvisionOptions) throws(CommandFailure) {
  let key = try KeyDirectory(options.usb ?? [])
  if try completeAuthority(options, key) { return }
  switch try StoreState(of: options.store, warns: false) {
  case .found(let store): try askAgain(options, key, store.contents)
  case .absent, .blank: try askFirst(options, key)
  }
}

private func askFirst(_ options: ProvisionOptions, _ key: KeyDirectory) throws(CommandFailure) {
  let network = try key.network()
  let name: NodeName
  if let given = options.name { name = given } else { name = try nameOfHost() }
  let secret = try unusedSecret(key, network)
  var entropy = try freshEntropy()
  let contents = StoreContents(
    enrolling: network, secret: secret.secret, name: name, role: options.role ?? .component, entropy: &entropy)
  let draft = try draftRecord(contents, key, &entropy)
  do throws(CommandFailure) { try StoreOnDisk.create(options.store, contents) } catch {
    Files.discard(draft)
    throw error
  }
  try publish(draft, contents, secret, key, options)
}

/// A box that asked before: with the same secret when this key is the one it was interrupted with, or still has its
/// record; else with a new one.
private func askAgain(
  _ options: ProvisionOptions, _ key: KeyDirectory, _ before: StoreContents
) throws(CommandFailure) {
  if before.isEnrolled {
    throw .failed(
      "\(text(options.store)) is already the store of \(before.name.description) in "
        + "\(before.descriptor.domain.description): give another --store, or remove the file to lose that identity")
  }
  let network = try key.network()
  if network.networkID != before.networkID {
    throw .failed(
      "\(text(options.store)) asks for membership in \(before.descriptor.domain.description), and the key is of "
        + "\(network.domain.description): remove \(text(options.store)) to join that one instead")
  }
  if let role = options.role, role != before.role {
    throw .failed(
      "\(text(options.store)) was made for role \(before.role.name): remove it to enroll as \(role.name)")
  }
  var store = try StoreOnDisk(options.store)
  var contents = store.loaded
  var entropy = try freshEntropy()
  let recordIsThere: Bool
  do throws(SystemError) {
    recordIsThere = try Files.statusIfPresent(key.recordPath(contents.identity.id)) != nil
  } catch { throw .failed(systemMessage(error)) }
  var file: KeyDirectory.SecretFile?
  for each in try key.readSecrets(of: network).usable where each.secret.serial == contents.pendingSecret?.serial {
    file = each
  }
  var secret = contents.pendingSecret
  if file == nil, !recordIsThere || secret == nil {
    let fresh = try unusedSecret(key, network)
    secret = fresh.secret
    file = fresh
  }
  guard let secret else { throw .store("\(text(options.store)) has no enrolment under way: remove it and enroll anew") }
  do throws(StoreError) {
    try contents.askAgain(as: options.name ?? contents.name, with: secret, in: network)
  } catch { throw .failed("\(text(options.store)) \(error.description)") }
  let draft = try draftRecord(contents, key, &entropy)
  do throws(CommandFailure) { try store.write(contents) } catch {
    Files.discard(draft)
    throw error
  }
  try publish(draft, contents, file, key, options)
}

/// Writes the record to the key under a temporary name: a full or read-only key is found before anything is changed.
private func draftRecord(
  _ contents: StoreContents, _ key: KeyDirectory, _ entropy: inout Entropy
) throws(CommandFailure) -> [UInt8] {
  guard let record = contents.enrolmentRecord, let secret = contents.pendingSecret,
    let authority = contents.descriptor.authority(at: secret.issuer),
    let sealed = SealedRecord(record, for: authority, entropy: &entropy)
  else {
    throw .failed("\(text(key.networkFile)) names no authority a record can be sealed for: write the key again")
  }
  try key.makeDirectories()
  do throws(SystemError) { return try Files.draft(for: key.recordPath(record.id), sealed.encode()) } catch {
    throw .failed(systemMessage(error))
  }
}

/// With the store safe: claims the secret, so that no other box takes it, shows the record, and removes the secret.
/// Pulled out in between, the key carries on where it was when the command is run again.
private func publish(
  _ draft: [UInt8], _ contents: StoreContents, _ file: KeyDirectory.SecretFile?, _ key: KeyDirectory,
  _ options: ProvisionOptions
) throws(CommandFailure) {
  do throws(SystemError) {
    if let file, !file.isTaken {
      try Files.rename(file.path, file.takenPath)
      try Files.synchronizeDirectory(key.secrets)
    }
    try Files.commit(draft: draft, as: key.recordPath(contents.identity.id))
    if let file {
      try Files.remove(file.takenPath)
      try Files.synchronizeDirectory(key.secrets)
    }
  } catch {
    Files.discard(draft)
    throw .failed(systemMessage(error) + "; \(text(options.store)) keeps the request: run the same command again")
  }
  say("name         \(contents.name.description).\(contents.descriptor.domain.description)")
  say("role         \(contents.role.name)")
  say("id           \(contents.identity.id.description)")
  say("fingerprint  \(contents.identity.fingerprint)")
  var accepter = "an authority"
  if let secret = contents.pendingSecret, let entry = contents.descriptor.authority(at: secret.issuer) {
    accepter = entry.name.description
  }
  say("Take the key to \(accepter): lifeline provision accept --usb DIR (or lifeline ctl accept DIR while it runs)")
}

private func unusedSecret(
  _ key: KeyDirectory, _ network: NetworkDescriptor
) throws(CommandFailure) -> KeyDirectory.SecretFile {
  let found = try key.readSecrets(of: network)
  for file in found.usable where !file.isTaken { return file }
  let note = found.unusable > 0 ? " (\(found.unusable) files there are damaged or of another network)" : ""
  throw .failed(
    "no unused enrolment secret in \(text(key.secrets))\(note): make more on an authority with lifeline provision key")
}

// MARK: - The authority

func provisionAccept(_ options: ProvisionOptions) throws(CommandFailure) {
  let key = try KeyDirectory(options.usb ?? [])
  var store = try StoreOnDisk(options.store, whenLocked: "use lifeline ctl accept \(text(options.usb ?? []))")
  var contents = store.loaded
  try requireAuthority(contents, options)
  let before = contents.descriptor
  let found = try key.readRecords()
  let proposal = try key.proposal()
  if found.isEmpty, proposal == nil {
    guard let waiting = contents.authority.proposal else { throw key.nothingToAccept() }
    try key.write(contents, admitting: [])
    tell(
      .waiting(
        waiting, have: waiting.validSigners(among: before.authorities).count, need: Int(before.threshold)), before, key)
    return
  }
  var policy = AcceptPolicy.list
  if options.yes { policy = .all }
  if let id = options.expect { policy = .only(id, as: options.name) }
  // The proposal first: what it changes is what the records meet.
  var progress: ProposalProgress?
  var refusal: String?
  if let proposal { (progress, refusal) = try judgeProposal(proposal, &contents, policy, key) }
  var records: [[UInt8]] = []
  for each in found { records.append(each.file) }
  var entropy = try freshEntropy()
  let outcomes: [AcceptOutcome]
  do throws(StoreError) {
    outcomes = try contents.accept(records: records, policy: policy, threshold: options.threshold, entropy: &entropy)
  } catch { throw .failed("\(text(options.store)) \(error.description)") }
  if progress != nil || outcomes.contains(where: { $0.changesStore }) { try store.write(contents) }
  let admitted = admittedAuthorities(outcomes, contents, since: before)
  // An old proposal on a key that the network has left behind goes too.
  let isOld = (proposal?.epoch ?? .max) <= contents.descriptor.epoch
  if progress != nil || isOld || !admitted.isEmpty || contents.authority.proposal != nil {
    try key.write(contents, admitting: admitted)
  }
  if let progress { tell(progress, before, key) }
  if let refusal { complain(refusal) }
  let settles = options.expect.map { id in
    proposal.map { policy.takes($0, after: before) && $0.index(of: id) != nil } ?? false
  }
  if found.isEmpty || (settles ?? false) && !outcomes.contains(where: { $0.record?.id == options.expect }) {
    if refusal != nil { throw .failed("the proposal was refused, as said above") }
    if policy.isListing { say("Nothing was signed. Compare the fingerprint, then give --yes or --expect ID.") }
    return
  }
  try report(outcomes, found, key, options)
  if refusal != nil { throw .failed("the proposal was refused, as said above") }
}

/// New authorities whose admission belongs on the key: those of a descriptor that was just completed, and those whose
/// record is still there since the key was pulled out.
private func admittedAuthorities(
  _ outcomes: [AcceptOutcome], _ contents: StoreContents, since before: NetworkDescriptor
) -> [ComponentID] {
  var ids = newAuthorities(contents.descriptor, since: before)
  for outcome in outcomes {
    if case .alreadyMember(let member) = outcome.verdict, member.certificate.role == .authority {
      ids.append(member.id)
    }
  }
  return ids
}

private func report(
  _ outcomes: [AcceptOutcome], _ found: [KeyDirectory.Record], _ key: KeyDirectory, _ options: ProvisionOptions
) throws(CommandFailure) {
  let isListing = !options.yes && options.expect == nil
  var count = AcceptCount()
  for outcome in outcomes {
    // With --expect, another box's trouble is not this command's.
    if let id = options.expect, outcome.record?.id != id { continue }
    if case .refused = outcome.verdict {
      count.refused += 1
      complain("\(text(found[outcome.position].path)): \(outcome.summary)")
    } else {
      count.taken += 1
      say(outcome.summary)
      if case .proposed(let next, let have, let need) = outcome.verdict {
        say(
          "\(next.proposalID.description) lies on the key: take it to \(need - have) more authorit\(need - have == 1 ? "y" : "ies")"
        )
      }
    }
    if !isListing, outcome.isSpent { key.discard(found[outcome.position]) }
  }
  if let failure = count.failure(options.expect, isListing: isListing, key) { throw failure }
  if isListing { say(AcceptCount.advice) }
}

func requireAuthority(_ contents: StoreContents, _ options: ProvisionOptions) throws(CommandFailure) {
  if contents.role != .authority {
    throw .failed(
      "\(text(options.store)) is the store of a component (\(contents.name.description)): run this on an authority")
  }
  if contents.authorityIndex == nil {
    throw .failed(
      "\(text(options.store)): \(contents.name.description) is no authority of \(contents.descriptor.domain.description) "
        + "yet, or no longer: start it so that it learns the newest descriptor")
  }
}
