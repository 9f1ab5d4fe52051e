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
    let state = AuthorityState(index: own, root: identity.id, entropy: &entropy)
    authority = state
    relay.setKey(state.ownKey, authority: own, at: now)
    beacon.originate(boot: contents.bootCount, at: now)
    for uplink in uplinks {
      state.byID[uplink.channel.peer] = uplink.channel.number
      state.byIPv4[uplink.channel.ipv4] = uplink.channel.number
      state.byInterfaceID[uplink.channel.interfaceID] = uplink.channel.number
    }
    for member in contents.authority.members where member.state == .active && member.id != identity.id {
      _ = channel(for: member)
    }
  }

  /// The channel of a member, made when there is none; nil at the limit.
  mutating func channel(for member: Member) -> Channel? {
    guard let authority else { return nil }
    if let number = authority.byID[member.id] {
      let known = channels[Int(number)]
      return known.isUplink ? nil : known
    }
    guard channels.count < Node.channelLimit else {
      counters.memberLimit &+= 1
      return nil
    }
    let channel = Channel(
      number: UInt32(channels.count), peer: member.id, authorityIndex: authority.index, isUplink: false)
    channel.name = member.name.bytes
    channel.role = member.certificate.role
    channel.ipv4 = member.opening.ipv4
    channels.append(channel)
    authority.byID[member.id] = channel.number
    authority.byIPv4[member.opening.ipv4] = channel.number
    authority.byInterfaceID[channel.interfaceID] = channel.number
    let admission = Admission()
    admission.certificate = member.certificate.encode()
    admission.opening = member.opening.encode()
    authority.admissions[channel.number] = admission
    return channel
  }

  mutating func tendAuthority(at now: Instant) {
    guard let authority else { return }
    for number in authority.challenged {
      guard let admission = authority.admissions[number], now >= admission.challengeDue else { continue }
      sendChallenge(channels[Int(number)], admission, at: now)
    }
    authority.challenged.removeAll { authority.admissions[$0]?.challenge == nil }
    if now >= authority.recomputeDue {
      authority.recomputeDue = .never
      layRoutes(at: now)
    }
  }

  func scheduleRecompute(at now: Instant) {
    guard let authority else { return }
    authority.recomputeDue = min(authority.recomputeDue, now + AuthorityState.recomputeDelay)
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
    case .response: completeChallenge(up.relay.body, at: now)
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
    guard let member = contents.authority.member(request.id), member.state == .active,
      !descriptor.isRevoked(request.id),
      let channel = channel(for: member), let admission = authority.admissions[channel.number]
    else {
      counters.strangersRefused &+= 1
      return
    }
    admission.challengeCarrier = carrier
    if let challenge = admission.challenge, challenge.nonce == request.nonce {
      if now - admission.challengedAt >= .milliseconds(20) { admission.challengeDue = now }
    } else {
      let epoch = request.keyEpoch <= 3 ? (request.keyEpoch + 1) & 3 : ((channel.session?.keys.epoch ?? 3) + 1) & 3
      do throws(SessionHandshakeError) {
        admission.challenge = try SessionChallenge(
          network: descriptor.networkID.bytes, authority: identity.id, authorityKey: identity.agreement,
          component: request.id, componentKey: member.certificate.agreementKey, nonce: request.nonce, epoch: epoch,
          spi: freshSPI(), entropy: &entropy)
      } catch {
        counters.handshakeRefused &+= 1
        return
      }
      admission.challengeAttempts = 0
      admission.challengeDue = now
      if !authority.challenged.contains(channel.number) { authority.challenged.append(channel.number) }
    }
  }

  private mutating func freshSPI() -> UInt32 {
    var spi = entropy.u32()
    while spi == 0 || authority?.bySPI[spi] != nil { spi = entropy.u32() }
    return spi
  }

  private mutating func sendChallenge(_ channel: Channel, _ admission: Admission, at now: Instant) {
    guard let challenge = admission.challenge else { return }
    guard admission.challengeAttempts < Admission.challengeLimit else {
      admission.challenge = nil
      return
    }
    admission.challengedAt = now
    var wait = Duration.milliseconds(50)
    for _ in 0..<admission.challengeAttempts { wait = min(wait * 2, .seconds(2)) }
    admission.challengeAttempts += 1
    admission.challengeDue = now + wait
    let message = RelayMessage(kind: .challenge, authority: identity.id, body: challenge.body)
    switch admission.challengeCarrier {
    case .none: break
    case .neighbour(let adjacency): sendLink(subtype: LinkSubtype.relay, message.encode(), on: adjacency, at: now)
    case .through(let through, let adjacency):
      sendDatagram(RelayDown(adjacency: adjacency, relay: message).encode(), on: channels[Int(through)], at: now)
    }
  }

  private mutating func completeChallenge(_ body: [UInt8], at now: Instant) {
    guard let authority, body.count > 16 else { return }
    let nonce = body.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
    for number in authority.challenged {
      guard let admission = authority.admissions[number], admission.challenge?.nonce == nonce else { continue }
      let keys: SessionKeys
      do throws(SessionHandshakeError) {
        guard let completed = try admission.challenge?.complete(response: body.span) else { return }
        keys = completed
      } catch {
        counters.handshakeRefused &+= 1
        return
      }
      admission.challenge = nil
      authenticated(channels[Int(number)], admission, keys, at: now)
      return
    }
  }

  private mutating func authenticated(_ channel: Channel, _ admission: Admission, _ keys: SessionKeys, at now: Instant)
  {
    guard let authority else { return }
    authority.bySPI[admission.spi] = nil
    admission.spi = keys.spi
    authority.bySPI[keys.spi] = channel.number
    channel.adopt(SecureSession(keys: keys), at: now)
    channel.carrier = admission.challengeCarrier
    authority.graph.beginAnew(channel.peer)
    let message = Welcome(
      epoch: descriptor.epoch, certificate: admission.certificate, opening: admission.opening,
      authorityIPv4: ownIPv4, authorityName: contents.name.bytes)
    _ = channel.stream.send(message.encode())
    // Its ways, and every way through it, hang on the key that has just changed.
    admission.routeIsStale = true
    for (_, other) in authority.admissions {
      if let path = other.path, path.links.contains(where: { $0.to == channel.peer }) { other.routeIsStale = true }
    }
    scheduleRecompute(at: now)
    report(.notice, "\(String(decoding: channel.name, as: UTF8.self)) is authenticated")
  }

  // MARK: Messages from components

  mutating func receiveFromComponent(_ type: ControlType, _ body: Span<UInt8>, on channel: Channel, at now: Instant) {
    guard let authority else { return }
    do throws(WireError) {
      switch type {
      case .lsa:
        let advertisement = try LinkStateAdvertisement(decoding: body)
        switch authority.graph.install(advertisement, from: channel.peer, at: now) {
        case .changed: scheduleRecompute(at: now)
        case .refreshed, .old: break
        case .full: counters.memberLimit &+= 1
        }
      case .relayUp:
        let up = try RelayUp(decoding: body)
        authorityReceived(up, carrier: .through(channel: channel.number, adjacency: up.adjacency), at: now)
      case .goodbye:
        channel.session = nil
        channel.route = nil
        authority.graph.remove(channel.peer)
        scheduleRecompute(at: now)
        report(.notice, "\(String(decoding: channel.name, as: UTF8.self)) says goodbye")
      case .keep: break
      case .welcome, .returnRoute, .relayDown, .descriptor: counters.controlInvalid &+= 1
      }
    } catch {
      counters.controlInvalid &+= 1
    }
  }
}
