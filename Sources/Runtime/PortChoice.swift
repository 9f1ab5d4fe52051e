// Which links are ports of the channel. One wire must not appear as several disjoint links: members of bonds and bridges
// are ports, their masters, VLANs, tunnels and taps are not.

import Core

public struct PortPolicy {
  /// Interfaces to use, by name; empty for the default choice.
  public var named: [[UInt8]]
  /// Interfaces that are left administratively down.
  public var keepDown: [[UInt8]]
  /// The bearer's device, which is never a port.
  public var bearerName: [UInt8]

  public init(named: [[UInt8]], keepDown: [[UInt8]], bearerName: [UInt8]) {
    self.named = named
    self.keepDown = keepDown
    self.bearerName = bearerName
  }
}

/// One chosen link.
struct ChosenPort {
  var link: LinkRecord
  var status: PortStatus
}

enum PortChoice {
  /// Ports that are followed at the same time, at most; later ones (by index) are left out, which the monitor reports.
  static let limit = PortTable.limit

  /// The ports among `links`, in the order of their indices, with their risk groups; and the first beyond the limit.
  static func choose(_ links: [LinkRecord], _ policy: PortPolicy, isWireless: (LinkRecord) -> Bool) -> [ChosenPort] {
    let ordered = links.sorted { $0.index < $1.index }
    // A switch's conduit carries the frames of its ports; it is a wire to the switch chip, not to a neighbour.
    let conduits = ordered.filter { isKind($0.kind, "dsa") && $0.parent != 0 }.map { $0.parent }
    var chosen: [ChosenPort] = []
    for link in ordered where chosen.count <= limit {
      guard isCandidate(link, policy, isConduit: conduits.contains(link.index)) else { continue }
      let wireless = isWireless(link)
      if wireless && policy.named.isEmpty { continue }
      chosen.append(ChosenPort(link: link, status: status(of: link, isWireless: wireless)))
    }
    assignRiskGroups(&chosen)
    return chosen
  }

  /// All but the question whether it is wireless, which costs a look at a file.
  private static func isCandidate(_ link: LinkRecord, _ policy: PortPolicy, isConduit: Bool) -> Bool {
    if link.hardware != LinkRecord.ethernet || link.name == policy.bearerName || link.address.count != 6 {
      return false
    }
    if !policy.named.isEmpty { return policy.named.contains { $0 == link.name } }
    if isConduit { return false }
    if link.kind.isEmpty || isKind(link.kind, "dsa") { return true }
    return isKind(link.kind, "veth") && !isKind(link.slaveKind, "bridge")
  }

  static func isKind(_ kind: [UInt8], _ name: StaticString) -> Bool {
    kind.elementsEqual(UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
  }

  private static func status(of link: LinkRecord, isWireless: Bool) -> PortStatus {
    var address: UInt64 = 0
    for byte in link.address { address = address << 8 | UInt64(byte) }
    return PortStatus(
      name: nameText(link.name), address: MACAddress(address), frameSize: Int(min(link.mtu, 65535)), isUp: link.isUp,
      medium: isWireless ? .wireless : .ethernet, riskGroup: 0)
  }

  /// A group is numbered by the lowest index among those who share the parent, so that it does not move about.
  private static func assignRiskGroups(_ ports: inout [ChosenPort]) {
    for i in ports.indices {
      for j in ports.indices where i != j && shareParent(ports[i].link, ports[j].link) {
        let lowest = UInt32(bitPattern: min(ports[i].link.index, ports[j].link.index))
        let now = ports[i].status.riskGroup
        if now == 0 || lowest < now { ports[i].status.riskGroup = lowest }
      }
    }
  }

  /// Both on one link, one on the other, or both on one device of a bus (a PCI card whatever its function).
  static func shareParent(_ a: LinkRecord, _ b: LinkRecord) -> Bool {
    let (p, q) = (stackedParent(a), stackedParent(b))
    if p != 0 && (p == q || p == b.index) || q != 0 && q == a.index { return true }
    if a.parentDevice.isEmpty || a.parentBus != b.parentBus { return false }
    return card(a) == card(b)
  }

  /// A veth's link is its peer, not a parent.
  private static func stackedParent(_ link: LinkRecord) -> Int32 { isKind(link.kind, "veth") ? 0 : link.parent }

  /// "0000:03:00.1" without its function.
  private static func card(_ link: LinkRecord) -> [UInt8] {
    guard isKind(link.parentBus, "pci"), let dot = link.parentDevice.lastIndex(of: 46) else { return link.parentDevice }
    return Array(link.parentDevice[..<dot])
  }
}
