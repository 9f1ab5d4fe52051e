// The operator's commands toward a running authority and toward a mistyped line: what they say, exit with and leave.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Operator {
    /// A network whose authority runs, and boxes that have asked: on the key lie their records.
    private func withRecords(
      _ names: [String], _ body: (Laboratory) throws -> Void
    ) throws {
      try withLaboratory(.chain(names.count + 1), provisioned: false) { laboratory in
        try FileManager.default.createDirectory(atPath: laboratory.usb, withIntermediateDirectories: false)
        try laboratory.provision(laboratory.authority, ["network", "--domain", "lab.example", "--name", "ma"])
        try laboratory.provision(laboratory.authority, ["key", "--usb", laboratory.usb])
        for (node, name) in zip(laboratory.components, names) {
          try laboratory.provision(node, ["enroll", "--usb", laboratory.usb, "--name", name])
        }
        try laboratory.authority.start()
        try #require(
          try wait(upTo: 5) { try laboratory.authority.control(["status"], tolerant: true).succeeded } != nil)
        try body(laboratory)
      }
    }

    private func records(_ laboratory: Laboratory) throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: laboratory.usb + "/lifeline/records").sorted()
    }

    private func identifier(_ laboratory: Laboratory, _ node: LabNode) throws -> String {
      let lines = try laboratory.provision(node, ["show"]).output.split(separator: "\n")
      let line = try #require(lines.first { $0.hasPrefix("id ") })
      return String(try #require(line.split(separator: " ").last))
    }

    @Test func `ctl accept exits 1 when a record is refused, and takes from the key what was taken in`() throws {
      try withRecords(["twin", "twin"]) { laboratory in
        let authority = laboratory.authority
        let listed = try authority.control(["accept", laboratory.usb], tolerant: true)
        #expect(listed.status == 0 && listed.output.contains("waiting"), "\(listed)")
        #expect(try records(laboratory).count == 2, "a list changes nothing")

        let first = try authority.control(["accept", laboratory.usb, "--yes"], tolerant: true)
        #expect(first.status == 1 && first.output.contains("accepted"), "\(first)")
        #expect(first.errorOutput.contains("1 of 2 records were refused"), "\(first)")
        let left = try records(laboratory)
        #expect(left.count == 1)
        // What is left is refused as a whole, by name, in a list too.
        for words in [["accept", laboratory.usb], ["accept", laboratory.usb, "--yes"]] {
          let again = try authority.control(words, tolerant: true)
          #expect(again.status == 1 && again.errorOutput.contains("1 of 1 records"), "\(again)")
        }
        #expect(try records(laboratory) == left)

        let second = try #require(
          try laboratory.components.first { try left[0].hasPrefix(identifier(laboratory, $0)) })
        let id = try identifier(laboratory, second)
        let named = try authority.control(["accept", laboratory.usb, "--expect", id, "--name", "other"])
        #expect(named.output.split(separator: "\n").contains { $0.hasPrefix("other ") }, "\(named)")
        #expect(named.output.contains("WANTED"), "\(named)")
        #expect(try records(laboratory).isEmpty)
        let none = try authority.control(["accept", laboratory.usb, "--yes"], tolerant: true)
        #expect(none.status == 1 && none.errorOutput.contains("no enrolment record"), "\(none)")
      }
    }

    @Test func `a second accept after a pulled key finishes the first`() throws {
      try withRecords(["box"]) { laboratory in
        let folder = laboratory.usb + "/lifeline/records"
        let name = try #require(try records(laboratory).first)
        try run(["cp", "\(folder)/\(name)", "\(laboratory.directory)/kept"])
        try laboratory.authority.control(["accept", laboratory.usb, "--yes"])
        try run(["cp", "\(laboratory.directory)/kept", "\(folder)/\(name)"])
        let again = try laboratory.authority.control(["accept", laboratory.usb, "--yes"])
        #expect(again.output.contains("member already"), "\(again)")
        #expect(try records(laboratory).isEmpty)
        laboratory.authority.stop()
        // The same for the command without a node.
        try run(["cp", "\(laboratory.directory)/kept", "\(folder)/\(name)"])
        let offline = try laboratory.provision(laboratory.authority, ["accept", "--usb", laboratory.usb, "--yes"])
        #expect(offline.output.contains("is a member already"), "\(offline)")
        #expect(try records(laboratory).isEmpty)
      }
    }

    @Test func `an authority that cannot write its store keeps the record on the key`() throws {
      try withLaboratory(.chain(2), provisioned: false) { laboratory in
        let authority = laboratory.authority
        try FileManager.default.createDirectory(atPath: laboratory.usb, withIntermediateDirectories: false)
        try laboratory.provision(authority, ["network", "--domain", "lab.example", "--name", "ma"])
        try laboratory.provision(authority, ["key", "--usb", laboratory.usb])
        try laboratory.enroll(laboratory.nodes[1])
        try authority.start()
        try #require(try wait(upTo: 5) { try authority.control(["status"], tolerant: true).succeeded } != nil)
        let pid = try String(contentsOfFile: authority.runDirectory + "/pid", encoding: .utf8)
          .trimmingCharacters(in: .whitespacesAndNewlines)
        let trace = laboratory.directory + "/trace"
        let tracer = try BackgroundProcess(
          ["strace", "-f", "-p", pid, "-o", trace, "-e", "inject=pwrite64:error=ENOSPC"], log: authority.log)
        defer { tracer.stop() }
        _ = try wait(upTo: 3) {
          try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8).contains(
            "TracerPid:\t\(tracer.identifier)")
        }
        let refused = try authority.control(["accept", laboratory.usb, "--yes"], tolerant: true)
        #expect(refused.status == 1, "\(refused)")
        for part in ["No space left", "a restart would undo it"] {
          #expect(refused.errorOutput.contains(part), "\(refused)")
        }
        #expect(refused.errorOutput.split(separator: "\n").count == 1)
        #expect(try records(laboratory).count == 1)
        tracer.stop()
        let taken = try authority.control(["accept", laboratory.usb, "--yes"])
        #expect(taken.output.contains("member already"), "\(taken)")
        #expect(try records(laboratory).isEmpty)
        authority.stop()
        #expect(
          try laboratory.provision(authority, ["show"]).output.contains("member       \(laboratory.nodes[1].name)"))
      }
    }

    @Test func `two accepts at once take every box in once`() throws {
      try withRecords(["a", "b", "c"]) { laboratory in
        let authority = laboratory.authority
        let log = laboratory.directory + "/accepts"
        let words = authority.inside(
          [authority.binary, "ctl", "--run", authority.runDirectory, "accept", laboratory.usb, "--yes"])
        let clients = try (0..<4).map { _ in try BackgroundProcess(words, log: log) }
        for client in clients { #expect(client.hasEnded(within: 5)) }
        let said = try String(contentsOfFile: log, encoding: .utf8)
        // Who came when all was done finds no record; nobody sees a failure of another kind.
        for client in clients where client.endStatus != 0 { #expect(said.contains("no enrolment record"), "\(said)") }
        #expect(clients.contains { $0.endStatus == 0 })
        #expect(said.components(separatedBy: "  accepted").count == 4, "\(said)")
        #expect(try records(laboratory).isEmpty)
        let shown = try laboratory.provision(authority, ["show"]).output.split(separator: "\n")
        #expect(shown.filter { $0.hasPrefix("member  ") }.count == 3)
      }
    }

    @Test func `ctl to a stopped node ends after 5 s, names the process and exits 1`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let authority = laboratory.authority
        try authority.start()
        try #require(try wait(upTo: 5) { try authority.control(["status"], tolerant: true).succeeded } != nil)
        let pid = try #require(authority.process?.identifier)
        authority.send(SIGSTOP)
        defer { authority.send(SIGCONT) }
        let begun = now()
        let result = try authority.control(["status"], tolerant: true)
        let took = now() - begun
        #expect(result.status == 1 && took > 4 && took < 7, "\(result) after \(took) s")
        #expect(
          result.errorOutput.split(separator: "\n").count == 1 && result.errorOutput.contains("pid \(pid)")
            && result.errorOutput.contains("5 s"), "\(result)")
        authority.send(SIGCONT)
        #expect(try authority.control(["status"]).succeeded)
      }
    }

    @Test func `a tunnel whose peer has a name is refused with what to write, and changes nothing`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        let before = try Data(contentsOf: URL(fileURLWithPath: node.store))
        let result = try laboratory.provision(node, ["set", "protect=on", "tunnel=a.example:4"], tolerant: true)
        #expect(result.status == 2 && result.errorOutput.contains("an address, not a name"), "\(result)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: node.store)) == before)
        try laboratory.provision(node, ["set", "tunnel-listen=4500,cost=30"])
        #expect(try laboratory.provision(node, ["show"]).output.contains("tunnel-listen=4500,cost=30"))
      }
    }

    @Test
    func `settings beyond their room, and tunnels through the network itself, are refused and nothing is changed`()
      throws
    {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        // 209 bytes are there for them; wide-discovery=on takes 18.
        let ports = (0..<20).map { "port-\($0 + 100)" }.joined(separator: ",")
        let list = "keep-down=" + ports + String(repeating: "x", count: 209 - 18 - 11 - ports.utf8.count)
        try laboratory.provision(node, ["set", "wide-discovery=on", list])
        let before = try Data(contentsOf: URL(fileURLWithPath: node.store))
        for words in [[list + "x"], ["protect=on"], ["wide-discovery=off"]] {
          let result = try laboratory.provision(node, ["set"] + words, tolerant: true)
          #expect(
            result.status == 1 && result.errorOutput.split(separator: "\n").count == 1
              && result.errorOutput.contains("has room for 209 bytes of settings")
              && result.errorOutput.contains("of them keep-down"), "\(result)")
        }
        let inside = try Self.inside(laboratory)
        for tunnel in ["tunnel=\(inside):4500", "tunnel-listen=\(inside):4500"] {
          let result = try laboratory.provision(node, ["set", tunnel], tolerant: true)
          #expect(result.status == 2 && result.errorOutput.contains("the management network itself"), "\(result)")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: node.store)) == before)
        // Changed to less in the same command, it is taken.
        try laboratory.provision(node, ["set", "keep-down=eth9", "tunnel=[::ffff:192.0.2.1]:4500"])
        #expect(try laboratory.provision(node, ["show"]).output.contains("tunnel=[::ffff:192.0.2.1]:4500"))
      }
    }

    /// An address in the management prefix.
    private static func inside(_ laboratory: Laboratory) throws -> String {
      let shown = try laboratory.provision(laboratory.nodes[1], ["show"]).output
      let line = try #require(shown.split(separator: "\n").first { $0.hasPrefix("prefix") })
      return line.split(separator: " ")[1].split(separator: "/")[0].split(separator: ".").dropLast().joined(
        separator: ".") + ".77"
    }

    /// Command lines that name an option, a value or a command that is not there, and what the line must offer instead.
    @Test(
      arguments: [
        (["no-such-program"], "provision, ctl"), (["--no-such"], "provision, ctl"), ([], "provision, ctl"),
        (["ma", "--no-such"], "--interface"), (["cm", "word"], "--interface"), (["cm", "--run"], "needs a value"),
        (["cm", "--tunnel"], "needs a value: HOST:PORT"),
        (["cm", "--tunnel", "--log", "debug"], "needs a value: HOST:PORT"),
        (["cm", "--tunnel-listen=4500", "--tunnel-listen", "4501"], "there is one place to listen"),
        (["cm", "--tunnel-listen="], "needs a value: PORT"),
        (["provision", "nonsense"], "network, key"), (["provision"], "network, key"),
        (["provision", "--store", "x"], "network, key"), (["provision", "key", "--no-such"], "--count N"),
        (["provision", "key", "-x"], "--count N"),
        (["provision", "accept", "--usb", "/", "--domain", "x"], "--expect ID"),
        (["provision", "accept", "--usb"], "needs a value"), (["provision", "accept", "--yes=1"], "takes no value"),
        (["provision", "key", "--usb", "/", "--count", "0"], "1 to 256"),
        (["provision", "set", "nonsense=1"], "keep-down"), (["provision", "show", "word"], "word"),
        (["ctl"], "status, nodes"), (["ctl", "nonsense"], "status, nodes"), (["ctl", "--no-such", "status"], "--json"),
        (["ctl", "status", "--no-such"], "status"), (["ctl", "--run"], "needs a directory"),
        (["ctl", "accept"], "DIR"), (["ctl", "accept", "/", "--no-such"], "--expect ID"),
        (["ctl", "accept", "/", "--expect"], "needs a value"), (["ctl", "accept", "/", "--expect", "12"], "32 hex"),
        (["ctl", "accept", "/", "--name", "x"], "--expect"),
        (["ctl", "accept", "/", "--yes", "--expect", "12"], "32 hex"),
      ] as [([String], String)])
    func `a mistyped line exits 2 with one line that says what is possible`(words: [String], offer: String) throws {
      func expectOffer(_ store: [String]) throws {
        let result = try run([shippedBinary] + words + store, timeout: 5, tolerant: true)
        #expect(result.status == 2, "\(result)")
        #expect(result.errorOutput.split(separator: "\n").count == 1 && result.errorOutput.contains(offer), "\(result)")
      }
      if words.contains("set") {
        // A store that is there, so that a setting's name is what is wrong.
        try withLaboratory(.chain(2)) { try expectOffer(["--store", $0.nodes[1].store]) }
      } else {
        try expectOffer([])
      }
    }

    /// Every option a help names is taken by the program: tried with no value or with a wrong one, the answer is about
    /// the value, the rest of the line or the machine.
    @Test func `every option in a help is one the program has`() throws {
      for applet in ["ma", "cm", "provision", "ctl"] {
        let help = try run([shippedBinary, applet, "--help"]).output
        var command = ""
        var tried = 0
        for line in help.split(separator: "\n") {
          let indent = line.prefix { $0 == " " }.count
          let words = line.split { " []|()=,;:".contains($0) }.map(String.init)
          if applet == "provision" || applet == "ctl", indent == 2, let word = words.first, !word.hasPrefix("-") {
            command = word
          }
          for option in words where option.hasPrefix("--") && option != "--" {
            let isCommon = option == "--store" || option == "--run" || option == "--json"
            var line = [shippedBinary, applet]
            if !command.isEmpty { line.append(command) } else if applet == "provision" { line.append("show") }
            if applet == "ctl" && isCommon { line = [shippedBinary, applet, option] } else { line.append(option) }
            let result = try run(line, timeout: 5, tolerant: true)
            #expect(
              !result.errorOutput.contains("has no option \(option)"), "\(line.dropFirst()): \(result.errorOutput)")
            tried += 1
          }
        }
        #expect(tried >= 3, "\(applet): \(help)")
      }
    }

    @Test(arguments: [
      ["ma"], ["cm"], ["ctl"], ["ctl", "accept", "/"], ["provision", "network"], ["provision", "key"],
      ["provision", "enroll"], ["provision", "accept"], ["provision", "show"], ["provision", "set"],
      ["provision", "unset"], ["provision", "export"], ["provision", "import"],
    ])
    func `every option a program has is in its help`(words: [String]) throws {
      let refused = try run([shippedBinary] + words + ["--no-such"], timeout: 5, tolerant: true).errorOutput
      let offered =
        try #require(refused.components(separatedBy: "possible are ").last)
        .components(separatedBy: " (").first?.components(separatedBy: ", ") ?? []
      #expect(refused.contains("has no option --no-such") && !offered.isEmpty, "\(refused)")
      let help = try run([shippedBinary, words[0], "--help"]).output
      for option in offered { #expect(help.contains(option), "\(option) is not in the help of \(words[0])") }
    }
  }
}
