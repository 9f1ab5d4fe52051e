// What an operator says of tunnels, on the command line or in the store: `HOST:PORT[,cost=N]`, comma lists of it, and
// `PORT[,cost=N]` or `ADDRESS:PORT[,cost=N]` for where to listen.

import Core

/// A peer to send to.
public struct TunnelPeer: Sendable, Equatable {
  /// On one node.
  public static let limit = 16

  public var endpoint: InternetEndpoint
  /// 1...10,000, or 0 for the default.
  public var cost: UInt16

  /// A comma list; `cost=N` belongs to the peer before it. At least one and at most 16.
  public static func list(_ text: [UInt8]) throws(TunnelFault) -> [TunnelPeer] {
    var peers: [TunnelPeer] = []
    for part in text.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      if let cost = try TunnelFault.cost(part) {
        guard let last = peers.indices.last else { throw .costAlone }
        if peers[last].cost != 0 { throw .costTwice }
        peers[last].cost = cost
      } else {
        let peer = TunnelPeer(endpoint: try endpoint(part), cost: 0)
        try append(peer, to: &peers)
      }
    }
    return peers
  }

  /// Refuses one too many, and the same once more.
  public static func append(_ peer: TunnelPeer, to peers: inout [TunnelPeer]) throws(TunnelFault) {
    if peers.contains(where: { $0.endpoint == peer.endpoint }) { throw .twice }
    if peers.count == limit { throw .tooMany }
    peers.append(peer)
  }

  private static func endpoint(_ text: ArraySlice<UInt8>) throws(TunnelFault) -> InternetEndpoint {
    let (host, port) = try TunnelFault.parts(text, hostNeeded: true)
    guard let host else { throw .notHostAndPort }
    let endpoint = try TunnelFault.literal(host, port)
    if !endpoint.isUsable { throw .badAddress }
    return endpoint
  }
}

/// Where peers may come from.
public struct TunnelListener: Sendable, Equatable {
  /// Nil: every address of the node, of either family.
  public var address: InternetEndpoint?
  public var port: UInt16
  /// Of the links made here: 1...10,000, or 0 for the default.
  public var cost: UInt16 = 0

  public init(_ text: [UInt8]) throws(TunnelFault) {
    let parts = text.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
    guard let first = parts.first, !first.isEmpty, parts.count <= 2 else { throw .oneListener }
    if try TunnelFault.cost(first) != nil { throw .costAlone }
    let (host, port) = try TunnelFault.parts(first, hostNeeded: false)
    self.port = port
    if let host {
      let endpoint = try TunnelFault.literal(host, port)
      if !endpoint.isUsable { throw .badAddress }
      address = endpoint
    }
    if parts.count == 2 {
      guard let cost = try TunnelFault.cost(parts[1]) else { throw .oneListener }
      self.cost = cost
    }
  }
}

/// Why a text is no tunnel.
public enum TunnelFault: Error, Equatable, Sendable, CustomStringConvertible {
  case notHostAndPort, noHost, badPort, badIPv4, badIPv6, bareIPv6, name, badAddress
  case badCost, costAlone, costTwice, twice, tooMany, oneListener

  public static let highestCost = 10_000

  public var description: String {
    switch self {
    case .notHostAndPort: "wants HOST:PORT"
    case .noHost: "wants HOST:PORT: the host is missing"
    case .badPort: "wants a port number, 1 to 65535, after the host's last colon"
    case .badIPv4: "wants an IPv4 address of four numbers, 0 to 255"
    case .badIPv6: "wants an IPv6 address in the brackets, without a zone"
    case .bareIPv6: "wants an IPv6 address in brackets: [2001:db8::1]:4500"
    case .name: "wants an address, not a name: a tunnel has to work when no name server is reached"
    case .badAddress: "wants one machine's address: not unspecified, multicast, broadcast or link-local"
    case .badCost: "wants cost=N, 1 to \(TunnelFault.highestCost)"
    case .costAlone: "wants cost=N behind the HOST:PORT it is for"
    case .costTwice: "wants one cost=N a tunnel"
    case .twice: "names one peer twice"
    case .tooMany: "names too many: \(TunnelPeer.limit) tunnels at most"
    case .oneListener: "wants PORT or ADDRESS:PORT, once, and cost=N at most"
    }
  }

  /// Nil when it is no cost at all.
  fileprivate static func cost(_ text: ArraySlice<UInt8>) throws(TunnelFault) -> UInt16? {
    let word = "cost="
    if !text.starts(with: word.utf8) { return nil }
    guard let cost = decimal(text.dropFirst(word.utf8.count)), cost > 0, cost <= highestCost else {
      throw .badCost
    }
    return UInt16(truncatingIfNeeded: cost)
  }

  /// The host, nil when there is only a port.
  fileprivate static func parts(
    _ text: ArraySlice<UInt8>, hostNeeded: Bool
  ) throws(TunnelFault) -> (host: ArraySlice<UInt8>?, port: UInt16) {
    let colon = text.lastIndex(of: UInt8(ascii: ":"))
    if colon == nil && hostNeeded { throw .notHostAndPort }
    let digits = colon.map { text[($0 + 1)...] } ?? text
    let host = colon.map { text[..<$0] }
    if let host, host.isEmpty { throw .noHost }
    if let host, host.contains(UInt8(ascii: ":")), host.first != UInt8(ascii: "[") { throw .bareIPv6 }
    guard let port = decimal(digits), port > 0, port <= 65_535 else { throw .badPort }
    return (host, UInt16(truncatingIfNeeded: port))
  }

  fileprivate static func literal(
    _ host: ArraySlice<UInt8>, _ port: UInt16
  ) throws(TunnelFault) -> InternetEndpoint {
    if host.first == UInt8(ascii: "[") {
      guard host.last == UInt8(ascii: "]") else { throw .badIPv6 }
      let text = host.dropFirst().dropLast()
      if let address = ipv4Mapped(text) { return InternetEndpoint(ipv4: address, port: port) }
      guard let address = ipv6Literal(text) else { throw .badIPv6 }
      return InternetEndpoint(address: address, isIPv6: true, port: port)
    }
    guard let address = ipv4(dotted: host) else {
      for byte in host where byte != UInt8(ascii: ".") && !(48...57).contains(byte) { throw .name }
      throw .badIPv4
    }
    return InternetEndpoint(ipv4: address, port: port)
  }
}
