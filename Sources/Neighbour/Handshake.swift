// Noise KK between neighbours: the node with the lower ID begins. What keeps an attacker who hears and repeats
// everything from doing harm:
// - A first message counts only with one of the responder's last two nonces, and never after a later nonce was used.
// - The same first message again gets the same answer; it makes no second key.
// - A finished handshake gives a candidate. It replaces a key when an authentic hello under it has come, not before.

import Core
import Crypto
import Membership
import Wire

extension NeighbourEngine {
  // MARK: - Beginning

  /// This node begins handshakes with neighbours whose ID is higher.
  private func begins(with adjacency: AdjacencyPointer) -> Bool {
    canLink(adjacency) && configuration.id < adjacency.pointee.id
  }

  mutating func startHandshakeIfOurs(_ adjacency: AdjacencyPointer, at now: Instant) {
    guard begins(with: adjacency), adjacency.pointee.port.pointee.isUp, !isStopped else { return }
    if adjacency.pointee.handshake == nil { composeFirst(adjacency, gap: LinkProtocol.firstRetry, at: now) }
  }

  /// A neighbour without a key, or one that is down, was heard: begins, or repeats with its newest nonce.
  mutating func hastenHandshake(_ adjacency: AdjacencyPointer, at now: Instant) {
    guard let pending = adjacency.pointee.handshake else {
      if adjacency.pointee.candidate == nil { startHandshakeIfOurs(adjacency, at: now) }
      return
    }
    if pending.nonce == adjacency.pointee.peerNonce { return }
    let soon = max(now, pending.lastSent + NeighbourLimits.openingGap)
    if soon < pending.nextRetry {
      adjacency.pointee.handshake?.nextRetry = soon
      deadlineIsStale = true
    }
    retryHandshake(adjacency, at: now)
  }

  mutating func retryHandshake(_ adjacency: AdjacencyPointer, at now: Instant) {
    guard let pending = adjacency.pointee.handshake, now >= pending.nextRetry else { return }
    guard begins(with: adjacency), adjacency.pointee.port.pointee.isUp else {
      adjacency.pointee.handshake = nil
      return
    }
    let gap = min(pending.gap * 2, LinkProtocol.retryLimit)
    if pending.nonce != adjacency.pointee.peerNonce {
      composeFirst(adjacency, gap: gap, at: now)
    } else {
      adjacency.pointee.handshake?.gap = gap
      adjacency.pointee.handshake?.nextRetry = now + gap
      adjacency.pointee.handshake?.lastSent = now
      transmit(pending.frame, on: adjacency.pointee.port, to: openingDestination(adjacency))
    }
    deadlineIsStale = true
  }

  private mutating func composeFirst(_ adjacency: AdjacencyPointer, gap: Duration, at now: Instant) {
    guard let certificate = adjacency.pointee.certificate else { return }
    let isKnown = adjacency.pointee.isProved || adjacency.pointee.hasKey
    guard
      (isKnown && adjacency.pointee.port.pointee.provedBeginnings.takeIfAvailable(at: now))
        || take(&adjacency.pointee.port.pointee.beginnings, else: &spare.handshakes, at: now)
    else {
      // What stands is tried again later, with the nonce that is the newest then.
      adjacency.pointee.handshake?.nextRetry = now + gap
      return
    }
    let nonce = adjacency.pointee.peerNonce
    adjacency.pointee.noteTried(nonce)
    let phase: UInt8 = adjacency.pointee.hasKey ? 1 - adjacency.pointee.currentPhase : 0
    var noise = NoiseKKInitiator(
      prologue: HandshakeFrame.prologue(
        network: configuration.descriptor.networkID.bytes, initiator: configuration.id,
        responder: adjacency.pointee.id, nonce: nonce),
      static: configuration.agreement, remoteStatic: certificate.agreementKey,
      ephemeral: AgreementKeyPair(secret: entropy.bytes32()))
    let message: [UInt8]
    do throws(HandshakeError) {
      message = try noise.writeFirst(payload: payload(for: adjacency, phase: phase).encode())
    } catch {
      log(.warning, "no handshake with \(adjacency.pointee.id.description): its agreement key is of low order")
      adjacency.pointee.handshake = nil
      return
    }
    let frame = HandshakeFrame(
      step: .first, sender: UInt16(adjacency.pointee.number), receiver: 0, nonce: nonce, certificate: ownCertificate,
      message: message
    ).encode()
    adjacency.pointee.handshake = PendingHandshake(
      noise: noise, nonce: nonce, phase: phase, frame: frame, gap: gap, nextRetry: now + gap, lastSent: now)
    counters.handshakesBegun &+= 1
    transmit(frame, on: adjacency.pointee.port, to: openingDestination(adjacency))
    deadlineIsStale = true
  }

