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

    @Test(arguments: [nil, "0", "1", "2"]) func `an MA lays as many routes as its store says`(setting: String?) throws {
      try withLaboratory(.grid(3, 3)) { laboratory in
        let authority = laboratory.authority
        if let setting { try laboratory.provision(authority, ["set", "alternates=\(setting)"]) }
        let before = try Data(contentsOf: URL(fileURLWithPath: authority.store))
        let refused = try laboratory.provision(authority, ["set", "alternates=8"], tolerant: true)
        #expect(refused.status == 2 && refused.errorOutput.contains("0 to 7"), "\(refused)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: authority.store)) == before)
        var trial = try Trial(laboratory)
        try trial.start(.ascending)
        func count(at node: LabNode, of name: String) throws -> Int {
          let text = try node.control(["routes", name], json: true).output
          let document = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
          return (document?["ways"] as? [[String: Any]])?.count ?? 0
        }
        let wanted = 1 + (setting.flatMap { Int($0) } ?? 3)
        let far = try #require(laboratory.nodes.first { $0.name == "cm8" })
        var counts: [Int] = []
        let both = try wait(upTo: 5) {
          counts = [try count(at: authority, of: far.name), try count(at: far, of: authority.name)]
          return counts == [wanted, wanted]
        }
        #expect(both != nil, "\(counts) instead of \(wanted)")
      }
    }

    @Test func `ctl routes says why this way and not another`() throws {
      try withRunningNetwork(.ring(4)) { laboratory, _ in
        let authority = laboratory.authority
        _ = try wait(upTo: 5) { try authority.knownLinks().count == 4 }
        let identifiers = Dictionary(
          uniqueKeysWithValues: try authority.knownNodes().map { ($0.name, $0.id) })
        func explain(_ name: String) throws -> [[String: Any]] {
          let text = try authority.control(["routes", name], json: true).output
          let document = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
          #expect(document["node"] as? String == name)
          #expect((document["rule"] as? String)?.hasPrefix("lowest cost, then") == true)
          return try #require(document["candidates"] as? [[String: Any]])
        }
        func expect(_ candidate: [String: Any], _ chosen: Bool, _ path: [String], _ why: String) {
          #expect(candidate["chosen"] as? Bool == chosen)
          #expect(candidate["path"] as? [String] == path)
          #expect(candidate["hops"] as? Int == path.count)
          #expect(candidate["cost"] as? Int == 10 * path.count)
          #expect(candidate["frameSize"] as? Int == 1500)
          #expect(candidate["why"] as? String == why)
        }
        // Two ways as good as one another: the lower identifier decides.
        let opposite = try explain("cm2")
        try #require(opposite.count == 2)
        let sides = ["cm1", "cm3"].sorted { identifiers[$0] ?? "" < identifiers[$1] ?? "" }
        expect(opposite[0], true, [sides[0], "cm2"], "the best of all paths")
        expect(opposite[1], false, [sides[1], "cm2"], "is equal; the chosen one's identifiers are lower")
        // One link, or three.
        let beside = try explain("cm1")
        try #require(beside.count == 2)
        expect(beside[0], true, ["cm1"], "the best of all paths")
        expect(beside[1], false, ["cm3", "cm2", "cm1"], "costs 30, the chosen one 10")
        // What is explained is what is done.
        let all = try JSONSerialization.jsonObject(
          with: Data(try authority.control(["routes"], json: true).output.utf8))
        let laid = try #require((all as? [[String: Any]])?.first { $0["node"] as? String == "cm2" })
        #expect(laid["path"] as? [String] == [sides[0], "cm2"])
        let one = try JSONSerialization.jsonObject(
          with: Data(try authority.control(["routes", "cm2"], json: true).output.utf8))
        let ways = try #require((one as? [String: Any])?["ways"] as? [[String: Any]])
        #expect(ways.map { $0["place"] as? Int } == [0, 1])
        #expect(ways.compactMap { $0["path"] as? [String] } == [[sides[0], "cm2"], [sides[1], "cm2"]])
        #expect(ways.map { $0["carries"] as? String } == ["all", "protected"])
        let text = try authority.control(["routes", "cm2"]).output
        #expect(text.contains("ways:") && text.contains("protected"), "\(text)")
        let unknown = try authority.control(["routes", "nobody"], tolerant: true)
        #expect(unknown.status == 1 && unknown.errorOutput.contains("no node nobody"), "\(unknown)")
      }
    }

    @Test func `ctl events tells what has happened, and with --follow what happens next`() throws {
      try withRunningNetwork(.chain(2)) { laboratory, _ in
        let wanted = [
          ["link to cm1 on eth0 is up", "cm1 is authenticated", "cm1 is reachable over 1 hop"],
          ["link to ma on eth0 is up", "authenticated by authority ma", "route to authority ma is installed"],
        ]
        var followers: [(process: BackgroundProcess, log: String)] = []
        for (node, parts) in zip(laboratory.nodes, wanted) {
          let lines = try node.control(["events"]).output.split(separator: "\n")
          for part in parts {
            let count = lines.filter { $0.hasSuffix("notice: \(part)") }.count
            #expect(count == 1, "\(node.name), \(part): \(lines)")
          }
          let text = try node.control(["events"], json: true).output
          let document = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
          #expect(document.count == lines.count)
          #expect(document.contains { $0["text"] as? String == parts[0] && $0["level"] as? String == "notice" })
          let log = "\(laboratory.directory)/\(node.name)-events"
          let words = [node.binary, "ctl", "--run", node.runDirectory, "events", "--follow"]
          followers.append((try BackgroundProcess(words, log: log), log))
        }
        defer { for follower in followers { follower.process.stop() } }
        func said(_ index: Int) -> String { (try? String(contentsOfFile: followers[index].log, encoding: .utf8)) ?? "" }
        // What was before comes first.
        for index in 0..<2 { #expect(try wait(upTo: 3) { said(index).contains(wanted[index][0]) } != nil) }
        #expect(!said(0).contains("is down") && !said(1).contains("is down"))
        try laboratory.setCarrier(0, up: false)
        for (index, name) in ["cm1", "ma"].enumerated() {
          let seen = try wait(upTo: 2) { said(index).contains("link to \(name) on eth0 is down: ") }
          #expect(seen != nil, "\(said(index))")
        }
        try laboratory.setCarrier(0, up: true)
        let again = try wait(upTo: 3) { said(0).components(separatedBy: wanted[0][0]).count == 3 }
        #expect(again != nil, "\(said(0))")
        #expect(followers.allSatisfy { $0.process.isRunning })
        // A follower ends with its node.
        laboratory.nodes[1].stop()
        #expect(followers[1].process.hasEnded(within: 3))
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
