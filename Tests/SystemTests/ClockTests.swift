// Clocks that have nothing to do with one another, and one that jumps: no protocol field is compared with another node's
// time, and a process that was not run for a while finds all its deadlines passed at once.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Clocks {
    /// Which node of a chain of three lives days ahead of the others.
    @Test(arguments: [0, 1, 2])
    func `a node whose clock is days ahead is authenticated and answers`(shifted: Int) throws {
      try withLaboratory(.chain(3)) { laboratory in
        let days = ["unshare", "--time", "--monotonic", "\(86_400 * (10 + shifted))", "--boottime", "864000"]
        for node in laboratory.nodes { try node.start(under: node.index == shifted ? days : []) }
        let known = try laboratory.waitUntilAuthenticated(timeout: 5)
        let prober = try Prober(in: laboratory.authority.namespace)
        // Both families of every node, the authority's own too.
        let wanted = known.values.flatMap { [$0.ipv4, $0.ipv6].compactMap { $0.flatMap(IPAddress.init) } }
        #expect(wanted.count == 6)
        #expect(try prober.probe(wanted, timeout: 3).count == wanted.count)
        let pid = try #require(laboratory.nodes[shifted].process?.identifier)
        let offsets = try String(contentsOfFile: "/proc/\(pid)/timens_offsets", encoding: .utf8)
        #expect(offsets.contains("\(86_400 * (10 + shifted))"), "the clock was not shifted: \(offsets)")
      }
    }

    /// The authority, a node others are behind, the last of the chain.
    @Test(arguments: [0, 1, 2])
    func `a node that was stopped for seconds is back within 2 s of going on`(stopped: Int) throws {
      try withRunningNetwork(.chain(3)) { laboratory, trial in
        let node = laboratory.nodes[stopped]
        let prober = try Prober(in: laboratory.authority.namespace)
        let wanted = try laboratory.components.flatMap { node in
          let pair = try trial.pair(of: node)
          return [pair.four, pair.six]
        }
        node.send(SIGSTOP)
        try pause(3)
        let begun = now()
        node.send(SIGCONT)
        let answered = try prober.probe(wanted, timeout: 2, since: begun)
        #expect(answered.count == wanted.count, "only \(answered.keys.map(\.text).sorted()) answer: \(node.logTail())")
        for each in laboratory.nodes { #expect(each.isRunning, "\(each.name) ended: \(each.logTail())") }
        print("\(node.name) stopped for 3 s: all answer \(answered.values.max() ?? .nan) s after it goes on")
      }
    }
  }
}
