// A network of kernel namespaces, one a node, that lives as long as this object and leaves nothing behind.
//
// Every namespace is called `ll<pid><letter>-<node>`, everything on disk is under one folder whose name holds the same
// tag. So close() finds all there is to undo even when building stopped half-way, and a later run can tell what a killed
// one left (Leftovers.swift).

import CLab
import Foundation

/// How the nodes' ports are joined.
public enum LinkStyle: Sendable {
  /// A veth pair between two nodes: fastest; a cut takes the carrier away.
  case direct
  /// Through a bridge in a namespace of its own, the "wire": a cut can also be silent, and one-way.
  case wires
}

public struct LaboratoryOptions: Sendable {
  public var linkStyle = LinkStyle.direct
  /// Names of nodes: the authority's, and the stem of the components' ("cm" makes cm1, cm2, ...).
  public var authorityName = "ma"
  public var componentStem = "cm"
  /// The nodes that are MAs; node 0 is the first, and founds the network.
  public var authorities = [0]
  public var domain = "lab.example"
  /// Management prefix; nil lets `provision network` draw one.
  public var prefix: String? = "10.77.0.0/16"
  public var logLevel = "info"
  /// Where the laboratory's folder is made.
  public var directory = "/tmp"
  public init() {}
}

/// One end of a link.
public struct LinkEnd: Sendable, Equatable {
  public var node: Int
  /// The interface in the node's namespace: eth0, eth1, ... in the order of the topology's links.
  public var interface: String
}

public final class Laboratory {
  public let topology: Topology
  public let options: LaboratoryOptions
  /// The shipped binary, absolute.
  public let binary: String
  /// Unique to this laboratory on this machine.
  public let tag: String
  public let directory: String
  public private(set) var nodes: [LabNode] = []
  /// The two ends of each link, in the topology's order.
  public private(set) var linkEnds: [(a: LinkEnd, b: LinkEnd)] = []
  /// Extra processes (servers, streams) to be stopped with the rest.
  public private(set) var background: [BackgroundProcess] = []
  /// Namespaces made beside the nodes' and the wires'.
  private var extraNamespaces: [String] = []
  private var isClosed = false
  /// The wires' sets of ports are made (Wires.swift).
  var wiresCanLose = false

  nonisolated(unsafe) private static var made = 0

  /// Builds namespaces and links; no node runs yet. On failure all that was made is removed.
  public init(_ topology: Topology, binary: String, options: LaboratoryOptions = .init()) throws {
    guard geteuid() == 0 else { throw LabError.expectation("network namespaces need root: nothing was started") }
    guard access(binary, X_OK) == 0 else { throw LabError.expectation("\(binary) is not there: run make first") }
    self.topology = topology
    self.options = options
    self.binary = binary.hasPrefix("/") ? binary : FileManager.default.currentDirectoryPath + "/" + binary
    let letters = Array("abcdefghijklmnopqrstuvwxyz")
    let number = Self.made
    Self.made += 1
    tag = "ll\(getpid())\(letters[number % 26])\(number >= 26 ? String(letters[number / 26 % 26]) : "")"
    directory = "\(options.directory)/lifeline-lab-\(tag)"
    do {
      try Leftovers.removeDead()
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
      chmod(directory, 0o700)
      try makeNodes()
      try makeLinks()
    } catch {
      close()
      throw error
    }
  }

  deinit { close() }

  // MARK: Building

  /// The namespace that holds the wires.
  public var wireNamespace: String { "\(tag)-wires" }

  private func makeNodes() throws {
    for index in 0..<topology.nodeCount {
      let place = options.authorities.firstIndex(of: index)
      let name =
        place.map { options.authorityName + ($0 == 0 ? "" : "\($0 + 1)") } ?? "\(options.componentStem)\(index)"
      nodes.append(LabNode(index: index, name: name, laboratory: self))
      try FileManager.default.createDirectory(atPath: nodes[index].directory, withIntermediateDirectories: false)
    }
    var namespaces = nodes.map(\.namespace)
    if options.linkStyle == .wires { namespaces.append(wireNamespace) }
    try run(["ip", "-batch", "-"], input: namespaces.map { "netns add \($0)\n" }.joined())
  }

