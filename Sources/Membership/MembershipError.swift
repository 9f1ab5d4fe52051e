// Why something of a network's membership was refused, in the words an operator reads.

import Core
import Wire

public enum MembershipError: Error, Equatable, CustomStringConvertible {
  /// Bytes that are not what they should be.
  case wire(WireError)
  case badLabel(LabelFault)
  case badPrefix(PrefixFault)
  case badDescriptor(DescriptorFault)
  /// A file of a USB key whose frame or checksum is wrong: torn, damaged, or not of this kind.
  case damagedFile
  /// A file, record or certificate of another network.
  case otherNetwork(NetworkID)
  /// A certificate or record names an authority the descriptor does not have.
  case unknownIssuer(UInt8)
  /// A signature or a proof does not verify.
  case badSignature
  /// An ID that is not the hash of its key.
  case badID
  case revoked(ComponentID)
  /// A certificate claims an authority's role, and the descriptor does not name its keys.
  case notAnAuthority
  /// A sealed record that this authority's key does not open.
  case notSealedForUs
  /// An opening that does not match its certificate.
  case badOpening

  public var description: String {
    switch self {
    case .wire(.truncated(let needed, let have)): "cut short: \(needed) bytes needed, \(have) left"
    case .wire(.invalid(let field)): "field \(field.text.description) holds a value that is not allowed"
    case .badLabel(let fault): fault.description
    case .badPrefix(let fault): fault.description
    case .badDescriptor(let fault): fault.description
    case .damagedFile: "damaged or incomplete"
    case .otherNetwork(let id): "of another network (\(id.description))"
    case .unknownIssuer(let index): "issued by authority number \(Int(index)), which the network does not have"
    case .badSignature: "signature or proof is wrong"
    case .badID: "ID does not belong to its key"
    case .revoked(let id): "ID \(id.description) is revoked"
    case .notAnAuthority: "claims to be an authority, which the network descriptor does not say"
    case .notSealedForUs: "not sealed for this authority, or damaged"
    case .badOpening: "name and address do not match the certificate"
    }
  }
}

/// What is wrong with a host or domain name.
public enum LabelFault: Equatable, Sendable, CustomStringConvertible {
  case empty
  case tooLong(haveBytes: Int, limit: Int)
  /// `offset` counts from 0.
  case badByte(UInt8, offset: Int)
  case hyphenAtEdge

  public var description: String {
    switch self {
    case .empty: return "is empty (a label has 1 to 63 letters, digits and hyphens)"
    case .tooLong(let have, let limit): return "is \(have) bytes long, the limit is \(limit)"
    case .badByte(let byte, let offset):
      let shown = byte > 32 && byte < 127 ? "'" + String(decoding: [byte], as: UTF8.self) + "'" : "byte \(Int(byte))"
      return "has \(shown) at position \(offset + 1); only letters, digits and hyphens are allowed"
    case .hyphenAtEdge: return "begins or ends a label with a hyphen"
    }
  }
}

/// What is wrong with an IPv4 prefix.
public enum PrefixFault: Equatable, Sendable, CustomStringConvertible {
  case notAPrefix
  case badLength(Int)
  case hostBits
  /// A network that is founded gets a /16.
  case notSixteen(Int)
  case reserved(ReservedRange)

  public var description: String {
    switch self {
    case .notAPrefix: "is not of the form A.B.0.0/16"
    case .badLength(let length): "has length \(length); allowed are 8 to 24"
    case .hostBits: "has bits set beyond its length"
    case .notSixteen(let length): "has length \(length): a network's prefix is A.B.0.0/16"
    case .reserved(let range): "lies in \(range.text): give a private one, as 10.B.0.0/16"
    }
  }
}

/// Where hosts cannot have addresses, or none that stay (RFC 6890).
public enum ReservedRange: Equatable, Sendable {
  case thisNetwork, loopback, linkLocal, multicast, classE

  var text: String {
    switch self {
    case .thisNetwork: "0.0.0.0/8, this network"
    case .loopback: "127.0.0.0/8, the loopback"
    case .linkLocal: "169.254.0.0/16, link-local addresses"
    case .multicast: "224.0.0.0/4, multicast"
    case .classE: "240.0.0.0/4, class E"
    }
  }

  /// Of a prefix that lies within one, given its first address.
  init?(containing address: UInt32) {
    switch address >> 24 {
    case 0: self = .thisNetwork
    case 127: self = .loopback
    case 169 where address >> 16 & 255 == 254: self = .linkLocal
    case 224...239: self = .multicast
    case 240...255: self = .classE
    default: return nil
    }
  }
}

/// What makes a network descriptor impossible, whoever signed it.
public enum DescriptorFault: Equatable, Sendable, CustomStringConvertible {
  case authorityCount(Int)
  /// Authorities or signatures not in ascending order of their index, or an index beyond the limit.
  case order
  case threshold(Int, authorities: Int)
  case duplicateAuthority
  case addressOutsidePrefix
  case tooManyRevoked(Int)
  case revokedAuthority
  case epoch
  /// What an order would change is so already, or names nobody.
  case nothingChanges
  /// Components' stores could not hold it (`NetworkDescriptor.componentRoom`).
  case tooLarge(neededBytes: Int, haveBytes: Int)

  public var description: String {
    switch self {
    case .authorityCount(let count): "has \(count) authorities; allowed are 1 to \(NetworkDescriptor.authorityLimit)"
    case .order: "lists entries out of order"
    case .threshold(let k, let n): "wants \(k) signatures of \(n) authorities"
    case .duplicateAuthority: "has two authorities with one key, name or address"
    case .addressOutsidePrefix: "gives an authority an address outside the prefix"
    case .tooManyRevoked(let count): "has \(count) revoked IDs; the limit is \(NetworkDescriptor.revokedLimit)"
    case .revokedAuthority: "revokes one of its own authorities"
    case .epoch: "has an epoch that does not fit its founding"
    case .nothingChanges: "would be the same as the present one"
    case .tooLarge(let needed, let have):
      "would not fit the components' stores: \(needed) bytes needed, \(have) fit; remove authorities that are gone"
    }
  }
}
