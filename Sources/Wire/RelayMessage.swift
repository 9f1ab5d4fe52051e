// RELAY, the handshake class (docs/PROTOCOL.md §4), and TOWARD (§6): what travels before there is a route.

import Core

/// A frame of the handshake class between a component that an MA has reached and its neighbour.
public struct RelayMessage: Equatable {
  public enum Kind: UInt8, Sendable {
    /// Neighbour to MA: "here I am", with a fresh nonce.
    case attach = 1
    /// MA to neighbour: first handshake message.
    case challenge = 2
    /// Neighbour to MA: second handshake message.
    case response = 3
    /// Neighbour to MA: the session's spi (4 bytes) and an end-to-end frame that has no route yet.
    case sealedUp = 4
    /// MA to neighbour: an end-to-end frame that has no route yet.
    case sealedDown = 5

    /// True for what goes towards the MA.
    public var isUpward: Bool {
      switch self {
      case .attach, .response, .sealedUp: return true
      case .challenge, .sealedDown: return false
      }
    }
  }

  public var kind: Kind
  public var authority: ComponentID
  public var body: [UInt8]

  public init(kind: Kind, authority: ComponentID, body: [UInt8]) {
    self.kind = kind
    self.authority = authority
    self.body = body
  }

  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    try self.init(reading: &reader)
  }

  public init(reading reader: inout ByteReader) throws(WireError) {
    guard let kind = Kind(rawValue: try reader.u8()) else { throw .invalid(field: StaticFieldName("relay kind")) }
    self.kind = kind
    authority = try reader.componentID()
    body = reader.rest()
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 17 + body.count)
    writer.u8(kind.rawValue)
    writer.componentID(authority)
    writer.array(body)
    return writer.bytes
  }
}

/// Body of a RELAY ATTACH.
public struct AttachRequest: Equatable {
  /// In place of a key epoch: no session is in use.
  public static let noKeyEpoch: UInt8 = 255

  public var id: ComponentID
  /// The first handshake message must be bound to it.
  public var nonce: Bytes16
  public var epoch: UInt32
  /// Key epoch of a session still in use, which the new one avoids; 255 when there is none.
  public var keyEpoch: UInt8
  /// The public part of the membership certificate; empty on a box that has none yet.
  public var certificate: [UInt8]

  public init(id: ComponentID, nonce: Bytes16, epoch: UInt32, keyEpoch: UInt8, certificate: [UInt8]) {
    self.id = id
    self.nonce = nonce
    self.epoch = epoch
    self.keyEpoch = keyEpoch
    self.certificate = certificate
  }

  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    id = try reader.componentID()
    nonce = try reader.bytes16()
    epoch = try reader.u32()
    keyEpoch = try reader.u8()
    guard keyEpoch <= 3 || keyEpoch == AttachRequest.noKeyEpoch else {
      throw .invalid(field: StaticFieldName("attach key epoch"))
    }
    let length = try reader.u16()
    certificate = try reader.array(Int(length))
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("attach length")) }
  }

  public func encode() -> [UInt8] {
    invariant(certificate.count <= 0xffff, "a certificate fits its length")
    var writer = ByteWriter(reserving: 39 + certificate.count)
    writer.componentID(id)
    writer.bytes16(nonce)
    writer.u32(epoch)
    writer.u8(keyEpoch)
    writer.u16(UInt16(truncatingIfNeeded: certificate.count))
    writer.array(certificate)
    return writer.bytes
  }
}

/// A frame that follows a beacon's tree to its MA.
public struct TowardMessage: Equatable {
  public static let fullBudget: UInt8 = 64

  public var authority: ComponentID
  /// The beacon whose tree is followed.
  public var boot: UInt32
  public var counter: UInt32
  /// Hops it may still take.
  public var budget: UInt8
  /// Names the session at the MA.
  public var spi: UInt32
  public var sealed: [UInt8]

  public init(authority: ComponentID, boot: UInt32, counter: UInt32, budget: UInt8, spi: UInt32, sealed: [UInt8]) {
    self.authority = authority
    self.boot = boot
    self.counter = counter
    self.budget = budget
    self.spi = spi
    self.sealed = sealed
  }

  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    authority = try reader.componentID()
    boot = try reader.u32()
    counter = try reader.u32()
    budget = try reader.u8()
    guard budget <= TowardMessage.fullBudget else { throw .invalid(field: StaticFieldName("toward budget")) }
    spi = try reader.u32()
    sealed = reader.rest()
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 29 + sealed.count)
    writer.componentID(authority)
    writer.u32(boot)
    writer.u32(counter)
    writer.u8(budget)
    writer.u32(spi)
    writer.array(sealed)
    return writer.bytes
  }
}
