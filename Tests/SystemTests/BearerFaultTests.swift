// What is done to the management device itself: deleted, moved away, its name or a member's address taken.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct BearerFaults {
    private func logText(_ node: LabNode) -> String {
      (try? String(contentsOfFile: node.log, encoding: .utf8)) ?? ""
    }

    /// The share of a processor used during one second.
    private func load(of node: LabNode) throws -> Double {
      let before = try #require(node.figures).processorSeconds
      try pause(1)
      return try #require(node.figures).processorSeconds - before
    }

    @Test func `with protection off a deleted device is said and costs no processor time`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        try laboratory.provision(node, ["set", "protect=off"])
        var trial = try Trial(laboratory)
        try trial.start(.ascending)
        try node.run(["ip", "link", "del", "mm0"])
        let said = try wait(upTo: 2) { logText(node).contains("left as it is (protection is off): restart") }
        #expect(said != nil, "\(node.logTail())")
        let load = try load(of: node)
        #expect(load < 0.2, "\(load) of a processor")
      }
    }

    @Test func `a device whose name is taken costs no processor time and is back when the name is free`() throws {
      try withRunningNetwork(.chain(2)) { laboratory, trial in
        let node = laboratory.nodes[1]
        let pair = try trial.pair(of: node)
        try node.run(["sh", "-c", "ip link del mm0; ip link add mm0 type veth peer name other"])
        let said = try wait(upTo: 2) { logText(node).contains("another's device (veth) has its name") }
        #expect(said != nil, "\(node.logTail())")
        let load = try load(of: node)
        #expect(load < 0.2, "\(load) of a processor")
        try node.run(["ip", "link", "del", "mm0"])
        let answered = try Prober(in: laboratory.authority.namespace).probe([pair.four, pair.six], timeout: 3)
        #expect(answered.count == 2, "\(node.logTail())")
      }
    }

    @Test func `a device moved to another namespace is back in 3 seconds`() throws {
      try withRunningNetwork(.chain(2)) { laboratory, trial in
        let node = laboratory.nodes[1]
        let pair = try trial.pair(of: node)
        try node.run(["sh", "-c", "unshare -n sleep 3 >/dev/null 2>&1 & sleep 0.1; ip link set mm0 netns $!"])
        let answered = try Prober(in: laboratory.authority.namespace).probe([pair.four, pair.six], timeout: 3)
        #expect(answered.count == 2, "\(node.logTail())")
        let load = try load(of: node)
        #expect(load < 0.2, "\(load) of a processor")
      }
    }

    @Test func `the authority's address on a port of the box does not cut the box off, and stays where it is`() throws {
      try withRunningNetwork(.chain(2)) { laboratory, trial in
        let node = laboratory.nodes[1]
        let pair = try trial.pair(of: node)
        let status = try laboratory.authority.status()
        let (four, six) = try (#require(status.ipv4), #require(status.ipv6))
        try node.run(["ip", "address", "add", "\(four)/16", "dev", "eth0"])
        try node.run(["ip", "-6", "address", "add", "\(six)/64", "dev", "eth0", "nodad"])
        try pause(0.1)
        let answered = try Prober(in: laboratory.authority.namespace).probe([pair.four, pair.six], timeout: 3)
        #expect(answered.count == 2, "\(answered.keys.map(\.text)): \(node.logTail())")
        #expect(logText(node).contains("address \(four)/32 (eth0) hides"))
        #expect(try node.run(["ip", "route", "get", four]).output.hasPrefix("local"))
        try node.run(["ip", "address", "del", "\(four)/16", "dev", "eth0"])
        let undone = try wait(upTo: 2) { try !node.run(["ip", "rule"]).output.contains("from \(pair.four.text) to") }
        #expect(undone != nil)
      }
    }
  }
}
