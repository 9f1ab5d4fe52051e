// DISCOVER: saying who we are on each port, hearing who is there, and the table of neighbours that follows from it.

import Core
import Crypto
import Membership
import Wire

extension NeighbourEngine {
  // MARK: - Sending

  /// Sends what is due on the port: the burst after carrier came, then one a second or one in ten, and the wide one.
  mutating func discoverWhenDue(_ port: PortPointer, at now: Instant) {
    if now >= port.pointee.nextDiscover {
      let isAlone = !hasLiveNeighbour(port)
      let isBurst = port.pointee.burstLeft > 0
      sendDiscover(port, isWide: false, wantsAnswer: isAlone, to: .nearestBridge, at: now)
      if isBurst { port.pointee.burstLeft -= 1 }
      if port.pointee.burstLeft > 0 {
        port.pointee.nextDiscover = now + LinkProtocol.discoverBurstGap
      } else {
        port.pointee.nextDiscover = now + (isAlone ? LinkProtocol.discoverPace : LinkProtocol.discoverSlowPace)
      }
    }
    if now >= port.pointee.nextWide {
      port.pointee.nextWide = now + LinkProtocol.discoverSlowPace
      sendDiscover(port, isWide: true, wantsAnswer: !hasLiveNeighbour(port), to: .wideDiscovery, at: now)
    }
  }

  private mutating func sendDiscover(
    _ port: PortPointer, isWide: Bool, wantsAnswer: Bool, for neighbour: AdjacencyPointer? = nil,
    to destination: MACAddress, at now: Instant
  ) {
    let nonce = port.pointee.nonces.fresh(at: now, turn: &nonceTurn, entropy: &entropy)
    let frame = DiscoverFrame(
      isWide: isWide, wantsAnswer: wantsAnswer, port: port.pointee.number.value, network: network,
      epoch: configuration.descriptor.epoch,
      nonce: nonce, id: configuration.id, certificate: ownCertificate,
      proof: ownProof(for: neighbour, nonce, on: port))
    port.pointee.lastDiscover = now
    counters.discoversSent &+= 1
    transmit(frame.encode(), on: port, to: destination)
  }

  /// One with which hellos go both ways, whatever else keeps its link from being used.
  private func hasLiveNeighbour(_ port: PortPointer) -> Bool {
    for i in 0..<port.pointee.neighbourCount {
      if let adjacency = port.pointee.records[i], adjacency.pointee.isHeard,
        adjacency.pointee.peerHearsUs
      {
        return true
      }
    }
    return false
  }

  /// Something came that only a neighbour could have sent with whom we share no key (any more): says who we are,
  /// within the budget of answers; a neighbour with a key that is not heard has one of its own besides. Proved to the
  /// neighbour, so that it finds this among what others say in this node's name.
  mutating func introduce(
    _ port: PortPointer, to address: MACAddress?, _ neighbour: AdjacencyPointer?, isWide: Bool, at now: Instant
  ) {
    let isKnown = neighbour.map { $0.pointee.hasKey && !$0.pointee.isHeard } ?? false
    guard
      port.pointee.answers.takeIfAvailable(at: now)
        || (isKnown && neighbour?.pointee.answers.takeIfAvailable(at: now) ?? false)
    else {
      counters.answersWithheld &+= 1
      return
    }
    sendDiscover(
      port, isWide: isWide, wantsAnswer: false, for: neighbour, to: isWide ? address ?? .wideDiscovery : .nearestBridge,
      at: now)
  }

  /// A protected frame for which there is no key: the neighbour may have one we lost. Asks it to show itself.
  mutating func askAnew(_ port: PortPointer, at now: Instant) {
    if now < port.pointee.lastDiscover + Duration.milliseconds(200) { return }
    guard port.pointee.answers.takeIfAvailable(at: now) else { return }
    sendDiscover(port, isWide: false, wantsAnswer: true, to: .nearestBridge, at: now)
  }

  /// A neighbour that fell silent may be who came from elsewhere: what it left behind makes room once it proves that.
  private mutating func askForProof(
    of id: ComponentID, on port: PortPointer, at destination: MACAddress, _ now: Instant
  ) {
    guard let left = longestSilent(of: id, on: port, isStranger: false), left.pointee.hasKey,
      port.pointee.proofsAsked.takeIfAvailable(at: now)
    else { return }
    // What the port asks at its own pace is asked all the same.
    let last = port.pointee.lastDiscover
    sendDiscover(
      port, isWide: destination != .nearestBridge, wantsAnswer: true, for: left, to: destination, at: now)
    port.pointee.lastDiscover = last
  }

