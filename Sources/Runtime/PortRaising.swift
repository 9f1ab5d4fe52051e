// Ports that stay administratively down are brought up for the channel alone, held closed for data, and opened again when
// somebody takes them into service. What is decided here the PortKeeper carries out.

import Core

extension PortMonitor {
  private func isKeptDown(_ link: LinkRecord) -> Bool { policy.keepDown.contains { $0 == link.name } }

  func raiseTime(_ port: Tracked, _ since: Instant) -> Instant {
    let due = since + PortMonitor.patience
    guard let last = port.lastAttempt else { return due }
    return max(due, last + PortMonitor.retryInterval)
  }

  mutating func administrativeState(_ i: Int, was: Bool, is isUp: Bool) {
    if isUp { tracked[i].downSince = nil }
    switch tracked[i].raising {
    case .own: break
    case .held(let settling):
      if isUp {
        if settling { tracked[i].raising = .held(settling: false) }
      } else if !settling && was {
        tracked[i].raising = .heldDown
      }
    case .heldDown:
      if isUp {
        release(i)
        changes.append(.note(.notice, "port \(tracked[i].status.name) was set up by the system: open for data again"))
      }
    }
  }

  /// An address on a port that is held closed means that somebody takes it into service.
  mutating func addressGiven(on index: Int32) {
    guard let i = tracked.firstIndex(where: { $0.link.index == index }) else { return }
    switch tracked[i].raising {
    case .own, .heldDown: return
    case .held:
      release(i)
      changes.append(.note(.notice, "port \(tracked[i].status.name) was given an address: open for data again"))
    }
  }

  /// Down, and not because it is to be, or by an order that is under way.
  func isToBeRaised(_ port: Tracked) -> Bool {
    !port.link.isAdministrativelyUp && !isKeptDown(port.link) && port.raisingTicket == 0
  }

  mutating func attend(at now: Instant) {
    for i in tracked.indices where isToBeRaised(tracked[i]) {
      guard let since = tracked[i].downSince else {
        tracked[i].downSince = now
        continue
      }
      if raiseTime(tracked[i], since) <= now { raise(i, at: now) }
    }
  }

  private mutating func raise(_ i: Int, at now: Instant) {
    tracked[i].lastAttempt = now
    switch tracked[i].raising {
    case .own: tracked[i].wasHeld = false
    case .held, .heldDown: tracked[i].wasHeld = true
    }
    lastTicket = lastTicket == .max ? 1 : lastTicket + 1
    tracked[i].raisingTicket = lastTicket
    // Before the kernel's word of it comes.
    tracked[i].raising = .held(settling: true)
    isHoldTablePresent = true
    order(.raise(tracked[i].link, wasHeld: tracked[i].wasHeld, ticket: lastTicket))
  }

  mutating func raised(_ index: Int32, _ ticket: UInt32, _ outcome: RaisingOutcome, at now: Instant) {
    guard let i = tracked.firstIndex(where: { $0.link.index == index }), tracked[i].raisingTicket == ticket else {
      return
    }
    tracked[i].raisingTicket = 0
    // It may have been opened for data since.
    guard case .held = tracked[i].raising else { return }
    if case .done = outcome {} else { tracked[i].raising = tracked[i].wasHeld ? .heldDown : .own }
    switch outcome {
    case .done:
      tracked[i].failureNoted = false
      nextHoldCheck = now + PortMonitor.retryInterval
      changes.append(
        .note(
          .warning,
          "port \(tracked[i].status.name) was administratively down for 3 s: brought up for the management channel only; "
            + "no data passes (to use it: set it down and up again; to leave it alone: keep-down)"))
    case .notHeld(let errno): raisingFailed(i, "holding data out of it failed (errno \(errno))")
    case .refused(let errno):
      removeTableIfUnused()
      raisingFailed(i, "the kernel refused (errno \(errno))")
    }
  }

  private mutating func raisingFailed(_ i: Int, _ why: String) {
    if tracked[i].failureNoted { return }
    tracked[i].failureNoted = true
    changes.append(
      .note(.warning, "port \(tracked[i].status.name) is administratively down and cannot be brought up: \(why)"))
  }

  /// The rule set may have been flushed: once a second the ports that are held are closed again where they are not.
  mutating func checkHolds(at now: Instant) {
    guard let due = nextHoldCheck, due <= now else { return }
    nextHoldCheck = nil
    var held: [LinkRecord] = []
    for port in tracked { if case .held = port.raising, port.raisingTicket == 0 { held.append(port.link) } }
    if held.isEmpty { return }
    nextHoldCheck = now + PortMonitor.retryInterval
    if isCheckingHolds { return }
    isCheckingHolds = true
    order(.checkHolds(held))
  }

  mutating func putBack(_ index: Int32, _ refused: Int32) {
    guard let port = tracked.first(where: { $0.link.index == index }) else { return }
    changes.append(
      .note(
        .warning,
        refused == 0
          ? "port \(port.status.name): the rule that keeps data out was removed; put back"
          : "port \(port.status.name): data is no longer kept out (errno \(refused))"))
  }

  /// Opens the port for data; its administrative state stays.
  mutating func release(_ i: Int) {
    // A failed attempt may have left its chain.
    if case .own = tracked[i].raising, tracked[i].lastAttempt == nil { return }
    order(.release(tracked[i].link))
    forgetHold(i)
  }

  mutating func forgetHold(_ i: Int) {
    tracked[i].raising = .own
    tracked[i].lastAttempt = nil
    removeTableIfUnused()
  }

  private mutating func removeTableIfUnused() {
    var isAnyHeld = false
    for port in tracked {
      switch port.raising {
      case .own: break
      case .held, .heldDown: isAnyHeld = true
      }
    }
    if isHoldTablePresent && !isAnyHeld && leftover.isEmpty {
      order(.removeTable)
      isHoldTablePresent = false
    }
  }
}
