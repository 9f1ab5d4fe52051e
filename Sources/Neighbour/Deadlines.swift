// Time: what is due on each port and adjacency, and when the engine wants to be called next. The deadlines stand in the
// records they belong to; `refreshDeadline` takes the earliest.

import Core

extension NeighbourEngine {
  public mutating func timeout(at now: Instant) {
    if isStopped { return }
    if deadlineIsStale { refreshDeadline() }
    // Most calls are for hellos: what is due more seldom is looked at when the earliest of it is.
    let isAll = now >= seldomDue
    var place = 0
    while place < tables.count {
      let adjacency = tables.record(at: place)
      advance(adjacency, to: now)
      // Where it was forgotten the next one has taken its place.
      if place < tables.count, tables.record(at: place) == adjacency { place += 1 }
    }
    if isAll || deadlineIsStale {
      // After the neighbours: one that went down makes a DISCOVER due.
      for slot in tables.slots {
        if let port = tables.port(slot: slot), port.pointee.isUp { discoverWhenDue(port, at: now) }
      }
    }
    if isAll || deadlineIsStale { refreshDeadline() } else { refreshHearing() }
  }

  /// The caller's loop came to `now` with this delay. Where that is more than half a hello interval the neighbours may
  /// have been heard, had anybody listened: their holds are extended by it.
  public mutating func loopWasLate(by lateness: Duration, at now: Instant) {
    var counted = false
    for place in 0..<tables.count {
      let adjacency = tables.record(at: place)
      if !adjacency.pointee.isHeard { continue }
      let half = Duration.nanoseconds(Int64(linkInterval(adjacency)) &* 500_000)
      if lateness > half {
        adjacency.pointee.hearingUntil = min(adjacency.pointee.hearingUntil + lateness, now + hold(of: adjacency))
        adjacency.pointee.largestTurn = adjacency.pointee.largestTurn + lateness
        counted = true
      }
    }
    if counted {
      counters.lateLoops &+= 1
      refreshDeadline()
    }
  }

  private mutating func advance(_ adjacency: AdjacencyPointer, to now: Instant) {
    if now >= adjacency.pointee.seldomDue || isWorn(adjacency), !attend(adjacency, to: now) { return }
    evaluate(adjacency, at: now)
    tendDoubt(adjacency, at: now)
    if now >= adjacency.pointee.nextHello {
      if adjacency.pointee.port.pointee.isUp {
        sendDueHellos(adjacency, at: now)
      } else {
        adjacency.pointee.nextHello = .never
      }
    }
  }

  /// What is due seldom; false when the neighbour is forgotten.
  private mutating func attend(_ adjacency: AdjacencyPointer, to now: Instant) -> Bool {
    deadlineIsStale = true
    if now >= adjacency.pointee.forgetAt {
      forget(adjacency, .silent, at: now)
      return false
    }
    if now >= adjacency.pointee.oldKeyUntil {
      adjacency.pointee.keys[Int(1 - adjacency.pointee.currentPhase)].erase()
      adjacency.pointee.oldKeyUntil = .never
    }
    if let candidate = adjacency.pointee.candidate, now >= candidate.until {
      dropCandidate(adjacency)
      if !adjacency.pointee.hasKey { startHandshakeIfOurs(adjacency, at: now) }
    }
    if now >= adjacency.pointee.vouchedUntil {
      log(.warning, "neighbour \(adjacency.pointee.id.description) is dropped: nobody has certified it anew")
      forget(adjacency, .revoked, at: now)
      return false
    }
    decayPenalty(adjacency, at: now)
    if now >= adjacency.pointee.rekeyAt || isWorn(adjacency) {
      startHandshakeIfOurs(adjacency, at: now)
      // When it cannot begin now (the port is down), it tries again soon.
      adjacency.pointee.rekeyAt =
        now + (adjacency.pointee.handshake == nil ? LinkProtocol.discoverSlowPace : configuration.rekeyAge)
    }
    retryHandshake(adjacency, at: now)
    reportStranger(adjacency, at: now)
    return true
  }

  /// The key's counters, in either direction, come near their end.
  private func isWorn(_ adjacency: AdjacencyPointer) -> Bool {
    let key = adjacency.pointee.keys + Int(adjacency.pointee.currentPhase)
    // Asked at every tick: what is nearly always false comes first.
    guard
      key.pointee.sendCounter >= LinkProtocol.rekeyCounter || key.pointee.window.highest >= LinkProtocol.rekeyCounter
    else { return false }
    return adjacency.pointee.hasKey && adjacency.pointee.handshake == nil && adjacency.pointee.candidate == nil
  }

  /// What is due on an adjacency beside hellos and the neighbour's silence.
  private func seldomDue(_ adjacency: AdjacencyPointer) -> Instant {
    var due = min(adjacency.pointee.forgetAt, adjacency.pointee.oldKeyUntil)
    due = min(due, min(adjacency.pointee.rekeyAt, adjacency.pointee.decayAt))
    due = min(due, adjacency.pointee.vouchedUntil)
    if let candidate = adjacency.pointee.candidate { due = min(due, candidate.until) }
    if let retry = adjacency.pointee.handshake?.nextRetry { due = min(due, retry) }
    if !adjacency.pointee.isStrangerReported && !adjacency.pointee.hasKey {
      due = min(due, adjacency.pointee.reportStrangerAt)
    }
    return due
  }

  /// Everything that may have changed.
  mutating func refreshDeadline() {
    deadlineIsStale = false
    seldomDue = .never
    quickest = .max
    for slot in tables.slots {
      guard let port = tables.port(slot: slot), port.pointee.isUp else { continue }
      seldomDue = min(seldomDue, min(port.pointee.nextDiscover, port.pointee.nextWide))
    }
    for place in 0..<tables.count {
      let adjacency = tables.record(at: place)
      adjacency.pointee.seldomDue = seldomDue(adjacency)
      seldomDue = min(seldomDue, adjacency.pointee.seldomDue)
      if adjacency.pointee.isUp { quickest = min(quickest, linkInterval(adjacency)) }
    }
    refreshHearing()
  }

  /// What changes with every hello.
  mutating func refreshHearing() {
    if isStopped {
      deadline = .never
      return
    }
    var due = seldomDue
    for place in 0..<tables.count {
      let adjacency = tables.record(at: place)
      if adjacency.pointee.isHeard { due = min(due, doubtDue(adjacency)) }
      if adjacency.pointee.port.pointee.isUp { due = min(due, adjacency.pointee.nextHello) }
    }
    deadline = due
    deadlineIsEarly = false
  }
}
