// A budget that refills with time: at most `burst` at once, and one each `interval` in the long run.

public struct TokenBucket: Sendable {
  /// Nanoseconds that make one token.
  private let interval: Int64
  private let burst: Int64
  /// Nanoseconds saved up, at most burst × interval; below zero when in debt.
  private var saved: Int64
  private var refilled: Instant

  /// Full. `interval` is at least a nanosecond, and burst × interval below a year.
  public init(every interval: Duration, burst: Int64, at now: Instant = .zero) {
    self.interval = interval.nanoseconds
    self.burst = burst
    saved = burst * interval.nanoseconds
    refilled = now
  }

  /// A bucket that gives `rate` tokens a second.
  public init(rate: Int64, burst: Int64, at now: Instant = .zero) {
    self.init(every: Duration.seconds(1) / rate, burst: burst, at: now)
  }

  public mutating func hasToken(at now: Instant) -> Bool {
    if refilled < now {
      // A span of centuries reads as negative: full.
      let elapsed = (now - refilled).nanoseconds
      let room = burst * interval - saved
      saved += elapsed < 0 ? room : min(elapsed, room)
      refilled = now
    }
    return saved >= interval
  }

  /// Takes `count` tokens, into debt (at most `burst` of it) when there are not as many.
  public mutating func take(_ count: Int64 = 1) { saved = max(saved - count * interval, -burst * interval) }

  public mutating func takeIfAvailable(at now: Instant) -> Bool {
    guard hasToken(at: now) else { return false }
    take()
    return true
  }
}
