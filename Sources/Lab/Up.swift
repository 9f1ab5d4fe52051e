// `make lab`: a network to play with.

import Foundation
import LabKit

/// Keeps a network up until Enter, end of input, or Ctrl-C.
func keepUp(_ options: Options) throws -> Int32 {
  var settings = LaboratoryOptions()
  settings.linkStyle = options.flag("wires") || options.value("topology") == nil ? .wires : .direct
  let laboratory = try Laboratory(try options.topology(default: .mesh), binary: options.binary, options: settings)
  defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
  print("provisioning \(laboratory.nodes.count) boxes")
  try laboratory.provisionAll()
  try laboratory.startAll()
  let begun = now()
  let known = try laboratory.waitUntilAuthenticated(timeout: 30)
  print(String(format: "all authenticated after %.1f s", now() - begun))
  print("\n  node     hops  IPv4             shell in it")
  for node in laboratory.nodes {
    let entry = known[node.name]
    let address = try entry?.ipv4 ?? node.status().ipv4 ?? "-"
    try writeShellScript(for: node)
    print(
      "  \(padded(node.name, 8)) \(padded(entry?.hops.map(String.init) ?? "-", 5)) \(padded(address, 16)) \(node.directory)/shell"
    )
  }
  if settings.linkStyle == .wires {
    print("\nlinks run through wires; silent cut of a link: its wire loses a port, for instance")
    for (number, ends) in laboratory.linkEnds.enumerated().prefix(3) {
      let (a, b) = (laboratory.nodes[ends.a.node].name, laboratory.nodes[ends.b.node].name)
      print(
        "  \(a) - \(b):  ip -n \(laboratory.wireNamespace) link set w\(number)a nomaster      (mend: master w\(number))"
      )
    }
  }
  print(
    "\nin a node's shell: lifeline ctl status, nodes, links, routes; ping; logs are in \(laboratory.directory)/*/log")
  print("Enter or Ctrl-C ends it and removes everything")
  var byte: UInt8 = 0
  while read(0, &byte, 1) == 1 && byte != 10 {}
  try checkInterrupt()
  return 0
}

/// A script that opens a shell (or runs its arguments) in a node, with `lifeline ctl` at hand.
private func writeShellScript(for node: LabNode) throws {
  let inside = node.inside([]).map { "'" + $0.replacingOccurrences(of: "'", with: "'\\''") + "'" }.joined(
    separator: " ")
  let text = """
    #!/bin/sh
    # A shell in \(node.name); with arguments, runs them there. `lifeline ctl` speaks to this node.
    export PS1='\(node.name)# ' PATH='\(node.directory)/bin':"$PATH"
    [ $# -gt 0 ] || set -- sh -i
    exec \(inside) "$@"
    """
  try FileManager.default.createDirectory(atPath: "\(node.directory)/bin", withIntermediateDirectories: true)
  let wrapper = """
    #!/bin/sh
    if [ "$1" = ctl ]; then shift; exec '\(node.binary)' ctl --run '\(node.runDirectory)' "$@"; fi
    exec '\(node.binary)' "$@"
    """
  for (path, content) in [("\(node.directory)/shell", text), ("\(node.directory)/bin/lifeline", wrapper)] {
    try (content + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    chmod(path, 0o755)
  }
}

func padded(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(0, width - text.count))
}
