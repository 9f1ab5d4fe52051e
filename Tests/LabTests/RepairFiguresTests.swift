// What repairs are judged by, where failures strike, and how it is shown.

import Foundation
import LabKit
import Testing

@Suite struct RepairFiguresTests {
  private func cut(gap: Double, lost: Int) -> StretchFigures {
    var figures = StretchFigures()
    figures.gap = gap
    figures.lost = lost
    return figures
  }

  @Test func `the worst gap of an unprotected stream may reach its limit and not pass it`() {
    for (kind, limit) in [
      (RepairKind.carrier, 5.0), (.silent, 75), (.oneWayOut, 95), (.oneWayBack, 95), (.large, 3000), (.killed, 75),
      (.frozen, 75), (.grey, 1000),
    ] {
      let good = cut(gap: 1, lost: 0)
      #expect(RepairVerdict(kind, .unprotected, [good, cut(gap: limit, lost: 9)]).isMet)
      #expect(!RepairVerdict(kind, .unprotected, [good, cut(gap: limit + 0.1, lost: 9)]).isMet)
      // A failure lasts longer than its repair may take, or a repair would not be told from its end.
      #expect(kind.hold * 1000 > kind.gapLimit && kind.period > kind.hold)
    }
  }

  @Test func `a protected stream may lose nothing, whatever its gap`() {
    #expect(RepairVerdict(.silent, .protected, [cut(gap: 400, lost: 0)]).isMet)
    #expect(!RepairVerdict(.silent, .protected, [cut(gap: 1, lost: 0), cut(gap: 2, lost: 1)]).isMet)
    #expect(!RepairVerdict(.silent, .protected, []).isMet)
  }

  @Test(arguments: RepairKind.allCases)
  func `a protected stream stays within the class's 1 Mb/s, and meets what it is to meet`(kind: RepairKind) {
    let shape = Protection.protected.shape(for: kind)
    #expect(shape.rate < 0.9e6)
    let largest = max(shape.size, shape.largeEvery > 0 ? shape.largeSize : 0)
    #expect((largest > Laboratory.largeFrame) == (kind == .large))
    let plain = Protection.unprotected.shape(for: kind)
    #expect((plain.size > Laboratory.largeFrame) == (kind == .large))
  }

  @Test func `failures come from both ends inward, in turn`() {
    #expect((0..<6).map { fromEndsInward($0, of: 5) } == [0, 4, 1, 3, 2, 0])
    #expect((0..<5).map { fromEndsInward($0, of: 4) } == [0, 3, 1, 2, 0])
    #expect((0..<3).map { fromEndsInward($0, of: 1) } == [0, 0, 0])
  }

  @Test func `streams run over several links, between nodes that more than one way joins`() {
    #expect(Topology.ring(6).farStation == 2)
    #expect(Topology.grid(5, 5).farStation == 24)
    #expect(Topology.chain(4).farStation == 3)
    let ring = Topology.ring(6).farPair
    #expect(ring?.source == 2 && ring?.destination == 4)
    let grid = Topology.grid(5, 5).farPair
    #expect(grid?.source == 4 && grid?.destination == 20)
    #expect(Topology.star(8).farPair?.source == 2)
    #expect(Topology.chain(2).farPair == nil)
  }

  @Test func `a star's hub is a component with so many links`() throws {
    let star = try Topology(parsing: "star:8")
    #expect(star.nodeCount == 9)
    #expect(star.links.count { $0.a == 1 || $0.b == 1 } == 8)
    #expect(star.hopsFromAuthority == [0, 1] + Array(repeating: 2, count: 7))
  }

  /// A stream of 4 s, a failure at 1 s and at 3 s that cost 40 and 20 ms.
  private var run: RepairRun { run(losing: []) }

