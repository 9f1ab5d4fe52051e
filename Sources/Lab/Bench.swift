// `lab bench`: the bearer beside fastd, the fastest userland tunnel of its kind, in one sitting: the networks are built one
// after the other, in turn, and each figure is the median of its runs. Compare ratios, not absolute figures of two days: the
// ratios are what is judged (BearerFigures.judge). Then what failures cost, beside systems that repair routes (Repair.swift).

import CLab
import Foundation
import LabKit

func bench(_ options: Options) throws -> Int32 {
  let parts = options.all("part")
  var result: Int32 = 0
  if parts.isEmpty || parts.contains("bearer") { result = max(result, try Bench(options).run()) }
  if parts.isEmpty || parts.contains("repair") { result = max(result, try RepairSitting(bench: options).run()) }
  return result
}

struct Bench {
  private let binary: String
  private let runs: Int
  private let seconds: Double
  private let hops: [Int]
  /// Frames of the limit: bytes of a full one, and of one with a small datagram.
  private static let fullFrame = 1450
  private static let smallFrame = 100
  /// `lifeline` or `fastd`: measure that one alone.
  private let only: String?

  init(_ options: Options) throws {
    binary = options.binary
    runs = max(1, Int(try options.number("runs", default: 5)))
    seconds = max(1, try options.number("seconds", default: 4))
    hops = try options.value("hops").map { [try number($0)] } ?? [1, 3]
    only = options.value("only")
    guard programPath("iperf3") != nil else {
      throw LabError.expectation("iperf3 is not installed: run board/setup bench")
    }
  }

  func run() throws -> Int32 {
    let hasPeer = programPath("fastd") != nil && only != "lifeline"
    if !hasPeer && only == nil { print("fastd is not installed: lifeline alone") }
    var missed = 0
    for hops in hops {
      var ours: [BearerFigures] = []
      var peers: [BearerFigures] = []
      var limits: [BearerFigures] = []
      for run in 1...runs {
        if only != "fastd" {
          ours.append(try measureLifeline(hops: hops))
          show("lifeline", hops, run, ours[run - 1])
          if hops == 1 { limits.append(try measureLimit()) }
        }
        guard hasPeer else { continue }
        peers.append(try measureFastd(hops: hops))
        show("fastd", hops, run, peers[run - 1])
      }
      print("\n\(hops) hop\(hops == 1 ? "" : "s"), medians of \(runs)")
      report("TCP, one stream, Mbit/s", ours, peers, \.tcpMegabits)
      report("processor s a Gbit", ours, peers, \.processorSecondsPerGigabit)
      report("64-byte UDP, 1000/s", ours, peers, \.smallKilopackets)
      report("round trip, ms", ours, peers, \.roundTrip)
      if !limits.isEmpty {
        report("TCP, one stream, Mbit/s", ours, limits, \.tcpMegabits, of: "limit")
        report("64-byte UDP, 1000/s", ours, limits, \.smallKilopackets, of: "limit")
      }
      if !ours.isEmpty && !peers.isEmpty {
        for verdict in BearerFigures.judge(hops: hops, BearerFigures(medianOf: ours), BearerFigures(medianOf: peers)) {
          print("  \(verdict.text)")
          if !verdict.isMet { missed += 1 }
        }
      }
      print("")
    }
    if missed > 0 { print("\(missed) of the requirements are MISSED") }
    return missed == 0 ? 0 : 1
  }

  private func show(_ name: String, _ hops: Int, _ run: Int, _ figures: BearerFigures) {
    print(
      String(
        format: "%@ %d hops, run %d: TCP %.0f Mbit/s, %.3f s/Gbit, UDP %.1f k/s, RTT %.3f ms", padded(name, 8), hops,
        run,
        figures.tcpMegabits, figures.processorSecondsPerGigabit, figures.smallKilopackets, figures.roundTrip))
  }

