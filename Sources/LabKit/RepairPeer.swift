// Other systems that repair routes, as their users run them, on the same ring with the same wires: babeld, yggdrasil, and
// FRR's OSPF with BFD. Each is measured only where it is installed.

import CLab
import Foundation

public enum RepairPeer: String, CaseIterable, Sendable {
  case babeld = "babeld, hellos 100 ms"
  case yggdrasil
  case ospf50 = "FRR OSPF + BFD 50 ms"
  case ospf10 = "FRR OSPF + BFD 10 ms"

  private static let daemons = "/usr/lib/frr"

  public var isInstalled: Bool {
    switch self {
    case .babeld: programPath("babeld") != nil
    case .yggdrasil: programPath("yggdrasil") != nil
    case .ospf50, .ospf10:
      ["zebra", "bfdd", "ospfd"].allSatisfy { access("\(Self.daemons)/\($0)", X_OK) == 0 } && getpwnam("frr") != nil
    }
  }

  /// Seconds from the first answer until the ring is taken to have settled: OSPF repeats lost database packets after 5 s.
  public var settling: Double {
    switch self {
    case .babeld: 15
    case .yggdrasil: 5
    case .ospf50, .ospf10: 30
    }
  }

  /// Starts it on every node of a ring.
  ///
  /// - Returns: the address of node `station`.
  func start(in laboratory: Laboratory, station: Int) throws -> IPAddress {
    for node in laboratory.nodes {
      try node.run([
        "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
        "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
      ])
    }
    try addLinkAddresses(laboratory)
    switch self {
    case .babeld: try startBabeld(laboratory)
    case .ospf50: try startOSPF(laboratory, milliseconds: 50)
    case .ospf10: try startOSPF(laboratory, milliseconds: 10)
    case .yggdrasil: return try startYggdrasil(laboratory, station: station)
    }
    guard let address = IPAddress(Self.loopback(station)) else { throw LabError.expectation("no address") }
    return address
  }

  private static func loopback(_ node: Int) -> String { "10.93.0.\(node + 1)" }

  private func addLinkAddresses(_ laboratory: Laboratory) throws {
    var lines = [String](repeating: "", count: laboratory.nodes.count)
    for (link, ends) in laboratory.linkEnds.enumerated() {
      for (side, end) in [ends.a, ends.b].enumerated() {
        // The laboratory's interfaces have no link-local address of their own.
        lines[end.node] += "address add fe80::\(link + 1):\(side + 1)/64 dev \(end.interface) nodad\n"
        if self != .yggdrasil { lines[end.node] += "address add 10.92.\(link).\(side + 1)/30 dev \(end.interface)\n" }
      }
    }
    for (node, lines) in zip(laboratory.nodes, lines) {
      let own = self == .yggdrasil ? "" : "address add \(Self.loopback(node.index))/32 dev lo\n"
      try node.run(["ip", "-batch", "-"], input: lines + own)
    }
  }

  private func startBabeld(_ laboratory: Laboratory) throws {
    for node in laboratory.nodes {
      let rules = [
        "redistribute ip 10.93.0.0/24 allow", "redistribute local ip 10.93.0.0/24 allow",
        "redistribute local ip 10.92.0.0/16 allow", "redistribute local deny",
      ]
      try laboratory.startBackground(
        [
          "babeld", "-I", "\(node.directory)/babeld.pid", "-S", "\(node.directory)/babeld.state", "-h", "0.1", "-H",
          "0.1",
        ] + rules.flatMap { ["-C", $0] } + node.ethernetInterfaces(), in: node.namespace, name: "\(node.name)-babeld")
    }
  }

  private func startOSPF(_ laboratory: Laboratory, milliseconds: Int) throws {
    // The daemons give their rights up and must reach their folders.
    chmod(laboratory.directory, 0o711)
    for node in laboratory.nodes {
      chmod(node.directory, 0o711)
      let folder = "\(node.directory)/frr"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
      let interfaces = try node.ethernetInterfaces().map {
        """
        interface \($0)
         ip ospf network point-to-point
         ip ospf hello-interval 1
         ip ospf dead-interval 4
         ip ospf bfd
         ip ospf bfd profile quick

        """
      }.joined()
      let routing = """
        router ospf
         timers throttle spf 0 10 50
         timers lsa min-arrival 10
         timers throttle lsa all 10
         network 10.92.0.0/16 area 0
         network 10.93.0.0/24 area 0

        """
      // `ip ospf bfd 3 10 10` is refused, and OSPF then goes by its own hellos: below 50 ms it takes a profile.
      let detection = """
        bfd
         profile quick
          detect-multiplier 3
          receive-interval \(milliseconds)
          transmit-interval \(milliseconds)

        """
      for (daemon, text) in [("zebra", ""), ("bfdd", detection), ("ospfd", interfaces + routing)] {
        try ("hostname r\n" + text).write(toFile: "\(folder)/\(daemon).conf", atomically: true, encoding: .utf8)
      }
      try run(["chown", "-R", "frr:frrvty", folder])
      try run(["mkdir", "-p", "/run/frr"])
    }
    for (daemon, extra) in [("zebra", []), ("bfdd", ["--bfdctl"]), ("ospfd", [])] {
      for node in laboratory.nodes {
        let folder = "\(node.directory)/frr"
        let words =
          [
            "\(Self.daemons)/\(daemon)", "-f", "\(folder)/\(daemon).conf", "-i", "\(folder)/\(daemon).pid", "-u", "frr",
            "-g", "frr", "--vty_socket", folder, "-z", "\(folder)/zserv.api", "-A", "127.0.0.1",
          ] + extra.flatMap { [$0, "\(folder)/bfdd.sock"] }
        try laboratory.startBackground(
          ["unshare", "-m", "sh", "-c", "mount --bind \"$0\" /run/frr; exec \"$@\"", folder] + words,
          in: node.namespace, name: "\(node.name)-\(daemon)")
      }
      try pause(0.5)
    }
  }