  private func makeLinks() throws {
    var portCounts = [Int](repeating: 0, count: topology.nodeCount)
    var setup = [[String]](repeating: ["link set lo up"], count: topology.nodeCount)
    var root: [String] = []
    var wires: [String] = []
    func end(_ node: Int, mtu: Int) -> LinkEnd {
      let interface = "eth\(portCounts[node])"
      portCounts[node] += 1
      // No address at all, the IPv6 link-local one neither.
      setup[node].append("link set \(interface) addrgenmode none up")
      return LinkEnd(node: node, interface: interface)
    }
    for (number, link) in topology.links.enumerated() {
      let a = end(link.a, mtu: link.mtu)
      let b = end(link.b, mtu: link.mtu)
      linkEnds.append((a, b))
      let (nodeA, nodeB) = (nodes[link.a].namespace, nodes[link.b].namespace)
      switch options.linkStyle {
      case .direct:
        root.append(
          "link add \(a.interface) netns \(nodeA) mtu \(link.mtu) type veth "
            + "peer name \(b.interface) netns \(nodeB) mtu \(link.mtu)")
      case .wires:
        let (portA, portB, bridge) = wire(number)
        // The kernel tells at once of carrier lost on an interface whose index differs from its peer's; of the others' it
        // tells once a second, for all namespaces together, in which boxes are to be alone.
        root.append(
          "link add \(a.interface) netns \(nodeA) mtu \(link.mtu) type veth "
            + "peer name \(portA) index \(10_000 + 2 * number) netns \(wireNamespace) mtu \(link.mtu)")
        root.append(
          "link add \(b.interface) netns \(nodeB) mtu \(link.mtu) type veth "
            + "peer name \(portB) index \(10_001 + 2 * number) netns \(wireNamespace) mtu \(link.mtu)")
        // A wire forwards what a bridge keeps to itself (group_fwd_mask: 01-80-C2-00-00-0E) and speaks no protocol.
        wires += [
          "link add \(bridge) type bridge stp_state 0 mcast_snooping 0 group_fwd_mask 0x4000 forward_delay 0",
          "link set \(bridge) addrgenmode none mtu \(link.mtu) up",
          "link set \(portA) group \(wireGroup(number)) master \(bridge) addrgenmode none up",
          "link set \(portB) group \(wireGroup(number)) master \(bridge) addrgenmode none up",
        ]
      }
    }
    try run(["ip", "-batch", "-"], input: root.joined(separator: "\n") + "\n")
    if !wires.isEmpty {
      try run(["ip", "-n", wireNamespace, "-batch", "-"], input: wires.joined(separator: "\n") + "\n")
    }
    for (node, lines) in zip(nodes, setup) {
      try run(["ip", "-n", node.namespace, "-batch", "-"], input: lines.joined(separator: "\n") + "\n")
    }
  }

  /// The interfaces of a wire: the bridge's ports toward the link's two ends, and the bridge.
  func wire(_ link: Int) -> (portA: String, portB: String, bridge: String) { ("w\(link)a", "w\(link)b", "w\(link)") }

  /// One more station on a wire (`LinkStyle.wires`), which becomes a hub of three: a namespace with eth0 on the link's
  /// bridge. Removed with the rest.
  public func addTap(_ name: String, on link: Int) throws -> String {
    let namespace = "\(tag)-\(name)"
    let (port, bridge) = ("w\(link)t", wire(link).bridge)
    extraNamespaces.append(namespace)
    try run(["ip", "netns", "add", namespace])
    try run([
      "ip", "link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", port, "netns", wireNamespace,
    ])
    try run(["ip", "-n", wireNamespace, "link", "set", port, "master", bridge, "addrgenmode", "none", "up"])
    try run(["ip", "-n", namespace, "link", "set", "eth0", "addrgenmode", "none", "up"])
    return namespace
  }

  /// One more namespace, joined to a node by a veth pair: a host behind it. Removed with the rest.
  public func addHost(_ name: String, behind node: LabNode, interface: String, peer: String) throws -> String {
    let namespace = "\(tag)-\(name)"
    extraNamespaces.append(namespace)
    try run(["ip", "netns", "add", namespace])
    try run([
      "ip", "link", "add", interface, "netns", namespace, "type", "veth", "peer", "name", peer, "netns", node.namespace,
    ])
    return namespace
  }

  /// A program in a node's namespace that is stopped with the laboratory.
  @discardableResult
  public func startBackground(_ words: [String], in namespace: String, name: String) throws -> BackgroundProcess {
    let process = try BackgroundProcess(words, in: namespace, log: "\(directory)/\(name).log")
    background.append(process)
    return process
  }

  // MARK: Nodes

  public var authority: LabNode { nodes[0] }
  public var components: [LabNode] { nodes.filter { $0.role == .component } }

  /// Starts every node in the given order, `interval` seconds apart.
  public func startAll(_ order: StartOrder = .ascending, interval: Double = 0) throws {
    for (position, index) in order.nodes(of: nodes.count).enumerated() {
      if position > 0 && interval > 0 { try pause(interval) }
      try nodes[index].start()
    }
  }

  // MARK: The end

  /// Stops every process, removes every namespace and file. May be called twice.
  ///
  /// - Returns: what could not be removed, in words; empty when all is gone.
  @discardableResult
  public func close() -> [String] {
    guard !isClosed else { return [] }
    isClosed = true
    for process in background { process.stop(patience: 0.5) }
    let running = nodes.filter(\.isRunning)
    for node in running { node.send(SIGTERM) }
    for node in running { node.stop(patience: 3) }
    return Leftovers.remove(tag: tag, directory: directory)
  }
}
