// `make demo`: what lifeline is for, shown in a minute and a half. One authority and eight components in a mesh without a
// single address on any Ethernet interface; every step is checked, and a step that fails makes the demo fail.

import Foundation
import LabKit

final class Demo {
  private let laboratory: Laboratory
  private let begun = now()
  private var results: [(what: String, how: String, good: Bool)] = []
  private var addresses: [String: (four: String, six: String)] = [:]
  private var generator = SplitMix64(state: 0x1f)
  private let page = "<!doctype html><title>cm8</title><p>This page came over the management channel.</p>\n"

  init(_ options: Options) throws {
    var settings = LaboratoryOptions()
    settings.linkStyle = .wires
    laboratory = try Laboratory(.mesh, binary: options.binary, options: settings)
  }

  private var authority: LabNode { laboratory.authority }
  /// The component farthest from the authority.
  private var farthest: LabNode { laboratory.nodes[8] }
  private var seconds: String { String(format: "%5.1f s", now() - begun) }

  func run() throws -> Int32 {
    var failure: (any Error)?
    do {
      try show()
    } catch {
      failure = error
    }
    // Close first, judge then: nothing may be left whatever went wrong.
    let left = laboratory.close()
    if let failure {
      if failure as? LabError == .interrupted { throw failure }
      note("the demo stopped", "\(failure)", good: false)
    }
    note(
      "nothing is left behind", left.isEmpty ? "no namespace, process or file" : left.joined(separator: ", "),
      good: left.isEmpty)
    note("within 90 seconds", String(format: "%.0f s", now() - begun), good: now() - begun < 90)
    print("\nsummary")
    for result in results { print("  \(result.good ? "ok    " : "FAILED") \(padded(result.what, 44)) \(result.how)") }
    return results.allSatisfy(\.good) ? 0 : 1
  }

  private func heading(_ text: String) { print("\n[\(seconds)] \(text)") }

  private func note(_ what: String, _ how: String, good: Bool = true) {
    results.append((what, how, good))
    if !good { print("  FAILED: \(what): \(how)") }
  }

  private func show() throws {
    heading("nine boxes, fourteen wires, no address on any Ethernet interface")
    try showNoAddresses()
    heading("provisioning with a USB key (a folder here)")
    try laboratory.provisionAll { print("  \($0)") }
    heading("starting: lifeline ma on one box, lifeline cm on eight")
    try laboratory.startAll()
    let started = now()
    let known = try laboratory.waitUntilAuthenticated(timeout: 20)
    for (name, entry) in known {
      guard let four = entry.ipv4, let six = entry.ipv6 else {
        throw LabError.expectation("\(name) has no addresses: \(entry)")
      }
      addresses[name] = (four, six)
    }
    note("eight components authenticated", String(format: "%.1f s after the last start", now() - started))
    heading("the map, as the authority knows it (ctl nodes, ctl links)")
    try showMap(known)
    try pingEveryone("ping, IPv4 and IPv6")
    let server = try startServers()
    try copyAndFetch(server, what: "")
    try ruin()
    try pingEveryone("ping after the ruin")
    try copyAndFetch(server, what: " after the ruin")
    try cutLink()
    try pingEveryone("ping after the cut")
  }

  private func showNoAddresses() throws {
    var count = 0
    for node in laboratory.nodes {
      for interface in try node.ethernetInterfaces() {
        let addresses = try node.run(["ip", "-o", "address", "show", "dev", interface]).output
        guard addresses.isEmpty else {
          throw LabError.expectation("\(node.name) \(interface) has an address: \(addresses)")
        }
        count += 1
      }
    }
    note("no address on any Ethernet interface", "\(count) interfaces, IPv6 link-local off too")
  }

  private func showMap(_ known: [String: NodeEntry]) throws {
    var links: Set<LinkEntry> = []
    let wanted = laboratory.topology.links.count
    _ = try wait(upTo: 5, every: 0.2) {
      links = try authority.knownLinks()
      return links.count >= wanted
    }
    let rows =
      [(name: authority.name, hops: 0)]
      + laboratory.components.map { (name: $0.name, hops: known[$0.name]?.hops ?? 0) }
    print(MapDrawing.draw(nodes: rows, links: links).split(separator: "\n").map { "    \($0)" }.joined(separator: "\n"))
    note("the map is complete", "\(links.count) of \(wanted) links", good: links.count == wanted)
  }

  private func pingEveryone(_ what: String) throws {
    heading("\(what): the authority to every component, `ping` over mm0")
    var lost: [String] = []
    var trips: [Double] = []
    for node in laboratory.components {
      guard let address = addresses[node.name] else { continue }
      let four = try authority.ping(address.four, count: 2, interval: 0.05)
      let six = try authority.ping(address.six, count: 2, interval: 0.05)
      if !four.isComplete || !six.isComplete { lost.append(node.name) }
      trips += four.roundTrips + six.roundTrips
      print(
        "  \(padded(node.name, 5)) \(padded(address.four, 15)) \(four.received)/\(four.sent) \(format(four.median)) ms   "
          + "\(padded(address.six, 28)) \(six.received)/\(six.sent) \(format(six.median)) ms")
    }
    note(
      what, lost.isEmpty ? "8 components, median \(format(median(trips))) ms" : "lost: \(lost.joined(separator: " "))",
      good: lost.isEmpty)
  }

