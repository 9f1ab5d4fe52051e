// Whole nodes in one process, on wires without loss, in virtual time: an authority, a component, and a second component
// behind it that has turned. Everything follows from the seed.

import Core
import Crypto
import Membership
import Store
import Topology

@testable import Bearer
@testable import Neighbour
@testable import Node
@testable import Onion
@testable import Session

/// One node with its pool. What it delivers and logs is counted.
public final class Station {
  public var node: Node
  public let pool: PacketPool
  public var deliveries = 0
  /// Contents of the store so far.
  var persisted: UInt64 = 0
  public var lines: [String] = []

  init(_ contents: StoreContents, seed: Bytes32, at now: Instant) {
    pool = PacketPool(slabSize: 12_288, slabCount: 256)
    node = Node(contents: contents, pool: pool, seed: seed, startingAt: now)
  }
}

public struct StoreFailure: Error {}

/// The stores of the three nodes, the authority's first. Making them takes longer than starting the nodes.
public struct ProvisionedNodes {
  let contents: [StoreContents]
  let seed: UInt8

  static func entropy(_ seed: UInt8, _ number: UInt8) -> Entropy {
    var bytes = Bytes32()
    bytes.withMutableBytes { for i in 0..<32 { $0[i] = seed &+ number &* 7 &+ UInt8(i) } }
    return Entropy(seed: bytes)
  }

  public init(seed: UInt8) throws {
    self.seed = seed
    var source = Self.entropy(seed, 0)
    var founder = try StoreContents(
      founding: DomainName("lab.test"), prefix: IPv4Prefix("10.20.0.0/16"), name: NodeName("ma"), entropy: &source)
    var members: [StoreContents] = []
    for (number, name) in [(1 as UInt8, "cm1"), (2, "cm2")] {
      var own = Self.entropy(seed, number)
      let secret = try founder.issueSecrets(1, entropy: &source)[0]
      var contents = StoreContents(
        enrolling: founder.descriptor, secret: secret, name: try NodeName(name), role: .component, entropy: &own)
      guard let record = contents.enrolmentRecord, let entry = founder.descriptor.authority(at: 0),
        let sealed = SealedRecord(record, for: entry, entropy: &own)
      else { throw StoreFailure() }
      let verdict = try founder.accept(records: [sealed.encode()], policy: .all, entropy: &source)[0].verdict
      guard case .accepted(let member) = verdict else { throw StoreFailure() }
      try contents.install(member.certificate, member.opening)
      members.append(contents)
    }
    contents = [founder] + members
  }
}

public final class MemoryNetwork {
  /// The authority, the component in the middle, the insider.
  public static let authority = 0, middle = 1, insider = 2
  private struct Transit {
    let bytes: [UInt8]
    let to: Int
    let port: PortNumber
    let source: MACAddress
  }

  public private(set) var now = Instant(nanoseconds: 5_000_000_000)
  public private(set) var stations: [Station] = []
  private var underWay: [Transit] = []
  public var forger = Forger()
  /// Frames that were carried.
  public private(set) var carried = 0

  /// Not yet run.
  public init(_ provisioned: ProvisionedNodes) {
    for (index, contents) in provisioned.contents.enumerated() {
      var own = ProvisionedNodes.entropy(provisioned.seed, UInt8(index) + 10)
      stations.append(Station(contents, seed: own.bytes32(), at: now))
    }
    for (index, port) in [(0, 1), (1, 1), (1, 2), (2, 1)] as [(Int, UInt16)] { setPort(index, port, isUp: true) }
  }

  public convenience init(seed: UInt8) throws { self.init(try ProvisionedNodes(seed: seed)) }

  deinit { forger.free() }

  public func setPort(_ index: Int, _ port: UInt16, isUp: Bool, frameSize: Int = 1_500) {
    let status = PortStatus(
      name: "eth\(port)", address: address(index, port), frameSize: frameSize, isUp: isUp, medium: .ethernet,
      riskGroup: 0)
    stations[index].node.portChanged(PortNumber(port), status, at: now)
    drain(index)
  }

  private func address(_ index: Int, _ port: UInt16) -> MACAddress {
    MACAddress(0x0200_0000_0000 | UInt64(index) << 8 | UInt64(port))
  }

  /// The other end of a port's wire.
  private func far(_ index: Int, _ port: PortNumber) -> (Int, PortNumber)? {
    switch (index, port.value) {
    case (0, 1): (1, PortNumber(1))
    case (1, 1): (0, PortNumber(1))
    case (1, 2): (2, PortNumber(1))
    case (2, 1): (1, PortNumber(2))
    default: nil
    }
  }

