// `lab soak`: traffic and restarts for minutes; what stays up must not grow. And `lab idle`: what a node costs that has
// nothing to do.

import Foundation
import LabKit

func soak(_ options: Options) throws -> Int32 {
  let minutes = try options.number("minutes", default: 10)
  var generator = SplitMix64(state: UInt64(try options.number("seed", default: 1)))
  let topology = try options.topology(default: .grid(5, 5))
  let laboratory = try Laboratory(topology, binary: options.binary)
  defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
  try laboratory.provisionAll()
  var trial = try Trial(laboratory)
  try trial.start(.shuffle(seed: generator.next()), limit: 20)
  print(
    String(
      format: "%@ up after %.1f s; %.0f minutes of traffic and restarts", topology.name, trial.figures.allReachable,
      minutes))

  // The last node is never restarted and carries a stream; its neighbours and the authority come and go.
  let steady = laboratory.nodes[topology.nodeCount - 1]
  guard let address = trial.addresses[steady.name]?.last else { throw LabError.expectation("no address") }
  let begun = now()
  let end = begun + minutes * 60
  var baseline: [String: Int] = [:]
  var largest: [String: Int] = [:]
  var restarts = 0
  var slowest = 0.0
  var received = 0
  while now() < end {
    let stream = try GapStream(from: laboratory.authority.namespace, to: address, in: steady.namespace)
    try pause(min(5, max(0, end - now())))
    received += stream.finish().received
    let victim = Int.random(in: 0..<(topology.nodeCount - 1), using: &generator)
    if victim == 0 {
      try trial.restartAuthority(limit: 10)
      slowest = max(slowest, trial.figures.authorityRestart ?? 0)
    } else {
      try trial.restartComponent(laboratory.nodes[victim], limit: 10)
      slowest = max(slowest, trial.figures.componentRestart ?? 0)
    }
    restarts += 1
    baseline[laboratory.nodes[victim].name] = nil
    for node in laboratory.components {
      guard let figures = node.figures else { throw LabError.expectation("\(node.name) died: \(node.logTail())") }
      // A node's own start-up is not growth: its first minute is left out.
      guard now() - node.startedAt > min(60, minutes * 20) else { continue }
      if baseline[node.name] == nil { baseline[node.name] = figures.residentKiB }
      largest[node.name] = max(largest[node.name] ?? 0, figures.residentKiB)
    }
  }
  let growth = (largest[steady.name] ?? 0) - (baseline[steady.name] ?? 0)
  let most = largest.values.max() ?? 0
  print(
    String(
      format:
        "%d restarts, the slowest back in %.2f s; %d datagrams; largest cm %d KiB; %@, never restarted, grew by %d KiB",
      restarts, slowest, received, most, steady.name, growth))
  return growth <= 256 && most <= 8192 ? 0 : 1
}

/// The processor time of a component with four ports and nothing to carry.
func idle(_ options: Options) throws -> Int32 {
  let seconds = try options.number("seconds", default: 60)
  let laboratory = try Laboratory(.grid(3, 3), binary: options.binary)
  defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
  try laboratory.provisionAll()
  var trial = try Trial(laboratory)
  try trial.start(.ascending)
  try pause(min(5, seconds))
  // The middle of the grid has four ports.
  let node = laboratory.nodes[4]
  let before = node.figures?.processorSeconds ?? .nan
  try pause(seconds)
  let share = ((node.figures?.processorSeconds ?? .nan) - before) / seconds * 100
  print(
    String(
      format: "%@, 4 ports, idle for %.0f s: %.2f %% of a core, %d KiB resident", node.name, seconds, share,
      node.figures?.residentKiB ?? 0))
  return share < 1 ? 0 : 1
}
