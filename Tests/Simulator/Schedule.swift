// One random fault schedule: a network, what chance does to it for most of a minute, and then quiet, in which everything
// must come back. A seed that failed once stands in Tests/Vectors/failing-seeds.txt, and is run again by the tests.

import Core
import Node

public struct Schedule: Sendable {
  public var seed: UInt64
  public var load = FaultLoad.heavy
  public var nodeCount = 20
  /// MAs among them.
  public var authorityCount = 1
  /// Of virtual time, in all.
  public var length = Duration.seconds(60)
  /// Of them at the end, without a fault.
  public var quiet = Duration.seconds(15)
  /// In the quiet, until all that is connected must be authenticated.
  public var patience = Duration.seconds(10)
  public var repair: RepairLimits?

  public init(seed: UInt64, load: FaultLoad = .heavy) {
    self.seed = seed
    self.load = load
  }

  public struct Outcome: Sendable {
    public var violations: [String]
    public var digest: UInt64
    public var events: Int
    public var faults: Int
    public var frames: Int
  }

  /// The same for the same seed and commit.
  public func run(isTalkative: Bool = false) throws -> Outcome {
    var random = SeededRandom(seed: seed)
    let extra = nodeCount / 4 + random.below(nodeCount)
    let layout = Layout.random(nodeCount, extra: extra, seed: seed)
    let enrolled = random.below(4) > 0
    let world =
      authorityCount == 1
      ? try World(layout, enrolled: enrolled, seed: seed)
      : try World(layout, authorities: layout.places(authorities: authorityCount), seed: seed)
    world.isTalkative = isTalkative
    world.rules.authentication = patience
    world.rules.repair = repair
    for box in world.nodes { world.setDrift(box.number, Int64(random.below(201)) - 100) }
    world.startAll()
    world.run(for: .seconds(3))
    world.disturb(load, seed: seed, for: length - quiet - .seconds(3))
    for _ in 0..<3 {
      _ = world.startFlow(
        from: world.authority, to: random.below(nodeCount), every: .milliseconds(20), payload: 700)
    }
    while world.elapsed < length - quiet {
      let kind = PacketKind.allCases[random.below(PacketKind.allCases.count)]
      world.send(
        kind, from: random.below(nodeCount), to: random.below(nodeCount),
        payload: 1 + random.below(kind.isTCP && random.below(4) == 0 ? 60_000 : 1_400))
      world.run(for: .milliseconds(Int64(20 + random.below(400))))
    }
    world.heal()
    // One link stays cut: the rest is what must be reachable.
    world.setCut(random.below(world.mediumCount), true)
    world.run(until: World.beginning + length - .seconds(2))
    for flow in world.traffic.flows.indices { world.endFlow(flow) }
    let silent = world.unanswered(world.connected(from: world.authority), patience: .seconds(1))
    if isTalkative {
      for number in silent { world.tell(number, ["status"], ["links"], ["routes"], ["counters"]) }
      if !silent.isEmpty { world.tell(world.authority, ["nodes"], ["links"], ["routes"], ["counters"]) }
    }
    world.checkTables()
    world.run(until: max(world.now, World.beginning + length))
    var violations = world.violations
    if !silent.isEmpty { violations.append("at the end: \(silent) do not answer") }
    return Outcome(
      violations: violations, digest: world.trace.value, events: world.trace.events, faults: world.faultCount,
      frames: world.nodes.reduce(0) { $0 + $1.framesSent })
  }
}
