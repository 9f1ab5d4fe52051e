// The options that ma and cm share.

import Core
import Runtime
import Wire

struct PersonalityOptions {
  var store = Array("/etc/lifeline.nv".utf8)
  var run = Array("/run/lifeline".utf8)
  /// In the order given; empty: the default choice.
  var interfaces: [[UInt8]] = []
  var bearer = Array("mm0".utf8)
  var log = LogLevel.notice
  /// Empty: the store's.
  var tunnels: [TunnelPeer] = []
  var listener: TunnelListener?

  /// `program` is for messages.
  init(_ program: String, _ words: [[UInt8]]) throws(CommandFailure) {
    let help = "(lifeline \(program) --help shows the options)"
    var rest = words[...]
    while let word = rest.popFirst() {
      var name = word
      var value: [UInt8]?
      if let equals = word.firstIndex(of: UInt8(ascii: "=")), word.starts(with: "--".utf8) {
        name = Array(word[..<equals])
        value = Array(word[(equals + 1)...])
      }
      guard let option = PersonalityOption(name) else {
        throw CommandFailure(
          code: 2, message: "\(program) has no option \(text(name)): possible are \(PersonalityOption.listing) \(help)")
      }
      // The next word is the value, unless it is the next option.
      if value == nil, let next = rest.first, !next.starts(with: "--".utf8) { value = rest.removeFirst() }
      guard let value, !value.isEmpty else {
        throw CommandFailure(code: 2, message: "\(option.name) needs a value: \(option.value) \(help)")
      }
      if let fault = take(option, value) {
        throw CommandFailure(code: 2, message: "\(option.name) \(text(value)): \(fault) \(help)")
      }
    }
  }

  /// What is wrong with the value, or nil.
  private mutating func take(_ option: PersonalityOption, _ value: [UInt8]) -> String? {
    switch option {
    case .store: store = value
    case .run:
      // sockaddr_un has room for 107 bytes.
      if value.count > 99 { return "is too long for a socket's path: 99 bytes at most" }
      run = value
    case .interface:
      guard isInterfaceName(value) else { return "is no interface name: 1 to 15 printable bytes without / and :" }
      if !interfaces.contains(where: { $0.elementsEqual(value) }) { interfaces.append(value) }
      if interfaces.count > 256 { return "is one too many: 256 interfaces at most" }
    case .bearer:
      guard isInterfaceName(value) else { return "is no interface name: 1 to 15 printable bytes without / and :" }
      bearer = value
    case .tunnel:
      do throws(TunnelFault) {
        for peer in try TunnelPeer.list(value) { try TunnelPeer.append(peer, to: &tunnels) }
      } catch { return error.description }
    case .tunnelListen:
      if listener != nil { return "is one too many: there is one place to listen" }
      do throws(TunnelFault) { listener = try TunnelListener(value) } catch { return error.description }
    case .log:
      guard let level = LogLevel(name: value) else { return "is error, warning, notice, info or debug" }
      log = level
    }
    return nil
  }

  private func isInterfaceName(_ name: [UInt8]) -> Bool {
    if name.count > 15 || name.elementsEqual(".".utf8) || name.elementsEqual("..".utf8) { return false }
    return name.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
  }
}

private enum PersonalityOption: CaseIterable {
  case store, run, interface, bearer, tunnel, tunnelListen, log

  var name: String {
    switch self {
    case .store: "--store"
    case .run: "--run"
    case .interface: "--interface"
    case .bearer: "--bearer"
    case .tunnel: "--tunnel"
    case .tunnelListen: "--tunnel-listen"
    case .log: "--log"
    }
  }

  /// What its value is, for a message.
  var value: String {
    switch self {
    case .store: "FILE"
    case .run: "DIR"
    case .interface, .bearer: "NAME"
    case .tunnel: "HOST:PORT[,cost=N]"
    case .tunnelListen: "PORT or ADDRESS:PORT, [,cost=N]"
    case .log: "error, warning, notice, info or debug"
    }
  }

  /// All names, for a message.
  static var listing: String {
    var text = ""
    for option in allCases { text += (text.utf8.isEmpty ? "" : ", ") + option.name }
    return text
  }

  init?(_ word: [UInt8]) {
    for option in PersonalityOption.allCases where option.name.utf8.elementsEqual(word) {
      self = option
      return
    }
    return nil
  }
}
