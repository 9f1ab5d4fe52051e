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
    if let accept = command.accept {
      let delivery = try KeyDelivery(accept)
      try delivery.carry(over: ControlConnection(command.run), json: command.json)
      return 0
    }
    let connection = try ControlConnection(command.run)
    try connection.ask(ControlRequest(words: [Array(command.verb.name.utf8)] + command.operands, attachment: []))
    var isLast = false
    while !isLast {
      let document: [UInt8]
      (document, isLast) = try connection.answer()
      if !printDocument(document, json: command.json) { return 1 }
      if !isLast { connection.waitForEver() }
    }
    return 0
  } catch {
    complain(error.message)
    return error.code
  }
}

/// A connection to the node with a run directory; failures are in an operator's words.
struct ControlConnection: ~Copyable {
  private let client: ControlClient
  private let run: [UInt8]

  init(_ run: [UInt8]) throws(CommandFailure) {
    self.run = run
    do throws(SystemError) { client = try ControlClient(runDirectory: run) } catch {
      if ControlClient.isImpatience(error) { throw ControlConnection.silent(run) }
      let advice =
        switch error.code {
        case 13, 1: "run as root"  // EACCES, EPERM
        default: "start lifeline ma or lifeline cm, or give its --run"
        }
      throw .failed("no lifeline runs with --run \(text(run)): \(error.reason): \(advice)")
    }
  }

  func ask(_ request: ControlRequest) throws(CommandFailure) {
    if !ControlClient.fits(request) { throw .failed("that is more than a node takes in at once: split it") }
    do throws(SystemError) { try client.send(request) } catch {
      // A node that takes no more clients says so before it closes.
      if error.code == FileErrno.brokenPipe { _ = try answer() }
      throw broken(error)
    }
  }

  /// The next document, and whether it is the last.
  func answer() throws(CommandFailure) -> (document: [UInt8], isLast: Bool) {
    let answer: ControlClient.Answer?
    do throws(SystemError) { answer = try client.receive() } catch { throw broken(error) }
    switch answer {
    case .failure(let line): throw .failed(text(line))
    case .document(let document): return (document, true)
    case .part(let document): return (document, false)
    case nil: throw .failed("the node has closed the connection: it ended, or waited too long for us")
    }
  }

  /// From now on an answer may take as long as it likes.
  func waitForEver() { client.waitForEver() }

  private func broken(_ error: SystemError) -> CommandFailure {
    if ControlClient.isImpatience(error) { return ControlConnection.silent(run) }
    return .failed("the node does not answer: \(error.reason)")
  }

  /// For a node that is stopped or hangs the process to look at is named: its socket outlives its attention.
  private static func silent(_ run: [UInt8]) -> CommandFailure {
    var process = ""
    do throws(SystemError) {
      let digits = try Files.read(Files.join(run, Array("pid".utf8)), limit: 16).prefix { $0 > 32 }
      process = " (pid \(text(Array(digits))))"
    } catch {}
    let seconds = ControlClient.patience.milliseconds / 1000
    return .failed(
      "the node with --run \(text(run))\(process) has not answered for \(seconds) s: "
        + "it is stopped, hangs or is overloaded; continue it (kill -CONT), wait, or restart it")
  }
}

/// False when it could not be printed.
private func printDocument(_ document: [UInt8], json: Bool) -> Bool {
  if json { return Process.print(document + [10]) }
  let value: JSONValue
  do throws(JSONError) { value = try JSONValue(decoding: document) } catch {
    complain("the node's answer is not JSON: --json shows it as it is")
    return false
  }
  return Process.print(JSONRendering.text(of: value))
}

/// A command line of `ctl`; what a client cannot judge is the node's to refuse.
struct ControlCommand {
  var run = Array("/run/lifeline".utf8)
  var json = false
  let verb: ControlVerb
  /// What follows the command's name, in the order given; of `accept` see there.
  var operands: [[UInt8]] = []
  var accept: AcceptOptions?

  init(_ arguments: [[UInt8]]) throws(CommandFailure) {
    var rest: [[UInt8]] = []
    var words = arguments[...]
    while let word = words.popFirst() {
      if word.elementsEqual("--json".utf8) {
        json = true
      } else if word.elementsEqual("--run".utf8) || word.starts(with: "--run=".utf8) {
        guard let value = word.count > 5 ? Array(word.dropFirst(6)) : words.popFirst(), !value.isEmpty else {
          throw ControlCommand.usage("--run needs a directory")
        }
        run = value
      } else {
        rest.append(word)
      }
    }
    guard let name = rest.first else { throw ControlCommand.usage("ctl: which command? \(ControlVerb.listing)") }
    guard let verb = ControlVerb(name) else {
      let kind = name.starts(with: "-".utf8) ? "option" : "command"
      let possible = name.starts(with: "-".utf8) ? "--run DIR, --json" : ControlVerb.listing
      throw ControlCommand.usage("ctl has no \(kind) \(text(name)): possible are \(possible)")
    }
    self.verb = verb
    operands = Array(rest.dropFirst())
    if verb == .accept {
      accept = try AcceptOptions(operands)
    } else if !verb.takes(operands) {
      throw ControlCommand.usage("usage: lifeline ctl [--run DIR] [--json] \(verb.usage)")
    }
  }

  static func usage(_ message: String) -> CommandFailure {
    CommandFailure(code: 2, message: message + " (lifeline ctl --help shows the commands)")
  }
}

enum ControlVerb: CaseIterable {
  case status, nodes, links, neighbours, routes, events, accept, forget, rekey, counters, proposals, sign, remove,
    revoke

  var name: String {
    switch self {
    case .status: "status"
    case .nodes: "nodes"
    case .links: "links"
    case .neighbours: "neighbours"
    case .routes: "routes"
    case .events: "events"
    case .accept: "accept"
    case .forget: "forget"
    case .rekey: "rekey"
    case .counters: "counters"
    case .proposals: "proposals"
    case .sign: "sign"
    case .remove: "remove"
    case .revoke: "revoke"
    }
  }

  var usage: String {
    switch self {
    case .status, .nodes, .links, .neighbours, .counters, .proposals: name
    case .routes: "routes [NODE]"
    case .events: "events [--follow]"
    case .accept: "accept DIR [--yes | --expect ID [--name NAME]] [--threshold K]"
    case .sign: "sign ID"
    case .remove: "remove AUTHORITY [--threshold K]"
    case .revoke: "revoke NODE [--threshold K]"
    case .forget: "forget NODE"
    case .rekey: "rekey [NODE]"
    }
  }

  init?(_ word: [UInt8]) {
    for verb in ControlVerb.allCases where verb.name.utf8.elementsEqual(word) {
      self = verb
      return
    }
    return nil
  }

  /// All names, for a message.
  static var listing: String {
    var text = ""
    for verb in allCases { text += (text.utf8.isEmpty ? "" : ", ") + verb.name }
    return text
  }

  /// Whether the words after the command are what it takes; those of `accept` are judged by `AcceptOptions`.
  func takes(_ words: [[UInt8]]) -> Bool {
    let hasOption = words.contains { $0.starts(with: "-".utf8) }
    switch self {
    case .status, .nodes, .links, .neighbours, .counters, .proposals: return words.isEmpty
    case .routes, .rekey: return words.count <= 1 && !hasOption
    case .forget, .sign: return words.count == 1 && !hasOption
    case .remove, .revoke:
      return words.count == 1 && !hasOption || words.count == 3 && words[1].elementsEqual("--threshold".utf8)
    case .events: return words.isEmpty || (words.count == 1 && words[0].elementsEqual("--follow".utf8))
    case .accept: return true
    }
  }
}
