// A key or a store that fails at any moment: every call a command makes to a medium is made to fail in turn, or the
// command is killed there. What follows must be one clear line and the right exit code, and the same command again must
// finish the work with nothing lost. `make test` does the calls that change a medium; LIFELINE_SWEEP=all does every one.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct MediumFaults {
    enum Step: String, CaseIterable, Sendable { case network, key, enroll, enrollAgain, accept, acceptNamed }
    enum Fault: String, CaseIterable, Sendable {
      case failed = "error=EIO"
      case full = "error=ENOSPC"
      case killed = "signal=KILL"
    }

    private static let isWhole = ProcessInfo.processInfo.environment["LIFELINE_SWEEP"] == "all"
    static let cases: [(Step, Fault)] = {
      let steps: [Step] = isWhole ? Step.allCases : [.key, .enroll, .accept]
      let faults: [Fault] = isWhole ? Fault.allCases : [.failed, .killed]
      return steps.flatMap { step in faults.map { (step, $0) } }
    }()
    /// Names of x86_64; one the C library does not use ends its sweep at once.
    private static let calls =
      ["pwrite64", "fsync", "rename", "unlink"]
      + (isWhole
        ? ["stat", "pread64", "getdents64", "flock", "openat", "fstat", "write", "renameat", "fdatasync"] : [])

    /// A folder with the store `ma`, the box's store `box` and the key `usb`, as a step finds or leaves it.
    private struct Ground {
      let folder: String

      func lifeline(_ words: [String], under tracer: [String] = []) throws -> CommandResult {
        try run(tracer + [shippedBinary, "provision"] + words, timeout: 20, tolerant: true)
      }

      func path(_ name: String) -> String { folder + "/" + name }
      /// Without drafts, which nobody reads and the next accept removes.
      var records: [String] { names("usb/lifeline/records").filter { $0.hasSuffix(".llr") } }
      var secrets: [String] { names("usb/lifeline/secrets") }

      private func names(_ directory: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path(directory))) ?? []).sorted()
      }

      func words(_ step: Step) throws -> [String] {
        switch step {
        case .network: ["network", "--store", path("ma"), "--domain", "lab.example", "--name", "ma"]
        case .key: ["key", "--store", path("ma"), "--usb", path("usb"), "--count", "2"]
        case .enroll, .enrollAgain: ["enroll", "--store", path("box"), "--usb", path("usb"), "--name", "box"]
        case .accept: ["accept", "--store", path("ma"), "--usb", path("usb"), "--yes"]
        case .acceptNamed:
          [
            "accept", "--store", path("ma"), "--usb", path("usb"), "--name", "other", "--expect",
            String(try #require(records.first).prefix(32)),
          ]
        }
      }

      /// Everything a step needs done before it.
      func prepare(for step: Step) throws {
        try FileManager.default.createDirectory(atPath: path("usb"), withIntermediateDirectories: true)
        let before: [Step] =
          switch step {
          case .network: []
          case .key: [.network]
          case .enroll: [.network, .key]
          case .enrollAgain, .accept, .acceptNamed: [.network, .key, .enroll]
          }
        for each in before {
          let result = try lifeline(words(each))
          try #require(result.succeeded, "\(result)")
        }
      }
    }

    /// One run with the fault in the way; false when the command ended before it came to that call.
    private func expect(_ step: Step, _ fault: Fault, _ call: String, _ number: Int, on ground: Ground) throws -> Bool {
      let place = "\(step) \(call) \(number) \(fault)"
      let words = try ground.words(step)
      let trace = ground.path("trace")
      let result = try ground.lifeline(
        words,
        under: [
          "strace", "-f", "-o", trace, "-e", "trace=\(call)", "-e",
          "inject=\(call):\(fault.rawValue):when=\(number)",
        ])
      let traced = try String(contentsOfFile: trace, encoding: .utf8)
      let hasStruck = fault == .killed ? result.status == 137 : traced.contains("(INJECTED)")
      let lines = result.errorOutput.split(separator: "\n")
      if !hasStruck {
        #expect(result.succeeded && lines.isEmpty, "\(place): \(result)")
      } else if fault != .killed, call != "write" {
        // Done all the same is done: only what the operator may want to know is said.
        let isDone = result.succeeded && (lines.isEmpty || lines[0].contains("warning: "))
        // musl's words, glibc's words.
        let texts = fault == .failed ? ["I/O error", "Input/output error"] : ["No space left on device"]
        let isSaid =
          [1, 78].contains(result.status) && lines.count == 1 && lines[0].hasPrefix("lifeline: cannot ")
          && texts.contains { lines[0].contains($0) }
        #expect((isDone && lines.count <= 1) || isSaid, "\(place): \(result)")
      } else if fault != .killed {
        // What was to be done is done; what was to be told is lost, and that is said.
        let isSaid = lines.count == 1 && lines[0].hasPrefix("lifeline: cannot write to standard output: ")
        #expect(result.status == 1 && isSaid, "\(place): \(result)")
      }
      try expectWhole(step, ground, place)
      let isDone = hasStruck && (result.succeeded || call == "write")
      let again = try ground.lifeline(words)
      // What was finished before the fault is not there to be done again, and says so.
      let finished =
        switch step {
        case .network: again.errorOutput.contains("is already the store of ma")
        case .accept, .acceptNamed: again.errorOutput.contains("no enrolment record") || isUnlisted(again)
        case .key, .enroll, .enrollAgain: false
        }
      let mayBeFinished = !hasStruck || isDone || fault == .killed
      #expect(
        again.succeeded && again.errorOutput.isEmpty || (finished && mayBeFinished), "\(place), again: \(again)")
      try expectOutcome(step, ground, place)
      return hasStruck
    }

    private func isUnlisted(_ result: CommandResult) -> Bool { result.errorOutput.contains("no usable record of ID") }

    /// Whatever is there can be read: no store is half-written.
    private func expectWhole(_ step: Step, _ ground: Ground, _ place: String) throws {
      for store in ["ma", "box"] where access(ground.path(store), F_OK) == 0 {
        let shown = try ground.lifeline(["show", "--store", ground.path(store)])
        #expect(shown.succeeded, "\(place): \(shown)")
      }
      if step != .network { #expect(access(ground.path("ma"), F_OK) == 0, "\(place): the authority's store is gone") }
    }

    /// The rest of the way works, and nothing was used up twice or left lying about.
    private func expectOutcome(_ step: Step, _ ground: Ground, _ place: String) throws {
      let secrets = ground.secrets
      switch step {
      case .network:
        #expect(try ground.lifeline(["show", "--store", ground.path("ma")]).succeeded, "\(place)")
        return
      case .key: #expect(secrets.count >= 2 && secrets.allSatisfy { $0.hasSuffix(".lls") }, "\(place): \(secrets)")
      case .enroll, .enrollAgain:
        #expect(secrets.count == 1 && secrets[0].hasSuffix(".lls"), "\(place): \(secrets)")
        #expect(ground.records.count == 1 && ground.records[0].hasSuffix(".llr"), "\(place): \(ground.records)")
      case .accept, .acceptNamed: break
      }
      if step == .key { #expect(try ground.lifeline(ground.words(.enroll)).succeeded, "\(place): enroll") }
      if step != .accept, step != .acceptNamed {
        let accepted = try ground.lifeline(ground.words(.accept))
        #expect(accepted.succeeded && accepted.output.contains("accepted as box"), "\(place): \(accepted)")
      }
      let left = try FileManager.default.contentsOfDirectory(atPath: ground.path("usb/lifeline/records"))
      #expect(left.isEmpty, "\(place): \(left)")
      let members = try ground.lifeline(["show", "--store", ground.path("ma")]).output.split(separator: "\n")
        .filter { $0.hasPrefix("member  ") }
      let name = step == .acceptNamed ? "other" : "box"
      #expect(members.count == 1 && members[0].contains(" \(name) "), "\(place): \(members)")
    }

    @Test(arguments: MediumFaults.cases)
    func `a medium that fails at any call costs a line and a repetition, and nothing else`(
      step: Step, fault: Fault
    ) throws {
      let folder = try run(["mktemp", "-d"]).output.trimmingCharacters(in: .whitespacesAndNewlines)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let before = Ground(folder: folder + "/before")
      try before.prepare(for: step)
      var count = 0
      for call in Self.calls {
        for number in 1...200 {
          let ground = Ground(folder: folder + "/now")
          try? FileManager.default.removeItem(atPath: ground.folder)
          try FileManager.default.copyItem(atPath: before.folder, toPath: ground.folder)
          if try !expect(step, fault, call, number, on: ground) { break }
          count += 1
        }
      }
      #expect(count >= 4, "only \(count) calls were made to fail: are the names of the calls right?")
      print("\(step), \(fault): \(count) places")
    }
  }
}
