// What whoever starts the program, or prepares its key, may have left in a bad state: descriptors that are closed or used
// up, outputs that take nothing, pipes and links where files are expected, stores that keep nothing.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Surroundings {
    /// A folder with an authority's store `ma.nv` and a key `usb` that carries a box's record; `box.nv` is the box's.
    private func withKey(_ body: (String) throws -> Void) throws {
      let folder = try run(["mktemp", "-d"]).output.trimmingCharacters(in: .whitespacesAndNewlines)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      try FileManager.default.createDirectory(atPath: folder + "/usb", withIntermediateDirectories: false)
      for line in [
        "network --store ma.nv --domain lab.example --name ma", "key --store ma.nv --usb usb --count 3",
        "enroll --store box.nv --usb usb --name box",
      ] {
        #expect(try shell("$L provision \(line)", in: folder).succeeded)
      }
      try body(folder)
    }

    private func shell(_ line: String, in folder: String) throws -> CommandResult {
      try run(["sh", "-c", "cd \(folder) && L=\(shippedBinary) && \(line)"], timeout: 5, tolerant: true)
    }

    @Test(arguments: [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
    func `a closed descriptor never makes a file the place for what is printed`(closing: String) throws {
      try withKey { folder in
        let result = try shell("$L provision accept --store ma.nv --usb usb --yes \(closing)", in: folder)
        // Without standard output what was to be said is lost, and that is a failure.
        #expect(result.succeeded != " \(closing)".contains(" >&-"), "\(result)")
        if closing == ">&-" { #expect(result.errorOutput.contains("cannot write to standard output"), "\(result)") }
        let shown = try shell("$L provision show --store ma.nv", in: folder)
        #expect(shown.succeeded && shown.errorOutput.isEmpty && shown.output.contains("member       box"), "\(shown)")
      }
    }

    @Test func `a node without standard descriptors keeps its store and its pid file`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        let line = "exec \"$@\" <&- >&- 2>&-"
        try laboratory.authority.start()
        try node.start(under: ["sh", "-c", line, "sh"])
        let ready = try wait(upTo: 5) { (try? node.status().ready) == true }
        #expect(ready != nil)
        for state in ["down", "up", "down", "up"] { try node.run(["ip", "link", "set", "eth0", state]) }
        let pid = try String(contentsOfFile: node.runDirectory + "/pid", encoding: .utf8)
        #expect(Int32(pid.trimmingCharacters(in: .whitespacesAndNewlines)) == node.process?.identifier)
        node.stop()
        let shown = try laboratory.provision(node, ["show"])
        #expect(shown.errorOutput.isEmpty && shown.output.contains("membership   member"), "\(shown)")
      }
    }

    @Test func `an output that is full is a failure with a line`() throws {
      try withKey { folder in
        for line in ["provision show --store ma.nv", "provision accept --store ma.nv --usb usb", "--version"] {
          let result = try shell("$L \(line) >/dev/full", in: folder)
          #expect(result.status == 1, "\(line): \(result)")
          #expect(result.errorOutput.contains("cannot write to standard output: No space left"), "\(line): \(result)")
        }
        // A reader that has enough is no failure to tell.
        let early = try shell("$L provision show --store ma.nv | true; echo done", in: folder)
        #expect(early.output == "done\n" && early.errorOutput.isEmpty, "\(early)")
      }
    }

    @Test(arguments: ["mkfifo", "mkdir"])
    func `what is no file on a key is passed over, and holds nobody up`(maker: String) throws {
      try withKey { folder in
        let accepted = try shell(
          "\(maker) usb/lifeline/records/aa.llr && $L provision accept --store ma.nv --usb usb --yes", in: folder)
        #expect(accepted.succeeded && accepted.output.contains("accepted as box"), "\(accepted)")
        #expect(accepted.errorOutput.contains("aa.llr is no file: left out"), "\(accepted)")
        let enrolled = try shell(
          "\(maker) usb/lifeline/secrets/0000.lls && $L provision enroll --store new.nv --usb usb --name new",
          in: folder)
        #expect(enrolled.succeeded, "\(enrolled)")
        let refused = try shell(
          "rm usb/lifeline/network.llc && \(maker) usb/lifeline/network.llc && "
            + "$L provision enroll --store more.nv --usb usb --name more", in: folder)
        #expect(refused.status == 1 && refused.errorOutput.contains("network.llc"), "\(refused)")
        #expect(refused.errorOutput.split(separator: "\n").count == 1)
      }
    }

    @Test(arguments: ["records", "secrets"])
    func `a key whose directory leads elsewhere is refused, and nothing there is touched`(name: String) throws {
      try withKey { folder in
        let moved =
          "mkdir else; touch else/precious.tmp; rm -r usb/lifeline/\(name); ln -s $PWD/else usb/lifeline/\(name)"
        #expect(try shell(moved, in: folder).succeeded)
        for line in [
          "key --store ma.nv --usb usb", "accept --store ma.nv --usb usb --yes", "enroll --store n.nv --usb usb",
        ] {
          let result = try shell("$L provision \(line)", in: folder)
          #expect(result.status == 1 && result.errorOutput.contains("is a symbolic link"), "\(line): \(result)")
        }
        #expect(try shell("ls else", in: folder).output == "precious.tmp\n")
      }
    }

    @Test func `a store that keeps nothing, or leads nowhere, is refused`() throws {
      try withKey { folder in
        for place in ["/dev/null", "/dev/zero"] {
          let result = try shell("$L provision network --store \(place) --domain x", in: folder)
          #expect(result.status == 1 && result.errorOutput.contains("does not keep"), "\(place): \(result)")
        }
        let dangling = try shell("ln -s nothing link.nv; $L provision network --store link.nv --domain x", in: folder)
        #expect(dangling.status == 1 && dangling.errorOutput.contains("symbolic link to nothing"), "\(dangling)")
        let short = try shell("cp box.nv s.nv; truncate -s 2048 s.nv; $L provision show --store s.nv", in: folder)
        #expect(short.succeeded && short.errorOutput.contains("one of the two copies"), "\(short)")
      }
    }

    @Test func `no more descriptors cost a client its answer and the node no time`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let node = laboratory.nodes[1]
        try laboratory.authority.start()
        try node.start()
        #expect(try wait(upTo: 5) { (try? node.status().ready) == true } != nil)
        let pid = try #require(node.process?.identifier)
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
        try run(["prlimit", "--pid", "\(pid)", "--nofile=\(open + 1):\(open + 1)"])
        let silent = try (0..<3).map { _ in try SilentClient(node.runDirectory + "/control") }
        let before = try processorTicks(pid)
        try pause(2)
        let spent = try processorTicks(pid) - before
        #expect(spent < 20, "\(spent) ticks of 10 ms in 2 s")
        for client in silent { client.close() }
        #expect(try wait(upTo: 4) { try node.control(["status"], tolerant: true).succeeded } != nil)
      }
    }

    /// With little memory to lock, and beside the shipped build the ordinary one, whose stack frames are many times as deep.
    @Test func `both builds form a network where next to no memory can be locked`() throws {
      try withLaboratory(.chain(3)) { laboratory in
        let ordinary = try hostProgram("Lifeline")
        let limited = ["prlimit", "--memlock=65536:65536"]
        let other = ["sh", "-c", "shift; exec \(ordinary) \"$@\"", "sh"]
        for node in laboratory.nodes { try node.start(under: limited + (node.index == 1 ? [] : other)) }
        let known = try laboratory.waitUntilAuthenticated(timeout: 8)
        #expect(known.count == 3)
        let far = try #require(known[laboratory.nodes[2].name]?.ipv4)
        #expect(try wait(upTo: 3) { try laboratory.authority.ping(far).isComplete } != nil)
        for node in laboratory.nodes {
          let wanted = node.index == 1 ? shippedBinary : ordinary
          let pid = try #require(node.process?.identifier)
          let running = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")
          #expect(running.hasSuffix(wanted.split(separator: "/").suffix(1).joined()), "\(running)")
          for words in [["status"], ["nodes"], ["routes"], ["counters"]] { try node.control(words) }
          #expect(node.stop(patience: 5) == 0, "\(node.logTail())")
        }
      }
    }

    private func processorTicks(_ pid: Int32) throws -> Int {
      let fields = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8).split(separator: " ")
      return try #require(Int(fields[13])) + #require(Int(fields[14]))
    }
  }
}

/// A connection to a control socket that says nothing.
private final class SilentClient {
  private let descriptor: Int32

  init(_ path: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8.prefix(100))) }
    let outcome = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    if outcome != 0 { throw CocoaError(.fileReadUnknown) }
  }

  func close() { _ = Foundation.close(descriptor) }
}