  private func format(_ milliseconds: Double) -> String { String(format: "%.2f", milliseconds) }

  /// A secure shell server and a web server on the farthest component.
  private func startServers() throws -> SecureCopyServer {
    guard let address = addresses[farthest.name] else { throw LabError.expectation("no address of \(farthest.name)") }
    let site = farthest.directory + "/site"
    try FileManager.default.createDirectory(atPath: site, withIntermediateDirectories: true)
    try page.write(toFile: site + "/index.html", atomically: true, encoding: .utf8)
    if let python = programPath("python3"),
      (try? LabKit.run([python, "-c", "import http.server"], tolerant: true))?.succeeded == true
    {
      try laboratory.startBackground(
        [python, "-m", "http.server", "--bind", "::", "--directory", site, "80"], in: farthest.namespace, name: "web")
    } else {
      let myself = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      try laboratory.startBackground(
        [myself, "serve-page", farthest.namespace, "--page", page], in: farthest.namespace, name: "web")
    }
    let server = try SecureCopyServer(on: farthest, address: address.four, in: laboratory)
    _ = try wait(upTo: 5) {
      try farthest.run(["ss", "-Hltn", "sport", "=", ":80"], tolerant: true).output.contains(":80")
    }
    return server
  }

  private func copyAndFetch(_ server: SecureCopyServer, what: String) throws {
    guard let address = addresses[farthest.name] else { return }
    heading("a file of 8 MiB by scp, a page by HTTP: \(authority.name) to \(farthest.name)\(what)")
    let file = try laboratory.makeRandomFile("file\(what.isEmpty ? 1 : 2)", mebibytes: 8)
    let copy = farthest.directory + "/copy"
    let took = try server.copy(file, to: address.four, as: copy, from: authority)
    let intact = try filesAreEqual(file, copy)
    print(String(format: "  scp -O: 8 MiB in %.2f s, %@", took, intact ? "identical" : "DAMAGED"))
    note("scp\(what)", String(format: "8 MiB in %.2f s", took), good: intact)
    for url in ["http://\(address.four)/", "http://[\(address.six)]/"] {
      let got = try authority.run(["curl", "-sS", "-g", "--noproxy", "*", "--max-time", "5", url], tolerant: true)
      print("  curl \(url): \(got.succeeded ? "\(got.output.utf8.count) bytes" : got.errorOutput)")
      note(
        "page over \(url.contains("[") ? "IPv6" : "IPv4")\(what)", "\(got.output.utf8.count) bytes",
        good: got.output == page)
    }
  }

  private func ruin() throws {
    heading(
      "ruining the data plane of all nine boxes: random addresses, drop filters on every Ethernet interface, all routes flushed"
    )
    for node in laboratory.nodes {
      try node.randomizeAddresses(using: &generator)
      try node.filterEthernet()
      try node.flushRoutes()
    }
    // The management prefix's route in `main` went with the others; the one that counts is in the channel's own table, which
    // its rule asks first.
    let prober = try Prober(in: authority.namespace)
    let wanted = addresses.values.flatMap { [$0.four, $0.six] }.compactMap { IPAddress($0) }
    let ruined = now()
    let answered = try prober.probe(wanted, timeout: 5)
    let slowest = answered.values.max() ?? .nan
    note(
      "the channel survives the ruin",
      answered.count == wanted.count
        ? String(format: "all 16 addresses answer %.1f s after it", slowest)
        : "\(answered.count) of \(wanted.count) addresses answer after \(String(format: "%.1f", now() - ruined)) s",
      good: answered.count == wanted.count)
  }

  /// Cuts the busiest link of a running stream, silently: both ends keep their carrier.
  private func cutLink() throws {
    guard let text = addresses[farthest.name]?.four, let address = IPAddress(text) else { return }
    heading(
      "a stream of 1,000 datagrams a second, \(authority.name) to \(farthest.name); then its wire is cut, with carrier left up"
    )
    let stream = try GapStream(from: authority.namespace, to: address, in: farthest.namespace, size: 400)
    let result: GapResult
    do {
      let busiest = try laboratory.busiestLinks(during: 1)[0]
      let ends = laboratory.linkEnds[busiest]
      let name = "\(laboratory.nodes[ends.a.node].name) - \(laboratory.nodes[ends.b.node].name)"
      print("  cutting \(name), which carries it")
      try laboratory.cutSilently(busiest)
      try pause(4)
      result = stream.finish()
      print(
        String(
          format: "  longest gap %.0f ms; %d of %d datagrams arrived", result.longestGap, result.received, result.sent))
      note(
        "repair of \(name)", String(format: "longest gap %.0f ms", result.longestGap),
        good: result.endedAlive && result.longestGap < 1000 && result.received > 0)
    } catch {
      _ = stream.finish()
      throw error
    }
  }
}
