// What must not happen: a link that is called down although nothing is wrong with it. Counted while other processes load
// every core, and while nodes are stopped for less than three hellos. What came while a core of the machine itself did not
// run counts all the same, but is said to have.

import CLab
import Foundation

public struct CalmFigures: Sendable {
  /// Links that went down, all nodes' counts together.
  public var linksDown = 0
  /// What the nodes' logs say of it.
  public var lines: [String] = []
  /// Cores that did not run for 20 ms or longer.
  public var standstills: [Standstill] = []
  public var stops = 0
  /// The longest stop, ms: the stopper may itself come late.
  public var longestStop = 0.0
  /// No stop was as long as the silence after which a link is rightly down: three hellos of 20 ms.
  public var isConclusive: Bool { longestStop < Self.silence }
  /// Turns of nodes' loops that came late.
  public var lateTurns = 0

  /// No link was called down.
  public var isCalm: Bool { linksDown == 0 && lines.isEmpty }

  public init() {}

  /// After so long a link is rightly called silent, ms: three hellos of 20 ms.
  private static let silence = 60.0
  /// What a standstill did is in the logs within so long, seconds: a hold and a hello.
  private static let wake = 0.1

  /// Standstills for which a neighbour on that core is rightly called silent.
  public var longStandstills: [Standstill] { standstills.filter { $0.milliseconds >= Self.silence } }

  /// Those of the lines that came during one of these, or right behind it: what to look at first, and no excuse.
  public var linesAtStandstills: [String] {
    lines.filter { line in
      guard let time = CalmTrial.time(of: line) else { return false }
      return longStandstills.contains { $0.begun <= time && time <= $0.ended.addingTimeInterval(Self.wake) }
    }
  }
}

public final class CalmTrial {
  /// Seconds.
  public static let stop = 0.035

  private let laboratory: Laboratory
  private var generator: SplitMix64

  /// - Parameter laboratory: running, all authenticated.
  public init(_ laboratory: Laboratory, seed: UInt64 = 1) {
    self.laboratory = laboratory
    generator = SplitMix64(state: seed)
  }

  /// A counter of all nodes together.
  private func sum(_ counter: String) throws -> Int {
    try laboratory.nodes.reduce(0) { try $0 + ($1.counters()[counter] ?? 0) }
  }

  /// Processes that never wait: one a core with normal priority and one with nice -5.
  private func load() throws -> [BackgroundProcess] {
    let loop = ["sh", "-c", "while :; do :; done"]
    return try (0..<ProcessInfo.processInfo.activeProcessorCount).flatMap { core in
      try [loop, ["nice", "-n", "-5"] + loop].enumerated().map { kind, words in
        try laboratory.startBackground(
          words, in: laboratory.authority.namespace, name: "busy\(core)\(kind == 0 ? "" : "-nice")")
      }
    }
  }

  /// - Parameters:
  ///   - stops: stop a random node every second.
  ///   - body: what is done at the beginning.
  public func run(
    seconds: Double, load isLoaded: Bool, stops: Bool, _ body: () throws -> Void = {}
  ) throws -> CalmFigures {
    var figures = CalmFigures()
    let counter = "node.link.adjacenciesDown"
    let before = try sum(counter)
    let lateBefore = try sum("node.link.lateLoops")
    let marks = laboratory.nodes.map { Self.complaints(in: $0).count }
    let watch = try CoreWatch()
    let busy = isLoaded ? try load() : []
    defer { for process in busy { process.stop(patience: 0.5) } }
    try body()
    let end = now() + seconds
    while now() < end {
      try pause(min(1, max(0, end - now())))
      if stops, let node = laboratory.nodes.randomElement(using: &generator), let process = node.process {
        let took = lab_stop_for(process.identifier, Int64(Self.stop * 1e9))
        figures.stops += 1
        figures.longestStop = max(figures.longestStop, StreamRecord.milliseconds(took))
      }
    }
    // What the last stop did is seen within the time of a hold.
    try pause(0.3)
    for process in busy { process.stop(patience: 0.5) }
    figures.linksDown = try sum(counter) - before
    figures.lateTurns = try sum("node.link.lateLoops") - lateBefore
    for (node, mark) in zip(laboratory.nodes, marks) {
      figures.lines += Self.complaints(in: node).dropFirst(mark).map { "\(node.name): \($0)" }
    }
    figures.standstills = try watch.finish()
    return figures
  }

  /// When a line was logged: nodes write the time at its beginning, or behind the node's name.
  static func time(of line: String) -> Date? {
    let format = ISO8601DateFormatter()
    format.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    return line.split(separator: " ").lazy.prefix(2).compactMap {
      format.date(from: String($0.hasSuffix(":") ? $0.dropLast() : $0))
    }.first
  }

  /// Lines of a node's log that call a link anything but up.
  private static func complaints(in node: LabNode) -> [String] {
    let text = (try? String(contentsOfFile: node.log, encoding: .utf8)) ?? ""
    return text.split(separator: "\n").map(String.init).filter { $0.contains("link to ") && !$0.hasSuffix(" is up") }
  }
}
