// A member's port under a storm: half of it from a stranger on the segment (random frames, genuine ones changed, crafted
// ones), half from a member that has turned, which forges frames before its keys seal them. The node must neither fall
// nor grow, traffic over its other ports must not notice, and an honest box on the very segment must get in, after the
// storm and during it.

import Foundation

public struct StormFigures: Sendable {
  /// Resident memory when so many frames had been sent.
  public struct Memory: Sendable {
    public var frames: Int
    public var seconds: Double
    public var nodeKiB: Int
    public var authorityKiB: Int
  }

  public var outside = FrameStorm.Count()
  public var outsideSeconds = 0.0
  /// The insider's own accounts, one for each of its runs.
  public var inside: [InsiderAccount] = []
  /// The first before the first frame, on a network that is warm.
  public var memory: [Memory] = []
  /// Of node and authority: how counters grew by the outside half and by the insider's.
  public var nodeOutside: [String: Int] = [:]
  public var nodeInside: [String: Int] = [:]
  public var authorityInside: [String: Int] = [:]
  /// Seconds until the honest box was authenticated: after the storm, and while one blew that did not end, its
  /// certificate known to the node from before, and not known.
  public var admittedAfter: Double?
  public var admittedDuring: Double?
  public var admittedUnknown: Double?
  /// Frames a second from outside meanwhile.
  public var rateDuring = 0.0
  /// 100 echo requests a second, through the node's other ports, during all of it.
  public var pingsSent = 0
  public var pingsLost = 0
  /// A 1 kHz stream on the same way.
  public var stream = GapResult()

  public var insideCount: Int { inside.reduce(0) { $0 + $1.forged } }
  public var insideSeconds: Double { inside.reduce(0) { $0 + $1.seconds } }

  /// From before the first frame to the end, KiB: node, authority.
  public var growth: (node: Int, authority: Int) { growth(from: memory.first) }
  /// From when a quarter of the frames had been sent to the end.
  public var lateGrowth: (node: Int, authority: Int) {
    growth(from: memory.first { $0.frames >= (memory.last?.frames ?? 0) / 4 })
  }

  private func growth(from: Memory?) -> (node: Int, authority: Int) {
    guard let from, let last = memory.last else { return (0, 0) }
    return (last.nodeKiB - from.nodeKiB, last.authorityKiB - from.authorityKiB)
  }
}

/// What the program Insider prints last.
public struct InsiderAccount: Sendable, Decodable {
  public var forged: Int
  public var seconds: Double
  public var joinSeconds: Double
  /// Frames forged while it had a session and a way back.
  public var withSession: Int
  public var kinds: [String: Int]
  /// What the member itself reported meanwhile.
  public var said: [String: Int]
}

extension Topology {
  /// The authority, the node under attack (1), a bystander behind it (2), and the member on the link that becomes the
  /// storm's segment (3).
  public static var stormStar: Topology {
    Topology(name: "star", nodeCount: 4, links: [Topology.Link(0, 1), Topology.Link(1, 2), Topology.Link(1, 3)])
  }
}

extension LaboratoryOptions {
  /// With wires, so that a stranger finds room on the segment.
  public static var storm: LaboratoryOptions {
    var options = LaboratoryOptions()
    options.linkStyle = .wires
    return options
  }
}

/// A storm under way in a laboratory that is built by `Topology.stormStar` and `LaboratoryOptions.storm`, and started.
public final class StormTrial {
  private static let segment = 2
  private let laboratory: Laboratory
  private var target: LabNode { laboratory.nodes[1] }
  private var member: LabNode { laboratory.nodes[3] }
  private let seed: UInt64
  private let stranger: String
  private let targetAddress: [UInt8]
  private let samples: [[UInt8]]
  private let begun = now()
  private var storms = 0
  public private(set) var figures = StormFigures()

