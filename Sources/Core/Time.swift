// Time as the engines see it: monotonic, in nanoseconds, handed in from outside. No engine reads a clock.

/// A length of time in nanoseconds; may be negative.
public struct Duration: Sendable, Equatable, Hashable, Comparable {
  public var nanoseconds: Int64

  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  public static func nanoseconds(_ count: Int64) -> Duration { Duration(nanoseconds: count) }
  public static func microseconds(_ count: Int64) -> Duration { Duration(nanoseconds: count &* 1_000) }
  public static func milliseconds(_ count: Int64) -> Duration { Duration(nanoseconds: count &* 1_000_000) }
  public static func seconds(_ count: Int64) -> Duration { Duration(nanoseconds: count &* 1_000_000_000) }

  /// Whole milliseconds, rounded towards zero.
  public var milliseconds: Int64 { nanoseconds / 1_000_000 }
  public var microseconds: Int64 { nanoseconds / 1_000 }

  public static let zero = Duration(nanoseconds: 0)

  public static func < (a: Duration, b: Duration) -> Bool { a.nanoseconds < b.nanoseconds }
  public static func + (a: Duration, b: Duration) -> Duration { Duration(nanoseconds: a.nanoseconds &+ b.nanoseconds) }
  public static func - (a: Duration, b: Duration) -> Duration { Duration(nanoseconds: a.nanoseconds &- b.nanoseconds) }
  public static func * (a: Duration, k: Int64) -> Duration { Duration(nanoseconds: a.nanoseconds &* k) }
  public static func / (a: Duration, k: Int64) -> Duration { Duration(nanoseconds: a.nanoseconds / k) }
}

/// A point on the node's monotonic clock, in nanoseconds since an arbitrary start.
public struct Instant: Sendable, Equatable, Hashable, Comparable {
  public var nanoseconds: UInt64

  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// The earliest point; every deadline set there is due.
  public static let zero = Instant(nanoseconds: 0)
  /// Later than any time that comes; a deadline that never falls due.
  public static let never = Instant(nanoseconds: UInt64.max)

  public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
  /// Saturates at `zero` and `never` instead of wrapping.
  public static func + (a: Instant, b: Duration) -> Instant {
    if b.nanoseconds >= 0 {
      let (sum, over) = a.nanoseconds.addingReportingOverflow(UInt64(b.nanoseconds))
      return over ? .never : Instant(nanoseconds: sum)
    }
    let back = b.nanoseconds.magnitude
    return Instant(nanoseconds: a.nanoseconds > back ? a.nanoseconds - back : 0)
  }
  public static func - (a: Instant, b: Duration) -> Instant { a + Duration(nanoseconds: 0 &- b.nanoseconds) }
  /// The time from `b` to `a`; negative when `a` comes first.
  public static func - (a: Instant, b: Instant) -> Duration {
    Duration(nanoseconds: Int64(bitPattern: a.nanoseconds &- b.nanoseconds))
  }
}

/// The earlier of two deadlines, where nil means none.
@inlinable
public func earlier(_ a: Instant?, _ b: Instant?) -> Instant? {
  guard let a else { return b }
  guard let b else { return a }
  return a < b ? a : b
}
