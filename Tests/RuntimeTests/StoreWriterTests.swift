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

  @Test func `what was taken before a write began is settled when it ends, whatever comes meanwhile`() {
    var writer = StoreWriter()
    #expect(writer.settled == 0)
    _ = writer.take([0], at: start)
    for i: UInt8 in 1...20 {
      #expect(writer.take([i], at: start) == nil)
      // The contents before are in the write that ends, these in the next.
      #expect(writer.ended(i == 7 ? "no space" : nil, at: start, log) == [i])
      #expect(writer.settled == UInt64(i) && !writer.isSettled)
    }
    #expect(writer.ended(nil, at: start, log) == nil)
    #expect(writer.settled == 21 && writer.isSettled)
  }

  @Test func `contents that come while a write is overdue count as refused at once`() {
    var writer = StoreWriter()
    _ = writer.take([1], at: start)
    var now = start + .seconds(8)
    #expect(writer.timeout(at: now, log) == nil && writer.settled == 1)
    for i: UInt8 in 2...4 {
      now = now + .seconds(60)
      #expect(writer.nextDeadline == nil)
      #expect(writer.take([i], at: now) == nil && writer.nextDeadline == now)
      #expect(writer.timeout(at: now, log) == nil && writer.settled == UInt64(i))
    }
    // Said once.
    #expect(log.nextSequence == 2)
    #expect(writer.ended(nil, at: now, log) == [4] && !writer.isSettled)
    #expect(writer.ended(nil, at: now, log) == nil && writer.isSettled && writer.last() == nil)
  }

  @Test func `a medium that does not answer holds nobody up for longer than 8 s, which is said`() {
    var writer = StoreWriter()
    _ = writer.take([1], at: start)
    let due = writer.nextDeadline
    #expect(due == start + .seconds(8))
    #expect(writer.timeout(at: due ?? start, log) == nil)
    #expect(writer.isSettled && writer.isWriting && writer.fault == "the medium has not answered for 8 s")
    #expect(writer.nextDeadline == nil)
    #expect(writer.take([2], at: start) == nil && writer.last() == [2])
    #expect(writer.ended(nil, at: start + .seconds(60), log) == [2])
    #expect(writer.fault == nil && log.nextSequence == 3)
  }
}
