// What a network costs as it grows: `Lab simulate --events N --cut P --json FILE`. Random links fail and come back one
// at a time, and P per cent of them at once; what the MA's processor does for each, and what flows lose.

import Core
import Foundation
import LabKit
import Simulator

/// Figures by name, in the order they were found.
struct Figures {
  private(set) var lines: [(name: String, value: String)] = []

  mutating func set(_ name: String, _ value: Double) { lines.append((name, String(format: "%.6g", value))) }
  mutating func set(_ name: String, _ value: Int) { lines.append((name, "\(value)")) }
  mutating func set(_ name: String, _ value: String) { lines.append((name, "\"\(value)\"")) }

  /// One document: an object of numbers and strings.
  var json: String { "{\n" + lines.map { "  \"\($0.name)\": \($0.value)" }.joined(separator: ",\n") + "\n}\n" }
}

struct Scale {
  let world: World
  let seed: UInt64
  var figures: Figures
  private(set) var failures: [String] = []
  private var generator: SplitMix64

  init(_ world: World, seed: UInt64, _ figures: Figures) {
    (self.world, self.seed, self.figures) = (world, seed, figures)
    generator = SplitMix64(state: seed &+ 77)
  }

  /// Of the MA's processor time for a link event, and of a flow when a link falls silent, ms.
  private static let medianLimit = 5.0
  private static let worstLimit = 100.0
  private static let gapLimit = 75.0

  // MARK: Single links

  /// Of one kind of event, ms.
  private struct Costs {
    var bestWays: [Double] = []
    var rest: [Double] = []
    var longest: [Double] = []
  }

  /// So many links fail and come back, one after the other, while flows run to nodes all over the network.
  mutating func events(_ count: Int) {
    let targets = spread(16)
    let flows = targets.map { world.startFlow(from: world.authority, to: $0, every: .milliseconds(5), payload: 64) }
    world.run(for: .milliseconds(200))
    var (failing, recovering) = (Costs(), Costs())
    var gaps: [Double] = []
    for _ in 0..<count {
      let medium = Int(generator.next() % UInt64(world.mediumCount))
      let start = world.now
      follow(&failing) { $0.setCut(medium, true) }
      for flow in flows { gaps.append(milliseconds(world.longestGap(flow, from: start, to: world.now))) }
      follow(&recovering) { $0.setCut(medium, false) }
    }
    for flow in flows { world.endFlow(flow) }
    world.run(for: .milliseconds(100))
    print("the MA's processor time for a link event, ms (of \(count) random links; median / 95 % / worst):")
    show("failure", failing)
    show("recovery", recovering)
    let worst = gaps.max() ?? 0
    for costs in [failing, recovering] {
      let (median, most) = (at(0.5, costs.bestWays), at(1, costs.bestWays))
      if median > Self.medianLimit { failures.append("best ways, median: \(text(median)) of \(Self.medianLimit) ms") }
      if most > Self.worstLimit { failures.append("best ways, worst: \(text(most)) of \(Self.worstLimit) ms") }
    }
    // Silent links; a gap is seen from one packet to the next but one.
    if worst > Self.gapLimit + 10 { failures.append("a flow stood still for \(text(worst)) ms") }
    let lost = flows.reduce(0) { $0 + world.traffic.flows[$1].sent - world.traffic.flows[$1].arrivals.count }
    print(
      "  \(flows.count) flows of 200 packets a second from the MA: \(lost) packets lost, longest gap \(text(worst)) ms")
    figures.set("flow_lost", lost)
    figures.set("flow_worst_gap_ms", worst)
  }

  private func follow(_ costs: inout Costs, _ change: (World) -> Void) {
    world.meter = Meter()
    world.metered = world.authority
    change(world)
    // Three hellos, the LSAs of both ends, and all that follows from them.
    world.run(for: .milliseconds(120))
    _ = world.run(atMost: .seconds(5), every: .milliseconds(5)) { $0.isSettled($0.authority) }
    world.metered = -1
    costs.bestWays.append(Double(world.meter.bestWays) / 1e6)
    costs.rest.append(Double(world.meter.rest) / 1e6)
    costs.longest.append(Double(world.meter.longest) / 1e6)
  }

  private mutating func show(_ what: String, _ costs: Costs) {
    for (name, key, values) in [
      ("best ways", "best_ways", costs.bestWays), ("alternates, detours, shares and hellos", "rest", costs.rest),
      ("longest turn", "longest_turn", costs.longest),
    ] {
      let (median, high, worst) = (at(0.5, values), at(0.95, values), at(1, values))
      let title = "\(what), \(name)".padding(toLength: 50, withPad: " ", startingAt: 0)
      print("  \(title) \(text(median)) / \(text(high)) / \(text(worst))")
      figures.set("\(what)_\(key)_median_ms", median)
      figures.set("\(what)_\(key)_worst_ms", worst)
    }
  }

