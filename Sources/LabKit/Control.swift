// The operator's client, `lifeline ctl --json`, and what it answers.

import Foundation

/// An element of `ctl nodes`.
public struct NodeEntry: Decodable, Sendable {
  public var name: String
  public var id: String
  public var role: String
  public var state: String
  public var ipv4: String?
  public var ipv6: String?
  public var hops: Int?
}

/// The answer to `ctl status`.
public struct StatusEntry: Decodable, Sendable {
  public var name: String
  public var role: String
  public var ipv4: String?
  public var ipv6: String?
  public var ready: Bool
  public var bearer: BearerEntry
}

/// The management device in `ctl status`.
public struct BearerEntry: Decodable, Sendable {
  public var up: Bool
  public var protect: Bool
  /// Damage that was mended since the start.
  public var repairs: Int
}

/// An element of `ctl links`: two nodes by name.
public struct LinkEntry: Sendable, Hashable {
  public var a: String
  public var b: String
}

extension LabNode {
  /// Runs `lifeline ctl` against this node.
  @discardableResult
  public func control(_ words: [String], json: Bool = false, tolerant: Bool = false) throws -> CommandResult {
    try LabKit.run(
      [binary, "ctl", "--run", runDirectory] + (json ? ["--json"] : []) + words, timeout: 10, tolerant: tolerant)
  }

  private func decode<T: Decodable>(_ type: T.Type, _ command: String) throws -> T {
    let text = try control([command], json: true).output
    do {
      return try JSONDecoder().decode(type, from: Data(text.utf8))
    } catch {
      throw LabError.expectation(
        "`ctl --json \(command)` of \(name) gave no such document (\(error)): \(text.prefix(500))")
    }
  }

  public func status() throws -> StatusEntry { try decode(StatusEntry.self, "status") }
  public func knownNodes() throws -> [NodeEntry] { try decode([NodeEntry].self, "nodes") }

  /// Everything `ctl counters` shows, groups joined by dots: "node.link.badTag".
  public func counters() throws -> [String: Int] {
    let text = try control(["counters"], json: true).output
    var flat: [String: Int] = [:]
    func flatten(_ value: Any, _ name: String) {
      if let object = value as? [String: Any] {
        for (key, inner) in object { flatten(inner, name.isEmpty ? key : "\(name).\(key)") }
      } else if let number = value as? Int {
        flat[name] = number
      }
    }
    flatten((try? JSONSerialization.jsonObject(with: Data(text.utf8))) ?? [:], "")
    if flat.isEmpty {
      throw LabError.expectation("`ctl --json counters` of \(name) has no numbers: \(text.prefix(300))")
    }
    return flat
  }

  /// On an authority: the nodes of its present route to a member, itself left out; empty when there is none.
  public func route(to name: String) throws -> [String] {
    struct Route: Decodable {
      var node: String
      var path: [String]
    }
    return try decode([Route].self, "routes").first { $0.node == name }?.path ?? []
  }

  /// The hello intervals, ms, of this node's links that are up.
  public func helloIntervals() throws -> [Int] {
    struct Neighbour: Decodable {
      var state: String
      var intervalMilliseconds: Int
    }
    return try decode([Neighbour].self, "neighbours").filter { $0.state == "up" }.map(\.intervalMilliseconds)
  }

  /// The links this node knows, each once.
  public func knownLinks() throws -> Set<LinkEntry> {
    let text = try control(["links"], json: true).output
    guard let list = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]] else {
      throw LabError.expectation("`ctl --json links` of \(name) is not an array of objects: \(text.prefix(500))")
    }
    var links: Set<LinkEntry> = []
    for entry in list {
      guard let a = entry["from"] as? String, let b = entry["to"] as? String else {
        throw LabError.expectation("`ctl --json links` of \(name): an element has no names from and to: \(entry)")
      }
      links.insert(a < b ? LinkEntry(a: a, b: b) : LinkEntry(a: b, b: a))
    }
    return links
  }
}
