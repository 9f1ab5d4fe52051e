// How the binary behaves toward its operator: clean endings, and a clear line with the right exit code for whatever is
// wrong. The codes are those of the command line: 1 failed, 2 bad usage, 78 bad or missing store.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Conduct {
    /// What a namespace looks like from outside lifeline: links, addresses, routes, rules, filters, settings.
    private static func state(of node: LabNode) throws -> String {
      var text = ""
      for words in [
        ["ip", "-o", "link"], ["ip", "-o", "address"], ["ip", "route", "show", "table", "all"],
        ["ip", "-6", "route", "show", "table", "all"], ["ip", "rule"], ["ip", "-6", "rule"],
        ["nft", "list", "ruleset"],
        ["sysctl", "net.ipv4.conf.all.rp_filter", "net.ipv6.conf.eth0.disable_ipv6", "net.ipv4.conf.eth0.rp_filter"],
      ] {
        let result = try node.run(words, tolerant: true)
        // Queue lengths and link-local routes of the kernel's own making come and go.
        text +=
          "# \(words.joined(separator: " "))\n"
          + result.output.split(separator: "\n").filter { !$0.contains("fe80") && !$0.contains("ff00::/8") }
          .map { words[1] == "-o" && words[2] == "link" ? Self.configuration(of: $0) : String($0) }.sorted()
          .joined(separator: "\n") + "\n"
      }
      return text
    }

    /// A line of `ip -o link` without what follows from the far end's state: carrier, and the queue the kernel gave.
    private static func configuration(of line: Substring) -> String {
      var text = String(line)
      for carrier in ["NO-CARRIER,", ",LOWER_UP", ",M-DOWN"] { text = text.replacingOccurrences(of: carrier, with: "") }
      return text.replacingOccurrences(of: "qdisc [a-z]+ state [A-Z]+", with: "", options: .regularExpression)
    }

    /// A program's failure is one line on standard error that holds every one of `parts`.
    private func expectFailure(
      _ result: CommandResult, _ codes: [Int32], says parts: [String], location: SourceLocation = #_sourceLocation
    ) {
      let lines = result.errorOutput.split(separator: "\n")
      #expect(codes.contains(result.status), "exit \(result.status): \(result.errorOutput)", sourceLocation: location)
      #expect(lines.count == 1, "\(result.errorOutput)", sourceLocation: location)
      for part in parts {
        #expect(
          result.errorOutput.lowercased().contains(part.lowercased()), "no '\(part)' in: \(result.errorOutput)",
          sourceLocation: location)
      }
    }

    @Test func `SIGTERM ends a node with 0 and undoes everything it made or changed`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        // A filter that lifeline has to open for mm0, and close again.
        try node.filterEverything()
        // A port that it raises, and lowers again.
        try node.run(["ip", "link", "add", "name", "eth7", "type", "veth", "peer", "name", "far7"])
        let before = try Self.state(of: node)
        var trial = try Trial(laboratory)
        try trial.start(.ascending)
        try pause(4)
        let during = try Self.state(of: node)
        #expect(during != before)
        #expect(node.stop(patience: 5) == 0)
        let after = try Self.state(of: node)
        #expect(after == before, "before:\n\(before)\nafter:\n\(after)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: node.runDirectory).filter { $0 != "lock" }.isEmpty)
      }
    }

    @Test func `a second instance on the same run folder says so and exits 1`() throws {
      try withRunningNetwork(.chain(2)) { laboratory, trial in
        let node = laboratory.nodes[1]
        let second = try run(node.inside([node.binary] + node.arguments), timeout: 10, tolerant: true)
        expectFailure(second, [1], says: ["another lifeline"])
        let (four, _) = try trial.pair(of: node)
        #expect(try laboratory.authority.ping(four.text).isComplete)
      }
    }

    @Test func `without the TUN device a node says so and exits 1`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        // `ip netns exec` gives a mount namespace of its own; the empty folder hides the device from this node alone.
        let hidden = ["sh", "-c", "mount -t tmpfs none /dev/net && exec \"$@\"", "sh", node.binary] + node.arguments
        expectFailure(
          try run(node.inside(hidden), timeout: 10, tolerant: true), [1], says: ["/dev/net/tun"])
      }
    }

    @Test func `without CAP_NET_RAW a node says so and exits 1`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        let bounded = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw", node.binary] + node.arguments
        expectFailure(
          try run(node.inside(bounded), timeout: 10, tolerant: true), [1], says: ["CAP_NET_RAW"])
      }
    }

    enum BadStore: CaseIterable, Sendable { case missing, empty, zeros, flipped, folder, otherRole }

    @Test(arguments: BadStore.allCases)
    func `a bad or missing store gives 78 and names the file`(kind: BadStore) throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        let file = FileManager.default
        switch kind {
        case .missing: try file.removeItem(atPath: node.store)
        case .empty: try Data().write(to: URL(fileURLWithPath: node.store))
        case .zeros: try Data(count: 8192).write(to: URL(fileURLWithPath: node.store))
        case .flipped:
          var bytes = try Data(contentsOf: URL(fileURLWithPath: node.store))
          for index in stride(from: 20, to: bytes.count, by: 64) { bytes[index] ^= 0x40 }
          try bytes.write(to: URL(fileURLWithPath: node.store))
        case .folder:
          try file.removeItem(atPath: node.store)
          try file.createDirectory(atPath: node.store, withIntermediateDirectories: false)
        case .otherRole:
          try file.removeItem(atPath: node.store)
          try file.copyItem(atPath: laboratory.authority.store, toPath: node.store)
        }
        expectFailure(
          try run(node.inside([node.binary] + node.arguments), timeout: 10, tolerant: true), [78], says: [node.store])
      }
    }

    @Test func `one damaged copy of the store does not stop a node`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        var trial = try Trial(laboratory)
        try trial.start(.ascending)
        #expect(node.stop() == 0)
        var bytes = try Data(contentsOf: URL(fileURLWithPath: node.store))
        for index in 0..<64 { bytes[index] ^= 0xff }
        try bytes.write(to: URL(fileURLWithPath: node.store))
        try node.start()
        let (four, _) = try trial.pair(of: node)
        let back = try wait(upTo: 10, every: 0.2) { try laboratory.authority.ping(four.text).isComplete }
        #expect(back != nil, "\(node.logTail())")
      }
    }

    @Test(arguments: [
      ["cm", "--no-such-option"], ["cm", "--store"], ["cm", "--log", "loud"], ["no-such-program"], ["provision"],
      ["provision", "nonsense"], ["ctl", "--run"],
    ])
    func `bad usage exits 2 with one line`(words: [String]) throws {
      expectFailure(try run([shippedBinary] + words, timeout: 5, tolerant: true), [2], says: ["lifeline"])
    }

    @Test(arguments: ["ettm", "verify"])
    func `a personality that does not exist yet says so and exits 1`(name: String) throws {
      expectFailure(try run([shippedBinary, name], timeout: 5, tolerant: true), [1], says: [name])
    }

    @Test func `version and help name the program and exit 0`() throws {
      let version = try run([shippedBinary, "--version"])
      #expect(version.output.hasPrefix("lifeline "))
      for words in [["--help"], ["ma", "--help"], ["cm", "--help"], ["provision", "--help"], ["ctl", "--help"]] {
        #expect(try run([shippedBinary] + words).output.contains("usage"), "\(words)")
      }
    }

    @Test func `an unknown port is named`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        try node.start(extra: ["--interface", "nosuch0"])
        let said = try wait(upTo: 5) { node.logTail().contains("nosuch0") }
        #expect(said != nil, "the log: \(node.logTail())")
      }
    }

    @Test func `ctl without a running node says so and exits 1`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        expectFailure(
          try laboratory.nodes[1].control(["status"], tolerant: true), [1], says: [laboratory.nodes[1].runDirectory])
      }
    }
  }
}
