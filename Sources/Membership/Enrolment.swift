// How a box becomes a member: an authority puts single-use secrets on a key; the box answers with a record that the
// secret authenticates, sealed to that authority, so that the key shows nobody who enrolled or under what name.

import Core
import Crypto
import Wire

/// The network as a box to come learns it from the key.
public struct EnrolmentSecret {
  public let networkID: NetworkID
  /// The index of the authority that issued it and will accept it.
  public let issuer: UInt8
  public let serial: Bytes16
  public let secret: Bytes32

  public init(networkID: NetworkID, issuer: UInt8, serial: Bytes16, secret: Bytes32) {
    self.networkID = networkID
    self.issuer = issuer
    self.serial = serial
    self.secret = secret
  }

  /// The secret an authority gives out under a serial. Derived, so that its store holds serials only.
  public init(networkID: NetworkID, issuer: UInt8, serial: Bytes16, derivedFrom seed: Bytes32) {
    self.networkID = networkID
    self.issuer = issuer
    self.serial = serial
    secret = deriveKey(seed, "lifeline enrolment secret 1", context: serial.withBytes { copy($0, 16) })
  }

  /// network 16, issuer 1, serial 16, secret 32.
  public static let encodedSize = 65

  public func encode(into writer: inout ByteWriter) {
    writer.bytes16(networkID.bytes)
    writer.u8(issuer)
    writer.bytes16(serial)
    writer.bytes32(secret)
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: Self.encodedSize)
    encode(into: &writer)
    return writer.bytes
  }

  public init(decoding bytes: [UInt8]) throws(MembershipError) {
    var reader = ByteReader(bytes.span)
    try self.init(decoding: &reader)
    try reader.expectEnd()
  }

  public init(decoding reader: inout ByteReader) throws(MembershipError) {
    networkID = NetworkID(try wired { () throws(WireError) in try reader.bytes16() })
    issuer = try wired { () throws(WireError) in try reader.u8() }
    serial = try wired { () throws(WireError) in try reader.bytes16() }
    secret = try wired { () throws(WireError) in try reader.bytes32() }
  }
}

/// What a box says of itself to the authority.
public struct EnrolmentRecord {
  public static let version: UInt8 = 1
  static let proofContext: StaticString = "lifeline enrolment proof 1"
  static let signingContext: StaticString = "lifeline enrolment 1"

  public let networkID: NetworkID
  public let id: ComponentID
  public let signingKey: Bytes32
  public let agreementKey: Bytes32
  /// The name the box wants.
  public let name: NodeName
  public let role: NodeRole
  /// Of the secret it used.
  public let secretSerial: Bytes16
  /// BLAKE2b-256 of all the above, keyed with the secret: the box had the key in hand.
  public let proof: Bytes32
  /// By the box's own key over all the above: it holds the private key.
  public let signature: Signature

  public init(of identity: Identity, name: NodeName, role: NodeRole, using secret: EnrolmentSecret) {
    networkID = secret.networkID
    id = identity.id
    signingKey = identity.signing.publicKey
    agreementKey = identity.agreement.publicKey
    self.name = name
    self.role = role
    secretSerial = secret.serial
    let body = Self.body(
      networkID: networkID, signingKey: signingKey, agreementKey: agreementKey, name: name, role: role,
      secretSerial: secretSerial)
    proof = blake2b256(context(Self.proofContext) + body, key: secret.secret)
    signature = identity.signing.sign(context(Self.signingContext) + body + proof.array)
  }

  /// Whether it was made with this secret and by the holder of its key.
  public func verify(with secret: EnrolmentSecret) throws(MembershipError) {
    if networkID != secret.networkID { throw .otherNetwork(networkID) }
    let expected = blake2b256(context(Self.proofContext) + body, key: secret.secret)
    guard secretSerial == secret.serial, expected.equalsInConstantTime(proof),
      verifySignature(signature, of: context(Self.signingContext) + body + proof.array, by: signingKey)
    else { throw .badSignature }
  }