  private func run(losing others: Set<Int>) -> RepairRun {
    let lost = others.union(1_000..<1_040).union(3_000..<3_020)
    let record = StreamRecord(
      sent: (0..<4_000).map { Int64($0) * 1_000_000 },
      arrivals: (0..<4_000).filter { !lost.contains($0) }.map { .init(time: Int64($0) * 1_000_000 + 200, number: $0) })
    let cuts = [999_000_000, 2_999_000_000].map { RepairCut(began: $0, done: $0 + 1_000_000, place: "ma - cm1") }
    return RepairRun(
      network: "ring:6", kind: .silent, protection: .unprotected, cuts: cuts, streams: [("ma > cm2", record)], rate: 1)
  }

  @Test func `a run's figures are those of its failures, in the table and in the document`() throws {
    let figures = RepairFigures(run, stream: 0)
    #expect(figures.gaps == [41, 21])
    #expect(figures.losses == [40, 20])
    #expect(figures.cuts.map(\.gapBegan) == [999_000_200, 2_999_000_200])
    #expect(figures.lost == 60 && figures.before.lost == 0 && figures.noticed == 2)
    #expect(figures.row.contains("41.0") && figures.row.contains("ok     gap 75 ms"))
    var report = RepairReport()
    report.figures = [figures]
    report.comparisons = [.init(peer: "babeld", kind: .silent, ours: 41, theirs: 700)]
    let document = try JSONSerialization.jsonObject(with: Data(report.json().utf8)) as? [String: Any]
    let entry = (document?["figures"] as? [[String: Any]])?.first
    #expect(entry?["lost"] as? Int == 60)
    #expect((entry?["gapMilliseconds"] as? [String: Double])?["worst"] == 41)
    let each = (entry?["each"] as? [[String: Any]])?.last
    #expect(each?["place"] as? String == "ma - cm1" && each?["gapBeganMilliseconds"] as? Double == 0.0002)
    #expect(document?["missed"] as? Int == 0)
  }

  @Test func `a packet that was under way when a failure came counts with the failure`() {
    let figures = RepairFigures(run(losing: [990, 2_990]), stream: 0)
    #expect(figures.losses == [41, 21] && figures.before.lost == 0)
    #expect(RepairFigures(run(losing: [980]), stream: 0).before.lost == 1)
  }

  @Test func `what comes after a failure is undone counts with us and not with a peer`() {
    var run = run
    run.cuts[0].undone = 1_990_000_000
    run.cuts[1].undone = 2_999_500_000
    #expect(RepairFigures(run, stream: 0).losses == [40, 20])
    #expect(RepairFigures(run, stream: 0, system: "babeld").losses == [40, 0])
  }

  @Test func `a failure during which the sender stood still does not count, and the next one's stretch stays its own`()
  {
    var run = run
    run.cuts[0].isVoid = true
    let figures = RepairFigures(run, stream: 0)
    #expect(figures.gaps == [21] && figures.losses == [20] && figures.repeated == 1)
    #expect(figures.before.lost == 0)
    run.cuts[0].isVoid = false
    run.cuts[1].isVoid = true
    #expect(RepairFigures(run, stream: 0).gaps == [41])
  }

  @Test func `a peer that repairs as fast, or that could not be measured, is not beaten`() {
    #expect(RepairReport.Comparison(peer: "p", kind: .silent, ours: 64, theirs: 64.1).isMet)
    #expect(!RepairReport.Comparison(peer: "p", kind: .silent, ours: 64, theirs: 64).isMet)
    #expect(!RepairReport.Comparison(peer: "p", kind: .silent, ours: 64, theirs: .nan).isMet)
    var report = RepairReport()
    report.comparisons = [.init(peer: "p", kind: .silent, ours: 65, theirs: 64)]
    #expect(report.missed == 1)
  }

  @Test func `a plot has a strip a stream, a mark a failure, and its limit`() throws {
    let plot = GapPlot(title: "a < b", strips: [.init(run, stream: 0)])
    let svg = plot.svg
    #expect(svg.hasPrefix("<svg xmlns=") && svg.hasSuffix("</svg>\n"))
    #expect(svg.contains("a &lt; b") && svg.contains("limit 75 ms"))
    #expect(svg.contains("ma &gt; cm2: silent, both ways"))
    let strip = plot.strips[0]
    #expect(strip.cuts == [1, 3])
    #expect(strip.gaps.compactMap { $0 }.max() == 41)
  }
}
