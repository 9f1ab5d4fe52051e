// Taking boxes in, and every way in which a USB key can disappoint.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Provisioning {
    private func founded(_ laboratory: Laboratory) throws {
      try FileManager.default.createDirectory(atPath: laboratory.usb, withIntermediateDirectories: false)
      try laboratory.provision(
        laboratory.authority, ["network", "--domain", "lab.example", "--name", "ma", "--prefix", "10.77.0.0/16"])
      try laboratory.provision(laboratory.authority, ["key", "--usb", laboratory.usb])
    }

    /// A mount that lasts as long as the body.
    private func withMount(_ words: [String], at point: String, _ body: () throws -> Void) throws {
      try FileManager.default.createDirectory(atPath: point, withIntermediateDirectories: true)
      try run(["mount"] + words + [point])
      defer { _ = try? run(["umount", "-l", point], tolerant: true) }
      try body()
    }

    private func expectOneLine(
      _ result: CommandResult, _ codes: [Int32], says part: String, location: SourceLocation = #_sourceLocation
    ) {
      #expect(codes.contains(result.status), "exit \(result.status): \(result.errorOutput)", sourceLocation: location)
      #expect(
        result.errorOutput.split(separator: "\n").count == 1 && result.errorOutput.contains(part),
        "no line with '\(part)': \(result.errorOutput)", sourceLocation: location)
    }

    @Test(arguments: ["-leading", "under_score", "dot.ted", "", String(repeating: "a", count: 64)])
    func `a name that is no RFC 1123 label is refused`(name: String) throws {
      try withLaboratory(.chain(2), provisioned: false) { laboratory in
        try founded(laboratory)
        let node = laboratory.nodes[1]
        let result = try laboratory.provision(
          node, ["enroll", "--usb", laboratory.usb, "--name", name], tolerant: true)
        #expect(result.status == 2 || result.status == 1, "\(result)")
        #expect(result.errorOutput.split(separator: "\n").count == 1, "\(result.errorOutput)")
        #expect(access(node.store, F_OK) != 0, "a store was left behind")
      }
    }

    @Test(arguments: [
      "10.1.2.0/16", "10.1.0.0/33", "10.0.0.0/8", "10.1.2.0/24", "10.1.0.0/0", "300.1.0.0/16", "fd00::/16",
      "0.1.0.0/16", "127.1.0.0/16", "169.254.0.0/16", "224.1.0.0/16", "250.1.0.0/16", "10.1.0.0", "nonsense",
    ])
    func `a prefix that is none is refused`(prefix: String) throws {
      try withLaboratory(.chain(2), provisioned: false) { laboratory in
        let node = laboratory.authority
        let result = try laboratory.provision(
          node, ["network", "--domain", "lab.example", "--prefix", prefix], tolerant: true)
        expectOneLine(result, [1, 2], says: prefix)
        #expect(access(node.store, F_OK) != 0, "a store was left behind")
      }
    }

    @Test func `a full key is refused, nothing half-written stays, and the next key works`() throws {
      try withLaboratory(.chain(2), provisioned: false) { laboratory in
        try founded(laboratory)
        let node = laboratory.nodes[1]
        let small = laboratory.directory + "/small"
        try withMount(["-t", "tmpfs", "-o", "size=256k", "none"], at: small) {
          try run(["cp", "-r", laboratory.usb + "/.", small])
          try run(["dd", "if=/dev/zero", "of=\(small)/filler", "bs=4k", "status=none"], tolerant: true)
          let before = try run(["find", small, "-type", "f"]).output.split(separator: "\n").sorted()
          let result = try laboratory.provision(node, ["enroll", "--usb", small, "--name", "cm1"], tolerant: true)
          expectOneLine(result, [1], says: small)
          let after = try run(["find", small, "-type", "f"]).output.split(separator: "\n").sorted()
          #expect(after == before, "before \(before), after \(after)")
        }
        try laboratory.enroll(node)
        try laboratory.provision(laboratory.authority, ["accept", "--usb", laboratory.usb, "--yes"])
      }
    }

    @Test func `a read-only key is refused and no store is made`() throws {
      try withLaboratory(.chain(2), provisioned: false) { laboratory in
        try founded(laboratory)
        let node = laboratory.nodes[1]
        let point = laboratory.directory + "/ro"
        try FileManager.default.createDirectory(atPath: point, withIntermediateDirectories: true)
        try withMount(["--bind", laboratory.usb], at: point) {
          try run(["mount", "-o", "remount,bind,ro", point])
          let result = try laboratory.provision(node, ["enroll", "--usb", point, "--name", "cm1"], tolerant: true)
          expectOneLine(result, [1], says: point)
          #expect(access(node.store, F_OK) != 0, "a store was left behind")
        }
      }
    }

    @Test func `a key that is not there is refused by every step`() throws {
      try withLaboratory(.chain(2), provisioned: false) { laboratory in
        try founded(laboratory)
        let gone = laboratory.directory + "/gone"
        for (node, words) in [
          (laboratory.authority, ["key"]), (laboratory.authority, ["accept"]), (laboratory.nodes[1], ["enroll"]),
        ] {
          expectOneLine(try laboratory.provision(node, words + ["--usb", gone], tolerant: true), [1], says: gone)
        }
      }
    }

    @Test func `a key pulled out at any moment leaves nothing half-written that is believed`() throws {
      try withLaboratory(.chain(2), provisioned: false) { laboratory in
        try founded(laboratory)
        let node = laboratory.nodes[1]
        // Killed after n milliseconds, the command must be repeatable, whatever it had done by then.
        for attempt in 0..<12 {
          let process = try BackgroundProcess(
            node.inside([
              node.binary, "provision", "enroll", "--store", node.store, "--usb", laboratory.usb, "--name", "cm1",
            ]),
            log: node.log)
          usleep(UInt32(attempt) * 1500)
          process.send(SIGKILL)
          _ = process.hasEnded(within: 2)
        }
        try laboratory.enroll(node)
        let accepted = try laboratory.provision(laboratory.authority, ["accept", "--usb", laboratory.usb, "--yes"])
        #expect(accepted.output.contains("cm1"))
        try laboratory.startAll()
        let known = try laboratory.waitUntilAuthenticated(timeout: 10)
        #expect(known["cm1"]?.state == "authenticated")
      }
    }

    @Test func `of two boxes that want one name the second is refused by name`() throws {
      try withLaboratory(.chain(3), provisioned: false) { laboratory in
        try founded(laboratory)
        for node in laboratory.components {
          try laboratory.provision(node, ["enroll", "--usb", laboratory.usb, "--name", "twin"])
        }
        let result = try laboratory.provision(
          laboratory.authority, ["accept", "--usb", laboratory.usb, "--yes"], tolerant: true)
        #expect(result.status == 1)
        #expect((result.output + result.errorOutput).contains("twin"))
        let shown = try laboratory.provision(laboratory.authority, ["show"]).output
        #expect(shown.components(separatedBy: "twin").count == 2, "\(shown)")
      }
    }

    @Test func `a running authority takes a new box in, forgets it, and takes its replacement under the old name`()
      throws
    {
      try withLaboratory(.chain(2), provisioned: false) { laboratory in
        try founded(laboratory)
        let (authority, node) = (laboratory.authority, laboratory.nodes[1])
        try authority.start()
        _ = try wait(upTo: 5) { try authority.control(["status"], tolerant: true).succeeded }
        try laboratory.enroll(node)
        try authority.control(["accept", laboratory.usb, "--yes"])
        try node.start()
        let first = try laboratory.waitUntilAuthenticated(timeout: 10)[node.name]
        node.stop()
        try authority.control(["forget", node.name])
        try FileManager.default.removeItem(atPath: node.store)
        try laboratory.enroll(node)
        try authority.control(["accept", laboratory.usb, "--yes"])
        try node.start()
        let second = try laboratory.waitUntilAuthenticated(timeout: 10)[node.name]
        #expect(first?.id != second?.id)
        #expect(first?.ipv4 == second?.ipv4)
      }
    }

    @Test func `a secret that is withdrawn leaves the key, and the next boxes are taken in`() throws {
      try withLaboratory(.chain(4), provisioned: false) { laboratory in
        let (authority, usb) = (laboratory.authority, laboratory.usb)
        let secrets = { try FileManager.default.contentsOfDirectory(atPath: usb + "/lifeline/secrets").sorted() }
        try FileManager.default.createDirectory(atPath: usb, withIntermediateDirectories: false)
        try laboratory.provision(authority, ["network", "--domain", "lab.example", "--name", "ma"])
        try laboratory.provision(authority, ["key", "--usb", usb, "--count", "3"])
        let first = try secrets()
        #expect(first.count == 3)
        let said = try laboratory.provision(authority, ["key", "--usb", usb, "--count", "4", "--withdraw"]).output
        #expect(said.contains("3 worthless secrets were removed"), "\(said)")
        #expect(try secrets().count == 4)
        for node in laboratory.components { try laboratory.enroll(node) }
        let accepted = try laboratory.provision(authority, ["accept", "--usb", usb, "--yes"])
        #expect(accepted.output.components(separatedBy: "accepted as").count == 4, "\(accepted)")
        // Another authority's would stay; this one's unused ones do.
        try laboratory.provision(authority, ["key", "--usb", usb, "--count", "1"])
        #expect(try secrets().count == 2)
      }
    }

    @Test func `show never prints a secret of the store`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        for node in laboratory.nodes {
          let shown = try laboratory.provision(node, ["show"]).output
          #expect(shown.contains(node.name))
          let store = try Data(contentsOf: URL(fileURLWithPath: node.store))
          // No word of 64 or more hexadecimal digits is in it: a key would be one.
          let words = shown.split { $0 == " " || $0 == "\n" }
          #expect(!words.contains { $0.count >= 64 && $0.allSatisfy(\.isHexDigit) })
          #expect(store.count > 0)
          let mode = try FileManager.default.attributesOfItem(atPath: node.store)[.posixPermissions] as? Int
          #expect(mode == 0o600)
        }
      }
    }
  }
}
