// The users of the bearers: hosts that send packets, answer echoes, and hold every packet they get against what was
// sent: at the right node, from and to the right address, every byte, and no byte twice.

import Core
import Node

public struct SentPacket {
  public let kind: PacketKind
  public let source: Int
  public let destination: Int
  public let sentAt: Instant
  let sourceAddress: [UInt8]
  let destinationAddress: [UInt8]
  let payload: Int
  /// Parts of the payload that have arrived, and of an echo's answer.
  var arrived: [Range<Int>] = []
  var repliedAt: Instant?
  public fileprivate(set) var arrivedAt: Instant?
  let flow: Int?

  public var roundTrip: Duration? { repliedAt.map { $0 - sentAt } }
  public var isComplete: Bool { arrived.reduce(0) { $0 + $1.count } == payload }
}

public struct Traffic {
  /// By number.
  public internal(set) var packets: [SentPacket] = []
  public internal(set) var flows: [Flow] = []

  /// A packet every `interval`, one way, until it is ended.
  public struct Flow {
    public let source: Int
    public let destination: Int
    let interval: Duration
    let startedAt: Instant
    public internal(set) var sent = 0
    public internal(set) var arrivals: [Instant] = []
    var isRunning = true
    /// Since when there is a way for it; nil: there is none.
    var connectedSince: Instant?
    /// The shortest time a packet took.
    var propagation = Duration.zero
    /// This gap was noted already.
    var isBlamed = false

    mutating func arrived(_ now: Instant, after delay: Duration) {
      arrivals.append(now)
      propagation = arrivals.count == 1 ? delay : min(propagation, delay)
      isBlamed = false
    }

    mutating func isConnected(_ yes: Bool, _ now: Instant) {
      connectedSince = yes ? connectedSince ?? now : nil
    }
  }
}

extension World {
  /// The node's host sends a packet; its number, or nil when either end has no address or no process.
  @discardableResult
  public func send(
    _ kind: PacketKind, from source: Int, to destination: Int, payload: Int = 64, gsoSize: Int = 1200, flow: Int? = nil
  ) -> Int? {
    let box = nodes[source]
    guard box.isRunning, let own = box.addresses, let peer = nodes[destination].addresses else { return nil }
    let number = UInt32(traffic.packets.count)
    traffic.packets.append(
      SentPacket(
        kind: kind, source: source, destination: destination, sentAt: now,
        sourceAddress: own.bytes(isIPv4: kind.isIPv4), destinationAddress: peer.bytes(isIPv4: kind.isIPv4),
        payload: payload, flow: flow))
    hostSends(makePacket(kind, number: number, from: own, to: peer, payload: payload, gsoSize: gsoSize), at: box)
    return Int(number)
  }

  private func hostSends(_ packet: [UInt8], at box: SimulatedNode) {
    deliver(box) { node, time in
      var packet = packet
      packet.withUnsafeMutableBytes { node.bearerSent($0, at: time) }
    }
  }

