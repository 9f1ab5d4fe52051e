// `Lab simulate --schedules N`: many random fault schedules, on all cores. Each worker is a process of its own, so that
// a trap in one schedule names its seed and stops nobody else.

import Core
import Foundation
import LabKit
import Simulator

struct Schedules {
  let count: Int
  let first: UInt64
  let template: Schedule
  let workers: Int
  let keepsGoing: Bool
  /// Shows what the nodes of a single schedule log.
  let isTalkative: Bool
  private let arguments: [String]

  init(_ options: Options) throws {
    count = try whole(options, "schedules", default: 100)
    first = UInt64(try whole(options, "seed", default: 1))
    var template = Schedule(seed: first, load: try faultLoad(options, default: .heavy))
    template.nodeCount = try whole(options, "nodes", default: 20)
    guard template.nodeCount >= 2 else { throw LabError.usage("--nodes: at least 2") }
    template.authorityCount = try authorityCount(options, nodes: template.nodeCount)
    let seconds = try options.number("seconds", default: 60)
    guard seconds >= 30 else { throw LabError.usage("--seconds: at least 30 for a schedule") }
    template.length = .milliseconds(Int64(seconds * 1_000))
    self.template = template
    workers = try whole(options, "workers", default: ProcessInfo.processInfo.activeProcessorCount)
    keepsGoing = options.flag("keep-going")
    isTalkative = options.flag("talk")
    arguments = [
      "simulate", "--schedules", "\(count)", "--faults", template.load.rawValue, "--nodes",
      "\(template.nodeCount)", "--seconds", "\(seconds)", "--authorities", "\(template.authorityCount)",
    ]
  }

  func run() throws -> Int32 {
    if isTalkative { return try work("0/1") }
    if let part = ProcessInfo.processInfo.environment["LIFELINE_SIMULATION_PART"] { return try work(part) }
    let started = ContinuousClock.now
    let crew = (0..<min(workers, count)).map { Worker(number: $0, of: min(workers, count)) }
    for worker in crew { try worker.start(arguments + ["--seed", "\(first)"]) }
    var (done, frames, faults) = (0, 0, 0)
    var failed: [(seed: UInt64, why: String)] = []
    // Lines come from all workers; a short wait between looks costs nothing beside a schedule.
    while true {
      let isOver = crew.allSatisfy { !$0.isRunning }
      for worker in crew {
        for line in worker.newLines() {
          let words = line.split(separator: " ", maxSplits: 4).map(String.init)
          guard words.count >= 2, let seed = UInt64(words[1]) else { continue }
          switch words[0] {
          case "BEGIN": worker.seed = seed
          case "DONE":
            done += 1
            worker.seed = nil
            frames += Int(words[2]) ?? 0
            faults += Int(words[3]) ?? 0
          case "FAILED":
            worker.seed = nil
            done += 1
            failed.append((seed, words.dropFirst(2).joined(separator: " ")))
            print("FAILED seed \(line.dropFirst(7))")
          default: break
          }
        }
      }
      if isOver { break }
      if !failed.isEmpty && !keepsGoing { break }
      usleep(50_000)
    }
    for worker in crew {
      if let seed = worker.seed, !worker.isRunning, worker.status != 0 {
        failed.append((seed, "the process ended with status \(worker.status)"))
        print("FAILED seed \(seed): the process ended with status \(worker.status)")
      }
      worker.stop()
    }
    let took = (ContinuousClock.now - started).components.seconds
    print(
      "\(done) of \(count) schedules (\(template.load.rawValue), \(template.nodeCount) nodes, from seed \(first)) in \(took) s on "
        + "\(crew.count) processes: \(faults) faults, \(frames) frames, \(failed.count) failed")
    if !failed.isEmpty {
      let seeds = failed.map { "\($0.seed)" }.joined(separator: " ")
      print("failing seeds: \(seeds)")
      print("a line 'SEED LOAD NODES SECONDS MAS' each belongs into Tests/Vectors/failing-seeds.txt")
    }
    return failed.isEmpty ? 0 : 1
  }

  /// A worker's share: of M workers, each takes every M-th seed.
  private func work(_ part: String) throws -> Int32 {
    let halves = part.split(separator: "/").compactMap { Int($0) }
    guard halves.count == 2 else { throw LabError.usage("LIFELINE_SIMULATION_PART is not N/M") }
    for index in stride(from: halves[0], to: count, by: halves[1]) {
      var schedule = template
      schedule.seed = first + UInt64(index)
      print("BEGIN \(schedule.seed)")
      let outcome = try schedule.run(isTalkative: isTalkative)
      if outcome.violations.isEmpty {
        print("DONE \(schedule.seed) \(outcome.frames) \(outcome.faults) \(String(outcome.digest, radix: 16))")
      } else {
        print("FAILED \(schedule.seed) \(outcome.violations.prefix(3).joined(separator: "; "))")
      }
    }
    return 0
  }
}

private final class Worker {
  private let process = Process()
  private let pipe = Pipe()
  private var rest: [UInt8] = []
  /// What it works on.
  var seed: UInt64?

  init(number: Int, of count: Int) {
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    var environment = ProcessInfo.processInfo.environment
    environment["LIFELINE_SIMULATION_PART"] = "\(number)/\(count)"
    process.environment = environment
    process.standardOutput = pipe
  }

  func start(_ arguments: [String]) throws {
    process.arguments = arguments
    let descriptor = pipe.fileHandleForReading.fileDescriptor
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    try process.run()
  }

  /// What it has said since the last call, in whole lines.
  func newLines() -> [String] {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(pipe.fileHandleForReading.fileDescriptor, &buffer, buffer.count)
      if count <= 0 { break }
      rest += buffer[..<count]
    }
    var lines: [String] = []
    while let end = rest.firstIndex(of: 10) {
      lines.append(String(decoding: rest[..<end], as: UTF8.self))
      rest.removeSubrange(...end)
    }
    return lines
  }

  var isRunning: Bool { process.isRunning }
  var status: Int32 { process.isRunning ? 0 : process.terminationStatus }
  func stop() {
    if process.isRunning { process.terminate() }
    process.waitUntilExit()
  }
}
