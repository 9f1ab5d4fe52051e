// Which nodes there are and which of them a link joins. Node 0 is the management authority.

/// A network to be built: nodes 0 ..< nodeCount, each with one port for each of its links.
public struct Topology: Sendable, Equatable {
  public struct Link: Sendable, Equatable {
    public var a: Int
    public var b: Int
    /// Bytes of the largest packet the link carries.
    public var mtu: Int

    public init(_ a: Int, _ b: Int, mtu: Int = 1500) {
      self.a = a
      self.b = b
      self.mtu = mtu
    }
  }

  public var name: String
  public var nodeCount: Int
  public var links: [Link]

  public init(name: String, nodeCount: Int, links: [Link]) {
    self.name = name
    self.nodeCount = nodeCount
    self.links = links
  }

  /// n nodes in a row, the authority at one end.
  public static func chain(_ n: Int, mtu: Int = 1500) -> Topology {
    Topology(name: "chain:\(n)", nodeCount: n, links: (1..<max(1, n)).map { Link($0 - 1, $0, mtu: mtu) })
  }

  /// A chain whose ends are joined.
  public static func ring(_ n: Int) -> Topology {
    Topology(name: "ring:\(n)", nodeCount: n, links: (0..<n).map { Link($0, ($0 + 1) % n) })
  }

  /// width × height nodes, each joined to those right of it and below it; the authority in the corner.
  public static func grid(_ width: Int, _ height: Int) -> Topology {
    var links: [Link] = []
    for y in 0..<height {
      for x in 0..<width {
        if x + 1 < width { links.append(Link(y * width + x, y * width + x + 1)) }
        if y + 1 < height { links.append(Link(y * width + x, (y + 1) * width + x)) }
      }
    }
    return Topology(name: "grid:\(width)x\(height)", nodeCount: width * height, links: links)
  }

  /// A component with n links, its hub: to the authority and to n - 1 others, which have no other.
  public static func star(_ n: Int) -> Topology {
    Topology(name: "star:\(n)", nodeCount: n + 1, links: [Link(0, 1)] + (1..<max(1, n)).map { Link(1, $0 + 1) })
  }

  /// The demo's mesh: an authority and eight components, every one with at least two ways to the authority.
  public static let mesh = Topology(
    name: "mesh", nodeCount: 9,
    links: [
      (0, 1), (0, 2), (1, 2), (1, 3), (1, 4), (2, 4), (2, 5), (3, 6), (4, 6), (4, 7), (5, 7), (6, 7), (6, 8), (7, 8),
    ].map { Link($0.0, $0.1) })

  /// The paper's figure 5: an application on the authority, a component that forwards, one that receives.
  public static let figure5 = Topology(name: "figure5", nodeCount: 3, links: [Link(0, 1), Link(1, 2)])

  /// The paper's figure 4: the authority on one side, three routers in a triangle.
  public static let figure4 = Topology(
    name: "figure4", nodeCount: 4, links: [Link(0, 1), Link(1, 2), Link(1, 3), Link(2, 3)])

  /// `chain:17`, `chain17`, `ring:6`, `grid:5x5`, `grid5x5`, `star:8`, `mesh`, `figure4`, `figure5`.
  public init(parsing text: String) throws(LabError) {
    let kind = String(text.prefix { $0.isLetter })
    let words = text.dropFirst(kind.count).drop { $0 == ":" }.split(separator: "x", omittingEmptySubsequences: false)
    let sizes = words.compactMap { Int($0) }
    let (first, second) = (sizes.first ?? 0, sizes.count == 2 ? sizes[1] : 1)
    switch (kind, words.count) {
    case ("mesh", 1): self = .mesh
    case ("figure", 1) where first == 4: self = .figure4
    case ("figure", 1) where first == 5: self = .figure5
    case ("chain", 1) where (2...256).contains(first): self = .chain(first)
    case ("ring", 1) where (3...256).contains(first): self = .ring(first)
    case ("star", 1) where (2...64).contains(first): self = .star(first)
    case ("grid", 2) where first > 0 && second > 0 && (2...256).contains(first * second): self = .grid(first, second)
    default:
      throw .usage(
        "no topology '\(text)': chain:N, ring:N, grid:WxH (2 to 256 nodes), star:N (2 to 64), mesh, figure4, figure5")
    }
  }

  /// Hops from the authority to each node; nil where no path leads.
  public var hopsFromAuthority: [Int?] { hops(from: 0) }

  /// Hops from a node to each; nil where no path leads.
  public func hops(from start: Int) -> [Int?] {
    var hops = [Int?](repeating: nil, count: nodeCount)
    var frontier = [start]
    hops[start] = 0
    while let node = frontier.first {
      frontier.removeFirst()
      for link in links where link.a == node || link.b == node {
        let other = link.a == node ? link.b : link.a
        if hops[other] == nil {
          hops[other] = (hops[node] ?? 0) + 1
          frontier.append(other)
        }
      }
    }
    return hops
  }
}

/// In which order nodes are started.
public enum StartOrder: Sendable, Equatable {
  case ascending, descending, authorityLast
  case shuffle(seed: UInt64)

  /// `ascending`, `descending`, `ma-last`, `shuffle:SEED`.
  public init(parsing text: String) throws(LabError) {
    switch text {
    case "ascending": self = .ascending
    case "descending": self = .descending
    case "ma-last": self = .authorityLast
    default:
      guard text.hasPrefix("shuffle:"), let seed = UInt64(text.dropFirst(8)) else {
        throw .usage("no order '\(text)': ascending, descending, ma-last, shuffle:SEED")
      }
      self = .shuffle(seed: seed)
    }
  }

  public func nodes(of count: Int) -> [Int] {
    switch self {
    case .ascending: return Array(0..<count)
    case .descending: return (0..<count).reversed()
    case .authorityLast: return Array(1..<count) + [0]
    case .shuffle(let seed):
      var generator = SplitMix64(state: seed)
      return Array(0..<count).shuffled(using: &generator)
    }
  }
}

/// A small seeded generator (Steele, Lea, Flood: SplitMix64), so that a run can be repeated.
public struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  public init(state: UInt64) { self.state = state }
  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
