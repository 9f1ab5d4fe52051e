// The arithmetic of repair figures, on streams made by hand. Times in ms there, ns in the record.

import LabKit
import Testing

@Suite struct StreamRecordTests {
  private func milliseconds(_ time: Int64) -> Int64 { time * 1_000_000 }

  /// One datagram a millisecond from 0 on, each a tenth of a millisecond under way, but those in `lost`; others arrive by
  /// `late` ms later, or twice.
  private func stream(
    _ count: Int, lost: Set<Int> = [], late: [Int: Int64] = [:], twice: Set<Int> = []
  ) -> StreamRecord {
    var arrivals: [StreamRecord.Arrival] = []
    for number in 0..<count where !lost.contains(number) {
      let time = milliseconds(Int64(number) + (late[number] ?? 0)) + 100_000
      arrivals.append(.init(time: time, number: number))
      if twice.contains(number) { arrivals.append(.init(time: time + 1_000, number: number)) }
    }
    arrivals.sort { $0.time < $1.time }
    return StreamRecord(sent: (0..<count).map { milliseconds(Int64($0)) }, arrivals: arrivals)
  }

  private func stretch(_ from: Int64, _ to: Int64) -> Range<Int64> { milliseconds(from)..<milliseconds(to) }

  @Test func `a stream that nothing happens to has gaps of its period`() {
    let figures = stream(100).figures(in: [stretch(10, 50), stretch(50, 99)])
    #expect(figures.map(\.gap) == [1, 1])
    #expect(figures.map(\.sent) == [40, 49])
    #expect(figures.map(\.lost) == [0, 0])
  }

  @Test func `a failure's losses and gap belong to its own stretch`() {
    let record = stream(300, lost: Set(110..<170))
    let figures = record.figures(in: [stretch(0, 100), stretch(100, 200), stretch(200, 299)])
    #expect(figures.map(\.lost) == [0, 60, 0])
    // From the arrival of 109 to that of 170.
    #expect(figures.map(\.gap) == [1, 61, 1])
  }

  @Test func `a gap that outlives its failure counts in the next stretch from its beginning`() {
    let figures = stream(300, lost: Set(150..<230)).figures(in: [stretch(100, 200), stretch(200, 299)])
    #expect(figures[0].gap == 81)
    #expect(abs(figures[1].gap - 30.1) < 1e-6)
    #expect(figures.map(\.lost) == [50, 30])
  }

  @Test func `a stream that ends in silence, or is never heard, is a gap`() {
    let ended = stream(200, lost: Set(101..<200)).figures(in: [stretch(50, 200)])
    #expect(abs(ended[0].gap - 98.9) < 1e-6)
    #expect(ended[0].lost == 99)
    let mute = stream(200, lost: Set(0..<200)).figures(in: [stretch(0, 199)])
    #expect(mute[0].gap == 199)
    #expect(mute[0].lost == 199)
    #expect(StreamRecord().figures(in: [stretch(0, 10)]) == [StretchFigures()])
  }

  @Test func `twins and stragglers are counted, each as what it is (RFC 4737 3.3)`() {
    let record = stream(100, late: [20: 5, 21: 5], twice: [40, 41, 42])
    let figures = record.figures(in: [stretch(0, 99)])[0]
    #expect(figures.duplicates == 3)
    #expect(figures.reordered == 2)
    #expect(figures.lost == 0)
    #expect(figures.gap == 3)
  }

  @Test func `what comes after the threshold is lost, and said to be late (RFC 6412)`() {
    let record = stream(400, late: [20: 199, 21: 201, 22: 300])
    let figures = record.figures(in: [stretch(0, 399)])[0]
    #expect(figures.lost == 2)
    #expect(figures.late == 2)
  }

  @Test func `quantiles are by nearest rank`() {
    let values = (1...10).map(Double.init).shuffled()
    #expect(quantile(values, 0.5) == 5)
    #expect(quantile(values, 0.9) == 9)
    #expect(quantile(values, 0.91) == 10)
    #expect(quantile(values, 1) == 10)
    #expect(quantile(values, 0) == 1)
    #expect(quantile([], 0.5).isNaN)
  }

  @Test func `each part of a drawing shows its longest gap, and nothing where nothing arrived`() {
    let gaps = stream(100, lost: Set(30..<58)).gaps(in: stretch(0, 100), parts: 10)
    #expect(gaps[0] == 1)
    #expect(gaps[3] == nil && gaps[4] == nil)
    #expect(gaps[5] == 29)
    #expect(gaps[9] == 1)
  }

  @Test func `a sender that was kept from sending shows`() {
    var record = stream(50)
    for number in 20..<50 { record.sent[number] += milliseconds(7) }
    #expect(record.longestPause == 8)
    #expect(record.longestPause(in: [stretch(0, 19), stretch(27, 49)]) == 1)
    #expect(record.longestPause(in: [stretch(0, 10), stretch(22, 24)]) == 8)
  }
}
