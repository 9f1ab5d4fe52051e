// Which packets of one peer are protected (sent over two routes at once) and which are bulk: a token bucket, kept as the
// one time at which it would be full again (the virtual scheduling form of ITU-T I.371's GCRA).

import Core

public enum TrafficClass: UInt8, Sendable {
  /// Within the protected rate.
  case interactive
  /// Above it.
  case bulk
}

/// One for each peer; 32 bytes.
public struct TrafficClassifier: Sendable {
  /// 1 Mb/s: what each pair of nodes may have protected.
  public static let protectedBitsPerSecond: Int64 = 1_000_000
  /// Bytes.
  public static let protectedBurst: Int64 = 32 * 1024

  private let nanosecondsPerByte: Int64
  private let isOff: Bool
  private let depth: Duration
  /// When the bucket is full again if nothing more is sent.
  private var full: Instant

  /// Rates from 1 kb/s to 8 Gb/s, or 0: nothing is protected. The bucket is full at `now`.
  public init(
    bitsPerSecond: Int64 = TrafficClassifier.protectedBitsPerSecond,
    burst: Int64 = TrafficClassifier.protectedBurst, startingAt now: Instant
  ) {
    invariant(
      bitsPerSecond == 0 || bitsPerSecond >= 1_000 && bitsPerSecond <= 8_000_000_000,
      "a protected rate the bucket can count")
    invariant(burst > 0 && burst <= 1 << 24, "a burst the bucket can count")
    isOff = bitsPerSecond == 0
    nanosecondsPerByte = 8_000_000_000 / max(bitsPerSecond, 1_000)
    depth = Duration(nanoseconds: burst * nanosecondsPerByte)
    full = now
  }

  /// Takes a packet of `bytes` from the bucket when they are there. A packet above the rate takes nothing: the sparse
  /// packets beside a bulk flow stay protected.
  public mutating func classify(bytes: Int, at now: Instant) -> TrafficClass {
    if isOff { return .bulk }
    let cost = Duration(nanoseconds: Int64(max(0, min(bytes, 1 << 24))) &* nanosecondsPerByte)
    let start = full < now ? now : full
    let after = start + cost
    if depth < after - now { return .bulk }
    full = after
    return .interactive
  }
}