  private func drain(_ index: Int) {
    let station = stations[index]
    while let output = station.node.nextOutput() {
      switch output {
      case .transmit(let buffer, let port, _):
        if let (to, arrival) = far(index, port) {
          let bytes = Array(UnsafeBufferPointer(start: buffer.bytes, count: buffer.count))
          if index == MemoryNetwork.insider { forger.remember(bytes) }
          underWay.append(Transit(bytes: bytes, to: to, port: arrival, source: address(index, port.value)))
        }
        station.pool.give(buffer)
      case .deliver(let packet): station.deliveries += packet.count > 0 ? 1 : 0
      case .event(_, let line): if station.lines.count < 256 { station.lines.append(line) }
      case .persist:
        station.persisted += 1
        station.node.storeIsSettled(through: station.persisted, at: now)
      case .configureBearer: break
      }
    }
  }

  /// A frame arrives, as from the wire.
  public func arrive(_ bytes: [UInt8], at index: Int, port: UInt16, from source: MACAddress) {
    let station = stations[index]
    guard var buffer = station.pool.take(), bytes.count <= buffer.tailRoom else { return }
    for i in bytes.indices { buffer.bytes[i] = bytes[i] }
    buffer.count = bytes.count
    station.node.receive(buffer, on: PortNumber(port), from: source, at: now)
    drain(index)
    carried += 1
  }

  /// Delivers what is under way and what follows from it, up to a limit: nodes that answer one another for ever stop.
  public func settle(limit: Int = 2_000) {
    var left = limit
    while left > 0, !underWay.isEmpty {
      let batch = underWay
      underWay = []
      for transit in batch {
        arrive(transit.bytes, at: transit.to, port: transit.port.value, from: transit.source)
        left -= 1
      }
    }
    if left <= 0 { underWay = [] }
  }

  /// Lets virtual time pass, deadline by deadline.
  public func run(_ duration: Duration) {
    let end = now + duration
    settle()
    while true {
      var due: Instant?
      for station in stations { due = earlier(due, station.node.nextDeadline) }
      guard let due, due <= end else { break }
      // A deadline in the past would make this loop for ever; production's loop sleeps at least a tick as well.
      now = max(now + .microseconds(1), due)
      for index in stations.indices {
        if let deadline = stations[index].node.nextDeadline, deadline <= now {
          stations[index].node.timeout(at: now)
          drain(index)
        }
      }
      settle()
    }
    now = max(now, end)
  }

  /// The insider's next forged frame, on its way to the component in the middle. False when it cannot forge now.
  @discardableResult
  public func forge(_ choices: inout Choices) -> Forgery? {
    guard let forged = forger.forge(&stations[MemoryNetwork.insider].node, &choices, at: now) else { return nil }
    arrive(forged.bytes, at: MemoryNetwork.middle, port: 2, from: address(MemoryNetwork.insider, 1))
    settle()
    return forged.kind
  }

  /// A packet of a node's own IP stack: virtio header first.
  public func send(_ packet: [UInt8], from index: Int) {
    var packet = packet
    packet.withUnsafeMutableBytes { stations[index].node.bearerSent($0, at: now) }
    drain(index)
    settle()
  }

  /// Whether the insider has a session with the authority and a way to it.
  public var isEstablished: Bool { isReady(stations[MemoryNetwork.insider].node) }

  /// What does not hold of any node's tables now, or nil.
  public func violation() -> String? {
    for (index, station) in stations.enumerated() {
      drain(index)
      if station.pool.freeCount != station.pool.slabCount {
        return "node \(index): \(station.pool.slabCount - station.pool.freeCount) buffers were not given back"
      }
      if station.node.neighbour.tables.numbers.count > 255 { return "node \(index): adjacencies" }
      if station.node.relayDesk.held.count > RelayDesk.heldLimit { return "node \(index): held requests" }
      if station.node.relay.routeCount > RouteTable.defaultLimit { return "node \(index): routes" }
      if station.node.channels.count > station.node.limits.channels { return "node \(index): channels" }
      if station.node.reassembler.fillingCount > 9 { return "node \(index): reassembly" }
      for channel in station.node.channels where channel.stream.underWay.count > 32 {
        return "node \(index): chunks under way"
      }
      guard let authority = station.node.authority else { continue }
      if authority.challenged.count > station.node.channels.count { return "node \(index): challenges" }
      if authority.bySPI.count > 2 * station.node.channels.count { return "node \(index): SPIs" }
      if authority.returnRoutes.count > Ways.limit * LaidWay.returnRoutesLimit * station.node.channels.count {
        return "node \(index): ways back"
      }
    }
    return nil
  }
}
