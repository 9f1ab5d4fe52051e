// How an MA finds out where frames of a route stop (docs/PROTOCOL.md §5, "Search"): it asks the hops which of them came.

import Core

/// What a hop says of one frame of a route.
public enum Passage: UInt8, Sendable {
  /// It was not accepted here, or the route is unknown here.
  case notSeen = 0
  /// It came and was authentic.
  case seen = 1
  /// So many later ones came that the hop does not know any more.
  case forgotten = 2
}

/// TRACE, MA to component: which of these frames of R came?
public struct TraceRequest: Equatable, Sendable {
  /// Counters asked for at once.
  public static let limit = 8

  public var route: UInt32
  /// 1 … 8, as they stand in the frames' onion headers.
  public var counters: [UInt32]

  public init(route: UInt32, counters: [UInt32]) {
    self.route = route
    self.counters = counters
  }

  /// `bytes` without the type byte.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    route = try reader.u32()
    let count = Int(try reader.u8())
    guard count >= 1, count <= TraceRequest.limit else { throw .invalid(field: StaticFieldName("trace count")) }
    counters = []
    for _ in 0..<count { counters.append(try reader.u32()) }
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("trace length")) }
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 6 + 4 * counters.count)
    writer.u8(ControlType.trace.rawValue)
    writer.u32(route)
    writer.u8(UInt8(truncatingIfNeeded: min(counters.count, TraceRequest.limit)))
    for counter in counters.prefix(TraceRequest.limit) { writer.u32(counter) }
    return writer.bytes
  }
}

/// TRACED, component to MA: the answer, in the order of the question.
public struct TraceAnswer: Equatable, Sendable {
  public var route: UInt32
  /// 1 … 8.
  public var passages: [Passage]

  public init(route: UInt32, passages: [Passage]) {
    self.route = route
    self.passages = passages
  }

  /// `bytes` without the type byte.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    route = try reader.u32()
    guard reader.remaining >= 1, reader.remaining <= TraceRequest.limit else {
      throw .invalid(field: StaticFieldName("traced length"))
    }
    passages = []
    while reader.remaining > 0 {
      guard let passage = Passage(rawValue: try reader.u8()) else { throw .invalid(field: StaticFieldName("passage")) }
      passages.append(passage)
    }
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 5 + passages.count)
    writer.u8(ControlType.traced.rawValue)
    writer.u32(route)
    for passage in passages.prefix(TraceRequest.limit) { writer.u8(passage.rawValue) }
    return writer.bytes
  }
}

/// SUSPECT, component to MA: frames of full size do not get through by this way back.
public struct SuspectNotice: Equatable, Sendable {
  public var route: UInt32

  public init(route: UInt32) { self.route = route }

  /// `bytes` without the type byte.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    route = try reader.u32()
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("suspect length")) }
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 5)
    writer.u8(ControlType.suspect.rawValue)
    writer.u32(route)
    return writer.bytes
  }
}
