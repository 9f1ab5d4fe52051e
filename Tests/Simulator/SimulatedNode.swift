// One box: what outlives its process (store, ports, clock) and the running node, when there is one.

import Core
import Node

/// A noncopyable node needs a home of its own, which the world reaches by one pointer.
final class RunningNode {
  let storage: UnsafeMutablePointer<Node>
  let pool: PacketPool
  /// Contents of the store since it started.
  var persisted: UInt64 = 0

  init(_ node: consuming Node, _ pool: PacketPool) {
    storage = .allocate(capacity: 1)
    storage.initialize(to: node)
    self.pool = pool
  }

  deinit {
    storage.deinitialize(count: 1)
    storage.deallocate()
  }

  var node: Node {
    _read { yield storage.pointee }
    _modify { yield &storage.pointee }
  }
}

struct SimulatedPort {
  let name: String
  let address: MACAddress
  let medium: Int
  /// Index among the world's taps.
  let tap: Int
  var portMedium = PortMedium.ethernet
  var riskGroup: UInt32 = 0
}

/// What a late loop finds waiting.
enum Waiting {
  case frame(port: Int, handle: Int32)
  case call((inout Node, Instant) -> Void)
}

/// What a node does with ONION frames that it should pass on.
public enum Conduct: Sendable, Equatable {
  case honest
  /// A grey hole: drops them, and passes hellos and everything else.
  case greyHole
  /// Drops those that go on to this node.
  case greyTowards(Int)
}

public final class SimulatedNode {
  /// Bytes of a buffer.
  static let slabSize = 12_288
  /// Frames the system keeps for a loop that is late.
  static let backlogLimit = 512
  static let logLimit = 4_096

  public let number: Int
  /// What the box has in flash: the last thing its node wrote.
  public var store: [UInt8]
  /// As it was provisioned.
  let firstStore: [UInt8]
  var clock: SimulatedClock
  public var conduct = Conduct.honest
  var ports: [SimulatedPort] = []
  /// Of its ports, in order: indices of the world's taps.
  var taps: [Int32] = []
  var running: RunningNode?
  public internal(set) var startedAt = Instant.zero

  public internal(set) var isPaused = false
  var backlog: [Waiting] = []
  /// When the one deadline event counts that is in the queue; `never` without one.
  var awaited = Instant.never
  /// Told apart from deadlines that were replaced.
  var turn: Int32 = 0
  var timeoutsAtOnce = 0
  var lastTimeout = Instant.zero

  public internal(set) var addresses: BearerAddresses?
  public internal(set) var framesSent = 0
  public internal(set) var framesReceived = 0
  public internal(set) var onionFramesSent = 0
  public internal(set) var persistCount = 0
  /// Its flash takes for ever: see `World.storeAnswers`.
  public var keepsStoreWaiting = false
  public internal(set) var log: [(time: Instant, level: LogLevel, text: String)] = []

  public var isRunning: Bool { running != nil }

  init(number: Int, store: [UInt8], clock: SimulatedClock) {
    self.number = number
    self.store = store
    firstStore = store
    self.clock = clock
  }

  /// The world's time on this node's own clock.
  @inline(__always)
  func own(_ time: Instant) -> Instant { clock.own(time) }

  /// Some log line holds this.
  public func hasLogged(_ part: String) -> Bool { log.contains { $0.text.contains(part) } }
}
