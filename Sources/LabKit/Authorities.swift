// Networks with several MAs, and what the death of some costs the others' channels: a continuous stream each way between an
// MA that stays and a component, while the others are killed; and how soon an MA that never ran reaches everybody after all
// others died.

import CLab
import Foundation

public struct AuthorityLoss: Sendable {
  public var stream: String
  public var figures: StretchFigures
}

public final class AuthoritiesTrial {
  public let laboratory: Laboratory
  private let mas: [LabNode]
  private var addresses: [String: IPAddress] = [:]

  /// Founds a network, starts it with its first MA, and takes the others in one after the other: a box is enrolled as an
  /// authority, the first MA accepts it, and each MA that serves by then signs.
  ///
  /// - Parameters:
  ///   - authorities: nodes; the first is node 0.
  ///   - idle: the last of them is taken in and not started.
  public init(
    _ topology: Topology, authorities: [Int], binary: String, lastIsIdle idle: Bool = false
  ) throws {
    var options = LaboratoryOptions()
    options.authorities = authorities
    laboratory = try Laboratory(topology, binary: binary, options: options)
    mas = authorities.map { [laboratory] in laboratory.nodes[$0] }
    do {
      try laboratory.provisionAll()
      try mas[0].start()
      for node in laboratory.components { try node.start() }
      try awaitService(of: mas[0])
      for (number, ma) in mas.enumerated().dropFirst() {
        try admit(ma, signedBy: mas[1..<number])
        if number == mas.count - 1 && idle { continue }
        try ma.start()
        try awaitService(of: ma)
      }
      for entry in try mas[0].knownNodes() { addresses[entry.name] = entry.ipv4.flatMap { IPAddress($0) } }
    } catch {
      laboratory.close()
      throw error
    }
  }

  /// Where the first MA alone decides, the box has the key back before it starts; where others sign, it learns inside its
  /// first session what they made of it.
  private func admit(_ box: LabNode, signedBy others: ArraySlice<LabNode>) throws {
    try laboratory.provision(box, ["enroll", "--usb", laboratory.usb, "--name", box.name, "--as", "authority"])
    try mas[0].control(["accept", laboratory.usb, "--yes"])
    for ma in others {
      var name = ""
      let heard = try wait(upTo: 5) {
        let said = try ma.control(["proposals"], json: true).output
        let list = try? JSONSerialization.jsonObject(with: Data(said.utf8)) as? [[String: Any]]
        name = list?.first?["id"] as? String ?? ""
        return !name.isEmpty
      }
      guard heard != nil else { throw LabError.expectation("\(ma.name) heard of no proposal within 5 s") }
      try ma.control(["sign", name])
    }
    if others.isEmpty { try laboratory.provision(box, ["enroll", "--usb", laboratory.usb]) }
  }

  /// All components are authenticated with an MA.
  private func awaitService(of ma: LabNode) throws {
    let wanted = Set(laboratory.components.map(\.name))
    var missing = wanted
    let took = try wait(upTo: 20, every: 0.1) {
      let known = (try? ma.knownNodes()) ?? []
      missing = wanted.subtracting(known.filter { $0.state == "authenticated" }.map(\.name))
      return missing.isEmpty
    }
    guard took != nil else {
      throw LabError.expectation(
        "\(ma.name) does not serve \(missing.sorted().joined(separator: " "))\n\(ma.logTail())")
    }
  }

  /// Kills all MAs but the last in one instant. Its route to the component must not need their boxes.
  ///
  /// - Returns: what the streams between the last MA and a component, both ways, lost from then on.
  public func killOthers(component: Int) throws -> [AuthorityLoss] {
    let (survivor, component) = (mas[mas.count - 1], laboratory.nodes[component])
    guard let there = addresses[component.name], let here = try survivor.status().ipv4.flatMap({ IPAddress($0) }) else {
      throw LabError.expectation("no addresses for a stream between \(survivor.name) and \(component.name)")
    }
    let victims = mas.dropLast().map(\.name)
    guard try !survivor.route(to: component.name).contains(where: victims.contains) else {
      throw LabError.expectation("the route of \(survivor.name) to \(component.name) goes over a box that is killed")
    }
    let out = try GapStream(from: survivor.namespace, to: there, in: component.namespace)
    let back = try GapStream(from: component.namespace, to: here, in: survivor.namespace)
    var failure: (any Error)?
    var began: Int64 = 0
    do {
      try pause(1)
      began = lab_now()
      for ma in mas.dropLast() { ma.send(SIGKILL) }
      try pause(4)
    } catch { failure = error }
    let records = [out.record(), back.record()]
    if let failure { throw failure }
    let names = ["\(survivor.name) > \(component.name)", "\(component.name) > \(survivor.name)"]
    return zip(names, records).map { name, record in
      AuthorityLoss(stream: name, figures: record.figures(in: [began..<max(began, record.sent.last ?? 0)])[0])
    }
  }

  /// Kills all that run, waits, and starts the last, which never ran.
  ///
  /// - Returns: seconds from its start until every component has answered it.
  public func replaceAll(after silence: Double = 5, limit: Double = 10) throws -> Double {
    let successor = mas[mas.count - 1]
    for ma in mas.dropLast() { ma.send(SIGKILL) }
    try pause(silence)
    let wanted = laboratory.components.compactMap { addresses[$0.name] }
    let prober = try Prober(in: successor.namespace)
    try successor.start()
    let answered = try prober.probe(wanted, timeout: limit, interval: 0.05, since: successor.startedAt)
    guard answered.count == laboratory.components.count else {
      throw LabError.expectation(
        "\(successor.name) reached \(answered.count) of \(laboratory.components.count) in \(limit) s\n"
          + successor.logTail())
    }
    return answered.values.max() ?? .nan
  }
}

extension Topology {
  /// A grid of 5 × 5 and one node more at the corner away from the first: 24 components beside two MAs.
  public static var gridWithSpare: Topology {
    let grid = Topology.grid(5, 5)
    return Topology(name: "grid:5x5+1", nodeCount: 26, links: grid.links + [Link(24, 25), Link(19, 25)])
  }
}
