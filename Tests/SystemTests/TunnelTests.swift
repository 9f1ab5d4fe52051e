// Tunnels, as the shipped binary makes them: an Internet of routers between namespaces, translators that really translate,
// and nothing but UDP between the nodes' islands.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Tunnels {
    @Test func `two islands joined by a tunnel alone are one network, and 1,500 bytes pass unfragmented`() throws {
      // ma - cm1 ~ cm2 - cm3
      try withLaboratory(Topology(name: "islands", nodeCount: 4, links: [.init(0, 1), .init(2, 3)])) { laboratory in
        let internet = try Internet(laboratory, [1, 2])
        try laboratory.provision(laboratory.nodes[1], ["set", "tunnel-listen=4500"])
        try laboratory.provision(laboratory.nodes[2], ["set", "tunnel=\(internet.address(1)):4500"])
        for node in laboratory.nodes { try node.start(extra: ["--interface", "eth0"]) }
        let known = try laboratory.waitUntilAuthenticated(timeout: 5)
        let far = try #require(known["cm3"]?.ipv4)
        #expect(try wait(upTo: 3) { try laboratory.authority.pings(far, size: 1472) } != nil)
        let link = try #require(try laboratory.nodes[2].neighbour(on: "tunnel1"))
        #expect(link["cost"] as? Int == 200 && link["neighbour"] != nil)
        // The Ethernet MTU is the path's: full size was found.
        let grown = try wait(upTo: 3) {
          try laboratory.nodes[2].neighbour(on: "tunnel1")?["frameSize"] as? Int == 1472
        }
        let shown = try laboratory.nodes[2].control(["neighbours"]).output
        #expect(grown != nil, "\(shown)")
        #expect(try laboratory.nodes[1].neighbour(on: "tunnel-in1") != nil)
        let counters = try laboratory.nodes[2].control(["counters"], json: true).output
        #expect(counters.contains("\"peer\":\"\(internet.address(1)):4500\""))
        // With a smaller MTU on the way, which nobody tells of, frames are cut smaller.
        try internet.shrink(1, to: 1400)
        #expect(try wait(upTo: 6) { try laboratory.authority.pings(far, size: 1472) } != nil)
      }
    }

    @Test func `two nodes behind translators meet at a third, and a mapping that changes is followed`() throws {
      try withLaboratory(Topology(name: "hub", nodeCount: 3, links: [])) { laboratory in
        let internet = try Internet(laboratory, [0, 1, 2], translated: [1, 2])
        let hub = internet.address(0)
        try laboratory.authority.start(extra: ["--interface", "none", "--tunnel-listen", "4500"])
        for node in laboratory.components {
          try node.start(extra: ["--interface", "none", "--tunnel", "\(hub):4500,cost=30"])
        }
        let known = try laboratory.waitUntilAuthenticated(timeout: 5)
        let addresses = try laboratory.components.map { try #require(known[$0.name]?.ipv4) }
        for address in addresses { #expect(try wait(upTo: 3) { try laboratory.authority.pings(address) } != nil) }
        #expect(try laboratory.nodes[1].neighbour(on: "tunnel1")?["cost"] as? Int == 30)

        let stream = try laboratory.startStream(to: addresses[0])
        // The DISCOVERs of the start are over, the next come after ten seconds: one that meets the change begins a new link.
        try pause(1.5)
        try internet.rebind(1)
        try pause(3)
        let gap = try stream.longestGap()
        #expect(gap < 2, "the stream stood still for \(gap) s")
        let counters = try laboratory.authority.counters()
        #expect(counters["loop.tunnelMoved"] ?? 0 >= 1)
        // It is the link it was: it did not fall.
        #expect(!laboratory.authority.logTail(200).contains("is down"))
      }
    }

    @Test func `two behind translators that keep ports meet without a third`() throws {
      try withLaboratory(Topology(name: "open", nodeCount: 2, links: [])) { laboratory in
        let internet = try Internet(laboratory, [0, 1], translated: [0, 1])
        for (node, other) in [(0, 1), (1, 0)] {
          let peer = "\(internet.address(other)):4500"
          try laboratory.nodes[node].start(extra: ["--interface", "none", "--tunnel", peer, "--tunnel-listen", "4500"])
        }
        let known = try laboratory.waitUntilAuthenticated(timeout: 6)
        let address = try #require(known["cm1"]?.ipv4)
        #expect(try wait(upTo: 3) { try laboratory.authority.pings(address) } != nil)
      }
    }

    @Test func `a tunnel is the last resort beside a wire, and takes over when that is cut`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let internet = try Internet(laboratory, [0, 1])
        try laboratory.authority.start(extra: ["--interface", "eth0", "--tunnel-listen", "4500"])
        try laboratory.nodes[1].start(extra: ["--interface", "eth0", "--tunnel", "\(internet.address(0)):4500"])
        let address = try #require(try laboratory.waitUntilAuthenticated(timeout: 5)["cm1"]?.ipv4)
        try #require(
          try wait(upTo: 3) { try laboratory.nodes[1].neighbour(on: "tunnel1")?["state"] as? String == "up" } != nil)
        try pause(0.5)
        #expect(try laboratory.route(of: 1)["cost"] as? Int == 10)
        try laboratory.setCarrier(0, up: false)
        #expect(try wait(upTo: 3) { try laboratory.authority.pings(address) } != nil)
        #expect(try wait(upTo: 2) { try laboratory.route(of: 1)["cost"] as? Int == 200 } != nil)
        try laboratory.setCarrier(0, up: true)
        #expect(try wait(upTo: 3) { try laboratory.route(of: 1)["cost"] as? Int == 10 } != nil)
      }
    }

    @Test func `a listener that is killed and starts anew, and one that starts last, is found within three seconds`()
      throws
    {
      try withLaboratory(Topology(name: "restart", nodeCount: 2, links: [])) { laboratory in
        let internet = try Internet(laboratory, [0, 1])
        try laboratory.nodes[1].start(extra: ["--interface", "none", "--tunnel", "\(internet.address6(0)):4500"])
        try pause(1)
        func start() throws {
          try laboratory.authority.start(extra: ["--interface", "none", "--tunnel-listen", "4500"])
        }
        try start()
        let address = try #require(try laboratory.waitUntilAuthenticated(timeout: 3)["cm1"]?.ipv4)
        laboratory.authority.crash()
        try start()
        #expect(try wait(upTo: 3) { try laboratory.authority.pings(address) } != nil)
      }
    }

    @Test func `a peer in the management prefix, and one that is reached over mm0, are refused and said so`() throws {
      try withLaboratory(.chain(2)) { laboratory in
        let internet = try Internet(laboratory, [0, 1])
        let node = laboratory.nodes[1]
        try laboratory.authority.start(extra: ["--interface", "eth0", "--tunnel-listen", "4500"])
        try node.start(extra: [
          "--interface", "eth0", "--tunnel", "10.77.0.1:4500", "--tunnel", "\(internet.address(0)):4500",
        ])
        let address = try #require(try laboratory.waitUntilAuthenticated(timeout: 5)["cm1"]?.ipv4)
        let said = try node.control(["events"]).output
        #expect(
          said.contains("tunnel1 to 10.77.0.1:4500 is not used: its address is in the management prefix"), "\(said)")
        try #require(try wait(upTo: 3) { try node.neighbour(on: "tunnel2")?["state"] as? String == "up" } != nil)
        // Somebody sends everything over the channel: the tunnel does not follow into it.
        try node.run(["ip", "route", "add", "\(internet.address(0))/32", "dev", "mm0"])
        let noticed = try wait(upTo: 3) {
          try node.control(["events"]).output.contains(
            "tunnel2 to \(internet.address(0)):4500 is not used: the route to it leads over the management device")
        }
        #expect(noticed != nil)
        #expect(try laboratory.authority.pings(address))
        try node.run(["ip", "route", "del", "\(internet.address(0))/32", "dev", "mm0"])
        #expect(try wait(upTo: 4) { try node.neighbour(on: "tunnel2")?["state"] as? String == "up" } != nil)
      }
    }

    @Test func `a flood of garbage at the listener takes nobody's link`() throws {
      try withLaboratory(Topology(name: "flood", nodeCount: 2, links: [])) { laboratory in
        let internet = try Internet(laboratory, [0, 1])
        try laboratory.authority.start(extra: ["--interface", "none", "--tunnel-listen", "4500"])
        try laboratory.nodes[1].start(extra: ["--interface", "none", "--tunnel", "\(internet.address(0)):4500"])
        let address = try #require(try laboratory.waitUntilAuthenticated(timeout: 5)["cm1"]?.ipv4)
        try #require(try wait(upTo: 3) { try laboratory.authority.pings(address) } != nil)
        let sent = try internet.flood(internet.address(0), port: 4500, seconds: 2.5)
        #expect(try laboratory.authority.pings(address))
        let counters = try laboratory.authority.counters()
        print("flood: \(sent) datagrams sent, \(counters["loop.tunnelStrangers"] ?? 0) refused")
        #expect(counters["loop.tunnelStrangers"] ?? 0 > 1000)
        #expect(!laboratory.authority.logTail(200).contains("is down"))
        #expect(laboratory.authority.isRunning)
      }
    }
  }
}

