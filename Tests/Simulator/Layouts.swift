// Shapes of networks. Node 0 is the MA unless the layout says otherwise.

import Core
import Store

public struct Layout: Sendable {
  public struct Segment: Sendable {
    public var kind: MediumKind
    public var ends: [Int]
    public var frameSize: Int
  }

  public let nodeCount: Int
  /// Which node is the MA.
  public var authority = 0
  public var segments: [Segment] = []

  public init(nodeCount: Int) { self.nodeCount = nodeCount }

  public mutating func cable(_ a: Int, _ b: Int, frameSize: Int = 1500) {
    segments.append(Segment(kind: .cable, ends: [a, b], frameSize: frameSize))
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

extension World {
  /// Builds a layout from a provisioned network; nothing is started.
  public convenience init(_ layout: Layout, enrolled: Bool = true, seed: UInt64) throws {
    self.init(seed: seed)
    let network = try ProvisionedNetwork(components: layout.nodeCount - 1, enrolled: enrolled, seed: seed)
    var next = 0
    for number in 0..<layout.nodeCount {
      if number == layout.authority {
        addNode(store: try network.authority.encode())
      } else {
        addNode(store: try network.components[next].encode())
        next += 1
      }
    }
    authority = layout.authority
    spareSecrets = network.spareSecrets
    for segment in layout.segments { connect(segment.kind, segment.ends, frameSize: segment.frameSize) }
  }
}
