// One continuous stream, and a failure on its present way every two seconds, in turn at its ends and inward; each is undone
// before the next, and the next waits until the network is whole: it is single failures that are measured.

import CLab
import Foundation

/// Where something failed, and when.
public struct RepairCut: Sendable {
  /// Just before, and when it was done. Nanoseconds of the monotonic clock.
  public var began: Int64
  public var done: Int64
  public var place: String
  /// When it was undone.
  public var undone: Int64
  /// A sender did not send in time between this failure and the next: it was made again, and this one does not count.
  public var isVoid = false

  public init(began: Int64, done: Int64, place: String, undone: Int64 = .max) {
    (self.began, self.done, self.place, self.undone) = (began, done, place, undone)
  }
}

/// All of a kind on one network.
public struct RepairRun: Sendable {
  public var network: String
  public var kind: RepairKind
  public var protection: Protection
  public var cuts: [RepairCut]
  /// By what they are called, "ma > cm2".
  public var streams: [(name: String, record: StreamRecord)]
  /// Bits a second.
  public var rate: Double

  public init(
    network: String, kind: RepairKind, protection: Protection, cuts: [RepairCut] = [],
    streams: [(name: String, record: StreamRecord)] = [], rate: Double
  ) {
    (self.network, self.kind, self.protection) = (network, kind, protection)
    (self.cuts, self.streams, self.rate) = (cuts, streams, rate)
  }

  /// A packet that left this long before a failure may have been under way when it came, and counts with it, ns.
  static let underway: Int64 = 10_000_000

  /// A sender that paused for longer, ms, has stood still with the machine: the time between arrivals is not the network's.
  public static let disturbance = 3.0

  /// Failures that count.
  var valid: Int { cuts.count { !$0.isVoid } }

  /// After the last failure, the streams still running: whether it is to be made again. Beyond a quarter of all, or two,
  /// the machine is as it is, and they count.
  mutating func judgeLast(_ streams: [GapStream], of wanted: Int) {
    let paused = streams.map { $0.longestPause(since: cuts[cuts.count - 1].began - Self.underway) }.max() ?? 0
    cuts[cuts.count - 1].isVoid = paused > Self.disturbance && cuts.count - valid < max(2, wanted / 4)
  }

  /// When the first packet may have met a failure, one that does not count included, ns.
  var firstFailure: Int64 { cuts.first.map { $0.began - Self.underway } ?? 0 }

  /// From each failure that counts to the next, the last one to the end of the longest stream; or only until it was undone.
  public func stretches(untilUndone: Bool = false) -> [Range<Int64>] {
    let end = streams.compactMap(\.record.sent.last).max() ?? 0
    return cuts.indices.filter { !cuts[$0].isVoid }.map { cut in
      let from = cuts[cut].began - Self.underway
      let next = cut + 1 < cuts.count ? cuts[cut + 1].began - Self.underway : max(end, cuts[cut].done)
      return from..<max(untilUndone ? min(next, cuts[cut].undone) : next, from)
    }
  }
}

public final class RepairTrial {
  private let laboratory: Laboratory
  private let flow: RepairFlow
  private let protection: Protection
  /// Stations of the way, by node, for whom the streams run; the MA's channel to each is one leg.
  private let ends: (source: Int, destination: Int)
  private let addresses: [String: [IPAddress]]

  /// - Parameter laboratory: running, all authenticated.
  public init(
    _ laboratory: Laboratory, _ trial: Trial, flow: RepairFlow, protection: Protection
  ) throws {
    self.laboratory = laboratory
    self.flow = flow
    self.protection = protection
    addresses = trial.addresses
    switch flow {
    case .authority: ends = (0, laboratory.topology.farStation)
    case .components:
      guard let pair = laboratory.topology.farPair else {
        throw LabError.usage("\(laboratory.topology.name) has no two components far from the MA")
      }
      ends = pair
    }
    try laboratory.prepareWires()
    try requireWhole()
  }

