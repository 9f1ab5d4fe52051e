// One box: what outlives its process (store, ports) and the running node, when there is one.

import Core
import Node

/// A noncopyable node needs a home of its own.
final class RunningNode {
  var node: Node
  let pool: PacketPool

  init(_ node: consuming Node, _ pool: PacketPool) {
    self.node = node
    self.pool = pool
  }
}

struct SimulatedPort {
  let name: String
  let address: MACAddress
  let medium: Int
  let tap: Int
  var frameSize: Int
  var hasCarrier = true

  var status: PortStatus {
    PortStatus(
      name: name, address: address, frameSize: frameSize, isUp: hasCarrier, medium: .ethernet, riskGroup: 0)
  }
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
  /// What its own clock shows when the world's shows zero.
  let clockOrigin: Duration
  var ports: [SimulatedPort] = []
  var running: RunningNode?

  var isPaused = false
  var backlog: [(inout Node, Instant) -> Void] = []
  /// The deadline the loop waits for.
  var awaited: Instant?
  /// Told apart from deadlines that were replaced.
  var turn = 0
  var timeoutsAtOnce = 0
  var lastTimeout = Instant.zero

  public internal(set) var addresses: BearerAddresses?
  public internal(set) var framesSent = 0
  public internal(set) var framesReceived = 0
  public internal(set) var onionFramesSent = 0
  public internal(set) var persistCount = 0
  public internal(set) var log: [(time: Instant, level: LogLevel, text: String)] = []

  public var isRunning: Bool { running != nil }

  init(number: Int, store: [UInt8], clockOrigin: Duration) {
    self.number = number
    self.store = store
    self.clockOrigin = clockOrigin
  }

  /// The world's time on this node's own clock.
  func own(_ time: Instant) -> Instant { time + clockOrigin }
  func world(_ time: Instant) -> Instant { time == .never ? .never : time - clockOrigin }

  /// Some log line holds this.
  public func hasLogged(_ part: String) -> Bool { log.contains { $0.text.contains(part) } }
}
