// The shipped binary between kernel namespaces: who reaches whom, how soon, and with which packets.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Reachability {
    @Test func `an authority reaches a component without an address on any Ethernet interface`() throws {
      try withRunningNetwork(.chain(2)) { laboratory, trial in
        for node in laboratory.nodes {
          let addresses = try node.run(["ip", "-o", "address", "show", "dev", "eth0"]).output
          #expect(addresses.isEmpty, "\(addresses)")
        }
        let (four, six) = try trial.pair(of: laboratory.nodes[1])
        for address in [four, six] {
          let ping = try laboratory.authority.ping(address.text, count: 5, interval: 0.1)
          #expect(ping.isComplete, "\(ping.output)")
        }
      }
    }

    @Test func `1500-byte packets that may not be fragmented pass 16 hops of 1500-byte links`() throws {
      try withRunningNetwork(.chain(17)) { laboratory, trial in
        let (four, six) = try trial.pair(of: laboratory.nodes[16])
        // 1500 = 20 (IPv4) or 40 (IPv6) + 8 (ICMP) + payload.
        for (address, payload) in [(four, 1472), (six, 1452)] {
          let ping = try laboratory.authority.ping(address.text, count: 3, payload: payload, unfragmented: true)
          #expect(ping.isComplete, "\(ping.output)")
        }
        #expect(trial.figures.allReachable < 10)
        print("chain of 17: all reachable \(trial.figures.allReachable) s after the last start")
      }
    }

    @Test func `1500-byte packets pass links of 1280 and 9000 bytes mixed into the path`() throws {
      var topology = Topology.chain(5)
      topology.links[1].mtu = 1280
      topology.links[3].mtu = 9000
      try withRunningNetwork(topology) { laboratory, trial in
        let (four, six) = try trial.pair(of: laboratory.nodes[4])
        for (address, payload) in [(four, 1472), (six, 1452)] {
          let ping = try laboratory.authority.ping(address.text, count: 3, payload: payload, unfragmented: true)
          #expect(ping.isComplete, "\(ping.output)")
        }
      }
    }

    @Test func `components reach one another through the authority`() throws {
      try withRunningNetwork(.chain(3)) { laboratory, trial in
        let (four, six) = try trial.pair(of: laboratory.nodes[2])
        for address in [four, six] {
          let ping = try laboratory.nodes[1].ping(address.text, count: 3)
          #expect(ping.isComplete, "\(ping.output)")
        }
      }
    }

    @Test func `a host behind the authority reaches a component with 1500-byte packets of both families`() throws {
      try withRunningNetwork(.chain(3)) { laboratory, trial in
        let authority = laboratory.authority
        let component = laboratory.nodes[2]
        let (four, six) = try trial.pair(of: component)
        let host = try laboratory.addHost("host", behind: authority, interface: "uplink", peer: "lan")
        try authority.run(["ip", "address", "add", "198.51.100.1/24", "dev", "lan"])
        try authority.run(["ip", "address", "add", "2001:db8:51::1/64", "dev", "lan", "nodad"])
        try authority.run(["ip", "link", "set", "lan", "up"])
        try authority.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        try run(
          ["ip", "-n", host, "-batch", "-"],
          input: """
            address add 198.51.100.2/24 dev uplink
            address add 2001:db8:51::2/64 dev uplink nodad
            link set uplink up
            route add 10.77.0.0/16 via 198.51.100.1
            route add \(six.text)/128 via 2001:db8:51::1

            """)
        // The way back: the component routes the host's prefixes into mm0.
        try component.run(["ip", "route", "add", "198.51.100.0/24", "dev", "mm0"])
        try component.run(["ip", "-6", "route", "add", "2001:db8:51::/64", "dev", "mm0"])
        // 1500 = 20 (IPv4) or 40 (IPv6) + 8 (ICMP) + payload.
        for (address, payload) in [(four, 1472), (six, 1452)] {
          var last = ""
          let answers = try wait(upTo: 5, every: 0.3) {
            let result = try ping(from: host, address.text, count: 3, payload: payload, unfragmented: true)
            last = result.output
            return result.isComplete
          }
          #expect(answers != nil, "no answer to a host behind the authority: \(last)")
        }
      }
    }

    /// The paper's two pictures, by the names the laboratory's commands know.
    @Test(arguments: ["figure4", "figure5"])
    func `in the paper's networks everybody reaches everybody`(name: String) throws {
      let topology = try Topology(parsing: name)
      try withRunningNetwork(topology) { laboratory, trial in
        let known = try wait(upTo: 5) { try laboratory.authority.knownLinks().count == topology.links.count }
        #expect(known != nil)
        let entries = try laboratory.authority.knownNodes()
        #expect(entries.count == topology.nodeCount)
        for node in laboratory.nodes {
          #expect(entries.first { $0.name == node.name }?.hops == topology.hopsFromAuthority[node.index])
          let others = try laboratory.nodes.filter { $0.index != node.index }.flatMap { other in
            let entry = try #require(entries.first { $0.name == other.name })
            return [entry.ipv4, entry.ipv6].compactMap { $0.flatMap(IPAddress.init) }
          }
          #expect(others.count == 2 * (topology.nodeCount - 1))
          let answered = try Prober(in: node.namespace).probe(others, timeout: 3)
          #expect(answered.count == others.count, "\(node.name): only \(answered.keys.map(\.text).sorted()) answer")
        }
      }
    }

    @Test(arguments: [StartOrder.descending, .shuffle(seed: 7)])
    func `a grid of 25 is authenticated and reachable within 10 seconds of the last start`(order: StartOrder) throws {
      try withRunningNetwork(.grid(5, 5), order: order) { laboratory, trial in
        #expect(trial.figures.allReachable < 10)
        let largest = laboratory.components.compactMap { $0.figures?.residentKiB }.max() ?? 0
        #expect(largest > 0 && largest <= 8192, "a component has \(largest) KiB resident")
        print("grid 5 x 5, \(order): \(trial.figures.allReachable) s, largest component \(largest) KiB")
      }
    }

    @Test func `after SIGKILL an authority has all back within 3 seconds and a component is back within 2`() throws {
      try withRunningNetwork(.grid(3, 3)) { laboratory, trial in
        try trial.restartAuthority(limit: 3)
        try pause(1)
        try trial.restartComponent(laboratory.nodes[4], limit: 2)
        print(
          "authority back after \(trial.figures.authorityRestart ?? .nan) s, component \(trial.figures.componentRestart ?? .nan) s"
        )
      }
    }
  }
}

/// Parent of all suites: one after the other, because they share two cores and measure time.
@Suite(.serialized) struct SystemTests {}
