// Frames in and out: link, onion and end-to-end layers joined. The path of a relayed frame allocates nothing.

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

/// Subtypes of LINKED and OPEN frames (docs/PROTOCOL.md §2).
enum LinkSubtype {
  static let beacon: UInt8 = 1
  static let relay: UInt8 = 2
  static let toward: UInt8 = 3
  static let broken: UInt8 = 4
  static let successionAsk: UInt8 = 8
  static let successionPiece: UInt8 = 9
  static let standing: UInt8 = 10
}

extension Node {
  public mutating func receive(
    _ frame: PacketBuffer, on port: PortNumber, from source: MACAddress, at now: Instant
  ) {
    var frame = frame
    currentTime = now
    switch neighbour.receive(&frame, on: port, from: source, at: now) {
    case .onion(let adjacency):
      counters.onionIn &+= 1
      receiveOnion(frame, on: adjacency, at: now)
    case .consumed:
      pool.give(frame)
      if drainNeighbour(at: now) { settle(at: now) }
    case .refused: pool.give(frame)
    case .linked(let adjacency, let subtype, let offset, let count):
      counters.linkedIn &+= 1
      receiveLinkMessage(frame, offset, count, subtype, on: adjacency, isLinked: true, at: now)
    case .open(let adjacency, let subtype, let offset, let count):
      counters.openIn &+= 1
      receiveLinkMessage(frame, offset, count, subtype, on: adjacency, isLinked: false, at: now)
    }
  }

  /// A hello.
  @inline(__always)
  public static func isSignOfLife(_ frame: PacketBuffer) -> Bool {
    frame.count > 0 && NeighbourEngine.isHello(frame.bytes[0])
  }

  private mutating func receiveLinkMessage(
    _ frame: PacketBuffer, _ offset: Int, _ count: Int, _ subtype: UInt8, on adjacency: UInt16, isLinked: Bool,
    at now: Instant
  ) {
    let content = UnsafeBufferPointer(start: frame.bytes + offset, count: count)
    switch subtype {
    case LinkSubtype.beacon:
      beacon.receive(content.span, from: adjacency, authenticated: isLinked, at: now)
      pool.give(frame)
    case LinkSubtype.relay:
      let copy = Array(content)
      pool.give(frame)
      receiveRelay(copy, on: adjacency, isLinked: isLinked, at: now)
    case LinkSubtype.broken where isLinked:
      receiveBroken(content, on: adjacency, at: now)
      pool.give(frame)
    case LinkSubtype.toward where isLinked:
      let copy = Array(content)
      pool.give(frame)
      receiveToward(copy, on: adjacency, at: now)
    case LinkSubtype.successionAsk...LinkSubtype.standing where isLinked:
      let copy = Array(content)
      pool.give(frame)
      receiveSuccession(subtype, copy, on: adjacency, at: now)
    default:
      counters.relayInvalid &+= 1
      pool.give(frame)
    }
    settle(at: now)
  }

  // MARK: Onion

  private mutating func receiveOnion(_ frame: PacketBuffer, on adjacency: UInt16, at now: Instant) {
    let size = OnionSize(code: frame.bytes[0] >> 1)
    let label = detourLabel(of: frame)
    var ingress = adjacency
    if label != 0 {
      guard let original = followLabel(frame, label, size, on: adjacency, at: now) else { return }
      ingress = original
    }
    switch relay.process(frame, size: size, ingress: ingress, at: now) {
    case .forward(let egress, let onionClass):
      counters.relayed &+= 1
      if !neighbour.isTrusted(egress) || !sendOnion(frame, size: size, on: egress, at: now) {
        routeFailed(frame, size, onionClass, egress: egress, at: now)
      }
    case .deliver(let onionClass, let route):
      let channel: Channel?
      if onionClass.authority == authorityIndex {
        let known = authority?.returnRoutes[route]
        channel = known.map { channels[Int($0.channel)] }
        if let known, let channel { channel.lastReturnRoutes[Int(known.place)] = route }
        if let channel, onionCounter(of: frame) >= OnionBuilder.replaceAfter { routeWornOut(channel, at: now) }
      } else {
        channel = uplink(onionClass.authority)?.channel
      }
      guard let channel else {
        // Frames of a search may end where they began.
        if authority?.faults.owns(route) != true { counters.unknownRoute &+= 1 }
        pool.give(frame)
        return
      }
      receiveSealed(frame, at: size.endToEnd, on: channel, now)
    case .refused: pool.give(frame)
    }
  }

