// HELLO: the sign of life. Sent on a tick that all ports share, so that the process wakes once for all of them.

import Core
import Crypto
import Membership
import Wire

extension NeighbourEngine {
  // MARK: - Pace

  /// Milliseconds, lengthened as the number of neighbours demands.
  func interval(of medium: PortMedium, isFurther: Bool = false) -> UInt16 {
    let stretched = Int(configuration.interval(of: medium)) * (isFurther ? furtherStretch : stretch)
    return UInt16(truncatingIfNeeded: min(stretched, Int(HelloFrame.intervals.upperBound)))
  }

  /// The pace of a link, ms: both ends keep to the longer of what each asks for, so that a box with many ports hears as
  /// seldom as it speaks.
  @inline(__always)
  func linkInterval(_ adjacency: AdjacencyPointer) -> UInt16 {
    max(adjacency.pointee.interval, adjacency.pointee.peerInterval)
  }

  /// The tick of one adjacency after `now`. Towards a neighbour that does not hear us the pace is our own.
  func nextTick(of adjacency: AdjacencyPointer, after now: Instant) -> Instant {
    nextTick(
      after: now,
      interval: adjacency.pointee.peerHearsUs ? linkInterval(adjacency) : adjacency.pointee.interval)
  }

  /// The next multiple of the interval since `ticksFrom`.
  func nextTick(after now: Instant, interval: UInt16) -> Instant {
    let pace = Int64(interval) * 1_000_000
    let elapsed = Int64(bitPattern: now.nanoseconds) - ticksFrom
    return now + .nanoseconds(pace - elapsed % pace)
  }

  /// The link's pace may be shorter now.
  private mutating func hurryHello(_ adjacency: AdjacencyPointer, at now: Instant) {
    guard adjacency.pointee.nextHello != .never else { return }
    adjacency.pointee.nextHello = min(adjacency.pointee.nextHello, nextTick(of: adjacency, after: now))
    deadlineIsStale = true
  }

  /// A hello came in the second half of the interval: the next tick is drawn towards it, so that in time neighbours tick
  /// together and a box with many ports wakes once for all it hears. No interval falls under a half.
  private mutating func drawTick(towards adjacency: AdjacencyPointer, at now: Instant) {
    // The quickest links draw alone: what they may be drawn by is short for all others too.
    guard linkInterval(adjacency) == quickest, adjacency.pointee.nextHello != .never,
      adjacency.pointee.nextHello > now
    else { return }
    let left = (adjacency.pointee.nextHello - now).nanoseconds
    let pace = Int64(linkInterval(adjacency)) * 1_000_000
    if left >= pace / 2 { return }
    let earlier = Duration.nanoseconds(left <= pace / LinkTicks.atOnce ? left : left / LinkTicks.share)
    let next = adjacency.pointee.nextHello - earlier
    ticksFrom -= earlier.nanoseconds
    for place in 0..<tables.count {
      let each = tables.record(at: place)
      if each.pointee.nextHello == .never || (each.pointee.nextHello <= now + earlier && each != adjacency) { continue }
      each.pointee.nextHello = each.pointee.nextHello - earlier
    }
    deadline = min(deadline, next)
  }

  /// The number of links or a port's medium changed: fits the intervals to the limit of hellos. Members' further places
  /// on a port are fitted to what the first ones leave, so that they lengthen nobody else's intervals.
  mutating func updatePace(at now: Instant) {
    var (first, further) = (0, 0)
    for slot in tables.slots {
      guard let port = tables.port(slot: slot) else { continue }
      let each = 1000 / Int(configuration.interval(of: port.pointee.status.medium))
      for place in 0..<port.pointee.neighbourCount {
        guard let record = port.pointee.records[place], record.pointee.hasKey else { continue }
        if isFurther(place, on: port) { further += each } else { first += each }
      }
    }
    let limit = configuration.helloLimitPerSecond
    let needed = max(1, (first + limit - 1) / limit)
    if needed != stretch {
      stretch = needed
      log(.notice, "\(first) hellos a second asked for: intervals are \(needed) times the configured ones")
    }
    let left = max(limit - first / needed, limit / NeighbourLimits.furtherHellos, 1)
    let neededFurther = max(needed, (further + left - 1) / left)
    if neededFurther != furtherStretch {
      furtherStretch = neededFurther
      if neededFurther != needed {
        log(
          .notice,
          "\(further) hellos a second asked for by who has several links on a port: their intervals are \(neededFurther) times the configured ones"
        )
      }
    }
    for slot in tables.slots {
      guard let port = tables.port(slot: slot) else { continue }
      for place in 0..<port.pointee.neighbourCount {
        guard let adjacency = port.pointee.records[place] else { continue }
        setPace(
          adjacency, interval(of: port.pointee.status.medium, isFurther: isFurther(place, on: port)), at: now)
      }
    }
  }

