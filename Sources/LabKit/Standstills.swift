// What a machine does that no program can help: a core of a virtual one does not run for a while. Nothing on it is heard
// then, and who calls it silent is right.

import CLab
import Foundation

/// A core that did not run.
public struct Standstill: Sendable, Equatable {
  public let core: Int
  public let begun: Date
  public let ended: Date
  public var milliseconds: Double { ended.timeIntervalSince(begun) * 1_000 }

  public init(core: Int, begun: Date, ended: Date) {
    self.core = core
    self.begun = begun
    self.ended = ended
  }
}

/// Watches every core from threads above all processes, until `finish`.
public final class CoreWatch: @unchecked Sendable {
  /// A standstill of less is not noted, seconds.
  public static let least = 0.02
  private static let capacity = 100_000

  private struct Core: @unchecked Sendable {
    let found = UnsafeMutablePointer<lab_standstill>.allocate(capacity: CoreWatch.capacity)
    let count = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    let ended = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
    let failure = UnsafeMutablePointer<Int32>.allocate(capacity: 1)

    func free() {
      found.deallocate()
      count.deallocate()
      ended.deallocate()
      failure.deallocate()
    }
  }

  private let cores: [Core]
  private let threads = DispatchGroup()

  public init() {
    cores = (0..<ProcessInfo.processInfo.activeProcessorCount).map { _ in Core() }
    for (number, core) in cores.enumerated() {
      core.count.initialize(to: 0)
      core.ended.initialize(to: 0)
      core.failure.initialize(to: 0)
      threads.enter()
      let thread = Thread { [threads] in
        core.failure.pointee = lab_watch_core(
          Int32(number), Int64(Self.least * 1e9), core.found, Self.capacity, core.count, core.ended)
        threads.leave()
      }
      thread.start()
    }
  }

  deinit {
    stop()
    for core in cores { core.free() }
  }

  private func stop() {
    for core in cores { lab_set(core.ended) }
    threads.wait()
  }

  /// Keeps a core from everything else, this watch included.
  /// - Throws: when that takes more rights.
  public static func hold(core number: Int, seconds: Double) throws {
    let core = Core()
    core.failure.initialize(to: 0)
    let done = DispatchGroup()
    done.enter()
    Thread {
      core.failure.pointee = lab_hold_core(Int32(number), Int64(seconds * 1e9))
      done.leave()
    }.start()
    done.wait()
    defer { core.free() }
    if core.failure.pointee != 0 { throw LabError.system(call: "hold core \(number)", code: -core.failure.pointee) }
  }

  /// All standstills, in the order of their beginnings.
  /// - Throws: when a core could not be watched, which takes root.
  public func finish() throws -> [Standstill] {
    stop()
    if let failure = cores.map({ $0.failure.pointee }).first(where: { $0 != 0 }) {
      throw LabError.system(call: "watch the cores", code: -failure)
    }
    let (wall, monotonic) = (Date(), lab_now())
    func date(_ time: Int64) -> Date { wall.addingTimeInterval(Double(time - monotonic) / 1e9) }
    return cores.enumerated().flatMap { number, core in
      (0..<core.count.pointee).map {
        Standstill(core: number, begun: date(core.found[$0].begun), ended: date(core.found[$0].ended))
      }
    }.sorted { $0.begun < $1.begun }
  }
}