  /// An adjacency of the port went down: asks at once, and then each second while the port has no other.
  mutating func discoverSoon(_ port: PortPointer, at now: Instant) {
    guard port.pointee.isUp, !hasLiveNeighbour(port) else { return }
    port.pointee.nextDiscover = min(port.pointee.nextDiscover, max(now, port.pointee.lastDiscover + .milliseconds(200)))
    deadlineIsStale = true
  }

  // MARK: - Receiving

  mutating func receiveDiscover(
    _ frame: Span<UInt8>, on port: PortPointer, from source: MACAddress, at now: Instant
  ) throws(NeighbourRefusal) {
    counters.discoversReceived &+= 1
    let discover: DiscoverFrame
    do throws(WireError) {
      var reader = ByteReader(frame)
      discover = try DiscoverFrame(decoding: &reader)
    } catch { throw refusal(of: error) }
    if discover.network != network { throw .otherNetwork }
    if discover.id == configuration.id { throw reportOwnID(port, from: source, at: now) }
    let isWide = discover.flags & DiscoverFrame.Flag.wide != 0
    if isWide, !configuration.wideDiscovery { throw .wideDiscoveryOff }
    var wantsAnswer = discover.flags & DiscoverFrame.Flag.answerWanted != 0

    let adjacency: AdjacencyPointer
    let known = tables.find(source, on: port)
    if let known, known.pointee.id == discover.id {
      adjacency = known
      try takeCertificate(discover.certificate, of: adjacency, at: now)
      if !adjacency.pointee.isProved, let certificate = adjacency.pointee.certificate,
        discover.certificate == adjacency.pointee.certificateBytes
      {
        adjacency.pointee.isProved = isProved(discover, certificate, from: source)
      }
    } else {
      // Nothing is verified for one that cannot give way, whatever is shown, nor for who has all the places it may have.
      if let known { try mayGiveWay(known, isProved: true, at: now) }
      if hasItsPlaces(discover.id, on: port) { throw .noRoomForNeighbour }
      let (shown, isProved) = try judgeNewcomer(discover, on: port, from: source, at: now)
      if let known {
        // In tunnels a proof binds no place: whoever heard it in one may say it in all.
        let isFromThere = isProved && port.pointee.status.medium != .tunnel
        try mayGiveWay(known, isProved: isFromThere, at: now)
        if shown == nil, known.pointee.certificate != nil,
          now < known.pointee.lastDiscover + NeighbourLimits.certifiedPatience
        {
          throw .identityConflict
        }
        forget(known, .silent, at: now)
      }
      do throws(NeighbourRefusal) {
        adjacency = try admit(
          discover.id, at: source, on: port, shown: shown, isProved: isProved, nonce: discover.nonce,
          epoch: discover.epoch, now: now)
      } catch {
        if !isProved { askForProof(of: discover.id, on: port, at: isWide ? source : .nearestBridge, now) }
        throw error
      }
      if shown == nil { adjacency.pointee.badCertificate = discover.certificate }
      wantsAnswer = true
    }
    adjacency.pointee.lastDiscover = now
    if !adjacency.pointee.hasKey { adjacency.pointee.peerEpoch = discover.epoch }
    if !isWide { adjacency.pointee.directUntil = now + NeighbourLimits.strangerLife }
    setDestinations(port, at: now)

    if wantsAnswer {
      introduce(port, to: source, adjacency, isWide: isWide, at: now)
    }
    if adjacency.pointee.hasKey && adjacency.pointee.isHeard {
      // It may have restarted, or be somebody who repeats an old frame: a handshake under the other key tells. Else its
      // nonces come with its hellos, which nobody else can say.
      if discover.flags & DiscoverFrame.Flag.answerWanted != 0, adjacency.pointee.handshake == nil,
        adjacency.pointee.restarts.takeIfAvailable(at: now)
      {
        adjacency.pointee.peerNonce = discover.nonce
        startHandshakeIfOurs(adjacency, at: now)
      }
    } else {
      if !adjacency.pointee.hasTried(discover.nonce) { adjacency.pointee.peerNonce = discover.nonce }
      let wasAsked = discover.flags & DiscoverFrame.Flag.answerWanted != 0
      if wasAsked || !adjacency.pointee.hasKey { hastenHandshake(adjacency, at: now) }
    }
    reportStranger(adjacency, at: now)
    deadlineIsStale = true
  }

