// What a link event costs an authority: the graph of a grid or a random network, random failures, recoveries and changes
// of cost, and how long the best paths, the alternates and the detours take to follow; then how that grows.

import Core
import Foundation
import LabKit
import Topology

struct PathsBench {
  private let options: Options
  private let seed: UInt64

  init(_ options: Options) throws {
    self.options = options
    seed = UInt64(try options.number("seed", default: 1))
  }

  /// The judged figures, in milliseconds.
  private static let medianLimit = 5.0
  private static let worstLimit = 100.0

  func run() throws -> Int32 {
    let events = Int(try options.number("events", default: 200))
    let world = try chosenWorld()
    print("\(world.title), \(events) events, seed \(seed)")
    let figures = try measure(world, events: events)
    figures.show()
    var failed = false
    func judge(_ what: String, _ value: Double, _ limit: Double) {
      print("\(value <= limit ? "held  " : "FAILED") \(what): \(milliseconds(value)) of \(milliseconds(limit)) ms")
      if value > limit { failed = true }
    }
    judge("best paths, median", figures.primaries.median, Self.medianLimit)
    judge("best paths, worst", figures.primaries.worst, Self.worstLimit)
    if !options.flag("check") { try growth(events: events) }
    return failed ? 1 : 0
  }

  private func chosenWorld() throws -> PathsWorld {
    var generator = SplitMix(state: seed)
    let costs = Int(try options.number("costs", default: 0))
    if let text = options.value("random") {
      let numbers = text.split(separator: ",").compactMap { Int($0) }
      guard numbers.count == 2, numbers[0] > 1, numbers[1] >= numbers[0] - 1 else {
        throw LabError.usage("--random N,L: nodes and links, at least N - 1 of these")
      }
      return .random(numbers[0], numbers[1], costs, &generator)
    }
    let sides = (options.value("grid") ?? "32x32").split(separator: "x").compactMap { Int($0) }
    guard sides.count == 2, sides[0] > 1, sides[1] > 1 else { throw LabError.usage("--grid WxH") }
    let root = options.value("root") ?? "corner"
    guard root == "corner" || root == "centre" else { throw LabError.usage("--root corner or centre") }
    return .grid(sides[0], sides[1], fromCentre: root == "centre", costs, &generator)
  }

  private func growth(events: Int) throws {
    print("\ngrowth, grids with the root at the centre; times in ms, median / worst")
    print("nodes   links   best paths          alternates          detours             components  MiB")
    for (width, height) in [(10, 10), (20, 15), (40, 25), (60, 50), (100, 100)] {
      var generator = SplitMix(state: seed)
      let world = PathsWorld.grid(width, height, fromCentre: true, 0, &generator)
      let figures = try measure(world, events: max(20, min(events, 100_000 / (width * height))))
      func pair(_ times: Times) -> String {
        pad("\(milliseconds(times.median)) / \(milliseconds(times.worst))", 20)
      }
      print(
        pad("\(world.ends.count)", 8) + pad("\(world.links.count)", 8) + pair(figures.primaries)
          + pair(figures.alternates) + pair(figures.detours)
          + pad("\(Int(figures.changed.median))", 12) + (figures.mebibytes < 1 ? "-" : "\(Int(figures.mebibytes))"))
    }
  }

  private func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }

  // MARK: measuring

  private func measure(_ start: PathsWorld, events: Int) throws -> PathsFigures {
    var (world, figures) = (start, PathsFigures())
    var generator = SplitMix(state: seed &+ 1)
    let before = residentMebibytes()
    var graph = TopologyGraph(root: world.identity(world.root), nodeLimit: world.ends.count)
    for node in world.ends.indices { world.install(node, in: &graph) }
    figures.coldPrimaries = time { _ = graph.recompute() }
    figures.coldAlternates = time { finishAlternates(&graph) }
    figures.coldDetours = time { finishDetours(&graph) }
    for _ in 0..<events {
      let (a, b) = world.change(&generator)
      var changed = 0
      figures.primaries.add(
        time {
          world.install(a, in: &graph)
          world.install(b, in: &graph)
          changed = graph.recompute().count
        })
      figures.changed.add(Double(changed))
      figures.alternates.add(time { finishAlternates(&graph) })
      figures.detours.add(time { finishDetours(&graph) })
    }
    figures.mebibytes = residentMebibytes() - before
    return figures
  }

  /// Arcs to look at in one step; a step then takes well under a millisecond.
  private static let budget = 20_000

  private func finishAlternates(_ graph: inout TopologyGraph) {
    while graph.hasPendingAlternates { _ = graph.nextAlternates(budget: Self.budget) }
  }

  private func finishDetours(_ graph: inout TopologyGraph) {
    while graph.hasPendingDetours { _ = graph.nextDetours(budget: Self.budget) }
  }

  /// Processor time of `body`, ms: others may use the machine.
  private func time(_ body: () -> Void) -> Double {
    let start = Self.processorTime()
    body()
    return Self.processorTime() - start
  }

  private static func processorTime() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return Double(now.tv_sec) * 1e3 + Double(now.tv_nsec) / 1e6
  }

  private func residentMebibytes() -> Double {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let words = text.split(separator: " ")
    return words.count > 1 ? (Double(words[1]) ?? 0) * Double(sysconf(Int32(_SC_PAGESIZE))) / 1_048_576 : 0
  }
}

private func milliseconds(_ value: Double) -> String { String(format: "%.3f", value) }

