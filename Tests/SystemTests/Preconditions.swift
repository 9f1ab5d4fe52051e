// What every system test needs: root for namespaces, and the shipped binary.

import Foundation
import LabKit
import Testing

/// The binary under test: LIFELINE_BINARY, or what `make` builds for this machine.
let shippedBinary: String = {
  if let path = ProcessInfo.processInfo.environment["LIFELINE_BINARY"] { return path }
  let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  return package.appendingPathComponent("build/x86_64/lifeline").path
}()

/// A laboratory that is provisioned and closed again; what it leaves behind is a failure of its own.
func withLaboratory(
  _ topology: Topology, options: LaboratoryOptions = .init(), provisioned: Bool = true,
  _ body: (Laboratory) throws -> Void
) throws {
  let laboratory = try Laboratory(topology, binary: shippedBinary, options: options)
  var failure: (any Error)?
  do {
    if provisioned { try laboratory.provisionAll() }
    try body(laboratory)
  } catch {
    failure = error
    for node in laboratory.nodes {
      let tail = node.logTail()
      if !tail.isEmpty { print("--- \(node.name)\n\(tail)") }
    }
  }
  let left = laboratory.close()
  #expect(left.isEmpty, "left behind: \(left)")
  if let failure { throw failure }
}

/// A laboratory whose nodes are all authenticated and answer.
func withRunningNetwork(
  _ topology: Topology, options: LaboratoryOptions = .init(), order: StartOrder = .ascending,
  _ body: (Laboratory, inout Trial) throws -> Void
) throws {
  try withLaboratory(topology, options: options) { laboratory in
    var trial = try Trial(laboratory)
    try trial.start(order)
    try body(laboratory, &trial)
  }
}

extension Trial {
  /// A node's management addresses, IPv4 first.
  func pair(of node: LabNode) throws -> (four: IPAddress, six: IPAddress) {
    let both = try #require(addresses[node.name])
    try #require(both.count == 2)
    return (both[0], both[1])
  }
}
