// Whole networks in virtual time, in this process: `Lab simulate`. Needs no root and no binary: the nodes are the same
// code, driven by the simulator of Tests/Simulator.

import Core
import Foundation
import LabKit
import Simulator

func simulate(_ options: Options) throws -> Int32 {
  do {
    if options.value("schedules") != nil { return try Schedules(options).run() }
    return try Simulation(options).run()
  } catch let error as TopologyError {
    throw LabError.usage(error.description)
  }
}

/// A figure that must be a whole number.
func whole(_ options: Options, _ name: String, default normal: Int) throws -> Int {
  let number = try options.number(name, default: Double(normal))
  guard number == number.rounded(), number < 1e15 else { throw LabError.usage("--\(name): not a whole number") }
  return Int(number)
}

func faultLoad(_ options: Options, default normal: FaultLoad) throws -> FaultLoad {
  guard let text = options.value("faults") else { return normal }
  guard let load = FaultLoad(rawValue: text) else { throw LabError.usage("--faults \(text): none, light or heavy") }
  return load
}

func authorityCount(_ options: Options, nodes: Int) throws -> Int {
  let count = try whole(options, "authorities", default: 1)
  guard (1...min(16, nodes - 1)).contains(count) else {
    throw LabError.usage("--authorities: 1 to 16, fewer than nodes")
  }
  return count
}

/// What this thread has used, in seconds: on a machine that others use too, the clock on the wall says little.
private func processorTime() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// The most memory this process has had.
private func residentPeak() -> Int {
  var usage = rusage()
  getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  return usage.ru_maxrss * 1_024
}

/// One run of one network.
private struct Simulation {
  let layout: Layout
  let name: String
  let authorities: Int
  let seed: UInt64
  let load: FaultLoad
  let seconds: Double
  let isTalkative: Bool
  let limit: Core.Duration
  /// Single links that fail and come back, and how many of a hundred fail at once.
  let events: Int
  let cut: Double
  let document: String?
  let isUnprotected: Bool
  /// A figure that misses its limit fails the run.
  let isJudged: Bool

  init(_ options: Options) throws {
    seed = UInt64(try whole(options, "seed", default: 1))
    var name = options.value("topology")
    if name == nil, options.value("nodes") != nil {
      let nodes = try whole(options, "nodes", default: 100)
      name = "random:\(nodes),\(nodes * 2)"
    }
    self.name = name ?? "grid:10x10"
    layout = try Layout(parsing: self.name, seed: seed)
    if let nodes = options.value("nodes"), Int(nodes) != layout.nodeCount {
      throw LabError.usage("--nodes \(nodes): \(self.name) has \(layout.nodeCount)")
    }
    authorities = try authorityCount(options, nodes: layout.nodeCount)
    load = try faultLoad(options, default: .none)
    seconds = try options.number("seconds", default: 60)
    isTalkative = options.flag("talk")
    limit = .milliseconds(Int64(try options.number("patience", default: 60) * 1_000))
    events = try whole(options, "events", default: 0)
    cut = try options.number("cut", default: 0)
    guard (0...100).contains(cut) else { throw LabError.usage("--cut: per cent of the links") }
    document = options.value("json")
    isUnprotected = options.flag("unprotected")
    isJudged = options.flag("check")
  }

