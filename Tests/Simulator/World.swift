// A network of whole nodes in virtual time. One queue of events; everything that chance decides comes from one seed, so
// that a seed and a layout give the same run, byte for byte (`trace`). What must never happen is looked for at every
// step and noted in `violations`: a run that ends with an empty list kept every rule, whatever else it showed.
//
// The rejected alternative, threads and real clocks with short pauses, neither repeats nor reaches an hour in a second.

import Core
import Crypto
import Membership
import Node
import Store

public final class World {
  public let seed: UInt64
  public internal(set) var now = Instant(nanoseconds: 1_000_000_000)
  public internal(set) var nodes: [SimulatedNode] = []
  public private(set) var trace = TraceDigest()
  public private(set) var violations: [String] = []
  /// Buffers of each node's pool, from its next start on; as many as the program has.
  public var poolSize = 768
  /// When MAs renew the keys of sessions, from their next start on.
  public var renewal = SessionRenewal()
  /// Of ports connected from now on: sets the pace of hellos.
  public var portMedium = PortMedium.ethernet
  /// Prints what nodes log.
  public var isTalkative = false
  /// What the bearers' users sent and got.
  public internal(set) var traffic = Traffic()
  /// The number of the MA.
  public internal(set) var authority = 0

  /// Called with every frame that is sent into a medium that somebody listens to.
  var listeners: [Int: (World, HeardFrame) -> Void] = [:]
  var spareSecrets: [EnrolmentSecret] = []
  /// By node: its store when it was added.
  var firstStores: [[UInt8]] = []
  var media: [Medium] = []
  var random: SeededRandom
  private var queue = EventQueue()

  static let violationLimit = 20
  /// Lateness a loop does not report.
  static let lateTolerance = Duration.milliseconds(5)

  public init(seed: UInt64) {
    self.seed = seed
    random = SeededRandom(seed: seed)
  }

  // MARK: Building

  @discardableResult
  public func addNode(store: [UInt8]) -> SimulatedNode {
    let node = SimulatedNode(
      number: nodes.count, store: store, clockOrigin: .milliseconds(Int64(random.below(1_000_000))))
    nodes.append(node)
    firstStores.append(store)
    return node
  }

  /// A medium with a new port at each of these nodes; its number.
  @discardableResult
  public func connect(_ kind: MediumKind, _ ends: [Int], frameSize: Int = 1500) -> Int {
    var taps: [Tap] = []
    for (place, end) in ends.enumerated() {
      let port = nodes[end].ports.count
      let address = MACAddress(0x0200_0000_0000 | UInt64(end) << 8 | UInt64(port))
      nodes[end].ports.append(
        SimulatedPort(
          name: "eth\(port)", address: address, medium: media.count, tap: place, frameSize: frameSize,
          portMedium: portMedium))
      taps.append(Tap(node: end, port: port))
    }
    media.append(Medium(kind: kind, taps: taps))
    return media.count - 1
  }

  func violated(_ what: String) {
    if violations.count < World.violationLimit {
      violations.append("\((now.nanoseconds - 1_000_000_000) / 1_000) µs: \(what)")
    }
  }

  // MARK: Time

  public var elapsed: Duration { now - Instant(nanoseconds: 1_000_000_000) }

  public func after(_ delay: Duration, _ action: @escaping (World) -> Void) {
    queue.push(.action(action), at: now + delay)
  }

  public func run(for length: Duration) { run(until: now + length) }

  public func run(until end: Instant) {
    while let next = queue.nextTime, next <= end.nanoseconds { step() }
    now = end
  }

  /// Runs until `isReached`, which is asked every `pace`; the time it took, nil when the limit came first.
  public func run(
    atMost limit: Duration, every pace: Duration = .milliseconds(10), until isReached: (World) -> Bool
  ) -> Duration? {
    let start = now
    while now - start <= limit {
      if isReached(self) { return now - start }
      run(for: pace)
    }
    return nil
  }

  private func step() {
    guard let (time, event) = queue.pop() else { return }
    now = time
    switch event {
    case .arrival(let node, let port, let source, let bytes): arrive(nodes[node], port, source, bytes)
    case .deadline(let node, let turn): deadline(nodes[node], turn)
    case .resume(let node): resume(nodes[node])
    case .action(let action): action(self)
    }
  }

  func schedule(_ event: WorldEvent, at time: Instant) { queue.push(event, at: max(time, now)) }

  // MARK: Into a node

  /// Does something to a running node, carries out what it then wants, and sets its next deadline.
  func enter(_ box: SimulatedNode, _ body: (inout Node) -> Void) {
    guard let running = box.running else { return }
    body(&running.node)
    drain(box, running)
    setDeadline(box, running)
  }

  private func setDeadline(_ box: SimulatedNode, _ running: RunningNode) {
    let due = running.node.nextDeadline.map { box.world($0) }
    if due == box.awaited { return }
    box.awaited = due
    box.turn += 1
    if let due, due != .never { schedule(.deadline(node: box.number, turn: box.turn), at: due) }
  }

  private func deadline(_ box: SimulatedNode, _ turn: Int) {
    guard box.turn == turn, !box.isPaused, box.running != nil else { return }
    trace.event(1, at: now.nanoseconds, box.number, 0)
    box.timeoutsAtOnce = box.lastTimeout == now ? box.timeoutsAtOnce + 1 : 0
    box.lastTimeout = now
    box.awaited = nil
    if box.timeoutsAtOnce == 100 {
      violated("node \(box.number) sets a deadline that is due, again and again")
      return
    }
    enter(box) { $0.timeout(at: box.own(now)) }
  }

