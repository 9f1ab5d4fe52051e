// `lifeline ctl`: sends one command to a running node and shows what it answers.

import Core
import Membership
import Runtime
import Wire

/// The arguments after the word `ctl`; the exit code.
func controlMain(_ words: [[UInt8]]) -> Int32 {
  if asksForHelp(words) {
    say(Usage.ctl)
    return 0
  }
  do throws(CommandFailure) {
    let command = try ControlCommand(words)
    let request = try command.request()
    let client: ControlClient
    do throws(SystemError) { client = try ControlClient(runDirectory: command.run) } catch {
      throw noNode(command.run, error)
    }
    if !ControlClient.fits(request) { throw .failed("that is more than a node takes in at once: split it") }
    do throws(SystemError) {
      try client.send(request)
      return try show(client, command)
    } catch { throw .failed("the node does not answer: \(error.reason)") }
  } catch {
    complain(error.message)
    return error.code
  }
}

private func noNode(_ run: [UInt8], _ error: SystemError) -> CommandFailure {
  let advice =
    switch error.code {
    case 13, 1: "run as root"  // EACCES, EPERM
    case 11: "it is busy; try again"  // EAGAIN: the backlog is full
    default: "start lifeline ma or lifeline cm, or give its --run"
    }
  return .failed("no lifeline runs with --run \(text(run)): \(error.reason): \(advice)")
}

/// Prints answers until the last; the exit code.
private func show(_ client: borrowing ControlClient, _ command: ControlCommand) throws(SystemError) -> Int32 {
  while let answer = try client.receive() {
    switch answer {
    case .failure(let line):
      complain(text(line))
      return 1
    case .document(let document): return command.print(document) ? 0 : 1
    case .part(let document): if !command.print(document) { return 1 }
    }
  }
  complain("the node has closed the connection: it ended, or waited too long for us")
  return 1
}

/// A command line of `ctl`, checked as far as a client can; what it does not know is the node's to refuse.
struct ControlCommand {
  var run = Array("/run/lifeline".utf8)
  var json = false
  var words: [[UInt8]] = []

  init(_ arguments: [[UInt8]]) throws(CommandFailure) {
    let help = "(lifeline ctl --help shows the commands)"
    var rest = arguments[...]
    while let word = rest.popFirst() {
      if word.elementsEqual("--json".utf8) {
        json = true
      } else if word.elementsEqual("--run".utf8) {
        guard let value = rest.popFirst(), !value.isEmpty else {
          throw CommandFailure(code: 2, message: "--run needs a directory \(help)")
        }
        run = value
      } else if word.starts(with: "--run=".utf8) {
        run = Array(word.dropFirst(6))
      } else {
        words.append(word)
      }
    }
    guard let name = words.first else { throw CommandFailure(code: 2, message: "ctl: which command? \(help)") }
    guard let verb = ControlVerb(name) else {
      throw CommandFailure(code: 2, message: "ctl has no command \(text(name)) \(help)")
    }
    if !verb.takes(words.dropFirst()) {
      throw CommandFailure(code: 2, message: "usage: lifeline ctl \(verb.usage) \(help)")
    }
  }

  /// `accept` sends the key's records along; its directory means nothing to the node.
  func request() throws(CommandFailure) -> ControlRequest {
    if !words[0].elementsEqual("accept".utf8) { return ControlRequest(words: words, attachment: []) }
    var files: [[UInt8]] = []
    for record in try KeyDirectory(words[1]).readRecords() {
      if record.file.count > SealedRecord.sizeLimit {
        complain("warning: \(text(record.path)) is no record: left out")
      } else {
        files.append(record.file)
      }
    }
    if files.isEmpty { throw .failed("there are no records on \(text(words[1])): run provision enroll on the new box") }
    return ControlRequest(words: [words[0]] + Array(words[2...]), attachment: RecordBundle.encode(files))
  }

  /// False when it could not be printed.
  func print(_ document: [UInt8]) -> Bool {
    if json { return Process.print(document + [10]) }
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(decoding: document) } catch {
      complain("the node's answer is not JSON: --json shows it as it is")
      return false
    }
    return Process.print(JSONRendering.text(of: value))
  }
}

enum ControlVerb: CaseIterable {
  case status, nodes, links, neighbours, routes, events, accept, forget, rekey, counters

  var usage: String {
    switch self {
    case .status: "status"
    case .nodes: "nodes"
    case .links: "links"
    case .neighbours: "neighbours"
    case .routes: "routes [NODE]"
    case .events: "events [--follow]"
    case .accept: "accept DIR [--yes | --expect ID [--name NAME]]"
    case .forget: "forget NODE"
    case .rekey: "rekey [NODE]"
    case .counters: "counters"
    }
  }

  init?(_ word: [UInt8]) {
    for verb in ControlVerb.allCases where verb.usage.utf8.prefix(while: { $0 != 32 }).elementsEqual(word) {
      self = verb
      return
    }
    return nil
  }

  /// Whether the words after the command are what it takes.
  func takes(_ words: ArraySlice<[UInt8]>) -> Bool {
    let isOption = words.map { $0.starts(with: "-".utf8) }
    switch self {
    case .status, .nodes, .links, .neighbours, .counters: return words.isEmpty
    case .routes, .rekey: return words.count <= 1 && !isOption.contains(true)
    case .forget: return words.count == 1 && !isOption[0]
    case .events: return words.isEmpty || (words.count == 1 && words.first!.elementsEqual("--follow".utf8))
    case .accept: return !words.isEmpty && !isOption[0] && ControlVerb.acceptOptions(words.dropFirst())
    }
  }

  private static func acceptOptions(_ words: ArraySlice<[UInt8]>) -> Bool {
    let words = Array(words)
    switch words.count {
    case 0: return true
    case 1: return words[0].elementsEqual("--yes".utf8)
    case 2: return words[0].elementsEqual("--expect".utf8)
    case 4: return words[0].elementsEqual("--expect".utf8) && words[2].elementsEqual("--name".utf8)
    default: return false
    }
  }
}
