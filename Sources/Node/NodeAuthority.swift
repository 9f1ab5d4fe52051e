// The MA's side: challenge whoever asks and is a member, keep the graph, lay routes both ways.

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
  mutating func startAuthority(_ own: Int, at now: Instant) {
    let state = AuthorityState(
      index: own, root: identity.id, nodeLimit: limits.components,
      alternates: contents.settings.alternates ?? TopologyGraph.defaultAlternates, entropy: &entropy)
    authority = state
    relay.setKey(state.ownKey, authority: own, at: now)
    beacon.originate(boot: contents.bootCount, at: now)
    for member in contents.authority.members where member.state == .active && member.id != identity.id {
      _ = channel(for: member)
    }
    adoptOrphans(at: now)
  }

  /// The channel of a member, made when there is none; nil at the limit.
  mutating func channel(for member: Member) -> Channel? {
    guard let authority else { return nil }
    if let number = authority.byID[member.id] { return channels[Int(number)] }
    guard let channel = newChannel(with: member.id, agreementKey: member.certificate.agreementKey) else { return nil }
    introduce(member, on: channel)
    return channel
  }

  /// A channel with a component that may still have neither name nor address here.
  mutating func newChannel(with id: ComponentID, agreementKey: Bytes32) -> Channel? {
    guard let authority, let number = takeChannelNumber() else { return nil }
    let channel = Channel(
      number: number, peer: id, authorityIndex: authority.index, isUplink: false, protectedRate: protectedRate,
      agenda: agenda)
    channel.name = Array(id.description.utf8)
    put(channel)
    authority.byID[id] = number
    authority.byInterfaceID[channel.interfaceID] = number
    authority.admissions[number] = Admission(agreementKey: agreementKey)
    return channel
  }

  /// A number for a new channel; nil at the limit.
  mutating func takeChannelNumber() -> UInt32? {
    guard !freeNumbers.isEmpty || channels.count < limits.channels else {
      counters.memberLimit &+= 1
      return nil
    }
    return freeNumbers.popLast() ?? UInt32(channels.count)
  }

  mutating func put(_ channel: Channel) {
    guard Int(channel.number) < channels.count else {
      channels.append(channel)
      return
    }
    // Nothing of the one before is taken over.
    for epochAndSpace in 0..<UInt32(8) { reassembler.forget(peer: channel.number << 3 | epochAndSpace) }
    for other in channels {
      if other.carrier.leads(through: channel.number) { other.carrier = .none }
      if other.laterCarrier.leads(through: channel.number) { other.laterCarrier = .none }
    }
    channels[Int(channel.number)] = channel
  }

  mutating func tendAuthority(at now: Instant) {
    guard let authority else { return }
    for number in authority.challenged {
      guard let admission = authority.admissions[number] else { continue }
      sendChallenges(admission, at: now)
    }
    authority.challenged.removeAll { authority.admissions[$0]?.attempts.isEmpty ?? true }
    takeHeldAdvertisements(at: now)
    tendRenewals(at: now)
    tendMembers(at: now)
    if now >= authority.recomputeDue {
      authority.recomputeDue = .never
      _ = authority.computations.takeIfAvailable(at: now)
      counters.computations &+= 1
      layRoutes(at: now)
    }
    layAlternates(at: now)
    tendFaults(at: now)
    layDetours(at: now)
    sendShares(at: now)
    tellReached(at: now)
  }

  func scheduleRecompute(at now: Instant) {
    guard let authority else { return }
    let delay =
      authority.computations.hasToken(at: now) ? AuthorityState.recomputeDelay : AuthorityState.busyDelay
    authority.recomputeDue = min(authority.recomputeDue, now + delay)
  }

  mutating func authorityLinksChanged(at now: Instant) {
    guard let authority else { return }
    authority.graph.installRoot(adjacencies: ownAdjacencies())
    scheduleRecompute(at: now)
    beacon.announceChange(at: now)
  }

  // MARK: Admission

  /// A handshake frame from a neighbour of ours, or of the component whose session it came through.
  mutating func authorityReceived(_ up: RelayUp, carrier: Carrier, at now: Instant) {
    switch up.relay.kind {
    case .attach:
      let request: AttachRequest
      do throws(WireError) {
        request = try AttachRequest(decoding: up.relay.body.span)
      } catch {
        counters.relayInvalid &+= 1
        return
      }
      attach(request, up, carrier, at: now)
    case .response: completeChallenge(up.relay.body, carrier: carrier, at: now)
    case .sealedUp:
      guard up.relay.body.count > 4 else {
        counters.relayInvalid &+= 1
        return
      }
      var spi: UInt32 = 0
      for i in 0..<4 { spi = spi << 8 | UInt32(up.relay.body[i]) }
      receiveSealedBytes(Array(up.relay.body.dropFirst(4)), spi: spi, at: now)
    case .challenge, .sealedDown: counters.relayInvalid &+= 1
    }
  }

  private mutating func attach(_ request: AttachRequest, _ up: RelayUp, _ carrier: Carrier, at now: Instant) {
    guard let authority else { return }
    guard request.id != identity.id, !up.linked || up.neighbour == request.id else {
      counters.relayInvalid &+= 1
      return
    }
    guard let channel = channel(for: request, at: now), let admission = authority.admissions[channel.number] else {
      counters.strangersRefused &+= 1
      return
    }
    admission.saidEpoch = request.epoch
    // The component makes a new nonce when it takes a session into use: this one is late, or somebody repeats it.
    // And while its first frame may still be under way, another challenge would only be in that one's way.
    if request.nonce == admission.sessionNonce, channel.session != nil {
      counters.attachOld &+= 1
      if channel.isProved { return }
      if now - channel.sessionSince < Admission.provingTime {
        // Who passed the answer on has its way to the component already.
        if !carrier.isNoOther(than: channel.carrier) { channel.laterCarrier = carrier }
        if now - admission.hurriedAt >= ChallengeAttempt.spacing {
          admission.hurriedAt = now
          channel.stream.hurry()
        }
        return
      }
    }
    // A box that restarts in a loop, or a member that wants the others' ways laid anew all the time.
    guard channel.sessions.hasToken(at: now) else {
      counters.sessionsOverBudget &+= 1
      if up.linked, channel.session != nil, !channel.hasAskedInVain {
        channel.hasAskedInVain = true
        loseHearing(of: channel, heardFrom: now + Channel.longestUnderWay)
        scheduleRecompute(at: now)
      }
      return
    }
    let beside: ComponentID
    switch carrier {
    case .none: return
    case .neighbour: beside = identity.id
    case .through(let through, _): beside = channels[Int(through)].peer
    }
    for i in admission.attempts.indices
    where admission.attempts[i].carrier == carrier && admission.attempts[i].challenge.nonce == request.nonce {
      if up.linked { admission.attempts[i].isLinked = true }
      if now - admission.attempts[i].sentAt >= ChallengeAttempt.spacing { admission.attempts[i].due = now }
      return
    }
    if case .through(let through, _) = carrier, !channels[Int(through)].challenges.takeIfAvailable(at: now) {
      counters.challengesOverBudget &+= 1
      return
    }
    guard admission.makeRoom(beside: beside, isLinked: up.linked) else {
      counters.challengesOverBudget &+= 1
      return
    }
    do throws(SessionHandshakeError) {
      let challenge = try SessionChallenge(
        network: descriptor.networkID.bytes, authority: identity.id, authorityKey: identity.agreement,
        component: request.id, componentKey: admission.agreementKey, beside: beside, nonce: request.nonce,
        epoch: freeEpoch(channel, admission, besides: request.keyEpoch), spi: freshSPI(), entropy: &entropy)
      counters.challengesMade &+= 1
      admission.attempts.append(
        ChallengeAttempt(challenge: challenge, beside: beside, carrier: carrier, isLinked: up.linked, due: now))
    } catch {
      counters.handshakeRefused &+= 1
      return
    }
    if !authority.challenged.contains(channel.number) { authority.challenged.append(channel.number) }
  }

  /// A key epoch that no session in use or under way has, neither here nor, by the ATTACH's word, at the component. Where
  /// there is none left, one that no session in use has here.
  func freeEpoch(_ channel: Channel, _ admission: Admission, besides other: UInt8) -> UInt8 {
    var inUse: UInt8 = 0
    if let session = channel.session { inUse |= 1 << session.keys.epoch }
    if let previous = channel.previousSession { inUse |= 1 << previous.keys.epoch }
    var taken = inUse
    if other <= 3 { taken |= 1 << other }
    if let renewal = admission.renewal { taken |= 1 << renewal.epoch }
    // Attempts come last: anybody can have them made.
    var crowded = taken
    for attempt in admission.attempts { crowded |= 1 << attempt.challenge.epoch }
    let first = ((other <= 3 ? other : channel.session?.keys.epoch ?? 3) + 1) & 3
    for avoided in [crowded, taken, inUse] {
      for step in UInt8(0)..<4 where avoided & 1 << ((first + step) & 3) == 0 { return (first + step) & 3 }
    }
    return first
  }

  mutating func freshSPI() -> UInt32 {
    var spi = entropy.u32()
    while spi == 0 || authority?.bySPI[spi] != nil { spi = entropy.u32() }
    return spi
  }

  /// Sends the challenges of a channel that are due, and forgets those that were sent often enough.
  private mutating func sendChallenges(_ admission: Admission, at now: Instant) {
    admission.attempts.removeAll { $0.due <= now && $0.sendings >= ChallengeAttempt.sendingLimit }
    for i in admission.attempts.indices where admission.attempts[i].due <= now {
      var wait = Duration.milliseconds(50)
      for _ in 0..<admission.attempts[i].sendings { wait = min(wait * 2, .seconds(2)) }
      admission.attempts[i].sendings += 1
      admission.attempts[i].sentAt = now
      admission.attempts[i].due = now + wait
      let message = RelayMessage(
        kind: .challenge, authority: identity.id, body: admission.attempts[i].challenge.body)
      switch admission.attempts[i].carrier {
      case .none: break
      case .neighbour(let adjacency): sendLink(subtype: LinkSubtype.relay, message.encode(), on: adjacency, at: now)
      case .through(let through, let adjacency):
        sendDatagram(RelayDown(adjacency: adjacency, relay: message).encode(), on: channels[Int(through)], at: now)
      }
    }
  }

  /// A response, which must come from the neighbour its challenge went through.
  private mutating func completeChallenge(_ body: [UInt8], carrier: Carrier, at now: Instant) {
    guard let authority, body.count > 16 else { return }
    let nonce = body.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
    for number in authority.challenged {
      guard let admission = authority.admissions[number] else { continue }
      for i in admission.attempts.indices
      where admission.attempts[i].challenge.nonce == nonce && admission.attempts[i].carrier.isBeside(carrier) {
        do throws(SessionHandshakeError) {
          let keys = try admission.attempts[i].challenge.complete(response: body.span)
          // What else the component has answered does not count: it takes up whichever session it hears of.
          admission.attempts.removeAll { $0.challenge.nonce == nonce }
          admission.sessionNonce = nonce
          authenticated(channels[Int(number)], admission, keys, carrier, at: now)
          return
        } catch {
          counters.handshakeRefused &+= 1
        }
      }
    }
  }

  private mutating func authenticated(
    _ channel: Channel, _ admission: Admission, _ keys: SessionKeys, _ carrier: Carrier, at now: Instant
  ) {
    guard let authority else { return }
    if let previous = channel.previousSession { authority.forget(spi: previous.keys.spi, of: channel) }
    authority.bySPI[admission.spi] = nil
    admission.spi = keys.spi
    authority.bySPI[keys.spi] = channel.number
    channel.adopt(SecureSession(keys: keys), at: now)
    channel.hasAskedInVain = false
    channel.carrier = carrier
    admission.heldAdvertisement = []
    authority.graph.beginAnew(channel.peer)
    sendChain(from: admission.saidEpoch &+ 1, on: channel)
    sendWelcome(on: channel)
    scheduleRenewal(admission, at: now)
    markStale(through: channel, admission, isWorn: true)
    authority.detours.want(channel.number, at: now)
    if channel.isUnheard {
      // With its first frame others' ways are laid as well.
      channel.heardFrom = now
      authority.recomputeDue = min(authority.recomputeDue, now + AuthorityState.busyDelay)
    } else {
      scheduleRecompute(at: now)
    }
    if descriptor.index(of: channel.peer) != nil {
      tellAllMembers(channel, admission)
      tellProposals(on: channel)
    }
    let name = nameOf(channel.peer) ?? channel.peer.description
    report(.notice, "\(name) is authenticated")
    channel.sessions.take()
    if !channel.sessions.hasToken(at: now) {
      report(.warning, "\(name) asks for one session after the other: it gets one a second")
    }
  }

  /// Without a certificate the component says who it is.
  mutating func sendWelcome(on channel: Channel) {
    guard let admission = authority?.admissions[channel.number] else { return }
    let message = Welcome(
      epoch: descriptor.epoch, certificate: admission.certificate, opening: admission.opening,
      authorityIPv4: ownIPv4, authorityName: contents.name.bytes)
    _ = channel.stream.send(message.encode())
  }

  // MARK: Messages from components

  mutating func receiveFromComponent(_ type: ControlType, _ body: Span<UInt8>, on channel: Channel, at now: Instant) {
    guard let authority else { return }
    do throws(WireError) {
      switch type {
      case .lsa:
        if let held = authority.admissions[channel.number], !channel.advertisements.takeIfAvailable(at: now) {
          counters.advertisementsHeld &+= 1
          hold(body, held, channel, at: now)
          return
        }
        install(try LinkStateAdvertisement(decoding: body), from: channel, at: now)
      case .relayUp:
        let up = try RelayUp(decoding: body)
        authorityReceived(up, carrier: .through(channel: channel.number, adjacency: up.adjacency), at: now)
      case .goodbye:
        channel.session = nil
        channel.ways.removeAll()
        authority.graph.remove(channel.peer)
        scheduleRecompute(at: now)
        report(.notice, "\(String(decoding: channel.name, as: UTF8.self)) says goodbye")
      case .renewed: completeRenewal(body, on: channel, at: now)
      case .probe: try answerProbe(body, on: channel, at: now)
      case .probed: try takeProbed(body, on: channel, at: now)
      case .suspect: try takeSuspicion(body, on: channel, at: now)
      case .traced: try takeTraced(body, on: channel, at: now)
      case .chain:
        var reader = ByteReader(body)
        let epoch = try reader.u32()
        guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("chain length")) }
        if channel.chains.takeIfAvailable(at: now) { sendChain(from: epoch, on: channel) }
      case .present: receivePresent(try Present(decoding: body), on: channel, at: now)
      case .welcome, .returnRoute, .relayDown, .descriptor, .renew, .detours, .successors,
        .members, .proposal, .trace:
        counters.controlInvalid &+= 1
      }
    } catch {
      counters.controlInvalid &+= 1
    }
  }

  private mutating func install(_ advertisement: LinkStateAdvertisement, from channel: Channel, at now: Instant) {
    guard let authority else { return }
    // Whatever came before is older.
    authority.admissions[channel.number]?.heldAdvertisement = []
    let withdrawn = withdrawnLinks(from: channel.peer, advertisement)
    let result = authority.graph.install(advertisement, from: channel.peer, at: now)
    if channel.isUnheard, now >= channel.heardFrom, result == .changed || result == .refreshed {
      hear(channel, at: now)
    }
    switch result {
    case .changed:
      for number in withdrawn { leaveLink(number, at: now) }
      scheduleRecompute(at: now)
      // What lies behind a new link may know no way here before a beacon has come over it.
      if authority.graph.reportsUnconfirmedLink(channel.peer), authority.announcements.takeIfAvailable(at: now) {
        beacon.announceChange(at: now)
      }
    case .refreshed, .old: break
    case .full: counters.memberLimit &+= 1
    }
  }

  /// Links of this MA's own to the component that its last LSA named and this one does not: the far end has lost them, and
  /// the kernel may tell this end of it later, or never. What it says of links to others is not asked.
  private func withdrawnLinks(from id: ComponentID, _ advertisement: LinkStateAdvertisement) -> [UInt16] {
    guard let last = authority?.graph.lsa(of: id), last.adjacencies.contains(where: { $0.neighbour == identity.id })
    else { return [] }
    func names(_ list: [LinkStateAdvertisement.Adjacency], _ number: UInt16) -> Bool {
      list.contains { $0.neighbour == identity.id && $0.neighbourNumber == number }
    }
    var withdrawn: [UInt16] = []
    for view in neighbour.adjacencies where view.id == id {
      if names(last.adjacencies, view.number), !names(advertisement.adjacencies, view.number) {
        withdrawn.append(view.number)
      }
    }
    return withdrawn
  }

  /// Beyond its budget only a component's newest LSA counts, and when there is budget again.
  private func hold(_ body: Span<UInt8>, _ admission: Admission, _ channel: Channel, at now: Instant) {
    guard let authority, body.count <= LinkStateAdvertisement.longest else { return }
    var copy: [UInt8] = []
    copy.reserveCapacity(body.count)
    for i in body.indices { copy.append(body[i]) }
    admission.heldAdvertisement = copy
    if !authority.advertisers.contains(channel.number) { authority.advertisers.append(channel.number) }
    authority.advertisersDue = min(authority.advertisersDue, now + AuthorityState.retryDelay)
  }

  private mutating func takeHeldAdvertisements(at now: Instant) {
    guard let authority, authority.advertisersDue <= now else { return }
    for number in authority.advertisers {
      let channel = channels[Int(number)]
      guard let admission = authority.admissions[number], !admission.heldAdvertisement.isEmpty,
        channel.advertisements.takeIfAvailable(at: now)
      else { continue }
      let held = admission.heldAdvertisement
      do throws(WireError) {
        install(try LinkStateAdvertisement(decoding: held.span), from: channel, at: now)
      } catch {
        counters.controlInvalid &+= 1
        admission.heldAdvertisement = []
      }
    }
    authority.advertisers.removeAll { authority.admissions[$0]?.heldAdvertisement.isEmpty ?? true }
    authority.advertisersDue = authority.advertisers.isEmpty ? .never : now + AuthorityState.retryDelay
  }
}
