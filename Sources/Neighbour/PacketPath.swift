// Frames in and out. For ONION frames, hundreds of thousands a second, this is the packet path: a look-up in a short
// table, one SipHash, one ChaCha20, no allocation.

import Core
import Crypto

extension NeighbourEngine {
  // MARK: - Receiving

  /// Types 1, 2 and 3 are the engine's own; 4 and 5 are checked and decrypted in place; 6 is looked at and budgeted.
  /// Whatever the bytes are, the worst that happens is that they are refused and counted.
  public mutating func receive(
    _ frame: inout PacketBuffer, on port: PortNumber, from source: MACAddress, at now: Instant
  ) -> NeighbourVerdict {
    do throws(NeighbourRefusal) {
      return try judge(frame, on: port, from: source, at: now)
    } catch {
      counters.count(error)
      if deadlineIsStale { refreshDeadline() }
      return .refused(error)
    }
  }

  @inline(__always)
  private mutating func judge(
    _ frame: PacketBuffer, on number: PortNumber, from source: MACAddress, at now: Instant
  ) throws(NeighbourRefusal) -> NeighbourVerdict {
    if frame.count < 1 { throw .truncated }
    let p = frame.bytes
    guard let head = FrameHead(p[0]) else { throw .unknownType }
    guard let port = tables.port(number) else { throw .unknownPort }
    if !port.pointee.isUp || isStopped { throw .portDown }
    switch head.type {
    case .onion: return try receiveOnion(p, count: frame.count, head: head, on: port, from: source, at: now)
    case .linked: return try receiveLinked(p, count: frame.count, head: head, on: port, from: source, at: now)
    case .open: return try receiveOpen(p, count: frame.count, on: port, from: source, at: now)
    case .hello: try receiveHello(p, count: frame.count, head: head, on: port, from: source, at: now)
    case .discover: try receiveDiscover(frame.span, on: port, from: source, at: now)
    case .handshake: try receiveHandshake(frame.span, on: port, from: source, at: now)
    }
    if deadlineIsStale {
      refreshDeadline()
    } else if deadlineIsEarly {
      refreshHearing()
    }
    return .consumed
  }

  @inline(__always)
  private mutating func receiveOnion(
    _ p: UnsafeMutablePointer<UInt8>, count: Int, head: FrameHead, on port: PortPointer, from source: MACAddress,
    at now: Instant
  ) throws(NeighbourRefusal) -> NeighbourVerdict {
    let headerEnd = LinkHeader.onionHeaderEnd(sizeCode: head.sizeCode)
    if count < headerEnd + LinkHeader.endToEndSize { throw .truncated }
    let adjacency = try known(source, on: port, at: now)
    let key = adjacency.pointee.keys + Int(head.phase)
    var opened = Self.authenticate(p, taggedEnd: headerEnd, key)
    if case .refused(let reason) = opened {
      let candidate = try candidateKey(of: adjacency, phase: head.phase, else: reason, at: now)
      opened = Self.authenticate(p, taggedEnd: headerEnd, candidate)
      guard case .authentic = opened else { throw reason }
      prove(adjacency, at: now)
    }
    guard case .authentic(let counter) = opened else { throw .badTag }
    key.pointee.decrypt(p, encryptedEnd: headerEnd, counter: counter)
    if !Self.isBulk(p) {
      // The rest is encrypted too, with the same key stream further on.
      key.pointee.decryptRest(p, from: headerEnd, encryptedEnd: count, counter: counter)
    }
    noteFrame(adjacency, count: count, at: now)
    return .onion(adjacency: UInt16(adjacency.pointee.number))
  }

  private mutating func receiveLinked(
    _ p: UnsafeMutablePointer<UInt8>, count: Int, head: FrameHead, on port: PortPointer, from source: MACAddress,
    at now: Instant
  ) throws(NeighbourRefusal) -> NeighbourVerdict {
    if count < ContentFrame.linkedContent { throw .truncated }
    let adjacency = try known(source, on: port, at: now)
    let key = adjacency.pointee.keys + Int(head.phase)
    var (opened, length) = Self.authenticateLinked(p, count: count, key)
    if case .refused(let reason) = opened {
      let candidate = try candidateKey(of: adjacency, phase: head.phase, else: reason, at: now)
      (opened, length) = Self.authenticateLinked(p, count: count, candidate)
      guard case .authentic = opened else { throw reason }
      prove(adjacency, at: now)
    }
    guard case .authentic(let counter) = opened else { throw .badTag }
    let end = ContentFrame.linkedContent + length
    key.pointee.decrypt(p, encryptedEnd: end, counter: counter)
    noteFrame(adjacency, count: end, at: now)
    let subtype = p[15]
    if !ContentSubtype.isLinked(subtype) { throw .invalidField }
    return .linked(
      adjacency: UInt16(adjacency.pointee.number), subtype: subtype, offset: ContentFrame.linkedContent, count: length)
  }

