// Where events go: one line each on standard error, within a rate, and a ring that `ctl events` reads.
// A flood of events costs neither the reader of the log nor the loop: what exceeds the rate is counted and the count
// is reported; a reader of the log that has stopped reading costs lines, not time.

import CSystem
import Core
import Wire

/// The log and the event ring.
public final class EventLog {
  /// Events kept for `ctl events`: 256 × (48 B and the text, at most 480 B) ≤ 132 KiB.
  public static let ringLimit = 256
  /// Longest line that is kept or written, bytes; the rest is cut off.
  static let textLimit = 480
  /// Lines that may come at once, and how long one line's right takes to come back.
  static let burst: Int64 = 60
  static let interval = Duration.milliseconds(50)

  public struct Event {
    /// 1, 2, 3, ... over all events since the start.
    public let sequence: UInt64
    /// Milliseconds since 1970 by the system's clock, which may be wrong.
    public let time: Int64
    public let level: LogLevel
    /// One line of UTF-8 without control characters.
    public let text: [UInt8]
  }

  /// Events above it are not written to standard error.
  public let level: LogLevel
  private let isJournal: Bool
  /// False while the lines go nowhere, in tests.
  private let writes: Bool
  private var ring: [Event] = []
  /// The next event's number.
  public private(set) var nextSequence: UInt64 = 1
  /// Credit in nanoseconds, at most burst × interval; a line costs one interval.
  private var credit: Int64
  private var creditedAt: Instant
  private var suppressed: UInt64 = 0
  /// Lines not written since the start, for the rate or because standard error did not take them.
  public private(set) var suppressedTotal: UInt64 = 0

  public init(level: LogLevel, writes: Bool = true) {
    self.level = level
    self.writes = writes
    isJournal = cs_log_is_journal() == 1
    credit = EventLog.burst * EventLog.interval.nanoseconds
    creditedAt = Process.now
    ring.reserveCapacity(EventLog.ringLimit)
  }

  /// From now on the lines go through a thread of their own, until `end`: what holds up standard error (a terminal that was
  /// stopped, a busy medium) holds up nobody else.
  public func begin() {
    let result = cs_log_begin()
    if result < 0 {
      record(
        .warning,
        "the log is written beside the traffic: \(SystemError(code: -result, action: "start its thread").reason)")
    }
  }

  /// Has the lines that wait written, for a second at the most.
  public func end() { cs_log_end(1_000_000_000) }

  /// One event. Debug events enter the ring only when they are written too: they would push out the others.
  public func record(_ level: LogLevel, _ text: String) {
    let line = EventLog.line(text)
    if level < .debug || self.level == .debug { keep(level, line) }
    if level > self.level { return }
    write(level, line)
  }

  private static func line(_ text: String) -> [UInt8] {
    var line: [UInt8] = []
    line.reserveCapacity(min(text.utf8.count, textLimit))
    for byte in text.utf8 {
      if line.count == textLimit { break }
      line.append(byte < 32 || byte == 127 ? 63 : byte)
    }
    return line
  }

  private func keep(_ level: LogLevel, _ line: [UInt8]) {
    let event = Event(sequence: nextSequence, time: cs_realtime_ms(), level: level, text: line)
    if ring.count < EventLog.ringLimit {
      ring.append(event)
    } else {
      ring[Int((nextSequence - 1) % UInt64(EventLog.ringLimit))] = event
    }
    nextSequence += 1
  }

  /// The kept event with this number, or nil: not yet there, or pushed out.
  public func event(_ sequence: UInt64) -> Event? {
    if sequence == 0 || sequence >= nextSequence || sequence < oldestSequence { return nil }
    return ring[Int((sequence - 1) % UInt64(EventLog.ringLimit))]
  }

  /// The number of the oldest event still kept.
  public var oldestSequence: UInt64 { nextSequence - UInt64(ring.count) }

  // MARK: Standard error

