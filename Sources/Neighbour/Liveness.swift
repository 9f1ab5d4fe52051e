// When an adjacency is up: it has a proved key, its port has carrier, the neighbour is heard, says that it hears us, and
// large frames pass. Everything that could change one of these ends in `evaluate`.

import Core

extension NeighbourEngine {
  /// True when a burst of hellos told the neighbour of a change.
  @discardableResult
  mutating func evaluate(_ adjacency: AdjacencyPointer, at now: Instant) -> Bool {
    guard adjacency.pointee.hasKey else { return false }
    let port = adjacency.pointee.port
    let isHeard = port.pointee.isUp && !adjacency.pointee.isLeaving && now < adjacency.pointee.hearingUntil
    var changed = false
    if isHeard != adjacency.pointee.isHeard {
      changed = true
      adjacency.pointee.isHeard = isHeard
      deadlineIsStale = true
      if isHeard {
        adjacency.pointee.heardSince = now
        adjacency.pointee.nextHello = nextTick(of: adjacency, after: now)
      } else {
        adjacency.pointee.peerHearsUs = false
        let key = adjacency.pointee.keys + Int(adjacency.pointee.currentPhase)
        adjacency.pointee.hearsFrom = UInt32(truncatingIfNeeded: key.pointee.sendCounter &+ 1)
        adjacency.pointee.eagerUntil = now + NeighbourLimits.eagerLife
        adjacency.pointee.probePending = false
        if !port.pointee.isUp { adjacency.pointee.hearingUntil = min(adjacency.pointee.hearingUntil, now) }
      }
      // Which of a member's places on the port is the first may have changed.
      if port.pointee.neighbourCount > 1 { updatePace(at: now) }
    }
    let sizeChanged = judgeFrameSize(adjacency, at: now)
    let reason = whyDown(adjacency)
    if adjacency.pointee.isUp {
      if let reason {
        goDown(adjacency, reason, at: now)
        changed = true
        discoverSoon(port, at: now)
      } else if sizeChanged || adjacency.pointee.cost != adjacency.pointee.reportedCost {
        adjacency.pointee.reportedCost = adjacency.pointee.cost
        tell(.adjacencyChanged(UInt16(adjacency.pointee.number)))
      }
    } else if let reason {
      noteStillDown(adjacency, reason, at: now)
    } else {
      goUp(adjacency, at: now)
      changed = true
    }
    if changed { sendChangeBurst(adjacency, at: now) }
    return changed
  }

  private func whyDown(_ adjacency: AdjacencyPointer) -> AdjacencyDownReason? {
    if !adjacency.pointee.port.pointee.isUp { return .carrierLost }
    if adjacency.pointee.isLeaving { return .leaving }
    if !adjacency.pointee.isHeard { return .silent }
    if !adjacency.pointee.peerHearsUs { return .oneWay }
    if adjacency.pointee.isTooSmall { return .tooSmall }
    if adjacency.pointee.isLargeLost { return .largeFramesLost }
    return nil
  }

  /// A link that has not come up: the reason is shown once it has held for three intervals, since at first neither end
  /// can say that it hears the other.
  private mutating func noteStillDown(_ adjacency: AdjacencyPointer, _ reason: AdjacencyDownReason, at now: Instant) {
    if adjacency.pointee.reason == reason { return }
    if reason == .oneWay && now < adjacency.pointee.heardSince + hold(of: adjacency) { return }
    if adjacency.pointee.reason == nil || reason == .oneWay || isOfSize(reason) {
      log(.notice, "\(name(adjacency)): \(describe(reason, frameSize: adjacency.pointee.frameSize))")
    }
    if isOfSize(reason) { counters.linksTooSmall &+= 1 }
    adjacency.pointee.reason = reason
  }