  private mutating func receiveOpen(
    _ p: UnsafeMutablePointer<UInt8>, count: Int, on port: PortPointer, from source: MACAddress, at now: Instant
  ) throws(NeighbourRefusal) -> NeighbourVerdict {
    if count < ContentFrame.openContent { throw .truncated }
    let (subtype, length) = (p[1], Int(loadBig16(p + 2)))
    if subtype != ContentSubtype.beacon && subtype != ContentSubtype.relay { throw .invalidField }
    if ContentFrame.openContent + length > count { throw .truncated }
    guard let adjacency = tables.find(source, on: port) else {
      askAnew(port, at: now)
      throw .unknownNeighbour
    }
    if !adjacency.pointee.openIn.takeIfAvailable(at: now) { throw .openOverBudget }
    return .open(
      adjacency: UInt16(adjacency.pointee.number), subtype: subtype, offset: ContentFrame.openContent, count: length)
  }

  @inline(__always)
  private mutating func known(
    _ source: MACAddress, on port: PortPointer, at now: Instant
  ) throws(NeighbourRefusal) -> AdjacencyPointer {
    guard let adjacency = tables.find(source, on: port) else {
      askAnew(port, at: now)
      throw .unknownNeighbour
    }
    return adjacency
  }

  private enum Authenticated {
    case authentic(counter: UInt64)
    case refused(NeighbourRefusal)
  }

  /// Checks tag and counter, and takes the counter in.
  @inline(__always)
  private static func authenticate(
    _ p: UnsafeMutablePointer<UInt8>, taggedEnd: Int, _ key: UnsafeMutablePointer<LinkKey>
  ) -> Authenticated {
    if !key.pointee.isLive { return .refused(.noKey) }
    switch key.pointee.open(p, taggedEnd: taggedEnd) {
    case .badTag: return .refused(.badTag)
    case .replayed: return .refused(.replayed)
    case .authentic(let counter):
      return key.pointee.window.accept(counter) ? .authentic(counter: counter) : .refused(.replayed)
    }
  }

  /// The medium may have padded the frame, and the length that tells is encrypted: until the tag is checked it is only a
  /// number that must lie within the frame.
  private static func authenticateLinked(
    _ p: UnsafeMutablePointer<UInt8>, count: Int, _ key: UnsafeMutablePointer<LinkKey>
  ) -> (Authenticated, length: Int) {
    if !key.pointee.isLive { return (.refused(.noKey), 0) }
    let counter = key.pointee.window.reconstruct(low: loadBig32(p + LinkHeader.counter))
    key.pointee.decrypt(p, encryptedEnd: ContentFrame.linkedContent, counter: counter)
    let length = Int(loadBig16(p + 16))
    key.pointee.decrypt(p, encryptedEnd: ContentFrame.linkedContent, counter: counter)
    if ContentFrame.linkedContent + length > count { return (.refused(.badTag), 0) }
    return (authenticate(p, taggedEnd: ContentFrame.linkedContent + length, key), length)
  }

  /// The neighbour may send under the new key as soon as our hello has proved it there, and what it sends may overtake
  /// its own hello: the key of a handshake this node began is tried too.
  private mutating func candidateKey(
    of adjacency: AdjacencyPointer, phase: UInt8, else reason: NeighbourRefusal, at now: Instant
  ) throws(NeighbourRefusal) -> UnsafeMutablePointer<LinkKey> {
    let key = adjacency.pointee.keys + AdjacencyRecord.candidateIndex
    if let candidate = adjacency.pointee.candidate, candidate.isOurs, key.pointee.phase == phase { return key }
    if reason == .noKey && !adjacency.pointee.isHeard { askAnew(adjacency.pointee.port, at: now) }
    throw reason
  }

  /// An authentic frame came under the candidate.
  private mutating func prove(_ adjacency: AdjacencyPointer, at now: Instant) {
    let wasUp = adjacency.pointee.isUp
    promoteCandidate(adjacency, at: now)
    noteHeard(adjacency, at: now)
    if !evaluate(adjacency, at: now) { sendChangeBurst(adjacency, at: now) }
    if wasUp && adjacency.pointee.isUp { tell(.adjacencyRenewed(UInt16(adjacency.pointee.number))) }
    refreshDeadline()
  }

  @inline(__always)
  private mutating func noteFrame(_ adjacency: AdjacencyPointer, count: Int, at now: Instant) {
    noteAuthentic(adjacency, count: count, at: now)
    if adjacency.pointee.doubtSteps != 0 { heardAgain(adjacency, at: now) }
    if !adjacency.pointee.isHeard {
      evaluate(adjacency, at: now)
      refreshDeadline()
    }
  }

  @inline(__always)
  private static func isBulk(_ p: UnsafePointer<UInt8>) -> Bool { p[LinkHeader.onionClass] >> 5 == 2 }

