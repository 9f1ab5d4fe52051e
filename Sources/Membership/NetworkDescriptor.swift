// The network certificate: who the authorities are, how many must agree, which IDs are revoked. Its epochs form a
// chain in which each descriptor is signed by k authorities of the one before; the hash of the first is the network's
// identity, so a chain cannot be grafted onto another network.

import Core
import Crypto
import Wire

/// A network: the first 16 bytes of BLAKE2b-256 of its founding descriptor's signed bytes.
public struct NetworkID: Sendable, Equatable, Hashable, CustomStringConvertible {
  public var bytes: Bytes16
  public init(_ bytes: Bytes16) { self.bytes = bytes }
  /// 32 lower-case hexadecimal digits.
  public var description: String { ComponentID(bytes).description }

  /// The first 48 bits of the network's IPv6 addresses: fd and 40 bits of the ID (docs/PROTOCOL.md §9, RFC 4193).
  public var ipv6Prefix: [UInt8] { bytes.withBytes { [0xfd, $0[0], $0[1], $0[2], $0[3], $0[4]] } }
}

/// One management authority. `index` is its number in frames and certificates, and is kept as long as its key stays
/// in the descriptor; a freed index may go to another authority later.
public struct AuthorityEntry: Sendable, Equatable {
  /// 0..<16.
  public let index: UInt8
  public let signingKey: Bytes32
  public let agreementKey: Bytes32
  public let name: NodeName
  /// Host order.
  public let ipv4: UInt32
  /// Follows from the signing key.
  public let id: ComponentID

  public init(index: UInt8, signingKey: Bytes32, agreementKey: Bytes32, name: NodeName, ipv4: UInt32) {
    self.index = index
    self.signingKey = signingKey
    self.agreementKey = agreementKey
    self.name = name
    self.ipv4 = ipv4
    id = componentID(of: signingKey)
  }
}

/// A signature by the authority with this index in the *previous* epoch's list (in its own, for epoch 1).
public struct DescriptorSignature {
  public let authority: UInt8
  public let signature: Signature
}

public struct NetworkDescriptor: Equatable {
  public static let formatVersion: UInt8 = 1
  public static let authorityLimit = 16
  /// 256 × 16 B = 4 KiB.
  public static let revokedLimit = 256
  static let signingContext: StaticString = "lifeline descriptor 1"

  /// 1 at the founding, one more for each successor.
  public let epoch: UInt32
  public private(set) var networkID: NetworkID
  public let domain: DomainName
  public let prefix: IPv4Prefix
  /// In ascending order of index, 1 to 16.
  public let authorities: [AuthorityEntry]
  /// How many authorities must sign a successor, or order what one alone may not.
  public let threshold: UInt8
  /// Bit n set: one authority may order command number n alone.
  public let soloCommands: UInt32
  /// In ascending order, at most 256.
  public let revoked: [ComponentID]
  /// In ascending order of authority.
  public private(set) var signatures: [DescriptorSignature] = []

  /// The first descriptor of a network, not yet signed. `threshold` nil is a majority.
  public init(
    founding domain: DomainName, prefix: IPv4Prefix, authorities: [AuthorityEntry], threshold: UInt8? = nil,
    soloCommands: UInt32 = 0
  ) throws(MembershipError) {
    try self.init(
      epoch: 1, networkID: nil, domain: domain, prefix: prefix, authorities: authorities,
      threshold: threshold ?? majority(authorities.count), soloCommands: soloCommands, revoked: [])
  }