  private func write(_ level: LogLevel, _ line: [UInt8]) {
    if !writes { return }
    let now = Process.now
    let most = EventLog.burst * EventLog.interval.nanoseconds
    credit = min(most, credit &+ min(most, max(0, (now - creditedAt).nanoseconds)))
    creditedAt = now
    suppress(UInt64(cs_log_refused()))
    if credit < EventLog.interval.nanoseconds {
      suppress()
      return
    }
    credit -= EventLog.interval.nanoseconds
    if suppressed > 0 {
      let missing = suppressed
      suppressed = 0
      if !put(
        .warning, Array("\(missing) log lines were left out (ctl events has the last \(EventLog.ringLimit))".utf8))
      {
        suppressed = missing
      }
    }
    if !put(level, line) { suppress() }
  }

  private func suppress(_ lines: UInt64 = 1) {
    suppressed += lines
    suppressedTotal += lines
  }

  private func put(_ level: LogLevel, _ line: [UInt8]) -> Bool {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(line.count + 48)
    if isJournal {
      // sd-daemon(3): the level in front, the journal adds the time.
      let priority: UInt8 = [3, 4, 5, 6, 7][Int(level.rawValue)]
      bytes += [60, 48 + priority, 62]
    } else {
      appendTimestamp(cs_realtime_ms(), to: &bytes)
      bytes.append(32)
      bytes.append(contentsOf: level.name.utf8)
      bytes += [58, 32]
    }
    bytes += line
    bytes.append(10)
    return bytes.withUnsafeBytes { cs_log_write($0.baseAddress, $0.count) } == 1
  }

  /// The kept events from `first` on as a JSON array, and the number after the last of them.
  public func document(from first: UInt64, limit: Int = EventLog.ringLimit) -> (bytes: [UInt8], next: UInt64) {
    var json = JSONWriter()
    var next = max(first, oldestSequence)
    var room = limit
    json.beginArray()
    while room > 0, let event = event(next) {
      EventLog.append(event, to: &json)
      next += 1
      room -= 1
    }
    json.endArray()
    return (json.bytes, next)
  }

  static func append(_ event: Event, to json: inout JSONWriter) {
    var time: [UInt8] = []
    appendTimestamp(event.time, to: &time)
    json.beginObject()
    json.field("sequence", event.sequence)
    json.field("time", utf8: time)
    json.field("level", event.level.name)
    json.field("text", utf8: event.text)
    json.endObject()
  }
}

extension LogLevel {
  public var name: String {
    switch self {
    case .error: "error"
    case .warning: "warning"
    case .notice: "notice"
    case .info: "info"
    case .debug: "debug"
    }
  }

  public init?(name: [UInt8]) {
    for level in [LogLevel.error, .warning, .notice, .info, .debug] where level.name.utf8.elementsEqual(name) {
      self = level
      return
    }
    return nil
  }
}

/// ISO 8601 in UTC with milliseconds: 2025-11-21T03:49:12.123Z.
func appendTimestamp(_ milliseconds: Int64, to bytes: inout [UInt8]) {
  let clamped = max(0, min(milliseconds, 253_402_300_799_999))
  let (days, ofDay) = (clamped / 86_400_000, clamped % 86_400_000)
  // Days to a civil date in eras of 400 years that begin on the first of March.
  let z = days + 719_468
  let dayOfEra = z % 146_097
  let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
  let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
  let shifted = (5 * dayOfYear + 2) / 153
  let day = dayOfYear - (153 * shifted + 2) / 5 + 1
  let month = shifted < 10 ? shifted + 3 : shifted - 9
  let year = yearOfEra + z / 146_097 * 400 + (month <= 2 ? 1 : 0)
  func put(_ value: Int64, _ digits: Int, _ after: UInt8) {
    var scale: Int64 = 1
    for _ in 1..<digits { scale *= 10 }
    while scale > 0 {
      bytes.append(48 + UInt8(value / scale % 10))
      scale /= 10
    }
    bytes.append(after)
  }
  put(year, 4, 45)
  put(month, 2, 45)
  put(day, 2, 84)
  put(ofDay / 3_600_000, 2, 58)
  put(ofDay / 60_000 % 60, 2, 58)
  put(ofDay / 1000 % 60, 2, 46)
  put(ofDay % 1000, 3, 90)
}