  private func payload(for adjacency: AdjacencyPointer, phase: UInt8) -> HandshakePayload {
    HandshakePayload(
      adjacency: UInt16(adjacency.pointee.number),
      frameSize: UInt16(truncatingIfNeeded: adjacency.pointee.port.pointee.frameSize), phase: phase,
      epoch: configuration.descriptor.epoch)
  }

  // MARK: - Receiving

  mutating func receiveHandshake(
    _ span: Span<UInt8>, on port: PortPointer, from source: MACAddress, at now: Instant
  ) throws(NeighbourRefusal) {
    let frame: HandshakeFrame
    do throws(WireError) {
      var reader = ByteReader(span)
      frame = try HandshakeFrame(decoding: &reader)
    } catch { throw refusal(of: error) }
    switch frame.step {
    case .first: try answerFirst(frame, on: port, from: source, at: now)
    case .second: try finish(frame, on: port, from: source, at: now)
    }
  }

  private mutating func answerFirst(
    _ frame: HandshakeFrame, on port: PortPointer, from source: MACAddress, at now: Instant
  ) throws(NeighbourRefusal) {
    if ownCertificate.isEmpty { throw .unexpectedHandshake }
    let known = tables.find(source, on: port)
    guard let turn = port.pointee.nonces.turn(of: frame.nonce) ?? known?.pointee.nonces.turn(of: frame.nonce) else {
      // It missed our newest DISCOVER, or somebody repeats an old frame.
      if known?.pointee.isHeard != true {
        introduce(port, to: source, known, isWide: known?.pointee.isWide ?? false, at: now)
      }
      throw .staleNonce
    }
    if let answered = known?.pointee.answered {
      if answered.message == frame.message {
        guard let known, known.pointee.answers.takeIfAvailable(at: now) else { throw .overBudget }
        transmit(answered.answer, on: port, to: openingDestination(known))
        return
      }
      if turn < answered.turn { throw .staleNonce }
    }
    let certificate = try read(frame.certificate)
    if certificate.id == configuration.id { throw .clone }
    if configuration.id < certificate.id { throw .wrongInitiator }
    if let known, known.pointee.isHeard, known.pointee.id != certificate.id { throw .identityConflict }
    if known?.pointee.id != certificate.id, hasItsPlaces(certificate.id, on: port) { throw .noRoomForNeighbour }
    try check(certificate, frame.certificate, on: port, at: now)
    if !take(&port.pointee.handshakes, else: &spare.handshakes, at: now) { throw .overBudget }

    var noise = NoiseKKResponder(
      prologue: HandshakeFrame.prologue(
        network: configuration.descriptor.networkID.bytes, initiator: certificate.id, responder: configuration.id,
        nonce: frame.nonce),
      static: configuration.agreement, remoteStatic: certificate.agreementKey)
    let theirs: HandshakePayload
    do throws(HandshakeError) {
      theirs = try decodePayload(noise.readFirst(frame.message))
    } catch { throw .handshakeNotAuthentic }

    // From here on it is the holder of the certificate's key who speaks.
    let adjacency: AdjacencyPointer
    if let known, known.pointee.id == certificate.id {
      adjacency = known
      adjacency.pointee.certificate = certificate
      adjacency.pointee.vouchedUntil = .never
      adjacency.pointee.certificateBytes = frame.certificate
    } else {
      if let known {
        try mayGiveWay(known, isProved: true, at: now)
        forget(known, .silent, at: now)
      }
      adjacency = try admit(
        certificate.id, at: source, on: port, shown: (certificate, frame.certificate), isProved: true,
        nonce: Bytes16(), epoch: theirs.epoch, now: now)
      adjacency.pointee.directUntil = now + NeighbourLimits.strangerLife
      setDestinations(port, at: now)
    }
    adjacency.pointee.isProved = true
    adjacency.pointee.lastDiscover = now
    let message: [UInt8]
    do throws(HandshakeError) {
      message = try noise.writeSecond(
        payload: payload(for: adjacency, phase: theirs.phase).encode(),
        ephemeral: AgreementKeyPair(secret: entropy.bytes32()))
    } catch { throw .handshakeNotAuthentic }
    let keys = noise.split()
    setCandidate(
      adjacency,
      LinkKey(send: keys.responderToInitiator, receive: keys.initiatorToResponder, phase: theirs.phase),
      Candidate(payload: theirs, isOurs: false, until: now + NeighbourLimits.candidateLife), at: now)
    let answer = HandshakeFrame(
      step: .second, sender: UInt16(adjacency.pointee.number), receiver: frame.sender, nonce: frame.nonce,
      certificate: [], message: message
    ).encode()
    adjacency.pointee.answered = AnsweredHandshake(message: frame.message, answer: answer, turn: turn)
    counters.handshakesAnswered &+= 1
    transmit(answer, on: port, to: openingDestination(adjacency))
  }

