// Taking boxes into the network the way a person does it: with a USB key, here a folder that goes from box to box.

import Foundation

extension Laboratory {
  public var usb: String { "\(directory)/usb" }

  /// One step of `lifeline provision` as it is run on `node`.
  @discardableResult
  public func provision(_ node: LabNode, _ words: [String], tolerant: Bool = false) throws -> CommandResult {
    try run(
      node.inside([binary, "provision", words[0], "--store", node.store] + words.dropFirst()), tolerant: tolerant)
  }

  /// Founds the network on the first authority and enrols every component.
  ///
  /// - Parameter report: called with each command line before it runs (without the laboratory's wrapping).
  public func provisionAll(report: (String) -> Void = { _ in }) throws {
    try? FileManager.default.createDirectory(atPath: usb, withIntermediateDirectories: false)
    var found = ["network", "--domain", options.domain, "--name", authority.name]
    if let prefix = options.prefix { found += ["--prefix", prefix] }
    report("\(authority.name)# lifeline provision \(found.joined(separator: " "))")
    try provision(authority, found)
    // A key carries 16 secrets by default.
    let count = nodes.count > 17 ? ["--count", "\(nodes.count - 1)"] : []
    report("\(authority.name)# lifeline provision \((["key", "--usb", "/media/usb"] + count).joined(separator: " "))")
    try provision(authority, ["key", "--usb", usb] + count)
    for node in components { try enroll(node, report: report) }
    report("\(authority.name)# lifeline provision accept --usb /media/usb --yes")
    try provision(authority, ["accept", "--usb", usb, "--yes"])
  }

  /// The new box's step: it makes its identity and leaves its sealed record on the key.
  public func enroll(_ node: LabNode, report: (String) -> Void = { _ in }) throws {
    report("\(node.name)# lifeline provision enroll --usb /media/usb --name \(node.name)")
    try provision(node, ["enroll", "--usb", usb, "--name", node.name])
  }

  /// The files of one folder on the key.
  public func onKey(_ folder: String) throws -> [String] {
    let path = "\(usb)/lifeline/\(folder)"
    guard FileManager.default.fileExists(atPath: path) else { return [] }
    return try FileManager.default.contentsOfDirectory(atPath: path).sorted()
  }

  /// Waits until the authority calls every component authenticated.
  ///
  /// - Returns: every component's entry, by name.
  public func waitUntilAuthenticated(timeout: Double) throws -> [String: NodeEntry] {
    var known: [NodeEntry] = []
    let wanted = Set(components.map(\.name))
    let took = try wait(upTo: timeout, every: 0.1) {
      if let answer = try? authority.knownNodes() { known = answer }
      return wanted.isSubset(of: known.filter { $0.state == "authenticated" }.map(\.name))
    }
    guard took != nil else {
      let missing = wanted.subtracting(known.filter { $0.state == "authenticated" }.map(\.name)).sorted()
      throw LabError.expectation(
        "not authenticated after \(timeout) s: \(missing.joined(separator: " "))\n\(authority.name) says:\n"
          + authority.logTail())
    }
    return Dictionary(known.map { ($0.name, $0) }, uniquingKeysWith: { a, _ in a })
  }
}
