// What an operator's scripts count on: the fields of `ctl --json`, readiness, many boxes at once, an authority that moves.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Answers {
    private func outcomes(_ result: CommandResult) throws -> [[String: Any]] {
      let document = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
      return try #require(document as? [[String: Any]], "\(result)")
    }

    @Test func `a running authority takes 240 boxes in, its links stay up, and ctl shows all of them`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let authority = laboratory.authority
        try laboratory.provision(authority, ["key", "--usb", laboratory.usb, "--count", "240"])
        let script = """
          for n in $(seq 240); do
            "$0" provision enroll --store "$1/box$n" --usb "$2" --name "box$n" >/dev/null || exit 1
          done
          """
        try run(["sh", "-c", script, laboratory.binary, laboratory.directory, laboratory.usb])
        var trial = try Trial(laboratory)
        try trial.start(.ascending)
        let begun = now()
        let accepted = try outcomes(authority.control(["accept", laboratory.usb, "--yes"], json: true))
        print("accepting 240 boxes: \(now() - begun) s")
        #expect(accepted.filter { $0["verdict"] as? String == "accepted" }.count == 240)
        #expect(try FileManager.default.contentsOfDirectory(atPath: laboratory.usb + "/lifeline/records").isEmpty)
        #expect(try authority.knownNodes().count == 242)
        #expect(try authority.control(["nodes"]).output.split(separator: "\n").count == 243)
        let events = try laboratory.nodes[1].control(["events"]).output
        #expect(!events.contains("is down"), "\(events)")
      }
    }

    /// The fields an operator's script may count on, with their kinds.
    @Test func `ctl --json has the fields that are promised`() throws {
      try withRunningNetwork(.chain(3)) { laboratory, _ in
        func object(_ node: LabNode, _ command: String) throws -> Any {
          try JSONSerialization.jsonObject(with: Data(node.control([command], json: true).output.utf8))
        }
        for node in laboratory.nodes {
          let isAuthority = node.index == 0
          let status = try #require(try object(node, "status") as? [String: Any])
          #expect(status["name"] as? String == node.name)
          #expect(status["role"] as? String == (isAuthority ? "authority" : "component"))
          for key in ["ipv4", "ipv6"] { #expect((status[key] as? String).flatMap(IPAddress.init) != nil, "\(key)") }
          #expect(status["ready"] as? Bool == true)
          let nodes = try #require(try object(node, "nodes") as? [[String: Any]])
          #expect(nodes.count == (isAuthority ? 3 : 2))
          for entry in nodes {
            #expect((entry["name"] as? String)?.isEmpty == false)
            let id = try #require(entry["id"] as? String)
            #expect(id.count == 32 && id.allSatisfy { $0.isHexDigit && !$0.isUppercase })
            #expect(["authority", "component"].contains(entry["role"] as? String))
            #expect(entry["state"] as? String == "authenticated")
            for key in ["ipv4", "ipv6"] { #expect((entry[key] as? String).flatMap(IPAddress.init) != nil, "\(key)") }
            #expect(entry.keys.contains("hops"))
            if isAuthority { #expect((entry["hops"] as? Int).map { 0...2 ~= $0 } == true, "\(entry)") }
          }
        }
        laboratory.nodes[2].crash()
        let gone = try wait(upTo: 5) {
          try laboratory.authority.knownNodes().first { $0.name == "cm2" }?.state == "unreachable"
        }
        #expect(gone != nil)
      }
    }

    @Test func `a node whose bearer device is down is not ready`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        // Otherwise it is up again before anybody has asked.
        for node in laboratory.nodes { try laboratory.provision(node, ["set", "protect=off"]) }
        var trial = try Trial(laboratory)
        try trial.start(.ascending)
        for node in laboratory.nodes {
          #expect(try node.status().ready)
          for state in ["down", "up"] {
            try node.run(["ip", "link", "set", "mm0", state])
            let noticed = try wait(upTo: 3) { try node.status().ready == (state == "up") }
            #expect(noticed != nil, "\(state): \(node.logTail())")
          }
        }
      }
    }

    @Test func `a moved authority's file opens with its passphrase alone, and shows nothing without`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let authority = laboratory.authority
        let file = laboratory.directory + "/ma.seal"
        let (good, bad, empty) = (laboratory.directory + "/good", laboratory.directory + "/bad", "/dev/null")
        try Data("correct horse\nsecond line".utf8).write(to: URL(fileURLWithPath: good))
        try Data("wrong horse\n".utf8).write(to: URL(fileURLWithPath: bad))
        func move(_ verb: String, _ store: String, _ passphrase: String?, _ input: String = "") throws -> CommandResult
        {
          try run(
            [laboratory.binary, "provision", verb, "--store", store]
              + (passphrase.map { ["--passphrase-file", $0] } ?? []) + [file], input: input, tolerant: true)
        }
        func expectRefusal(_ result: CommandResult, _ part: String) {
          #expect(result.status == 1 && result.output.isEmpty, "\(result)")
          #expect(
            result.errorOutput.split(separator: "\n").count == 1 && result.errorOutput.contains(part), "\(result)")
        }
        expectRefusal(try move("export", authority.store, empty), "passphrase")
        expectRefusal(try move("export", authority.store, nil), "no passphrase")
        expectRefusal(try move("export", laboratory.nodes[1].store, good), "component")
        #expect(access(file, F_OK) != 0)
        #expect(try move("export", authority.store, good).succeeded)
        expectRefusal(try move("export", authority.store, good), "exists")
        let target = laboratory.directory + "/moved.nv"
        expectRefusal(try move("import", target, bad), "wrong passphrase")
        expectRefusal(try move("import", target, laboratory.directory + "/none"), "none")
        expectRefusal(try move("import", authority.store, good), "already")
        let whole = try Data(contentsOf: URL(fileURLWithPath: file))
        for damage in [whole.dropLast(), whole + [0], Data(whole.prefix(20)), Data(), Data(repeating: 7, count: 400)] {
          try damage.write(to: URL(fileURLWithPath: file))
          expectRefusal(try move("import", target, good), file)
        }
        #expect(access(target, F_OK) != 0)
        try whole.write(to: URL(fileURLWithPath: file))
        #expect(try move("import", target, nil, "correct horse\n").succeeded)
        let moved = try laboratory.provision(authority, ["show"]).output.split(separator: "\n")
        let shown = try run([laboratory.binary, "provision", "show", "--store", target]).output.split(separator: "\n")
        #expect(moved.filter { !$0.hasPrefix("generation") } == shown.filter { !$0.hasPrefix("generation") })
      }
    }
  }
}
