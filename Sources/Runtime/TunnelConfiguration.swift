// What a node is told of its tunnels: peers to send to, where to listen, and which addresses are the channel's own.

import CSystem
import Core
import Wire

public struct TunnelConfiguration {
  public var peers: [TunnelPeer] = []
  public var listener: TunnelListener?
  var management: [IPPrefix] = []

  public init() {}

  public var isEmpty: Bool { peers.isEmpty && listener == nil }

  /// The network's prefixes: no peer is reached through the channel itself. `address` is 4 or 16 bytes in network order.
  public mutating func exclude(_ address: [UInt8], length: Int) {
    management.append(IPPrefix(address: address, length: length))
  }

  func isExcluded(_ endpoint: InternetEndpoint) -> Bool {
    let bytes = endpoint.addressBytes
    return management.contains { $0.overlaps(IPPrefix(address: bytes, length: bytes.count * 8)) }
  }
}

enum TunnelLimits {
  /// Peers of a listener, at most: 32 places beside those of the configured tunnels.
  static let learned = 32
  /// Of those, peers that have not proved themselves yet. The longest silent one makes room for a newcomer.
  static let unproved = 8
  /// A place is not taken from an unproved peer that was heard so lately, unless it had it for `unprovedAge`.
  static let unprovedPatience = Duration.milliseconds(1500)
  static let unprovedAge = Duration.seconds(10)
  /// An unproved peer, or one whose link is forgotten, is given up when nothing came from it for this long.
  static let silence = Duration.seconds(5)
  /// Places for one member: links to it over several ways, and those it left behind when it began anew.
  static let perMember = 4
  static let newcomersPerSecond: Int64 = 20
  /// Ports and tunnels together: what the neighbour engine has room for. Ports go before newcomers.
  static let ports = 64
  /// How often routes, peers and the sockets are looked at.
  static let tick = Duration.seconds(1)
  /// At the soonest after the last time, when the kernel refused something.
  static let hurry = Duration.milliseconds(100)
  /// A configured peer that moved and is lost is sought where it was configured after this.
  static let homesickness = Duration.seconds(5)
  static let reopenAfter = Duration.seconds(10)
  /// IP and UDP headers, bytes.
  static let headers4 = 28
  static let headers6 = 48
  /// What every path carries, and what is left when the kernel refuses that (RFC 791: 576 bytes).
  static let safeFrame = 1232
  static let smallFrame = 548
}

extension InternetEndpoint {
  /// "192.0.2.1:4500", "[2001:db8::1]:4500".
  @inline(never)
  var text: String {
    let address = IPPrefix(address: addressBytes, length: 0).addressText
    return isIPv6 ? "[\(address)]:\(Int(port))" : "\(address):\(Int(port))"
  }
}

/// A peer's address, and this host's that it knows: a host with several must answer from the one that was spoken to.
struct TunnelAddress: Equatable {
  var remote: InternetEndpoint
  /// Zero: the route chooses.
  var local = Bytes16()
  /// Where a datagram came in.
  var interface: Int32 = 0

  init(_ remote: InternetEndpoint) { self.remote = remote }

  init(_ kernel: cs_peer_address) {
    remote = InternetEndpoint(
      address: TunnelAddress.bytes(kernel.address), isIPv6: kernel.ipv6 != 0, port: kernel.port)
    local = TunnelAddress.bytes(kernel.local)
    interface = kernel.interface
  }

  var forKernel: cs_peer_address {
    var out = cs_peer_address()
    out.ipv6 = remote.isIPv6 ? 1 : 0
    out.address = TunnelAddress.words(remote.address)
    out.port = remote.port
    out.local = TunnelAddress.words(local)
    return out
  }

  private static func bytes(_ words: (UInt64, UInt64)) -> Bytes16 {
    withUnsafeBytes(of: words) { raw in
      guard let p = raw.baseAddress else { return Bytes16() }
      return Bytes16(loadingFrom: p.assumingMemoryBound(to: UInt8.self))
    }
  }

  static func words(_ bytes: Bytes16) -> (UInt64, UInt64) {
    bytes.withBytes {
      let raw = UnsafeRawPointer($0)
      return (
        raw.loadUnaligned(as: UInt64.self), raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
      )
    }
  }
}
