// HANDSHAKE (docs/PROTOCOL.md §2): the carriage of Noise KK's two messages between neighbours, their payload, and the
// prologue that binds them to one network, one pair and one nonce.

import Core
import Crypto
import Membership
import Wire

struct HandshakeFrame: Equatable {
  static let headSize = 24
  /// Ephemeral key, sealed payload, tag.
  static let messageSize = 32 + HandshakePayload.size + 16

  enum Step: UInt8 {
    case first = 1
    case second = 2
  }

  var step: Step
  /// Adjacency number at the sender.
  var sender: UInt16
  /// Adjacency number at the receiver; 0 in step 1.
  var receiver: UInt16
  /// The responder's, in both steps.
  var nonce: Bytes16
  /// The initiator's, encoded, in step 1; empty in step 2.
  var certificate: [UInt8]
  /// Noise's.
  var message: [UInt8]

  init(step: Step, sender: UInt16, receiver: UInt16, nonce: Bytes16, certificate: [UInt8], message: [UInt8]) {
    self.step = step
    self.sender = sender
    self.receiver = receiver
    self.nonce = nonce
    self.certificate = certificate
    self.message = message
  }

  func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: Self.headSize + certificate.count + message.count)
    writer.u8(FrameHead(.handshake).byte)
    writer.u8(step.rawValue)
    writer.u16(sender)
    writer.u16(receiver)
    writer.bytes16(nonce)
    writer.u16(UInt16(truncatingIfNeeded: certificate.count + message.count))
    writer.array(certificate)
    writer.array(message)
    return writer.bytes
  }

  init(decoding reader: inout ByteReader) throws(WireError) {
    guard try reader.u8() == FrameHead(.handshake).byte else { throw .invalid(field: StaticFieldName("type")) }
    guard let step = Step(rawValue: try reader.u8()) else { throw .invalid(field: StaticFieldName("step")) }
    self.step = step
    sender = try reader.u16()
    receiver = try reader.u16()
    nonce = try reader.bytes16()
    let certificateSize: Int
    switch step {
    case .first: certificateSize = MembershipCertificate.encodedSize
    case .second: certificateSize = 0
    }
    guard Int(try reader.u16()) == certificateSize + Self.messageSize else {
      throw .invalid(field: StaticFieldName("length"))
    }
    certificate = try reader.array(certificateSize)
    message = try reader.array(Self.messageSize)
  }

  /// "lifeline link 1", network 16, initiator 16, responder 16, nonce 16.
  static func prologue(network: Bytes16, initiator: ComponentID, responder: ComponentID, nonce: Bytes16) -> [UInt8] {
    let label: StaticString = "lifeline link 1"
    var writer = ByteWriter(reserving: 80)
    writer.array(Array(UnsafeBufferPointer(start: label.utf8Start, count: label.utf8CodeUnitCount)))
    writer.bytes16(network)
    writer.componentID(initiator)
    writer.componentID(responder)
    writer.bytes16(nonce)
    return writer.bytes
  }
}

/// What both messages tell under Noise's seal.
struct HandshakePayload: Equatable {
  static let size = 12

  /// The sender's number for this link, 1...255.
  var adjacency: UInt16
  /// The sender's frame size on this port, bytes.
  var frameSize: UInt16
  /// 0 or 1, chosen by the initiator.
  var phase: UInt8
  var epoch: UInt32

  init(adjacency: UInt16, frameSize: UInt16, phase: UInt8, epoch: UInt32) {
    self.adjacency = adjacency
    self.frameSize = frameSize
    self.phase = phase
    self.epoch = epoch
  }

  func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: Self.size)
    writer.u16(adjacency)
    writer.u16(frameSize)
    writer.u8(phase)
    writer.u32(epoch)
    writer.zeros(3)
    return writer.bytes
  }

  /// The reserved bytes are not looked at.
  init(decoding reader: inout ByteReader) throws(WireError) {
    adjacency = try reader.u16()
    frameSize = try reader.u16()
    phase = try reader.u8()
    epoch = try reader.u32()
    try reader.skip(3)
    if adjacency == 0 { throw .invalid(field: StaticFieldName("adjacency")) }
    if phase > 1 { throw .invalid(field: StaticFieldName("phase")) }
    if Int(frameSize) < HelloFrame.size { throw .invalid(field: StaticFieldName("frameSize")) }
  }
}
