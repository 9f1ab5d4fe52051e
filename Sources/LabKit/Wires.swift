// What a wire does to the frames it carries. A wire (`LinkStyle.wires`) is a bridge between a link's two ends; what it loses
// is lost silently, both ends keep their carrier. Sets of its ports say what is lost of what comes in there, so that a
// change is one transaction in the kernel, of however many ports.

import Foundation

/// Which way a wire loses frames.
public enum CutDirection: Sendable {
  case both, fromAToB, fromBToA
}

/// What a wire loses.
public enum WireLoss: String, CaseIterable, Sendable {
  case everything
  /// Frames whose payload is above `Laboratory.largeFrame` bytes.
  case largeFrames = "large"
  /// Frames that carry payload (docs/PROTOCOL.md §1, type 4); hellos, handshakes and all else between neighbours pass.
  case payload
}

extension Laboratory {
  /// Bytes after the Ethernet header that pass where large frames are lost.
  public static let largeFrame = 1000

  /// The number of the link between two nodes.
  public func link(between a: Int, _ b: Int) throws -> Int {
    guard let number = topology.links.firstIndex(where: { ($0.a, $0.b) == (a, b) || ($0.a, $0.b) == (b, a) }) else {
      throw LabError.usage("no link joins nodes \(a) and \(b)")
    }
    return number
  }

  /// Loses frames on a link while both ends keep their carrier. Needs wires.
  public func cutSilently(
    _ link: Int, _ direction: CutDirection = .both, losing loss: WireLoss = .everything
  ) throws {
    let (a, b, _) = wire(link)
    switch direction {
    case .both: try lose(loss, from: [a, b])
    case .fromAToB: try lose(loss, from: [a])
    case .fromBToA: try lose(loss, from: [b])
    }
  }

  /// Loses what a node sends, on all of its links.
  public func cutSilently(node: Int, losing loss: WireLoss) throws {
    let ports = linkEnds.enumerated().flatMap { link, ends in
      [(ends.a, wire(link).portA), (ends.b, wire(link).portB)].filter { $0.0.node == node }.map(\.1)
    }
    try lose(loss, from: ports)
  }

  /// Undoes every `cutSilently`.
  public func mendAll() throws {
    guard wiresCanLose else { return }
    try run(
      ["nft", "-f", "-"], in: wireNamespace,
      input: WireLoss.allCases.map { "flush set bridge wires \($0.rawValue)\n" }.joined())
  }

  /// Undoes `cutSilently` of a link.
  public func mend(_ link: Int) throws {
    guard wiresCanLose else { return }
    let (a, b, _) = wire(link)
    // There is no "delete where it is".
    let lines = WireLoss.allCases.map { loss in
      let set = "element bridge wires \(loss.rawValue) { \"\(a)\", \"\(b)\" }"
      return "add \(set)\ndelete \(set)\n"
    }
    try run(["nft", "-f", "-"], in: wireNamespace, input: lines.joined())
  }

  private func lose(_ loss: WireLoss, from ports: [String]) throws {
    try prepareWires()
    let elements = ports.map { "\"\($0)\"" }.joined(separator: ", ")
    try run(
      ["nft", "-f", "-"], in: wireNamespace, input: "add element bridge wires \(loss.rawValue) { \(elements) }\n")
  }

  /// Makes the sets; a trial does it before its first cut, so that the cut itself takes no longer than the others.
  public func prepareWires() throws {
    guard options.linkStyle == .wires else { throw LabError.usage("silent cuts need a laboratory with wires") }
    guard !wiresCanLose else { return }
    let sets = WireLoss.allCases.map { "set \($0.rawValue) { type ifname; }" }
    try run(
      ["nft", "-f", "-"], in: wireNamespace,
      input: """
        table bridge wires {
          \(sets.joined(separator: "\n  "))
          chain forward {
            type filter hook forward priority 0;
            iifname @\(WireLoss.everything.rawValue) drop
            iifname @\(WireLoss.largeFrames.rawValue) meta length > \(Self.largeFrame) drop
            iifname @\(WireLoss.payload.rawValue) ether type 0x88b5 @nh,0,8 & 0xf0 == 0x40 drop
          }
        }

        """)
    wiresCanLose = true
  }

  /// Takes the carrier away at both ends, or gives it back (with direct links, takes end A down, which end B sees as lost
  /// carrier). Of a wire both ports go down in one go: the kernel tells neither end before the other has gone, as a cable
  /// that is cut is dark at both ends.
  public func setCarrier(_ link: Int, up: Bool) throws {
    let word = up ? "up" : "down"
    switch options.linkStyle {
    case .wires: try run(["ip", "-n", wireNamespace, "link", "set", "group", "\(wireGroup(link))", word])
    case .direct:
      let end = linkEnds[link].a
      try run(["ip", "-n", nodes[end.node].namespace, "link", "set", end.interface, word])
    }
  }

  /// The interface group (`ip link … group N`) of a wire's ports: what is told a group is done under one lock.
  func wireGroup(_ link: Int) -> Int { link + 1 }
}
