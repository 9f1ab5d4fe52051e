// Shapes of networks. Node 0 is the MA unless the layout says otherwise.

import Core
import Store

public struct Layout: Sendable {
  public struct Segment: Sendable {
    public var kind: MediumKind
    public var ends: [Int]
    public var frameSize: Int
    /// Cables that fail together share it; 0: alone.
    public var riskGroup: UInt32 = 0
  }

  public let nodeCount: Int
  /// Which node is the MA.
  public var authority = 0
  public var segments: [Segment] = []
  /// Of the nodes, where the network has them.
  public var names: [String] = []

  public init(nodeCount: Int) { self.nodeCount = nodeCount }

  public mutating func cable(_ a: Int, _ b: Int, frameSize: Int = 1500, riskGroup: UInt32 = 0) {
    segments.append(Segment(kind: .cable, ends: [a, b], frameSize: frameSize, riskGroup: riskGroup))
  }

  /// A UDP tunnel between two nodes.
  public mutating func tunnel(_ a: Int, _ b: Int, frameSize: Int = 1400) {
    segments.append(Segment(kind: .tunnel, ends: [a, b], frameSize: frameSize))
  }

  public static func line(_ count: Int) -> Layout {
    var layout = Layout(nodeCount: count)
    for i in 1..<count { layout.cable(i - 1, i) }
    return layout
  }

  public static func ring(_ count: Int) -> Layout {
    var layout = line(count)
    layout.cable(count - 1, 0)
    return layout
  }

  public static func grid(_ width: Int, _ height: Int) -> Layout {
    var layout = Layout(nodeCount: width * height)
    for y in 0..<height {
      for x in 0..<width {
        if x + 1 < width { layout.cable(y * width + x, y * width + x + 1) }
        if y + 1 < height { layout.cable(y * width + x, (y + 1) * width + x) }
      }
    }
    return layout
  }

  /// All others hang on node 0.
  public static func star(_ count: Int) -> Layout {
    var layout = Layout(nodeCount: count)
    for i in 1..<count { layout.cable(0, i) }
    return layout
  }

  /// Rings of `size` nodes each that have node 0 in common.
  public static func starOfRings(_ rings: Int, _ size: Int) -> Layout {
    var layout = Layout(nodeCount: 1 + rings * (size - 1))
    for ring in 0..<rings {
      let first = 1 + ring * (size - 1)
      layout.cable(0, first)
      for i in 1..<max(1, size - 1) { layout.cable(first + i - 1, first + i) }
      layout.cable(first + size - 2, 0)
    }
    return layout
  }

  /// k pods of k/2 edge and k/2 aggregation switches, and (k/2)² core switches (Al-Fares, Loukissas, Vahdat 2008 §3), without
  /// hosts. Node 0 is an edge switch.
  public static func fatTree(_ k: Int) -> Layout {
    let half = k / 2
    var layout = Layout(nodeCount: k * k + half * half)
    let core = k * k
    for pod in 0..<k {
      for a in 0..<half {
        let aggregation = pod * k + half + a
        for e in 0..<half { layout.cable(pod * k + e, aggregation) }
        for c in 0..<half { layout.cable(aggregation, core + a * half + c) }
      }
    }
    return layout
  }

  /// Two nodes with several cables between them.
  public static func parallel(_ cables: Int) -> Layout {
    var layout = Layout(nodeCount: 2)
    for _ in 0..<cables { layout.cable(0, 1) }
    return layout
  }

  public static func shared(_ kind: MediumKind, _ count: Int) -> Layout {
    var layout = Layout(nodeCount: count)
    layout.segments.append(Segment(kind: kind, ends: Array(0..<count), frameSize: 1500))
    return layout
  }

  /// A tree that reaches every node, and `extra` cables more, of mixed frame sizes.
  public static func random(_ count: Int, extra: Int, seed: UInt64) -> Layout {
    var random = SeededRandom(seed: seed)
    var layout = Layout(nodeCount: count)
    let sizes = [1500, 1500, 1500, 1400, 1600, 9000]
    for i in 1..<count { layout.cable(random.below(i), i, frameSize: sizes[random.below(sizes.count)]) }
    for _ in 0..<extra {
      let a = random.below(count)
      let b = (a + 1 + random.below(count - 1)) % count
      layout.cable(a, b, frameSize: sizes[random.below(sizes.count)])
    }
    layout.authority = random.below(count)
    return layout
  }
}

extension Layout {
  /// Places for so many MAs, far from one another by number; the layout's own is the first.
  public func places(authorities count: Int) -> [Int] {
    (0..<count).map { (authority + $0 * nodeCount / count) % nodeCount }
  }
}

extension World {
  /// Builds a layout from a provisioned network; nothing is started.
  public convenience init(
    _ layout: Layout, enrolled: Bool = true, seed: UInt64, portMedium: PortMedium = .ethernet
  ) throws {
    self.init(seed: seed)
    self.portMedium = portMedium
    if layout.nodeCount > 700 {
      // More than the shipped program's store and tables hold.
      limits.components = max(limits.components, layout.nodeCount)
      storeRoom = 65_536 + 256 * layout.nodeCount
    }
    let network = try ProvisionedNetwork(
      components: layout.nodeCount - 1, enrolled: enrolled, seed: seed, storeRoom: storeRoom)
    var next = 0
    for number in 0..<layout.nodeCount {
      if number == layout.authority {
        addNode(store: try network.authority.encode())
      } else {
        addNode(store: try network.components[next].encode())
        next += 1
      }
    }
    authorities = [layout.authority]
    spareSecrets = network.spareSecrets
    for segment in layout.segments {
      connect(segment.kind, segment.ends, frameSize: segment.frameSize, riskGroup: segment.riskGroup)
    }
  }
}
