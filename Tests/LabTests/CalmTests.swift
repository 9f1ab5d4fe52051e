// Which links that were called down a machine explains that stood still, and which it does not.

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
    figures.explain()
    return figures
  }

  @Test func `a link called down while a core stood still, or a hold and a hello later, is explained`() throws {
    let figures = try figures(lines: [397, 444, 540], stoodFrom: 350, to: 443)
    #expect(figures.explained.count == 3 && figures.lines.isEmpty && figures.isCalm)
  }

  @Test func `one before or later, or at a standstill no longer than a stop that must be borne, is not`() throws {
    let apart = try figures(lines: [349, 400, 544], stoodFrom: 350, to: 443)
    #expect(apart.lines == [line(349), line(544)] && apart.explained == [line(400)] && !apart.isCalm)
    let short = try figures(lines: [380], stoodFrom: 350, to: 384)
    #expect(short.lines == [line(380)] && !short.isCalm)
  }

  @Test func `a link that was called down and is in no log is not explained`() throws {
    var figures = try figures(lines: [400], stoodFrom: 350, to: 443)
    figures.linksDown += 1
    #expect(!figures.isCalm)
    figures.linksDown = 0
    figures.explained = ["a line of something else"]
    #expect(!figures.isCalm)
  }

  @Test func `a line without a time is not explained`() throws {
    var figures = CalmFigures()
    figures.lines = ["cm1: notice: link to cm2 on eth0 is down: silent"]
    figures.standstills = [Standstill(core: 0, begun: .distantPast, ended: .distantFuture)]
    figures.explain()
    #expect(figures.lines.count == 1 && figures.explained.isEmpty)
  }
}