  /// Whether its neighbour has another place on the port that comes before it: one that is heard before one that is not,
  /// then the older.
  private func isFurther(_ place: Int, on port: PortPointer) -> Bool {
    guard let record = port.pointee.records[place], record.pointee.hasKey else { return false }
    for i in 0..<port.pointee.neighbourCount where i != place {
      guard let each = port.pointee.records[i], each.pointee.hasKey, each.pointee.id == record.pointee.id else {
        continue
      }
      if each.pointee.isHeard == record.pointee.isHeard ? i < place : each.pointee.isHeard { return true }
    }
    return false
  }

  private mutating func setPace(_ adjacency: AdjacencyPointer, _ pace: UInt16, at now: Instant) {
    let before = adjacency.pointee.interval
    if pace == before { return }
    adjacency.pointee.interval = pace
    // The silence so far began under the old pace: it is no longer for that, and no shorter.
    let longer = Int64(max(pace, adjacency.pointee.peerInterval)) - Int64(max(before, adjacency.pointee.peerInterval))
    if adjacency.pointee.isHeard, longer > 0 {
      adjacency.pointee.hearingUntil =
        adjacency.pointee.hearingUntil + .nanoseconds(longer * LinkProtocol.holdMicroseconds * 1_000)
    }
    // The neighbour's hold follows what the last hello announced: it must not be one that is lost.
    if adjacency.pointee.hasKey { sendChangeBurst(adjacency, at: now) }
    hurryHello(adjacency, at: now)
  }

  // MARK: - Sending

  /// `length` bytes in all; `flags` beside those that follow from the state.
  mutating func sendHello(
    _ adjacency: AdjacencyPointer, key index: Int, length: Int = HelloFrame.size, flags: UInt8 = 0, at now: Instant
  ) {
    let port = adjacency.pointee.port
    let keys = adjacency.pointee.keys
    guard keys[index].isLive else { return }
    adjacency.pointee.sent &+= 1
    var flags = flags
    if port.pointee.isUp && now < adjacency.pointee.hearingUntil { flags |= HelloFrame.Flag.hearsYou }
    if length > HelloFrame.size { flags |= HelloFrame.Flag.fullSize }
    if adjacency.pointee.isMissing { flags |= HelloFrame.Flag.missesYou }
    let isEager = adjacency.pointee.isHeard || now < adjacency.pointee.eagerUntil || !adjacency.pointee.hasKey
    let hello = HelloFrame(
      flags: flags, interval: isEager ? adjacency.pointee.interval : HelloFrame.intervals.upperBound,
      epoch: configuration.descriptor.epoch, sent: UInt32(truncatingIfNeeded: adjacency.pointee.sent),
      received: UInt32(truncatingIfNeeded: adjacency.pointee.received),
      nonce: adjacency.pointee.nonces.fresh(at: now, turn: &nonceTurn, entropy: &entropy),
      heard: UInt32(truncatingIfNeeded: keys[index].window.highest),
      frameSize: UInt16(truncatingIfNeeded: port.pointee.frameSize), largest: adjacency.pointee.largestHeard,
      length: UInt16(truncatingIfNeeded: length))
    let isCandidates = index == AdjacencyRecord.candidateIndex
    let destination = isCandidates ? openingDestination(adjacency) : adjacency.pointee.destination
    let head = FrameHead(.hello, phase: keys[index].phase).byte
    if length == HelloFrame.size {
      var frame = ShortFrame()
      frame.withMutableBytes {
        hello.encode(into: $0)
        keys[index].seal($0, head: head, detour: 0, encryptedEnd: LinkHeader.detour, taggedEnd: length)
      }
      transmit(frame, on: port, to: destination)
    } else {
      var bytes = hello.encode()
      bytes.withUnsafeMutableBufferPointer {
        guard let p = $0.baseAddress else { return }
        keys[index].seal(p, head: head, detour: 0, encryptedEnd: LinkHeader.detour, taggedEnd: length)
      }
      transmit(bytes, on: port, to: destination)
    }
    if flags & HelloFrame.Flag.answerNow != 0 {
      adjacency.pointee.probeCounter = UInt32(truncatingIfNeeded: keys[index].sendCounter)
      adjacency.pointee.probeSent = now
      adjacency.pointee.probePending = true
    }
    counters.hellosSent &+= 1
  }

