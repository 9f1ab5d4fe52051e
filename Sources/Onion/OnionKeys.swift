// How a hop's share in a route follows from the key K_i that it holds in common with the MA (docs/PROTOCOL.md §5).

import Core
import Crypto

/// Egress number that means "this hop is the destination".
public let deliverHere: UInt16 = 0

/// What the builder of a header needs for one hop: 50 bytes on the wire of a RETURN ROUTE.
public struct RouteHop: Equatable {
  /// Opens the hop's entry.
  public var entryKey: Bytes32
  /// Authenticates the header at this hop, and binds the hop's ingress and egress.
  public var macKey: Bytes16
  /// The egress as it stands in the entry: readable to the hop alone.
  public var hiddenEgress: UInt16

  public init(entryKey: Bytes32, macKey: Bytes16, hiddenEgress: UInt16) {
    self.entryKey = entryKey
    self.macKey = macKey
    self.hiddenEgress = hiddenEgress
  }

  /// The share of a hop whose key is known: what an MA computes for each node of a path.
  /// - Parameters:
  ///   - key: K_i of the hop.
  ///   - ingress: the hop's adjacency on which the frame arrives, 1…255.
  ///   - egress: the hop's adjacency on which it leaves, or `deliverHere`.
  public init(key: Bytes32, route: UInt32, ingress: UInt16, egress: UInt16) {
    entryKey = OnionKeys.entry(key, route)
    macKey = OnionKeys.mac(key, route, ingress: ingress, egress: egress)
    hiddenEgress = egress ^ OnionKeys.egressPad(key, route)
  }

  /// A hop that does not exist: hides where a way back ends.
  public init(decoyFrom entropy: inout Entropy) {
    entryKey = entropy.bytes32()
    macKey = entropy.bytes16()
    hiddenEgress = entropy.u16()
  }
}

/// The derivations, without allocation: a hop makes them for frames that nobody has vouched for yet.
enum OnionKeys {
  static func entry(_ key: Bytes32, _ route: UInt32) -> Bytes32 {
    derive(key, "onion entry", route, ports: nil)
  }

  static func egressPad(_ key: Bytes32, _ route: UInt32) -> UInt16 {
    derive(key, "onion egress", route, ports: nil).withBytes { UInt16($0[0]) << 8 | UInt16($0[1]) }
  }

  static func mac(_ key: Bytes32, _ route: UInt32, ingress: UInt16, egress: UInt16) -> Bytes16 {
    let ports = UInt32(ingress) << 16 | UInt32(egress)
    return derive(key, "onion mac", route, ports: ports).withBytes { Bytes16(loadingFrom: $0) }
  }

  /// `deriveKey` with R, and perhaps ingress and egress, for a context.
  private static func derive(_ key: Bytes32, _ label: StaticString, _ route: UInt32, ports: UInt32?) -> Bytes32 {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { text in
      guard let start = text.baseAddress else { return Bytes32() }
      var count = label.utf8CodeUnitCount
      invariant(count <= 16, "the label fits")
      UnsafeMutableRawPointer(start).copyMemory(from: label.utf8Start, byteCount: count)
      store(route, at: start + count)
      count += 4
      if let ports {
        store(ports, at: start + count)
        count += 4
      }
      return blake2b256(UnsafeBufferPointer(start: start, count: count), key: key)
    }
  }
}