  /// Seals a frame whose onion header is ready, and sends it; takes the buffer over. False, and nothing done, when the
  /// adjacency is not up or carries no frames of this size.
  @inline(__always)
  mutating func sendOnion(
    _ frame: PacketBuffer, size: OnionSize, label: UInt16 = 0, on egress: UInt16, at now: Instant
  ) -> Bool {
    var frame = frame
    guard let destination = neighbour.sealOnion(&frame, sizeCode: size.code, detour: label, on: egress, at: now)
    else { return false }
    emit(.transmit(frame, port: destination.port, destination: destination.address))
    return true
  }

  // MARK: End to end

  /// An end-to-end frame for this node stands at `offset`; takes the buffer over.
  mutating func receiveSealed(_ frame: PacketBuffer, at offset: Int, on channel: Channel, _ now: Instant) {
    let p = frame.bytes + offset
    let count = frame.count - offset
    guard count >= SessionLayout.overhead, let session = sessionFor(p, count, channel, at: now) else {
      counters.noSession &+= 1
      pool.give(frame)
      return
    }
    // What a member sends beyond its budget is not even opened; what is not authentic costs nobody's.
    guard channel.isUplink || p[0] & 0x30 != 0 || channel.controlFrames.hasToken(at: now) else {
      counters.controlOverBudget &+= 1
      pool.give(frame)
      return
    }
    switch session.open(p, count: count) {
    case .refused(let reason):
      // What is protected comes twice, and the second copy is told by the window alone.
      if reason == .replayed, p[0] >> 4 & 3 != SequenceSpace.bulk.rawValue {
        counters.twinsDropped &+= 1
      } else {
        counters.sealRefused[Int(reason.rawValue)] &+= 1
      }
      pool.give(frame)
    case .opened(let space, let sequence, let plainCount):
      if session === channel.session {
        if channel.isUnheard { judgeHearing(of: channel, at: now) }
        channel.prove(at: now)
      } else if let pending = channel.pendings.first(where: { $0.session === session }) {
        promote(channel, pending, at: now)
      }
      let plain = p + SessionLayout.header
      if plain[0] >> 4 == SegmentKind.ip {
        receivePacket(
          frame, plain: plain, count: plainCount, sequence: sequence, from: channel, epoch: session.keys.epoch,
          space: space, at: now)
        return
      }
      if !channel.isUplink { channel.controlFrames.take() }
      // The numbers of a stream that is over mean other messages in the present one.
      if session === channel.previousSession, !channel.streamGoesOn {
        counters.controlLate &+= 1
        pool.give(frame)
        return
      }
      receiveControl(plain, count: plainCount, space: space, on: channel, at: now)
      pool.give(frame)
      settle(at: now)
    }
  }

  /// Which of a channel's sessions the frame's key epoch means.
  private func sessionFor(
    _ p: UnsafeMutablePointer<UInt8>, _ count: Int, _ channel: Channel, at now: Instant
  ) -> SecureSession? {
    let epoch = SecureSession.epoch(of: p)
    if let session = channel.session, session.keys.epoch == epoch { return session }
    for pending in channel.pendings where pending.session.recognizes(p, count: count) { return pending.session }
    if let previous = channel.previousSession, previous.keys.epoch == epoch, now < channel.previousEnds {
      return previous
    }
    return nil
  }

  // MARK: Control frames

  mutating func transmit(_ hello: ShortFrame, _ port: PortNumber, _ destination: MACAddress) {
    guard var buffer = pool.take() else {
      counters.poolEmpty &+= 1
      return
    }
    hello.copy(to: buffer.bytes)
    buffer.count = ShortFrame.size
    emit(.transmit(buffer, port: port, destination: destination))
  }

  /// Sends bytes as a frame of their own (large hellos, discoveries, handshakes).
  mutating func transmit(_ bytes: [UInt8], _ port: PortNumber, _ destination: MACAddress) {
    guard var buffer = pool.take() else {
      counters.poolEmpty &+= 1
      return
    }
    guard bytes.count <= buffer.tailRoom else {
      pool.give(buffer)
      return
    }
    bytes.withUnsafeBufferPointer {
      UnsafeMutableRawPointer(buffer.bytes).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
    }
    buffer.count = bytes.count
    emit(.transmit(buffer, port: port, destination: destination))
  }

  /// Sends content to a neighbour: LINKED where there is a link key, OPEN otherwise.
  mutating func sendLink(subtype: UInt8, _ content: [UInt8], on adjacency: UInt16, at now: Instant) {
    guard var buffer = pool.take() else {
      counters.poolEmpty &+= 1
      return
    }
    var destination = neighbour.sealLinked(subtype: subtype, content: content, into: &buffer, on: adjacency, at: now)
    if destination == nil, subtype == LinkSubtype.beacon || subtype == LinkSubtype.relay {
      destination = neighbour.composeOpen(subtype: subtype, content: content, into: &buffer, on: adjacency, at: now)
    }
    guard let destination else {
      counters.noAdjacency &+= 1
      pool.give(buffer)
      return
    }
    emit(.transmit(buffer, port: destination.port, destination: destination.address))
  }

