// A network of whole nodes in virtual time. One queue of events; everything that chance decides comes from one seed, so
// that a seed and a layout give the same run, byte for byte (`trace`). What must never happen is looked for at every
// step and noted in `violations`: a run that ends with an empty list kept every rule, whatever else it showed.
//
// All nodes draw their buffers from one pool, since none may hold one between its events; so memory stays warm, and
// 10,000 nodes need no more of it than one.
//
// The rejected alternative, threads and real clocks with short pauses, neither repeats nor reaches an hour in a second.

import Core
import Crypto
import Membership
import Node
import CSimulator
import Store

public final class World {
  public let seed: UInt64
  public internal(set) var now = World.beginning
  public internal(set) var nodes: [SimulatedNode] = []
  public internal(set) var trace = TraceDigest()
  public private(set) var violations: [String] = []
  /// Of the nodes' pool, from their next start on; as many as the program has.
  public var poolSize = 768 {
    didSet {
      pool = World.freshPool(poolSize)
      leaked = 0
    }
  }
  /// When MAs renew the keys of sessions, from their next start on.
  public var renewal = SessionRenewal()
  /// How large a network MAs manage, from their next start on.
  public var limits = NodeLimits()
  /// Bytes of an MA's store, where it is to be larger than the shipped program's.
  public var storeRoom: Int?
  /// Of ports connected from now on: sets the pace of hellos.
  public var portMedium = PortMedium.ethernet
  /// Prints what nodes log.
  public var isTalkative = false
  /// What the bearers' users sent and got.
  public internal(set) var traffic = Traffic()
  /// The numbers of the MAs.
  public internal(set) var authorities = [0]
  /// The first MA's.
  public var authority: Int { authorities[0] }
  /// What the oracles hold a run to.
  public var rules = Rules()

  /// Called with every frame that is sent into a medium that somebody listens to.
  var listeners: [Int: (World, HeardFrame) -> Void] = [:]
  var spareSecrets: [EnrolmentSecret] = []
  /// By node: its store when it was added.
  var firstStores: [[UInt8]] = []
  var media: [Medium] = []
  var taps: [Tap] = []
  var random: SeededRandom
  var pool: PacketPool
  /// Buffers that some node has kept, which was noted as a violation.
  var leaked = 0
  var queue = EventQueue()
  var frames = FrameStore()
  var trails = TrailTable()
  /// Of the frame that the node at hand passes on.
  var passing: Passing?
  var watch = Watch()
  var mischief: Mischief?
  /// The node whose turns `meter` measures; none when negative.
  public var metered = -1
  public var meter = Meter()
  private var actions: [((World) -> Void)?] = []
  private var freeActions: [Int32] = []

  static let beginning = Instant(nanoseconds: 1_000_000_000)
  static let violationLimit = 20
  /// Lateness a loop does not report.
  static let lateTolerance = Duration.milliseconds(5)

  public init(seed: UInt64) {
    self.seed = seed
    // The portable implementations take four times as long for a frame of N = 64.
    invariant(Sodium.initialize(), "libsodium starts")
    random = SeededRandom(seed: seed)
    pool = World.freshPool(poolSize)
    simulator_memo_use(1)
  }

  private static func freshPool(_ count: Int) -> PacketPool {
    PacketPool(slabSize: SimulatedNode.slabSize, slabCount: count)
  }

  // MARK: Building

  @discardableResult
  public func addNode(store: [UInt8]) -> SimulatedNode {
    let origin = Duration.milliseconds(Int64(random.below(1_000_000)))
    let node = SimulatedNode(number: nodes.count, store: store, clock: SimulatedClock(origin: origin, at: now))
    nodes.append(node)
    firstStores.append(store)
    return node
  }

  /// A medium with a new port at each of these nodes; its number.
  @discardableResult
  public func connect(_ kind: MediumKind, _ ends: [Int], frameSize: Int = 1500, riskGroup: UInt32 = 0) -> Int {
    var places: [Int] = []
    let ofPort = kind == .tunnel ? PortMedium.tunnel : portMedium
    for end in ends {
      let port = nodes[end].ports.count
      let address = MACAddress(0x0200_0000_0000 | UInt64(end) << 8 | UInt64(port))
      nodes[end].ports.append(
        SimulatedPort(
          name: "eth\(port)", address: address, medium: media.count, tap: taps.count, portMedium: ofPort,
          riskGroup: riskGroup))
      nodes[end].taps.append(Int32(taps.count))
      places.append(taps.count)
      var tap = Tap(
        node: Int32(end), port: Int32(port), medium: Int32(media.count), address: address,
        frameSize: Int32(frameSize))
      if kind == .tunnel { tap.quality = .tunnel }
      taps.append(tap)
    }
    if places.count == 2, kind == .cable || kind == .tunnel {
      taps[places[0]].peer = Int32(places[1])
      taps[places[1]].peer = Int32(places[0])
    }
    media.append(Medium(kind: kind, taps: places))
    return media.count - 1
  }

  func violated(_ what: String, at node: Int? = nil) {
    if violations.count < World.violationLimit {
      let place = node.map { " node \($0)" } ?? ""
      violations.append("\(elapsed.microseconds) µs\(place): \(what)")
    }
  }

  // MARK: Time

  public var elapsed: Duration { now - World.beginning }

  public func after(_ delay: Duration, _ action: @escaping (World) -> Void) {
    let reference: Int32
    if let free = freeActions.popLast() {
      reference = free
      actions[Int(free)] = action
    } else {
      reference = Int32(actions.count)
      actions.append(action)
    }
    queue.push(.action, at: max(now + delay, now), place: 0, reference: reference)
  }

  public func run(for length: Duration) { run(until: now + length) }

  public func run(until end: Instant) {
    while let event = queue.pop(notAfter: end.nanoseconds) {
      now = Instant(nanoseconds: event.time)
      switch event.kind {
      case .arrival: arrive(Int(event.place), event.reference)
      case .deadline: deadline(nodes[Int(event.place)], event.reference)
      case .resume: resume(nodes[Int(event.place)])
      case .action: act(event.reference)
      }
      if now.nanoseconds >= watch.due { lookAround() }
    }
    now = end
  }

  private func act(_ reference: Int32) {
    let action = actions[Int(reference)]
    actions[Int(reference)] = nil
    freeActions.append(reference)
    action?(self)
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

  /// Of the buffers that all nodes share.
  public var poolBytes: Int { pool.slabSize * pool.slabCount }

  /// Events that wait, frames under way, and bytes of both.
  public var underWay: (events: Int, frames: Int, bytes: Int) { (queue.count, frames.count, frames.bytes) }
}
