// Runs a test's body on a thread with a network namespace of its own, which vanishes with the thread.

import Core
import Foundation
import Glibc
import Testing

@testable import Runtime

/// True where namespaces can be made.
let isRoot = geteuid() == 0

/// Runs `body` in a fresh network namespace; `links` are veth pairs to make and bring up in it.
func inNamespace(_ links: [(String, String)], _ body: @escaping @Sendable () throws -> Void) throws {
  nonisolated(unsafe) var failure: (any Error)?
  let done = DispatchSemaphore(value: 0)
  let thread = Thread {
    do {
      if unshareNamespaces(0x4000_0000) != 0 { throw Refused(what: "unshare", errno: errno) }
      try ip("link set lo up")
      for (a, b) in links {
        try ip("link add \(a) type veth peer name \(b)")
        for name in [a, b] { try ip("link set \(name) addrgenmode none up") }
      }
      // The kernel activates a link some time after it set it up, and drops what is sent before.
      let names = links.map { "\($0.0) \($0.1)" }.joined(separator: " ")
      let wait =
        "for l in \(names); do until ip -o link show $l | grep -v noop | grep -q 'state UP'; do sleep 0.01; done; done"
      if !links.isEmpty && system("timeout 5 sh -c \"\(wait.replacingOccurrences(of: "$", with: "\\$"))\"") != 0 {
        throw Refused(what: "wait for links", errno: 0)
      }
      try body()
    } catch { failure = error }
    done.signal()
  }
  thread.stackSize = 4 << 20
  thread.start()
  done.wait()
  if let failure { throw failure }
}

/// unshare(2), which Glibc's module does not show; 0x40000000 is CLONE_NEWNET.
@_silgen_name("unshare") private func unshareNamespaces(_ flags: Int32) -> Int32

struct Refused: Error {
  let what: String
  let errno: Int32
}

/// A child made on this thread is in this thread's namespace.
func ip(_ command: String) throws {
  let status = system("ip " + command)
  if status != 0 { throw Refused(what: "ip " + command, errno: status) }
}

/// A run directory under the temporary directory, removed afterwards.
func inDirectory(_ body: ([UInt8]) throws -> Void) throws {
  let path = NSTemporaryDirectory() + "lifeline-test-\(UUID().uuidString)"
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  try body(Array(path.utf8))
}

func relayLoop(
  _ names: [String], options: LoopOptions = LoopOptions(), slabs: Int = 768, tunnels: TunnelConfiguration? = nil,
  persist: @escaping ([UInt8]) -> String? = { _ in nil }
) throws -> Loop<Relay> {
  let pool = PacketPool(slabSize: 12288, slabCount: slabs)
  let monitor = try PortMonitor(
    policy: PortPolicy(named: names.map { Array($0.utf8) }, keepDown: [], bearerName: Array("mm0".utf8)))
  var loop = Loop(
    node: Relay(pool: pool), pool: pool, monitor: monitor, bearer: nil,
    tunnels: tunnels.map { TunnelTable($0, pool: pool) }, log: EventLog(level: .debug, writes: false), options: options,
    persist: persist)
  try loop.start()
  return loop
}

extension Loop where Node == Relay {
  /// Turns until `isDone`, at most a second: what comes first, a frame or news of a link, is the kernel's affair.
  mutating func turns(until isDone: (borrowing Loop<Relay>) -> Bool) {
    let end = Process.now + .seconds(1)
    while !isDone(self) && Process.now < end { _ = turn(waitingAtMost: .milliseconds(5)) }
  }
}
