// The figures of repairs as rows of a table and as one JSON document.

import Foundation

/// One stream through all failures of a kind.
public struct RepairFigures: Sendable {
  public static let ours = "lifeline"

  public var network: String
  public var stream: String
  /// `ours`, or the peer's name.
  public var system: String
  public var protection: Protection
  public var kind: RepairKind
  public var cuts: [StretchFigures]
  /// What happened before the first failure, also one that was made again.
  public var before: StretchFigures
  /// The longest time between two departures, ms, during the failures that count: a machine that is too busy shows here.
  public var longestPause: Double
  /// The failures that count, one for each of `cuts`.
  public var failures: [RepairCut]
  /// Failures that were made again, since a sender stood still during the first.
  public var repeated: Int

  public init(_ run: RepairRun, stream: Int, system: String = RepairFigures.ours) {
    let (name, record) = run.streams[stream]
    network = run.network
    self.stream = name
    self.system = system
    protection = run.protection
    kind = run.kind
    // What mending costs counts with us, and not with peers.
    let stretches = run.stretches(untilUndone: system != Self.ours)
    cuts = record.figures(in: stretches)
    let start = record.arrivals.first?.time ?? 0
    before = record.figures(in: [start..<max(start, run.firstFailure)])[0]
    longestPause = record.longestPause(in: stretches)
    failures = run.cuts.filter { !$0.isVoid }
    repeated = run.cuts.count(where: \.isVoid)
  }

  public var verdict: RepairVerdict { RepairVerdict(kind, protection, cuts) }
  public var gaps: [Double] { cuts.map(\.gap) }
  /// How long it took to make each failure, ms.
  public var making: [Double] { failures.map { StreamRecord.milliseconds($0.done - $0.began) } }
  public var losses: [Double] { cuts.map { Double($0.lost) } }
  public var lost: Int { cuts.reduce(0) { $0 + $1.lost } }
  public var late: Int { cuts.reduce(0) { $0 + $1.late } }
  public var duplicates: Int { cuts.reduce(0) { $0 + $1.duplicates } }
  public var reordered: Int { cuts.reduce(0) { $0 + $1.reordered } }
  /// Failures after which something was missing: none for a stream that does not notice.
  public var noticed: Int { cuts.count { $0.lost > 0 } }

  public static let heading =
    "  stream         failure                      cuts  gap ms: median    90 %   worst   lost: median  worst    all  "
    + "late  dup reord  limit"

  public var row: String {
    func milliseconds(_ value: Double) -> String { String(format: "%8.1f", value) }
    func count(_ value: Double) -> String { String(format: "%6.0f", value) }
    let result = verdict
    let said = system == Self.ours ? "  \(result.isMet ? "ok    " : "MISSED") \(result.limit)" : ""
    return [
      "  \(fitted(stream, 14)) \(fitted(kind.text, 28)) \(String(format: "%4d", cuts.count))",
      "        \(milliseconds(median(gaps)))\(milliseconds(quantile(gaps, 0.9)))\(milliseconds(quantile(gaps, 1)))",
      "         \(count(median(losses))) \(count(quantile(losses, 1))) \(count(Double(lost)))",
      String(format: " %5d %4d %5d", late, duplicates, reordered),
      said,
    ].joined()
  }

  public var document: [String: Any] {
    func spread(_ values: [Double]) -> [String: Double] {
      guard !values.isEmpty else { return [:] }
      return ["median": median(values), "p90": quantile(values, 0.9), "worst": quantile(values, 1)]
    }
    return [
      "system": system, "network": network, "stream": stream, "protection": protection.rawValue,
      "failure": kind.rawValue, "cuts": cuts.count, "gapMilliseconds": spread(gaps), "lostPackets": spread(losses),
      "lost": lost, "late": late, "noticed": noticed, "duplicates": duplicates, "reordered": reordered,
      "lostBeforeFirst": before.lost, "gapBeforeFirst": before.gap, "senderPauseMilliseconds": longestPause,
      "repeated": repeated,
      "makingMilliseconds": spread(making),
      "limit": verdict.limit, "met": verdict.isMet,
      "each": zip(cuts, failures).map { cut, failure -> [String: Any] in
        [
          "place": failure.place, "gapMilliseconds": cut.gap, "lost": cut.lost,
          // From when the failure began to be made.
          "gapBeganMilliseconds": StreamRecord.milliseconds(cut.gapBegan - failure.began),
          "makingMilliseconds": StreamRecord.milliseconds(failure.done - failure.began),
        ]
      },
    ]
  }
}

/// All of a sitting.
public struct RepairReport: Sendable {
  public var figures: [RepairFigures] = []
  /// Peers' medians beside ours.
  public var comparisons: [Comparison] = []
  /// Of kinds that could not be measured to their end, why.
  public var failures: [String] = []

  public init() {}

  /// Ours has to be below a peer's.
  public struct Comparison: Sendable, Equatable {
    public var peer: String
    public var kind: RepairKind
    public var ours: Double
    public var theirs: Double

    public init(peer: String, kind: RepairKind, ours: Double, theirs: Double) {
      (self.peer, self.kind, self.ours, self.theirs) = (peer, kind, ours, theirs)
    }

    /// What could not be measured is not met.
    public var isMet: Bool { ours < theirs }
    public var text: String {
      String(
        format: "  %@ %@ median gap %.1f ms, %@'s %.1f ms", isMet ? "ok    " : "MISSED", kind.text, ours, peer, theirs)
    }
  }

  public var missed: Int {
    figures.count { $0.system == RepairFigures.ours && !$0.verdict.isMet } + comparisons.count { !$0.isMet }
      + failures.count
  }

  public func json() throws -> String {
    let document: [String: Any] = [
      "figures": figures.map(\.document),
      "peers": comparisons.map {
        ["peer": $0.peer, "failure": $0.kind.rawValue, "ours": $0.ours, "theirs": $0.theirs, "met": $0.isMet]
      },
      "failures": failures, "missed": missed,
    ]
    let bytes = try JSONSerialization.data(withJSONObject: document, options: [.sortedKeys, .prettyPrinted])
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// With spaces behind, or cut.
func fitted(_ text: String, _ width: Int) -> String {
  String(text.prefix(width)) + String(repeating: " ", count: max(0, width - text.count))
}