  /// Something changed that the neighbour should know: three hellos at once.
  mutating func sendChangeBurst(_ adjacency: AdjacencyPointer, at now: Instant) {
    guard adjacency.pointee.port.pointee.isUp, !adjacency.pointee.isLeaving else { return }
    for _ in 0..<LinkProtocol.changeBurst {
      sendHello(adjacency, key: Int(adjacency.pointee.currentPhase), at: now)
    }
  }

  /// The tick of one adjacency.
  mutating func sendDueHellos(_ adjacency: AdjacencyPointer, at now: Instant) {
    turnLargest(adjacency, at: now)
    if adjacency.pointee.hasKey && !adjacency.pointee.isLeaving {
      tryOtherAddress(adjacency, at: now)
      let current = Int(adjacency.pointee.currentPhase)
      var flags: UInt8 = 0
      if now >= adjacency.pointee.nextProbe {
        flags = HelloFrame.Flag.answerNow
        adjacency.pointee.nextProbe = now + .seconds(1)
      }
      sendHello(adjacency, key: current, flags: flags, at: now)
      if now >= adjacency.pointee.nextFullSize {
        adjacency.pointee.nextFullSize = now + LinkProtocol.fullSizePace
        sendFullSize(adjacency, key: current, at: now)
      }
    }
    let candidateKey = adjacency.pointee.keys + AdjacencyRecord.candidateIndex
    if candidateKey.pointee.isLive, let candidate = adjacency.pointee.candidate, candidate.isOurs {
      sendHello(adjacency, key: AdjacencyRecord.candidateIndex, at: now)
    }
    if !adjacency.pointee.hasKey && adjacency.pointee.candidate == nil {
      adjacency.pointee.nextHello = .never
      return
    }
    let isEager = adjacency.pointee.isHeard || adjacency.pointee.candidate != nil || now < adjacency.pointee.eagerUntil
    adjacency.pointee.nextHello =
      isEager ? nextTick(of: adjacency, after: now) : nextTick(after: now, interval: HelloFrame.intervals.upperBound)
  }

  /// A hello as large as both ends' frames may be; smaller ones too, while those are lost, to find what passes.
  private mutating func sendFullSize(_ adjacency: AdjacencyPointer, key: Int, at now: Instant) {
    let size = agreedSize(adjacency)
    if size <= HelloFrame.size { return }
    sendHello(adjacency, key: key, length: size, at: now)
    if adjacency.pointee.peerLargest >= size { return }
    if now < adjacency.pointee.judgeLargeFrom {
      // What is taken to pass is shown to pass, so that the link does not fall where the full size does not.
      let assumed = adjacency.pointee.port.pointee.assumedFrameSize
      if assumed < size { sendHello(adjacency, key: key, length: assumed, at: now) }
      return
    }
    for probe in NeighbourLimits.probeSizes where probe < size && probe > smallestFrame {
      sendHello(adjacency, key: key, length: probe, at: now)
    }
    if smallestFrame < size { sendHello(adjacency, key: key, length: smallestFrame, at: now) }
  }

  private func agreedSize(_ adjacency: AdjacencyPointer) -> Int {
    min(adjacency.pointee.port.pointee.frameSize, adjacency.pointee.peerFrameSize)
  }

  // MARK: - Receiving