  private func startYggdrasil(_ laboratory: Laboratory, station: Int) throws -> IPAddress {
    for node in laboratory.nodes {
      let said = try run(["yggdrasil", "-genconf", "-json"]).output
      guard var settings = try JSONSerialization.jsonObject(with: Data(said.utf8)) as? [String: Any] else {
        throw LabError.expectation("yggdrasil -genconf -json says something unknown")
      }
      settings["AdminListen"] = "unix://\(node.directory)/yggdrasil.sock"
      settings["IfName"] = "yg0"
      settings["MulticastInterfaces"] = [
        ["Regex": "eth.*", "Beacon": true, "Listen": true, "Port": 0, "Priority": 0] as [String: Any]
      ]
      let file = "\(node.directory)/yggdrasil.conf"
      try JSONSerialization.data(withJSONObject: settings).write(to: URL(fileURLWithPath: file))
      try laboratory.startBackground(
        ["yggdrasil", "-useconffile", file], in: node.namespace, name: "\(node.name)-yggdrasil")
    }
    var address: IPAddress?
    _ = try wait(upTo: 15, every: 0.2) {
      let shown = try laboratory.nodes[station].run(
        ["ip", "-6", "-o", "address", "show", "dev", "yg0"], tolerant: true)
      let words = shown.output.split(whereSeparator: \.isWhitespace).map(String.init)
      // 200::/7; the line begins with the interface's number and a colon.
      address = words.filter { $0.hasPrefix("2") }.compactMap { IPAddress($0) }.first { $0.isIPv6 }
      return address != nil
    }
    guard let address else { throw LabError.expectation("yggdrasil has no address after 15 s") }
    return address
  }
}

/// A stream over a peer's ring, and failures on its way.
public final class RepairPeerTrial {
  private let laboratory: Laboratory
  private let peer: RepairPeer
  private let address: IPAddress
  private let station: Int
  /// Seconds that a peer's repair may take before it counts as none.
  private static let patience = 40.0

  /// Builds the ring and waits until the peer's routes stand.
  public init(_ peer: RepairPeer, ring size: Int, binary: String) throws {
    self.peer = peer
    var options = LaboratoryOptions()
    options.linkStyle = .wires
    laboratory = try Laboratory(.ring(size), binary: binary, options: options)
    station = laboratory.topology.farStation
    do {
      let address = try peer.start(in: laboratory, station: station)
      let authority = laboratory.authority
      let up = try wait(upTo: 60, every: 0.2) { try authority.ping(address.text).isComplete }
      self.address = address
      guard up != nil else { throw LabError.expectation("\(peer.rawValue) has no route after 60 s") }
      try laboratory.prepareWires()
      try pause(peer.settling)
    } catch {
      laboratory.close()
      throw error
    }
  }

  @discardableResult
  public func close() -> [String] { laboratory.close() }

  /// The links that carry a good part of the stream, as seen during 0.3 s.
  private func way() throws -> [Int] {
    let before = try laboratory.carriedBytes()
    try pause(0.3)
    let carried = zip(try laboratory.carriedBytes(), before).map { $0 - $1 }
    return carried.indices.filter { carried[$0] > 100 * 100 }
  }

  private func isFlowing(_ stream: GapStream) throws -> Bool {
    let before = stream.arrivedCount
    try pause(0.2)
    return stream.arrivedCount - before > 100
  }

  /// Carrier or silent failures in turn along the way; the next comes when the peer is back on the shortest way, or has had
  /// 20 s for it.
  public func run(_ kind: RepairKind, cuts: Int) throws -> RepairRun {
    let stream = try GapStream(
      from: laboratory.authority.namespace, to: address, in: laboratory.nodes[station].namespace)
    var run = RepairRun(
      network: laboratory.topology.name, kind: kind, protection: .unprotected,
      rate: StreamShape().rate)
    do {
      try pause(1)
      while run.valid < cuts {
        let number = run.valid
        let way = try way()
        guard !way.isEmpty else { throw LabError.expectation("\(peer.rawValue) carries nothing") }
        let link = way[fromEndsInward(number, of: way.count)]
        run.cuts.append(
          try timedCut("\(laboratory.topology.links[link].a) - \(laboratory.topology.links[link].b)") {
            if kind == .carrier { try laboratory.setCarrier(link, up: false) } else { try laboratory.cutSilently(link) }
          })
        try pause(1)
        let back = try wait(upTo: Self.patience) { try isFlowing(stream) }
        run.cuts[run.cuts.count - 1].undone = lab_now()
        run.judgeLast([stream], of: cuts)
        if kind == .carrier { try laboratory.setCarrier(link, up: true) } else { try laboratory.mendAll() }
        guard back != nil else { continue }
        _ = try wait(upTo: 20) { try self.way().count == station }
        try pause(2)
      }
    } catch {
      _ = stream.record()
      throw error
    }
    run.streams = [("\(laboratory.authority.name) > \(laboratory.nodes[station].name)", stream.record())]
    return run
  }
}
