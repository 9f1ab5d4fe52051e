// `lab authorities`: what the death of MAs costs the others' channels, and how soon one that never ran reaches everybody.

import Foundation
import LabKit

func authorities(_ options: Options) throws -> Int32 {
  let binary = options.binary
  // Corners: no route between two of the others needs them.
  let parts: [() throws -> Bool] = [
    { try survive([0, 24], binary) }, { try survive([0, 4, 24], binary) }, { try replace(binary) },
  ]
  var missed = 0
  for part in parts {
    do {
      if try !part() { missed += 1 }
    } catch let error as LabError where error != .interrupted {
      print("FAILED \(error)")
      missed += 1
    }
  }
  return missed == 0 ? 0 : 1
}

/// All but the last of the MAs are killed in one instant; its channel loses nothing.
private func survive(_ places: [Int], _ binary: String) throws -> Bool {
  let trial = try AuthoritiesTrial(.grid(5, 5), authorities: places, binary: binary)
  defer { for thing in trial.laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
  var isMet = true
  for loss in try trial.killOthers(component: 20) {
    if loss.figures.lost > 0 { isMet = false }
    print(
      String(
        format: "%@ %d MAs, %d killed in one instant: %@ lost %d of %d packets, longest gap %.1f ms (limit: 0 lost)",
        loss.figures.lost == 0 ? "ok    " : "MISSED", places.count, places.count - 1, loss.stream, loss.figures.lost,
        loss.figures.sent, loss.figures.gap))
  }
  return isMet
}

private func replace(_ binary: String) throws -> Bool {
  let trial = try AuthoritiesTrial(.gridWithSpare, authorities: [0, 25], binary: binary, lastIsIdle: true)
  defer { for thing in trial.laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
  let seconds = try trial.replaceAll()
  print(
    String(
      format: "%@ all MAs dead, one started that never ran: %d components reached in %.2f s (limit: 2 s)",
      seconds <= 2 ? "ok    " : "MISSED", trial.laboratory.components.count, seconds))
  return seconds <= 2
}