  func hostReceives(_ packet: [UInt8], at box: SimulatedNode) {
    var problem = ""
    guard let view = PacketView(packet, problem: &problem) else {
      violated("node \(box.number) hands out \(problem)")
      return
    }
    let index = Int(view.number)
    guard traffic.packets.indices.contains(index) else {
      violated("node \(box.number) hands out a packet that nobody sent")
      return
    }
    let sent = traffic.packets[index]
    let toward = view.isReply ? sent.source : sent.destination
    if sent.kind != view.kind || toward != box.number {
      violated("packet \(index) for node \(toward) comes out at node \(box.number)")
      return
    }
    let (source, destination) =
      view.isReply
      ? (sent.destinationAddress, sent.sourceAddress) : (sent.sourceAddress, sent.destinationAddress)
    if view.source != source || view.destination != destination {
      violated("packet \(index) comes out with other addresses")
      return
    }
    let part = view.start..<(view.start + view.payload.count)
    if part.upperBound > sent.payload || (!sent.kind.isTCP && part.count != sent.payload) {
      violated("packet \(index) comes out with bytes \(part) of \(sent.payload)")
      return
    }
    for (place, byte) in view.payload.enumerated() where byte != payloadByte(view.number, part.lowerBound + place) {
      violated("packet \(index) comes out changed at byte \(part.lowerBound + place)")
      return
    }
    if view.isReply {
      if sent.repliedAt != nil { violated("the answer to packet \(index) comes out twice") }
      traffic.packets[index].repliedAt = now
      return
    }
    if sent.arrived.contains(where: { $0.overlaps(part) }) {
      violated("packet \(index) comes out twice at node \(box.number)")
      return
    }
    traffic.packets[index].arrived.append(part)
    if traffic.packets[index].isComplete {
      traffic.packets[index].arrivedAt = now
      if let flow = sent.flow { traffic.flows[flow].arrived(now, after: now - sent.sentAt) }
    }
    if view.kind.isEcho, let own = box.addresses, let peer = nodes[sent.source].addresses {
      let reply = makePacket(view.kind, number: view.number, from: own, to: peer, payload: sent.payload, isReply: true)
      // Once the packet's own event is over: a host does not answer from inside its driver.
      after(.microseconds(10)) { $0.hostSends(reply, at: box) }
    }
  }

  // MARK: Flows

  /// Its number.
  public func startFlow(
    from source: Int, to destination: Int, every interval: Duration = .milliseconds(5), payload: Int = 200
  ) -> Int {
    let flow = traffic.flows.count
    traffic.flows.append(
      Traffic.Flow(source: source, destination: destination, interval: interval, startedAt: now))
    watch.connectionsAreStale = true
    continueFlow(flow, interval, payload)
    return flow
  }

  private func continueFlow(_ flow: Int, _ interval: Duration, _ payload: Int) {
    guard traffic.flows[flow].isRunning else { return }
    let (source, destination) = (traffic.flows[flow].source, traffic.flows[flow].destination)
    if send(.udp4, from: source, to: destination, payload: payload, flow: flow) != nil { traffic.flows[flow].sent += 1 }
    after(interval) { $0.continueFlow(flow, interval, payload) }
  }

  public func endFlow(_ flow: Int) { traffic.flows[flow].isRunning = false }

  /// The longest time without an arrival between these instants.
  public func longestGap(_ flow: Int, from start: Instant, to end: Instant) -> Duration {
    var last = start
    var gap = Duration.zero
    for arrival in traffic.flows[flow].arrivals where arrival > start && arrival <= end {
      gap = max(gap, arrival - last)
      last = arrival
    }
    return max(gap, end - last)
  }

  // MARK: Reachability

  /// Sends one echo from the MA to each of these nodes; those that have not answered within `patience`.
  public func unanswered(_ targets: [Int]? = nil, patience: Duration = .milliseconds(200)) -> [Int] {
    let wanted = (targets ?? Array(nodes.indices)).filter { $0 != authority }
    var numbers: [(Int, Int?)] = []
    for (place, target) in wanted.enumerated() {
      numbers.append((target, send(place % 2 == 0 ? .echo4 : .echo6, from: authority, to: target)))
    }
    _ = run(atMost: patience, every: .milliseconds(5)) { world in
      numbers.allSatisfy { $0.1.map { world.traffic.packets[$0].repliedAt != nil } ?? false }
    }
    return numbers.filter { $0.1.map { traffic.packets[$0].repliedAt == nil } ?? true }.map { $0.0 }
  }

  /// The time until every one of these nodes has answered an echo, tried again and again.
  public func timeToReach(_ targets: [Int]? = nil, atMost limit: Duration) -> Duration? {
    let start = now
    var missing = targets ?? Array(nodes.indices)
    while now - start <= limit {
      let before = now
      missing = unanswered(missing, patience: .milliseconds(50))
      if missing.isEmpty { return now - start }
      if now == before { run(for: .milliseconds(10)) }
    }
    return nil
  }
}
