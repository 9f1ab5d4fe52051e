// `lab storm`: a member's port is flooded with random, mutated, crafted and forged frames; the node must neither fall nor
// grow, traffic over its other ports must go on, and an honest box must get in on the very segment afterwards. How long one
// takes while the flood goes on is shown; docs/SECURITY.md says what can be promised of it.

import Foundation
import LabKit

func storm(_ options: Options) throws -> Int32 {
  let frames = Int(try options.number("frames", default: 1_000_000))
  let seed = UInt64(try options.number("seed", default: 1))
  let rounds = max(1, Int(try options.number("rounds", default: 4)))
  let laboratory = try Laboratory(.stormStar, binary: options.binary, options: .storm)
  defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
  try laboratory.provisionAll()
  var trial = try Trial(laboratory)
  try trial.start(.ascending)
  guard let address = trial.addresses[laboratory.nodes[2].name]?.first else {
    throw LabError.expectation("the bystander has no address")
  }
  let storm = try StormTrial(laboratory, seed: seed)
  try storm.watched(address) { try storm.storm(frames, rounds: rounds) }
  show(storm.figures, seed)
  try storm.admissionAfter()
  try storm.admissionsDuring()
  let figures = storm.figures
  func text(_ seconds: Double?) -> String { seconds.map { String(format: "%.2f s", $0) } ?? "NOT within 15 s" }
  print("an honest box on the segment has its session and its way: after the storm in \(text(figures.admittedAfter));")
  print(
    String(
      format: "  while %.0f frames a second go on, in %@ with a certificate the node knows, in %@ with an unknown one",
      figures.rateDuring, text(figures.admittedDuring), text(figures.admittedUnknown)))
  let isWhole = figures.insideCount >= frames / 2 - rounds && figures.outside.sent >= frames / 2 - rounds
  // One ping is on its way when ping is ended.
  let isUnharmed = figures.pingsSent > 0 && figures.pingsLost <= 1 && figures.stream.lost == 0
  let isFlat = figures.lateGrowth.node < 128 && figures.lateGrowth.authority < 128
  let admitted = figures.admittedAfter ?? 99 < 10
  if !isWhole { print("FAILED: not all frames were sent") }
  if !isUnharmed { print("FAILED: traffic on the other ports was harmed") }
  if !isFlat { print("FAILED: memory grew") }
  if !admitted { print("FAILED: after the storm an honest box was not authenticated within 10 s") }
  return isWhole && isUnharmed && isFlat && admitted ? 0 : 1
}

private func show(_ figures: StormFigures, _ seed: UInt64) {
  let outside = figures.outside
  print(
    String(
      format: "outside: %d random, %d mutated, %d crafted frames in %.1f s (%d refused by the kernel), seed %d",
      outside.random, outside.mutated, outside.crafted, figures.outsideSeconds, outside.refusedByKernel, seed))
  table("  the node counted meanwhile", figures.nodeOutside, of: outside.sent)
  let withSession = figures.inside.reduce(0) { $0 + $1.withSession }
  print(
    String(
      format:
        "insider: %d frames in %.1f s, %.1f %% of them with a session and a way back; it joined %d times, in %@ s",
      figures.insideCount, figures.insideSeconds, 100 * Double(withSession) / Double(max(1, figures.insideCount)),
      figures.inside.count, figures.inside.map { String(format: "%.2f", $0.joinSeconds) }.joined(separator: ", ")))
  var kinds: [String: Int] = [:]
  var said: [String: Int] = [:]
  for account in figures.inside {
    kinds.merge(account.kinds, uniquingKeysWith: +)
    said.merge(account.said, uniquingKeysWith: +)
  }
  table("  what it forged", kinds, of: figures.insideCount)
  table("  what it reported itself", said, of: nil)
  table("  the node counted meanwhile", figures.nodeInside, of: figures.insideCount)
  table("  the authority counted meanwhile", figures.authorityInside, of: figures.insideCount)
  print("resident memory, KiB (frames so far: node, authority):")
  let step = max(1, figures.memory.count / 24)
  for (number, sample) in figures.memory.enumerated() where number % step == 0 || number == figures.memory.count - 1 {
    print(
      String(
        format: "  %8d frames %6.1f s: %6d %6d", sample.frames, sample.seconds, sample.nodeKiB, sample.authorityKiB))
  }
  print(
    "grown from before the first frame to the end: node \(figures.growth.node) KiB, authority \(figures.growth.authority)"
      + " KiB; from a quarter of the frames on: \(figures.lateGrowth.node) KiB, \(figures.lateGrowth.authority) KiB")
  print(
    String(
      format: "over its other ports: %d of %d pings lost (100/s); 1 kHz stream: %d of %d lost, longest gap %.0f ms",
      figures.pingsLost, figures.pingsSent, figures.stream.lost, figures.stream.sent, figures.stream.longestGap))
}

/// Most first; what is nothing is left out.
private func table(_ title: String, _ counts: [String: Int], of whole: Int?) {
  print("\(title):")
  for (name, count) in counts.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) where count > 0 {
    let share = whole.map { String(format: "%6.2f %%", 100 * Double(count) / Double(max(1, $0))) } ?? ""
    print(String(format: "    %9d %@  ", count, share) + name)
  }
}
