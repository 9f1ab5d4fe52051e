// What the loop is made of beside the loop itself: limits, options, counters, and where an epoll event comes from.

import CSystem
import Core

public struct LoopOptions {
  /// Frames go past the queueing discipline, straight to the driver. Off: the discipline knows that they go first.
  public var bypassesQueueing: Bool
  /// SIGTERM, SIGINT and SIGHUP are blocked for the process and come through the loop: set before other threads exist.
  public var handlesSignals: Bool
  /// Where the control socket is to be, or nil for none.
  public var controlPath: [UInt8]?

  public init(bypassesQueueing: Bool = false, handlesSignals: Bool = false, controlPath: [UInt8]? = nil) {
    self.bypassesQueueing = bypassesQueueing
    self.handlesSignals = handlesSignals
    self.controlPath = controlPath
  }
}

enum LoopLimits {
  static let eventsAtOnce = 64
  /// From the first frame of a turn to judging deadlines at most, whatever the sockets still hold.
  static let drainTime = Duration.milliseconds(2)
  static let bearerPacketsPerTurn = 64
  static let bearerPacketsPerRound = 16
  /// Reads of the bearer that fail one after the other before it is taken for dead.
  static let bearerFailures = 16
  /// A virtio header, an IP packet, and slack so that a longer one is seen to be longer.
  static let bearerPacketSize = 10 + 65_535 + 64
  /// Lateness that is nobody's business: hello intervals are 10 ms and more.
  static let tolerance = Duration.milliseconds(5)
  /// A driver's queue of 256 full-size frames at 10 Gb/s is empty by then.
  static let retryAfter = Duration.microseconds(300)
  /// At the end, for the store and for undoing what was made.
  static let parting = Duration.seconds(10)
  /// Buffers kept for ports that can send.
  static let reservedBuffers = 256

  /// Takes one entry out of a list that has no order.
  static func remove(_ entry: Int32, from list: UnsafeMutablePointer<Int32>, _ count: inout Int) {
    for i in 0..<count where list[i] == entry {
      count -= 1
      list[i] = list[count]
      return
    }
  }
}

/// Where an epoll event comes from: the upper half of its tag.
enum Source: UInt8 {
  case port, bearer, monitor, house, signals, control, tunnel

  func tag(_ low: Int = 0) -> UInt64 { UInt64(rawValue) << 32 | UInt64(truncatingIfNeeded: low) }
}

/// A port whose socket is being opened.
struct PortOpening {
  let ticket: UInt32
  let ifindex: Int32
  var status: PortStatus
  /// It is gone again.
  var isCancelled = false
}

/// An answer on the control socket, given when the store is on the medium.
struct WaitingAnswer {
  let client: ControlServer.ClientName
  let answer: ControlAnswer
  /// How many contents the node had given to be written.
  let contents: UInt64
  /// It is about what was written for it.
  let isWritten: Bool
}

struct LoopCounters {
  var turns: UInt64 = 0
  /// Turns in which deadlines were judged more than the tolerance too late, and the worst of them.
  var late: UInt64 = 0
  var latest = Duration.zero
  var bearerRead: UInt64 = 0
  var bearerWritten: UInt64 = 0
  /// Packets the kernel did not take.
  var bearerRefused: UInt64 = 0
  /// Frames for a port that is gone.
  var unknownPort: UInt64 = 0
  var portsRefused: UInt64 = 0
}