/// A router that every node of the list is joined to, by an interface that is no port; translators before some.
private final class Internet {
  private let laboratory: Laboratory
  private var translators: [Int: String] = [:]
  private let router: String

  init(_ laboratory: Laboratory, _ members: [Int], translated: Set<Int> = []) throws {
    self.laboratory = laboratory
    router = try laboratory.addHost("inet", behind: laboratory.nodes[members[0]], interface: "unused", peer: "unused")
    try run(["ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
    for member in members {
      let node = laboratory.nodes[member]
      if !translated.contains(member) {
        try join(node.namespace, "up0", router, "i\(member)", member, "100.64.\(member)")
        continue
      }
      let name = "nat\(member)"
      let box = try laboratory.addHost(name, behind: node, interface: "lan", peer: "up0")
      translators[member] = box
      try run(
        ["ip", "-n", node.namespace, "-batch", "-"],
        input: "address add 192.168.1.2/24 dev up0\nlink set up0 up\nroute add default via 192.168.1.1\n")
      try run(["ip", "-n", box, "-batch", "-"], input: "address add 192.168.1.1/24 dev lan\nlink set lan up\n")
      try run(["ip", "netns", "exec", box, "sysctl", "-qw", "net.ipv4.ip_forward=1"])
      try join(box, "wan", router, "i\(member)", member, "100.64.\(member)")
      try translate(box, ports: nil)
    }
  }

  /// IPv6 is not translated.
  func address6(_ member: Int) -> String { "[2001:db8:\(member)::2]" }

  /// Of the node, or of the translator before it, as others see it.
  func address(_ member: Int) -> String { "100.64.\(member).2" }

  private func join(_ a: String, _ up: String, _ b: String, _ down: String, _ member: Int, _ net: String) throws {
    let six = "2001:db8:\(member)"
    try run(["ip", "link", "add", up, "netns", a, "type", "veth", "peer", "name", down, "netns", b])
    try run(
      ["ip", "-n", b, "-batch", "-"],
      input: "address add \(net).1/24 dev \(down)\naddress add \(six)::1/64 dev \(down) nodad\nlink set \(down) up\n")
    try run(
      ["ip", "-n", a, "-batch", "-"],
      input: """
        link set \(up) up
        address add \(net).2/24 dev \(up)
        route add default via \(net).1
        address add \(six)::2/64 dev \(up) nodad
        route add ::/0 via \(six)::1

        """)
  }

  private func translate(_ box: String, ports: String?) throws {
    try run(
      ["nft", "-f", "-"], in: box,
      input: """
        table ip nat
        delete table ip nat
        table ip nat {
          chain in { type filter hook input priority 0; iifname "wan" drop; }
          chain out {
            type nat hook postrouting priority 100;
            oifname "wan" meta l4proto udp masquerade \(ports.map { "to :\($0)" } ?? "")
          }
        }
        """)
  }

  /// The translator forgets what it knew, and maps to other ports.
  func rebind(_ member: Int) throws {
    let box = try #require(translators[member])
    try translate(box, ports: "20000-20999")
    // Without the tool for it, a flush is: the address goes, and with it all that was masqueraded to it.
    try run(
      ["ip", "-n", box, "-batch", "-"],
      input: """
        link set wan down
        link set wan up
        route add default via 100.64.\(member).1

        """)
  }

  /// The router's interface toward a node carries less, and nobody is told: no ICMP.
  func shrink(_ member: Int, to mtu: Int) throws {
    try run(
      ["nft", "-f", "-"], in: router,
      input: """
        table ip quiet {
          chain out { type filter hook output priority 0; meta l4proto icmp drop; }
        }
        """)
    try run(["ip", "-n", router, "link", "set", "i\(member)", "mtu", "\(mtu)"])
  }

  /// Random datagrams from the router, as fast as it can; how many.
  func flood(_ host: String, port: UInt16, seconds: Double) throws -> Int {
    let socket = try udpSocket(in: router, isIPv6: false)
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = port.bigEndian
    inet_pton(AF_INET, host, &name.sin_addr)
    var generator = SystemRandomNumberGenerator()
    var payloads: [[UInt8]] = []
    for _ in 0..<512 {
      var bytes = (0..<Int.random(in: 1...400)).map { _ in UInt8.random(in: .min ... .max) }
      // Half of them look like frames of one of the types.
      if Bool.random(using: &generator) { bytes[0] = UInt8.random(in: 1...6) << 4 }
      payloads.append(bytes)
    }
    let end = now() + seconds
    var sent = 0
    while now() < end {
      for payload in payloads {
        let result = withUnsafePointer(to: &name) {
          $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            sendto(socket.number, payload, payload.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
          }
        }
        if result > 0 { sent += 1 }
      }
    }
    return sent
  }
}

extension LabNode {
  /// One packet that must not be fragmented; whether it is answered within half a second.
  fileprivate func pings(_ address: String, size: Int = 56) throws -> Bool {
    try run(["ping", "-c", "1", "-W", "0.5", "-M", "do", "-s", "\(size)", address], tolerant: true).succeeded
  }

  /// The neighbour on a port, as `ctl neighbours` shows it.
  fileprivate func neighbour(on port: String) throws -> [String: Any]? {
    let text = try control(["neighbours"], json: true).output
    let all = (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [[String: Any]] ?? []
    return all.first { $0["port"] as? String == port }
  }
}

extension Laboratory {
  /// The authority's route to a component.
  fileprivate func route(of component: Int) throws -> [String: Any] {
    let text = try authority.control(["routes"], json: true).output
    let all = (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [[String: Any]] ?? []
    return all.first { $0["node"] as? String == nodes[component].name } ?? [:]
  }

  /// A ping every 10 ms from the authority.
  fileprivate func startStream(to address: String) throws -> PingStream {
    try PingStream(self, address)
  }
}

/// `ping -D -i 0.01`: the longest time between two answers.
private final class PingStream {
  private let process: BackgroundProcess
  private let log: String

  init(_ laboratory: Laboratory, _ address: String) throws {
    log = "\(laboratory.directory)/stream.log"
    process = try laboratory.startBackground(
      ["ping", "-D", "-i", "0.01", address], in: laboratory.authority.namespace, name: "stream")
  }

  /// Ends it.
  func longestGap() throws -> Double {
    process.send(SIGINT)
    _ = process.hasEnded(within: 2)
    let times = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").compactMap { line -> Double? in
      guard line.hasPrefix("["), line.contains("time="), let end = line.firstIndex(of: "]") else { return nil }
      return Double(line[line.index(after: line.startIndex)..<end])
    }
    guard times.count > 10 else { throw LabError.expectation("the stream had \(times.count) answers") }
    return zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? .infinity
  }
}