  /// A network as it is wanted: provisioned, set, running.
  public static func network(
    _ topology: Topology, binary: String, protection: Protection
  ) throws -> (laboratory: Laboratory, trial: Trial) {
    var options = LaboratoryOptions()
    options.linkStyle = .wires
    let laboratory = try Laboratory(topology, binary: binary, options: options)
    try laboratory.provisionAll()
    for setting in protection.settings {
      for node in laboratory.nodes {
        let said = try laboratory.provision(node, ["set", setting], tolerant: true)
        // A binary that does not replicate has no such setting: it is measured as it is.
        if !said.succeeded && node.index == 0 { print("note: no setting \(setting): \(said.errorOutput.trimmed)") }
        if !said.succeeded { break }
      }
    }
    var trial = try Trial(laboratory)
    try trial.start(.ascending, limit: 20)
    return (laboratory, trial)
  }

  // MARK: The way

  /// The nodes of the stream's present way, both ends included.
  private func way() throws -> [Int] {
    switch flow {
    case .authority: return try [0] + leg(to: ends.destination)
    case .components: return try leg(to: ends.source).reversed() + [0] + leg(to: ends.destination)
    }
  }

  /// The MA's present route to a node, without the MA.
  private func leg(to node: Int) throws -> [Int] {
    var route: [String] = []
    let name = laboratory.nodes[node].name
    let found = try wait(upTo: 5) {
      route = try laboratory.authority.route(to: name)
      return !route.isEmpty
    }
    guard found != nil else { throw LabError.expectation("the MA has no route to \(name) for 5 s") }
    return try route.map { name in
      guard let node = laboratory.nodes.first(where: { $0.name == name }) else {
        throw LabError.expectation("a route over \(name), which is no node of this network")
      }
      return node.index
    }
  }

  /// All links are known again: a second failure beside one that lasts would be another trial.
  private func requireWhole() throws {
    let wanted = laboratory.topology.links.count
    var have = 0
    let whole = try wait(upTo: 15, every: 0.1) {
      have = try laboratory.authority.knownLinks().count
      return have == wanted && laboratory.nodes.allSatisfy(\.isRunning)
    }
    guard whole != nil else {
      throw LabError.expectation("\(have) of \(wanted) links 15 s after the last failure was undone")
    }
  }

  // MARK: Failures

  private enum Place {
    case link(number: Int, from: Int, to: Int)
    case node(Int)
  }

  /// The place of the n-th failure on the present way: from both its ends inward, in turn.
  private func place(_ kind: RepairKind, _ number: Int) throws -> Place {
    let way = try way()
    if kind.isOfNode {
      let nodes = way.dropFirst().dropLast().filter { $0 != 0 }
      guard !nodes.isEmpty else { throw LabError.expectation("no node on the way: \(way)") }
      return .node(nodes[fromEndsInward(number, of: nodes.count)])
    }
    let hop = fromEndsInward(number, of: way.count - 1)
    return .link(
      number: try laboratory.link(between: way[hop], way[hop + 1]), from: way[hop], to: way[hop + 1])
  }

  private func text(_ place: Place) -> String {
    switch place {
    case .link(_, let from, let to): "\(laboratory.nodes[from].name) - \(laboratory.nodes[to].name)"
    case .node(let node): laboratory.nodes[node].name
    }
  }

  private func strike(_ kind: RepairKind, at place: Place) throws {
    switch place {
    case .link(let link, let from, _):
      let out: CutDirection = laboratory.topology.links[link].a == from ? .fromAToB : .fromBToA
      let back: CutDirection = laboratory.topology.links[link].a == from ? .fromBToA : .fromAToB
      switch kind {
      case .carrier: try laboratory.setCarrier(link, up: false)
      case .oneWayOut: try laboratory.cutSilently(link, out)
      case .oneWayBack: try laboratory.cutSilently(link, back)
      case .large: try laboratory.cutSilently(link, losing: .largeFrames)
      case .silent, .killed, .frozen, .grey: try laboratory.cutSilently(link)
      }
    case .node(let node):
      switch kind {
      case .killed: laboratory.nodes[node].crash()
      case .frozen: laboratory.nodes[node].send(SIGSTOP)
      case .grey, .carrier, .silent, .oneWayOut, .oneWayBack, .large:
        try laboratory.cutSilently(node: node, losing: .payload)
      }
    }
  }