  public init(_ laboratory: Laboratory, seed: UInt64) throws {
    self.laboratory = laboratory
    self.seed = seed
    stranger = try laboratory.addTap("stranger", on: Self.segment)
    let member = laboratory.nodes[3]
    let text = try laboratory.nodes[1].run(["cat", "/sys/class/net/eth2/address"]).output
    targetAddress = text.trimmingCharacters(in: .whitespacesAndNewlines).split(separator: ":").compactMap {
      UInt8($0, radix: 16)
    }
    // A whole start is heard: discoveries with certificate, handshake, and the member's coming up.
    member.stop()
    let capture = try Capture("eth0", in: stranger, limit: 4_000)
    try member.start()
    let ready = try wait(upTo: 10, every: 0.1) { (try? member.status().ready) ?? false }
    guard ready != nil else { throw LabError.expectation("\(member.name) did not come back\n\(member.logTail())") }
    try pause(1)
    samples = capture.finish()
    // Its identity is played from here on; its store has its certificate by now.
    member.stop()
  }

  private func resident(_ node: LabNode) throws -> Int {
    guard node.isRunning, let now = node.figures else {
      throw LabError.expectation("\(node.name) is gone, seed \(seed)\n\(node.logTail())")
    }
    return now.residentKiB
  }

  private var frames: Int { figures.outside.sent + figures.outside.refusedByKernel + figures.insideCount }

  private func sample(ahead: Int = 0) throws {
    figures.memory.append(
      StormFigures.Memory(
        frames: frames + ahead, seconds: now() - begun, nodeKiB: try resident(target),
        authorityKiB: try resident(laboratory.authority)))
  }

  private func attack() throws -> FrameStorm {
    storms += 1
    return try FrameStorm(
      from: "eth0", in: stranger, samples: samples, target: targetAddress, seed: seed &+ UInt64(storms) &* 1_000)
  }

  private static func add(_ difference: [String: Int], to sum: inout [String: Int]) {
    for (name, count) in difference where count != 0 { sum[name, default: 0] += count }
  }

  private static func difference(_ after: [String: Int], _ before: [String: Int]) -> [String: Int] {
    after.merging(before) { $0 - $1 }
  }

  private func outside(_ count: Int) throws {
    let before = try target.counters()
    var storm = try attack()
    let started = now()
    var left = count
    while left > 0 {
      let sent = try storm.send(min(left, 25_000))
      left -= 25_000
      figures.outside.random += sent.random
      figures.outside.mutated += sent.mutated
      figures.outside.crafted += sent.crafted
      figures.outside.refusedByKernel += sent.refusedByKernel
      try sample()
    }
    figures.outsideSeconds += now() - started
    try pause(0.2)
    Self.add(Self.difference(try target.counters(), before), to: &figures.nodeOutside)
  }

  private func inside(_ count: Int, run: Int) throws {
    let mac = try member.run(["cat", "/sys/class/net/eth0/address"]).output.trimmingCharacters(
      in: .whitespacesAndNewlines)
    let log = "\(laboratory.directory)/insider\(run)"
    let (before, authorityBefore) = (try target.counters(), try laboratory.authority.counters())
    let insider = try BackgroundProcess(
      [
        hostProgram("Insider"), "--store", member.store, "--interface", "eth0", "--frames", "\(count)", "--seed",
        "\(seed &+ UInt64(run))", "--address", mac,
      ], in: member.namespace, log: log)
    defer { insider.stop() }
    let started = now()
    let ended = try wait(upTo: 60 + Double(count) / 500, every: 0.2) {
      let has = insider.hasEnded(within: 0.3)
      if !has { try sample(ahead: 0) }
      return has
    }
    let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
    guard ended != nil, insider.endStatus == 0, let line = said.split(separator: "\n").last,
      let account = try? JSONDecoder().decode(InsiderAccount.self, from: Data(line.utf8))
    else { throw LabError.expectation("the insider failed after \(Int(now() - started)) s: \(said)") }
    figures.inside.append(account)
    try sample()
    try pause(0.2)
    Self.add(Self.difference(try target.counters(), before), to: &figures.nodeInside)
    Self.add(
      Self.difference(try laboratory.authority.counters(), authorityBefore), to: &figures.authorityInside)
  }

