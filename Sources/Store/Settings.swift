// The KEY=VALUE entries of the store: what an operator fixes for one box. Values are checked when they are set, so that
// a running node reads only what it can use; entries a newer version wrote are kept as they are.

import Core
import Membership
import Wire

public enum SettingKey: UInt8, Sendable, CaseIterable {
  /// Ports that stay administratively down when someone set them so: comma list.
  case keepDown
  /// Use these ports and no others: comma list.
  case interface
  /// Discovery across unmanaged switches: on or off.
  case wideDiscovery
  /// Undo what covers the management device: on or off.
  case protect
  /// Traffic to each peer that goes over two ways at once, kbit/s; 0 for none.
  case protectedRate
  /// An MA's: routes to each component beside the best, 0 to 7.
  case alternates
  /// Ports whose links fail together, with whatever else anywhere bears the group's name: comma list of PORT=GROUP.
  case riskGroup
  /// Internet tunnels to make: comma list of HOST:PORT[,cost=N].
  case tunnel
  /// Where to listen for tunnels: PORT or ADDRESS:PORT, [,cost=N].
  case tunnelListen

  public var name: String {
    switch self {
    case .keepDown: "keep-down"
    case .interface: "interface"
    case .wideDiscovery: "wide-discovery"
    case .protect: "protect"
    case .protectedRate: "protected-rate"
    case .alternates: "alternates"
    case .riskGroup: "risk-group"
    case .tunnel: "tunnel"
    case .tunnelListen: "tunnel-listen"
    }
  }

  public init?(_ name: [UInt8]) {
    for key in Self.allCases where key.name.utf8.elementsEqual(name) {
      self = key
      return
    }
    return nil
  }

  /// Throws `unknownSetting`, which lists the known ones.
  public init(known name: [UInt8]) throws(StoreError) {
    guard let key = SettingKey(name) else { throw .unknownSetting }
    self = key
  }

  /// All names, for a message.
  static var listing: String {
    var text = ""
    for key in allCases { text += (text.utf8.isEmpty ? "" : ", ") + key.name }
    return text
  }
}

public enum SettingFault: Equatable, Sendable, CustomStringConvertible {
  case empty
  case tooLong(haveBytes: Int, limit: Int)
  case notOnOrOff
  case badPort
  case badRate
  case badAlternates
  case badRiskGroup
  case riskGroupTwice
  case badTunnel(TunnelFault)
  /// An address of the network's own; which IPv4 addresses these are, where it is one.
  case tunnelInside(IPv4Prefix?)

  public var description: String {
    switch self {
    case .empty: "needs a value (unset removes a setting)"
    case .tooLong(let have, let limit): "is \(have) bytes long, the limit is \(limit)"
    case .notOnOrOff: "is on or off"
    case .badPort: "is a list of port names, 1 to 15 printable bytes each, separated by commas"
    case .badRate: "is a rate in kbit/s, 0 (none) to \(Settings.rateLimit)"
    case .badAlternates: "is a count of routes beside the best, 0 to \(Settings.alternatesLimit)"
    case .badRiskGroup:
      "is a list of PORT=GROUP, separated by commas; a group's name has 1 to \(Settings.riskGroupLimit) letters, digits, "
        + "'.', '_' or '-'"
    case .riskGroupTwice: "names a port twice: a port has one group"
    case .badTunnel(let fault): fault.description
    case .tunnelInside(let prefix):
      "names an address of the management network itself\(prefix.map { " (\($0.description))" } ?? ""): a tunnel goes over "
        + "the data plane's"
    }
  }
}

public struct Setting {
  public let key: [UInt8]
  public let value: [UInt8]

  /// As encoded: both, and a byte of length before each.
  public var size: Int { 2 + key.count + value.count }
}

/// At most 16 entries, values of at most 255 bytes; all together what `StoreContents.change` lets in.
public struct Settings {
  public static let limit = 16
  public static let valueLimit = 255
  /// The highest rate, kbit/s.
  public static let rateLimit = 8_000_000
  /// The most alternates: a node holds eight routes to a peer.
  public static let alternatesLimit = 7