  func run() throws -> Int32 {
    let links = layout.segments.count
    print("\(name), seed \(seed): \(layout.nodeCount) nodes, \(authorities) of them MAs, \(links) links")
    let empty = allocatedBytes()
    let world =
      authorities == 1
      ? try World(layout, seed: seed)
      : try World(layout, authorities: layout.places(authorities: authorities), seed: seed)
    if isUnprotected { try world.set("protected-rate=0") }
    let pool = world.poolBytes
    let provisioned = allocatedBytes()
    world.isTalkative = isTalkative
    world.startAll()
    let started = allocatedBytes()

    var processor = processorTime()
    let formed = world.run(atMost: limit, every: .milliseconds(10)) { $0.isComplete }
    let formation = processorTime() - processor
    guard let formed else {
      print("NOT all authenticated after \(limit.milliseconds / 1_000) s: \(world.missing) are missing")
      return conclude(world, ["not all were authenticated"])
    }
    print(
      String(
        format: "all authenticated after %.2f s of virtual time (%.1f s of processor time)",
        Double(formed.microseconds) / 1e6, formation))
    let built = allocatedBytes()
    var figures = Figures()
    figures.set("network", name)
    figures.set("nodes", layout.nodeCount)
    figures.set("links", links)
    figures.set("authenticated_s", Double(formed.microseconds) / 1e6)
    figures.set("formation_processor_s", formation)

    // At rest, when what follows the formation is over.
    world.run(for: .seconds(2))
    let calm = world.run(atMost: .seconds(60), every: .milliseconds(100)) { world in
      world.authorities.allSatisfy { world.isSettled($0) }
    }
    if calm == nil { return conclude(world, ["the MA goes on laying routes"]) }
    world.run(for: .seconds(1))
    var frames = world.framesSent
    processor = processorTime()
    let rest = min(seconds, max(1, 20_000 / Double(layout.nodeCount)))
    world.run(for: .milliseconds(Int64(rest * 1_000)))
    processor = processorTime() - processor
    frames = world.framesSent - frames
    print(
      String(
        format: "at rest: %.0f times real time, %.0f ns of processor time a frame, %.1f frames a link and second",
        rest / processor, processor * 1e9 / Double(max(1, frames)),
        Double(frames) / Double(max(1, layout.segments.count)) / rest))
    figures.set("times_real_time", rest / processor)
    figures.set("frames_a_link_and_second", Double(frames) / Double(max(1, layout.segments.count)) / rest)
    printState(world, empty + pool, provisioned, started, built)
    var failures: [String] = []
    if events > 0 || cut > 0 || document != nil {
      var scale = Scale(world, seed: seed, figures)
      if events > 0 { scale.events(events) }
      if cut > 0 { scale.cut(percent: cut) }
      for failure in scale.failures { print("MISSED \(failure)") }
      if isJudged { failures = scale.failures }
      if load == .none { scale.state() }
      scale.figures.set("resident_bytes_at_most", residentPeak())
      if let document { try scale.figures.json.write(toFile: document, atomically: true, encoding: .utf8) }
    }

    if load != .none {
      processor = processorTime()
      world.rules.authentication = .seconds(15)
      world.disturb(load, seed: seed, for: .milliseconds(Int64(seconds * 1_000)))
      world.run(for: .milliseconds(Int64(seconds * 1_000)))
      world.heal()
      let healed = world.run(atMost: .seconds(30), every: .milliseconds(10)) { $0.isComplete }
      processor = processorTime() - processor
      print(
        String(
          format: "%d faults (%@) in %.0f s of virtual time, %.1f s of processor time; all authenticated again %@",
          world.faultCount, load.rawValue, seconds, processor,
          healed.map { String(format: "%.2f s after the last", Double($0.microseconds) / 1e6) } ?? "NEVER"))
      if healed == nil { return conclude(world, ["\(world.missing) did not come back"]) }
    }
    world.checkTables()
    return conclude(world, failures)
  }

  private func conclude(_ world: World, _ failures: [String]) -> Int32 {
    print("events \(world.trace.events), digest \(String(world.trace.value, radix: 16))")
    let violations = world.violations + failures
    for violation in violations { print("VIOLATION \(violation)") }
    if violations.isEmpty { print("no oracle violated") }
    return violations.isEmpty ? 0 : 1
  }

  private func printState(_ world: World, _ empty: Int, _ provisioned: Int, _ started: Int, _ built: Int) {
    let now = allocatedBytes()
    let count = layout.nodeCount
    func line(_ what: String, _ bytes: Int) {
      print("  \(what.padding(toLength: 44, withPad: " ", startingAt: 0)) \(bytes / count) bytes a node")
    }
    print("state (what the allocator has given out; the MA's is in it):")
    line("stores and world, before the start", provisioned - empty)
    line("a node just started", started - provisioned)
    line("grown until all were authenticated", built - started)
    line("grown since, at rest", now - built)
    print("  frames under way: \(world.underWay.bytes) bytes in all; buffers, once for all nodes: \(world.poolBytes)")
    print("  stores: \(world.storeBytes) bytes, the MA's \(world.nodes[world.authority].store.count)")
  }
}
