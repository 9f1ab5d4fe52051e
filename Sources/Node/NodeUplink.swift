// The component's side of each MA: attach, answer the challenge, announce links, take the way back.

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

/// One MA as this node is its component.
final class Uplink {
  static let firstAttachDelay = Duration.milliseconds(100)
  static let longestAttachDelay = Duration.seconds(1)
  static let lsaInterval = Duration.seconds(30)
  /// How long a session waits for its first way back before the MA is asked for another one, and how long at most when
  /// that was in vain again and again.
  static let firstPatience = Duration.seconds(5)
  static let longestPatience = Duration.seconds(40)
  /// Changes that follow one another are told together.
  static let lsaSpacing = Duration.milliseconds(10)
  /// Between two requests for descriptors.
  static let chainSpacing = Duration.seconds(1)

  let channel: Channel
  var nonce: Bytes16
  var attachDue = Instant.zero
  var attachDelay = Uplink.firstAttachDelay
  /// The MA's boot that the attempts under way are for.
  var attachBoot: UInt32 = 0
  /// Where the last ATTACH went.
  var attachedOn: UInt16?
  /// The MA's boot the session was made in; 0 before the first.
  var sessionBoot: UInt32 = 0
  var needsSession = true
  var lsaDue = Instant.never
  var lsaSentAt = Instant.zero
  var patience = Uplink.firstPatience
  /// Not before then are descriptors asked for again.
  var chainDue = Instant.zero

  init(channel: Channel, entropy: inout Entropy) {
    self.channel = channel
    nonce = entropy.bytes16()
  }

  /// Session agreed, way back known.
  var isReady: Bool { channel.session != nil && channel.isRouted && !needsSession }

  /// When a session that has no way back is given up; `never` for others. What the MA said may not have come, and it may
  /// know no way to say it again.
  var patienceEnds: Instant {
    channel.session == nil || channel.isRouted ? .never : channel.sessionSince + patience
  }

  var nextDeadline: Instant? {
    needsSession || channel.stream.hasGivenUp ? attachDue : min(lsaDue, patienceEnds)
  }
}

extension Node {
  func uplink(_ authorityIndex: Int) -> Uplink? {
    for uplink in uplinks where uplink.channel.authorityIndex == authorityIndex { return uplink }
    return nil
  }

  /// Whether a session is to be asked for: there is none, or what there is has come to its end.
  private func judgeSession(_ uplink: Uplink, at now: Instant) {
    let newest = beacon.newest(authority: beaconPosition(uplink.channel.authorityIndex))
    uplink.needsSession =
      uplink.channel.session == nil || uplink.channel.stream.hasGivenUp
      || (newest.map { $0.boot != uplink.sessionBoot } ?? false) || now >= uplink.patienceEnds
  }

  mutating func tendUplink(_ uplink: Uplink, at now: Instant) {
    let channel = uplink.channel
    let newest = beacon.newest(authority: beaconPosition(channel.authorityIndex))
    judgeSession(uplink, at: now)
    if uplink.needsSession {
      guard now >= uplink.attachDue else { return }
      guard let adjacency = newest?.adjacency,
        !beacon.isSilent(authority: beaconPosition(channel.authorityIndex), at: now)
      else {
        uplink.attachedOn = nil
        uplink.attachDue = now + Uplink.longestAttachDelay
        return
      }
      sendAttach(uplink, on: adjacency, at: now)
      uplink.attachDue = now + uplink.attachDelay
      uplink.attachDelay = min(uplink.attachDelay * 2, Uplink.longestAttachDelay)
    } else if now >= uplink.lsaDue {
      sendLSA(uplink, at: now)
    }
  }

  private mutating func sendAttach(_ uplink: Uplink, on adjacency: UInt16, at now: Instant) {
    uplink.attachedOn = adjacency
    let request = AttachRequest(
      id: identity.id, nonce: uplink.nonce, epoch: descriptor.epoch,
      keyEpoch: uplink.channel.session?.keys.epoch ?? 255, certificate: contents.certificate?.encode() ?? [])
    let message = RelayMessage(
      kind: .attach, authority: authorityID(uplink.channel), body: request.encode())
    sendLink(subtype: LinkSubtype.relay, message.encode(), on: adjacency, at: now)
  }

  // MARK: RELAY

