// The frame of every file on a USB key: a key pulled out at any moment, or a worn one, must leave nothing that is
// believed. Magic, kind, length, contents, checksum; the checksum finds damage, signatures and secrets find forgery.

import Core
import Crypto
import Wire

public enum KeyFileKind: UInt8, Sendable {
  /// `lifeline/network.llc`
  case network = 1
  /// `lifeline/secrets/NNNN.lls`
  case secret = 2
  /// `lifeline/records/ID.llr`
  case record = 3
  /// `lifeline/proposal.llp`
  case proposal = 4
  /// `lifeline/authorities/ID.lla`
  case admission = 5

  /// No file of this kind is larger, frame and all; a reader may stop there.
  public var sizeLimit: Int {
    switch self {
    case .network, .secret, .record, .proposal: KeyFile.sizeLimit
    case .admission: KeyFile.overhead + SealedAdmission.sizeLimit
    }
  }
}

public enum KeyFile {
  static let magic: UInt32 = 0x4c4c_4b31  // "LLK1"
  /// What the frame adds: magic 4, kind 1, length 4, checksum 32.
  public static let overhead = 4 + 1 + 4 + 32
  /// Of every kind but an admission; the descriptor is the largest.
  public static let sizeLimit = NetworkDescriptor.encodedLimit + overhead

  public static func wrap(_ kind: KeyFileKind, _ contents: [UInt8]) -> [UInt8] {
    var writer = ByteWriter(reserving: contents.count + overhead)
    writer.u32(magic)
    writer.u8(kind.rawValue)
    writer.u32(UInt32(truncatingIfNeeded: contents.count))
    writer.array(contents)
    let checksum = blake2b256(writer.bytes, key: nil)
    writer.bytes32(checksum)
    return writer.bytes
  }

  public static func unwrap(_ kind: KeyFileKind, _ file: [UInt8]) throws(MembershipError) -> [UInt8] {
    if file.count < overhead || file.count > kind.sizeLimit { throw .damagedFile }
    let checksum = blake2b256(Array(file[..<(file.count - 32)]), key: nil).array
    if !checksum.elementsEqual(file[(file.count - 32)...]) { throw .damagedFile }
    var reader = ByteReader(file.span)
    do throws(WireError) {
      if try reader.u32() != magic { throw .invalid(field: StaticFieldName("magic")) }
      if try reader.u8() != kind.rawValue { throw .invalid(field: StaticFieldName("kind")) }
      if Int(truncatingIfNeeded: try reader.u32()) != file.count - overhead {
        throw .invalid(field: StaticFieldName("length"))
      }
      return try reader.array(file.count - overhead)
    } catch { throw .damagedFile }
  }
}
