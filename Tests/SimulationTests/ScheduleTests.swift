// Random schedules of faults: those that failed once, and a few with fresh seeds, which are printed. Thousands of them
// run in `make soak`, and with `Lab simulate --schedules`.

import Core
import Foundation
import Simulator
import Testing

@Suite struct ScheduleTests {
  static let freshSeed = UInt64.random(in: 1...999_999_999)

  private func small(_ seed: UInt64, _ load: FaultLoad) -> Schedule {
    var schedule = Schedule(seed: seed, load: load)
    schedule.nodeCount = 8
    schedule.length = .seconds(35)
    return schedule
  }

  @Test func `a schedule is the same run, byte for byte, when it is run again`() throws {
    let schedule = small(7, .heavy)
    let first = try schedule.run()
    let second = try schedule.run()
    #expect(first.digest == second.digest && first.events == second.events && first.events > 10_000)
    #expect(first.faults > 10)
    #expect(first.violations == [])
    #expect(try small(8, .heavy).run().digest != first.digest)
  }

  @Test(arguments: [freshSeed, freshSeed + 1]) func `fresh schedules, all kinds of faults`(seed: UInt64) throws {
    let outcome = try small(seed, .heavy).run()
    print("SIM schedule \(seed) heavy 8 35: \(outcome.faults) faults, \(outcome.events) events")
    #expect(outcome.violations == [], "seed \(seed)")
  }

  @Test func `a fresh schedule, one fault at a time`() throws {
    let outcome = try small(Self.freshSeed, .light).run()
    print("SIM schedule \(Self.freshSeed) light 8 35: \(outcome.faults) faults, \(outcome.events) events")
    #expect(outcome.violations == [], "seed \(Self.freshSeed)")
  }

  static let failedOnce: [[String]] = {
    let path = URL(fileURLWithPath: Layout.topologies).deletingLastPathComponent()
      .appendingPathComponent("Vectors/failing-seeds.txt")
    let text = (try? String(contentsOf: path, encoding: .utf8)) ?? ""
    return text.split(separator: "\n").map { $0.prefix { $0 != "#" }.split(separator: " ").map(String.init) }
      .filter { !$0.isEmpty }
  }()

  @Test(arguments: failedOnce) func `a schedule that failed once`(words: [String]) throws {
    var schedule = Schedule(
      seed: try #require(UInt64(words[0])), load: try #require(FaultLoad(rawValue: words[1])))
    schedule.nodeCount = try #require(Int(words[2]))
    schedule.length = .seconds(try #require(Int64(words[3])))
    if words.count > 4 { schedule.authorityCount = try #require(Int(words[4])) }
    #expect(try schedule.run().violations == [], "\(words)")
  }
}
