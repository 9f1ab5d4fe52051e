// Which links that were called down came while the machine stood still, and that none of them is excused by it.

import Foundation
import Testing

@testable import LabKit

@Suite struct CalmTests {
  private func date(_ milliseconds: Double) throws -> Date {
    let format = ISO8601DateFormatter()
    return try #require(format.date(from: "2026-11-23T04:22:05Z")).addingTimeInterval(milliseconds / 1_000)
  }

  private func line(_ milliseconds: Int) -> String {
    String(format: "cm1: 2026-11-23T04:22:05.%03dZ notice: link to cm2 on eth0 is down: silent", milliseconds)
  }

  private func figures(lines: [Int], stoodFrom: Double, to: Double) throws -> CalmFigures {
    var figures = CalmFigures()
    figures.linksDown = lines.count
    figures.lines = lines.map { line($0) }
    figures.standstills = [Standstill(core: 1, begun: try date(stoodFrom), ended: try date(to))]
    return figures
  }

  @Test func `a link called down while a core stood still, or a hold and a hello later, is said to be so`() throws {
    let figures = try figures(lines: [349, 397, 444, 540, 544], stoodFrom: 350, to: 443)
    #expect(figures.linesAtStandstills == [line(397), line(444), line(540)])
    #expect(figures.lines.count == 5 && !figures.isCalm, "but not excused")
  }

  @Test func `a standstill no longer than three hellos must be borne, and is no reason`() throws {
    let figures = try figures(lines: [380], stoodFrom: 350, to: 409)
    #expect(figures.longStandstills.isEmpty && figures.linesAtStandstills.isEmpty && !figures.isCalm)
    #expect(try self.figures(lines: [], stoodFrom: 350, to: 450).isCalm)
  }

  @Test func `a link that was called down and is in no log is counted, and a line without a time too`() throws {
    var figures = try figures(lines: [], stoodFrom: 350, to: 443)
    figures.linksDown = 1
    #expect(!figures.isCalm)
    figures.linksDown = 0
    figures.lines = ["cm1: notice: link to cm2 on eth0 is down: silent"]
    #expect(figures.linesAtStandstills.isEmpty && !figures.isCalm)
  }
}
