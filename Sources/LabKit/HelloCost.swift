// What hellos cost a component, beside a thread that does nothing but exchange the same frames at the same pace.

import CLab
import Foundation

public struct HelloCost: Sendable {
  public var ports: Int
  /// Of a core, per cent: the component's whole process.
  public var share: Double
  /// Of a core, per cent: what the bare exchange used.
  public var floor: Double
  /// Milliseconds between hellos, a neighbour each.
  public var intervals: [Int]
  public var residentKiB: Int

  /// Per cent of a core: 1 for every 8 ports.
  public var limit: Double { Double(ports) / 8 }
  public var isMet: Bool { share <= limit && intervals.count == ports }
}

extension Laboratory {
  /// Bytes of a hello with its Ethernet header (docs/PROTOCOL.md §3).
  private static let helloBytes = 70

  /// Measures one node and then, with all nodes stopped, the bare exchange on its ports.
  /// - Parameters:
  ///   - hub: the node's place; its links are authenticated.
  ///   - seconds: how long either is measured.
  public func helloCost(of hub: Int, seconds: Double) throws -> HelloCost {
    let node = nodes[hub]
    let before = node.figures?.processorSeconds ?? .nan
    let begun = now()
    try pause(seconds)
    let share = ((node.figures?.processorSeconds ?? .nan) - before) / (now() - begun) * 100
    let intervals = try node.helloIntervals()
    let resident = node.figures?.residentKiB ?? 0
    for other in nodes { other.stop() }
    let ends = linkEnds.compactMap { $0.a.node == hub ? ($0.a, $0.b) : $0.b.node == hub ? ($0.b, $0.a) : nil }
    let floor = try helloFloor(ends, interval: Double(intervals.max() ?? 20) / 1_000, seconds: seconds)
    return HelloCost(
      ports: ends.count, share: share, floor: floor, intervals: intervals, residentKiB: resident)
  }

  private func helloFloor(_ ends: [(own: LinkEnd, far: LinkEnd)], interval: Double, seconds: Double) throws -> Double {
    func socket(_ end: LinkEnd) throws -> Descriptor {
      try inNetwork(of: nodes[end.node].namespace) { try packetSocket(on: end.interface) }
    }
    let own = try ends.map { try socket($0.own) }
    let far = try ends.map { try socket($0.far) }
    var found = lab_floor()
    let failed = withExtendedLifetime((own, far)) {
      lab_hello_floor(
        own.map(\.number), far.map(\.number), Int32(ends.count), Self.helloBytes, Int64(interval * 1e9),
        Int64(seconds * 1e9), &found)
    }
    if failed != 0 { throw LabError.system(call: "exchange frames", code: -failed) }
    let expected = Double(ends.count) * seconds / interval
    if Double(found.received) < expected * 0.9 {
      throw LabError.expectation("of \(Int(expected)) frames of the bare exchange \(found.received) arrived")
    }
    return Double(found.busy) / (seconds * 1e9) * 100
  }
}
