// The trial that `lab check` prints and the system tests assert: start in some order, everybody reachable, then restarts.

import Foundation

/// Seconds, each measured from the last start that it follows.
public struct TrialFigures: Sendable {
  /// From the last node's start until every component was authenticated and answered on both families.
  public var allReachable = 0.0
  /// From the authority's restart after SIGKILL until every component answered again.
  public var authorityRestart: Double?
  /// From a component's restart after SIGKILL until it answered again.
  public var componentRestart: Double?
}

public struct Trial {
  public let laboratory: Laboratory
  private let prober: Prober
  /// Management addresses, of both families, by node.
  public private(set) var addresses: [String: [IPAddress]] = [:]
  public var figures = TrialFigures()

  /// A provisioned laboratory whose nodes do not run yet.
  public init(_ laboratory: Laboratory) throws {
    self.laboratory = laboratory
    prober = try Prober(in: laboratory.authority.namespace)
  }

  private var componentAddresses: [IPAddress] { laboratory.components.flatMap { addresses[$0.name] ?? [] } }

  /// Starts every node and waits until all are authenticated and answer.
  public mutating func start(_ order: StartOrder, interval: Double = 0, limit: Double = 10) throws {
    try laboratory.startAll(order, interval: interval)
    let lastStart = laboratory.nodes.map(\.startedAt).max() ?? now()
    let known = try laboratory.waitUntilAuthenticated(timeout: limit)
    for (name, entry) in known {
      addresses[name] = [entry.ipv4, entry.ipv6].compactMap { $0.flatMap(IPAddress.init) }
      guard addresses[name]?.count == 2 else {
        throw LabError.expectation("\(name) has not both addresses: \(entry)")
      }
    }
    try requireAnswers(componentAddresses, within: limit - (now() - lastStart), since: lastStart)
    figures.allReachable = now() - lastStart
  }

  private func requireAnswers(_ wanted: [IPAddress], within timeout: Double, since: Double) throws {
    let answered = try prober.probe(wanted, timeout: max(0.2, timeout), since: since)
    let silent = wanted.filter { answered[$0] == nil }
    guard silent.isEmpty else {
      let names = addresses.filter { !$0.value.filter(silent.contains).isEmpty }.keys.sorted()
      throw LabError.expectation(
        "no answer within \(String(format: "%.1f", now() - since)) s: \(names.joined(separator: " ")) (\(silent.count) addresses)"
      )
    }
  }

  /// Kills the authority without warning, starts it again and waits for every component.
  public mutating func restartAuthority(limit: Double = 3) throws {
    laboratory.authority.crash()
    try laboratory.authority.start()
    try requireAnswers(componentAddresses, within: limit, since: laboratory.authority.startedAt)
    figures.authorityRestart = now() - laboratory.authority.startedAt
  }

  /// Kills a component without warning, starts it again and waits for it, and for all that were reached through it.
  public mutating func restartComponent(_ node: LabNode, limit: Double = 2) throws {
    node.crash()
    try node.start()
    try requireAnswers(componentAddresses, within: limit, since: node.startedAt)
    figures.componentRestart = max(figures.componentRestart ?? 0, now() - node.startedAt)
  }
}