  mutating func receiveRelay(_ bytes: [UInt8], on adjacency: UInt16, isLinked: Bool, at now: Instant) {
    guard relayDesk.mayRelay(adjacency, isLinked: isLinked, at: now) else {
      counters.relayOverBudget &+= 1
      return
    }
    let message: RelayMessage
    do throws(WireError) {
      message = try RelayMessage(decoding: bytes.span)
    } catch {
      counters.relayInvalid &+= 1
      return
    }
    guard let index = descriptor.index(of: message.authority).map({ Int($0) }) else {
      counters.relayInvalid &+= 1
      return
    }
    let view = neighbour.adjacency(adjacency)
    if message.kind == .attach, !relayDesk.mayAttach(adjacency, isLinked: isLinked, at: now) {
      counters.attachOverBudget &+= 1
      return
    }
    if message.kind.isUpward {
      if index == authorityIndex {
        let up = RelayUp(
          adjacency: adjacency, neighbour: view?.id ?? ComponentID(Bytes16()), linked: isLinked, relay: message)
        authorityReceived(up, carrier: .neighbour(adjacency: adjacency), at: now)
        return
      }
      guard let uplink = uplink(index) else { return }
      if uplink.isReady {
        relayUp(message, on: adjacency, view?.id, isLinked, uplink, at: now)
      } else if message.kind == .attach {
        relayDesk.hold(message, from: adjacency, authorityIndex: index)
      }
      return
    }
    guard let uplink = uplink(index) else {
      counters.relayInvalid &+= 1
      return
    }
    switch message.kind {
    case .challenge: answerChallenge(message, uplink, on: adjacency, at: now)
    case .sealedDown: receiveSealedCopy(message.body, on: uplink.channel, at: now)
    case .attach, .response, .sealedUp: break
    }
  }

  private mutating func relayUp(
    _ message: RelayMessage, on adjacency: UInt16, _ neighbour: ComponentID?, _ isLinked: Bool, _ uplink: Uplink,
    at now: Instant
  ) {
    let up = RelayUp(
      adjacency: adjacency, neighbour: neighbour ?? ComponentID(Bytes16()), linked: isLinked, relay: message)
    sendDatagram(up.encode(), on: uplink.channel, at: now)
  }

  /// Requests held for neighbours go up as soon as this node has a way up itself.
  mutating func relayHeld(_ uplink: Uplink, at now: Instant) {
    guard uplink.isReady else { return }
    for held in relayDesk.takeHeld(authorityIndex: uplink.channel.authorityIndex) {
      let view = neighbour.adjacency(held.adjacency)
      relayUp(held.message, on: held.adjacency, view?.id, view?.state == .up, uplink, at: now)
    }
  }

  private mutating func answerChallenge(
    _ message: RelayMessage, _ uplink: Uplink, on adjacency: UInt16, at now: Instant
  ) {
    guard let entry = descriptor.authority(at: UInt8(uplink.channel.authorityIndex)),
      let beside = neighbour.adjacency(adjacency)?.id
    else { return }
    let channel = uplink.channel
    var response: [UInt8]
    if let known = channel.pendings.first(where: { $0.challenge == message.body }) {
      response = known.response
    } else {
      let answer: SessionAnswer
      do throws(SessionHandshakeError) {
        answer = try SessionAnswer(
          challenge: message.body.span, network: descriptor.networkID.bytes, authority: entry.id,
          authorityKey: entry.agreementKey, component: identity.id, componentKey: identity.agreement, beside: beside,
          nonce: uplink.nonce, entropy: &entropy)
      } catch {
        counters.handshakeRefused &+= 1
        return
      }
      if answer.keys.epoch == uplink.channel.session?.keys.epoch {
        // The MA was told which epoch is in use; a frame could not be told apart.
        counters.handshakeRefused &+= 1
        return
      }
      response = answer.body
      if channel.pendings.count >= PendingSession.limit { channel.pendings.removeFirst() }
      channel.pendings.append(
        PendingSession(
          session: SecureSession(keys: answer.keys), challenge: message.body, response: response,
          ends: now + SessionRenewal.unproved))
    }
    uplink.channel.carrier = .neighbour(adjacency: adjacency)
    let answer = RelayMessage(kind: .response, authority: entry.id, body: response)
    sendLink(subtype: LinkSubtype.relay, answer.encode(), on: adjacency, at: now)
  }