  mutating func receiveHello(
    _ p: UnsafeMutablePointer<UInt8>, count: Int, head: FrameHead, on port: PortPointer, from source: MACAddress,
    at now: Instant
  ) throws(NeighbourRefusal) {
    if count < HelloFrame.size { throw .truncated }
    guard let adjacency = tables.find(source, on: port) else {
      askAnew(port, at: now)
      throw .unknownNeighbour
    }
    let length = Int(loadBig16(p + HelloFrame.lengthOffset))
    if length < HelloFrame.size { throw .invalidField }
    if length > count { throw .truncated }
    let (index, counter) = try openHello(p, length: length, phase: head.phase, adjacency, at: now)
    let hello: HelloFrame
    do throws(WireError) {
      hello = try HelloFrame(decoding: p)
    } catch { throw refusal(of: error) }

    let keys = adjacency.pointee.keys
    let isNewest = counter > keys[index].window.highest
    guard keys[index].window.accept(counter) else { throw .replayed }
    counters.hellosReceived &+= 1
    let wasProved = index != AdjacencyRecord.candidateIndex
    let wasUp = adjacency.pointee.isUp
    if !wasProved { promoteCandidate(adjacency, at: now) }
    // Late ones, and those under the key before, are signs of life and no more.
    let isCurrent = !wasProved || index == Int(adjacency.pointee.currentPhase)
    if isNewest && isCurrent && hello.interval != adjacency.pointee.peerInterval {
      adjacency.pointee.peerInterval = hello.interval
      hurryHello(adjacency, at: now)
    }
    if adjacency.pointee.isUp, deadline == doubtDue(adjacency) { deadlineIsEarly = true }
    noteAuthentic(adjacency, count: length, at: now)
    if adjacency.pointee.doubtSteps != 0 { heardAgain(adjacency, at: now) }
    if isNewest && isCurrent { take(hello, adjacency, at: now) }
    let burst = evaluate(adjacency, at: now)
    // The other end waits for a hello under the new key to take it for its own sending.
    if !wasProved && !burst { sendChangeBurst(adjacency, at: now) }
    if !wasProved && wasUp && adjacency.pointee.isUp { tell(.adjacencyRenewed(UInt16(adjacency.pointee.number))) }
    if isNewest && isCurrent && hello.flags & HelloFrame.Flag.answerNow != 0 && !adjacency.pointee.isLeaving
      && adjacency.pointee.answers.takeIfAvailable(at: now)
    {
      sendHello(adjacency, key: Int(adjacency.pointee.currentPhase), at: now)
    }
  }

  /// The key that opens the hello: its phase's, or the candidate of that phase.
  private mutating func openHello(
    _ p: UnsafeMutablePointer<UInt8>, length: Int, phase: UInt8, _ adjacency: AdjacencyPointer, at now: Instant
  ) throws(NeighbourRefusal) -> (index: Int, counter: UInt64) {
    let keys = adjacency.pointee.keys
    var found: NeighbourRefusal = .noKey
    if keys[Int(phase)].isLive {
      switch keys[Int(phase)].open(p, taggedEnd: length) {
      case .authentic(let counter): return (Int(phase), counter)
      case .replayed: found = .replayed
      case .badTag: found = .badTag
      }
    }
    let candidate = AdjacencyRecord.candidateIndex
    if keys[candidate].isLive, keys[candidate].phase == phase {
      switch keys[candidate].open(p, taggedEnd: length) {
      case .authentic(let counter): return (candidate, counter)
      case .replayed: break
      case .badTag: if found == .noKey { found = .badTag }
      }
    }
    if found == .noKey && !adjacency.pointee.isHeard { askAnew(adjacency.pointee.port, at: now) }
    throw found
  }

