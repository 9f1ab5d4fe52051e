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

/// Watches every core that this process may run on, from threads above all processes, until `finish`.
public final class CoreWatch: @unchecked Sendable {
  /// A standstill of less is not noted, seconds.
  public static let least = 0.02
  /// So many of a core are noted, half an hour of nothing else; what comes after them is not.
  private static let capacity = 100_000

  private struct Notes: @unchecked Sendable {
    let found = UnsafeMutablePointer<lab_standstill>.allocate(capacity: CoreWatch.capacity)
    let count = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    let ended = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
    let failure = UnsafeMutablePointer<Int32>.allocate(capacity: 1)

    init() {
      count.initialize(to: 0)
      ended.initialize(to: 0)
      failure.initialize(to: 0)
    }

    func free() {
      found.deallocate()
      count.deallocate()
      ended.deallocate()
      failure.deallocate()
    }
  }

  /// Where a thread tells what became of it.
  private struct Held: @unchecked Sendable { let failure: UnsafeMutablePointer<Int32> }

  /// Their numbers.
  public let cores: [Int]
  private let notes: [Notes]
  private let threads = DispatchGroup()

  /// - Throws: when the system does not say which cores there are.
  public init() throws {
    var numbers = [Int32](repeating: 0, count: 1_024)
    let count = lab_cores(&numbers, Int32(numbers.count))
    if count < 0 { throw LabError.system(call: "list the cores", code: -count) }
    cores = numbers.prefix(Int(count)).map(Int.init)
    notes = cores.map { _ in Notes() }
    for (number, noted) in zip(cores, notes) {
      threads.enter()
      let thread = Thread { [threads] in
        noted.failure.pointee = lab_watch_core(
          Int32(number), Int64(Self.least * 1e9), noted.found, Self.capacity, noted.count, noted.ended)
        threads.leave()
      }
      thread.start()
    }
  }

  deinit {
    stop()
    for noted in notes { noted.free() }
  }

  private func stop() {
    for noted in notes { lab_set(noted.ended) }
    threads.wait()
  }

  /// Keeps a core from everything else, this watch included.
  /// - Throws: when that takes more rights.
  public static func hold(core number: Int, seconds: Double) throws {
    let failure = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
    failure.initialize(to: 0)
    let done = DispatchGroup()
    done.enter()
    let thread = Thread { [held = Held(failure: failure)] in
      held.failure.pointee = lab_hold_core(Int32(number), Int64(seconds * 1e9))
      done.leave()
    }
    thread.start()
    done.wait()
    defer { failure.deallocate() }
    if failure.pointee != 0 { throw LabError.system(call: "hold core \(number)", code: -failure.pointee) }
  }

  /// All standstills, in the order of their beginnings.
  /// - Throws: when a core could not be watched, which takes root.
  public func finish() throws -> [Standstill] {
    stop()
    if let failure = notes.map({ $0.failure.pointee }).first(where: { $0 != 0 }) {
      throw LabError.system(call: "watch the cores", code: -failure)
    }
    let (wall, monotonic) = (Date(), lab_now())
    func date(_ time: Int64) -> Date { wall.addingTimeInterval(Double(time - monotonic) / 1e9) }
    return zip(cores, notes).flatMap { number, noted in
      (0..<noted.count.pointee).map {
        Standstill(core: number, begun: date(noted.found[$0].begun), ended: date(noted.found[$0].ended))
      }
    }.sorted { $0.begun < $1.begun }
  }
}