  // MARK: Many links

  /// So many per cent of the links fall silent in the same instant: how long the MA and every component that is still
  /// connected are without each other, either way.
  mutating func cut(percent: Double) {
    let count = Int(Double(world.mediumCount) * percent / 100)
    let interval = Core.Duration.milliseconds(50)
    let nodes = world.nodes.indices.filter { $0 != world.authority }
    var flows: [(node: Int, there: Int, back: Int)] = []
    for node in nodes {
      flows.append(
        (
          node, world.startFlow(from: world.authority, to: node, every: interval, payload: 64),
          world.startFlow(from: node, to: world.authority, every: interval, payload: 64)
        ))
      // Not all in the same instant.
      if node % 20 == 0 { world.run(for: .milliseconds(1)) }
    }
    world.run(for: .milliseconds(200))
    var media = Array(0..<world.mediumCount)
    for i in 0..<count { media.swapAt(i, i + Int(generator.next() % UInt64(media.count - i))) }
    let start = world.now
    world.meter = Meter()
    world.metered = world.authority
    for medium in media[..<count] { world.setCut(medium, true) }
    let connected = Set(world.connected(from: world.authority))
    let processor = processorNanoseconds()
    world.run(for: .seconds(3))
    world.metered = -1
    var (repairs, missing): ([Double], [Int]) = ([], [])
    for flow in flows where connected.contains(flow.node) {
      let times = [flow.there, flow.back].map { backAgain($0, start, interval) }
      if let there = times[0], let back = times[1] {
        repairs.append(max(there, back))
      } else {
        missing.append(flow.node)
      }
    }
    for flow in flows {
      world.endFlow(flow.there)
      world.endFlow(flow.back)
    }
    let worst = at(1, repairs)
    print(
      "\(count) of \(world.mediumCount) links silent at once; \(connected.count - 1) of \(nodes.count) components connected; packets every "
        + "50 ms both ways come again after, ms: median \(text(at(0.5, repairs))), 95 % \(text(at(0.95, repairs))), worst \(text(worst)); not within 3 s: \(missing.count)"
    )
    print(
      "  the MA's processor time in these 3 s: \(text(Double(world.meter.bestWays + world.meter.rest) / 1e6)) ms; the simulator's "
        + "\(text(Double(processorNanoseconds() - processor) / 1e9)) s")
    figures.set("cut_links", count)
    figures.set("cut_repair_median_ms", at(0.5, repairs))
    figures.set("cut_repair_worst_ms", worst)
    figures.set("cut_missing", missing.count)
    figures.set("cut_authority_cpu_ms", Double(world.meter.bestWays + world.meter.rest) / 1e6)
    if !missing.isEmpty { failures.append("\(missing.count) components were not repaired: \(missing.prefix(10))") }
    if worst > 1_000 { failures.append("a component was repaired after \(text(worst)) ms, the limit is 1000") }
    for medium in media[..<count] { world.setCut(medium, false) }
  }

  /// The time from `start` to the end of a flow's last gap; nil when it does not run at the end.
  private func backAgain(_ flow: Int, _ start: Instant, _ interval: Core.Duration) -> Double? {
    var last = start
    var back = 0.0
    for arrival in world.traffic.flows[flow].arrivals where arrival > start {
      if arrival - last > interval * 2 { back = milliseconds(arrival - start) }
      last = arrival
    }
    return world.now - last > interval * 3 ? nil : back
  }

  // MARK: State

  /// What the nodes' processes hold: by ending them.
  mutating func state() {
    print("state of a process, bytes (what the allocator gets back when it ends):")
    let components = spread(16)
    var before = allocatedBytes()
    for node in components { world.crash(node) }
    let component = (before - allocatedBytes()) / max(1, components.count)
    before = allocatedBytes()
    world.crash(world.authority)
    let authority = before - allocatedBytes()
    print("  a component \(component), the MA \(authority)")
    figures.set("component_bytes", component)
    figures.set("authority_bytes", authority)
  }

  private func spread(_ count: Int) -> [Int] {
    let others = world.nodes.indices.filter { $0 != world.authority }
    return (0..<min(count, others.count)).map { others[($0 + 1) * others.count / (count + 1) % others.count] }
  }

  private func at(_ part: Double, _ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]
  }

  private func text(_ value: Double) -> String { String(format: "%.2f", value) }
  private func milliseconds(_ time: Core.Duration) -> Double { Double(time.microseconds) / 1e3 }
}
