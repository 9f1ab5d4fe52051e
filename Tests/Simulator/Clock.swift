// A box's own clock: it began at another time than the world's, runs fast or slow, and can stand still.

import Core

struct SimulatedClock {
  private var worldAnchor: Instant
  private var ownAnchor: Instant
  /// Parts in a million that it runs fast; slow when negative.
  private(set) var drift: Int64 = 0
  private(set) var isStill = false

  /// - Parameter origin: what it shows when the world's shows zero.
  init(origin: Duration, at now: Instant) {
    worldAnchor = now
    ownAnchor = now + origin
  }

  /// What it shows at a time that is not before its last change.
  @inline(__always)
  func own(_ time: Instant) -> Instant {
    if isStill { return ownAnchor }
    let passed = Int64(bitPattern: time.nanoseconds &- worldAnchor.nanoseconds)
    if drift == 0 { return Instant(nanoseconds: ownAnchor.nanoseconds &+ UInt64(bitPattern: passed)) }
    return ownAnchor + .nanoseconds(passed + passed / 1_000_000 * drift + passed % 1_000_000 * drift / 1_000_000)
  }

  /// The first instant at which it shows `own` or more; `never` while it stands still.
  @inline(__always)
  func world(_ own: Instant) -> Instant {
    if own == .never || isStill { return .never }
    let ahead = Int64(bitPattern: own.nanoseconds &- ownAnchor.nanoseconds)
    if drift == 0 { return worldAnchor + .nanoseconds(ahead) }
    if ahead <= 0 { return worldAnchor }
    var time = worldAnchor + .nanoseconds(ahead - ahead / (1_000_000 + drift) * drift)
    // What the divisions left over, and then to the first instant, from either side.
    time = time + (own - self.own(time))
    while self.own(time) < own { time = time + .nanoseconds(1) }
    while time > worldAnchor, self.own(time - .nanoseconds(1)) >= own { time = time - .nanoseconds(1) }
    return time
  }

  mutating func set(drift: Int64, at now: Instant) {
    anchor(at: now)
    self.drift = drift
  }

  mutating func set(still: Bool, at now: Instant) {
    anchor(at: now)
    isStill = still
  }

  private mutating func anchor(at now: Instant) {
    let shown = own(now)
    worldAnchor = now
    ownAnchor = shown
  }
}
