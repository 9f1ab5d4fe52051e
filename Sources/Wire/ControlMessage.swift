// The messages inside a session (docs/PROTOCOL.md §7), as far as they are not codecs of their own elsewhere.

import Core

/// First byte of a control message.
public enum ControlType: UInt8, Sendable {
  case welcome = 1
  case lsa = 2
  case returnRoute = 3
  case relayUp = 4
  case relayDown = 5
  case descriptor = 6
  case goodbye = 7
  /// MA to component: new keys for the session it comes in, first handshake message.
  case renew = 8
  /// Component to MA: second handshake message.
  case renewed = 9
  /// MA to component: detours that begin at it or lead over it.
  case detours = 10
  /// MA to component: what it needs to leave out the next hop of routes through it.
  case successors = 11
  /// Both ways: asks whether a way carries large frames.
  case probe = 12
  /// Both ways: a probe came.
  case probed = 13
  /// Component to MA: a way back loses frames.
  case suspect = 14
  /// MA to component: which frames of a route came?
  case trace = 15
  /// Component to MA: the descriptors from this epoch on are wanted.
  case chain = 16
  /// Component to MA that does not know it: its membership.
  case present = 17
  /// MA to MA: members.
  case members = 18
  /// MA to MA: a successor of the descriptor that is not signed by enough yet.
  case proposal = 19
  /// Component to MA: these frames came.
  case traced = 20
}

/// Component to MA: what a neighbour sent for the MA, and where that neighbour hangs.
public struct RelayUp: Equatable {
  /// The component's own adjacency number.
  public var adjacency: UInt16
  /// The neighbour's ID as the link's handshake proved it, or as it claims; zero when unknown.
  public var neighbour: ComponentID
  /// True when a link key proves the neighbour.
  public var linked: Bool
  public var relay: RelayMessage

  public init(adjacency: UInt16, neighbour: ComponentID, linked: Bool, relay: RelayMessage) {
    self.adjacency = adjacency
    self.neighbour = neighbour
    self.linked = linked
    self.relay = relay
  }

  /// `bytes` without the type byte.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    adjacency = try reader.u16()
    neighbour = try reader.componentID()
    let flag = try reader.u8()
    guard flag <= 1 else { throw .invalid(field: StaticFieldName("relay linked")) }
    linked = flag == 1
    relay = try RelayMessage(reading: &reader)
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 40 + relay.body.count)
    writer.u8(ControlType.relayUp.rawValue)
    writer.u16(adjacency)
    writer.componentID(neighbour)
    writer.u8(linked ? 1 : 0)
    writer.array(relay.encode())
    return writer.bytes
  }
}

/// MA to component: hand this to the neighbour on that adjacency.
public struct RelayDown: Equatable {
  public var adjacency: UInt16
  public var relay: RelayMessage

  public init(adjacency: UInt16, relay: RelayMessage) {
    self.adjacency = adjacency
    self.relay = relay
  }

  /// `bytes` without the type byte.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    adjacency = try reader.u16()
    relay = try RelayMessage(reading: &reader)
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 20 + relay.body.count)
    writer.u8(ControlType.relayDown.rawValue)
    writer.u16(adjacency)
    writer.array(relay.encode())
    return writer.bytes
  }
}

/// MA to component, first thing in a session: who the component is in this network, and whom it talks to.
public struct Welcome: Equatable {
  /// Bytes of an RFC 1123 label.
  public static let nameLimit = 63

  public var epoch: UInt32
  /// Membership certificate, public part.
  public var certificate: [UInt8]
  /// Its opening: name and address.
  public var opening: [UInt8]
  /// The MA's management address, host order.
  public var authorityIPv4: UInt32
  /// The MA's name, at most 63 bytes.
  public var authorityName: [UInt8]

  public init(
    epoch: UInt32, certificate: [UInt8], opening: [UInt8], authorityIPv4: UInt32, authorityName: [UInt8]
  ) {
    self.epoch = epoch
    self.certificate = certificate
    self.opening = opening
    self.authorityIPv4 = authorityIPv4
    self.authorityName = authorityName
  }

  /// `bytes` without the type byte.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    epoch = try reader.u32()
    let certificateLength = try reader.u16()
    certificate = try reader.array(Int(certificateLength))
    let openingLength = try reader.u16()
    opening = try reader.array(Int(openingLength))
    authorityIPv4 = try reader.u32()
    let nameLength = try reader.u8()
    guard nameLength <= Welcome.nameLimit else { throw .invalid(field: StaticFieldName("welcome name length")) }
    authorityName = try reader.array(Int(nameLength))
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("welcome length")) }
  }

  public func encode() -> [UInt8] {
    invariant(
      certificate.count <= 0xffff && opening.count <= 0xffff && authorityName.count <= Welcome.nameLimit,
      "a welcome's parts fit their lengths")
    var writer = ByteWriter(reserving: 400)
    writer.u8(ControlType.welcome.rawValue)
    writer.u32(epoch)
    writer.u16(UInt16(truncatingIfNeeded: certificate.count))
    writer.array(certificate)
    writer.u16(UInt16(truncatingIfNeeded: opening.count))
    writer.array(opening)
    writer.u32(authorityIPv4)
    writer.u8(UInt8(truncatingIfNeeded: authorityName.count))
    writer.array(authorityName)
    return writer.bytes
  }
}

/// Component to MA, when the MA's WELCOME holds no certificate: what another MA certified.
public struct Present: Equatable {
  public var certificate: [UInt8]
  public var opening: [UInt8]

  public init(certificate: [UInt8], opening: [UInt8]) {
    self.certificate = certificate
    self.opening = opening
  }

  /// `bytes` without the type byte.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    let certificateLength = try reader.u16()
    certificate = try reader.array(Int(certificateLength))
    let openingLength = try reader.u16()
    opening = try reader.array(Int(openingLength))
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("present length")) }
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 320)
    writer.u8(ControlType.present.rawValue)
    writer.u16(UInt16(truncatingIfNeeded: certificate.count))
    writer.array(certificate)
    writer.u16(UInt16(truncatingIfNeeded: opening.count))
    writer.array(opening)
    return writer.bytes
  }
}