  private func report(
    _ name: String, _ ours: [BearerFigures], _ peers: [BearerFigures], _ value: (BearerFigures) -> Double,
    of peer: String = "fastd"
  ) {
    let mine = median(ours.map(value))
    guard !peers.isEmpty else { return print(String(format: "  %@ %10.3f", padded(name, 26), mine)) }
    let theirs = median(peers.map(value))
    print(String(format: "  %@ %10.3f   %@ %10.3f   ratio %.2f", padded(name, 26), mine, peer, theirs, mine / theirs))
  }

  // MARK: The two networks

  private func measureLifeline(hops: Int) throws -> BearerFigures {
    var settings = LaboratoryOptions()
    settings.logLevel = "warning"
    let laboratory = try Laboratory(.chain(hops + 1), binary: binary, options: settings)
    defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
    try laboratory.provisionAll()
    var trial = try Trial(laboratory)
    try trial.start(.ascending)
    let far = laboratory.nodes[hops]
    guard let address = trial.addresses[far.name]?.first else { throw LabError.expectation("no address") }
    return try measure(
      laboratory, from: laboratory.authority.namespace, to: address.text, in: far.namespace,
      processes: laboratory.nodes.compactMap { $0.process?.identifier })
  }

  /// fastd as its users would: one tunnel a link, salsa2012+umac, static routes from end to end.
  private func measureFastd(hops: Int) throws -> BearerFigures {
    let laboratory = try Laboratory(.chain(hops + 1), binary: binary)
    defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
    let keys = try laboratory.nodes.map { _ in try FastdKey() }
    var processes: [Int32] = []
    for node in laboratory.nodes {
      try node.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    }
    // All addresses first: a handshake that waits for ARP comes late and leaves two sessions that do not match for 20 s.
    for (link, ends) in laboratory.linkEnds.enumerated() {
      for (end, own) in [(ends.a, 1), (ends.b, 2)] {
        try laboratory.nodes[end.node].run(["ip", "address", "add", "10.90.\(link).\(own)/30", "dev", end.interface])
      }
    }
    for (link, ends) in laboratory.linkEnds.enumerated() {
      for (end, peer, own, other) in [(ends.a, ends.b, 1, 2), (ends.b, ends.a, 2, 1)] {
        let node = laboratory.nodes[end.node]
        let tunnel = "f\(peer.node)"
        let file = "\(node.directory)/fastd\(link).conf"
        try """
        mode tun; interface "\(tunnel)"; method "salsa2012+umac"; bind 10.90.\(link).\(own):\(5000 + link);
        secret "\(keys[end.node].secret)"; mtu 1420;
        peer "p" { key "\(keys[peer.node].public)"; remote 10.90.\(link).\(other):\(5000 + link); }

        """.write(toFile: file, atomically: true, encoding: .utf8)
        let process = try laboratory.startBackground(
          ["fastd", "--config", file, "--log-level", "error"], in: node.namespace, name: "\(node.name)-fastd\(link)")
        processes.append(process.identifier)
        let appeared = try wait(upTo: 5) {
          try node.run(["ip", "link", "show", "dev", tunnel], tolerant: true).succeeded
        }
        try pause(0.4)
        guard appeared != nil else { throw LabError.expectation("fastd made no interface \(tunnel)") }
        try node.run(["ip", "address", "add", "10.91.\(link).\(own)/30", "dev", tunnel])
        try node.run(["ip", "link", "set", tunnel, "up"])
      }
    }
    for node in 0...hops {
      for link in 0..<hops where node < link || node > link + 1 {
        let via = node < link ? "f\(node + 1)" : "f\(node - 1)"
        try laboratory.nodes[node].run(["ip", "route", "replace", "10.91.\(link).0/30", "dev", via])
      }
    }
    let far = laboratory.nodes[hops]
    let address = "10.91.\(hops - 1).2"
    let up = try wait(upTo: 15) { try laboratory.authority.ping(address).isComplete }
    guard up != nil else {
      let logs = (try? LabKit.run(["sh", "-c", "tail -n 3 \(laboratory.directory)/*-fastd*.log"]).output) ?? ""
      throw LabError.expectation("fastd does not connect \(address)\n\(logs)")
    }
    return try measure(
      laboratory, from: laboratory.authority.namespace, to: address, in: far.namespace, processes: processes)
  }

