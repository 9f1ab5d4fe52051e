// What an authority signs when it takes a box in. The certificate is shown in clear to neighbours before a handshake,
// so it has one size and hides name and address behind a salted commitment; the opening travels inside sessions only.

import Core
import Crypto
import Wire

public struct MembershipCertificate {
  public static let version: UInt8 = 1
  /// version 1, network 16, ID 16, signing key 32, agreement key 32, role 1, serial 4, epoch 4, issuer 1,
  /// commitment 32, signature 64.
  public static let encodedSize = 1 + 16 + 16 + 32 + 32 + 1 + 4 + 4 + 1 + 32 + 64
  static let signingContext: StaticString = "lifeline membership 1"

  public let networkID: NetworkID
  public let id: ComponentID
  /// Ed25519.
  public let signingKey: Bytes32
  /// X25519, the static key of handshakes.
  public let agreementKey: Bytes32
  public let role: NodeRole
  /// Rises with each certificate its issuer signs; of two for one ID by one issuer the higher counts.
  public let serial: UInt32
  /// The descriptor's epoch when it was signed.
  public let epoch: UInt32
  /// The issuer's index in the descriptor.
  public let issuer: UInt8
  /// BLAKE2b-256 of salt, address and name.
  public let commitment: Bytes32
  public let signature: Signature

  /// A certificate with a signature made earlier.
  public init(
    networkID: NetworkID, signingKey: Bytes32, agreementKey: Bytes32, role: NodeRole, serial: UInt32, epoch: UInt32,
    issuer: UInt8, commitment: Bytes32, signature: Signature
  ) {
    self.networkID = networkID
    self.signingKey = signingKey
    self.agreementKey = agreementKey
    self.role = role
    self.serial = serial
    self.epoch = epoch
    self.issuer = issuer
    self.commitment = commitment
    self.signature = signature
    id = componentID(of: signingKey)
  }

  /// Signs a new one; `key` is the signing key of the authority with index `issuer`.
  public init(
    issuing opening: MembershipOpening, networkID: NetworkID, signingKey: Bytes32, agreementKey: Bytes32,
    role: NodeRole, serial: UInt32, epoch: UInt32, issuer: UInt8, with key: SigningKeyPair
  ) {
    var writer = ByteWriter(reserving: Self.encodedSize)
    Self.encodeBody(
      networkID: networkID, id: componentID(of: signingKey), signingKey: signingKey, agreementKey: agreementKey,
      role: role, serial: serial, epoch: epoch, issuer: issuer, commitment: opening.commitment, into: &writer)
    self.init(
      networkID: networkID, signingKey: signingKey, agreementKey: agreementKey, role: role, serial: serial,
      epoch: epoch, issuer: issuer, commitment: opening.commitment,
      signature: key.sign(context(Self.signingContext) + writer.bytes))
  }

  /// Whether the descriptor's network vouches for it: right network, issuer's signature, ID not revoked, and an
  /// authority only when the descriptor names its keys. The order of checks puts the cheap ones first.
  public func verify(with descriptor: NetworkDescriptor) throws(MembershipError) {
    try checkClaims(with: descriptor)
    guard let authority = descriptor.authority(at: issuer) else { throw .unknownIssuer(issuer) }
    var writer = ByteWriter(reserving: Self.encodedSize)
    writer.array(context(Self.signingContext))
    encodeBody(into: &writer)
    if !verifySignature(signature, of: writer.bytes, by: authority.signingKey) { throw .badSignature }
  }

  /// What `verify` looks at before the signature.
  public func checkClaims(with descriptor: NetworkDescriptor) throws(MembershipError) {
    if networkID != descriptor.networkID { throw .otherNetwork(networkID) }
    if descriptor.authority(at: issuer) == nil { throw .unknownIssuer(issuer) }
    if descriptor.isRevoked(id) { throw .revoked(id) }
    if role == .authority {
      guard let index = descriptor.index(of: id), let entry = descriptor.authority(at: index),
        entry.agreementKey == agreementKey
      else { throw .notAnAuthority }
    }
  }

  public var fingerprint: String { keyFingerprint(signing: signingKey, agreement: agreementKey) }

  // MARK: - Codec

