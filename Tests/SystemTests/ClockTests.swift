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

    /// The machine's clock stays as it is: each node runs under a tracer that changes what the kernel answers. A wait or a
    /// timer by the wall clock would end the tracer with 99.
    @Test func `nodes whose wall clock jumps by years at every reading stay authenticated and carry traffic`() throws {
      try withLaboratory(.chain(3)) { laboratory in
        let jumping = [try hostProgram("Lab"), "jump"]
        for node in laboratory.nodes { try node.start(under: jumping) }
        let known = try laboratory.waitUntilAuthenticated(timeout: 5)
        let far = laboratory.nodes[2]
        let address = try #require(known[far.name]?.ipv4.flatMap(IPAddress.init))
        #expect(try wait(upTo: 5) { try laboratory.authority.ping(address.text).isComplete } != nil)
        let stream = try GapStream(from: laboratory.authority.namespace, to: address, in: far.namespace, size: 200)
        do {
          // A port that comes and goes, so that there is something to say.
          for _ in 0..<5 {
            try laboratory.nodes[1].run(["ip", "link", "add", "eth9", "up", "type", "veth", "peer", "name", "far9"])
            try pause(0.2)
            try laboratory.nodes[1].run(["ip", "link", "delete", "eth9"])
            try pause(0.2)
          }
        } catch {
          _ = stream.finish()
          throw error
        }
        let result = stream.finish()
        #expect(result.endedAlive && result.received > 0 && result.longestGap < 500, "\(result)")
        for node in laboratory.nodes {
          let events = try node.control(["events"]).output
          #expect(!events.contains("is down"), "\(events)")
          // The wall clock is in what is said, and nowhere else.
          let years = Set(events.split(separator: "\n").map { $0.prefix(4) })
          #expect(years.count >= 3, "the clock of \(node.name) did not jump: \(events)")
        }
        for node in laboratory.nodes { #expect(node.stop(patience: 5) == 0, "\(node.logTail(3))") }
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
