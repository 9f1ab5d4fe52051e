// The beacon: an authority's signed sign of life, flooded unchanged through the whole network (docs/PROTOCOL.md
// section 3). It has one fixed size and carries no address.

import Core
import Crypto
import Wire

public struct Beacon: Sendable, Equatable {
  /// The component ID of the authority.
  public var authority: ComponentID
  /// The authority's stored boot count.
  public var boot: UInt32
  /// Within this boot, rising.
  public var counter: UInt32
  /// Of the authority's descriptor.
  public var epoch: UInt32
  /// Size of the onion header the authority uses now: 0 … 3 for 8, 16, 32, 64 entries.
  public var sizeCode: UInt8
  /// Bit i: the authority reaches the one with index i of its descriptor.
  public var reached: UInt16
  public var signature: Signature

  /// Bytes on the wire.
  public static let encodedSize = 96
  /// Bytes under the signature: 0 ..< 32.
  static let signedSize = 32

  /// Exactly 96 bytes; a size code above 3 and a zero byte that is not zero are refused. The signature is not judged.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    guard bytes.count <= Beacon.encodedSize else { throw .invalid(field: StaticFieldName("length")) }
    var reader = ByteReader(bytes)
    authority = try reader.componentID()
    boot = try reader.u32()
    counter = try reader.u32()
    epoch = try reader.u32()
    sizeCode = try reader.u8()
    guard sizeCode <= 3 else { throw .invalid(field: StaticFieldName("sizeCode")) }
    reached = try reader.u16()
    guard try reader.u8() == 0 else { throw .invalid(field: StaticFieldName("zero")) }
    let r = try reader.bytes32()
    let s = try reader.bytes32()
    guard let signature = Signature(r, s) else { throw .invalid(field: StaticFieldName("signature")) }
    self.signature = signature
  }

  /// A beacon signed for a network (the first 16 bytes of BLAKE2b-256 over its founding descriptor).
  /// - Parameter sizeCode: 0 … 3; of more only the low two bits count.
  public static func signed(
    authority: ComponentID, boot: UInt32, counter: UInt32, epoch: UInt32, sizeCode: UInt8, reached: UInt16 = 0,
    network: Bytes16, with key: SigningKeyPair
  ) -> Beacon {
    let signature = key.sign(
      signedBytes(
        authority: authority, boot: boot, counter: counter, epoch: epoch, sizeCode: sizeCode & 3, reached: reached,
        network: network))
    return Beacon(
      authority: authority, boot: boot, counter: counter, epoch: epoch, sizeCode: sizeCode & 3, reached: reached,
      signature: signature)
  }

  /// Whether `key` signed this beacon for this network.
  public func isAuthentic(network: Bytes16, key: Bytes32) -> Bool {
    let message = Beacon.signedBytes(
      authority: authority, boot: boot, counter: counter, epoch: epoch, sizeCode: sizeCode,
      reached: reached, network: network)
    return verifySignature(signature, of: message, by: key)
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: Beacon.encodedSize)
    Beacon.write(&writer, authority, boot, counter, epoch, sizeCode, reached)
    writer.array(signature.array)
    return writer.bytes
  }

  private init(
    authority: ComponentID, boot: UInt32, counter: UInt32, epoch: UInt32, sizeCode: UInt8, reached: UInt16,
    signature: Signature
  ) {
    self.authority = authority
    self.boot = boot
    self.counter = counter
    self.epoch = epoch
    self.sizeCode = sizeCode
    self.reached = reached
    self.signature = signature
  }

  private static func write(
    _ writer: inout ByteWriter, _ authority: ComponentID, _ boot: UInt32, _ counter: UInt32, _ epoch: UInt32,
    _ sizeCode: UInt8, _ reached: UInt16
  ) {
    writer.componentID(authority)
    writer.u32(boot)
    writer.u32(counter)
    writer.u32(epoch)
    writer.u8(sizeCode)
    writer.u16(reached)
    writer.u8(0)
  }

  /// "lifeline beacon 1", the network's ID, bytes 0 ..< 32.
  private static func signedBytes(
    authority: ComponentID, boot: UInt32, counter: UInt32, epoch: UInt32, sizeCode: UInt8, reached: UInt16,
    network: Bytes16
  ) -> [UInt8] {
    let label: StaticString = "lifeline beacon 1"
    var writer = ByteWriter(reserving: label.utf8CodeUnitCount + 16 + signedSize)
    for i in 0..<label.utf8CodeUnitCount { writer.u8(label.utf8Start[i]) }
    writer.bytes16(network)
    write(&writer, authority, boot, counter, epoch, sizeCode, reached)
    return writer.bytes
  }
}

/// The place of a beacon in its authority's sequence: lexical order of boot, then counter.
struct BeaconNumber: Sendable, Equatable, Comparable {
  var boot: UInt32
  var counter: UInt32

  static func < (a: BeaconNumber, b: BeaconNumber) -> Bool {
    a.boot != b.boot ? a.boot < b.boot : a.counter < b.counter
  }
}

extension Beacon {
  var number: BeaconNumber { BeaconNumber(boot: boot, counter: counter) }
}