  /// The limit on one link: batches between two packet sockets, no TUN, no cryptography, frames as long as the bearer's.
  private func measureLimit() throws -> BearerFigures {
    let laboratory = try Laboratory(.chain(2), binary: binary)
    defer { for thing in laboratory.close() { Lab.write("lab: left behind: \(thing)\n") } }
    let (a, b) = laboratory.linkEnds[0]
    func rate(_ bytes: Int) throws -> Double {
      var rate = 0.0
      func network(_ end: LinkEnd) -> String { "/run/netns/\(laboratory.nodes[end.node].namespace)" }
      let result = lab_packet_rate(
        network(a), a.interface, network(b), b.interface, bytes, Int32(seconds * 1000), &rate)
      guard result == 0 else { throw LabError.expectation("packet sockets: \(String(cString: strerror(-result)))") }
      return rate
    }
    var figures = BearerFigures()
    figures.tcpMegabits = try rate(Self.fullFrame) * Double(Self.fullFrame) * 8 / 1e6
    figures.smallKilopackets = try rate(Self.smallFrame) / 1000
    return figures
  }

  // MARK: Measuring

  private func measure(
    _ laboratory: Laboratory, from source: String, to address: String, in destination: String, processes: [Int32]
  ) throws -> BearerFigures {
    var figures = BearerFigures()
    func processorSeconds() -> Double {
      processes.compactMap { ProcessFigures(process: $0)?.processorSeconds }.reduce(0, +)
    }
    let before = processorSeconds()
    let tcp = try stream(laboratory, from: source, to: address, in: destination, ["-t", "\(Int(seconds))"])
    let used = processorSeconds() - before
    figures.tcpMegabits = tcp / 1e6
    figures.processorSecondsPerGigabit = used / (tcp * Double(Int(seconds)) / 1e9)
    let udp = try stream(
      laboratory, from: source, to: address, in: destination,
      ["-t", "\(max(2, Int(seconds) - 1))", "-u", "-b", "0", "-l", "64"])
    figures.smallKilopackets = udp / (64 * 8) / 1000
    figures.roundTrip = try ping(from: source, address, count: 200, interval: 0.005).median
    return figures
  }

  /// Runs iperf3; received payload, bits a second.
  private func stream(
    _ laboratory: Laboratory, from source: String, to address: String, in destination: String, _ options: [String]
  ) throws -> Double {
    let server = try laboratory.startBackground(["iperf3", "-s", "-1"], in: destination, name: "iperf3")
    defer { server.stop(patience: 2) }
    _ = try wait(upTo: 3) {
      try LabKit.run(["ss", "-Hltn", "sport", "=", ":5201"], in: destination, tolerant: true).output.contains(":5201")
    }
    let said = try LabKit.run(
      ["iperf3", "-c", address, "-J"] + options, in: source, timeout: seconds + 20, tolerant: true
    ).output
    guard
      let document = try? JSONSerialization.jsonObject(with: Data(said.utf8)) as? [String: Any],
      let end = document["end"] as? [String: Any],
      let sum = (options.contains("-u") ? end["sum"] : end["sum_received"]) as? [String: Any],
      let rate = sum["bits_per_second"] as? Double
    else { throw LabError.expectation("iperf3 to \(address) failed: \(said.prefix(400))") }
    return options.contains("-u") ? rate * (1 - (sum["lost_percent"] as? Double ?? 0) / 100) : rate
  }
}

private func number(_ text: String) throws -> Int {
  guard let value = Int(text), (1...16).contains(value) else { throw LabError.usage("--hops \(text): 1 to 16") }
  return value
}

private struct FastdKey {
  let secret: String
  let `public`: String

  init() throws {
    let text = try run(["fastd", "--generate-key"]).output
    func field(_ name: String) -> String? {
      text.split(separator: "\n").first { $0.hasPrefix(name) }?.split(separator: " ").last.map(String.init)
    }
    guard let secret = field("Secret:"), let key = field("Public:") else {
      throw LabError.expectation("fastd --generate-key says something unknown: \(text)")
    }
    (self.secret, self.public) = (secret, key)
  }
}
