// RETURN ROUTE (docs/PROTOCOL.md §7): an MA's permission to build headers for one way back, and for no other. A component
// holds up to eight, at places that the MA names: the best way first.

import Core
import Crypto
import Wire

public struct ReturnRoute: Equatable {
  public var route: UInt32
  public var size: OnionSize
  /// 0 … 7; what was at this place before is replaced.
  public var place: UInt8
  /// 1 … 8: how many places there are now. Ways at places behind them are dropped.
  public var count: UInt8
  /// One of the two ways that are as disjoint as any two can be.
  public var isPaired: Bool
  /// Largest lifeline frame every link of the way carries, bytes.
  public var frameSize: UInt16
  /// The component's own adjacency that the way begins with.
  public var egress: UInt16
  /// The same as another's when both pass the same nodes, and otherwise nothing that a component could make sense of.
  public var pathTag: UInt32
  /// Exactly N; the tail consists of decoys.
  public var hops: [RouteHop]

  public static let placeLimit = 8

  public init(
    route: UInt32, size: OnionSize, place: UInt8 = 0, count: UInt8 = 1, isPaired: Bool = false, frameSize: UInt16,
    egress: UInt16, pathTag: UInt32, hops: [RouteHop]
  ) {
    self.route = route
    self.size = size
    self.place = place
    self.count = count
    self.isPaired = isPaired
    self.frameSize = frameSize
    self.egress = egress
    self.pathTag = pathTag
    self.hops = hops
  }

  /// `bytes` without the type byte.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    route = try reader.u32()
    let code = try reader.u8()
    guard code <= 3 else { throw .invalid(field: StaticFieldName("return route size code")) }
    size = OnionSize(code: code)
    let places = try reader.u8()
    place = places & 7
    count = (places >> 3 & 7) + 1
    isPaired = places & 0x40 != 0
    guard places & 0x80 == 0, place < count else { throw .invalid(field: StaticFieldName("return route place")) }
    frameSize = try reader.u16()
    egress = try reader.u16()
    pathTag = try reader.u32()
    hops = []
    for _ in 0..<size.entries {
      let entryKey = try reader.bytes32()
      let macKey = try reader.bytes16()
      hops.append(RouteHop(entryKey: entryKey, macKey: macKey, hiddenEgress: try reader.u16()))
    }
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("return route length")) }
  }

  public func encode() -> [UInt8] {
    invariant(hops.count == size.entries, "a way back has N shares")
    invariant(place < count && count <= Self.placeLimit, "a way back has one of the places there are")
    var writer = ByteWriter(reserving: 15 + 50 * hops.count)
    writer.u8(ControlType.returnRoute.rawValue)
    writer.u32(route)
    writer.u8(size.code)
    writer.u8(place | (count - 1) << 3 | (isPaired ? 0x40 : 0))
    writer.u16(frameSize)
    writer.u16(egress)
    writer.u32(pathTag)
    for hop in hops {
      writer.bytes32(hop.entryKey)
      writer.bytes16(hop.macKey)
      writer.u16(hop.hiddenEgress)
    }
    return writer.bytes
  }
}