  /// The first end-to-end frame under new keys came: they are in use from now on.
  mutating func promote(_ channel: Channel, _ pending: PendingSession, at now: Instant) {
    guard let uplink = uplink(channel.authorityIndex) else { return }
    if pending.isRenewal {
      useRenewed(channel, pending.session, at: now)
      return
    }
    if now >= uplink.patienceEnds { uplink.patience = min(uplink.patience * 2, Uplink.longestPatience) }
    channel.adopt(pending.session, at: now)
    channel.isProved = true
    relay.setKey(pending.session.keys.onion, authority: channel.authorityIndex, at: now)
    // The MA gives them anew in each session.
    detours[channel.authorityIndex] = nil
    uplink.sessionBoot = beacon.newest(authority: beaconPosition(channel.authorityIndex))?.boot ?? uplink.attachBoot
    uplink.nonce = entropy.bytes16()
    uplink.attachDelay = Uplink.firstAttachDelay
    uplink.attachDue = now + uplink.attachDelay
    uplink.needsSession = false
    uplink.lsaDue = now
    report(.notice, "authenticated by authority \(authorityName(channel.authorityIndex))")
  }

  // MARK: Links

  private mutating func sendLSA(_ uplink: Uplink, at now: Instant) {
    let advertisement = ownAdvertisement()
    if uplink.channel.stream.send([ControlType.lsa.rawValue] + advertisement.encode()) {
      uplink.lsaSentAt = now
      uplink.lsaDue = now + Uplink.lsaInterval
    } else {
      uplink.lsaDue = now + .milliseconds(100)
    }
  }

  mutating func ownAdvertisement() -> LinkStateAdvertisement {
    lsaVersion &+= 1
    var totals = LinkStateAdvertisement.Counters()
    for view in neighbour.adjacencies {
      totals.framesIn &+= UInt32(truncatingIfNeeded: view.received)
      totals.framesOut &+= UInt32(truncatingIfNeeded: view.sent)
    }
    totals.refusedLinkTag = UInt32(truncatingIfNeeded: neighbour.counters[.badTag])
    totals.refusedMAC = UInt32(truncatingIfNeeded: relay.refused[Int(OnionRefusal.wrongMAC.rawValue)])
    totals.refusedReplay = UInt32(
      truncatingIfNeeded: neighbour.counters[.replayed] &+ relay.refused[Int(OnionRefusal.replayed.rawValue)])
    totals.relayed = UInt32(truncatingIfNeeded: counters.relayed)
    totals.delivered = UInt32(truncatingIfNeeded: counters.delivered)
    totals.dropped = UInt32(truncatingIfNeeded: counters.noAdjacency)
    return LinkStateAdvertisement(
      boot: contents.bootCount, version: lsaVersion, adjacencies: ownAdjacencies(), counters: totals)
  }

  func ownAdjacencies() -> [LinkStateAdvertisement.Adjacency] {
    var list: [LinkStateAdvertisement.Adjacency] = []
    for view in neighbour.adjacencies where view.state == .up {
      let port = portName(view.port)
      let group = String(decoding: contents.settings.riskGroup(of: port), as: UTF8.self)
      list.append(
        LinkStateAdvertisement.Adjacency(
          number: view.number, neighbour: view.id, neighbourNumber: view.neighbourNumber,
          frameSize: UInt16(clamping: view.frameSize), cost: view.cost,
          riskGroup: portNames[view.port]?.riskGroup ?? 0,
          roundTrip: view.roundTrip,
          losses: UInt32(truncatingIfNeeded: view.losses), label: PortLabel(port: port, riskGroup: group)))
    }
    return list
  }

  /// A link of this node came, went or changed.
  mutating func ownAdjacenciesChanged(at now: Instant) {
    for uplink in uplinks where uplink.channel.session != nil {
      let earliest = uplink.lsaSentAt + Uplink.lsaSpacing
      uplink.lsaDue = min(uplink.lsaDue, max(now, earliest))
      // What was under way may have gone over the link that failed.
      uplink.channel.stream.hurry()
    }
    authorityLinksChanged(at: now)
  }

  // MARK: Messages from the MA