  init(
    epoch: UInt32, networkID: NetworkID?, domain: DomainName, prefix: IPv4Prefix, authorities: [AuthorityEntry],
    threshold: UInt8, soloCommands: UInt32, revoked: [ComponentID]
  ) throws(MembershipError) {
    if let fault = descriptorFault(
      prefix: prefix, authorities: authorities, threshold: threshold, revoked: revoked)
    {
      throw .badDescriptor(fault)
    }
    if epoch == 0 || (epoch == 1) != (networkID == nil) { throw .badDescriptor(.epoch) }
    self.epoch = epoch
    self.domain = domain
    self.prefix = prefix
    self.authorities = authorities
    self.threshold = threshold
    self.soloCommands = soloCommands
    self.revoked = revoked
    self.networkID = networkID ?? NetworkID(Bytes16())
    if networkID == nil { self.networkID = NetworkID(truncated(blake2b256(signedBytes, key: nil))) }
  }

  /// The descriptor of the next epoch, not yet signed. `threshold` nil is a majority.
  public func successor(
    authorities: [AuthorityEntry], threshold: UInt8? = nil, soloCommands: UInt32? = nil, revoked: [ComponentID]? = nil
  ) throws(MembershipError) -> NetworkDescriptor {
    if epoch == .max { throw .badDescriptor(.epoch) }
    return try NetworkDescriptor(
      epoch: epoch + 1, networkID: networkID, domain: domain, prefix: prefix, authorities: authorities,
      threshold: threshold ?? majority(authorities.count), soloCommands: soloCommands ?? self.soloCommands,
      revoked: revoked ?? self.revoked)
  }

  // MARK: - Lookup

  public func authority(at index: UInt8) -> AuthorityEntry? {
    for entry in authorities where entry.index == index { return entry }
    return nil
  }

  public func index(of id: ComponentID) -> UInt8? {
    for entry in authorities where entry.id == id { return entry.index }
    return nil
  }

  /// Whether an address is one that members have in the network itself.
  public func hasAddress(_ endpoint: InternetEndpoint) -> Bool {
    let bytes = endpoint.addressBytes
    if endpoint.isIPv6 { return bytes.starts(with: networkID.ipv6Prefix) }
    var address: UInt32 = 0
    for byte in bytes { address = address << 8 | UInt32(byte) }
    return address & ~(.max >> UInt32(prefix.length)) == prefix.address
  }

  public func isRevoked(_ id: ComponentID) -> Bool {
    var (low, high) = (0, revoked.count)
    while low < high {
      let middle = (low + high) / 2
      if revoked[middle] < id { low = middle + 1 } else { high = middle }
    }
    return low < revoked.count && revoked[low] == id
  }

  /// The lowest index no authority has, or nil when all sixteen are taken.
  public var freeIndex: UInt8? {
    for index in 0..<UInt8(Self.authorityLimit) where authority(at: index) == nil { return index }
    return nil
  }

  // MARK: - Signatures

  /// Everything but the signatures, after a context string.
  public var signedBytes: [UInt8] {
    var writer = ByteWriter(reserving: 512)
    writer.array(context(Self.signingContext))
    encodeBody(into: &writer)
    return writer.bytes
  }

  /// Adds (or replaces) the signature of one authority of the previous epoch (of this one, at the founding).
  public mutating func sign(as authority: UInt8, with key: SigningKeyPair) {
    add(DescriptorSignature(authority: authority, signature: key.sign(signedBytes)))
  }

  /// Adds a signature another authority made; it is checked when the descriptor is.
  public mutating func add(_ signature: DescriptorSignature) {
    var at = 0
    while at < signatures.count, signatures[at].authority < signature.authority { at += 1 }
    if at < signatures.count, signatures[at].authority == signature.authority {
      signatures[at] = signature
    } else if signatures.count < Self.authorityLimit {
      signatures.insert(signature, at: at)
    }
  }

  /// A first descriptor that all its founders signed.
  public var isFounding: Bool {
    epoch == 1 && signatures.count == authorities.count && validSignatures(of: authorities) == authorities.count
  }

  /// The next epoch of the same network, signed by at least k of the previous epoch's authorities; a key that stays
  /// keeps its index.
  public func isSuccessor(of previous: NetworkDescriptor) -> Bool {
    claimsToFollow(previous) && validSignatures(of: previous.authorities) >= Int(previous.threshold)
  }

