// Several MAs deciding together: proposals that go round among them, and the operator's commands for it.
//
// A proposal is a successor of the descriptor that too few have signed. It goes to every other MA as soon as there is a
// session, and what one signs there comes back the same way; a USB key carries it where no wire does. An operator signs.

import Beacon
import Bearer
import Core
import Crypto
import Membership
import Neighbour
import Onion
import Session
import Store
import Topology
import Wire

extension Node {
  // MARK: Among MAs

  /// What another MA should know of, when its session is made.
  mutating func tellProposals(on channel: Channel) {
    guard let authority else { return }
    for proposal in authority.proposals + (contents.authority.proposal.map { [$0] } ?? []) {
      _ = channel.stream.send([ControlType.proposal.rawValue] + proposal.encode())
    }
  }

  mutating func tellProposal(_ proposal: NetworkDescriptor, except teller: Int? = nil) {
    guard let authority else { return }
    for entry in descriptor.authorities where Int(entry.index) != teller {
      guard let number = authority.byID[entry.id], channels[Int(number)].session != nil else { continue }
      _ = channels[Int(number)].stream.send([ControlType.proposal.rawValue] + proposal.encode())
    }
  }

  mutating func receiveProposal(_ body: Span<UInt8>, on channel: Channel, at now: Instant) {
    guard let authority else { return }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(body.count)
    for i in body.indices { bytes.append(body[i]) }
    var proposal: NetworkDescriptor
    do throws(MembershipError) { proposal = try NetworkDescriptor(decoding: bytes) } catch {
      counters.controlInvalid &+= 1
      return
    }
    guard proposal.epoch == descriptor.epoch &+ 1 else { return }
    let teller = channel.authorityIndex
    guard succession.mayJudge(.authority(teller), at: now) else {
      counters.successionOverBudget &+= 1
      return
    }
    // One that is signed well has its price too: an MA alone can sign as many as it likes.
    succession.charge(.authority(teller))
    let signers: [AuthorityEntry]
    do throws(ProposalRefusal) { signers = try contents.signers(of: proposal) } catch {
      counters.successionRefused &+= 1
      return
    }
    let name = proposal.proposalID
    if contents.authority.proposal?.proposalID == name {
      let before = descriptor
      guard let progress = contents.gather(proposal, entropy: &entropy) else { return }
      settle(progress, before, except: teller, at: now)
      return
    }
    if let place = authority.proposals.firstIndex(where: { $0.proposalID == name }) {
      guard authority.proposals[place].gather(from: proposal, signedBy: descriptor) else { return }
      proposal = authority.proposals[place]
    } else {
      proposal.dropForeignSignatures(descriptor)
      if authority.proposals.count == AuthorityState.proposalLimit { authority.proposals.removeFirst() }
      authority.proposals.append(proposal)
      report(
        .notice,
        "\(signers[0].name.description) proposes epoch \(Int(proposal.epoch)), fingerprint \(proposal.fingerprint): "
          + "lifeline ctl proposals shows it, lifeline ctl sign \(name.description) agrees")
    }
    // Signed by enough already: no more is needed from here.
    if proposal.isSuccessor(of: descriptor) { adopt(proposal, at: now) } else { tellProposal(proposal, except: teller) }
  }

  /// A proposal has gone on: it is the descriptor, or waits for more signatures.
  private mutating func settle(
    _ progress: ProposalProgress, _ before: NetworkDescriptor, except teller: Int? = nil, at now: Instant
  ) {
    switch progress {
    case .waiting(let proposal, _, _):
      persist(promising: true)
      authority?.proposals.removeAll { $0.proposalID == proposal.proposalID }
      tellProposal(proposal, except: teller)
    case .adopted(let next):
      follow(before, signing: true, at: now)
      // Where only the wire to an MA leads, the signatures count as much as the descriptor.
      tellProposal(next, except: teller)
    }
  }

  // MARK: Commands