  private func undo(_ kind: RepairKind, at place: Place) throws {
    switch (kind, place) {
    case (.carrier, .link(let link, _, _)): try laboratory.setCarrier(link, up: true)
    case (.killed, .node(let node)): try laboratory.nodes[node].start()
    case (.frozen, .node(let node)): laboratory.nodes[node].send(SIGCONT)
    default: try laboratory.mendAll()
    }
  }

  // MARK: The run

  private func openStreams(_ shape: StreamShape) throws -> [(name: String, stream: GapStream)] {
    let (source, destination) = (laboratory.nodes[ends.source], laboratory.nodes[ends.destination])
    let both = flow == .authority ? [(source, destination), (destination, source)] : [(source, destination)]
    return try both.map { from, to in
      let address = try to.role == .authority ? to.status().ipv4.flatMap(IPAddress.init) : addresses[to.name]?.first
      guard let address else { throw LabError.expectation("\(to.name) has no address") }
      let stream = try GapStream(from: from.namespace, to: address, in: to.namespace, shape: shape)
      return ("\(from.name) > \(to.name)", stream)
    }
  }

  /// - Parameter progress: called with each failure's number and place.
  public func run(_ kind: RepairKind, cuts: Int, progress: (Int, String) -> Void = { _, _ in }) throws -> RepairRun {
    try requireWhole()
    let shape = protection.shape(for: kind)
    let streams = try openStreams(shape)
    var run = RepairRun(
      network: laboratory.topology.name, kind: kind, protection: protection, rate: shape.rate)
    do {
      try pause(1)
      while run.valid < cuts {
        let number = run.valid
        let place = try place(kind, number)
        progress(number, text(place))
        run.cuts.append(try timedCut(text(place)) { try strike(kind, at: place) })
        do {
          try pause(kind.hold)
        } catch {
          try? undo(kind, at: place)
          throw error
        }
        let last = run.cuts.count - 1
        run.cuts[last].undone = lab_now()
        try undo(kind, at: place)
        let next = Double(run.cuts[last].began) / 1e9 + kind.period
        try requireWhole()
        try pause(max(0, next - now()))
        run.judgeLast(streams.map(\.stream), of: cuts)
      }
    } catch {
      for (_, stream) in streams { _ = stream.record() }
      throw error
    }
    run.streams = streams.map { ($0.name, $0.stream.record()) }
    return run
  }
}

/// Above the nodes, as the streams are: a program that makes the cut is not to wait between its two halves.
func timedCut(_ place: String, _ body: () throws -> Void) rethrows -> RepairCut {
  _ = lab_real_time(40)
  defer { lab_normal_time() }
  let began = lab_now()
  try body()
  return RepairCut(began: began, done: lab_now(), place: place)
}

/// 0, count − 1, 1, count − 2 … and again.
public func fromEndsInward(_ number: Int, of count: Int) -> Int {
  let turn = number % count
  return turn % 2 == 0 ? turn / 2 : count - 1 - turn / 2
}

extension Topology {
  /// The component a repair stream runs to: in a ring a third of the way round, so that one way is the shortest; otherwise
  /// the last of the farthest.
  public var farStation: Int {
    if name.hasPrefix("ring") { return max(1, nodeCount / 3) }
    let hops = hopsFromAuthority
    return (1..<nodeCount).max { (hops[$0] ?? 0) < (hops[$1] ?? 0) } ?? nodeCount - 1
  }

  /// Two components as far apart as can be, neither beside the MA.
  public var farPair: (source: Int, destination: Int)? {
    let hops = hopsFromAuthority
    let candidates = (1..<nodeCount).filter { (hops[$0] ?? 0) >= 2 }
    var best: (source: Int, destination: Int, distance: Int)?
    for source in candidates {
      let distances = self.hops(from: source)
      for destination in candidates where destination > source {
        guard let distance = distances[destination], distance > best?.distance ?? 0 else { continue }
        best = (source, destination, distance)
      }
    }
    return best.map { ($0.source, $0.destination) }
  }
}
