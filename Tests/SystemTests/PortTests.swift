// Ports an operator sets down: which are raised for the channel, which stay as they are; and what ports cost.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Ports {
    private func isUp(_ node: LabNode, _ port: String) throws -> Bool {
      let flags = try node.run(["cat", "/sys/class/net/\(port)/flags"]).output.dropFirst(2).prefix { $0 != "\n" }
      return try #require(Int(flags, radix: 16)) & 1 == 1
    }

    @Test func `of two ports the operator sets down, the one in keep-down stays down`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        try laboratory.provision(node, ["set", "keep-down=eth8,eth7"])
        for port in ["7", "9"] {
          try node.run(["ip", "link", "add", "eth\(port)", "up", "type", "veth", "peer", "name", "far\(port)"])
        }
        try node.start()
        try #require(try wait(upTo: 5) { try node.control(["status"], tolerant: true).succeeded } != nil)
        for port in ["eth7", "eth9"] { try node.run(["ip", "link", "set", port, "down"]) }
        let begun = now()
        // docs/OPERATIONS.md: after 3 s.
        let raised = try wait(upTo: 5) { try isUp(node, "eth9") }
        #expect(raised.map { $0 > 2.5 } == true, "eth9 was raised after \(raised ?? .nan) s: \(node.logTail())")
        try pause(max(0, 4 - (now() - begun)))
        #expect(try !isUp(node, "eth7"))
        let events = try node.control(["events"]).output
        #expect(events.contains("port eth9 was administratively down") && !events.contains("port eth7 was adm"))
        // What it raised it sets down again; what it kept, it never touched.
        #expect(node.stop() == 0)
        #expect(try !isUp(node, "eth9") && !isUp(node, "eth7"))
      }
    }

    /// A guard against gross regressions only: the limit is 1 %, measured over a minute by `lab idle` in the soak; a few
    /// seconds of a machine that runs other tests are too coarse for that.
    @Test func `a component with four ports and nothing to do uses next to no processor time`() throws {
      try withRunningNetwork(.star(4)) { laboratory, _ in
        let node = laboratory.nodes[1]
        let known = try wait(upTo: 5) { try laboratory.authority.knownLinks().count == 4 }
        #expect(known != nil)
        try pause(1)
        // A machine that is busy with others makes each wakeup dearer: the best of three windows counts.
        var share = Double.infinity
        for _ in 0..<3 where share >= 2.5 {
          let before = try #require(node.figures).processorSeconds
          let begun = now()
          try pause(3)
          share = min(share, (try #require(node.figures).processorSeconds - before) / (now() - begun) * 100)
        }
        print("idle with four ports: \(share) % of a core")
        #expect(share < 2.5)
      }
    }
  }
}

extension Topology {
  /// Component 1 in the middle of `n` others, the authority one of them.
  fileprivate static func star(_ n: Int) -> Topology {
    Topology(
      name: "star:\(n)", nodeCount: n + 1, links: [Link(0, 1)] + (2...n).map { Link(1, $0) })
  }
}
