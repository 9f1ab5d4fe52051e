// What an unkind operator, a broken cable or a bad script does to a network.

import Foundation

extension Laboratory {
  /// Bytes that each link has carried so far, both ways together.
  public func carriedBytes() throws -> [Int] {
    var counts: [Int] = []
    var tables: [String: [String: Int]] = [:]
    for (a, _) in linkEnds {
      let namespace = nodes[a.node].namespace
      if tables[namespace] == nil {
        tables[namespace] = Self.counters(try run(["cat", "/proc/net/dev"], in: namespace).output)
      }
      counts.append(tables[namespace]?[a.interface] ?? 0)
    }
    return counts
  }

  /// Received and sent bytes of each interface, from /proc/net/dev.
  private static func counters(_ text: String) -> [String: Int] {
    var counters: [String: Int] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":")
      guard parts.count == 2 else { continue }
      let fields = parts[1].split(separator: " ").compactMap { Int($0) }
      if fields.count >= 9 { counters[parts[0].trimmingCharacters(in: .whitespaces)] = fields[0] + fields[8] }
    }
    return counters
  }

  /// The links in the order of what they carry during `seconds`, the busiest first.
  public func busiestLinks(during seconds: Double) throws -> [Int] {
    let before = try carriedBytes()
    try pause(seconds)
    let after = try carriedBytes()
    return zip(before, after).map { $1 - $0 }.enumerated().sorted { $0.element > $1.element }.map(\.offset)
  }
}

extension LabNode {
  /// Removes every route of the main table, both families: the management prefix's too if it is there.
  public func flushRoutes() throws {
    try run(["ip", "-4", "route", "flush", "table", "main"], tolerant: true)
    try run(["ip", "-6", "route", "flush", "table", "main"], tolerant: true)
  }

  /// Removes the routes of lifeline's own table too, both families: no route to the management prefix is left.
  public func flushManagementRoutes() throws {
    try run(["ip", "-4", "route", "flush", "table", "19529"])
    try run(["ip", "-6", "route", "flush", "table", "19529"])
    try flushRoutes()
  }

  /// Routes of the data plane on eth0 for the first addresses of the usual prefix, 10.77/16, and for all of the /64 that
  /// `six` is in.
  public func overlap(_ six: IPAddress) throws {
    let groups = six.bytes.prefix(8).map { String(format: "%02x", $0) }
    let prefix = stride(from: 0, to: 8, by: 2).map { groups[$0] + groups[$0 + 1] }.joined(separator: ":")
    try run(
      ["ip", "-batch", "-"],
      input: """
        address add 10.77.0.200/24 dev eth0
        route add \(prefix)::/65 dev eth0
        route add \(prefix):8000::/65 dev eth0

        """)
  }

  /// Removes lifeline's rules, both families; `inserting` puts another's of the same priority in their place, before
  /// they can come back.
  public func removeManagementRules(inserting rule: String? = nil) throws {
    for family in ["-4", "-6"] {
      let lines = ["rule del priority 0 table 19529"] + (rule.map { ["rule add priority 0 \($0)"] } ?? [])
      try run(["ip", family, "-batch", "-"], input: lines.joined(separator: "\n") + "\n")
    }
  }

  /// Drops everything that enters the IP stack from, or leaves it through, an Ethernet interface: at ingress of each, and
  /// in chains for input, output and forwarding.
  public func filterEthernet() throws {
    let ports = try ethernetInterfaces()
    let ingress = ports.map { "chain \($0) { type filter hook ingress device \"\($0)\" priority 0; policy drop; }" }
    try run(
      ["nft", "-f", "-"],
      input: """
        table netdev ruin {
          \(ingress.joined(separator: "\n  "))
        }
        table inet ruin {
          chain input { type filter hook input priority 0; iifname "eth*" drop; }
          chain forward { type filter hook forward priority 0; policy drop; }
          chain output { type filter hook output priority 0; oifname "eth*" drop; }
        }
        """)
  }

  /// A firewall that lets nothing pass at all, the management device's packets neither.
  public func filterEverything() throws {
    try run(
      ["nft", "-f", "-"],
      input: """
        table inet lockout {
          chain input { type filter hook input priority 10; policy drop; }
          chain output { type filter hook output priority 10; policy drop; }
        }
        """)
  }

  /// Drops every packet before the IP stack has looked at it, and after it has let it go.
  public func filterOuterHooks() throws {
    try run(
      ["nft", "-f", "-"],
      input: """
        table ip outer4 {
          chain pre { type filter hook prerouting priority -300; drop; }
          chain post { type filter hook postrouting priority 300; policy drop; }
        }
        table ip6 outer6 {
          chain pre { type filter hook prerouting priority -300; policy drop; }
          chain post { type filter hook postrouting priority 300; drop; }
        }
        """)
  }

  /// Random private addresses on every Ethernet interface, and a default route that leads nowhere.
  public func randomizeAddresses(using generator: inout some RandomNumberGenerator) throws {
    let ports = try ethernetInterfaces()
    var lines: [String] = []
    for port in ports {
      let octets = (0..<3).map { _ in Int.random(in: 1...254, using: &generator) }
      lines.append(
        "address add 192.168.\(octets[0]).\(octets[1])/\([8, 16, 24].randomElement(using: &generator) ?? 24) dev \(port)"
      )
      lines.append("address add fd00:\(octets[2])::\(octets[1])/64 dev \(port) nodad")
    }
    if let port = ports.first { lines.append("route add default dev \(port)") }
    try run(["ip", "-force", "-batch", "-"], input: lines.joined(separator: "\n") + "\n", tolerant: true)
  }
}