  mutating func receiveFromAuthority(_ type: ControlType, _ body: Span<UInt8>, on channel: Channel, at now: Instant) {
    guard let uplink = uplink(channel.authorityIndex) else { return }
    do throws(WireError) {
      switch type {
      case .welcome: welcome(try Welcome(decoding: body), uplink, at: now)
      case .returnRoute: install(try ReturnRoute(decoding: body), uplink, at: now)
      case .relayDown:
        let down = try RelayDown(decoding: body)
        guard !down.relay.kind.isUpward else { throw .invalid(field: StaticFieldName("relay kind")) }
        sendLink(subtype: LinkSubtype.relay, down.relay.encode(), on: down.adjacency, at: now)
      case .goodbye:
        report(.notice, "authority \(authorityName(channel.authorityIndex)) says goodbye")
        channel.session = nil
        channel.ways.removeAll()
        relay.removeKey(authority: channel.authorityIndex)
        detours[channel.authorityIndex] = nil
        uplink.attachDue = now + .milliseconds(200)
      case .renew: answerRenewal(body, uplink, at: now)
      case .probe: try answerProbe(body, on: channel, at: now)
      case .probed: try takeProbed(body, on: channel, at: now)
      case .trace: try answerTrace(body, on: channel, at: now)
      case .detours: try takeDetours(body, authority: channel.authorityIndex, at: now)
      case .successors: try takeSuccessors(body, authority: channel.authorityIndex)
      case .descriptor: receiveDescriptor(body, on: channel, at: now)
      case .members: receiveMembers(body, on: channel, at: now)
      case .proposal: receiveProposal(body, on: channel, at: now)
      case .lsa, .relayUp, .renewed, .chain, .present, .suspect, .traced: counters.controlInvalid &+= 1
      }
    } catch {
      counters.controlInvalid &+= 1
    }
  }

  private mutating func welcome(_ message: Welcome, _ uplink: Uplink, at now: Instant) {
    // An MA's own name and address are the descriptor's: no MA can take another's.
    guard !message.certificate.isEmpty else {
      present(to: uplink)
      return
    }
    do throws(MembershipError) {
      let certificate = try MembershipCertificate(decoding: message.certificate)
      let opening = try MembershipOpening(decoding: message.opening)
      try certificate.verify(with: descriptor)
      guard certificate.id == identity.id, opening.matches(certificate) else {
        counters.controlInvalid &+= 1
        return
      }
      // Two MAs may both have certified it anew, under the name and address it has.
      if let known = contents.certificate, known.encode() == message.certificate { return }
      if let known = contents.certificate, known.commitment == certificate.commitment,
        descriptor.authority(at: known.issuer) != nil, known.issuer != certificate.issuer
      {
        return
      }
      do throws(StoreError) {
        try contents.install(certificate, opening)
      } catch {
        if succession.complaints.takeIfAvailable(at: now) {
          report(
            .warning,
            "the certificate from \(authorityName(uplink.channel.authorityIndex)) is not taken: \(error.description)")
        }
        return
      }
      persist()
      neighbour.update(descriptor: descriptor, certificate: certificate, at: now)
      report(.notice, "member of \(descriptor.domain.description) as \(opening.name.description)")
      configureBearer()
    } catch {
      counters.controlInvalid &+= 1
      report(
        .warning,
        "the certificate from \(authorityName(uplink.channel.authorityIndex)) is refused: \(error.description)")
    }
  }

  private mutating func install(_ message: ReturnRoute, _ uplink: Uplink, at now: Instant) {
    let channel = uplink.channel
    guard Int(message.frameSize) >= message.size.smallestFrame else {
      counters.controlInvalid &+= 1
      report(
        .warning,
        "no way to \(authorityName(channel.authorityIndex)): it carries frames of \(message.frameSize) bytes, "
          + "and \(message.size.smallestFrame) are needed")
      return
    }
    guard
      let builder = OnionBuilder(
        route: message.route, size: message.size, hops: message.hops, entropy: &entropy)
    else {
      counters.controlInvalid &+= 1
      return
    }
    let isFirst = !channel.isRouted
    let way = Way(
      builder: builder, egress: message.egress, frameSize: Int(message.frameSize), hops: 0, isPaired: message.isPaired,
      pathTag: message.pathTag)
    channel.ways.put(way, at: Int(message.place), of: Int(message.count), at: now)
    chooseWays(channel, at: now)
    if message.place == 0 { channel.stream.hurry() }
    if isFirst {
      uplink.patience = Uplink.firstPatience
      report(.notice, "route to authority \(authorityName(channel.authorityIndex)) is installed")
      // Where patience had run out the way back may have come all the same.
      judgeSession(uplink, at: now)
      relayHeld(uplink, at: now)
    }
  }
}
