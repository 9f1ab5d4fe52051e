// DISCOVER (docs/PROTOCOL.md §2): "I am here, of this network, and a handshake with me takes this nonce." In clear.

import Core
import Crypto
import Membership
import Wire

/// 51 bytes, and the certificate's 203 when the sender has one, and the proof's 8.
struct DiscoverFrame: Equatable {
  static let version: UInt8 = 1
  static let headSize = 51

  enum Flag {
    static let certificateFollows: UInt8 = 1
    static let wide: UInt8 = 2
    static let answerWanted: UInt8 = 4
    static let proofFollows: UInt8 = 8
  }

  var flags: UInt8
  /// The sender's number for the port it sends on; informative.
  var port: UInt16
  /// The first 8 bytes of the network ID, as a big-endian number.
  var network: UInt64
  var epoch: UInt32
  var nonce: Bytes16
  var id: ComponentID
  /// Encoded; empty, or `MembershipCertificate.encodedSize` bytes.
  var certificate: [UInt8]
  /// That the ID's owner said this nonce from this address, for one other node to see: `DiscoverProof`.
  var proof: UInt64?

  init(
    isWide: Bool, wantsAnswer: Bool, port: UInt16, network: UInt64, epoch: UInt32, nonce: Bytes16, id: ComponentID,
    certificate: [UInt8], proof: UInt64? = nil
  ) {
    var bits: UInt8 = certificate.isEmpty ? 0 : Flag.certificateFollows
    if isWide { bits |= Flag.wide }
    if wantsAnswer { bits |= Flag.answerWanted }
    if proof != nil { bits |= Flag.proofFollows }
    flags = bits
    self.port = port
    self.network = network
    self.epoch = epoch
    self.nonce = nonce
    self.id = id
    self.certificate = certificate
    self.proof = proof
  }

  func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: Self.headSize + certificate.count)
    writer.u8(FrameHead(.discover).byte)
    writer.u8(Self.version)
    writer.u8(flags)
    writer.u16(port)
    writer.u64(network)
    writer.u32(epoch)
    writer.bytes16(nonce)
    writer.componentID(id)
    writer.u16(UInt16(truncatingIfNeeded: certificate.count))
    writer.array(certificate)
    if let proof { writer.u64(proof.byteSwapped) }
    return writer.bytes
  }

  /// Unknown flags are let through: they may mean something to a later node. Bytes after the frame are padding.
  init(decoding reader: inout ByteReader) throws(WireError) {
    guard try reader.u8() == FrameHead(.discover).byte else { throw .invalid(field: StaticFieldName("type")) }
    guard try reader.u8() == Self.version else { throw .invalid(field: StaticFieldName("version")) }
    flags = try reader.u8()
    port = try reader.u16()
    network = try reader.u64()
    epoch = try reader.u32()
    nonce = try reader.bytes16()
    id = try reader.componentID()
    let length = Int(try reader.u16())
    let expected = flags & Flag.certificateFollows != 0 ? MembershipCertificate.encodedSize : 0
    guard length == expected else { throw .invalid(field: StaticFieldName("length")) }
    certificate = try reader.array(length)
    proof = flags & Flag.proofFollows != 0 ? try reader.u64().byteSwapped : nil
  }
}
