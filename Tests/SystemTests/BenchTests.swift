// What `make bench` judges its figures by.

import LabKit
import Testing

extension SystemTests {
  @Suite struct Benchmark {
    private func figures(_ tcp: Double, _ udp: Double, _ roundTrip: Double, _ processor: Double) -> BearerFigures {
      var figures = BearerFigures()
      figures.tcpMegabits = tcp
      figures.smallKilopackets = udp
      figures.roundTrip = roundTrip
      figures.processorSecondsPerGigabit = processor
      return figures
    }

    private func missed(_ hops: Int, _ ours: BearerFigures, _ peer: BearerFigures) -> [String] {
      let verdicts = BearerFigures.judge(hops: hops, ours, peer)
      for verdict in verdicts { #expect(verdict.text.hasPrefix(verdict.isMet ? "ok " : "MISSED ")) }
      #expect(verdicts.count == 4)
      return verdicts.filter { !$0.isMet }.map(\.what)
    }

    @Test func `each requirement is met at its limit and missed beyond it`() {
      let peer = figures(1000, 50, 0.25, 2)
      for (hops, factor) in [(1, 2.5), (3, 2)] {
        let limit = figures(1000 * factor, 50, 0.3, 1)
        #expect(missed(hops, limit, peer) == [])
        #expect(missed(hops, figures(999 * factor, 50, 0.3, 1), peer) == ["TCP, one stream"])
        #expect(missed(hops, figures(1000 * factor, 49, 0.3, 1), peer) == ["64-byte UDP"])
        #expect(missed(hops, figures(1000 * factor, 50, 0.31, 1), peer) == ["round trip"])
        #expect(missed(hops, figures(1000 * factor, 50, 0.3, 1.01), peer) == ["processor s a Gbit"])
        // A figure that is missing is not a figure that is good.
        #expect(missed(hops, figures(.nan, 50, 0.3, .nan), peer) == ["TCP, one stream", "processor s a Gbit"])
      }
      // 2.2 times is enough over three hops and not over one.
      #expect(missed(3, figures(2200, 50, 0.3, 1), peer) == [])
      #expect(missed(1, figures(2200, 50, 0.3, 1), peer) == ["TCP, one stream"])
    }

    @Test func `the median of five runs forgives two bad ones`() {
      let runs = [1.0, 5, 3, 100, 2].map { figures($0, $0, $0, $0) }
      let middle = BearerFigures(medianOf: runs)
      #expect(middle.tcpMegabits == 3 && middle.roundTrip == 3)
      #expect(middle.smallKilopackets == 3 && middle.processorSecondsPerGigabit == 3)
    }
  }
}