  /// All of `isSuccessor(of:)` but whether the signatures hold: there are k of them at least in the names of the previous
  /// epoch's authorities. Costs no check of a signature.
  public func claimsToFollow(_ previous: NetworkDescriptor) -> Bool {
    guard previous.epoch < .max, epoch == previous.epoch + 1, networkID == previous.networkID else { return false }
    for entry in authorities {
      if let before = previous.index(of: entry.id), before != entry.index { return false }
    }
    // A codec takes signatures in ascending order only: no two of one authority.
    var signers = 0
    for each in signatures where previous.authority(at: each.authority) != nil { signers += 1 }
    return signers >= Int(previous.threshold)
  }

  private func validSignatures(of signers: [AuthorityEntry]) -> Int { validSigners(among: signers).count }

  /// Those of the entries that have signed it, in ascending order of index.
  public func validSigners(among signers: [AuthorityEntry]) -> [AuthorityEntry] {
    let body = signedBytes
    var found: [AuthorityEntry] = []
    for each in signatures {
      for signer in signers where signer.index == each.authority {
        if verifySignature(each.signature, of: body, by: signer.signingKey) { found.append(signer) }
      }
    }
    return found
  }

  /// Keeps what these signed and drops every other signature.
  mutating func keepSignatures(of signers: [AuthorityEntry]) {
    signatures.removeAll { each in !signers.contains { $0.index == each.authority } }
  }

  /// The same without any signature: what a store that has room for no more keeps.
  public var unsigned: NetworkDescriptor {
    var copy = self
    copy.signatures = []
    return copy
  }

  public static func == (a: NetworkDescriptor, b: NetworkDescriptor) -> Bool { a.encode() == b.encode() }
}

/// More than half of `count`.
public func majority(_ count: Int) -> UInt8 { UInt8(truncatingIfNeeded: count / 2 + 1) }

private func descriptorFault(
  prefix: IPv4Prefix, authorities: [AuthorityEntry], threshold: UInt8, revoked: [ComponentID]
) -> DescriptorFault? {
  if authorities.isEmpty || authorities.count > NetworkDescriptor.authorityLimit {
    return .authorityCount(authorities.count)
  }
  if threshold == 0 || Int(threshold) > authorities.count {
    return .threshold(Int(threshold), authorities: authorities.count)
  }
  if revoked.count > NetworkDescriptor.revokedLimit { return .tooManyRevoked(revoked.count) }
  for i in revoked.indices.dropFirst() where !(revoked[i - 1] < revoked[i]) { return .order }
  for i in authorities.indices {
    let entry = authorities[i]
    if Int(entry.index) >= NetworkDescriptor.authorityLimit { return .order }
    if i > 0, authorities[i - 1].index >= entry.index { return .order }
    if !prefix.isHost(entry.ipv4) { return .addressOutsidePrefix }
    for other in authorities[..<i]
    where other.id == entry.id || other.agreementKey == entry.agreementKey || other.name == entry.name
      || other.ipv4 == entry.ipv4
    {
      return .duplicateAuthority
    }
    for id in revoked where id == entry.id { return .revokedAuthority }
  }
  return nil
}

// MARK: - Codec

extension NetworkDescriptor {
  /// The most bytes a descriptor takes: the body with 16 authorities and 256 revoked IDs, and 16 signatures.
  public static let encodedLimit =
    1 + 4 + 16 + (1 + DomainName.limit) + 5 + 4 + 1 + 1 + authorityLimit * (1 + 32 + 32 + 4 + 1 + NodeName.limit) + 2
    + revokedLimit * 16 + 1 + authorityLimit * 65

