// The handshake between an MA and a component: Noise KK, opened by the MA, bound to a fresh nonce of the component's and
// to the node beside the component that carries it (docs/PROTOCOL.md §4). The component keeps the result aside until the
// first end-to-end frame proves it. A session is renewed by the same handshake inside itself: the nonce then follows from
// the session's own keys, so that it is as fresh as they are, and nobody is beside.

import Core
import Crypto
import Wire

/// Why a handshake message was refused.
public enum SessionHandshakeError: Error, Equatable {
  case wire(WireError)
  case noise(HandshakeError)
  /// It answers another message than the one under way.
  case wrongNonce
}

/// What both ends derive.
public struct SessionKeys {
  public private(set) var seal: Bytes32
  public private(set) var open: Bytes32
  /// K_i, which opens the component's onion layer.
  public private(set) var onion: Bytes32
  /// Key epoch, 0…3.
  public let epoch: UInt8
  /// Names the session on carriers that are not routes.
  public let spi: UInt32
  /// The nonce of the handshake that renews the session.
  public let renewal: Bytes16

  init(seal: Bytes32, open: Bytes32, onion: Bytes32, epoch: UInt8, spi: UInt32, renewal: Bytes16 = Bytes16()) {
    self.seal = seal
    self.open = open
    self.onion = onion
    self.epoch = epoch
    self.spi = spi
    self.renewal = renewal
  }

  init(noise: NoiseKeys, isAuthority: Bool, epoch: UInt8, spi: UInt32) {
    let down = deriveKey(noise.initiatorToResponder, "session seal")
    let up = deriveKey(noise.responderToInitiator, "session seal")
    seal = isAuthority ? down : up
    open = isAuthority ? up : down
    onion = deriveKey(noise.initiatorToResponder, "session onion")
    renewal = deriveKey(noise.initiatorToResponder, "session renewal").withBytes { Bytes16(loadingFrom: $0) }
    self.epoch = epoch
    self.spi = spi
  }

  mutating func erase() {
    seal.erase()
    open.erase()
    onion.erase()
  }
}

enum SessionPrologue {
  static func bytes(
    network: Bytes16, authority: ComponentID, component: ComponentID, beside: ComponentID, nonce: Bytes16
  ) -> [UInt8] {
    var writer = ByteWriter(reserving: 98)
    let label: StaticString = "lifeline session 1"
    writer.array(Array(UnsafeBufferPointer(start: label.utf8Start, count: label.utf8CodeUnitCount)))
    writer.bytes16(network)
    writer.componentID(authority)
    writer.componentID(component)
    writer.componentID(beside)
    writer.bytes16(nonce)
    return writer.bytes
  }
}

/// The Noise message of a body that begins with the nonce expected.
private func afterNonce(_ nonce: Bytes16, in body: Span<UInt8>) throws(SessionHandshakeError) -> [UInt8] {
  var reader = ByteReader(body)
  let found: Bytes16
  do throws(WireError) {
    found = try reader.bytes16()
  } catch {
    throw .wire(error)
  }
  guard found == nonce else { throw .wrongNonce }
  return reader.rest()
}

/// The MA's side: one challenge under way.
public struct SessionChallenge {
  private var noise: NoiseKKInitiator
  public let nonce: Bytes16
  /// Key epoch of the session it makes.
  public let epoch: UInt8
  private let spi: UInt32
  /// Body of the RELAY CHALLENGE; the same bytes are repeated until an answer comes.
  public let body: [UInt8]

  /// - Parameters:
  ///   - beside: the component's neighbour that the challenge goes through (the MA itself for its own neighbours); zero in
  ///     a renewal.
  ///   - nonce: the component's, from its ATTACH; in a renewal the one of the session's keys.
  public init(
    network: Bytes16, authority: ComponentID, authorityKey: AgreementKeyPair, component: ComponentID,
    componentKey: Bytes32, beside: ComponentID = ComponentID(Bytes16()), nonce: Bytes16, epoch: UInt8, spi: UInt32,
    entropy: inout Entropy
  ) throws(SessionHandshakeError) {
    self.nonce = nonce
    self.epoch = epoch & 3
    self.spi = spi
    noise = NoiseKKInitiator(
      prologue: SessionPrologue.bytes(
        network: network, authority: authority, component: component, beside: beside, nonce: nonce),
      static: authorityKey, remoteStatic: componentKey, ephemeral: AgreementKeyPair(secret: entropy.bytes32()))
    var payload = ByteWriter(reserving: 8)
    payload.u8(epoch & 3)
    payload.u32(spi)
    payload.zeros(3)
    var writer = ByteWriter(reserving: 80)
    writer.bytes16(nonce)
    do throws(HandshakeError) {
      writer.array(try noise.writeFirst(payload: payload.bytes))
    } catch {
      throw .noise(error)
    }
    body = writer.bytes
  }

  /// The component's answer; keys when it is authentic. One that is refused leaves the challenge as it was.
  public mutating func complete(response body: Span<UInt8>) throws(SessionHandshakeError) -> SessionKeys {
    let message = try afterNonce(nonce, in: body)
    do throws(HandshakeError) {
      _ = try noise.readSecond(message)
      return SessionKeys(noise: noise.split(), isAuthority: true, epoch: epoch, spi: spi)
    } catch {
      throw .noise(error)
    }
  }
}

/// The component's side: answers a challenge that holds the nonce it sent.
public struct SessionAnswer {
  public let keys: SessionKeys
  /// Body of the RELAY RESPONSE.
  public let body: [UInt8]

  /// - Parameter beside: the neighbour the challenge came from; zero in a renewal.
  public init(
    challenge body: Span<UInt8>, network: Bytes16, authority: ComponentID, authorityKey: Bytes32,
    component: ComponentID, componentKey: AgreementKeyPair, beside: ComponentID = ComponentID(Bytes16()),
    nonce: Bytes16, entropy: inout Entropy
  ) throws(SessionHandshakeError) {
    let message = try afterNonce(nonce, in: body)
    var noise = NoiseKKResponder(
      prologue: SessionPrologue.bytes(
        network: network, authority: authority, component: component, beside: beside, nonce: nonce),
      static: componentKey, remoteStatic: authorityKey)
    let payload: [UInt8]
    var writer = ByteWriter(reserving: 80)
    writer.bytes16(nonce)
    do throws(HandshakeError) {
      payload = try noise.readFirst(message)
      writer.array(
        try noise.writeSecond(payload: [0, 0, 0, 0], ephemeral: AgreementKeyPair(secret: entropy.bytes32())))
    } catch {
      throw .noise(error)
    }
    var fields = ByteReader(payload.span)
    do throws(WireError) {
      let epoch = try fields.u8()
      guard epoch <= 3 else { throw .invalid(field: StaticFieldName("challenge epoch")) }
      keys = SessionKeys(noise: noise.split(), isAuthority: false, epoch: epoch, spi: try fields.u32())
    } catch {
      throw .wire(error)
    }
    self.body = writer.bytes
  }
}
