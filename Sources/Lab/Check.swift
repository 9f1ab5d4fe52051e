// `lab check`: the figures of starting and restarting a network.

import Foundation
import LabKit

func check(_ options: Options) throws -> Int32 {
  guard let text = options.words.first else { throw LabError.usage("check needs a topology") }
  let topology = try Topology(parsing: text)
  let names = options.all("order")
  let orders = names.isEmpty ? ["ascending", "descending", "ma-last", "shuffle:1", "shuffle:2"] : names
  let interval = try options.number("interval", default: 0)
  let limit = try options.number("limit", default: 10)
  var failures = 0
  for name in orders {
    do {
      let laboratory = try Laboratory(topology, binary: options.binary)
      defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
      try laboratory.provisionAll()
      var trial = try Trial(laboratory)
      do {
        try trial.start(try StartOrder(parsing: name), interval: interval, limit: limit)
        let resident = laboratory.components.compactMap { $0.figures?.residentKiB }.max() ?? 0
        try trial.restartAuthority(limit: options.number("ma-limit", default: 3))
        try pause(2)
        // In the middle: the others are reached through it.
        try trial.restartComponent(
          laboratory.nodes[topology.nodeCount / 2], limit: options.number("cm-limit", default: 2))
        let figures = trial.figures
        print(
          String(
            format: "%@ %@: all reachable %.2f s after the last start; authority back %.2f s; component back %.2f s; "
              + "largest cm %d KiB", topology.name, name, figures.allReachable, figures.authorityRestart ?? .nan,
            figures.componentRestart ?? .nan, resident))
      } catch {
        if options.flag("keep") { try keepForInspection(laboratory, error) }
        throw error
      }
    } catch let error as LabError where error != .interrupted {
      failures += 1
      print("\(topology.name) \(name): FAILED: \(error)")
    }
  }
  return failures == 0 ? 0 : 1
}

/// With --keep a failed network stays up until Enter.
private func keepForInspection(_ laboratory: Laboratory, _ error: any Error) throws {
  print(
    "FAILED: \(error)\nkept for inspection: namespaces \(laboratory.tag)-*, folder \(laboratory.directory); Enter removes them"
  )
  _ = readLine()
}
