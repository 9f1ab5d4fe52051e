// The control stream (docs/PROTOCOL.md §6, chunks and acknowledgements) over a bad line, in virtual time.

import Core
import Crypto
import TestSupport
import Testing

@testable import Session

/// Two streams and a line between them that loses, repeats, delays and so reorders.
struct StreamPair {
  var ends: [ControlStream]
  var now = Instant(nanoseconds: 1_000_000)
  var entropy: Entropy
  /// In percent.
  var loss: UInt32 = 0
  var repeats: UInt32 = 0
  var delay = Duration.milliseconds(2)
  /// Up to so much is added to the delay.
  var jitterMicroseconds: UInt32 = 0
  var lineIsCut = false
  var messages: [[[UInt8]]] = [[], []]
  var chunksSent = 0
  var repeated = 0
  private var underWay: [(at: Instant, order: Int, to: Int, what: ControlStreamSend)] = []
  private var order = 0

  init(seed: UInt64, firstNumber first: UInt32 = 0) {
    entropy = seeded(seed)
    ends = [ControlStream(firstNumber: first), ControlStream(firstNumber: first)]
  }

  /// Everything the ends have to send now goes onto the line.
  mutating func pump() {
    for i in 0..<2 {
      while let what = ends[i].nextSend(at: now) {
        if case .chunk(_, _, _, let attempt) = what {
          chunksSent += 1
          if attempt > 1 { repeated += 1 }
        }
        transmit(what, to: 1 - i)
        if entropy.below(100) < repeats { transmit(what, to: 1 - i) }
      }
    }
  }

  private mutating func transmit(_ what: ControlStreamSend, to end: Int) {
    if lineIsCut || entropy.below(100) < loss { return }
    order += 1
    let jitter = Duration.microseconds(Int64(entropy.below(jitterMicroseconds + 1)))
    underWay.append((now + delay + jitter, order, end, what))
  }

  /// Goes to the next moment something happens; false when nothing ever will.
  mutating func step() -> Bool {
    pump()
    let arrival = underWay.map(\.at).min()
    guard let next = [arrival, ends[0].nextDeadline, ends[1].nextDeadline].compactMap({ $0 }).min() else {
      return false
    }
    now = max(now, next)
    for item in underWay.filter({ $0.at <= now }).sorted(by: { ($0.at, $0.order) < ($1.at, $1.order) }) {
      deliver(item.what, to: item.to)
    }
    underWay.removeAll { $0.at <= now }
    return true
  }

  private mutating func deliver(_ what: ControlStreamSend, to end: Int) {
    switch what {
    case .chunk(let number, let isLast, let bytes, _):
      ends[end].receiveChunk(number: number, isLast: isLast, bytes: bytes)
    case .acknowledgement(let next, let bitmap):
      ends[end].receiveAcknowledgement(next: next, bitmap: bitmap, at: now)
    }
    while let message = ends[end].nextMessage() { messages[end].append(message) }
  }

  /// Until both ends are silent; false when one gave up or `limit` went by.
  mutating func run(limit: Duration = .seconds(600)) -> Bool {
    let end = now + limit
    while now < end {
      if ends[0].hasGivenUp || ends[1].hasGivenUp { return false }
      if !step() || (ends[0].isSilent && ends[1].isSilent && underWay.isEmpty) { return true }
    }
    return false
  }
}

// What changes a stream cannot stand in an expectation itself.
func send(_ stream: inout ControlStream, _ message: [UInt8]) -> Bool { stream.send(message) }
func next(_ stream: inout ControlStream) -> [UInt8]? { stream.nextMessage() }
func isSilent(_ stream: inout ControlStream, at now: Instant) -> Bool { stream.nextSend(at: now) == nil }

@Suite struct ControlStreamTests {
  func message(_ entropy: inout Entropy, _ count: Int) -> [UInt8] { (0..<count).map { _ in entropy.u8() } }

  @Test func `messages of every size around the chunk's arrive whole, both ways`() {
    var pair = StreamPair(seed: 1)
    var sent: [[[UInt8]]] = [[], []]
    for count in [0, 1, 511, 512, 513, 1_023, 1_024, 1_025, 5_000, 32_767, 32_768] {
      for end in 0..<2 {
        let message = message(&pair.entropy, count)
        sent[end].append(message)
        #expect(send(&pair.ends[end], message))
      }
      let done = pair.run()
      #expect(done)
    }
    #expect(pair.messages[1] == sent[0] && pair.messages[0] == sent[1])
    #expect(pair.repeated == 0 && pair.ends[0].refused == 0 && pair.ends[1].refused == 0)
    #expect(pair.ends[0].isIdle && pair.ends[0].nextDeadline == nil)
  }

