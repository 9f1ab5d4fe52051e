// What the graph gives out: links, paths, and links as both their ends see them.

import Core

/// One link in the direction a path takes it. Two nodes may have several; the adjacency numbers tell them apart.
public struct TopologyLink: Sendable, Equatable {
  public var from: ComponentID
  /// The adjacency number at `from`: the egress.
  public var fromAdjacency: UInt16
  public var to: ComponentID
  /// The adjacency number at `to`: the ingress.
  public var toAdjacency: UInt16

  public init(from: ComponentID, fromAdjacency: UInt16, to: ComponentID, toAdjacency: UInt16) {
    self.from = from
    self.fromAdjacency = fromAdjacency
    self.to = to
    self.toAdjacency = toAdjacency
  }
}

/// From the root to a component; without links, and with the largest frame size, for the root itself.
public struct TopologyPath: Sendable, Equatable {
  /// 0 … 64.
  public var links: [TopologyLink]
  /// Sum of the links' costs.
  public var cost: UInt32
  /// The smallest of the links' frame sizes, bytes.
  public var frameSize: UInt16

  public init(links: [TopologyLink], cost: UInt32, frameSize: UInt16) {
    self.links = links
    self.cost = cost
    self.frameSize = frameSize
  }

  /// The most entries an onion header has.
  public static let longest = 64

  /// Whether a component is on the path, its end included.
  public func passes(_ id: ComponentID) -> Bool {
    for link in links where link.to == id { return true }
    return false
  }

  /// Whether this one is to be preferred to `other` (same end): see TopologyGraph for the order.
  func isBetter(than other: TopologyPath) -> Bool {
    if cost != other.cost { return cost < other.cost }
    if frameSize != other.frameSize { return frameSize > other.frameSize }
    if links.count != other.links.count { return links.count < other.links.count }
    for (a, b) in zip(links.reversed(), other.links.reversed()) {
      if a.from != b.from { return a.from < b.from }
      if a.fromAdjacency != b.fromAdjacency { return a.fromAdjacency < b.fromAdjacency }
    }
    return false
  }
}

/// One end of a link that both ends report.
public struct LinkEnd: Sendable, Equatable {
  public var component: ComponentID
  public var adjacency: UInt16
  public var cost: UInt16
  /// Bytes.
  public var frameSize: UInt16
  public var riskGroup: UInt32
  /// Microseconds.
  public var roundTrip: UInt32
  public var losses: UInt32
  public var label: PortLabel

  init(_ component: ComponentID, _ report: LinkStateAdvertisement.Adjacency) {
    self.component = component
    adjacency = report.number
    cost = report.cost
    frameSize = report.frameSize
    riskGroup = report.riskGroup
    roundTrip = report.roundTrip
    losses = report.losses
    label = report.label
  }
}

/// A link that counts: both its ends report it.
public struct ConfirmedLink: Sendable, Equatable {
  /// The end with the lower ID.
  public var low: LinkEnd
  public var high: LinkEnd

  /// What a path pays: the higher of both reports, at least 1.
  public var cost: UInt16 { max(low.cost, high.cost, 1) }
  /// What a path gets: the lower of both reports, bytes.
  public var frameSize: UInt16 { min(low.frameSize, high.frameSize) }
}

/// What became of an LSA.
public enum InstallResult: Sendable, Equatable {
  /// Something other than round trips, losses, counters and the version is new. Paths may change at `recompute`.
  case changed
  /// Only round trips, losses, counters or the version are new: no path changes.
  case refreshed
  /// (boot, version) is not above the one held, or it speaks for the root: nothing done.
  case old
  /// The node limit is reached and this component is not among the nodes: nothing done, counted.
  case full
}
