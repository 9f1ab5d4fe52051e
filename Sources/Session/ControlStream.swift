// The reliable half of a session's control channel: messages cut into chunks of 512 bytes, numbered, acknowledged
// with a bitmap, sent again after a time-out that doubles. In order, once each. One a session; a new session starts anew.
// A message's chunks are acknowledged together: on a way of N = 64 an acknowledgement is as dear as a chunk.

import Core

/// What to send for a stream now.
public enum ControlStreamSend {
  case chunk(number: UInt32, isLast: Bool, bytes: [UInt8], attempt: Int)
  case acknowledgement(next: UInt32, bitmap: UInt32)
}

public struct ControlStream {
  public static let chunkSize = 512
  /// Chunks under way.
  public static let window = 32
  /// Chunks waiting: 256 × 512 B = 128 KiB; a sender that finds no room tries again later.
  public static let queueLimit = 256
  /// Bytes of one message.
  public static let messageLimit = 32_768
  static let firstTimeout = Duration.milliseconds(40)
  static let longestTimeout = Duration.seconds(1)
  /// Chunks that come in order within one message are acknowledged together, so many at most.
  static let acknowledgedAtOnce = 8
  /// From the first time-out to the longest.
  static let doublingsLimit = 5
  /// So many sendings of one chunk without an answer, and the session is taken for dead: 6 to 10 s.
  public static let attemptLimit = 10

  struct Chunk {
    var number: UInt32
    var isLast: Bool
    var bytes: [UInt8]
    var attempts = 0
    var due = Instant.zero
    /// When it was sent, as long as that was once: only then is the answer a measure (Karn 1987).
    var sentOnceAt: Instant?
    var wasSent = false
    var acknowledged = false
  }

  private var waiting = BoundedQueue<Chunk>(limit: ControlStream.queueLimit)
  private(set) var underWay: [Chunk] = []
  private var nextNumber: UInt32 = 0
  /// Of chunks that were sent once, smoothed by eighths; nil before the first.
  public private(set) var smoothedRoundTrip: Duration?
  /// Doublings the next time-out begins with. They are kept from a chunk that had to be repeated to the next, until one
  /// is answered that was sent once: otherwise a round trip longer than the time-out would never be measured.
  private var doublings = 0

  private var expected: UInt32 = 0
  private(set) var early: [Chunk] = []
  private var assembling: [UInt8] = []
  /// The message grew too long; the rest of it is dropped.
  private var isDiscarding = false
  private var acknowledgementIsDue = false
  /// Chunks that came since the last acknowledgement.
  private var unacknowledged = 0
  /// Chunks in a row that had come before: what acknowledged them was lost, perhaps on its way back.
  public private(set) var repetitions = 0
  private var arrived = BoundedQueue<[UInt8]>(limit: 64)
  /// Chunks refused: out of the window, or of a message that grew too long.
  public private(set) var refused: UInt64 = 0

  public init() { self.init(firstNumber: 0) }

  init(firstNumber: UInt32) {
    nextNumber = firstNumber
    expected = firstNumber
  }

  /// True when a chunk was sent `attemptLimit` times in vain; until a late answer, or `hurry()`.
  public private(set) var hasGivenUp = false

  public var isIdle: Bool { underWay.isEmpty && waiting.isEmpty }

  /// False, and nothing changed, when there is no room or the message is too long.
  public mutating func send(_ message: [UInt8]) -> Bool {
    let chunks = max(1, (message.count + ControlStream.chunkSize - 1) / ControlStream.chunkSize)
    guard message.count <= ControlStream.messageLimit, waiting.count + chunks <= waiting.limit else { return false }
    for i in 0..<chunks {
      let from = i * ControlStream.chunkSize
      let bytes = Array(message[from..<min(message.count, from + ControlStream.chunkSize)])
      waiting.append(Chunk(number: nextNumber, isLast: i == chunks - 1, bytes: bytes))
      nextNumber &+= 1
    }
    return true
  }

  /// Behind the last message given to `send`; see `isDelivered`.
  public var mark: UInt32 { nextNumber }

  /// Whether everything sent before `mark` was read is acknowledged.
  public func isDelivered(before mark: UInt32) -> Bool {
    let oldest = underWay.first?.number ?? waiting.first?.number ?? nextNumber
    return oldest &- mark < 1 << 31
  }

  /// What is due now; nil when nothing is. Messages wait while only acknowledgements may be sent.
  public mutating func nextSend(at now: Instant, onlyAcknowledging: Bool = false) -> ControlStreamSend? {
    if acknowledgementIsDue {
      acknowledgementIsDue = false
      unacknowledged = 0
      var bitmap: UInt32 = 0
      for chunk in early { bitmap |= 1 << (chunk.number &- expected &- 1) }
      return .acknowledgement(next: expected, bitmap: bitmap)
    }
    if hasGivenUp || onlyAcknowledging { return nil }
    for i in underWay.indices where !underWay[i].acknowledged && underWay[i].due <= now { return sendAgain(i, now) }
    if underWay.count < ControlStream.window, let chunk = waiting.popFirst() {
      underWay.append(chunk)
      return sendAgain(underWay.count - 1, now)
    }
    return nil
  }

