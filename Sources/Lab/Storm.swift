// `lab storm`: a member's port is flooded with random and mutated frames; the node must neither fall nor grow, and
// traffic over its other ports must go on.

import Foundation
import LabKit

func storm(_ options: Options) throws -> Int32 {
  let frames = Int(try options.number("frames", default: 1_000_000))
  let seed = UInt64(try options.number("seed", default: 1))
  // The authority, the node under attack (1), a bystander behind it (2), and the link the storm comes from (3).
  let star = Topology(
    name: "star", nodeCount: 4, links: [Topology.Link(0, 1), Topology.Link(1, 2), Topology.Link(1, 3)])
  let laboratory = try Laboratory(star, binary: options.binary)
  defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
  try laboratory.provisionAll()
  var trial = try Trial(laboratory)
  try trial.start(.ascending)
  let (target, bystander, attacker) = (laboratory.nodes[1], laboratory.nodes[2], laboratory.nodes[3])
  guard let address = trial.addresses[bystander.name]?.first else { throw LabError.expectation("no address") }

  let capture = try Capture("eth0", in: attacker.namespace)
  try pause(3)
  let samples = capture.finish()
  guard let before = target.figures else { throw LabError.expectation("\(target.name) does not run") }
  let quiet = try measureLoss(laboratory, address, bystander) { try pause(3) }
  var sent = FrameStorm.Count()
  let begun = now()
  var took = 0.0
  let busy = try measureLoss(laboratory, address, bystander) {
    var attack = try FrameStorm(from: "eth0", in: attacker.namespace, samples: samples, seed: seed)
    sent = try attack.send(frames)
    took = now() - begun
  }
  guard let after = target.figures, target.isRunning else {
    throw LabError.expectation("\(target.name) is gone after \(sent): seed \(seed)\n\(target.logTail())")
  }
  let growth = after.residentKiB - before.residentKiB
  print(
    String(
      format: "%d random and %d mutated frames in %.1f s (seed %d): %@ runs on; resident %d KiB, grew by %d KiB",
      sent.random,
      sent.mutated, took, seed, target.name, after.residentKiB, growth))
  print(
    String(
      format: "1 kHz stream over its other ports: %d of %d lost, longest gap %.0f ms (quiet: %d lost, %.0f ms)",
      busy.lost,
      busy.sent, busy.longestGap, quiet.lost, quiet.longestGap))
  return growth < 1024 && busy.endedAlive && Double(busy.lost) < 0.01 * Double(busy.sent) ? 0 : 1
}

private func measureLoss(
  _ laboratory: Laboratory, _ address: IPAddress, _ node: LabNode, _ body: () throws -> Void
) throws -> GapResult {
  let stream = try GapStream(from: laboratory.authority.namespace, to: address, in: node.namespace)
  do { try body() } catch {
    _ = stream.finish()
    throw error
  }
  return stream.finish()
}
