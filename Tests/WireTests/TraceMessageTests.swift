// SUSPECT, TRACE and TRACED (docs/PROTOCOL.md §7): byte for byte, and what is refused.

import Testing
import Wire

@Suite struct TraceMessageTests {
  @Test func `a trace is R, a count and counters`() throws {
    let request = TraceRequest(route: 0x0102_0304, counters: [1, 0x8000_0000])
    let bytes = request.encode()
    #expect(bytes == [15, 1, 2, 3, 4, 2, 0, 0, 0, 1, 0x80, 0, 0, 0])
    #expect(try TraceRequest(decoding: Array(bytes.dropFirst()).span) == request)
  }

  @Test func `its answer is R and a byte a frame`() throws {
    let answer = TraceAnswer(route: 0x0102_0304, passages: [.seen, .notSeen, .forgotten])
    let bytes = answer.encode()
    #expect(bytes == [20, 1, 2, 3, 4, 1, 0, 2])
    #expect(try TraceAnswer(decoding: Array(bytes.dropFirst()).span) == answer)
  }

  @Test func `a suspicion is R`() throws {
    #expect(SuspectNotice(route: 5).encode() == [14, 0, 0, 0, 5])
    #expect(try SuspectNotice(decoding: ([0, 0, 0, 5] as [UInt8]).span) == SuspectNotice(route: 5))
  }

  @Test func `none, too many, cut short and left over is refused`() {
    let bad: [[UInt8]] = [
      [], [0, 0, 0, 5, 0], [0, 0, 0, 5, 9] + [UInt8](repeating: 0, count: 36), [0, 0, 0, 5, 1, 0, 0, 0],
      [0, 0, 0, 5, 1, 0, 0, 0, 1, 0],
    ]
    for bytes in bad { #expect(throws: WireError.self) { try TraceRequest(decoding: bytes.span) } }
    let answers: [[UInt8]] = [
      [0, 0, 0, 5], [0, 0, 0, 5, 3], [0, 0, 0, 5] + [UInt8](repeating: 1, count: 9),
    ]
    for bytes in answers { #expect(throws: WireError.self) { try TraceAnswer(decoding: bytes.span) } }
    for bytes in [[0, 0, 0], [0, 0, 0, 5, 0]] as [[UInt8]] {
      #expect(throws: WireError.self) { try SuspectNotice(decoding: bytes.span) }
    }
  }
}