  private mutating func sendAgain(_ i: Int, _ now: Instant) -> ControlStreamSend? {
    if underWay[i].attempts >= ControlStream.attemptLimit {
      hasGivenUp = true
      return nil
    }
    underWay[i].attempts += 1
    underWay[i].due = now + timeout(doublings: doublings + underWay[i].attempts - 1)
    underWay[i].sentOnceAt = underWay[i].wasSent ? nil : now
    underWay[i].wasSent = true
    let chunk = underWay[i]
    return .chunk(number: chunk.number, isLast: chunk.isLast, bytes: chunk.bytes, attempt: chunk.attempts)
  }

  private func timeout(doublings: Int) -> Duration {
    var timeout = max(ControlStream.firstTimeout, (smoothedRoundTrip ?? .zero) * 3)
    for _ in 0..<doublings where timeout < ControlStream.longestTimeout { timeout = timeout * 2 }
    return min(timeout, ControlStream.longestTimeout)
  }

  /// Nothing to send and nothing to acknowledge.
  public var isSilent: Bool { isIdle && !acknowledgementIsDue }

  /// Everything under way is due again at once, as if for the first time: the carrier has changed.
  public mutating func hurry() {
    hasGivenUp = false
    doublings = 0
    for i in underWay.indices {
      underWay[i].due = .zero
      underWay[i].attempts = 0
    }
  }

  public var nextDeadline: Instant? {
    if acknowledgementIsDue { return .zero }
    if hasGivenUp { return nil }
    if underWay.count < ControlStream.window, !waiting.isEmpty { return .zero }
    var deadline: Instant?
    for chunk in underWay where !chunk.acknowledged { deadline = earlier(deadline, chunk.due) }
    return deadline
  }

  public mutating func receiveAcknowledgement(next: UInt32, bitmap: UInt32, at now: Instant) {
    guard let first = underWay.first else { return }
    // Only numbers under way count; anything else is old or made up.
    guard next &- first.number <= UInt32(underWay.count) else { return }
    var repeats: Int?
    var measured = false
    for i in underWay.indices where !underWay[i].acknowledged {
      let ahead = underWay[i].number &- next
      let isCovered = ahead >= 1 << 31 || (ahead >= 1 && ahead <= 32 && bitmap & (1 << (ahead - 1)) != 0)
      if isCovered {
        underWay[i].acknowledged = true
        repeats = max(repeats ?? 0, underWay[i].attempts - 1)
        if let sent = underWay[i].sentOnceAt {
          measured = true
          let sample = now - sent
          smoothedRoundTrip = smoothedRoundTrip.map { ($0 * 7 + sample) / 8 } ?? sample
        }
      }
    }
    while let chunk = underWay.first, chunk.acknowledged { underWay.removeFirst() }
    guard let repeats else { return }
    doublings = measured ? 0 : min(doublings + repeats, ControlStream.doublingsLimit)
    // A late answer is an answer.
    if hasGivenUp { hurry() }
  }

  public mutating func receiveChunk(number: UInt32, isLast: Bool, bytes: [UInt8]) {
    let ahead = number &- expected
    unacknowledged += 1
    // Whatever is not simply the next one of a message tells of a loss.
    if ahead != 0 || isLast || !early.isEmpty || unacknowledged >= ControlStream.acknowledgedAtOnce {
      acknowledgementIsDue = true
    }
    if ahead >= 1 << 31 {
      repetitions += 1
      return
    }
    guard ahead < UInt32(ControlStream.window), bytes.count <= ControlStream.chunkSize,
      arrived.count + ControlStream.window < arrived.limit
    else {
      acknowledgementIsDue = true
      refused &+= 1
      return
    }
    if ahead > 0 {
      if early.contains(where: { $0.number == number }) {
        repetitions += 1
      } else {
        repetitions = 0
        early.append(Chunk(number: number, isLast: isLast, bytes: bytes))
      }
      return
    }
    repetitions = 0
    take(isLast: isLast, bytes: bytes)
    var index = early.firstIndex(where: { $0.number == expected })
    while let i = index {
      let chunk = early.remove(at: i)
      take(isLast: chunk.isLast, bytes: chunk.bytes)
      index = early.firstIndex(where: { $0.number == expected })
    }
  }

  private mutating func take(isLast: Bool, bytes: [UInt8]) {
    expected &+= 1
    if isDiscarding || assembling.count + bytes.count > ControlStream.messageLimit {
      refused &+= 1
      assembling = []
      isDiscarding = !isLast
      return
    }
    assembling.append(contentsOf: bytes)
    if isLast {
      arrived.append(assembling)
      assembling = []
    }
  }

  /// The next whole message, in order.
  public mutating func nextMessage() -> [UInt8]? { arrived.popFirst() }
}