  /// Sets what may be sent to the neighbour; true when that changed. Nothing is judged in the first 2.5 s in which the
  /// neighbour hears us, since it has had no time to hear a large frame.
  private func judgeFrameSize(_ adjacency: AdjacencyPointer, at now: Instant) -> Bool {
    let agreed = min(adjacency.pointee.port.pointee.frameSize, adjacency.pointee.peerFrameSize)
    let before = adjacency.pointee.frameSize
    if !adjacency.pointee.peerHearsUs { return false }
    if adjacency.pointee.isTooSmall && agreed >= smallestFrame {
      // No larger frame could be sent so far.
      adjacency.pointee.judgeLargeFrom = now + LinkProtocol.fullSizePace * Int64(LinkProtocol.largestTurns)
      adjacency.pointee.nextFullSize = now
    }
    if isShrinking(adjacency, to: min(agreed, before), at: now) { return false }
    let passes =
      now < adjacency.pointee.judgeLargeFrom
      ? max(min(agreed, adjacency.pointee.port.pointee.assumedFrameSize), adjacency.pointee.peerLargest)
      : adjacency.pointee.peerLargest
    adjacency.pointee.frameSize = min(passes, agreed)
    adjacency.pointee.isTooSmall = agreed < smallestFrame
    adjacency.pointee.isLargeLost = passes < min(agreed, smallestFrame)
    return adjacency.pointee.frameSize != before
  }

  /// On a link that is up and whose neighbour hears no frames as large as those sent any more: smaller ones go out at
  /// once, and have three intervals and a round trip to show what passes, so that nothing falls that need not.
  private func isShrinking(_ adjacency: AdjacencyPointer, to wanted: Int, at now: Instant) -> Bool {
    guard adjacency.pointee.isUp, now >= adjacency.pointee.judgeLargeFrom, adjacency.pointee.peerLargest < wanted else {
      adjacency.pointee.shrinkingSince = .never
      return false
    }
    if adjacency.pointee.shrinkingSince == .never {
      adjacency.pointee.shrinkingSince = now
      adjacency.pointee.nextFullSize = now
    }
    let patience =
      Duration.milliseconds(3 * Int64(linkInterval(adjacency))) + .microseconds(Int64(adjacency.pointee.roundTrip))
    return now < adjacency.pointee.shrinkingSince + patience
  }

  private func isOfSize(_ reason: AdjacencyDownReason) -> Bool { reason == .tooSmall || reason == .largeFramesLost }

  /// In words, with both sizes where they are the reason.
  public func describe(_ reason: AdjacencyDownReason, frameSize: Int) -> String {
    let sizes = isOfSize(reason) ? ": needs \(smallestFrame) bytes, has \(frameSize)" : ""
    return "\(reason.text)\(sizes)"
  }

  private mutating func goUp(_ adjacency: AdjacencyPointer, at now: Instant) {
    adjacency.pointee.isUp = true
    deadlineIsStale = true
    adjacency.pointee.reason = nil
    adjacency.pointee.isStrangerReported = false
    rememberFalls(of: adjacency, at: now)
    adjacency.pointee.reportedCost = adjacency.pointee.cost
    counters.adjacenciesUp &+= 1
    tell(.adjacencyUp(UInt16(adjacency.pointee.number)))
    log(.debug, "\(name(adjacency)): up")
  }

  mutating func goDown(_ adjacency: AdjacencyPointer, _ reason: AdjacencyDownReason, at now: Instant) {
    adjacency.pointee.isUp = false
    forgetDoubt(adjacency)
    adjacency.pointee.reason = reason
    noteFall(of: adjacency, at: now)
    deadlineIsStale = true
    counters.adjacenciesDown &+= 1
    if isOfSize(reason) { counters.linksTooSmall &+= 1 }
    tell(
      .adjacencyDown(
        UInt16(adjacency.pointee.number), reason, neighbour: adjacency.pointee.id,
        port: adjacency.pointee.port.pointee.number, frameSize: adjacency.pointee.frameSize))
    log(.debug, "\(name(adjacency)): down, \(describe(reason, frameSize: adjacency.pointee.frameSize))")
  }

  private func name(_ adjacency: AdjacencyPointer) -> String {
    "link \(Int(adjacency.pointee.number)) on \(adjacency.pointee.port.pointee.status.name) to \(adjacency.pointee.id.description)"
  }
}