  func refusal(of error: WireError) -> NeighbourRefusal {
    switch error {
    case .truncated: .truncated
    case .invalid: .invalidField
    }
  }

  private mutating func reportOwnID(_ port: PortPointer, from source: MACAddress, at now: Instant) -> NeighbourRefusal {
    for slot in tables.slots {
      guard let own = tables.port(slot: slot), own.pointee.status.address == source else { continue }
      if now >= port.pointee.loopReport {
        port.pointee.loopReport = now + NeighbourLimits.reportPace
        let name = port.pointee.status.name
        log(
          .warning,
          port.pointee.status.medium == .tunnel
            ? "\(name) leads to this node itself, or to another that uses its ID"
            : "cable loop: port \(name) hears port \(own.pointee.status.name) of this node")
      }
      return .ownPort
    }
    if now >= port.pointee.cloneReport {
      port.pointee.cloneReport = now + NeighbourLimits.reportPace
      log(.error, "clone: another node on port \(port.pointee.status.name) uses this node's ID")
    }
    return .clone
  }

  /// Whether the neighbour known at an address may be displaced by another ID from there: not as long as it has a key and
  /// is heard, nor while it is eagerly asked for after; then the box may have been given another identity. For a proved
  /// newcomer it only has to be silent.
  func mayGiveWay(_ known: AdjacencyPointer, isProved: Bool, at now: Instant) throws(NeighbourRefusal) {
    if known.pointee.isHeard { throw .identityConflict }
    let mayComeBack = now < known.pointee.eagerUntil
    if known.pointee.hasKey && !known.pointee.isLeaving && !isProved && mayComeBack { throw .identityConflict }
  }

  // MARK: - Certificates

  /// What a certificate claims, nothing of it verified but the form.
  func read(_ bytes: [UInt8]) throws(NeighbourRefusal) -> MembershipCertificate {
    do throws(MembershipError) { return try MembershipCertificate(decoding: bytes) } catch { throw .badCertificate }
  }

  /// Whether the certificate holds: of the network, signed, not revoked. Only a signature that has to be looked at costs
  /// something of the budget.
  mutating func check(
    _ certificate: MembershipCertificate, _ bytes: [UInt8], on port: PortPointer, at now: Instant
  ) throws(NeighbourRefusal) {
    let hash = blake2b256(bytes)
    if verified.contains(hash) { return }
    do throws(MembershipError) { try certificate.checkClaims(with: configuration.descriptor) } catch {
      throw .badCertificate
    }
    if !take(&port.pointee.verifications, else: &spare.verifications, at: now) { throw .overBudget }
    counters.certificatesVerified &+= 1
    do throws(MembershipError) { try certificate.verify(with: configuration.descriptor) } catch {
      throw .badCertificate
    }
    verified.insert(hash)
  }

  /// The certificate a newcomer shows: nil when it has none that holds (then it is a stranger); a revoked one is refused.
  /// And whether it is its holder who shows it.
  private mutating func judgeNewcomer(
    _ discover: DiscoverFrame, on port: PortPointer, from source: MACAddress, at now: Instant
  ) throws(NeighbourRefusal) -> (shown: (MembershipCertificate, [UInt8])?, isProved: Bool) {
    if configuration.descriptor.isRevoked(discover.id) { throw .badCertificate }
    if !discover.certificate.isEmpty {
      do throws(NeighbourRefusal) {
        let certificate = try read(discover.certificate)
        if certificate.id != discover.id { throw .badCertificate }
        try check(certificate, discover.certificate, on: port, at: now)
        // Those who show no certificate that holds cannot use up what is there for those who do, nor those who show
        // another's what is there for its holder.
        let isProved = isProved(discover, certificate, from: source)
        if !(isProved && port.pointee.provedNewcomers.takeIfAvailable(at: now)),
          !take(&port.pointee.memberNewcomers, else: &spare.newcomers, at: now)
        {
          throw .overBudget
        }
        return ((certificate, discover.certificate), isProved)
      } catch {
        if error != .badCertificate { throw error }
        counters.count(.badCertificate)
      }
    }
    if !port.pointee.newcomers.takeIfAvailable(at: now) { throw .overBudget }
    return (nil, false)
  }

