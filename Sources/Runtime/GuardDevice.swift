// A device that is gone: deleted, moved to another network namespace, or dead at our end. A descriptor that was attached
// once is of no use any more; closing it also deletes what was moved. The device is made anew on a fresh one, which takes
// the number of the old one, as soon as its name is free.

import CSystem
import Core

extension BearerGuard {
  /// `present` is the device where it is there and only cannot be read. True: this is always damage.
  func deviceIsGone(_ present: LinkRecord?) -> Bool {
    isUp = false
    isMissing = true
    let what: StaticString =
      present == nil ? "the device was deleted or moved to another namespace" : "the device could not be read any more"
    if !protect {
      finding(
        .warning,
        "\(nameText(name)): \(nameText(Sysctl.bytes(what))); left as it is (protection is off): restart lifeline to "
          + "have it made again")
      return true
    }
    let refused = remake()
    if refused != 0 {
      if let other = namesake() {
        trouble(
          "\(nameText(Sysctl.bytes(what))), and another's device\(other) has its name: this box has no management "
            + "address until that one is renamed or removed")
      } else {
        trouble(
          "\(nameText(Sysctl.bytes(what))), and making it again failed (errno \(refused)); tried again every second")
      }
      return true
    }
    isMissing = false
    isLost = false
    outage = ""
    repairs += 1
    finding(.warning, "\(nameText(name)): \(nameText(Sysctl.bytes(what))); made again")
    let was = isInstalling
    isInstalling = true
    prepareDevice()
    _ = audit()
    isInstalling = was
    overlap.scan(prefixes: prefixes, bearer: index, at: now)
    return true
  }

  /// A new descriptor and a new device, 0 when it is there; errno.
  private func remake() -> Int32 {
    // It goes before the next one comes: a device that cannot be read any more still has the name.
    isAttached = false
    var refused = cs_tun_detach(tun)
    if refused < 0 { return 0 &- refused }
    generation &+= 1
    var step: Int32 = 0
    let fresh = withZeroTerminated(name) { cs_tun_open($0, &step) }
    if fresh < 0 { return 0 &- fresh }
    refused = cs_tun_replace(tun, fresh)
    if refused < 0 { return 0 &- refused }
    isAttached = true
    generation &+= 1
    let number = withZeroTerminated(name) { cs_net_index($0) }
    if number <= 0 { return 19 }  // ENODEV
    index = number
    return requests.link(index) == nil ? 19 : 0
  }

  /// The kind of another's device that has our name, as in " (veth)"; nil when there is none.
  func namesake() -> String? {
    let other = withZeroTerminated(name) { cs_net_index($0) }
    if other <= 0 || other == index && isAttached { return nil }
    guard let link = requests.link(other) else { return nil }
    return link.kind.isEmpty ? "" : " (\(nameText(link.kind)))"
  }
}
