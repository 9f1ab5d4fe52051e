// When a loop at rest waits for the rest of a tick's hellos (docs/decisions/0053).

import Core
import Testing

@testable import Runtime

@Suite struct GatheringTests {
  private let start = Instant(nanoseconds: 1_000_000_000)

  private func rests(
    _ gathering: inout Gathering, _ after: Duration, ports: Int = 8, due: Instant? = nil, hears: Bool = true
  ) -> Bool {
    let now = start + after
    if hears { gathering.note(isSignOfLife: true, at: now) }
    return gathering.takeRest(at: now, ports: ports, due: due)
  }

  @Test func `a hello is waited after, and nothing else`() {
    var gathering = Gathering()
    let withoutHello = rests(&gathering, .zero, hears: false)
    let withHello = rests(&gathering, .zero)
    let again = rests(&gathering, .milliseconds(20), hears: false)
    #expect(!withoutHello && withHello && !again && gathering.count == 1)
  }

  @Test func `traffic ends the rest for fifty milliseconds`() {
    var gathering = Gathering()
    gathering.note(isSignOfLife: false, at: start)
    let early = rests(&gathering, .milliseconds(49))
    let later = rests(&gathering, .milliseconds(50))
    gathering.noteWork(at: start + .milliseconds(60))
    let afterWork = rests(&gathering, .milliseconds(100))
    let last = rests(&gathering, .milliseconds(110))
    #expect(!early && later && !afterWork && last)
  }

  @Test func `a stream of a packet every ten milliseconds never waits`() {
    var gathering = Gathering()
    var waits = 0
    for i in 0..<1_000 {
      let now = Duration.milliseconds(Int64(10 * i))
      gathering.noteWork(at: start + now)
      if rests(&gathering, now + .milliseconds(5)) { waits += 1 }
    }
    #expect(waits == 0)
  }

  @Test func `what is due soon, few ports and a wait just before forbid it`() {
    var gathering = Gathering()
    let soon = rests(&gathering, .zero, due: start + .microseconds(399))
    let fewPorts = rests(&gathering, .zero, ports: 2)
    let first = rests(&gathering, .zero, ports: 3, due: start + .microseconds(400))
    let second = rests(&gathering, .microseconds(4_999))
    let third = rests(&gathering, .milliseconds(5))
    #expect(!soon && !fewPorts && first && !second && third && gathering.count == 2)
  }
}