  /// Now, or when the node's loop runs on.
  func deliver(_ box: SimulatedNode, _ body: @escaping (inout Node, Instant) -> Void) {
    if box.isPaused {
      if box.backlog.count < SimulatedNode.backlogLimit { box.backlog.append(body) }
    } else {
      enter(box) { body(&$0, box.own(now)) }
    }
  }

  private func arrive(_ box: SimulatedNode, _ port: Int, _ source: MACAddress, _ bytes: [UInt8]) {
    guard let running = box.running, box.ports[port].hasCarrier else { return }
    trace.event(2, at: now.nanoseconds, box.number, port)
    trace.mix(bytes)
    box.framesReceived += 1
    deliver(box) { [weak running] node, time in
      guard let pool = running?.pool, var buffer = pool.take(), bytes.count <= buffer.tailRoom else { return }
      bytes.withUnsafeBytes {
        UnsafeMutableRawPointer(buffer.bytes).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
      }
      buffer.count = bytes.count
      node.receive(buffer, on: PortNumber(UInt16(port + 1)), from: source, at: time)
    }
  }

  private func resume(_ box: SimulatedNode) {
    guard box.isPaused else { return }
    box.isPaused = false
    guard let running = box.running else { return }
    let awaited = box.awaited
    let backlog = box.backlog
    box.backlog = []
    // As the loop does it: what has arrived first, and only then deadlines.
    for body in backlog { enter(box) { body(&$0, box.own(now)) } }
    if let awaited, now - awaited > World.lateTolerance {
      enter(box) { $0.loopWasLate(by: now - awaited, at: box.own(now)) }
    }
    if let due = running.node.nextDeadline, due <= box.own(now) { enter(box) { $0.timeout(at: box.own(now)) } }
    box.awaited = nil
    setDeadline(box, running)
  }

  // MARK: Out of a node

  private func drain(_ box: SimulatedNode, _ running: RunningNode) {
    var packets: [[UInt8]] = []
    while let output = running.node.nextOutput() {
      switch output {
      case .transmit(let buffer, let port, let destination): transmit(box, running.pool, buffer, port, destination)
      case .deliver(let packet): packets.append(Array(packet))
      case .configureBearer(let addresses): box.addresses = addresses
      case .persist(let bytes):
        box.store = bytes
        box.persistCount += 1
        trace.mix(bytes)
      case .event(let level, let text):
        trace.mix(Array(text.utf8))
        if box.log.count < SimulatedNode.logLimit { box.log.append((now, level, text)) }
        if isTalkative { print("\(elapsed.microseconds) µs node \(box.number) \(level): \(text)") }
      }
    }
    if running.pool.freeCount != running.pool.slabCount {
      violated("node \(box.number) holds \(running.pool.slabCount - running.pool.freeCount) buffers after an event")
    }
    for packet in packets {
      trace.event(3, at: now.nanoseconds, box.number, 0)
      trace.mix(packet)
      hostReceives(packet, at: box)
    }
  }

  private func transmit(
    _ box: SimulatedNode, _ pool: PacketPool, _ buffer: PacketBuffer, _ port: PortNumber, _ destination: MACAddress
  ) {
    let bytes = Array(UnsafeBufferPointer(start: buffer.bytes, count: buffer.count))
    if buffer.start < 14 { violated("node \(box.number) leaves no room for an Ethernet header") }
    pool.give(buffer)
    let index = Int(port.value) - 1
    guard box.ports.indices.contains(index) else {
      violated("node \(box.number) sends on port \(port.value), which does not exist")
      return
    }
    if bytes.count > box.ports[index].frameSize {
      violated("node \(box.number) sends \(bytes.count) bytes on a port of \(box.ports[index].frameSize)")
      return
    }
    box.framesSent += 1
    if let first = bytes.first, first >> 4 == 4 { box.onionFramesSent += 1 }
    guard box.ports[index].hasCarrier else { return }
    carry(bytes, from: box, index, to: destination)
  }

  // MARK: Between nodes

  private func carry(_ bytes: [UInt8], from box: SimulatedNode, _ port: Int, to destination: MACAddress) {
    let number = box.ports[port].medium
    let place = box.ports[port].tap
    let quality = media[number].taps[place].quality
    if let listener = listeners[number] {
      let frame = HeardFrame(bytes: bytes, source: box.ports[port].address, destination: destination)
      // Once the sender's own event is over.
      after(.zero) { listener($0, frame) }
    }
    var leaves = now
    if let rate = quality.bitsPerSecond {
      let start = max(now, media[number].taps[place].busyUntil)
      if start - now > Medium.queueLimit { return }
      leaves = start + .nanoseconds(Int64(bytes.count + 38) * 8_000_000_000 / rate)
      media[number].taps[place].busyUntil = leaves
    }
    let medium = media[number]
    if medium.isCut || !medium.lets(through: destination) || bytes.count > medium.largestFrame { return }
    for (other, tap) in medium.taps.enumerated() where other != place {
      let address = nodes[tap.node].ports[tap.port].address
      let isGroup = destination.value >> 40 & 1 == 1
      guard isGroup || destination == address else { continue }
      let copies = random.happens(quality.duplication) ? 2 : 1
      for _ in 0..<copies {
        if random.happens(quality.loss) { continue }
        var arrived = bytes
        if random.happens(quality.corruption) {
          for _ in 0...random.below(4) { arrived[random.below(arrived.count)] ^= 1 << UInt8(random.below(8)) }
        }
        var arrives = leaves + quality.delay
        if quality.jitter > .zero {
          arrives = arrives + .nanoseconds(Int64(random.below(Int(quality.jitter.nanoseconds))))
        }
        schedule(
          .arrival(node: tap.node, port: tap.port, source: box.ports[port].address, bytes: arrived), at: arrives)
      }
    }
  }
}