private struct Times {
  private(set) var values: [Double] = []
  mutating func add(_ value: Double) { values.append(value) }
  func quantile(_ q: Double) -> Double {
    values.isEmpty ? 0 : values.sorted()[min(values.count - 1, Int(Double(values.count) * q))]
  }
  var median: Double { quantile(0.5) }
  var worst: Double { values.max() ?? 0 }
  var summary: String {
    "median \(milliseconds(median)), 99 % \(milliseconds(quantile(0.99))), worst \(milliseconds(worst)) ms"
  }
}

private struct PathsFigures {
  var coldPrimaries = 0.0
  var coldAlternates = 0.0
  var coldDetours = 0.0
  var primaries = Times()
  var alternates = Times()
  var detours = Times()
  var changed = Times()
  var mebibytes = 0.0

  func show() {
    print(
      "  from nothing: best paths \(milliseconds(coldPrimaries)), alternates \(milliseconds(coldAlternates)), ",
      terminator: "")
    print("detours \(milliseconds(coldDetours)) ms")
    print("  an event: best paths, both LSAs taken in: \(primaries.summary)")
    print("            then all alternates: \(alternates.summary)")
    print("            then all detours: \(detours.summary)")
    print("            components with another best path: median \(Int(changed.median)), most \(Int(changed.worst))")
    print("  memory: \(String(format: "%.1f", mebibytes)) MiB")
  }
}

/// SplitMix64: the same numbers for the same seed everywhere.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// Nodes and links by number; what each node reports follows from these.
private struct PathsWorld {
  struct Link {
    var a: Int
    var b: Int
    var atA: UInt16
    var atB: UInt16
    var cost: UInt16
    var isUp = true
  }
  var title: String
  var root: Int
  var links: [Link] = []
  /// By node: its links.
  var ends: [[Int]]
  private var versions: [UInt32]
  private var down: [Int] = []

  private init(_ title: String, nodes: Int, root: Int) {
    self.title = title
    self.root = root
    ends = Array(repeating: [], count: nodes)
    versions = Array(repeating: 0, count: nodes)
  }

  private mutating func join(_ a: Int, _ b: Int, _ costs: Int, _ generator: inout SplitMix) {
    let cost = costs == 0 ? 10 : UInt16(1 + generator.below(costs))
    let link = Link(a: a, b: b, atA: UInt16(ends[a].count + 1), atB: UInt16(ends[b].count + 1), cost: cost)
    ends[a].append(links.count)
    ends[b].append(links.count)
    links.append(link)
  }

  static func grid(
    _ width: Int, _ height: Int, fromCentre: Bool, _ costs: Int, _ generator: inout SplitMix
  ) -> PathsWorld {
    let root = fromCentre ? height / 2 * width + width / 2 : 0
    var world = PathsWorld(
      "grid \(width) x \(height), root at the \(fromCentre ? "centre" : "corner")", nodes: width * height, root: root)
    for y in 0..<height {
      for x in 0..<width {
        if x + 1 < width { world.join(y * width + x, y * width + x + 1, costs, &generator) }
        if y + 1 < height { world.join(y * width + x, (y + 1) * width + x, costs, &generator) }
      }
    }
    return world
  }

  static func random(_ nodes: Int, _ count: Int, _ costs: Int, _ generator: inout SplitMix) -> PathsWorld {
    var world = PathsWorld("random, \(nodes) nodes, \(count) links", nodes: nodes, root: 0)
    for b in 1..<nodes { world.join(generator.below(b), b, costs, &generator) }
    while world.links.count < count {
      let (a, b) = (generator.below(nodes), generator.below(nodes))
      if a != b { world.join(a, b, costs, &generator) }
    }
    return world
  }

  /// An ID whose order is not that of the numbers.
  func identity(_ node: Int) -> ComponentID {
    var generator = SplitMix(state: UInt64(node))
    var bytes = Bytes16()
    bytes.withMutableBytes { p in for i in 0..<16 { p[i] = UInt8(truncatingIfNeeded: generator.next()) } }
    return ComponentID(bytes)
  }

  mutating func install(_ node: Int, in graph: inout TopologyGraph) {
    var adjacencies: [LinkStateAdvertisement.Adjacency] = []
    for index in ends[node] where links[index].isUp {
      let link = links[index]
      let isA = link.a == node
      adjacencies.append(
        LinkStateAdvertisement.Adjacency(
          number: isA ? link.atA : link.atB, neighbour: identity(isA ? link.b : link.a),
          neighbourNumber: isA ? link.atB : link.atA, frameSize: 1500, cost: link.cost))
    }
    versions[node] += 1
    if node == root {
      graph.installRoot(adjacencies: adjacencies)
    } else {
      let lsa = LinkStateAdvertisement(boot: 1, version: versions[node], adjacencies: adjacencies)
      _ = graph.install(lsa, from: identity(node), at: .zero)
    }
  }

  /// A link fails, or one that failed comes back, or one changes its cost; both its ends. Up to 20 are down at a time.
  mutating func change(_ generator: inout SplitMix) -> (Int, Int) {
    let index: Int
    switch generator.below(5) {
    case 0:
      index = generator.below(links.count)
      links[index].cost = links[index].cost == 15 ? 10 : 15
    case 1 where !down.isEmpty, 2 where !down.isEmpty, 3 where down.count >= 20:
      index = down.remove(at: generator.below(down.count))
      links[index].isUp = true
    default:
      index = generator.below(links.count)
      if links[index].isUp {
        links[index].isUp = false
        down.append(index)
      }
    }
    return (links[index].a, links[index].b)
  }
}