  // MARK: - Sending

  /// Protects an ONION frame whose onion header begins at byte 15; bytes 0 ..< 15 are filled here. The class in byte 15
  /// decides how much is encrypted. Nil when the adjacency is not up or does not carry frames of this size; the frame
  /// is unchanged then.
  public mutating func sealOnion(
    _ frame: inout PacketBuffer, sizeCode: UInt8, detour: UInt16 = 0, on number: UInt16, at now: Instant
  ) -> LinkDestination? {
    let headerEnd = LinkHeader.onionHeaderEnd(sizeCode: sizeCode)
    invariant(frame.count >= headerEnd, "an ONION frame holds its header")
    guard let adjacency = ready(number, count: frame.count) else { return nil }
    let p = frame.bytes
    let phase = adjacency.pointee.currentPhase
    adjacency.pointee.keys[Int(phase)].seal(
      p, head: FrameHead(.onion, phase: phase, sizeCode: sizeCode).byte, detour: detour,
      encryptedEnd: Self.isBulk(p) ? headerEnd : frame.count, taggedEnd: headerEnd)
    adjacency.pointee.sent &+= 1
    return LinkDestination(port: adjacency.pointee.port.pointee.number, address: adjacency.pointee.destination)
  }

  /// The adjacency, when it is up and carries frames of `count` bytes.
  @inline(__always)
  private mutating func ready(_ number: UInt16, count: Int) -> AdjacencyPointer? {
    guard let adjacency = tables.record(number), adjacency.pointee.isUp else {
      counters.notUp &+= 1
      return nil
    }
    if count > adjacency.pointee.frameSize {
      counters.tooLarge &+= 1
      return nil
    }
    return adjacency
  }

  /// Makes a LINKED frame of what `frame` holds from byte 18 on: the content may be put there without a copy.
  public mutating func sealLinked(
    _ frame: inout PacketBuffer, subtype: UInt8, on number: UInt16, at now: Instant
  ) -> LinkDestination? {
    invariant(frame.count >= ContentFrame.linkedContent, "a LINKED frame holds its header")
    guard let adjacency = ready(number, count: frame.count) else { return nil }
    let p = frame.bytes
    p[15] = subtype
    storeBig16(UInt16(truncatingIfNeeded: frame.count - ContentFrame.linkedContent), p + 16)
    let phase = adjacency.pointee.currentPhase
    adjacency.pointee.keys[Int(phase)].seal(
      p, head: FrameHead(.linked, phase: phase).byte, detour: 0, encryptedEnd: frame.count, taggedEnd: frame.count)
    adjacency.pointee.sent &+= 1
    return LinkDestination(port: adjacency.pointee.port.pointee.number, address: adjacency.pointee.destination)
  }

  /// Writes a LINKED frame with this content into an empty buffer. Nil, too, when it does not fit the buffer.
  public mutating func sealLinked(
    subtype: UInt8, content: [UInt8], into frame: inout PacketBuffer, on number: UInt16, at now: Instant
  ) -> LinkDestination? {
    guard Self.put(content, at: ContentFrame.linkedContent, in: &frame) else { return nil }
    return sealLinked(&frame, subtype: subtype, on: number, at: now)
  }

  /// Writes an OPEN frame with this content into an empty buffer. Nil when the neighbour is unknown, its port is down,
  /// the budget is used up or the frame too large.
  public mutating func composeOpen(
    subtype: UInt8, content: [UInt8], into frame: inout PacketBuffer, on number: UInt16, at now: Instant
  ) -> LinkDestination? {
    guard let adjacency = tables.record(number), adjacency.pointee.port.pointee.isUp, !isStopped else {
      counters.notUp &+= 1
      return nil
    }
    let port = adjacency.pointee.port
    guard content.count + ContentFrame.openContent <= port.pointee.assumedFrameSize,
      Self.put(content, at: ContentFrame.openContent, in: &frame)
    else {
      counters.tooLarge &+= 1
      return nil
    }
    guard adjacency.pointee.openOut.takeIfAvailable(at: now) else {
      counters.openWithheld &+= 1
      return nil
    }
    let p = frame.bytes
    p[0] = FrameHead(.open).byte
    p[1] = subtype
    storeBig16(UInt16(truncatingIfNeeded: content.count), p + 2)
    let isShared = port.pointee.neighbourCount > 1
    return LinkDestination(
      port: port.pointee.number, address: isShared ? adjacency.pointee.address : adjacency.pointee.destination)
  }

  private static func put(_ content: [UInt8], at offset: Int, in frame: inout PacketBuffer) -> Bool {
    let count = offset + content.count
    if frame.start + count > frame.capacity || content.count > 65_535 { return false }
    frame.count = count
    let p = frame.bytes
    for i in content.indices { p[offset + i] = content[i] }
    return true
  }
}
