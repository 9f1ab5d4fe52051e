// What `lab bench` measures of a tunnel, and what is required of ours beside its peer's.

import Foundation

/// One run's figures, or the medians of several.
public struct BearerFigures: Sendable {
  /// One TCP stream, Mbit/s of payload.
  public var tcpMegabits = Double.nan
  /// Processor seconds of all of the tunnel's processes for each Gbit of that stream.
  public var processorSecondsPerGigabit = Double.nan
  /// 64-byte UDP datagrams received, thousands a second.
  public var smallKilopackets = Double.nan
  /// The median of 200 round trips, milliseconds.
  public var roundTrip = Double.nan

  public init() {}

  public init(medianOf runs: [BearerFigures]) {
    tcpMegabits = median(runs.map(\.tcpMegabits))
    processorSecondsPerGigabit = median(runs.map(\.processorSecondsPerGigabit))
    smallKilopackets = median(runs.map(\.smallKilopackets))
    roundTrip = median(runs.map(\.roundTrip))
  }

  /// A requirement on a ratio of ours to the peer's.
  public struct Verdict: Sendable, Equatable {
    public var what: String
    public var ratio: Double
    public var limit: Double
    /// The ratio may not be below the limit; otherwise not above it.
    public var isAtLeast: Bool

    /// What could not be measured is not met.
    public var isMet: Bool { isAtLeast ? ratio >= limit : ratio <= limit }

    public var text: String {
      String(
        format: "%@ %@ %.2f times the peer's, required: at %@ %.2f", isMet ? "ok    " : "MISSED", what, ratio,
        isAtLeast ? "least" : "most", limit)
    }
  }

  /// The requirements at so many hops; what is required at three counts for all longer ways too.
  public static func judge(hops: Int, _ ours: BearerFigures, _ peer: BearerFigures) -> [Verdict] {
    func verdict(_ what: String, _ value: (BearerFigures) -> Double, atLeast: Double) -> Verdict {
      Verdict(what: what, ratio: value(ours) / value(peer), limit: atLeast, isAtLeast: true)
    }
    func verdict(_ what: String, _ value: (BearerFigures) -> Double, atMost: Double) -> Verdict {
      Verdict(what: what, ratio: value(ours) / value(peer), limit: atMost, isAtLeast: false)
    }
    return [
      verdict("TCP, one stream", \.tcpMegabits, atLeast: hops == 1 ? 2.5 : 2),
      verdict("64-byte UDP", \.smallKilopackets, atLeast: 1),
      verdict("round trip", \.roundTrip, atMost: 1.2),
      verdict("processor s a Gbit", \.processorSecondsPerGigabit, atMost: 0.5),
    ]
  }
}
