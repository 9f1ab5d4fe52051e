// Filters that cover the bearer. An accept in a table of our own does not overrule another chain's drop, so where the
// probe fails an accept for the bearer's device goes first into each base chain that could be the cause. Ours are found
// again by their comment, tolerate being flushed, and are taken out at the end.

import CSystem
import Core

extension BearerGuard {
  private var comment: [UInt8] { Array("lifeline ".utf8) + name }

  /// Puts an accept first in every base chain that could drop the bearer's packets. True when it did something.
  func repairFilters() -> Bool {
    guard let filter else { return false }
    var chains: [FilterChain] = []
    _ = filter.dump(FilterRequest.chains()) { m in
      if let chain = FilterChain(m), chains.count < 1024, !chains.contains(where: { sameChain($0, chain) }) {
        chains.append(chain)
      }
    }
    var opened = ""
    var refusedText = ""
    for chain in chains where couldDrop(chain) {
      guard let outgoing = direction(chain) else { continue }
      let own = ownRules(in: chain)
      if own.isFirst { continue }
      if !protect {
        append(&opened, chain.text)
        continue
      }
      for rule in own.rules { _ = filter.request(FilterRequest.remove(rule)) }
      let refused = filter.request(
        FilterRequest.insertAccept(chain, outgoing: outgoing, device: name, comment: comment))
      if refused == 0 {
        repairs += 1
        append(&opened, chain.text)
      } else {
        append(&refusedText, "\(chain.text) (errno \(refused))")
      }
    }
    if !refusedText.isEmpty {
      finding(
        .error,
        "\(nameText(name)): filters may cover it and cannot be changed (owned by another program?): \(refusedText)")
    }
    if opened.isEmpty { return false }
    finding(
      .warning,
      protect
        ? "\(nameText(name)): filters covered it; an accept for it was put first in: \(opened)"
        : "\(nameText(name)): filters may cover it: \(opened); left as they are (protection is off)")
    return protect
  }

  private func append(_ list: inout String, _ item: String) { list += list.isEmpty ? item : ", \(item)" }

  private func sameChain(_ a: FilterChain, _ b: FilterChain) -> Bool {
    a.family == b.family && a.table == b.table && a.name == b.name
  }

  private func couldDrop(_ chain: FilterChain) -> Bool {
    let isFilter = PortChoice.isKind(chain.type, "filter") || PortChoice.isKind(chain.type, "route")
    return isFilter && (chain.dropsByDefault || chain.ruleCount > 0)
  }

  /// True for packets that leave by the device, false for those that come from it; nil when the chain sees neither.
  private func direction(_ chain: FilterChain) -> Bool? {
    switch chain.hook {
    case .prerouting, .input: return false
    case .output, .postrouting: return true
    case .forward: return nil
    case .ingress: return chain.devices.contains { $0 == name } ? false : nil
    case .egress: return chain.devices.contains { $0 == name } ? true : nil
    }
  }

  private func ownRules(in chain: FilterChain) -> (rules: [FilterRule], isFirst: Bool) {
    var own: [FilterRule] = []
    var seen = 0
    var isFirst = false
    _ = filter?.dump(FilterRequest.rules(of: chain)) { m in
      guard let rule = FilterRule(m), rule.chain == chain.name, rule.table == chain.table else { return }
      if rule.comment == comment {
        if seen == 0 { isFirst = true }
        if !own.contains(where: { $0.handle == rule.handle }) { own.append(rule) }
      }
      seen += 1
    }
    return (own, isFirst)
  }

  /// All rules with our comment, wherever they are.
  func removeFilterRules() {
    guard let filter else { return }
    var own: [FilterRule] = []
    _ = filter.dump(FilterRequest.rules(of: nil)) { m in
      if let rule = FilterRule(m), rule.comment == comment,
        !own.contains(where: { $0.handle == rule.handle && $0.table == rule.table })
      {
        own.append(rule)
      }
    }
    for rule in own { _ = filter.request(FilterRequest.remove(rule)) }
  }

  /// What is left to suspect when nothing that can be mended is wrong, and what to do about it. The lists are files with
  /// the names of the legacy tables in use.
  func suspects(
    list4: StaticString = "/proc/net/ip_tables_names", list6: StaticString = "/proc/net/ip6_tables_names"
  ) -> String {
    var tables = ""
    for (path, program) in [(list4, "iptables-legacy"), (list6, "ip6tables-legacy")] as [(StaticString, StaticString)] {
      var room = [UInt8](repeating: 0, count: 128)
      let n = withZeroTerminated(Sysctl.bytes(path)) { p in
        room.withUnsafeMutableBytes { Int(cs_net_file_read(p, $0.baseAddress, $0.count)) }
      }
      if n > 1 { append(&tables, nameText(Sysctl.bytes(program))) }
    }
    if !tables.isEmpty {
      return "legacy filter tables are in use and may cover it; put an accept for it first "
        + "(\(tables) -I INPUT -i \(nameText(name)) -j ACCEPT, and -I OUTPUT -o \(nameText(name)) -j ACCEPT)"
    }
    return "addresses, routes, rules and nftables are in order; look for a tc, XDP or BPF program on it, a security "
      + "module, or a full transmit queue"
  }
}
