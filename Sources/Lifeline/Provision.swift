// `lifeline provision`: makes networks, keys, stores and members without a running node. Every command says in one line
// what was wrong, where, and what to do about it.

import Core
import Crypto
import Membership
import Runtime
import Store
import Wire

/// Why a command ends, in one line, and the exit code: 1 failed, 2 bad usage, 78 bad or missing store.
struct CommandFailure: Error {
  let code: Int32
  let message: String

  static func failed(_ message: String) -> CommandFailure { CommandFailure(code: 1, message: message) }
  static func usage(_ message: String) -> CommandFailure {
    CommandFailure(code: 2, message: message + " (lifeline provision --help shows the usage)")
  }
  static func store(_ message: String) -> CommandFailure { CommandFailure(code: 78, message: message) }
}

/// The arguments after the word `provision`; the exit code.
func provisionMain(_ arguments: [[UInt8]]) -> Int32 {
  if asksForHelp(arguments) {
    say(Usage.provision)
    return 0
  }
  guard Sodium.initialize() else {
    complain("libsodium cannot be initialized on this machine")
    return 1
  }
  do throws(CommandFailure) {
    guard let word = arguments.first else { throw .usage("provision: which command? \(ProvisionVerb.listing)") }
    guard let verb = ProvisionVerb(word) else {
      if word.starts(with: "-".utf8) {
        throw .usage("provision: a command comes before \(text(word)): possible are \(ProvisionVerb.listing)")
      }
      throw .usage("provision has no command \(text(word)): possible are \(ProvisionVerb.listing)")
    }
    let options = try ProvisionOptions(verb, arguments.dropFirst())
    switch verb {
    case .network: try provisionNetwork(options)
    case .key: try provisionKey(options)
    case .enroll: try provisionEnroll(options)
    case .accept: try provisionAccept(options)
    case .descriptor: try provisionDescriptor(options)
    case .show: try provisionShow(options)
    case .set, .unset: try provisionSettings(verb, options)
    case .export: try provisionExport(options)
    case .import: try provisionImport(options)
    }
    return 0
  } catch {
    complain(error.message)
    return error.code
  }
}

enum ProvisionVerb: UInt8, CaseIterable {
  case network, key, enroll, accept, descriptor, show, set, unset, export, `import`

  var name: String {
    switch self {
    case .network: "network"
    case .key: "key"
    case .enroll: "enroll"
    case .accept: "accept"
    case .descriptor: "descriptor"
    case .show: "show"
    case .set: "set"
    case .unset: "unset"
    case .export: "export"
    case .import: "import"
    }
  }

  /// All names, for a message.
  static var listing: String {
    var text = ""
    for verb in allCases { text += (text.utf8.isEmpty ? "" : ", ") + verb.name }
    return text
  }

  init?(_ word: [UInt8]) {
    for verb in Self.allCases where verb.name.utf8.elementsEqual(word) {
      self = verb
      return
    }
    return nil
  }
}

/// The command line after the verb, with what only needs reading already read.
struct ProvisionOptions {
  var store = Array("/etc/lifeline.nv".utf8)
  var usb: [UInt8]?
  var domain: DomainName?
  var name: NodeName?
  var prefix: IPv4Prefix?
  var role: NodeRole?
  var expect: ComponentID?
  var count: Int?
  /// Nodes that leave.
  var remove: NodeName?
  var revoke: NodeName?
  var threshold: UInt8?
  var passphraseFile: [UInt8]?
  var yes = false
  var withdraw = false
  var json = false
  var operands: [[UInt8]] = []

  init(_ verb: ProvisionVerb, _ words: ArraySlice<[UInt8]>) throws(CommandFailure) {
    var rest = words
    while var word = rest.popFirst() {
      if !word.starts(with: "-".utf8) {
        operands.append(word)
        continue
      }
      var inline: [UInt8]?
      if let equals = word.firstIndex(of: UInt8(ascii: "=")) {
        inline = Array(word[(equals + 1)...])
        word = Array(word[..<equals])
      }
      guard let option = Option(word), option.verbs.contains(verb) else {
        throw .usage("provision \(verb.name) has no option \(text(word)): possible are \(Option.listing(verb))")
      }
      if option.isFlag {
        if inline != nil { throw .usage("\(option.name) takes no value") }
        raise(option)
      } else {
        guard let value = inline ?? rest.popFirst(), !value.isEmpty else {
          throw .usage("\(option.name) needs a value")
        }
        try take(option, value)
      }
    }
    try check(verb)
  }

  private mutating func raise(_ option: Option) {
    switch option {
    case .yes: yes = true
    case .withdraw: withdraw = true
    case .json: json = true
    default: invariantFailed("flags are yes, withdraw and json")
    }
  }

