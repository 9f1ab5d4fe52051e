import Core
import Testing
import Wire

@testable import Runtime

struct EventLogTests {
  @Test func `the ring keeps the last 256 events under increasing numbers`() {
    let log = EventLog(level: .notice, writes: false)
    for i in 1...300 { log.record(.info, "event \(i)") }
    #expect(log.nextSequence == 301)
    #expect(log.oldestSequence == 45)
    #expect(log.event(44) == nil)
    #expect(log.event(45)?.text == Array("event 45".utf8))
    #expect(log.event(300)?.text == Array("event 300".utf8))
    #expect(log.event(301) == nil)
  }

  @Test func `debug events do not push others out of the ring unless they are asked for`() {
    let quiet = EventLog(level: .info, writes: false)
    quiet.record(.debug, "detail")
    #expect(quiet.nextSequence == 1)
    let loud = EventLog(level: .debug, writes: false)
    loud.record(.debug, "detail")
    #expect(loud.nextSequence == 2)
  }

  @Test func `a line has no control characters and at most 480 bytes`() {
    let log = EventLog(level: .notice, writes: false)
    log.record(.notice, "a\nb\u{1b}[2J" + String(repeating: "x", count: 1000))
    #expect(log.event(1)?.text.prefix(4) == [97, 63, 98, 63])
    #expect(log.event(1)?.text.count == EventLog.textLimit)
  }

  @Test func `events are a JSON array of sequence, time, level and text`() throws {
    let log = EventLog(level: .notice, writes: false)
    log.record(.warning, "it says \"no\"")
    let (bytes, next) = log.document(from: 0)
    #expect(next == 2)
    guard case .array(let events) = try JSONValue(decoding: bytes) else {
      Issue.record("not an array")
      return
    }
    guard case .string(let text)? = events[0]["text"], case .string(let level)? = events[0]["level"] else {
      Issue.record("no text or level")
      return
    }
    #expect(text == Array("it says \"no\"".utf8))
    #expect(level == Array("warning".utf8))
  }

  @Test(
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
      (1_763_696_952_123, "2025-11-21T03:49:12.123Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
      (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (-5, "1970-01-01T00:00:00.000Z"),
    ] as [(Int64, String)])
  func `times are ISO 8601 in UTC`(milliseconds: Int64, text: String) {
    var bytes: [UInt8] = []
    appendTimestamp(milliseconds, to: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == text)
  }
}
