// Descriptors on the wire (docs/PROTOCOL.md §9, "Succession"): a node whose descriptor is older than a linked neighbour's
// asks it for the next one, piece by piece; an MA sends what a component lacks inside the session; and whoever has got a
// new descriptor shows it to all neighbours at once, so that it crosses the network at the speed of its links. Whatever
// the way, a descriptor counts when it follows the one this node has, and nothing else does.
//
// Two successors of one epoch cannot both be followed. A node keeps to the one it got first, since none goes back; it
// reports the other with the names of those who signed both, and from then on leads nobody to either. Both go from
// neighbour to neighbour as evidence, so that every node that has one of them says so.

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
  // MARK: Going on

  /// Follows the next descriptor, if it is that.
  mutating func adopt(_ next: NetworkDescriptor, at now: Instant) {
    let before = descriptor
    do throws(StoreError) { try contents.adopt(next) } catch {
      report(.error, "the descriptor of epoch \(Int(next.epoch)) cannot be followed: \(error.description)")
      return
    }
    follow(before, at: now)
  }

  /// The store has gone on from `before`; so does everything else. Channels, routes and beacons of the MAs that stay are
  /// not touched.
  /// `signing` when this MA's own signature is part of it.
  mutating func follow(_ before: NetworkDescriptor, signing: Bool = false, at now: Instant) {
    // What the beacon engine has to say names MAs by their places in the old list.
    drainBeacon(at: now)
    persist(promising: signing)
    let next = contents.descriptor
    descriptor = next
    succession.keep(next)
    succession.startAnew()
    for entry in before.authorities where next.authority(at: entry.index)?.id != entry.id {
      removeUplink(entry, at: now)
    }
    beacon.update(authorities: next.authorities.map { BeaconAuthority(id: $0.id, signingKey: $0.signingKey) })
    beacon.epoch = next.epoch
    for entry in next.authorities where entry.id != identity.id && before.index(of: entry.id) == nil {
      addUplink(entry)
    }
    // Those who leave by it hear of it while there is a link.
    passOn(at: now)
    followAsAuthority(before, at: now)
    neighbour.update(descriptor: next, certificate: contents.certificate, at: now)
    needFrames(at: now)
    configureBearer()
    for line in next.changes(from: before) { report(.notice, "epoch \(Int(next.epoch)): \(line)") }
    if next.isRevoked(identity.id) { report(.error, "this node's ID is revoked: it is no member any more") }
    noticeEpochs(at: now)
  }

  mutating func addUplink(_ entry: AuthorityEntry) {
    guard let number = takeChannelNumber() else { return }
    let channel = Channel(
      number: number, peer: entry.id, authorityIndex: Int(entry.index), isUplink: true, protectedRate: protectedRate,
      agenda: agenda)
    channel.name = Array(entry.name.bytes)
    channel.ipv4 = entry.ipv4
    put(channel)
    let place = uplinks.firstIndex { $0.channel.authorityIndex > channel.authorityIndex } ?? uplinks.count
    uplinks.insert(Uplink(channel: channel, entropy: &entropy), at: place)
  }

  private mutating func removeUplink(_ entry: AuthorityEntry, at now: Instant) {
    guard let place = uplinks.firstIndex(where: { $0.channel.peer == entry.id }) else { return }
    let channel = uplinks.remove(at: place).channel
    channel.end()
    freeNumbers.append(channel.number)
    if preferred === channel { preferred = nil }
    relay.removeKey(authority: Int(entry.index))
    detours[Int(entry.index)] = nil
    _ = relayDesk.takeHeld(authorityIndex: Int(entry.index))
  }

  // MARK: Neighbours

  /// A link came up: its other end may have a newer descriptor, or another of the same epoch.
  mutating func showStanding(to adjacency: UInt16, at now: Instant) {
    if isPromising { return noticeEpochs(at: now) }
    sendStanding(descriptor.epoch, succession.standing, on: adjacency, at: now)
    if let contested = succession.contested {
      sendStanding(contested.epoch, contested.proposalID, on: adjacency, at: now)
    }
    noticeEpochs(at: now)
  }

  private mutating func sendStanding(_ epoch: UInt32, _ name: ComponentID, on adjacency: UInt16, at now: Instant) {
    sendLink(
      subtype: LinkSubtype.standing, SuccessionStanding(epoch: epoch, name: name).encode(), on: adjacency, at: now)
  }

  /// A neighbour's epoch may have changed. One that has caught up did not take beacons of MAs it had not heard of.
  mutating func neighbourChanged(_ number: UInt16, at now: Instant) {
    if descriptor.authorities.count > 1, neighbour.adjacency(number)?.neighbourEpoch == descriptor.epoch {
      beacon.adjacencyUp(number, at: now)
    }
    noticeEpochs(at: now)
  }

  /// Asks for the next descriptor, when a neighbour has one.
  mutating func noticeEpochs(at now: Instant) {
    guard succession.askDue == .never, newerNeighbour() != nil else { return }
    succession.askDue = now
    succession.askDelay = Succession.firstDelay
  }

  /// The next linked neighbour, after the one asked last, that has a newer descriptor.
  private func newerNeighbour() -> UInt16? {
    var first: UInt16?
    for view in neighbour.adjacencies where view.state == .up && view.neighbourEpoch > descriptor.epoch {
      if view.number > succession.asked { return view.number }
      if first == nil { first = view.number }
    }
    return first
  }

  mutating func tendSuccession(at now: Instant) {
    for uplink in uplinks where uplink.isReady && uplink.chainDue <= now {
      let position = beaconPosition(uplink.channel.authorityIndex)
      guard let newest = beacon.newest(authority: position), newest.epoch > descriptor.epoch else { continue }
      askForChain(uplink, from: descriptor.epoch &+ 1, at: now)
    }
    if succession.evidenceDue <= now {
      succession.endTurn(isAnswered: false)
      askForNamed(at: now)
    }
    guard succession.askDue <= now else { return }
    // Whoever was asked before has had its time.
    succession.fetch = nil
    succession.isAwaited = false
    guard let adjacency = newerNeighbour() else {
      succession.askDue = .never
      return
    }
    succession.asked = adjacency
    succession.isAwaited = true
    sendAsk(descriptor.epoch &+ 1, 0, Node.anyName, on: adjacency, at: now)
    succession.askDue = now + succession.askDelay
    succession.askDelay = min(succession.askDelay * 2, Succession.longestDelay)
  }

  private static let anyName = ComponentID(Bytes16())

  private mutating func sendAsk(
    _ epoch: UInt32, _ offset: Int, _ name: ComponentID, on adjacency: UInt16, at now: Instant
  ) {
    let ask = SuccessionAsk(epoch: epoch, offset: UInt16(clamping: offset), name: name)
    sendLink(subtype: LinkSubtype.successionAsk, ask.encode(), on: adjacency, at: now)
  }

  private mutating func askForChain(_ uplink: Uplink, from epoch: UInt32, at now: Instant) {
    uplink.chainDue = now + Uplink.chainSpacing
    _ = uplink.channel.stream.send([ControlType.chain.rawValue] + bigEndian(epoch))
  }

  /// A descriptor of this epoch with the signatures that make it count; nil when there is none here, or two.
  private func signedDescriptor(_ epoch: UInt32, named name: ComponentID = Node.anyName) -> NetworkDescriptor? {
    if name != Node.anyName {
      if let contested = succession.contested, contested.proposalID == name { return contested }
      for each in succession.kept where each.epoch == epoch && each.proposalID == name { return each }
      return nil
    }
    if let contested = succession.contested, contested.epoch == epoch { return nil }
    for each in succession.kept where each.epoch == epoch && !each.signatures.isEmpty { return each }
    for each in contents.authority.earlierDescriptors where each.epoch == epoch { return each }
    return nil
  }

  /// Shows the new descriptor to every linked neighbour, and to the components of this MA.
  private mutating func passOn(at now: Instant) {
    guard let encoded = signedDescriptor(descriptor.epoch)?.encode() else { return }
    showNeighbours(encoded, at: now)
    for channel in channels where !channel.isUplink && channel.session != nil {
      _ = channel.stream.send([ControlType.descriptor.rawValue] + encoded)
    }
  }

  /// A promise is on the medium: neighbours hear what was kept back, as on control channels.
  mutating func handOn(at now: Instant) {
    if let encoded = signedDescriptor(descriptor.epoch)?.encode() { showNeighbours(encoded, at: now) }
    for view in neighbour.adjacencies where view.state == .up { showStanding(to: view.number, at: now) }
  }

  private mutating func showNeighbours(_ encoded: [UInt8], at now: Instant) {
    if isPromising { return }
    for view in neighbour.adjacencies where view.state == .up && view.neighbourEpoch < descriptor.epoch {
      sendPiece(encoded, descriptor.epoch, 0, on: view.number, at: now)
    }
  }

  private mutating func sendPiece(
    _ encoded: [UInt8], _ epoch: UInt32, _ offset: Int, on adjacency: UInt16, at now: Instant
  ) {
    guard offset < encoded.count else { return }
    let end = min(encoded.count, offset + SuccessionPiece.limit)
    let piece = SuccessionPiece(
      epoch: epoch, length: UInt16(clamping: encoded.count), offset: UInt16(clamping: offset),
      bytes: Array(encoded[offset..<end]))
    sendLink(subtype: LinkSubtype.successionPiece, piece.encode(), on: adjacency, at: now)
  }

  mutating func receiveSuccession(_ subtype: UInt8, _ bytes: [UInt8], on adjacency: UInt16, at now: Instant) {
    do throws(WireError) {
      switch subtype {
      case LinkSubtype.successionAsk: answerAsk(try SuccessionAsk(decoding: bytes.span), on: adjacency, at: now)
      case LinkSubtype.successionPiece: receivePiece(try SuccessionPiece(decoding: bytes.span), on: adjacency, at: now)
      default:
        let standing = try SuccessionStanding(decoding: bytes.span)
        // Another of the same epoch: the whole of it says who signed it.
        if standing.epoch == descriptor.epoch, standing.name != succession.standing, succession.contested == nil {
          succession.name(standing.name, by: adjacency)
          askForNamed(at: now)
        }
      }
    } catch {
      counters.relayInvalid &+= 1
    }
  }

  private mutating func answerAsk(_ ask: SuccessionAsk, on adjacency: UInt16, at now: Instant) {
    guard succession.handed.spend(adjacency, at: now) else {
      counters.successionOverBudget &+= 1
      return
    }
    if isPromising && ask.epoch >= descriptor.epoch { return }
    if let known = signedDescriptor(ask.epoch, named: ask.name) {
      sendPiece(known.encode(), ask.epoch, Int(ask.offset), on: adjacency, at: now)
      return
    }
    // An MA may have it; the neighbour asks again.
    guard ask.epoch <= descriptor.epoch, succession.contested?.epoch != ask.epoch, ask.name == Node.anyName else {
      return
    }
    for uplink in uplinks where uplink.isReady && uplink.chainDue <= now {
      askForChain(uplink, from: ask.epoch, at: now)
      return
    }
  }

  /// Asks for the other descriptor of this epoch whose turn it is, unless one is on its way.
  private mutating func askForNamed(at now: Instant) {
    guard succession.evidenceDue == .never, let first = succession.named.first else { return }
    sendAsk(descriptor.epoch, 0, first.name, on: first.adjacency, at: now)
    succession.evidenceDue = now + Succession.pieceWait
  }

  private mutating func receivePiece(_ piece: SuccessionPiece, on adjacency: UInt16, at now: Instant) {
    // Full pieces only: who sends byte after byte would be waited for as long as that takes.
    guard Int(piece.length) <= NetworkDescriptor.encodedLimit,
      piece.bytes.count == min(SuccessionPiece.limit, Int(piece.length) - Int(piece.offset))
    else { return }
    if piece.epoch == descriptor.epoch {
      receiveEvidence(piece, on: adjacency, at: now)
    } else if piece.epoch == descriptor.epoch &+ 1 {
      receiveNext(piece, on: adjacency, at: now)
    }
  }

  /// A piece of the next epoch's descriptor.
  private mutating func receiveNext(_ piece: SuccessionPiece, on adjacency: UInt16, at now: Instant) {
    if piece.offset == 0 {
      let first = Succession.Fetch(piece, named: Node.anyName, from: adjacency, at: now)
      if succession.isAwaited, succession.asked == adjacency {
        succession.isAwaited = false
      } else {
        // What comes unasked does not disturb a fetch under way; what is whole needs none.
        guard first.isWhole || succession.fetch == nil else { return }
        guard succession.mayShow(piece.epoch, adjacency) else {
          counters.successionOverBudget &+= 1
          return
        }
      }
      if first.isWhole {
        consider(first.bytes, shownBy: .neighbour(adjacency), as: piece.epoch, at: now)
        return
      }
      succession.fetch = first
    } else {
      guard succession.fetch?.take(piece, from: adjacency) == true else { return }
    }
    guard let fetch = succession.fetch else { return }
    guard fetch.isWhole else {
      sendAsk(fetch.epoch, fetch.bytes.count, Node.anyName, on: adjacency, at: now)
      // Should a piece be lost, or be kept back, another neighbour is asked.
      if !succession.isAwaited { succession.askDue = fetch.ends(at: now) }
      return
    }
    succession.fetch = nil
    consider(fetch.bytes, shownBy: .neighbour(adjacency), as: fetch.epoch, at: now)
  }

  /// A piece of another descriptor of this epoch: from the one that was asked for it.
  private mutating func receiveEvidence(_ piece: SuccessionPiece, on adjacency: UInt16, at now: Instant) {
    guard let first = succession.named.first, first.adjacency == adjacency else { return }
    if piece.offset == 0, succession.evidence == nil {
      succession.evidence = Succession.Fetch(piece, named: first.name, from: adjacency, at: now)
    } else {
      guard succession.evidence?.take(piece, from: adjacency) == true else { return }
    }
    guard let evidence = succession.evidence else { return }
    guard evidence.isWhole else {
      sendAsk(evidence.epoch, evidence.bytes.count, evidence.name, on: adjacency, at: now)
      succession.evidenceDue = evidence.ends(at: now)
      return
    }
    succession.endTurn(isAnswered: true)
    consider(
      evidence.bytes, shownBy: .neighbour(adjacency), as: evidence.epoch, named: evidence.name, at: now)
    askForNamed(at: now)
  }

  private func name(of teller: Succession.Teller) -> String {
    switch teller {
    case .authority(let index): return authorityName(index)
    case .neighbour(let adjacency):
      guard let id = neighbour.adjacency(adjacency)?.id else { return "a neighbour" }
      return nameOf(id) ?? id.description
    }
  }

  // MARK: Sessions

  /// DESCRIPTOR: what an MA has and this node may lack.
  mutating func receiveDescriptor(_ body: Span<UInt8>, on channel: Channel, at now: Instant) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(body.count)
    for i in body.indices { bytes.append(body[i]) }
    consider(bytes, shownBy: .authority(channel.authorityIndex), at: now)
  }

  /// The descriptors from this epoch on, sixteen at most; who needs more asks again.
  mutating func sendChain(from epoch: UInt32, on channel: Channel) {
    var next = epoch
    while next <= descriptor.epoch, next - epoch < 16 {
      guard let known = signedDescriptor(next) else {
        if succession.complaints.takeIfAvailable(at: currentTime) {
          report(
            .warning,
            "\(nameOf(channel.peer) ?? channel.peer.description) lacks the descriptor of epoch \(Int(next)), which is not "
              + "kept here: another authority may have it, or it has to enroll anew")
        }
        return
      }
      guard channel.stream.send([ControlType.descriptor.rawValue] + known.encode()) else { return }
      next += 1
    }
  }

  // MARK: Judging

  /// - Parameters:
  ///   - epoch: The one it was said to be of.
  ///   - name: That of the one that was asked for.
  private mutating func consider(
    _ bytes: [UInt8], shownBy teller: Succession.Teller, as epoch: UInt32? = nil, named name: ComponentID? = nil,
    at now: Instant
  ) {
    let candidate: NetworkDescriptor
    do throws(MembershipError) { candidate = try NetworkDescriptor(decoding: bytes) } catch {
      counters.controlInvalid &+= 1
      return
    }
    guard candidate.networkID == descriptor.networkID, epoch == nil || epoch == candidate.epoch,
      name == nil || name == candidate.proposalID
    else {
      counters.controlInvalid &+= 1
      return
    }
    if candidate.epoch <= descriptor.epoch {
      compare(candidate, shownBy: teller, at: now)
      return
    }
    guard candidate.epoch == descriptor.epoch &+ 1 else {
      // Some are missing in between: whoever has a session asks for them, else the neighbours are asked.
      for uplink in uplinks where uplink.isReady && uplink.chainDue <= now {
        askForChain(uplink, from: descriptor.epoch &+ 1, at: now)
        return
      }
      return
    }
    if judge(candidate, after: descriptor, shownBy: teller, at: now) { adopt(candidate, at: now) }
  }

  /// Whether a descriptor follows `before`. Signatures are looked at last, and within a budget.
  private mutating func judge(
    _ candidate: NetworkDescriptor, after before: NetworkDescriptor, shownBy teller: Succession.Teller, at now: Instant
  ) -> Bool {
    if candidate.claimsToFollow(before) {
      guard succession.mayJudge(teller, at: now) else {
        counters.successionOverBudget &+= 1
        return false
      }
      if candidate.isSuccessor(of: before) { return true }
      succession.charge(teller)
    }
    counters.successionRefused &+= 1
    if succession.complaints.takeIfAvailable(at: now) {
      report(
        .warning,
        "\(name(of: teller)) shows a descriptor of epoch \(Int(candidate.epoch)) that does not follow that of epoch "
          + "\(Int(before.epoch)): refused")
    }
    return false
  }

  /// A descriptor of an epoch that was reached before: the same, or one that may not be.
  private mutating func compare(
    _ candidate: NetworkDescriptor, shownBy teller: Succession.Teller, at now: Instant
  ) {
    var known: NetworkDescriptor?
    var before: NetworkDescriptor?
    for each in contents.authority.earlierDescriptors + succession.kept {
      if each.epoch == candidate.epoch { known = each }
      if each.epoch &+ 1 == candidate.epoch { before = each }
    }
    guard let known else { return }
    if known.proposalID == candidate.proposalID {
      // Signatures for those who ask, where the store had no room for them.
      if known.signatures.isEmpty, candidate.epoch == descriptor.epoch, !candidate.signatures.isEmpty {
        succession.keep(candidate)
        contents.adoptSignatures(of: candidate)
      }
      return
    }
    // Without the one before nothing shows whose signatures count.
    guard succession.contested == nil, let before, judge(candidate, after: before, shownBy: teller, at: now) else {
      return
    }
    succession.contested = candidate
    succession.forgetNamed()
    for view in neighbour.adjacencies where view.state == .up { showStanding(to: view.number, at: now) }
    var names = ""
    let others = candidate.validSigners(among: before.authorities)
    for signer in known.validSigners(among: before.authorities) where others.contains(where: { $0.id == signer.id }) {
      names += (names.utf8.isEmpty ? "" : ", ") + signer.name.description
    }
    report(
      .error,
      "there are two descriptors of epoch \(Int(candidate.epoch)): this node follows the first it got (fingerprint "
        + "\(known.fingerprint)), refuses the other (\(candidate.fingerprint)) and leads nobody to either"
        + (names.utf8.isEmpty ? "" : "; signed both: \(names)"))
  }
}