  private mutating func take(_ option: Option, _ value: [UInt8]) throws(CommandFailure) {
    do throws(MembershipError) {
      switch option {
      case .store: store = value
      case .usb: usb = value
      case .passphraseFile: passphraseFile = value
      case .domain: domain = try DomainName(value)
      case .name: name = try NodeName(value)
      case .prefix: prefix = try IPv4Prefix(founding: value)
      case .as:
        role =
          value.elementsEqual("component".utf8)
          ? .component : value.elementsEqual("authority".utf8) ? .authority : nil
      case .expect:
        expect = componentID(hexadecimal: value)
      case .count: count = decimal(value[...])
      case .remove: remove = try NodeName(value)
      case .revoke: revoke = try NodeName(value)
      case .threshold: threshold = decimal(value[...]).flatMap { UInt8(exactly: $0) }
      case .yes, .withdraw, .json: break
      }
    } catch { throw .usage("\(option.name) \(text(value)) \(error.description)") }
    if option == .as, role == nil { throw .usage("--as \(text(value)): is component or authority") }
    if option == .expect, expect == nil { throw .usage("--expect \(text(value)): an ID is 32 hexadecimal digits") }
    if option == .threshold, !(1...NetworkDescriptor.authorityLimit).contains(Int(threshold ?? 0)) {
      throw .usage("--threshold \(text(value)): is 1 to \(NetworkDescriptor.authorityLimit)")
    }
    if option == .count, count == nil || count == 0 || (count ?? 0) > AuthorityRecords.secretLimit {
      throw .usage("--count \(text(value)): is 1 to \(AuthorityRecords.secretLimit)")
    }
  }

  private func check(_ verb: ProvisionVerb) throws(CommandFailure) {
    switch verb {
    case .network: if domain == nil { throw .usage("provision network needs --domain NAME") }
    case .descriptor:
      if usb == nil { throw .usage("provision descriptor needs --usb DIR") }
      if (remove == nil) == (revoke == nil), remove != nil || threshold == nil {
        throw .usage("provision descriptor needs --remove NAME, --revoke NAME or --threshold K, of the first two one")
      }
    case .key, .enroll, .accept: if usb == nil { throw .usage("provision \(verb.name) needs --usb DIR") }
    case .set: if operands.isEmpty { throw .usage("provision set needs KEY=VALUE") }
    case .unset: if operands.isEmpty { throw .usage("provision unset needs KEY") }
    case .export, .import:
      if operands.count != 1 { throw .usage("provision \(verb.name) needs one FILE") }
    case .show: break
    }
    switch verb {
    case .set, .unset, .export, .import: break
    case .network, .key, .enroll, .accept, .descriptor, .show:
      if let operand = operands.first { throw .usage("provision \(verb.name) does not take \(text(operand))") }
    }
    if yes, expect != nil { throw .usage("--yes takes in all records, --expect one: give only one of them") }
    if verb == .accept, name != nil, expect == nil {
      throw .usage("--name names one box: say which with --expect ID")
    }
  }
}

private enum Option: UInt8, CaseIterable {
  case store, usb, domain, name, prefix, `as`, yes, expect, threshold, remove, revoke, count, withdraw, json
  case passphraseFile

  init?(_ word: [UInt8]) {
    for option in Self.allCases where option.name.utf8.elementsEqual(word) {
      self = option
      return
    }
    return nil
  }

  var name: String {
    switch self {
    case .store: "--store"
    case .usb: "--usb"
    case .domain: "--domain"
    case .name: "--name"
    case .prefix: "--prefix"
    case .as: "--as"
    case .yes: "--yes"
    case .expect: "--expect"
    case .threshold: "--threshold"
    case .remove: "--remove"
    case .revoke: "--revoke"
    case .count: "--count"
    case .withdraw: "--withdraw"
    case .json: "--json"
    case .passphraseFile: "--passphrase-file"
    }
  }

  /// Those of a command, for a message.
  static func listing(_ verb: ProvisionVerb) -> String {
    var text = ""
    for option in allCases where option.verbs.contains(verb) {
      text += (text.utf8.isEmpty ? "" : ", ") + option.name + option.value
    }
    return text
  }

  private var value: String {
    switch self {
    case .store, .passphraseFile: " FILE"
    case .usb: " DIR"
    case .domain, .name, .remove, .revoke: " NAME"
    case .threshold: " K"
    case .prefix: " A.B.0.0/16"
    case .as: " component|authority"
    case .expect: " ID"
    case .count: " N"
    case .yes, .withdraw, .json: ""
    }
  }

  var isFlag: Bool { self == .yes || self == .withdraw || self == .json }

  var verbs: [ProvisionVerb] {
    switch self {
    case .store: ProvisionVerb.allCases
    case .usb: [.key, .enroll, .accept, .descriptor]
    case .threshold: [.accept, .descriptor]
    case .remove, .revoke: [.descriptor]
    case .domain, .prefix: [.network]
    case .name: [.network, .enroll, .accept]
    case .as: [.enroll]
    case .yes, .expect: [.accept]
    case .count, .withdraw: [.key]
    case .json: [.show]
    case .passphraseFile: [.export, .import]
    }
  }
}

/// Bytes from outside for a message; what is not printable ASCII is shown as '?', so that it cannot play with a terminal.
func text(_ bytes: [UInt8]) -> String {
  var shown: [UInt8] = []
  for byte in bytes { shown.append(byte >= 32 && byte < 127 ? byte : UInt8(ascii: "?")) }
  return String(decoding: shown, as: UTF8.self)
}

func complain(_ message: String) { Process.complain("lifeline: " + message) }

func say(_ line: String) { Process.print(line + "\n") }

/// A generator seeded by the kernel.
func freshEntropy() throws(CommandFailure) -> Entropy {
  do throws(SystemError) { return Entropy(seed: try Host.entropy()) } catch {
    throw .failed("cannot \(error.action): \(Host.text(ofError: error.code))")
  }
}

/// The host's name up to its first dot, as a node's name.
func nameOfHost() throws(CommandFailure) -> NodeName {
  let full = Host.name()
  let label = full.prefix { $0 != UInt8(ascii: ".") }
  do throws(MembershipError) { return try NodeName(label) } catch {
    throw .failed("the host name \"\(text(full))\" \(error.description): give one with --name NAME")
  }
}
