// Has written what the node wants kept: one write at a time, beside the loop, the newest contents next. A medium that
// refuses is tried again: the node goes on with what it has in memory, and neither a flash that is full for a while, nor
// one that fails, nor one that does not answer may end the channel.

import Core

struct StoreWriter {
  static let pauseSeconds = 10
  /// A write that takes longer has failed for those who wait for it.
  static let patience = Duration.seconds(8)

  /// The newest contents that are not known to be on the medium.
  private var unwritten: [UInt8]?
  /// A write is under way.
  private(set) var isWriting = false
  /// Newer contents came while it was.
  private var hasNewer = false
  /// It has been under way for longer than `patience`.
  private var isOverdue = false
  /// The first so many contents are in the write under way, and in those that have ended.
  private var writing: UInt64 = 0
  private var ended: UInt64 = 0
  /// Why the last write failed; nil when it did not.
  private(set) var fault: String?
  private(set) var nextDeadline: Instant?
  /// Contents taken; writes that were tried, and those that failed.
  private(set) var taken: UInt64 = 0
  private(set) var tried: UInt64 = 0
  private(set) var failed: UInt64 = 0

  /// The first so many contents, or newer ones, were written, or tried in vain: who waits for them need wait no longer,
  /// which is after two writes at the most, whatever comes meanwhile.
  var settled: UInt64 { isWriting && !isOverdue ? ended : taken }

  var isSettled: Bool { settled == taken }

  /// What to write now; nil when it is written later.
  mutating func take(_ contents: [UInt8], at now: Instant) -> [UInt8]? {
    taken &+= 1
    unwritten = contents
    if isWriting {
      hasNewer = true
      // A medium that does not answer has refused this too.
      if isOverdue { nextDeadline = now }
      return nil
    }
    return begin(at: now)
  }

  private mutating func begin(at now: Instant) -> [UInt8]? {
    tried &+= 1
    isWriting = true
    isOverdue = false
    hasNewer = false
    writing = taken
    nextDeadline = now + StoreWriter.patience
    return unwritten
  }

  /// The write under way has ended: why it failed, or nil. What to write now.
  mutating func ended(_ why: String?, at now: Instant, _ log: EventLog) -> [UInt8]? {
    isWriting = false
    isOverdue = false
    ended = writing
    note(why, log)
    if hasNewer { return begin(at: now) }
    if why == nil {
      unwritten = nil
      nextDeadline = nil
    } else {
      nextDeadline = now + .seconds(Int64(StoreWriter.pauseSeconds))
    }
    return nil
  }

  private mutating func note(_ why: String?, _ log: EventLog) {
    let before = fault
    fault = why
    if let why {
      failed &+= 1
      if before == nil {
        log.record(.error, "the store was not written, and is tried again every \(StoreWriter.pauseSeconds) s: \(why)")
      }
    } else if before != nil {
      log.record(.notice, "the store is written again")
    }
  }

  /// At `nextDeadline`: what to write now.
  mutating func timeout(at now: Instant, _ log: EventLog) -> [UInt8]? {
    if !isWriting { return unwritten == nil ? nil : begin(at: now) }
    nextDeadline = nil
    if isOverdue { return nil }
    isOverdue = true
    note("the medium has not answered for \(StoreWriter.patience.milliseconds / 1000) s", log)
    return nil
  }

  /// The process ends: what is not known to be on the medium, unless it is being written.
  func last() -> [UInt8]? { isWriting && !hasNewer ? nil : unwritten }
}
