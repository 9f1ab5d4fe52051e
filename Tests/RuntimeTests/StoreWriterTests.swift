import Core
import Testing
import Wire

@testable import Runtime

struct StoreWriterTests {
  /// A medium that takes a write only while `isGood`.
  private final class Medium {
    var isGood = true
    var written: [UInt8] = []

    func write(_ contents: [UInt8]) -> String? {
      if !isGood { return "no space" }
      written = contents
      return nil
    }
  }

  @Test func `what a medium refused is tried again every 10 s, the newest contents only, and said once`() {
    let medium = Medium()
    let log = EventLog(level: .notice, writes: false)
    var writer = StoreWriter(medium.write)
    var now = Instant(nanoseconds: 1)
    writer.take([1], at: now, log)
    #expect(medium.written == [1] && writer.fault == nil && writer.nextDeadline == nil)
    medium.isGood = false
    writer.take([2], at: now, log)
    writer.take([3], at: now, log)
    #expect(writer.fault == "no space" && writer.failed == 2 && writer.tried == 3)
    for _ in 0..<3 {
      #expect(writer.nextDeadline == now + .seconds(10))
      now = now + .seconds(10)
      writer.timeout(at: now, log)
    }
    #expect(medium.written == [1])
    medium.isGood = true
    writer.timeout(at: now + .seconds(10), log)
    #expect(medium.written == [3] && writer.fault == nil && writer.nextDeadline == nil)
    // One line for the failure, one for its end.
    #expect(log.nextSequence == 3)
  }
}