  private func encodeBody(into writer: inout ByteWriter) {
    writer.u8(Self.formatVersion)
    writer.u32(epoch)
    // The founding descriptor cannot contain its own hash.
    writer.bytes16(epoch == 1 ? Bytes16() : networkID.bytes)
    domain.encode(into: &writer)
    prefix.encode(into: &writer)
    writer.u32(soloCommands)
    writer.u8(threshold)
    writer.u8(UInt8(truncatingIfNeeded: authorities.count))
    for entry in authorities {
      writer.u8(entry.index)
      writer.bytes32(entry.signingKey)
      writer.bytes32(entry.agreementKey)
      writer.u32(entry.ipv4)
      entry.name.encode(into: &writer)
    }
    writer.u16(UInt16(truncatingIfNeeded: revoked.count))
    for id in revoked { writer.componentID(id) }
  }

  public func encode(into writer: inout ByteWriter) {
    encodeBody(into: &writer)
    writer.u8(UInt8(truncatingIfNeeded: signatures.count))
    for each in signatures {
      writer.u8(each.authority)
      writer.array(each.signature.array)
    }
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 512)
    encode(into: &writer)
    return writer.bytes
  }

  /// All of `bytes`. Says nothing about the signatures: see `isFounding` and `isSuccessor(of:)`.
  public init(decoding bytes: [UInt8]) throws(MembershipError) {
    var reader = ByteReader(bytes.span)
    try self.init(decoding: &reader)
    try reader.expectEnd()
  }

  public init(decoding reader: inout ByteReader) throws(MembershipError) {
    if try wired({ () throws(WireError) in try reader.u8() }) != Self.formatVersion {
      throw .wire(.invalid(field: StaticFieldName("format version")))
    }
    let epoch = try wired { () throws(WireError) in try reader.u32() }
    let founding = NetworkID(try wired { () throws(WireError) in try reader.bytes16() })
    if epoch == 1, founding.bytes != Bytes16() { throw .wire(.invalid(field: StaticFieldName("founding id"))) }
    let domain = try DomainName(decoding: &reader)
    let prefix = try IPv4Prefix(decoding: &reader)
    let soloCommands = try wired { () throws(WireError) in try reader.u32() }
    let threshold = try wired { () throws(WireError) in try reader.u8() }
    let count = try wired { () throws(WireError) in Int(try reader.u8()) }
    if count > Self.authorityLimit { throw .badDescriptor(.authorityCount(count)) }
    var authorities: [AuthorityEntry] = []
    for _ in 0..<count { authorities.append(try AuthorityEntry(decoding: &reader)) }
    let revokedCount = try wired { () throws(WireError) in Int(try reader.u16()) }
    if revokedCount > Self.revokedLimit { throw .badDescriptor(.tooManyRevoked(revokedCount)) }
    var revoked: [ComponentID] = []
    for _ in 0..<revokedCount { revoked.append(try wired { () throws(WireError) in try reader.componentID() }) }
    try self.init(
      epoch: epoch, networkID: epoch == 1 ? nil : founding, domain: domain, prefix: prefix, authorities: authorities,
      threshold: threshold, soloCommands: soloCommands, revoked: revoked)
    let signatureCount = try wired { () throws(WireError) in Int(try reader.u8()) }
    if signatureCount > Self.authorityLimit { throw .badDescriptor(.order) }
    for _ in 0..<signatureCount {
      let authority = try wired { () throws(WireError) in try reader.u8() }
      if let last = signatures.last, last.authority >= authority { throw .badDescriptor(.order) }
      signatures.append(DescriptorSignature(authority: authority, signature: try readSignature(&reader)))
    }
  }
}

extension AuthorityEntry {
  init(decoding reader: inout ByteReader) throws(MembershipError) {
    let index = try wired { () throws(WireError) in try reader.u8() }
    let signingKey = try wired { () throws(WireError) in try reader.bytes32() }
    let agreementKey = try wired { () throws(WireError) in try reader.bytes32() }
    let ipv4 = try wired { () throws(WireError) in try reader.u32() }
    let name = try NodeName(decoding: &reader)
    self.init(index: index, signingKey: signingKey, agreementKey: agreementKey, name: name, ipv4: ipv4)
  }
}