  /// A known neighbour shows a certificate. An older one than it showed before is passed over: it may be somebody
  /// else's doing.
  private mutating func takeCertificate(
    _ bytes: [UInt8], of adjacency: AdjacencyPointer, at now: Instant
  ) throws(NeighbourRefusal) {
    if bytes.isEmpty || bytes == adjacency.pointee.certificateBytes || bytes == adjacency.pointee.badCertificate {
      return
    }
    do throws(NeighbourRefusal) {
      let certificate = try read(bytes)
      if certificate.id != adjacency.pointee.id { throw .badCertificate }
      try check(certificate, bytes, on: adjacency.pointee.port, at: now)
      if let before = adjacency.pointee.certificate,
        (certificate.epoch, certificate.serial) < (before.epoch, before.serial)
      {
        return
      }
      adjacency.pointee.certificate = certificate
      adjacency.pointee.vouchedUntil = .never
      adjacency.pointee.certificateBytes = bytes
      adjacency.pointee.reportStrangerAt = now + NeighbourLimits.strangerPatience
    } catch {
      if error == .badCertificate, !adjacency.pointee.hasKey { adjacency.pointee.badCertificate = bytes }
      throw error
    }
  }

  // MARK: - Addresses

  /// Group or own address, for each neighbour of the port: the group serves one neighbour on a direct wire. What
  /// anybody can say about a neighbour with a key moves it from the group to its own address at most; if that is wrong,
  /// `tryOtherAddress` finds out.
  func setDestinations(_ port: PortPointer, at now: Instant, mayReturnToGroup: Bool = false) {
    var keyed = 0
    for i in 0..<port.pointee.neighbourCount {
      if let each = port.pointee.records[i], each.pointee.hasKey { keyed += 1 }
    }
    for i in 0..<port.pointee.neighbourCount {
      guard let each = port.pointee.records[i] else { continue }
      each.pointee.isWide = each.pointee.directUntil <= now
      let isShared = each.pointee.hasKey ? keyed > 1 : port.pointee.neighbourCount > 1
      if isShared || each.pointee.isWide {
        each.pointee.destination = each.pointee.address
      } else if !each.pointee.hasKey || mayReturnToGroup {
        each.pointee.destination = .nearestBridge
      }
    }
  }

  /// Where the next handshake frame goes, or hello under a key that is not proved. Where a switch was told lies about the
  /// neighbour's address, what is sent there goes astray, and what is sent to the group arrives: both in turn.
  func openingDestination(_ adjacency: AdjacencyPointer) -> MACAddress {
    let isSettled = adjacency.pointee.hasKey && adjacency.pointee.peerHearsUs
    if isSettled || adjacency.pointee.isWide { return adjacency.pointee.destination }
    let isGroupsTurn = adjacency.pointee.isGroupsTurn
    adjacency.pointee.isGroupsTurn = !isGroupsTurn
    return isGroupsTurn ? .nearestBridge : adjacency.pointee.destination
  }

  /// A neighbour with a key has not heard us for a second: perhaps it would hear the other address.
  func tryOtherAddress(_ adjacency: AdjacencyPointer, at now: Instant) {
    if adjacency.pointee.peerHearsUs {
      adjacency.pointee.otherAddressAt = .never
    } else if adjacency.pointee.otherAddressAt == .never {
      adjacency.pointee.otherAddressAt = now + NeighbourLimits.addressPatience
    } else if now >= adjacency.pointee.otherAddressAt {
      adjacency.pointee.otherAddressAt = now + NeighbourLimits.addressPatience
      let isGroup = adjacency.pointee.destination == .nearestBridge
      adjacency.pointee.destination = isGroup ? adjacency.pointee.address : .nearestBridge
    }
  }

  /// Tells of a neighbour that is not going to be linked: at once when it cannot be, otherwise after a second.
  mutating func reportStranger(_ adjacency: AdjacencyPointer, at now: Instant) {
    if adjacency.pointee.isStrangerReported || adjacency.pointee.isUp || adjacency.pointee.hasKey { return }
    if canLink(adjacency) && now < adjacency.pointee.reportStrangerAt { return }
    adjacency.pointee.isStrangerReported = true
    tell(.strangerHeard(UInt16(adjacency.pointee.number)))
  }
}
