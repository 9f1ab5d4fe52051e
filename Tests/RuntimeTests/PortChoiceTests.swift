// The choice of ports (design "Ports and adjacencies").

import Core
import Testing

@testable import Runtime

@Suite struct PortChoiceTests {
  private func choose(
    _ messages: [NetlinkMessage], named: [String] = [], wireless: [Int32] = []
  ) -> [ChosenPort] {
    PortChoice.choose(
      messages.compactMap { LinkRecord($0) },
      PortPolicy(named: named.map { Array($0.utf8) }, keepDown: [], bearerName: Array("mm0".utf8)),
      isWireless: { wireless.contains($0.index) })
  }
  private func names(_ ports: [ChosenPort]) -> [String] { ports.map { $0.status.name } }

  private let zoo = [
    linkMessage(index: 1, name: "lo", hardware: 772),
    linkMessage(index: 2, name: "eth0"),
    linkMessage(index: 3, name: "eth1", slaveKind: "bond"),
    linkMessage(index: 4, name: "bond0", kind: "bond"),
    linkMessage(index: 5, name: "br0", kind: "bridge"),
    linkMessage(index: 6, name: "eth2", slaveKind: "bridge"),
    linkMessage(index: 7, name: "v0", kind: "veth", parent: 8),
    linkMessage(index: 8, name: "v1", kind: "veth", slaveKind: "bridge", parent: 7),
    linkMessage(index: 9, name: "eth0.5", kind: "vlan", parent: 2),
    linkMessage(index: 10, name: "tap0", kind: "tun"),
    linkMessage(index: 11, name: "mm0", kind: "tun", hardware: 65534),
    linkMessage(index: 12, name: "wlan0"),
    linkMessage(index: 13, name: "dummy0", kind: "dummy"),
  ]

  @Test func `by default physical ports, members of bonds and bridges, and veths outside a bridge`() {
    #expect(names(choose(zoo, wireless: [12])) == ["eth0", "eth1", "eth2", "v0"])
  }

  @Test func `a name chooses Wi-Fi, VLANs and taps too, but never the bearer or what is not Ethernet`() {
    let chosen = choose(zoo, named: ["wlan0", "tap0", "mm0", "lo", "missing"], wireless: [12])
    #expect(names(chosen) == ["tap0", "wlan0"])
    #expect(chosen.map { $0.status.medium } == [.ethernet, .wireless])
  }

  @Test func `ports of a switch share the conduit's risk, and the conduit is no port`() {
    let chosen = choose([
      linkMessage(index: 2, name: "eth0"), linkMessage(index: 3, name: "lan0", kind: "dsa", parent: 2),
      linkMessage(index: 4, name: "lan1", kind: "dsa", parent: 2), linkMessage(index: 5, name: "eth1"),
    ])
    #expect(names(chosen) == ["lan0", "lan1", "eth1"])
    #expect(chosen.map { $0.status.riskGroup } == [3, 3, 0])
  }

  @Test func `functions of one PCI card share a risk, a VLAN shares its parent's`() {
    let cards = choose([
      linkMessage(index: 2, name: "a", bus: ("pci", "0000:03:00.0")),
      linkMessage(index: 3, name: "b", bus: ("pci", "0000:03:00.1")),
      linkMessage(index: 4, name: "c", bus: ("pci", "0000:04:00.0")),
    ])
    #expect(cards.map { $0.status.riskGroup } == [2, 2, 0])
    let stacked = choose(
      [linkMessage(index: 2, name: "a"), linkMessage(index: 3, name: "a.7", kind: "vlan", parent: 2)],
      named: ["a", "a.7"])
    #expect(stacked.map { $0.status.riskGroup } == [2, 2])
  }

  @Test func `the two ends of a veth pair in one namespace are two ports without a common risk`() {
    let pair = choose([
      linkMessage(index: 2, name: "a", kind: "veth", parent: 3),
      linkMessage(index: 3, name: "b", kind: "veth", parent: 2),
    ])
    #expect(pair.map { $0.status.riskGroup } == [0, 0])
  }

  @Test func `up means administratively up and with carrier`() {
    let ports = choose([
      linkMessage(index: 2, name: "a", flags: 0x10043), linkMessage(index: 3, name: "b", flags: 0x1003),
      linkMessage(index: 4, name: "c", flags: 0x1002),
    ])
    #expect(ports.map { $0.status.isUp } == [true, false, false])
    #expect(ports.map { $0.link.isAdministrativelyUp } == [true, true, false])
  }

  @Test func `256 ports are chosen, those with the lowest indices, and one more to be named`() {
    func indices(_ count: Int32) -> [Int32] {
      choose((1...count).reversed().map { linkMessage(index: $0, name: "eth\($0)") }).map { $0.link.index }
    }
    #expect(indices(256) == Array(1...256))
    #expect(indices(300) == Array(1...257))
  }
}