  /// The commands of this file; nil when it is another.
  mutating func council(_ command: [UInt8], _ request: ControlRequest, at now: Instant) -> ControlAnswer? {
    let isProposals = isWord(command, "proposals")
    let isChange = isWord(command, "remove") || isWord(command, "revoke")
    guard isProposals || isChange || isWord(command, "sign") || isWord(command, "keyfiles") else { return nil }
    guard authority != nil else { return .failure("only an authority decides about the network: run this on an MA") }
    if isProposals { return .document(proposalsDocument()) }
    if isWord(command, "keyfiles") { return keyFiles(request) }
    if isChange { return change(request, revoke: isWord(command, "revoke"), at: now) }
    guard request.words.count == 2, let name = bytes(hexadecimal: request.words[1]), name.count == 16 else {
      return .failure("sign what? lifeline ctl sign ID, with the 32 hexadecimal digits of lifeline ctl proposals")
    }
    return sign(ComponentID(name.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }), at: now)
  }

  private func knownProposals() -> [NetworkDescriptor] {
    (contents.authority.proposal.map { [$0] } ?? []) + (authority?.proposals ?? [])
  }

  private func proposalsDocument() -> [UInt8] {
    var json = JSONWriter()
    json.array { json in
      for proposal in knownProposals() { json.object { json in write(proposal, &json) } }
    }
    return json.bytes
  }

  private func write(_ proposal: NetworkDescriptor, _ json: inout JSONWriter) {
    json.field("id", proposal.proposalID.description)
    json.field("epoch", Int(proposal.epoch))
    json.field("fingerprint", proposal.fingerprint)
    json.key("changes")
    json.array { json in for line in proposal.changes(from: descriptor) { json.string(line) } }
    json.key("signedBy")
    json.array { json in
      for signer in proposal.validSigners(among: descriptor.authorities) { json.string(signer.name.description) }
    }
    json.field("needed", Int(descriptor.threshold))
  }

  private mutating func sign(_ name: ComponentID, at now: Instant) -> ControlAnswer {
    let known = knownProposals()
    guard
      let proposal = known.first(where: {
        $0.proposalID == name || ($0.index(of: name) != nil && descriptor.index(of: name) == nil)
      })
    else { return .failure("no proposal \(name.description): lifeline ctl proposals lists them") }
    return agree(to: proposal, at: now)
  }

  private mutating func agree(to proposal: NetworkDescriptor, at now: Instant) -> ControlAnswer {
    let before = descriptor
    let progress: ProposalProgress
    do throws(ProposalRefusal) { progress = try contents.sign(proposal, entropy: &entropy) } catch {
      return .failure(error.description)
    }
    return answer(progress, before, at: now)
  }

  private mutating func change(_ request: ControlRequest, revoke: Bool, at now: Instant) -> ControlAnswer {
    var threshold: UInt8?
    var target: [UInt8]?
    var rest = request.words.dropFirst()
    while let word = rest.popFirst() {
      if word.elementsEqual("--threshold".utf8) {
        guard let digits = rest.popFirst(), let value = decimal(digits[...]), (1...16).contains(value) else {
          return .failure("--threshold is 1 to 16")
        }
        threshold = UInt8(value)
      } else if target == nil {
        target = word
      } else {
        return .failure("one node at a time")
      }
    }
    guard let target else { return .failure("which node?") }
    let before = descriptor
    do throws(MembershipError) {
      let name = try NodeName(member(named: target)?.name.bytes ?? target)
      do throws(ProposalRefusal) {
        var order = try contents.removal(of: name, revoke: revoke, threshold: threshold)
        // Of two with one name, the one whose ID was given.
        if revoke, let id = member(named: target)?.id, descriptor.index(of: id) == nil { order.revoked = [id] }
        return answer(try contents.propose(order, entropy: &entropy), before, at: now)
      } catch { return .failure(error.description) }
    } catch { return .failure("\(String(decoding: target, as: UTF8.self)) \(error.description)") }
  }

  private mutating func answer(
    _ progress: ProposalProgress, _ before: NetworkDescriptor, at now: Instant
  ) -> ControlAnswer {
    settle(progress, before, at: now)
    settle(at: now)
    var json = JSONWriter()
    json.object { json in
      switch progress {
      case .adopted(let next):
        json.field("verdict", "in force")
        json.field("epoch", Int(next.epoch))
        json.key("changes")
        json.array { json in for line in next.changes(from: before) { json.string(line) } }
        json.key("added")
        json.array { json in
          for entry in next.authorities where before.index(of: entry.id) == nil { json.string(entry.id.description) }
        }
      case .waiting(let proposal, let have, let need):
        json.field("verdict", "waits for signatures")
        write(proposal, &json)
        json.field("missing", need - have)
      }
    }
    return .document(json.bytes)
  }

  // MARK: Keys

  /// `accept` of a proposal on a key: shown, or signed.
  mutating func acceptProposal(_ file: [UInt8], _ policy: AcceptPolicy, at now: Instant) -> ControlAnswer {
    let proposal: NetworkDescriptor
    do throws(MembershipError) {
      proposal = try NetworkDescriptor(decoding: try KeyFile.unwrap(.proposal, file))
    } catch { return .failure("the proposal on the key is unusable: \(error.description)") }
    let before = descriptor
    var progress: ProposalProgress?
    do throws(ProposalRefusal) {
      _ = try contents.signers(of: proposal)
      if policy.takes(proposal, after: descriptor) { progress = try contents.sign(proposal, entropy: &entropy) }
    } catch { return .failure(error.description) }
    if let progress { return answer(progress, before, at: now) }
    var json = JSONWriter()
    json.object { json in
      json.field("verdict", "waiting")
      write(proposal, &json)
    }
    return .document(json.bytes)
  }

  /// The files a key is to hold now: the descriptor, the proposal this MA has signed, and for new MAs their admission.
  private mutating func keyFiles(_ request: ControlRequest) -> ControlAnswer {
    var json = JSONWriter()
    var sealed: [(ComponentID, [UInt8])] = []
    for word in request.words.dropFirst() {
      guard let raw = bytes(hexadecimal: word), raw.count == 16 else { continue }
      let id = ComponentID(raw.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) })
      for entry in descriptor.authorities where entry.id == id {
        guard let admission = contents.admission(for: entry),
          let box = SealedAdmission(admission, for: entry, entropy: &entropy)
        else { continue }
        sealed.append((id, box.encode()))
      }
    }
    json.object { json in
      json.field("epoch", Int(descriptor.epoch))
      json.field("network", hexadecimal(KeyFile.wrap(.network, descriptor.encode())))
      json.field(
        "proposal", contents.authority.proposal.map { hexadecimal(KeyFile.wrap(.proposal, $0.encode())) })
      json.key("admissions")
      json.array { json in
        for (id, file) in sealed {
          json.object { json in
            json.field("id", id.description)
            json.field("file", hexadecimal(file))
          }
        }
      }
    }
    return .document(json.bytes)
  }

  // MARK: Status

  /// The MAs of the descriptor, as this node sees them.
  func writeAuthorities(_ json: inout JSONWriter) {
    json.key("authorities")
    json.array { json in
      for entry in descriptor.authorities {
        json.object { json in
          json.field("index", Int(entry.index))
          json.field("name", entry.name.description)
          json.field("ipv4", dottedQuad(entry.ipv4))
          json.field("reached", reaches(entry))
          if authority == nil { json.field("preferred", preferred?.peer == entry.id) }
        }
      }
    }
  }

  private func reaches(_ entry: AuthorityEntry) -> Bool {
    if entry.id == identity.id { return true }
    if let authority {
      guard let number = authority.byID[entry.id] else { return false }
      return channels[Int(number)].session != nil && channels[Int(number)].isRouted
    }
    for uplink in uplinks where uplink.channel.peer == entry.id { return isReached(uplink) }
    return false
  }
}
