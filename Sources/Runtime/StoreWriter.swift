// Writes what the node wants kept. A medium that refuses is tried again: the node goes on with what it has in memory,
// and neither a flash that is full for a while nor one that fails may end the channel.

import Core

struct StoreWriter {
  static let pauseSeconds = 10

  /// Nil when it is on the medium, otherwise why not.
  private let write: ([UInt8]) -> String?
  /// The newest contents, while they are in memory only.
  private var unwritten: [UInt8]?
  /// Why the last write failed; nil when it did not.
  private(set) var fault: String?
  private(set) var nextDeadline: Instant?
  /// Writes that were tried, and those that failed.
  private(set) var tried: UInt64 = 0
  private(set) var failed: UInt64 = 0

  init(_ write: @escaping ([UInt8]) -> String?) { self.write = write }

  mutating func take(_ contents: [UInt8], at now: Instant, _ log: EventLog) {
    tried &+= 1
    let before = fault
    fault = write(contents)
    if let fault {
      failed &+= 1
      unwritten = contents
      nextDeadline = now + .seconds(Int64(StoreWriter.pauseSeconds))
      if before == nil {
        log.record(
          .error, "the store was not written, and is tried again every \(StoreWriter.pauseSeconds) s: \(fault)")
      }
    } else {
      unwritten = nil
      nextDeadline = nil
      if before != nil { log.record(.notice, "the store is written again") }
    }
  }

  mutating func timeout(at now: Instant, _ log: EventLog) {
    if let contents = unwritten { take(contents, at: now, log) }
  }
}
