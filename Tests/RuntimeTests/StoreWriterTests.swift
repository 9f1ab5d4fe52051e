import Core
import Testing
import Wire

@testable import Runtime

struct StoreWriterTests {
  private let log = EventLog(level: .notice, writes: false)
  private let start = Instant(nanoseconds: 1)

  @Test func `what a medium refused is tried again every 10 s, the newest contents only, and said once`() {
    var writer = StoreWriter()
    var now = start
    #expect(writer.take([1], at: now) == [1])
    #expect(writer.ended(nil, at: now, log) == nil)
    #expect(writer.fault == nil && writer.nextDeadline == nil)
    #expect(writer.take([2], at: now) == [2])
    #expect(writer.ended("no space", at: now, log) == nil)
    #expect(writer.take([3], at: now) == [3])
    #expect(writer.ended("no space", at: now, log) == nil)
    #expect(writer.fault == "no space" && writer.failed == 2 && writer.tried == 3)
    for _ in 0..<3 {
      #expect(writer.nextDeadline == now + .seconds(10))
      now = now + .seconds(10)
      #expect(writer.timeout(at: now, log) == [3])
      #expect(writer.ended("no space", at: now, log) == nil)
    }
    #expect(writer.last() == [3])
    now = now + .seconds(10)
    #expect(writer.timeout(at: now, log) == [3])
    #expect(writer.ended(nil, at: now, log) == nil)
    #expect(writer.fault == nil && writer.nextDeadline == nil && writer.last() == nil)
    // One line for the failure, one for its end.
    #expect(log.nextSequence == 3)
  }

  @Test func `what comes during a write is written after it, the newest only`() {
    var writer = StoreWriter()
    #expect(writer.isSettled)
    #expect(writer.take([1], at: start) == [1])
    #expect(writer.take([2], at: start) == nil && writer.take([3], at: start) == nil)
    #expect(!writer.isSettled && writer.last() == [3])
    #expect(writer.ended(nil, at: start, log) == [3])
    // The process may end now: what is under way is the last.
    #expect(!writer.isSettled && writer.last() == nil)
    #expect(writer.ended(nil, at: start, log) == nil)
    #expect(writer.isSettled && writer.taken == 3 && writer.tried == 2)
  }

  @Test func `a medium that does not answer holds nobody up for longer than 8 s, which is said`() {
    var writer = StoreWriter()
    _ = writer.take([1], at: start)
    let due = writer.nextDeadline
    #expect(due == start + .seconds(8))
    #expect(writer.timeout(at: due ?? start, log) == nil)
    #expect(writer.isSettled && writer.isWriting && writer.fault == "the medium has not answered for 8 s")
    #expect(writer.nextDeadline == nil)
    #expect(writer.take([2], at: start) == nil)
    #expect(writer.ended(nil, at: start + .seconds(60), log) == [2])
    #expect(writer.fault == nil && log.nextSequence == 3)
  }
}
