// A member's port under a storm: half of it from a stranger on the link (random frames, and genuine ones changed), half
// from a member that has turned, which forges frames before its keys seal them. The node must neither fall nor grow, and
// traffic over its other ports must not notice.

import Foundation

public struct StormFigures: Sendable {
  public var outside = FrameStorm.Count()
  public var outsideSeconds = 0.0
  /// The insider's own account: frames by kind, and how often it lost its link.
  public var inside = ""
  public var insideCount = 0
  /// Resident memory of the node and of the authority behind it, KiB: three seconds into the insider's half, and growth
  /// from there to the end.
  public var residentKiB = 0
  public var growthKiB = 0
  public var authorityKiB = 0
  public var authorityGrowthKiB = 0
  /// 100 echo requests a second, through the node's other ports, during all of it.
  public var pingsSent = 0
  public var pingsLost = 0
  /// A 1 kHz stream on the same way.
  public var stream = GapResult()
}

/// The insider's program: beside this one, or where `swift build` puts it.
private func insiderProgram() throws -> String {
  let beside = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    .appendingPathComponent("Insider").path
  let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  for path in [beside, package.appendingPathComponent(".build/debug/Insider").path]
  where FileManager.default.isExecutableFile(atPath: path) { return path }
  throw LabError.expectation("the program Insider is not built: swift build --product Insider")
}

extension Topology {
  /// The authority, the node under attack (1), a bystander behind it (2), and the link the storm comes from (3).
  public static var stormStar: Topology {
    Topology(name: "star", nodeCount: 4, links: [Topology.Link(0, 1), Topology.Link(1, 2), Topology.Link(1, 3)])
  }
}

extension Trial {
  /// Storms node 1 of a started `Topology.stormStar` with `frames` frames in all.
  public func storm(_ frames: Int, seed: UInt64) throws -> StormFigures {
    let (target, bystander, attacker) = (laboratory.nodes[1], laboratory.nodes[2], laboratory.nodes[3])
    guard let address = addresses[bystander.name]?.first else { throw LabError.expectation("no address") }
    var figures = StormFigures()
    let capture = try Capture("eth0", in: attacker.namespace)
    try pause(3)
    let samples = capture.finish()
    // The member's identity is played from here on; its store has its certificate by now.
    attacker.stop()

    func outside(_ count: Int) throws {
      var attack = try FrameStorm(from: "eth0", in: attacker.namespace, samples: samples, seed: seed)
      let begun = now()
      let sent = try attack.send(count)
      figures.outsideSeconds += now() - begun
      figures.outside.random += sent.random
      figures.outside.mutated += sent.mutated
      figures.outside.refusedByKernel += sent.refusedByKernel
    }
    func resident(_ node: LabNode) throws -> Int {
      guard node.isRunning, let now = node.figures else {
        throw LabError.expectation("\(node.name) is gone, seed \(seed)\n\(node.logTail())")
      }
      return now.residentKiB
    }
    /// Forges `count` frames; the figures to compare with are taken when it has forged for a while.
    func inside(_ count: Int) throws {
      let mac = try attacker.run(["cat", "/sys/class/net/eth0/address"]).output.trimmingCharacters(
        in: .whitespacesAndNewlines)
      let log = "\(laboratory.directory)/insider"
      let insider = try BackgroundProcess(
        [
          insiderProgram(), "--store", attacker.store, "--interface", "eth0", "--frames", "\(count)", "--seed",
          "\(seed)", "--address", mac,
        ], in: attacker.namespace, log: log)
      defer { insider.stop() }
      _ = insider.hasEnded(within: 3)
      figures.residentKiB = try resident(target)
      figures.authorityKiB = try resident(laboratory.authority)
      let ended = try wait(upTo: 60 + Double(count) / 500) { insider.hasEnded(within: 0.2) }
      let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
      guard ended != nil, insider.endStatus == 0 else { throw LabError.expectation("the insider failed: \(said)") }
      figures.inside = said.split(separator: "\n").last.map(String.init) ?? ""
      figures.insideCount = figures.inside.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    }
    let pings = "\(laboratory.directory)/storm-pings"
    let ping = try BackgroundProcess(
      ["ping", "-n", "-i", "0.01", "-W", "1", address.text], in: laboratory.authority.namespace, log: pings)
    let stream = try GapStream(from: laboratory.authority.namespace, to: address, in: bystander.namespace)
    do {
      try outside(frames - frames / 2)
      _ = try resident(target)
      try inside(frames / 2)
      figures.growthKiB = try resident(target) - figures.residentKiB
      figures.authorityGrowthKiB = try resident(laboratory.authority) - figures.authorityKiB
    } catch {
      ping.stop()
      _ = stream.finish()
      throw error
    }
    figures.stream = stream.finish()
    ping.send(SIGINT)
    _ = ping.hasEnded(within: 3)
    ping.stop()
    let said = (try? String(contentsOfFile: pings, encoding: .utf8)) ?? ""
    for line in said.split(separator: "\n") where line.contains("packets transmitted") {
      let numbers = line.split(separator: " ").compactMap { Int($0) }
      if numbers.count >= 2 { (figures.pingsSent, figures.pingsLost) = (numbers[0], numbers[0] - numbers[1]) }
    }
    return figures
  }
}