  private static func encodeBody(
    networkID: NetworkID, id: ComponentID, signingKey: Bytes32, agreementKey: Bytes32, role: NodeRole, serial: UInt32,
    epoch: UInt32, issuer: UInt8, commitment: Bytes32, into writer: inout ByteWriter
  ) {
    writer.u8(version)
    writer.bytes16(networkID.bytes)
    writer.componentID(id)
    writer.bytes32(signingKey)
    writer.bytes32(agreementKey)
    writer.u8(role.rawValue)
    writer.u32(serial)
    writer.u32(epoch)
    writer.u8(issuer)
    writer.bytes32(commitment)
  }

  private func encodeBody(into writer: inout ByteWriter) {
    Self.encodeBody(
      networkID: networkID, id: id, signingKey: signingKey, agreementKey: agreementKey, role: role, serial: serial,
      epoch: epoch, issuer: issuer, commitment: commitment, into: &writer)
  }

  public func encode(into writer: inout ByteWriter) {
    encodeBody(into: &writer)
    writer.array(signature.array)
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: Self.encodedSize)
    encode(into: &writer)
    return writer.bytes
  }

  /// Checks the form and that the ID is the hash of the key; see `verify(with:)` for the rest.
  public init(decoding reader: inout ByteReader) throws(MembershipError) {
    if try wired({ () throws(WireError) in try reader.u8() }) != Self.version {
      throw .wire(.invalid(field: StaticFieldName("certificate version")))
    }
    let networkID = NetworkID(try wired { () throws(WireError) in try reader.bytes16() })
    let id = try wired { () throws(WireError) in try reader.componentID() }
    let signingKey = try wired { () throws(WireError) in try reader.bytes32() }
    let agreementKey = try wired { () throws(WireError) in try reader.bytes32() }
    guard let role = NodeRole(rawValue: try wired { () throws(WireError) in try reader.u8() }) else {
      throw .wire(.invalid(field: StaticFieldName("role")))
    }
    let serial = try wired { () throws(WireError) in try reader.u32() }
    let epoch = try wired { () throws(WireError) in try reader.u32() }
    let issuer = try wired { () throws(WireError) in try reader.u8() }
    let commitment = try wired { () throws(WireError) in try reader.bytes32() }
    self.init(
      networkID: networkID, signingKey: signingKey, agreementKey: agreementKey, role: role, serial: serial,
      epoch: epoch, issuer: issuer, commitment: commitment, signature: try readSignature(&reader))
    if self.id != id { throw .badID }
  }

  /// All of `bytes`.
  public init(decoding bytes: [UInt8]) throws(MembershipError) {
    var reader = ByteReader(bytes.span)
    try self.init(decoding: &reader)
    try reader.expectEnd()
  }
}

/// What the commitment of a certificate hides.
public struct MembershipOpening: Sendable, Equatable {
  public let salt: Bytes16
  /// Host order.
  public let ipv4: UInt32
  public let name: NodeName

  public init(salt: Bytes16, ipv4: UInt32, name: NodeName) {
    self.salt = salt
    self.ipv4 = ipv4
    self.name = name
  }

  /// The name comes last and has no length before it; what precedes it has a fixed size.
  public var commitment: Bytes32 {
    var writer = ByteWriter()
    writer.bytes16(salt)
    writer.u32(ipv4)
    writer.array(name.bytes)
    return blake2b256(writer.bytes, key: nil)
  }

  public func matches(_ certificate: MembershipCertificate) -> Bool { commitment == certificate.commitment }

  public func encode(into writer: inout ByteWriter) {
    writer.bytes16(salt)
    writer.u32(ipv4)
    name.encode(into: &writer)
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter()
    encode(into: &writer)
    return writer.bytes
  }

  public init(decoding reader: inout ByteReader) throws(MembershipError) {
    salt = try wired { () throws(WireError) in try reader.bytes16() }
    ipv4 = try wired { () throws(WireError) in try reader.u32() }
    name = try NodeName(decoding: &reader)
  }

  /// All of `bytes`.
  public init(decoding bytes: [UInt8]) throws(MembershipError) {
    var reader = ByteReader(bytes.span)
    try self.init(decoding: &reader)
    try reader.expectEnd()
  }
}
