// `lab repair`: what failures cost a stream, failure by failure, against the limits and beside the peers that are installed.

import Foundation
import LabKit

func repair(_ options: Options) throws -> Int32 {
  let trial = try RepairSitting(options)
  return try trial.run()
}

struct RepairSitting {
  private let binary: String
  private let topologies: [Topology]
  private let kinds: [RepairKind]
  private let protections: [Protection]
  private let flows: [RepairFlow]
  private let cuts: Int
  /// Failures of each kind of each peer; 0: no peers.
  private let peerCuts: Int
  /// Parts of peers' names; none: all.
  private let peers: [String]
  private let plot: String?
  private let document: String?
  private let isVerbose: Bool

  /// Everything, and no peers, by default.
  init(_ options: Options) throws {
    try self.init(options, cuts: 50, topologies: [.ring(6), .grid(5, 5)], flows: RepairFlow.allCases, peerCuts: 0)
  }

  /// As much as can be had in some minutes, unless as many failures as `repair` makes are asked for.
  init(bench options: Options) throws {
    let isWhole = try options.number("cuts", default: 10) >= 50
    try self.init(
      options, cuts: 10, topologies: isWhole ? [.ring(6), .grid(5, 5)] : [.ring(6)],
      flows: isWhole ? RepairFlow.allCases : [.authority], peerCuts: isWhole ? 5 : 3)
  }

  private init(
    _ options: Options, cuts normalCuts: Double, topologies normalTopologies: [Topology],
    flows normalFlows: [RepairFlow],
    peerCuts normalPeerCuts: Double
  ) throws {
    binary = options.binary
    topologies = try options.all("topology").map { text throws(LabError) in try Topology(parsing: text) }
      .ifEmpty(normalTopologies)
    kinds = try chosen(RepairKind.self, options, "kind", default: RepairKind.allCases)
    flows = try chosen(RepairFlow.self, options, "flow", default: normalFlows)
    let flags = Protection.allCases.filter { options.flag($0.rawValue) }
    protections = flags.ifEmpty(Protection.allCases)
    cuts = max(1, Int(try options.number("cuts", default: normalCuts)))
    peerCuts = Int(try options.number("peers", default: normalPeerCuts))
    peers = options.all("peer")
    plot = options.value("svg")
    document = options.value("json")
    isVerbose = options.flag("verbose")
  }

  func run() throws -> Int32 {
    var report = RepairReport()
    var drawing = GapPlot(title: "Time between arrivals of a 1 kHz stream; a mark is a failure")
    for topology in topologies {
      for protection in protections {
        for flow in flows { try measure(topology, protection, flow, &report, &drawing) }
      }
    }
    if peerCuts > 0 { try measurePeers(&report, &drawing) }
    try write(report, drawing)
    return report.missed == 0 ? 0 : 1
  }

  func write(_ report: RepairReport, _ drawing: GapPlot) throws {
    if let plot { try drawing.svg.write(toFile: plot, atomically: true, encoding: .utf8) }
    if let document { try (report.json() + "\n").write(toFile: document, atomically: true, encoding: .utf8) }
    for comparison in report.comparisons { print(comparison.text) }
    if report.missed > 0 { print("\(report.missed) of the requirements are MISSED") }
  }

  /// Every kind on one network, one after the other; after one from which the network did not come back, on a new one.
  func measure(
    _ topology: Topology, _ protection: Protection, _ flow: RepairFlow, _ report: inout RepairReport,
    _ drawing: inout GapPlot
  ) throws {
    var left = kinds[...]
    while !left.isEmpty {
      let (laboratory, trial) = try RepairTrial.network(topology, binary: binary, protection: protection)
      defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
      let repairs = try RepairTrial(laboratory, trial, flow: flow, protection: protection)
      print("\(topology.name), \(protection.rawValue)\n\(RepairFigures.heading)")
      do {
        while let kind = left.popFirst() {
          let run = try repairs.run(kind, cuts: cuts) { number, place in
            if isVerbose { print("    \(kind.text) \(number + 1): \(place)") }
          }
          for stream in run.streams.indices {
            let figures = RepairFigures(run, stream: stream)
            print(figures.row)
            warn(figures)
            report.figures.append(figures)
            drawing.strips.append(.init(run, stream: stream))
          }
        }
      } catch let error as LabError where error != .interrupted {
        print("  FAILED: \(error)")
        report.failures.append("\(topology.name), \(protection.rawValue): \(error)")
      }
    }
  }

  /// The peers that are installed, on the ring; ours are the figures of the MA's stream there.
  func measurePeers(_ report: inout RepairReport, _ drawing: inout GapPlot) throws {
    let ours = report.figures
    for peer in RepairPeer.allCases where peers.isEmpty || peers.contains(where: peer.rawValue.contains) {
      guard peer.isInstalled else {
        print("\(peer.rawValue) is not installed")
        continue
      }
      print("\(peer.rawValue), ring:6\n\(RepairFigures.heading)")
      let trial = try RepairPeerTrial(peer, ring: 6, binary: binary)
      defer { for thing in trial.close() { Lab.write("lab: left behind: \(thing)\n") } }
      for kind in [RepairKind.carrier, .silent] where kinds.contains(kind) {
        let run = try trial.run(kind, cuts: peerCuts)
        let figures = RepairFigures(run, stream: 0, system: peer.rawValue)
        print(figures.row)
        report.figures.append(figures)
        drawing.strips.append(.init(run, stream: 0, system: peer.rawValue))
        let mine = ours.first {
          $0.kind == kind && $0.protection == .unprotected && $0.network == "ring:6" && $0.stream.hasPrefix("ma >")
        }
        guard let mine else { continue }
        // Of an even number: the greater of the middle two for us, the lesser for the peer.
        report.comparisons.append(
          .init(peer: peer.rawValue, kind: kind, ours: median(mine.gaps), theirs: quantile(figures.gaps, 0.5)))
      }
    }
  }

  private func warn(_ figures: RepairFigures) {
    if figures.repeated > 0 {
      print(
        "    made again, a sender itself having paused for more than \(RepairRun.disturbance) ms: \(figures.repeated)")
    }
    if figures.longestPause > RepairRun.disturbance {
      print(
        String(format: "    the sender itself paused for %.1f ms: the machine is too busy", figures.longestPause))
    }
    if figures.before.lost > 0 { print("    \(figures.before.lost) packets were lost before the first failure") }
  }
}

private func chosen<T: RawRepresentable & CaseIterable>(
  _ type: T.Type, _ options: Options, _ name: String, default normal: [T]
) throws -> [T] where T.RawValue == String {
  try options.all(name).map { text in
    guard let value = T(rawValue: text) else {
      throw LabError.usage("--\(name) \(text): \(T.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return value
  }.ifEmpty(normal)
}

extension Array {
  fileprivate func ifEmpty(_ other: [Element]) -> [Element] { isEmpty ? other : self }
}
