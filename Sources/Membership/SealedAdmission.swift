// What a key carries to a box that has become an authority: the descriptors from the founding on, its certificate, and the
// members it is to serve. Sealed to its key: it holds every name and address of the network.

import Core
import Crypto
import Wire

public struct SealedAdmission {
  /// An authority's copy of 128 KiB and the seal.
  public static let sizeLimit = 128 * 1024 + SealedBox.overhead

  public let box: [UInt8]

  /// Nil when the authority's agreement key is not a usable one, or the contents are too long.
  public init?(_ contents: [UInt8], for authority: AuthorityEntry, entropy: inout Entropy) {
    guard contents.count + SealedBox.overhead <= Self.sizeLimit,
      let box = SealedBox.seal(contents, to: authority.agreementKey, entropy: &entropy)
    else { return nil }
    self.box = box
  }

  public func open(with identity: Identity) throws(MembershipError) -> [UInt8] {
    guard let bytes = SealedBox.open(box, with: identity.agreement) else { throw .notSealedForUs }
    return bytes
  }

  /// The whole file, framed.
  public func encode() -> [UInt8] { KeyFile.wrap(.admission, box) }

  public init(decoding file: [UInt8]) throws(MembershipError) { box = try KeyFile.unwrap(.admission, file) }
}

/// A member as one authority tells another of it: certificate 203, opening, and what the teller has done about it.
public struct MemberRecord {
  public var certificate: MembershipCertificate
  public var opening: MembershipOpening
  /// It is no member any more to the teller.
  public var isForgotten: Bool

  /// flags 1, certificate, salt 16, address 4, name.
  public static let sizeLimit = 1 + MembershipCertificate.encodedSize + 20 + 1 + NodeName.limit

  public init(certificate: MembershipCertificate, opening: MembershipOpening, isForgotten: Bool) {
    self.certificate = certificate
    self.opening = opening
    self.isForgotten = isForgotten
  }

  public func encode(into writer: inout ByteWriter) {
    writer.u8(isForgotten ? 1 : 0)
    certificate.encode(into: &writer)
    opening.encode(into: &writer)
  }

  /// The signature is not judged, nor whether the opening matches.
  public init(decoding reader: inout ByteReader) throws(MembershipError) {
    let flags = try wired { () throws(WireError) in try reader.u8() }
    if flags > 1 { throw .wire(.invalid(field: StaticFieldName("member flags"))) }
    isForgotten = flags == 1
    certificate = try MembershipCertificate(decoding: &reader)
    opening = try MembershipOpening(decoding: &reader)
  }

  /// As many as there are in `bytes`.
  public static func list(decoding bytes: [UInt8]) throws(MembershipError) -> [MemberRecord] {
    var reader = ByteReader(bytes.span)
    var records: [MemberRecord] = []
    while reader.remaining > 0 { records.append(try MemberRecord(decoding: &reader)) }
    return records
  }
}
