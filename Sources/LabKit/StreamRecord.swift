// What became of a stream of numbered datagrams, and what a failure cost it: lost packets and the longest time without an
// arrival, failure by failure. The data-plane method of RFC 6413 (§3.5, §6): the stream is never stopped, and both the
// packets lost and the time between arrivals are kept, since they differ where packets are late, doubled or out of order.

/// When each datagram left and when it arrived. Nanoseconds of the monotonic clock.
public struct StreamRecord: Sendable {
  public struct Arrival: Sendable, Equatable {
    public var time: Int64
    public var number: Int

    public init(time: Int64, number: Int) {
      self.time = time
      self.number = number
    }
  }

  /// By number.
  public var sent: [Int64]
  /// In the order of arrival; a number may come twice.
  public var arrivals: [Arrival]

  public init(sent: [Int64] = [], arrivals: [Arrival] = []) {
    self.sent = sent
    self.arrivals = arrivals
  }

  /// What takes longer counts as lost (the forwarding delay threshold of RFC 6412), ns.
  public static let lateness: Int64 = 200_000_000

  /// The longest time between two departures, ms: what is far above the period was not sent in time.
  public var longestPause: Double { longestPause(in: [.min..<(.max)]) }

  /// The same of pauses that touch one of these stretches, which are in order and do not overlap.
  public func longestPause(in stretches: [Range<Int64>]) -> Double {
    var longest: Int64 = 0
    var place = 0
    for (before, after) in zip(sent, sent.dropFirst()) {
      while place < stretches.count && stretches[place].upperBound <= before { place += 1 }
      guard place < stretches.count else { break }
      if after > stretches[place].lowerBound { longest = max(longest, after - before) }
    }
    return Self.milliseconds(longest)
  }

  public static func milliseconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e6 }
}

/// What happened to a stream within a stretch of time.
public struct StretchFigures: Sendable, Equatable {
  public var sent = 0
  /// Of those sent in the stretch, those that never arrived, or too late.
  public var lost = 0
  /// The latter alone: what a frozen node had in its queues comes when it goes on.
  public var late = 0
  /// Arrivals of a number that had arrived before.
  public var duplicates = 0
  /// Arrivals of a lower number than one before (RFC 4737 §3.3), duplicates apart.
  public var reordered = 0
  /// The longest time between two arrivals one after the other, ms. One that began before the stretch counts from the
  /// stretch's beginning.
  public var gap = 0.0
  /// When that gap began, ns of the monotonic clock.
  public var gapBegan: Int64 = 0

  public init() {}
}

extension StreamRecord {
  /// Figures of each stretch; the stretches are in order and do not overlap.
  public func figures(in stretches: [Range<Int64>]) -> [StretchFigures] {
    var result = [StretchFigures](repeating: StretchFigures(), count: stretches.count)
    func stretch(at time: Int64, from first: inout Int) -> Int? {
      while first < stretches.count && stretches[first].upperBound <= time { first += 1 }
      return first < stretches.count && stretches[first].contains(time) ? first : nil
    }
    var seen = [Bool](repeating: false, count: sent.count)
    var isLate = seen
    var highest = -1
    var place = 0
    for arrival in arrivals where seen.indices.contains(arrival.number) {
      let current = stretch(at: arrival.time, from: &place)
      if seen[arrival.number] {
        if let current { result[current].duplicates += 1 }
      } else if arrival.number < highest {
        if let current { result[current].reordered += 1 }
      }
      if !seen[arrival.number] { isLate[arrival.number] = arrival.time - sent[arrival.number] > Self.lateness }
      seen[arrival.number] = true
      highest = max(highest, arrival.number)
    }
    place = 0
    for (number, time) in sent.enumerated() {
      guard let current = stretch(at: time, from: &place) else { continue }
      result[current].sent += 1
      if !seen[number] || isLate[number] { result[current].lost += 1 }
      if isLate[number] { result[current].late += 1 }
    }
    for (number, gap) in longestGaps(in: stretches).enumerated() {
      result[number].gap = Self.milliseconds(gap.length)
      result[number].gapBegan = gap.began
    }
    return result
  }

  /// Nanoseconds. The first departure and the last count as arrivals: a stream of which nothing arrives is one gap.
  private func longestGaps(in stretches: [Range<Int64>]) -> [(began: Int64, length: Int64)] {
    var longest = [(began: Int64, length: Int64)](repeating: (0, 0), count: stretches.count)
    guard let begin = sent.first, let end = sent.last else { return longest }
    var first = 0
    var last = begin
    for time in arrivals.lazy.map(\.time) + [end] where time > last {
      while first < stretches.count && stretches[first].upperBound <= last { first += 1 }
      var reached = first
      while reached < stretches.count && stretches[reached].lowerBound < time {
        let stretch = stretches[reached]
        let gap = last < stretch.lowerBound ? stretch.lowerBound..<min(time, stretch.upperBound) : last..<time
        if gap.upperBound - gap.lowerBound > longest[reached].length {
          longest[reached] = (gap.lowerBound, gap.upperBound - gap.lowerBound)
        }
        reached += 1
      }
      last = time
    }
    return longest
  }

  /// The longest gap, ms, that ends in each of `count` equal parts of a stretch of time; nil where nothing arrived.
  public func gaps(in stretch: Range<Int64>, parts count: Int) -> [Double?] {
    var gaps = [Double?](repeating: nil, count: count)
    let length = max(1, stretch.upperBound - stretch.lowerBound)
    for (before, after) in zip(arrivals, arrivals.dropFirst()) where stretch.contains(after.time) {
      let part = Int(Double(after.time - stretch.lowerBound) / Double(length) * Double(count))
      let gap = Self.milliseconds(after.time - before.time)
      gaps[min(count - 1, part)] = max(gaps[min(count - 1, part)] ?? 0, gap)
    }
    return gaps
  }
}

/// The value that `share` (0 to 1) of the values do not exceed: the nearest rank. nan of none.
public func quantile(_ values: [Double], _ share: Double) -> Double {
  guard !values.isEmpty else { return .nan }
  let rank = (share * Double(values.count)).rounded(.up)
  return values.sorted()[min(values.count, max(1, Int(rank))) - 1]
}
