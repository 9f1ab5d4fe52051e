// Networks that form: whichever order the boxes start in, and whether or not they know their certificates.

import Core
import Simulator
import Testing

/// Starts all nodes, `gap` apart in this order, and says how long after the last start all were authenticated.
func form(_ world: World, order: [Int]? = nil, gap: Duration = .zero, atMost limit: Duration = .seconds(10))
  -> Duration?
{
  for number in order ?? Array(world.nodes.indices) {
    world.start(number)
    if gap > .zero { world.run(for: gap) }
  }
  return world.run(atMost: limit, every: .milliseconds(10)) { $0.isComplete }
}

/// A line of figures for whoever reads the output of a run.
func tell(_ what: String, _ time: Duration?) {
  print("SIM \(what): \(time.map { "\($0.milliseconds) ms" } ?? "NEVER")")
}

enum StartOrder: CaseIterable { case together, ascending, descending, authorityLast, shuffled }

@Suite struct FormationTests {
  private func forms(_ name: String, _ layout: Layout, enrolled: Bool = true, seed: UInt64 = 1) throws {
    let world = try World(layout, enrolled: enrolled, seed: seed)
    let time = form(world)
    tell(name, time)
    #expect(time != nil)
    #expect(world.unanswered() == [])
    world.checkTables()
    #expect(world.violations == [])
  }

  @Test(arguments: [true, false]) func `two nodes`(enrolled: Bool) throws {
    try forms("two nodes, enrolled \(enrolled)", .line(2), enrolled: enrolled)
  }

  @Test(arguments: StartOrder.allCases, [true, false])
  func `a chain of 17`(order: StartOrder, enrolled: Bool) throws {
    let world = try World(.line(17), enrolled: enrolled, seed: 17)
    var numbers = Array(world.nodes.indices)
    var random = SeededRandom(seed: 5)
    switch order {
    case .together, .ascending: break
    case .descending: numbers.reverse()
    case .authorityLast: numbers.append(numbers.removeFirst())
    case .shuffled: numbers.shuffle(using: &random)
    }
    let time = form(world, order: numbers, gap: order == .together ? .zero : .milliseconds(130))
    tell("chain of 17, \(order), enrolled \(enrolled)", time)
    #expect(time != nil)
    #expect(world.unanswered() == [])
    world.checkTables()
    #expect(world.violations == [])
  }

  @Test func `a ring of 9`() throws { try forms("ring of 9", .ring(9)) }
  @Test(arguments: [true, false]) func `a grid of 5 by 5`(enrolled: Bool) throws {
    try forms("grid 5x5, enrolled \(enrolled)", .grid(5, 5), enrolled: enrolled)
  }
  @Test func `a star of 20`() throws { try forms("star of 20", .star(20)) }
  @Test func `two parallel links`() throws { try forms("two parallel links", .parallel(2)) }
  @Test func `three nodes on a hub`() throws { try forms("hub of 3", .shared(.hub, 3)) }
  @Test func `three fresh nodes on a hub`() throws { try forms("hub of 3, fresh", .shared(.hub, 3), enrolled: false) }

  /// Only the wide discovery, every 10 s, crosses a bridge.
  @Test func `three nodes on a bridge`() throws {
    let world = try World(.shared(.bridge, 3), seed: 3)
    let time = form(world, atMost: .seconds(15))
    tell("bridge of 3", time)
    #expect(time != nil)
    #expect(world.unanswered() == [])
    #expect(world.violations == [])
  }

  @Test func `mixed frame sizes`() throws {
    var layout = Layout(nodeCount: 6)
    for (i, size) in [1500, 1300, 9000, 1400, 1280].enumerated() { layout.cable(i, i + 1, frameSize: size) }
    try forms("mixed frame sizes", layout)
  }
}

@Suite struct ShortageTests {
  /// What finds no buffer is lost, and sent again.
  @Test(arguments: [8, 24]) func `nodes that are short of buffers`(poolSize: Int) throws {
    let world = try World(.star(30), seed: 5)
    world.poolSize = poolSize
    let time = form(world)
    tell("star of 30 with \(poolSize) buffers each", time)
    #expect(time != nil)
    #expect(world.counter(0, "poolEmpty") > 0)
    #expect(world.timeToReach(atMost: .seconds(2)) != nil)
    #expect(world.violations == [])
  }
}

@Suite struct ReproductionTests {
  @Test func `a seed and a layout make the same run`() throws {
    func run(_ seed: UInt64) throws -> TraceDigest {
      let world = try World(.grid(3, 2), seed: seed)
      var quality = LinkQuality()
      quality.loss = 0.05
      quality.jitter = .milliseconds(1)
      quality.corruption = 0.01
      world.setQualityEverywhere(quality)
      _ = form(world, gap: .milliseconds(20))
      _ = world.startFlow(from: 0, to: 5)
      world.run(for: .seconds(2))
      return world.trace
    }
    let first = try run(9)
    #expect(first == (try run(9)))
    #expect(first != (try run(10)))
    #expect(first.events > 1_000)
  }
}