  /// Bytes of a risk group's name: it travels behind the port's name, in 15 bytes for both.
  public static let riskGroupLimit = 8

  public private(set) var entries: [Setting] = []

  public init() {}

  /// Bytes the entries take of the room a component's store has for them (`StoreLayout.settingsRoom`).
  public var size: Int {
    var bytes = 0
    for entry in entries { bytes += entry.size }
    return bytes
  }

  /// The entry that takes most.
  var longest: Setting? {
    var found: Setting?
    for entry in entries where entry.size > found?.size ?? 0 { found = entry }
    return found
  }

  public func value(_ key: SettingKey) -> [UInt8]? {
    for entry in entries where key.name.utf8.elementsEqual(entry.key) { return entry.value }
    return nil
  }

  /// The parts of a comma list; none when it is not set.
  public func list(_ key: SettingKey) -> [[UInt8]] { value(key).map { commaParts($0) } ?? [] }

  public func isOn(_ key: SettingKey, default standard: Bool) -> Bool {
    value(key).map { $0.elementsEqual("on".utf8) } ?? standard
  }

  /// kbit/s; nil when it is not set.
  public var protectedRate: Int64? { number(.protectedRate, atMost: Settings.rateLimit).map { Int64($0) } }

  /// 0 to 7; nil when it is not set.
  public var alternates: Int? { number(.alternates, atMost: Settings.alternatesLimit) }

  private func number(_ key: SettingKey, atMost limit: Int) -> Int? {
    guard let value = value(key), let number = decimal(value[...]), number <= limit else { return nil }
    return number
  }

  /// The risk group the operator put a port in; empty when none.
  public func riskGroup(of port: String) -> [UInt8] {
    for part in list(.riskGroup) {
      if let pair = portAndGroup(part), pair.port.elementsEqual(port.utf8) { return Array(pair.group) }
    }
    return []
  }

  public mutating func set(_ key: SettingKey, _ value: [UInt8]) throws(StoreError) {
    if let fault = settingFault(key, value) { throw .badSetting(key, fault) }
    unset(key)
    if entries.count == Self.limit { throw .tooLarge(neededBytes: Self.limit + 1, haveBytes: Self.limit) }
    entries.append(Setting(key: Array(key.name.utf8), value: value))
  }

  /// "KEY=VALUE".
  public mutating func set(_ assignment: [UInt8]) throws(StoreError) {
    let equals = assignment.firstIndex(of: UInt8(ascii: "=")) ?? assignment.endIndex
    guard let key = SettingKey(Array(assignment[..<equals])) else { throw .unknownSetting }
    try set(key, equals == assignment.endIndex ? [] : Array(assignment[(equals + 1)...]))
  }

  /// False when it was not set.
  @discardableResult
  public mutating func unset(_ key: SettingKey) -> Bool {
    let before = entries.count
    entries.removeAll { key.name.utf8.elementsEqual($0.key) }
    return entries.count < before
  }

  // MARK: - Codec

  func encode(into writer: inout ByteWriter) {
    writer.u8(UInt8(truncatingIfNeeded: entries.count))
    for entry in entries {
      writer.u8(UInt8(truncatingIfNeeded: entry.key.count))
      writer.array(entry.key)
      writer.u8(UInt8(truncatingIfNeeded: entry.value.count))
      writer.array(entry.value)
    }
  }

  init(decoding reader: inout ByteReader) throws(WireError) {
    let count = Int(try reader.u8())
    if count > Self.limit { throw .invalid(field: StaticFieldName("settings count")) }
    for _ in 0..<count {
      let key = try reader.array(Int(try reader.u8()))
      entries.append(Setting(key: key, value: try reader.array(Int(try reader.u8()))))
    }
  }
}