  /// What the newest hello says.
  private mutating func take(_ hello: HelloFrame, _ adjacency: AdjacencyPointer, at now: Instant) {
    adjacency.pointee.peerNonce = hello.nonce
    adjacency.pointee.peerFrameSize = Int(hello.frameSize)
    adjacency.pointee.peerLargest = Int(hello.largest)
    // What it heard before we lost it, or our carrier, may be all it means.
    let hearsUs =
      hello.flags & HelloFrame.Flag.hearsYou != 0
      && (adjacency.pointee.hearsFrom == 0 || hello.heard &- adjacency.pointee.hearsFrom < 0x8000_0000)
    if hearsUs { adjacency.pointee.hearsFrom = 0 }
    // When it begins to hear us, now or after a restart, it has had no time to hear a large frame.
    let startedAnew = noteLosses(adjacency, peerSent: hello.sent)
    if startedAnew || (hearsUs && !adjacency.pointee.peerHearsUs) {
      adjacency.pointee.judgeLargeFrom = now + LinkProtocol.fullSizePace * Int64(LinkProtocol.largestTurns)
      adjacency.pointee.nextFullSize = now
    }
    adjacency.pointee.peerHearsUs = hearsUs
    if hello.flags & HelloFrame.Flag.leaving != 0 { adjacency.pointee.isLeaving = true }
    let missesUs = hello.flags & HelloFrame.Flag.missesYou != 0
    if missesUs != adjacency.pointee.peerMissesUs {
      adjacency.pointee.peerMissesUs = missesUs
      weighDoubt(adjacency, at: now)
    }
    if adjacency.pointee.isUp { drawTick(towards: adjacency, at: now) }
    if hello.epoch != adjacency.pointee.peerEpoch {
      adjacency.pointee.peerEpoch = hello.epoch
      if adjacency.pointee.isUp { tell(.adjacencyChanged(UInt16(adjacency.pointee.number))) }
    }
    if adjacency.pointee.probePending && hello.heard &- adjacency.pointee.probeCounter < 0x8000_0000 {
      adjacency.pointee.probePending = false
      noteRoundTrip(adjacency, now - adjacency.pointee.probeSent)
    }
  }

  /// The answer may have waited for the neighbour's tick; so a shorter time counts at once, a longer one by an eighth.
  private func noteRoundTrip(_ adjacency: AdjacencyPointer, _ time: Duration) {
    let sample = Int64(min(max(time.microseconds, 1), 60_000_000))
    let known = Int64(adjacency.pointee.roundTrip)
    let next = known == 0 || sample < known ? sample : known + (sample - known) / 8
    adjacency.pointee.roundTrip = UInt32(truncatingIfNeeded: next)
  }

  /// Frames the neighbour counts as sent, less those that came; what is late pays back when it comes. True when the
  /// neighbour's count went back: it has started anew.
  private func noteLosses(_ adjacency: AdjacencyPointer, peerSent: UInt32) -> Bool {
    let received = adjacency.pointee.received
    var startedAnew = false
    if adjacency.pointee.countsKnown {
      let sent = peerSent &- adjacency.pointee.lastPeerSent
      let came = received &- adjacency.pointee.lastReceived
      startedAnew = sent >= 0x8000_0000
      if !startedAnew { adjacency.pointee.lossBalance &+= Int64(sent) &- Int64(truncatingIfNeeded: came) }
    }
    adjacency.pointee.countsKnown = true
    adjacency.pointee.lastPeerSent = peerSent
    adjacency.pointee.lastReceived = received
    return startedAnew
  }

  // MARK: - What was heard

  /// An authentic frame of `count` bytes.
  @inline(__always)
  func noteAuthentic(_ adjacency: AdjacencyPointer, count: Int, at now: Instant) {
    adjacency.pointee.received &+= 1
    if count > Int(adjacency.pointee.largest[0]) {
      adjacency.pointee.largest[0] = UInt16(truncatingIfNeeded: min(count, 65_535))
    }
    noteHeard(adjacency, at: now)
  }

  @inline(__always)
  func noteHeard(_ adjacency: AdjacencyPointer, at now: Instant) {
    let until = now + hold(of: adjacency)
    if until > adjacency.pointee.hearingUntil { adjacency.pointee.hearingUntil = until }
  }

  /// Three of the neighbour's intervals and a tenth of one, so that the third is late and not merely under way.
  @inline(__always)
  func hold(of adjacency: AdjacencyPointer) -> Duration {
    let pace = Int64(linkInterval(adjacency)) &* 1_000_000
    return .nanoseconds(pace &* LinkProtocol.holdMicroseconds / 1_000)
  }

  private func turnLargest(_ adjacency: AdjacencyPointer, at now: Instant) {
    var turns = 0
    while now >= adjacency.pointee.largestTurn + LinkProtocol.fullSizePace, turns < LinkProtocol.largestTurns {
      for i in stride(from: LinkProtocol.largestTurns - 1, to: 0, by: -1) {
        adjacency.pointee.largest[i] = adjacency.pointee.largest[i - 1]
      }
      adjacency.pointee.largest[0] = 0
      adjacency.pointee.largestTurn = adjacency.pointee.largestTurn + LinkProtocol.fullSizePace
      turns += 1
    }
    if turns == LinkProtocol.largestTurns { adjacency.pointee.largestTurn = now }
  }
}
