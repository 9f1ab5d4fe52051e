// Carrier, read where the driver sets it. The kernel tells netlink of a lost carrier at once when it has told nothing in
// the last second, and otherwise holds it back until a second is over (net/core/link_watch.c; ports that sit on another
// device and members of bonds are exempt). So a second cut, or one on another port, would be seen late: a file shows it.
//
// Not the file `carrier`: since Linux 6.8 reading it waits for whoever holds the kernel's RTNL lock, seconds perhaps.
// `carrier_changes` counts how often carrier came and went, and is read without a lock. Every message about a link tells
// carrier and that count together, and it comes and goes in turns: an odd difference is the other state.

import CSystem
import Core

/// How often the files are read.
enum CarrierPace {
  /// For so long after a change of any link the kernel may hold the next one back.
  static let heldBack = Duration.milliseconds(1_100)
  /// In that time.
  static let busy = Duration.milliseconds(5)
  /// Otherwise: when the loop is awake anyway, and when it has not been for longer. Changes that are not ours to see
  /// (other namespaces, ports set down) start the kernel's second too.
  static let awake = Duration.milliseconds(15)
  static let idle = Duration.milliseconds(25)
}

/// What is known of one port's carrier from counts and messages.
struct CarrierCount {
  /// The newest count that was heard or read, and carrier then.
  private(set) var isThere: Bool
  private(set) var changes: UInt32
  /// Whether carrier is there at odd counts: the same for as long as the device is.
  private var isOdd: Bool
  /// The kernel fills in carrier before the count; where it changed in between they do not belong together. Two messages
  /// in a row that agree are believed, as the first is.
  private(set) var isTrusted = true

  init(isThere: Bool, changes: UInt32) {
    self.isThere = isThere
    self.changes = changes
    isOdd = isThere == (changes & 1 == 1)
  }

  /// A message of the kernel's. Carrier as it is by all that is known: what was read from the file may be newer.
  mutating func heard(isThere: Bool, changes: UInt32) -> Bool {
    let isOdd = isThere == (changes & 1 == 1)
    isTrusted = isOdd == self.isOdd
    self.isOdd = isOdd
    let isOlder = Int32(bitPattern: changes &- self.changes) < 0
    if isOlder && isTrusted { return self.isThere }
    self.isThere = isThere
    self.changes = changes
    return isThere
  }

  /// The file's count. Nil while messages do not agree.
  mutating func read(_ count: UInt32) -> Bool? {
    if !isTrusted { return nil }
    changes = count
    isThere = isOdd == (count & 1 == 1)
    return isThere
  }
}

/// The file of one port under /sys/class/net/NAME; it stays the port's when that is renamed.
struct CarrierFile {
  private let descriptor: Int32
  /// Nil before Linux 3.15, where `carrier` is read, which waits for nothing there.
  private var count: CarrierCount?

  /// Nil where nothing is held back, and where /sys is not this network namespace's.
  init?(of link: LinkRecord, isCounting: Bool = true) {
    if link.parent != 0 || PortChoice.isKind(link.kind, "veth") || PortChoice.isKind(link.kind, "dsa") { return nil }
    if PortChoice.isKind(link.slaveKind, "bond") || PortChoice.isKind(link.slaveKind, "team") { return nil }
    let base = Array("/sys/class/net/".utf8) + link.name
    guard Sysctl.read(base + Array("/ifindex".utf8)) == Int(link.index) else { return nil }
    var opened: Int32 = -1
    if let carrier = link.carrier, isCounting {
      opened = CarrierFile.open(base + Array("/carrier_changes".utf8))
      if opened >= 0 { count = CarrierCount(isThere: carrier.isThere, changes: carrier.changes) }
    }
    if opened < 0 { opened = CarrierFile.open(base + Array("/carrier".utf8)) }
    if opened < 0 { return nil }
    descriptor = opened
  }

  private static func open(_ path: [UInt8]) -> Int32 {
    withZeroTerminated(path) { cs_file_open($0, Int32(CS_FILE_READ.rawValue), 0) }
  }

  /// Nil when it cannot be told: the port is gone, or (without counts) administratively down.
  mutating func hasCarrier() -> Bool? {
    // "-2147483648" and a line feed are the longest: the kernel prints the count with a sign.
    var digits = [UInt8](repeating: 0, count: 16)
    let length = digits.withUnsafeMutableBytes { cs_file_pread(descriptor, $0.baseAddress, $0.count, 0) }
    if length < 1 || length > digits.count { return nil }
    if count == nil { return digits[0] == UInt8(ascii: "1") }
    guard let changes = CarrierFile.number(digits[0..<Int(length)]) else { return nil }
    return count?.read(changes)
  }

  /// A message about the link: its carrier, unless the file has told more since it was made.
  mutating func heard(_ link: inout LinkRecord) {
    guard let carrier = link.carrier, let isThere = count?.heard(isThere: carrier.isThere, changes: carrier.changes)
    else { return }
    if isThere == carrier.isThere || !link.isAdministrativelyUp { return }
    if isThere { link.flags |= LinkFlag.lowerUp } else { link.flags &= ~LinkFlag.lowerUp }
  }

  /// A count modulo 2^32.
  static func number(_ text: ArraySlice<UInt8>) -> UInt32? {
    var value: UInt32 = 0
    var digits = 0
    let isNegative = text.first == UInt8(ascii: "-")
    for c in isNegative ? text.dropFirst() : text {
      guard c >= 48, c <= 57 else { break }
      value = value &* 10 &+ UInt32(c - 48)
      digits += 1
    }
    return digits == 0 ? nil : isNegative ? 0 &- value : value
  }

  func close() { _ = cs_file_close(descriptor) }
}
