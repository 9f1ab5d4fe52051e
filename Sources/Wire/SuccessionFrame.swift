// How linked neighbours hand descriptors on (LINKED subtypes 8 to 10, docs/PROTOCOL.md §9): the older side asks for the
// epoch after its own, piece by piece; who has just got a new descriptor shows its first piece unasked.

import Core

/// The piece of an epoch's descriptor that begins at this offset is wanted.
public struct SuccessionAsk: Equatable {
  public var epoch: UInt32
  public var offset: UInt16
  /// Which one, where there may be several; zero: the one that counts.
  public var name: ComponentID

  public init(epoch: UInt32, offset: UInt16, name: ComponentID) {
    self.epoch = epoch
    self.offset = offset
    self.name = name
  }

  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    epoch = try reader.u32()
    offset = try reader.u16()
    name = try reader.componentID()
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("ask length")) }
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 22)
    writer.u32(epoch)
    writer.u16(offset)
    writer.componentID(name)
    return writer.bytes
  }
}

/// A piece of a descriptor as it is encoded, signatures included.
public struct SuccessionPiece: Equatable {
  /// Bytes of a piece: with headers it passes any link that carries the channel's frames (650 bytes at least).
  public static let limit = 512

  public var epoch: UInt32
  /// Of the whole descriptor.
  public var length: UInt16
  public var offset: UInt16
  public var bytes: [UInt8]

  public init(epoch: UInt32, length: UInt16, offset: UInt16, bytes: [UInt8]) {
    self.epoch = epoch
    self.length = length
    self.offset = offset
    self.bytes = bytes
  }

  public init(decoding frame: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(frame)
    epoch = try reader.u32()
    length = try reader.u16()
    offset = try reader.u16()
    bytes = reader.rest()
    guard !bytes.isEmpty, bytes.count <= SuccessionPiece.limit, Int(offset) + bytes.count <= Int(length) else {
      throw .invalid(field: StaticFieldName("piece"))
    }
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 8 + bytes.count)
    writer.u32(epoch)
    writer.u16(length)
    writer.u16(offset)
    writer.array(bytes)
    return writer.bytes
  }
}

/// Which descriptor the sender follows, or has heard of: its epoch and name (the hash of what is signed).
public struct SuccessionStanding: Equatable {
  public var epoch: UInt32
  public var name: ComponentID

  public init(epoch: UInt32, name: ComponentID) {
    self.epoch = epoch
    self.name = name
  }

  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    epoch = try reader.u32()
    name = try reader.componentID()
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("standing length")) }
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 20)
    writer.u32(epoch)
    writer.componentID(name)
    return writer.bytes
  }
}
