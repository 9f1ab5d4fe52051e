// The executable: one binary, several programs, chosen by the name it is called by or by its first argument.

import Core
import Crypto
import Membership
import Neighbour
import Runtime
import Session

@main struct Lifeline {
  static func main() {
    Process.reportInvariants()
    var code = run(Host.arguments())
    // A reader that has gone does not want to know.
    if let fault = Process.outputFault, fault.code != FileErrno.brokenPipe {
      complain("cannot \(fault.reason)")
      code = max(code, 1)
    }
    Process.exit(code)
  }

  private static func run(_ arguments: [[UInt8]]) -> Int32 {
    var words = arguments[...]
    if let name = words.popFirst(), let applet = Applet(basename(name)), applet.hasLink {
      return start(applet, Array(words))
    }
    guard let first = words.popFirst() else {
      return badUsage("which program? ma, cm, ettm, verify, provision, ctl (lifeline --help)")
    }
    if first.elementsEqual("--help".utf8) || first.elementsEqual("-h".utf8) {
      say(Usage.lifeline)
      return 0
    }
    if first.elementsEqual("--version".utf8) {
      say("lifeline \(Process.version) (\(Process.commit))")
      return 0
    }
    if first.elementsEqual("--self-test".utf8) { return selfTest() }
    guard let applet = Applet(first) else {
      return badUsage(
        "there is no program \(text(first)): possible are ma, cm, ettm, verify, provision, ctl, "
          + "--version, --self-test (lifeline --help)")
    }
    return start(applet, Array(words))
  }

  private static func start(_ applet: Applet, _ words: [[UInt8]]) -> Int32 {
    if let first = words.first, first.elementsEqual("--version".utf8) {
      say("lifeline \(Process.version) (\(Process.commit))")
      return 0
    }
    switch applet {
    case .ma: return personalityMain(.authority, words)
    case .cm: return personalityMain(.component, words)
    case .ettm: return absent("ettm", Usage.ettm, words)
    case .verify: return absent("verify", Usage.verify, words)
    case .provision: return provisionMain(words)
    case .ctl: return controlMain(words)
    }
  }

  private static func absent(_ name: StaticString, _ usage: String, _ words: [[UInt8]]) -> Int32 {
    if asksForHelp(words) {
      say(usage)
      return 0
    }
    complain("this build has no \(name.description) personality yet: ma and cm are there")
    return 1
  }

  private static func basename(_ path: [UInt8]) -> [UInt8] {
    guard let slash = path.lastIndex(of: UInt8(ascii: "/")) else { return path }
    return Array(path[(slash + 1)...])
  }
}

enum Applet: CaseIterable {
  case ma, cm, ettm, verify, provision, ctl

  var name: String {
    switch self {
    case .ma: "ma"
    case .cm: "cm"
    case .ettm: "ettm"
    case .verify: "verify"
    case .provision: "provision"
    case .ctl: "ctl"
    }
  }

  /// `make install` makes a link of this name.
  var hasLink: Bool {
    switch self {
    case .ma, .cm, .ettm, .verify: true
    case .provision, .ctl: false
    }
  }

  init?(_ word: [UInt8]) {
    for applet in Applet.allCases where applet.name.utf8.elementsEqual(word) {
      self = applet
      return
    }
    return nil
  }
}

func asksForHelp(_ words: [[UInt8]]) -> Bool {
  words.contains { $0.elementsEqual("--help".utf8) || $0.elementsEqual("-h".utf8) }
}

func badUsage(_ line: String) -> Int32 {
  complain(line)
  return 2
}

/// One line for each part that has a self-test; 1 when one failed.
private func selfTest() -> Int32 {
  var failures: Int32 = 0
  for test in SelfTest.all {
    if let failed = test.run() {
      complain("self-test: \(test.name.description): \(failed.description) failed")
      failures += 1
    } else {
      say("\(test.name.description): ok")
    }
  }
  return failures == 0 ? 0 : 1
}

/// A part's known answers, checked in the binary as it is shipped.
struct SelfTest {
  let name: StaticString
  /// Nil, or what failed.
  let run: () -> StaticString?

  static var all: [SelfTest] {
    [
      SelfTest(name: "crypto", run: cryptoSelfTest), SelfTest(name: "wire", run: wireSelfTest),
      SelfTest(name: "link", run: linkSelfTest), SelfTest(name: "session", run: sessionSelfTest),
      SelfTest(name: "certificate", run: certificateSelfTest), SelfTest(name: "store", run: storeSelfTest),
    ]
  }
}