  private mutating func finish(
    _ frame: HandshakeFrame, on port: PortPointer, from source: MACAddress, at now: Instant
  ) throws(NeighbourRefusal) {
    guard let adjacency = tables.find(source, on: port) else { throw .unknownNeighbour }
    guard frame.receiver == UInt16(adjacency.pointee.number), var pending = adjacency.pointee.handshake,
      pending.nonce == frame.nonce
    else { throw .unexpectedHandshake }
    // Anybody who heard the first message can make up a second one.
    if !take(&port.pointee.handshakes, else: &spare.handshakes, at: now) { throw .overBudget }
    let theirs: HandshakePayload
    do throws(HandshakeError) {
      theirs = try decodePayload(pending.noise.readSecond(frame.message))
    } catch { throw .handshakeNotAuthentic }
    if theirs.phase != pending.phase { throw .handshakeNotAuthentic }
    let keys = pending.noise.split()
    adjacency.pointee.handshake = nil
    adjacency.pointee.lastDiscover = now
    setCandidate(
      adjacency, LinkKey(send: keys.initiatorToResponder, receive: keys.responderToInitiator, phase: theirs.phase),
      Candidate(payload: theirs, isOurs: true, until: now + NeighbourLimits.candidateLife), at: now)
    // A fresh answer is a sign of life; the hellos under the new key may say "I hear you" at once.
    noteHeard(adjacency, at: now)
    for _ in 0..<LinkProtocol.changeBurst { sendHello(adjacency, key: AdjacencyRecord.candidateIndex, at: now) }
    adjacency.pointee.nextHello = nextTick(of: adjacency, after: now)
  }

  private func decodePayload(_ bytes: [UInt8]) throws(HandshakeError) -> HandshakePayload {
    do throws(WireError) {
      var reader = ByteReader(bytes.span)
      return try HandshakePayload(decoding: &reader)
    } catch { throw .notAuthentic }
  }

  // MARK: - Keys

  private mutating func setCandidate(
    _ adjacency: AdjacencyPointer, _ key: LinkKey, _ candidate: Candidate, at now: Instant
  ) {
    adjacency.pointee.keys[AdjacencyRecord.candidateIndex].erase()
    adjacency.pointee.keys[AdjacencyRecord.candidateIndex] = key
    adjacency.pointee.candidate = candidate
    deadlineIsStale = true
  }

  mutating func dropCandidate(_ adjacency: AdjacencyPointer) {
    adjacency.pointee.keys[AdjacencyRecord.candidateIndex].erase()
    adjacency.pointee.candidate = nil
  }

  /// An authentic hello came under the candidate: it is the key from now on. The one before is accepted for 3 s more.
  mutating func promoteCandidate(_ adjacency: AdjacencyPointer, at now: Instant) {
    guard let candidate = adjacency.pointee.candidate else { return }
    let keys = adjacency.pointee.keys
    let phase = keys[AdjacencyRecord.candidateIndex].phase
    let isFirst = !adjacency.pointee.hasKey
    keys[Int(phase)].erase()
    keys[Int(phase)] = keys[AdjacencyRecord.candidateIndex]
    dropCandidate(adjacency)
    adjacency.pointee.oldKeyUntil = keys[Int(1 - phase)].isLive ? now + LinkProtocol.oldKeyLife : .never
    adjacency.pointee.currentPhase = phase
    adjacency.pointee.hasKey = true
    adjacency.pointee.handshake = nil
    adjacency.pointee.hearsFrom = 0
    adjacency.pointee.forgetTried()
    adjacency.pointee.isLeaving = false
    adjacency.pointee.rekeyAt =
      configuration.id < adjacency.pointee.id ? now + configuration.rekeyAge : .never
    adjacency.pointee.probePending = false
    counters.keysProved &+= 1
    let isRenumbered = adjacency.pointee.peerNumber != candidate.payload.adjacency
    let changed = isRenumbered || adjacency.pointee.peerEpoch != candidate.payload.epoch
    // It has begun anew, or makes others lay their routes anew: either way the link has fallen at its end.
    if isRenumbered && adjacency.pointee.isUp { noteFall(of: adjacency, at: now) }
    adjacency.pointee.peerNumber = candidate.payload.adjacency
    adjacency.pointee.peerEpoch = candidate.payload.epoch
    adjacency.pointee.peerFrameSize = Int(candidate.payload.frameSize)
    if isFirst {
      settlePlaces(with: adjacency, at: now)
      // Strangers around it may have moved it to its own address, which is no reason any more.
      setDestinations(adjacency.pointee.port, at: now, mayReturnToGroup: true)
      updatePace(at: now)
    }
    if changed && adjacency.pointee.isUp { tell(.adjacencyChanged(UInt16(adjacency.pointee.number))) }
    adjacency.pointee.nextHello = nextTick(of: adjacency, after: now)
    deadlineIsStale = true
  }
}