  public var fingerprint: String { keyFingerprint(signing: signingKey, agreement: agreementKey) }

  private var body: [UInt8] {
    Self.body(
      networkID: networkID, signingKey: signingKey, agreementKey: agreementKey, name: name, role: role,
      secretSerial: secretSerial)
  }

  private static func body(
    networkID: NetworkID, signingKey: Bytes32, agreementKey: Bytes32, name: NodeName, role: NodeRole,
    secretSerial: Bytes16
  ) -> [UInt8] {
    var writer = ByteWriter(reserving: 192)
    writer.u8(version)
    writer.bytes16(networkID.bytes)
    writer.bytes32(signingKey)
    writer.bytes32(agreementKey)
    writer.u8(role.rawValue)
    writer.bytes16(secretSerial)
    name.encode(into: &writer)
    return writer.bytes
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 288)
    writer.array(body)
    writer.bytes32(proof)
    writer.array(signature.array)
    return writer.bytes
  }

  public init(decoding bytes: [UInt8]) throws(MembershipError) {
    var reader = ByteReader(bytes.span)
    if try wired({ () throws(WireError) in try reader.u8() }) != Self.version {
      throw .wire(.invalid(field: StaticFieldName("record version")))
    }
    networkID = NetworkID(try wired { () throws(WireError) in try reader.bytes16() })
    signingKey = try wired { () throws(WireError) in try reader.bytes32() }
    agreementKey = try wired { () throws(WireError) in try reader.bytes32() }
    guard let role = NodeRole(rawValue: try wired { () throws(WireError) in try reader.u8() }) else {
      throw .wire(.invalid(field: StaticFieldName("role")))
    }
    self.role = role
    secretSerial = try wired { () throws(WireError) in try reader.bytes16() }
    name = try NodeName(decoding: &reader)
    proof = try wired { () throws(WireError) in try reader.bytes32() }
    signature = try readSignature(&reader)
    id = componentID(of: signingKey)
    try reader.expectEnd()
  }
}

/// A record as it lies on the key: whose it is stands outside the seal, so that an authority can tell another's
/// records from damaged ones.
public struct SealedRecord {
  /// Sealed records are no larger: record 1 + 16 + 64 + 1 + 16 + 64 + 32 + 64, seal and frame below 128.
  public static let sizeLimit = 512

  public let networkID: NetworkID
  public let issuer: UInt8
  public let box: [UInt8]

  /// Nil when the authority's agreement key is not a usable one.
  public init?(_ record: EnrolmentRecord, for authority: AuthorityEntry, entropy: inout Entropy) {
    guard let box = SealedBox.seal(record.encode(), to: authority.agreementKey, entropy: &entropy) else { return nil }
    networkID = record.networkID
    issuer = authority.index
    self.box = box
  }

  public func open(with identity: Identity) throws(MembershipError) -> EnrolmentRecord {
    guard let bytes = SealedBox.open(box, with: identity.agreement) else { throw .notSealedForUs }
    let record = try EnrolmentRecord(decoding: bytes)
    if record.networkID != networkID { throw .otherNetwork(record.networkID) }
    return record
  }

  /// The whole file, framed.
  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 400)
    writer.bytes16(networkID.bytes)
    writer.u8(issuer)
    writer.array(box)
    return KeyFile.wrap(.record, writer.bytes)
  }

  public init(decoding file: [UInt8]) throws(MembershipError) {
    if file.count > Self.sizeLimit { throw .damagedFile }
    let contents = try KeyFile.unwrap(.record, file)
    var reader = ByteReader(contents.span)
    networkID = NetworkID(try wired { () throws(WireError) in try reader.bytes16() })
    issuer = try wired { () throws(WireError) in try reader.u8() }
    box = reader.rest()
  }
}

func copy(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> [UInt8] {
  Array(UnsafeBufferPointer(start: pointer, count: count))
}
