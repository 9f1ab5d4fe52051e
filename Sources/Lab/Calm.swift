// `lab calm`: no link goes down that is not down. And `lab hellos`: what they cost a component with many ports.

import Foundation
import LabKit

func calm(_ options: Options) throws -> Int32 {
  let minutes = try options.number("minutes", default: 60)
  let seed = UInt64(try options.number("seed", default: 1))
  let laboratory = try Laboratory(try options.topology(default: .ring(6)), binary: options.binary)
  defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
  try laboratory.provisionAll()
  var trial = try Trial(laboratory)
  try trial.start(.ascending)
  try pause(1)
  let figures = try CalmTrial(laboratory, seed: seed).run(
    seconds: minutes * 60, load: true, stops: options.flag("stops"))
  print(
    String(
      format: "%@, every core busy for %.1f minutes, %d stops of 35 ms (longest %.1f ms), seed %d: "
        + "%d links called down, %d late turns", laboratory.topology.name, minutes, figures.stops,
      figures.longestStop, seed, figures.linksDown, figures.lateTurns))
  if let longest = figures.standstills.max(by: { $0.milliseconds < $1.milliseconds }) {
    print(
      String(
        format: "  a core of this machine did not run for 20 ms or longer %d times, the longest %.1f ms",
        figures.standstills.count, longest.milliseconds))
    for stood in figures.longStandstills {
      print(
        "  core \(stood.core) stood still for \(Int(stood.milliseconds)) ms from \(stood.begun.formatted(.iso8601))")
    }
  }
  let atStandstills = figures.linesAtStandstills.count
  if atStandstills > 0 { print("  \(atStandstills) of these lines came while a core stood still:") }
  for line in figures.lines.prefix(20) { print("  \(line)") }
  if !figures.isConclusive { print("  a stop lasted as long as a link may be silent: this says nothing of the links") }
  return figures.isCalm && figures.isConclusive ? 0 : 1
}

func hellos(_ options: Options) throws -> Int32 {
  let seconds = try options.number("seconds", default: 30)
  let counts = options.all("ports").compactMap { Int($0) }
  var missed = 0
  for ports in counts.isEmpty ? [8, 16, 48] : counts {
    let laboratory = try Laboratory(try Topology(parsing: "star:\(ports)"), binary: options.binary)
    defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
    try laboratory.provisionAll()
    var trial = try Trial(laboratory)
    try trial.start(.ascending, limit: 30)
    try pause(min(5, seconds))
    let cost = try laboratory.helloCost(of: 1, seconds: seconds)
    if !cost.isMet { missed += 1 }
    print(
      String(
        format: "%@ %d ports, %d links up, hellos every %d to %d ms: %.2f %% of a core in %.0f s, %.2f %% for 8 ports "
          + "(limit 1); a bare exchange of the frames %.2f %%, ratio %.2f; %d KiB resident",
        cost.isMet ? "ok    " : "MISSED", ports, cost.intervals.count, cost.intervals.min() ?? 0,
        cost.intervals.max() ?? 0, cost.share, seconds, cost.share / cost.limit, cost.floor, cost.share / cost.floor,
        cost.residentKiB))
  }
  return missed == 0 ? 0 : 1
}