  @Test(arguments: UInt64(1)...30)
  func `on a line that loses, repeats and reorders every message arrives once and in order`(seed: UInt64) {
    // Numbers near the turn of 32 bits in every third run.
    let first: UInt32 = seed % 3 == 0 ? 0xffff_fff0 : 0
    var pair = StreamPair(seed: seed, firstNumber: first)
    pair.loss = [0, 5, 15, 30][Int(seed % 4)]
    pair.repeats = [0, 20, 50][Int(seed % 3)]
    pair.jitterMicroseconds = [0, 5_000, 60_000, 200_000][Int(seed / 4 % 4)]
    var waiting: [[[UInt8]]] = [[], []]
    for end in 0..<2 {
      for _ in 0..<(10 + Int(pair.entropy.below(40))) {
        let long = pair.entropy.below(8) == 0
        waiting[end].append(message(&pair.entropy, Int(pair.entropy.below(long ? 32_769 : 900))))
      }
    }
    let all = waiting
    var hurries = 0
    let end = pair.now + .seconds(900)
    while pair.now < end {
      for i in 0..<2 {
        while let message = waiting[i].first, pair.ends[i].send(message) { waiting[i].removeFirst() }
        if pair.ends[i].hasGivenUp {
          hurries += 1
          pair.ends[i].hurry()
        }
      }
      let more = pair.step()
      if !more, waiting[0].isEmpty, waiting[1].isEmpty { break }
    }
    #expect(pair.messages[1] == all[0] && pair.messages[0] == all[1], "seed \(seed)")
    #expect(pair.ends[0].isSilent && pair.ends[1].isSilent, "seed \(seed)")
    #expect(pair.ends[0].refused == 0 && pair.ends[1].refused == 0, "seed \(seed)")
    #expect(hurries <= 1, "seed \(seed)")
  }

  // MARK: Limits