  /// Sends an end-to-end frame of the control space by the route, or by what there is before one.
  /// - Parameters:
  ///   - attempt: 1 at first; later ones try another way where there is one.
  ///   - byEveryWay: a copy by each way there is, instead of two.
  mutating func sendSegment(
    kind: UInt8, flags: UInt8, word: UInt32, payload: [UInt8], on channel: Channel, attempt: Int,
    byEveryWay: Bool = false, at now: Instant
  ) {
    guard let session = channel.session else { return }
    var sealed = [UInt8](repeating: 0, count: SessionLayout.overhead + payload.count)
    sealed[5] = kind << 4 | flags
    for i in 0..<4 { sealed[6 + i] = UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * i)) }
    for i in payload.indices { sealed[10 + i] = payload[i] }
    sealed.withUnsafeMutableBufferPointer {
      _ = session.seal($0.baseAddress!, count: SessionLayout.segment + payload.count, space: .control)
    }
    if byEveryWay {
      let ways = channel.ways.places.compactMap { $0 }.filter { isUp($0.egress) }
      sendByWays(sealed, ways, on: channel, at: now)
      // Where all are in doubt, by the tree as well.
      if !ways.isEmpty, !(channel.ways.main?.isInDoubt(at: now) ?? true) { return }
    }
    sendSealed(sealed, on: channel, attempt: attempt, isChunk: kind == SegmentKind.chunk, at: now)
  }

  private mutating func sendSealed(
    _ sealed: [UInt8], on channel: Channel, attempt: Int, isChunk: Bool, at now: Instant
  ) {
    // A component's chunk goes by the route and by the tree in turn, and where the route is in doubt by the tree first.
    let main = channel.ways.main
    let isDoubtful = main?.isInDoubt(at: now) ?? false
    let isRoutesTurn = !channel.isUplink || (attempt % 2 == 1) != (isDoubtful && hasTree(channel))
    // A route ends at a key that the component has from the first frame on, and that one may be lost.
    let isUnproved = channel.mayLackKeys
    if isUnproved { sendBeforeRoutes(sealed, on: channel, attempt: attempt, at: now) }
    if isRoutesTurn, let main, isUp(main.egress) {
      // Commands are protected like sparse traffic.
      let isOnce = isUnproved || isChunk && attempt == 1 && isHurrying(channel, at: now)
      let first = channel.ways.first ?? main
      sendByWays(sealed, isOnce ? [first] : [first] + channel.ways.twins.prefix(isChunk ? 1 : 2), on: channel, at: now)
    } else if !isUnproved {
      sendBeforeRoutes(sealed, on: channel, attempt: attempt, at: now)
    }
  }

  /// The way the session's handshake went, as long as there is no route to keys that are there; a component's then by the
  /// tree.
  private mutating func sendBeforeRoutes(_ sealed: [UInt8], on channel: Channel, attempt: Int, at now: Instant) {
    if channel.isUplink {
      if case .neighbour = channel.carrier, !channel.isRouted, attempt < 4 {
        send(sealed, by: channel.carrier, on: channel, at: now)
      } else {
        sendToward(sealed, on: channel, at: now)
      }
    } else if channel.mayLackKeys || !channel.isRouted {
      send(sealed, by: channel.carrier, on: channel, at: now)
      // What goes through others' sessions goes one way each.
      if carrierDepth == 0 { send(sealed, by: channel.laterCarrier, on: channel, at: now) }
    }
  }

  private mutating func send(_ sealed: [UInt8], by carrier: Carrier, on channel: Channel, at now: Instant) {
    switch carrier {
    case .none: break
    case .neighbour(let adjacency):
      let kind: RelayMessage.Kind = channel.isUplink ? .sealedUp : .sealedDown
      let body = channel.isUplink ? bigEndian(channel.session?.keys.spi ?? 0) + sealed : sealed
      let message = RelayMessage(kind: kind, authority: authorityID(channel), body: body)
      sendLink(subtype: LinkSubtype.relay, message.encode(), on: adjacency, at: now)
    case .through(let through, let adjacency):
      // Carriers come from what components asked last: they may lead in a circle.
      guard carrierDepth < Node.carrierDepthLimit else {
        counters.carrierTooDeep &+= 1
        return
      }
      carrierDepth += 1
      let message = RelayMessage(kind: .sealedDown, authority: authorityID(channel), body: sealed)
      sendDatagram(RelayDown(adjacency: adjacency, relay: message).encode(), on: channels[Int(through)], at: now)
      carrierDepth -= 1
    }
  }

  func authorityID(_ channel: Channel) -> ComponentID {
    channel.isUplink ? channel.peer : identity.id
  }

  /// An MA that lays many best ways after one change: what is lost of them is sent again.
  private func isHurrying(_ channel: Channel, at now: Instant) -> Bool {
    !channel.isUplink && (authority.map { now < $0.hurriesUntil } ?? false)
  }

  /// The same frame by each of these.
  private mutating func sendByWays(_ sealed: [UInt8], _ ways: [Way], on channel: Channel, at now: Instant) {
    let onionClass = OnionClass(
      traffic: .control, towardAuthority: channel.isUplink, authority: channel.authorityIndex)
    sealed.withUnsafeBufferPointer {
      guard let bytes = $0.baseAddress else { return }
      counters.twinsSent &+= UInt64(max(ways.count, 1) - 1)
      for way in ways {
        sendCopy(bytes, sealed.count, way, onionClass, at: now)
      }
    }
  }

  /// Whether a beacon of the channel's authority shows where the tree leads.
  private func hasTree(_ channel: Channel) -> Bool {
    beacon.newest(authority: beaconPosition(channel.authorityIndex))?.adjacency != nil
  }

  /// Along the newest beacon's tree to the MA.
  private mutating func sendToward(_ sealed: [UInt8], on channel: Channel, at now: Instant) {
    guard let newest = beacon.newest(authority: beaconPosition(channel.authorityIndex)),
      let adjacency = newest.adjacency, let session = channel.session
    else {
      counters.towardNoTree &+= 1
      return
    }
    let message = TowardMessage(
      authority: authorityID(channel), boot: newest.boot, counter: newest.counter, budget: TowardMessage.fullBudget,
      spi: session.keys.spi, sealed: sealed)
    sendLink(subtype: LinkSubtype.toward, message.encode(), on: adjacency, at: now)
  }

  private mutating func receiveToward(_ bytes: [UInt8], on adjacency: UInt16, at now: Instant) {
    let decoded: TowardMessage
    do throws(WireError) {
      decoded = try TowardMessage(decoding: bytes.span)
    } catch {
      counters.relayInvalid &+= 1
      return
    }
    var message = decoded
    guard let index = descriptor.index(of: message.authority).map({ Int($0) }) else {
      counters.relayInvalid &+= 1
      return
    }
    guard relayDesk.mayGoToward(adjacency, authorityIndex: index, at: now) else {
      counters.towardOverBudget &+= 1
      return
    }
    if index == authorityIndex {
      counters.towardTaken &+= 1
      receiveSealedBytes(message.sealed, spi: message.spi, at: now)
      return
    }
    guard message.budget > 1 else {
      counters.towardExhausted &+= 1
      return
    }
    guard
      let next = beacon.treeAdjacency(authority: beaconPosition(index), boot: message.boot, counter: message.counter),
      next != adjacency
    else {
      counters.towardNoTree &+= 1
      return
    }
    message.budget -= 1
    counters.towardTaken &+= 1
    sendLink(subtype: LinkSubtype.toward, message.encode(), on: next, at: now)
  }

  /// At the MA: an end-to-end frame that came without a route, named by its session.
  mutating func receiveSealedBytes(_ sealed: [UInt8], spi: UInt32, at now: Instant) {
    guard let number = authority?.bySPI[spi] else {
      counters.noSession &+= 1
      return
    }
    receiveSealedCopy(sealed, on: channels[Int(number)], at: now)
  }

  mutating func receiveSealedCopy(_ sealed: [UInt8], on channel: Channel, at now: Instant) {
    guard var buffer = pool.take() else {
      counters.poolEmpty &+= 1
      return
    }
    guard !sealed.isEmpty, sealed.count <= buffer.tailRoom else {
      pool.give(buffer)
      return
    }
    sealed.withUnsafeBufferPointer {
      UnsafeMutableRawPointer(buffer.bytes).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
    }
    buffer.count = sealed.count
    receiveSealed(buffer, at: 0, on: channel, now)
  }
}

/// High nibble of the segment's first byte (docs/PROTOCOL.md §6).
enum SegmentKind {
  static let datagram: UInt8 = 0
  static let chunk: UInt8 = 1
  static let ip: UInt8 = 2
  static let acknowledgement: UInt8 = 3
}
