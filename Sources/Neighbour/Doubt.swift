// Doubt: a link whose neighbour's next frame is overdue is gone round before it is called down (docs/PROTOCOL.md §2). It
// stays up: nothing is told to the MA, no cost rises, and a neighbour that only paused has its traffic back at once. So
// repair need not wait for the silence after which a link may honestly be called dead.

import Core

/// When something is done about a neighbour's silence, in hundredths of its interval.
enum LinkDoubt {
  /// It is asked to answer at once, twice; then the link is in doubt.
  static let steps: [Int64] = [115, 140, 165]
}

extension NeighbourEngine {
  /// When the neighbour's silence is next of interest.
  func doubtDue(_ adjacency: AdjacencyPointer) -> Instant {
    let steps = Int(adjacency.pointee.doubtSteps)
    guard adjacency.pointee.isUp, steps < LinkDoubt.steps.count else { return adjacency.pointee.hearingUntil }
    let pace = Int64(linkInterval(adjacency)) * 1_000_000
    let early = hold(of: adjacency) - .nanoseconds(pace / 100 * LinkDoubt.steps[steps])
    return adjacency.pointee.hearingUntil - early
  }

  mutating func tendDoubt(_ adjacency: AdjacencyPointer, at now: Instant) {
    while adjacency.pointee.isUp, Int(adjacency.pointee.doubtSteps) < LinkDoubt.steps.count,
      now >= doubtDue(adjacency)
    {
      adjacency.pointee.doubtSteps += 1
      if Int(adjacency.pointee.doubtSteps) < LinkDoubt.steps.count {
        sendHello(
          adjacency, key: Int(adjacency.pointee.currentPhase), flags: HelloFrame.Flag.answerNow, at: now)
      } else if adjacency.pointee.doubts.takeIfAvailable(at: now) {
        adjacency.pointee.isMissing = true
        weighDoubt(adjacency, at: now)
        // The neighbour may hear us, and is the one whose frames are lost.
        sendChangeBurst(adjacency, at: now)
      }
    }
  }

  /// An authentic frame came after a silence.
  mutating func heardAgain(_ adjacency: AdjacencyPointer, at now: Instant) {
    adjacency.pointee.doubtSteps = 0
    guard adjacency.pointee.isMissing else { return }
    adjacency.pointee.isMissing = false
    weighDoubt(adjacency, at: now)
    sendChangeBurst(adjacency, at: now)
  }

  /// Either end's doubt is doubt; the other end's counts within the budget of both.
  mutating func weighDoubt(_ adjacency: AdjacencyPointer, at now: Instant) {
    guard adjacency.pointee.isUp else { return }
    let isInDoubt = adjacency.pointee.isMissing || adjacency.pointee.peerMissesUs
    if isInDoubt == adjacency.pointee.isInDoubt { return }
    if isInDoubt {
      if !adjacency.pointee.isMissing, !adjacency.pointee.doubts.takeIfAvailable(at: now) { return }
      counters.adjacenciesDoubted &+= 1
      tell(.adjacencyDoubted(UInt16(adjacency.pointee.number)))
    } else {
      tell(.adjacencyTrusted(UInt16(adjacency.pointee.number)))
    }
    adjacency.pointee.isInDoubt = isInDoubt
  }

  /// The link is down, which says it all.
  func forgetDoubt(_ adjacency: AdjacencyPointer) {
    adjacency.pointee.isInDoubt = false
    adjacency.pointee.isMissing = false
    adjacency.pointee.peerMissesUs = false
    adjacency.pointee.doubtSteps = 0
  }
}