extension StoreContents {
  /// Puts `next` in the place of the settings there are. A component's have a room of their own, so that the certificate
  /// and descriptors to come find theirs; what takes more is refused, but for what takes no more than before: a store
  /// that is over the limit can be changed to less. Refuses as well a tunnel that would lead through the network itself.
  public mutating func change(_ next: Settings) throws(StoreError) {
    for key in [SettingKey.tunnel, .tunnelListen] {
      guard let value = next.value(key), value != settings.value(key) else { continue }
      for endpoint in endpoints(key, value) where descriptor.hasAddress(endpoint) {
        throw .badSetting(key, .tunnelInside(endpoint.isIPv6 ? nil : descriptor.prefix))
      }
    }
    if role == .component, next.size > StoreLayout.settingsRoom, next.size > settings.size, let longest = next.longest {
      throw .settingsTooLarge(
        neededBytes: next.size, haveBytes: StoreLayout.settingsRoom, longest: longest.key, longestBytes: longest.size)
    }
    settings = next
  }
}

/// The addresses that a value of one of the two tunnel settings names; its form was checked when it was set.
private func endpoints(_ key: SettingKey, _ value: [UInt8]) -> [InternetEndpoint] {
  do throws(TunnelFault) {
    if key == .tunnel { return try TunnelPeer.list(value).map { $0.endpoint } }
    return try TunnelListener(value).address.map { [$0] } ?? []
  } catch { return [] }
}

private func commaParts(_ text: [UInt8]) -> [[UInt8]] {
  var parts: [[UInt8]] = [[]]
  for byte in text {
    if byte == UInt8(ascii: ",") { parts.append([]) } else { parts[parts.count - 1].append(byte) }
  }
  return parts
}

private func settingFault(_ key: SettingKey, _ value: [UInt8]) -> SettingFault? {
  if value.isEmpty { return .empty }
  if value.count > Settings.valueLimit { return .tooLong(haveBytes: value.count, limit: Settings.valueLimit) }
  switch key {
  case .keepDown, .interface:
    for part in commaParts(value) where !isPortName(part) { return .badPort }
  case .wideDiscovery, .protect:
    if !value.elementsEqual("on".utf8), !value.elementsEqual("off".utf8) { return .notOnOrOff }
  case .protectedRate:
    guard let rate = decimal(value[...]), rate <= Settings.rateLimit else { return .badRate }
  case .alternates:
    guard let count = decimal(value[...]), count <= Settings.alternatesLimit else { return .badAlternates }
  case .riskGroup:
    var ports: [ArraySlice<UInt8>] = []
    for part in commaParts(value) {
      guard let pair = portAndGroup(part) else { return .badRiskGroup }
      if ports.contains(where: { $0.elementsEqual(pair.port) }) { return .riskGroupTwice }
      ports.append(pair.port)
    }
  case .tunnel:
    do throws(TunnelFault) { _ = try TunnelPeer.list(value) } catch { return .badTunnel(error) }
  case .tunnelListen:
    do throws(TunnelFault) { _ = try TunnelListener(value) } catch { return .badTunnel(error) }
  }
  return nil
}

/// PORT=GROUP; a port's name may hold '=' itself, a group's not.
private func portAndGroup(_ text: [UInt8]) -> (port: ArraySlice<UInt8>, group: ArraySlice<UInt8>)? {
  guard let equals = text.lastIndex(of: UInt8(ascii: "=")) else { return nil }
  let (port, group) = (text[..<equals], text[(equals + 1)...])
  guard isPortName(Array(port)), group.count >= 1, group.count <= Settings.riskGroupLimit else { return nil }
  for byte in group {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2e, 0x5f, 0x2d: continue
    default: return nil
    }
  }
  return (port, group)
}

/// As the kernel allows them (dev_valid_name): 1 to 15 bytes, not "." or "..", without '/', ':' and white space.
private func isPortName(_ name: [UInt8]) -> Bool {
  if name.isEmpty || name.count > 15 || name == [0x2e] || name == [0x2e, 0x2e] { return false }
  for byte in name where byte <= 32 || byte >= 127 || byte == UInt8(ascii: "/") || byte == UInt8(ascii: ":") {
    return false
  }
  return true
}
