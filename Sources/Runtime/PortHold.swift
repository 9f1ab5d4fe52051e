// Ports that were raised for the channel alone: everything else is held out. What comes in is dropped at the device's
// ingress (the channel's ETH_P_ALL socket hears it before), what is not of the channel is dropped at its egress, IPv6 is
// off, and a bridge does not forward through it. All of it hangs in one table of ours, which also tells a later run what
// an earlier one had raised.

import Core

/// The kernel side of holding ports closed.
struct PortHold {
  /// The netdev table "lifeline"; its chains are named hold-INDEX and hold-out-INDEX.
  static let table = Array("lifeline".utf8)
  static let prefix = Array("hold-".utf8)
  static let outward = Array("hold-out-".utf8)

  /// Nil where the kernel has no nf_tables: then the port is not raised.
  private let filter: NetlinkSocket?

  init() {
    do throws(SystemError) {
      filter = try NetlinkSocket(NetlinkSocket.netfilter, nonblocking: false, action: "open the filter's netlink")
    } catch {
      filter = nil
    }
  }

  static func chainName(_ prefix: [UInt8], _ index: Int32) -> [UInt8] { prefix + Array("\(index)".utf8) }

  /// Drops what comes in and, where the kernel has an egress hook, what would go out. 0 or errno of the ingress chain.
  func close(_ link: LinkRecord) -> Int32 {
    guard let filter else { return 93 }  // EPROTONOSUPPORT
    let refused = filter.request(FilterRequest.table(PortHold.table, add: true))
    if refused != 0 { return refused }
    let inward = filter.request(
      FilterRequest.deviceChain(
        table: PortHold.table, name: PortHold.chainName(PortHold.prefix, link.index), device: link.name,
        egress: false, drops: true))
    if inward != 0 { return inward }
    let out = PortHold.chainName(PortHold.outward, link.index)
    if isPresent(out) { return 0 }
    if filter.request(
      FilterRequest.deviceChain(table: PortHold.table, name: out, device: link.name, egress: true, drops: false)) == 0
    {
      _ = filter.request(
        FilterRequest.dropAllBut(etherType: channelEtherType, table: PortHold.table, chain: out))
    }
    return 0
  }

  /// Whether the port is still closed; somebody may have flushed the rule set.
  func isClosed(_ index: Int32) -> Bool { isPresent(PortHold.chainName(PortHold.prefix, index)) }

  private func isPresent(_ chain: [UInt8]) -> Bool {
    guard let filter else { return false }
    return filter.request(FilterRequest.chain(family: FilterFamily.netdev, table: PortHold.table, name: chain)) == 0
  }

  func open(_ index: Int32) {
    guard let filter else { return }
    _ = filter.request(
      FilterRequest.removeChain(table: PortHold.table, name: PortHold.chainName(PortHold.prefix, index)))
    let out = PortHold.chainName(PortHold.outward, index)
    var rules: [FilterRule] = []
    _ = filter.dump(FilterRequest.rules(of: nil)) { m in
      if let rule = FilterRule(m), rule.family == FilterFamily.netdev, rule.chain == out, rule.table == PortHold.table {
        rules.append(rule)
      }
    }
    for rule in rules { _ = filter.request(FilterRequest.remove(rule)) }
    _ = filter.request(FilterRequest.removeChain(table: PortHold.table, name: out))
  }

  /// The indices an earlier run left closed.
  func leftovers() -> [Int32] {
    guard let filter else { return [] }
    var found: [Int32] = []
    _ = filter.dump(FilterRequest.chains(family: FilterFamily.netdev)) { m in
      guard let chain = FilterChain(m), chain.table == PortHold.table, chain.name.starts(with: PortHold.prefix),
        let number = Sysctl.number(chain.name[PortHold.prefix.count...]), number <= Int(Int32.max)
      else { return }
      if !found.contains(Int32(number)) { found.append(Int32(number)) }
    }
    return found
  }

  func removeTable() { _ = filter?.request(FilterRequest.table(PortHold.table, add: false)) }
}