  /// Seconds from the member's start until it has a session and a way back.
  private func admission(within limit: Double) throws -> Double? {
    try member.start()
    return try wait(upTo: limit, every: 0.05) { (try? member.status().ready) ?? false }
  }

  /// `frames` frames in all, in `rounds` of an outside and an inside half each.
  public func storm(_ frames: Int, rounds: Int) throws {
    try sample()
    for round in 0..<rounds {
      let part = frames * (round + 1) / rounds - frames * round / rounds
      try outside(part - part / 2)
      try inside(part / 2, run: round)
    }
    try pause(1)
    try sample()
  }

  /// How long an honest box takes to get in on the storm's segment after the storm.
  public func admissionAfter(limit: Double = 15) throws {
    figures.admittedAfter = try admission(within: limit)
    member.crash()
  }

  /// The same during a storm that does not end.
  public func admissionsDuring(limit: Double = 15) throws {
    figures.admittedDuring = try duringStorm { try admission(within: limit) }
    member.crash()
    // A node that starts anew remembers no certificates.
    target.crash()
    try target.start()
    let back = try wait(upTo: 10, every: 0.1) { (try? target.status().ready) ?? false }
    guard back != nil else { throw LabError.expectation("\(target.name) did not come back\n\(target.logTail())") }
    figures.admittedUnknown = try duringStorm { try admission(within: limit) }
  }

  /// Runs `body` while a stranger sends all it can.
  private func duringStorm<R>(_ body: () throws -> R) throws -> R {
    let blower = Blower(try attack())
    try pause(1)
    let result: R
    do {
      result = try body()
    } catch {
      _ = blower.finish()
      throw error
    }
    figures.rateDuring = blower.finish()
    return result
  }

  /// Pings and a stream over the node's other ports while `body` runs.
  public func watched(_ address: IPAddress, _ body: () throws -> Void) throws {
    let bystander = laboratory.nodes[2]
    let pings = "\(laboratory.directory)/storm-pings"
    let ping = try BackgroundProcess(
      ["ping", "-n", "-i", "0.01", "-W", "1", address.text], in: laboratory.authority.namespace, log: pings)
    let stream = try GapStream(from: laboratory.authority.namespace, to: address, in: bystander.namespace)
    defer { ping.stop() }
    do {
      // Warm: every table that traffic alone fills is filled before the first figure is taken.
      try pause(3)
      try body()
    } catch {
      _ = stream.finish()
      throw error
    }
    figures.stream = stream.finish()
    ping.send(SIGINT)
    _ = ping.hasEnded(within: 3)
    let said = (try? String(contentsOfFile: pings, encoding: .utf8)) ?? ""
    for line in said.split(separator: "\n") where line.contains("packets transmitted") {
      let numbers = line.split(separator: " ").compactMap { Int($0) }
      if numbers.count >= 2 { (figures.pingsSent, figures.pingsLost) = (numbers[0], numbers[0] - numbers[1]) }
    }
  }
}

/// A storm on a thread of its own.
private final class Blower: @unchecked Sendable {
  private let lock = NSLock()
  private var shouldEnd = false
  private var sent = 0
  private let begun = now()
  private let ended = DispatchGroup()
  /// The thread's alone.
  private var storm: FrameStorm

  init(_ storm: FrameStorm) {
    self.storm = storm
    ended.enter()
    Thread { [self] in
      blow()
      ended.leave()
    }.start()
  }

  private func blow() {
    while !lock.withLock({ shouldEnd }), let count = try? storm.send(1_000) { sent += count.sent }
  }

  /// Frames a second.
  func finish() -> Double {
    lock.withLock { shouldEnd = true }
    ended.wait()
    return Double(sent) / (now() - begun)
  }
}
