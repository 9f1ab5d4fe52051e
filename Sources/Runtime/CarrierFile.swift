// Carrier, read where the driver sets it. The kernel tells netlink of a lost carrier at once when it has told nothing in
// the last second, and otherwise holds it back until a second is over (net/core/link_watch.c; ports that sit on another
// device and members of bonds are exempt). So a second cut, or one on another port, would be seen late: the file shows it.

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

/// /sys/class/net/NAME/carrier of one port; it stays the port's when that is renamed.
struct CarrierFile {
  private let descriptor: Int32

  /// Nil where nothing is held back, and where /sys is not this network namespace's.
  init?(of link: LinkRecord) {
    if link.parent != 0 || PortChoice.isKind(link.kind, "veth") || PortChoice.isKind(link.kind, "dsa") { return nil }
    if PortChoice.isKind(link.slaveKind, "bond") || PortChoice.isKind(link.slaveKind, "team") { return nil }
    let base = Array("/sys/class/net/".utf8) + link.name
    guard Sysctl.read(base + Array("/ifindex".utf8)) == Int(link.index) else { return nil }
    let opened = withZeroTerminated(base + Array("/carrier".utf8)) { cs_file_open($0, Int32(CS_FILE_READ.rawValue), 0) }
    if opened < 0 { return nil }
    descriptor = opened
  }

  /// Nil when the port is administratively down, or gone.
  var hasCarrier: Bool? {
    var digit: UInt8 = 0
    if cs_file_pread(descriptor, &digit, 1, 0) != 1 { return nil }
    return digit == UInt8(ascii: "1")
  }

  func close() { _ = cs_file_close(descriptor) }
}
