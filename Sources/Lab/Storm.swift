// `lab storm`: a member's port is flooded with random, mutated and forged frames; the node must neither fall nor grow,
// and traffic over its other ports must go on.

import Foundation
import LabKit

func storm(_ options: Options) throws -> Int32 {
  let frames = Int(try options.number("frames", default: 1_000_000))
  let seed = UInt64(try options.number("seed", default: 1))
  let laboratory = try Laboratory(.stormStar, binary: options.binary)
  defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
  try laboratory.provisionAll()
  var trial = try Trial(laboratory)
  try trial.start(.ascending)
  let figures = try trial.storm(frames, seed: seed)
  print(
    String(
      format: "outside: %d random and %d mutated frames in %.1f s (%d refused by the kernel), seed %d",
      figures.outside.random, figures.outside.mutated, figures.outsideSeconds, figures.outside.refusedByKernel, seed))
  print("insider: \(figures.insideCount) frames; last run: \(figures.inside)")
  print(
    String(
      format: "the node runs on: resident %d KiB, grew by %d KiB; the authority: %d KiB, grew by %d KiB",
      figures.residentKiB + figures.growthKiB, figures.growthKiB, figures.authorityKiB + figures.authorityGrowthKiB,
      figures.authorityGrowthKiB))
  print(
    String(
      format: "over its other ports: %d of %d pings lost (100/s); 1 kHz stream: %d of %d lost, longest gap %.0f ms",
      figures.pingsLost, figures.pingsSent, figures.stream.lost, figures.stream.sent, figures.stream.longestGap))
  let isWhole = figures.insideCount >= frames / 2 - 40
  let isUnharmed = figures.pingsSent > 0 && figures.pingsLost == 0 && figures.stream.endedAlive
  return isWhole && isUnharmed && figures.growthKiB < 256 && figures.authorityGrowthKiB < 1024 ? 0 : 1
}
