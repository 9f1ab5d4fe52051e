// What one node's engines cost: processor time of its turns, measured around the calls into the node and nothing else; what
// its host sends is not among them. An
// MA's turns are told apart by what it owes: best ways (from the LSA that says what changed until the last chunk of the
// last best way is on its way), and all that follows (alternates, detours, shares).

import CSimulator
import Core
import Node

/// Nanoseconds of this thread's processor time.
public struct Meter: Sendable {
  public internal(set) var bestWays: UInt64 = 0
  public internal(set) var rest: UInt64 = 0
  /// Of a single turn.
  public internal(set) var longest: UInt64 = 0
  fileprivate var owed = false

  public init() {}
}

extension World {
  /// A node's turn, measured when it is the one to be.
  @inline(__always)
  func takeTurn(_ box: SimulatedNode, _ running: RunningNode, _ body: (inout Node) -> Void) {
    if metered == box.number { measure(running, body) } else { body(&running.storage.pointee) }
  }

  @inline(never)
  private func measure(_ running: RunningNode, _ body: (inout Node) -> Void) {
    let owedBefore = meter.owed || running.storage.pointee.owesBestWays
    let start = simulator_processor_time()
    body(&running.storage.pointee)
    let took = UInt64(simulator_processor_time() - start)
    let owes = running.storage.pointee.owesBestWays
    // Chunks that found no buffer belong to the best ways as well.
    meter.owed = owes || ((owedBefore || owes) && running.storage.pointee.hasUnsentChunks)
    if owedBefore || owes { meter.bestWays += took } else { meter.rest += took }
    meter.longest = max(meter.longest, took)
  }

  /// The MA has laid everything that follows from what it knows.
  public func isSettled(_ number: Int) -> Bool {
    guard let node = nodes[number].running?.storage else { return true }
    return !node.pointee.owesBestWays && !node.pointee.owesAlternates && !node.pointee.hasUnsentChunks
  }
}

/// Nanoseconds of this thread's processor time.
public func processorNanoseconds() -> UInt64 { UInt64(simulator_processor_time()) }
