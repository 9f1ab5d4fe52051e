// What a component tells every authority about itself: its adjacencies and its counters (docs/PROTOCOL.md section 8).
// The authority has it from the component's own session, so that nobody can speak for another; what is said about a
// link counts only when its far end says the same.

import Core
import Wire

public struct LinkStateAdvertisement: Sendable, Equatable {
  /// One end of one link, as the component at that end sees it.
  public struct Adjacency: Sendable, Equatable {
    /// The component's own number for it, 1 … 65535, unique in its LSA.
    public var number: UInt16
    public var neighbour: ComponentID
    /// The neighbour's number for the same link; 0 while it is not known, and then the link never counts.
    public var neighbourNumber: UInt16
    /// The largest lifeline frame, bytes.
    public var frameSize: UInt16
    /// 1 … 65535; 0 is taken as 1.
    public var cost: UInt16
    /// Adjacencies of this component that share it fail together; 0 when it is alone.
    public var riskGroup: UInt32
    /// Microseconds.
    public var roundTrip: UInt32
    /// Low half of the number of frames missed.
    public var losses: UInt32
    public var label: PortLabel

    public init(
      number: UInt16, neighbour: ComponentID, neighbourNumber: UInt16, frameSize: UInt16, cost: UInt16,
      riskGroup: UInt32 = 0, roundTrip: UInt32 = 0, losses: UInt32 = 0, label: PortLabel = PortLabel()
    ) {
      self.number = number
      self.neighbour = neighbour
      self.neighbourNumber = neighbourNumber
      self.frameSize = frameSize
      self.cost = cost
      self.riskGroup = riskGroup
      self.roundTrip = roundTrip
      self.losses = losses
      self.label = label
    }

    /// Bytes on the wire without the label.
    static let fixedSize = 37
  }

  /// Low halves of the component's frame counters, in the order of the wire.
  public struct Counters: Sendable, Equatable {
    public var framesIn: UInt32 = 0
    public var framesOut: UInt32 = 0
    public var relayed: UInt32 = 0
    public var delivered: UInt32 = 0
    public var refusedLinkTag: UInt32 = 0
    public var refusedMAC: UInt32 = 0
    public var refusedReplay: UInt32 = 0
    public var dropped: UInt32 = 0

    public init() {}

    static let size = 32
  }

  /// The component's boot count.
  public var boot: UInt32
  /// Within this boot, rising.
  public var version: UInt32
  /// At most 255 travel.
  public var adjacencies: [Adjacency]
  public var counters: Counters

  public init(boot: UInt32, version: UInt32, adjacencies: [Adjacency], counters: Counters = Counters()) {
    self.boot = boot
    self.version = version
    self.adjacencies = adjacencies
    self.counters = counters
  }

  public static let adjacencyLimit = 255
  /// 9 + 255 × (37 + 15) + 32 = 13,301 bytes.
  public static let longest =
    9 + adjacencyLimit * (Adjacency.fixedSize + PortLabel.longest) + Counters.size

  /// Exactly one LSA: bytes left over, an adjacency number that is 0 or there twice, and a label that is too long or
  /// not printable ASCII are refused.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    boot = try reader.u32()
    version = try reader.u32()
    let count = Int(try reader.u8())
    guard reader.remaining >= count * Adjacency.fixedSize + Counters.size else {
      throw .truncated(neededBytes: count * Adjacency.fixedSize + Counters.size, haveBytes: reader.remaining)
    }
    adjacencies = []
    adjacencies.reserveCapacity(count)
    var numbers: [UInt16] = []
    numbers.reserveCapacity(count)
    for _ in 0..<count {
      let number = try reader.u16()
      guard number != 0 else { throw .invalid(field: StaticFieldName("number")) }
      numbers.append(number)
      let neighbour = try reader.componentID()
      let neighbourNumber = try reader.u16()
      let frameSize = try reader.u16()
      let cost = try reader.u16()
      let riskGroup = try reader.u32()
      let roundTrip = try reader.u32()
      let losses = try reader.u32()
      let length = Int(try reader.u8())
      guard length <= PortLabel.longest else { throw .invalid(field: StaticFieldName("label length")) }
      guard let label = PortLabel(exactly: try reader.array(length)) else {
        throw .invalid(field: StaticFieldName("label"))
      }
      adjacencies.append(
        Adjacency(
          number: number, neighbour: neighbour, neighbourNumber: neighbourNumber, frameSize: frameSize, cost: cost,
          riskGroup: riskGroup, roundTrip: roundTrip, losses: losses, label: label))
    }
    numbers.sort()
    for i in numbers.indices.dropFirst() where numbers[i] == numbers[i - 1] {
      throw .invalid(field: StaticFieldName("number"))
    }
    counters = Counters()
    counters.framesIn = try reader.u32()
    counters.framesOut = try reader.u32()
    counters.relayed = try reader.u32()
    counters.delivered = try reader.u32()
    counters.refusedLinkTag = try reader.u32()
    counters.refusedMAC = try reader.u32()
    counters.refusedReplay = try reader.u32()
    counters.dropped = try reader.u32()
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("length")) }
  }

  /// Bytes on the wire.
  public var encodedSize: Int {
    var size = 9 + Counters.size
    for adjacency in adjacencies.prefix(LinkStateAdvertisement.adjacencyLimit) {
      size += Adjacency.fixedSize + adjacency.label.count
    }
    return size
  }

  /// Of more than 255 adjacencies, the first 255.
  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: encodedSize)
    let sent = adjacencies.prefix(LinkStateAdvertisement.adjacencyLimit)
    writer.u32(boot)
    writer.u32(version)
    writer.u8(UInt8(truncatingIfNeeded: sent.count))
    for adjacency in sent {
      writer.u16(adjacency.number)
      writer.componentID(adjacency.neighbour)
      writer.u16(adjacency.neighbourNumber)
      writer.u16(adjacency.frameSize)
      writer.u16(adjacency.cost)
      writer.u32(adjacency.riskGroup)
      writer.u32(adjacency.roundTrip)
      writer.u32(adjacency.losses)
      writer.u8(UInt8(truncatingIfNeeded: adjacency.label.count))
      writer.array(adjacency.label.bytes)
    }
    writer.u32(counters.framesIn)
    writer.u32(counters.framesOut)
    writer.u32(counters.relayed)
    writer.u32(counters.delivered)
    writer.u32(counters.refusedLinkTag)
    writer.u32(counters.refusedMAC)
    writer.u32(counters.refusedReplay)
    writer.u32(counters.dropped)
    return writer.bytes
  }
}
