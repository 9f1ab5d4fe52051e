// Topologies of real networks, as text: a link a line, "A B" or "A B RISK", names of nodes and of what links share that
// fail together; # begins a comment. Nodes are numbered in the order their names come.

import Core
import Foundation

public enum TopologyError: Error, CustomStringConvertible {
  case unreadable(String)
  case notALink(file: String, line: Int, text: String)
  case selfLink(file: String, line: Int, node: String)
  case empty(String)
  case notConnected(file: String, node: String)
  case badName(String, expected: String)

  public var description: String {
    switch self {
    case .unreadable(let file): "\(file) cannot be read"
    case .notALink(let file, let line, let text): "\(file):\(line): '\(text)' is not 'NODE NODE' or 'NODE NODE RISK'"
    case .selfLink(let file, let line, let node): "\(file):\(line): \(node) is linked to itself"
    case .empty(let file): "\(file) has no links"
    case .notConnected(let file, let node): "\(file): no way leads to \(node)"
    case .badName(let name, let expected): "topology '\(name)': \(expected)"
    }
  }
}

extension Layout {
  /// Where the data files of this package are.
  public static let topologies =
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Topologies").path

  /// Names of the networks there are files of.
  public static func zoo() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: topologies).filter { $0.hasSuffix(".txt") }
      .map { String($0.dropLast(4)) }.sorted()
  }

  /// A network of the data files, by its file's name.
  public init(zoo name: String) throws {
    guard try Layout.zoo().contains(name) else {
      throw TopologyError.badName(name, expected: "one of \(try Layout.zoo().joined(separator: ", "))")
    }
    let path = "\(Layout.topologies)/\(name).txt"
    guard let bytes = FileManager.default.contents(atPath: path) else { throw TopologyError.unreadable(path) }
    try self.init(text: String(decoding: bytes, as: UTF8.self), file: "\(name).txt")
  }

  /// - Parameter file: its name, for the errors.
  public init(text: String, file: String) throws {
    var numbers: [String: Int] = [:]
    var names: [String] = []
    var risks: [String: UInt32] = [:]
    var links: [(Int, Int, UInt32)] = []
    func number(_ name: String) -> Int {
      if let known = numbers[name] { return known }
      numbers[name] = names.count
      names.append(name)
      return names.count - 1
    }
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace).map(String.init)
      if words.isEmpty { continue }
      guard words.count == 2 || words.count == 3 else {
        throw TopologyError.notALink(file: file, line: index + 1, text: String(line))
      }
      if words[0] == words[1] { throw TopologyError.selfLink(file: file, line: index + 1, node: words[0]) }
      var risk: UInt32 = 0
      if words.count == 3 {
        risk = risks[words[2]] ?? UInt32(risks.count + 1)
        risks[words[2]] = risk
      }
      links.append((number(words[0]), number(words[1]), risk))
    }
    if links.isEmpty { throw TopologyError.empty(file) }
    self.init(nodeCount: names.count)
    self.names = names
    for (a, b, risk) in links { cable(a, b, riskGroup: risk) }
    if let lone = unreachable { throw TopologyError.notConnected(file: file, node: names[lone]) }
  }

  /// A node that no way leads to from node 0.
  private var unreachable: Int? {
    var ends = [[Int]](repeating: [], count: nodeCount)
    for segment in segments {
      for end in segment.ends { ends[end] += segment.ends }
    }
    var isFound = [Bool](repeating: false, count: nodeCount)
    var found = [0]
    isFound[0] = true
    while let node = found.popLast() {
      for other in ends[node] where !isFound[other] {
        isFound[other] = true
        found.append(other)
      }
    }
    return isFound.firstIndex(of: false)
  }

  /// `grid:WxH`, `ring:N`, `chain:N`, `star:N`, `random:N,L` (L links), `star-of-rings:RxN`, `fat-tree:K`, `zoo:NAME`.
  public init(parsing text: String, seed: UInt64) throws {
    let halves = text.split(separator: ":", maxSplits: 1).map(String.init)
    let numbers = halves.count == 2 ? halves[1].split(whereSeparator: { "x,".contains($0) }).map { Int($0) ?? -1 } : []
    func take(_ count: Int, _ least: Int, _ form: String) throws {
      guard numbers.count == count, numbers.allSatisfy({ $0 >= least }) else {
        throw TopologyError.badName(text, expected: "\(form), numbers from \(least)")
      }
    }
    switch halves.first {
    case "grid":
      try take(2, 1, "grid:WIDTHxHEIGHT")
      self = .grid(numbers[0], numbers[1])
    case "ring":
      try take(1, 3, "ring:NODES")
      self = .ring(numbers[0])
    case "chain":
      try take(1, 2, "chain:NODES")
      self = .line(numbers[0])
    case "star":
      try take(1, 2, "star:NODES")
      self = .star(numbers[0])
    case "random":
      try take(2, 2, "random:NODES,LINKS")
      guard numbers[1] >= numbers[0] - 1 else {
        throw TopologyError.badName(text, expected: "at least \(numbers[0] - 1) links")
      }
      self = .random(numbers[0], extra: numbers[1] - numbers[0] + 1, seed: seed)
    case "star-of-rings":
      try take(2, 2, "star-of-rings:RINGSxNODES")
      self = .starOfRings(numbers[0], numbers[1])
    case "fat-tree":
      try take(1, 2, "fat-tree:K")
      guard numbers[0] % 2 == 0 else { throw TopologyError.badName(text, expected: "an even K") }
      self = .fatTree(numbers[0])
    case "zoo": try self.init(zoo: halves.count == 2 ? halves[1] : "")
    default:
      throw TopologyError.badName(
        text, expected: "grid:, ring:, chain:, star:, random:, star-of-rings:, fat-tree: or zoo:")
    }
  }
}