  @Test func `a message too long or a full queue is refused, and nothing changes`() {
    var stream = ControlStream()
    #expect(!send(&stream, [UInt8](repeating: 1, count: ControlStream.messageLimit + 1)))
    #expect(stream.isIdle)
    // 256 chunks: four messages of 64.
    for _ in 0..<4 { #expect(send(&stream, [UInt8](repeating: 1, count: ControlStream.messageLimit))) }
    #expect(!send(&stream, []) && !send(&stream, [1]))
    // 32 go under way, and make room for as many.
    var numbers: [UInt32] = []
    while case .chunk(let number, _, _, _)? = stream.nextSend(at: start) { numbers.append(number) }
    #expect(numbers == (0..<32).map { $0 })
    #expect(!send(&stream, [UInt8](repeating: 1, count: 512 * 32 + 1)))
    #expect(send(&stream, [UInt8](repeating: 1, count: 512 * 32)))
    #expect(!send(&stream, []))
  }

  @Test func `no more than 32 chunks are under way, and an acknowledged one lets the next go`() {
    var stream = ControlStream()
    #expect(send(&stream, [UInt8](repeating: 1, count: ControlStream.messageLimit)))
    func drain() -> [UInt32] {
      var numbers: [UInt32] = []
      while case .chunk(let number, _, _, _)? = stream.nextSend(at: start) { numbers.append(number) }
      return numbers
    }
    #expect(drain() == Array(0..<32))
    #expect(stream.nextDeadline == start + .milliseconds(40))
    stream.receiveAcknowledgement(next: 1, bitmap: 0, at: start)
    #expect(stream.nextDeadline == .zero && drain() == [32])
    // 1 is missing, so nothing moves; then all does.
    stream.receiveAcknowledgement(next: 1, bitmap: 0xffff_ffff, at: start)
    #expect(drain() == [])
    stream.receiveAcknowledgement(next: 33, bitmap: 0, at: start)
    #expect(drain() == Array(33..<64))
  }

  @Test func `a receiver that is not emptied refuses, and goes on where it stopped`() {
    var stream = ControlStream()
    for number in UInt32(0)..<40 { stream.receiveChunk(number: number, isLast: true, bytes: [UInt8(number)]) }
    #expect(stream.refused == 8)
    #expect(acknowledgement(&stream)?.next == 32)
    for i in 0..<32 { #expect(next(&stream) == [UInt8(i)]) }
    #expect(next(&stream) == nil)
    stream.receiveChunk(number: 32, isLast: true, bytes: [32])
    #expect(next(&stream) == [32])
  }

  func acknowledgement(_ stream: inout ControlStream) -> (next: UInt32, bitmap: UInt32)? {
    guard case .acknowledgement(let next, let bitmap)? = stream.nextSend(at: start) else { return nil }
    return (next, bitmap)
  }

  @Test func `chunks of one message are acknowledged together, at its end or eight at once`() throws {
    var stream = ControlStream()
    let full = [UInt8](repeating: 7, count: ControlStream.chunkSize)
    for number in UInt32(0)..<7 {
      stream.receiveChunk(number: number, isLast: false, bytes: full)
      #expect(acknowledgement(&stream) == nil)
      #expect(stream.isSilent)
    }
    stream.receiveChunk(number: 7, isLast: false, bytes: full)
    #expect(acknowledgement(&stream)?.next == 8)
    stream.receiveChunk(number: 8, isLast: false, bytes: full)
    #expect(acknowledgement(&stream) == nil)
    stream.receiveChunk(number: 9, isLast: true, bytes: [1])
    #expect(acknowledgement(&stream)?.next == 10)
    // A gap, what fills it, and what comes twice are told at once.
    stream.receiveChunk(number: 11, isLast: false, bytes: full)
    #expect(try #require(acknowledgement(&stream)) == (10, 1))
    stream.receiveChunk(number: 10, isLast: false, bytes: full)
    #expect(acknowledgement(&stream)?.next == 12)
    stream.receiveChunk(number: 11, isLast: false, bytes: full)
    #expect(acknowledgement(&stream)?.next == 12)
  }

  @Test func `chunks that come again are counted until one is new`() {
    var stream = ControlStream()
    stream.receiveChunk(number: 0, isLast: true, bytes: [1])
    #expect(stream.repetitions == 0)
    stream.receiveChunk(number: 0, isLast: true, bytes: [1])
    stream.receiveChunk(number: 0, isLast: true, bytes: [1])
    #expect(stream.repetitions == 2)
    stream.receiveChunk(number: 2, isLast: true, bytes: [1])
    #expect(stream.repetitions == 0)
    stream.receiveChunk(number: 2, isLast: true, bytes: [1])
    #expect(stream.repetitions == 1)
    stream.receiveChunk(number: 1, isLast: true, bytes: [1])
    #expect(stream.repetitions == 0)
  }

  @Test func `an acknowledgement names what is next and what lies beyond it (section 6)`() throws {
    var stream = ControlStream()
    #expect(acknowledgement(&stream) == nil)
    for number in [2, 1, 31, 5] as [UInt32] {
      stream.receiveChunk(number: number, isLast: true, bytes: [UInt8(number)])
    }
    var answer = try #require(acknowledgement(&stream))
    #expect(answer == (0, 1 << 0 | 1 << 1 | 1 << 4 | 1 << 30))
    #expect(acknowledgement(&stream) == nil, "once for all of them")
    stream.receiveChunk(number: 0, isLast: true, bytes: [0])
    answer = try #require(acknowledgement(&stream))
    #expect(answer == (3, 1 << 1 | 1 << 27))
    // A chunk it has already is answered again, for the answer may have been lost; 32 ahead is out of the window.
    stream.receiveChunk(number: 0, isLast: true, bytes: [9])
    #expect(try #require(acknowledgement(&stream)) == (3, 1 << 1 | 1 << 27))
    stream.receiveChunk(number: 35, isLast: true, bytes: [])
    #expect(stream.refused == 1)
    stream.receiveChunk(number: 34, isLast: true, bytes: [34])
    #expect(stream.refused == 1)
    #expect((0..<3).map { _ in next(&stream) } == [[0], [1], [2]])
    #expect(next(&stream) == nil)
  }

  @Test func `a message over 32 KiB is dropped to its end, and the next one is whole`() {
    var stream = ControlStream()
    let full = [UInt8](repeating: 7, count: 512)
    for number in UInt32(0)..<70 {
      stream.receiveChunk(number: number, isLast: number == 69, bytes: full)
      #expect(next(&stream) == nil)
    }
    #expect(stream.refused == 6)
    stream.receiveChunk(number: 70, isLast: true, bytes: [1, 2, 3])
    #expect(next(&stream) == [1, 2, 3])
    // The chunk that makes it too long may be its last.
    for number in UInt32(71)..<136 { stream.receiveChunk(number: number, isLast: number == 135, bytes: full) }
    stream.receiveChunk(number: 136, isLast: true, bytes: [4])
    #expect(next(&stream) == [4] && next(&stream) == nil)
    stream.receiveChunk(number: 137, isLast: true, bytes: full + [0])
    #expect(next(&stream) == nil && stream.refused == 8)
  }

  // MARK: Time

  let start = Instant(nanoseconds: 7_000_000_000)

  /// Answers never: the times of the sendings of chunk 0, in ms.
  func unanswered(_ stream: inout ControlStream) -> (times: [Int64], givenUpAt: Int64) {
    var now = start
    var times: [Int64] = []
    for _ in 0..<100 {
      while let what = stream.nextSend(at: now) {
        guard case .chunk(0, _, _, let attempt) = what else { continue }
        times.append((now - start).milliseconds)
        #expect(attempt == times.count)
      }
      if stream.hasGivenUp { break }
      guard let next = stream.nextDeadline else { break }
      #expect(next > now)
      now = next
    }
    return (times, (now - start).milliseconds)
  }

  @Test func `an unanswered chunk goes out ten times at growing intervals, then the stream gives up`() {
    var stream = ControlStream()
    #expect(send(&stream, [1]))
    let (times, end) = unanswered(&stream)
    #expect(times == [0, 40, 120, 280, 600, 1_240, 2_240, 3_240, 4_240, 5_240])
    #expect(end == 6_240 && stream.hasGivenUp && stream.nextDeadline == nil && stream.underWay.first?.attempts == 10)
    #expect(!stream.isIdle && !stream.isSilent)
    // It still answers the other end.
    stream.receiveChunk(number: 0, isLast: true, bytes: [5])
    #expect(acknowledgement(&stream)?.next == 1)
    #expect(next(&stream) == [5])
    #expect(isSilent(&stream, at: start + .seconds(100)))
  }

  @Test func `after giving up, hurry() or a late answer brings it back`() {
    var hurried = ControlStream()
    #expect(send(&hurried, [1]) && send(&hurried, [2]))
    var late = hurried
    _ = unanswered(&hurried)
    hurried.hurry()
    #expect(!hurried.hasGivenUp && hurried.nextDeadline == .zero && hurried.underWay.first?.attempts == 0)
    let again = start + .seconds(50)
    for expected in UInt32(0)..<2 {
      guard case .chunk(let number, _, _, let attempt)? = hurried.nextSend(at: again) else {
        Issue.record("nothing sent")
        return
      }
      #expect(number == expected && attempt == 1)
    }
    #expect(hurried.nextSend(at: again) == nil && hurried.nextDeadline == again + .milliseconds(40))

    while late.nextSend(at: start) != nil {}
    var now = start
    while !late.hasGivenUp {
      now = now + .milliseconds(100)
      while late.nextSend(at: now) != nil {}
    }
    late.receiveAcknowledgement(next: 1, bitmap: 0, at: now)
    #expect(!late.hasGivenUp)
    guard case .chunk(1, true, [2], 1)? = late.nextSend(at: now) else {
      Issue.record("the second chunk does not go out again")
      return
    }
    late.receiveAcknowledgement(next: 2, bitmap: 0, at: now)
    #expect(late.isSilent && late.nextDeadline == nil)
  }

  @Test func `hurry() sends at once what is under way, and only that is repeated which is not acknowledged`() {
    var stream = ControlStream()
    for i in 0..<4 { #expect(send(&stream, [UInt8(i)])) }
    while stream.nextSend(at: start) != nil {}
    stream.receiveAcknowledgement(next: 0, bitmap: 0b101, at: start)
    #expect(isSilent(&stream, at: start + .milliseconds(39)))
    stream.hurry()
    var numbers: [UInt32] = []
    while case .chunk(let number, _, _, _)? = stream.nextSend(at: start + .milliseconds(1)) { numbers.append(number) }
    #expect(numbers == [0, 2])
  }

  @Test func `an answer that comes after hurry() is not taken for a short round trip`() {
    var stream = ControlStream()
    func exchange(_ number: UInt32, at now: Instant, after roundTrip: Duration) {
      #expect(send(&stream, [1]))
      while stream.nextSend(at: now) != nil {}
      stream.receiveAcknowledgement(next: number + 1, bitmap: 0, at: now + roundTrip)
    }
    // 30 ms, measured: the time-out is 90 ms.
    for i in UInt32(0)..<20 { exchange(i, at: start, after: .milliseconds(30)) }
    for i in UInt32(20)..<60 {
      #expect(send(&stream, [1]))
      while stream.nextSend(at: start) != nil {}
      stream.hurry()
      while stream.nextSend(at: start + .milliseconds(29)) != nil {}
      stream.receiveAcknowledgement(next: i + 1, bitmap: 0, at: start + .milliseconds(30))
    }
    #expect(send(&stream, [1]))
    while stream.nextSend(at: start) != nil {}
    #expect(stream.nextDeadline == start + .milliseconds(90))
  }

  @Test(arguments: [5, 60, 150, 320]) func `a long round trip is found, and nothing is repeated from then on`(
    milliseconds: Int64
  ) {
    var pair = StreamPair(seed: 3)
    pair.delay = .milliseconds(milliseconds / 2)
    for round in 0..<40 {
      #expect(send(&pair.ends[0], [UInt8(round)]))
      if round == 20 { pair.repeated = 0 }
      let done = pair.run()
      #expect(done)
    }
    #expect(pair.messages[1] == (0..<40).map { [UInt8($0)] })
    #expect(pair.repeated == 0)
  }

  @Test func `a line that is cut for 5 s or 5 minutes costs no message`() {
    for seconds in [5, 300] as [Int64] {
      var pair = StreamPair(seed: 4)
      pair.loss = 10
      var sent: [[UInt8]] = []
      for _ in 0..<20 {
        let message = message(&pair.entropy, 3_000)
        sent.append(message)
        #expect(send(&pair.ends[0], message))
      }
      for _ in 0..<5 { _ = pair.step() }
      pair.lineIsCut = true
      let cut = pair.now
      while pair.now < cut + .seconds(seconds), pair.step() {}
      #expect(pair.ends[0].hasGivenUp == (seconds == 300))
      pair.lineIsCut = false
      pair.now = max(pair.now, cut + .seconds(seconds))
      pair.ends[0].hurry()
      let done = pair.run()
      #expect(done && pair.messages[1] == sent)
    }
  }

  // MARK: Malice

  @Test func `made-up acknowledgements and chunks never trap and never grow anything (100,000 of them)`() {
    for seed in UInt64(1)...4 {
      var entropy = seeded(seed)
      let first = entropy.below(2) == 0 ? 0 : UInt32.max - 40
      var stream = ControlStream(firstNumber: first)
      var now = Instant(nanoseconds: 1)
      var highestSent = first
      for _ in 0..<25_000 {
        now = now + .microseconds(Int64(entropy.below(30_000)))
        let near = highestSent &- 40 &+ entropy.below(80)
        let anywhere = entropy.below(4) == 0
        switch entropy.below(6) {
        case 0: _ = stream.send([UInt8](repeating: 0, count: Int(entropy.below(3_000))))
        case 1:
          stream.receiveAcknowledgement(
            next: anywhere ? entropy.u32() : near, bitmap: entropy.below(2) == 0 ? entropy.u32() : 0, at: now)
        case 2, 3:
          stream.receiveChunk(
            number: anywhere ? entropy.u32() : first &+ entropy.below(2_000), isLast: entropy.below(3) == 0,
            bytes: [UInt8](repeating: 1, count: Int(entropy.below(700))))
        case 4:
          if entropy.below(50) == 0 { stream.hurry() }
          while let message = next(&stream) { #expect(message.count <= ControlStream.messageLimit) }
        default:
          var sends = 0
          while let what = stream.nextSend(at: now) {
            sends += 1
            if case .chunk(let number, _, let bytes, let attempt) = what {
              #expect(bytes.count <= ControlStream.chunkSize && attempt <= ControlStream.attemptLimit)
              if number &- highestSent < 1 << 31 { highestSent = number }
            }
          }
          // One acknowledgement, and each chunk of the window once.
          #expect(sends <= 1 + ControlStream.window, "seed \(seed)")
        }
        #expect(stream.early.count < ControlStream.window && stream.underWay.count <= ControlStream.window)
      }
      #expect(stream.refused > 0)
    }
  }

  @Test func `acknowledgements of what was never sent change nothing`() {
    var stream = ControlStream(firstNumber: 100)
    for _ in 0..<3 { #expect(send(&stream, [1])) }
    while stream.nextSend(at: start) != nil {}
    for next in [0, 50, 99, 104, 105, 131, 132, 1 << 31, .max] as [UInt32] {
      stream.receiveAcknowledgement(next: next, bitmap: .max, at: start)
    }
    stream.hurry()
    var numbers: [UInt32] = []
    while case .chunk(let number, _, _, _)? = stream.nextSend(at: start) { numbers.append(number) }
    #expect(numbers == [100, 101, 102])
    stream.receiveAcknowledgement(next: 103, bitmap: 0, at: start)
    #expect(stream.isIdle)
  }
}
