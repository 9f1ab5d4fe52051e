// What an authority is given for one component: the best path, alternates apart from it, and which two of them to send
// protected frames over.

import Core

/// How far apart two routes to one component are.
public enum Disjointness: UInt8, Sendable, Comparable {
  /// They have links in common.
  case none = 0
  /// No link in common, but links of one risk group.
  case links = 1
  /// No link and no risk group, but nodes between root and component.
  case risks = 2
  /// Nothing: no single failure takes both.
  case nodes = 3

  public static func < (a: Disjointness, b: Disjointness) -> Bool { a.rawValue < b.rawValue }
}

extension Sharing {
  public var disjointness: Disjointness {
    if links > 0 { return .none }
    if risks > 0 { return .links }
    return nodes > 0 ? .risks : .nodes
  }
}

public struct RouteSet: Sendable, Equatable {
  /// The best path, then the alternates in the order of preference; all different, none with a link that is gone.
  /// Empty when the component is not reached.
  public var paths: [TopologyPath] = []
  /// What two of them have in common: of paths i < j at `index(i, j)`.
  var sharings: [Sharing] = []
  /// The two for protected frames, indices into `paths`: the two that share least, the best path's pairs first among
  /// equals. Both 0 when there is one path only.
  public var pair: (first: Int, second: Int) = (0, 0)
  /// Whether the alternates are those of the links as they are now. If not, `nextAlternates` will bring others.
  public var isCurrent = true

  public init() {}

  public var best: TopologyPath? { paths.first }

  /// What paths i and j (different, below `paths.count`) have in common.
  public func sharing(_ i: Int, _ j: Int) -> Sharing { sharings[RouteSet.index(min(i, j), max(i, j), paths.count)] }

  public func disjointness(_ i: Int, _ j: Int) -> Disjointness { sharing(i, j).disjointness }

  /// Of the protected pair; `.none` when there is one path only.
  public var protection: Disjointness { paths.count < 2 ? .none : disjointness(pair.first, pair.second) }

  static func index(_ i: Int, _ j: Int, _ count: Int) -> Int { i * (2 * count - i - 1) / 2 + j - i - 1 }

  mutating func choosePair() {
    var least: Sharing?
    for i in 0..<paths.count {
      for j in (i + 1)..<max(paths.count, i + 1) {
        let sharing = sharings[RouteSet.index(i, j, paths.count)]
        if let held = least, !(sharing < held) { continue }
        least = sharing
        pair = (i, j)
      }
    }
  }

  public static func == (a: RouteSet, b: RouteSet) -> Bool {
    a.paths == b.paths && a.sharings == b.sharings && a.pair == b.pair && a.isCurrent == b.isCurrent
  }
}
