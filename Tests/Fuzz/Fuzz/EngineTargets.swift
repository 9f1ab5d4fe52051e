// Engines: neighbours, beacons, onion relays, sessions. Where a check of authenticity stands before the code, the
// fuzzer holds the keys, and its input is what gets sealed.

import Beacon
import Core
import Crypto
import InsiderKit
import Membership
import Wire

@testable import Neighbour
@testable import Onion
@testable import Session

let engineTargets = [
  FuzzTarget(name: "neighbour", limit: 4_096, run: fuzzNeighbour),
  FuzzTarget(name: "beacon", limit: 2_048, run: fuzzBeacons),
  FuzzTarget(name: "onion", limit: 2_048, run: fuzzOnion),
  FuzzTarget(name: "session", limit: 2_048, run: fuzzSession),
  FuzzTarget(name: "handshake", limit: 512, run: fuzzSessionHandshake),
  FuzzTarget(name: "stream", limit: 2_048, run: fuzzStream),
]

private func identity(_ seed: UInt8) -> Identity {
  var entropy = Entropy(seed: key(seed))
  return Identity(entropy: &entropy)
}

private struct Members {
  let authority = identity(200)
  let one = identity(1)
  let two = identity(2)
  let descriptor: NetworkDescriptor

  init() throws {
    let entry = AuthorityEntry(
      index: 0, signingKey: authority.signing.publicKey, agreementKey: authority.agreement.publicKey,
      name: try NodeName("ma"), ipv4: 0x0a14_0001)
    var descriptor = try NetworkDescriptor(
      founding: try DomainName("lab.test"), prefix: try IPv4Prefix("10.20.0.0/16"), authorities: [entry])
    descriptor.sign(as: 0, with: authority.signing)
    self.descriptor = descriptor
  }

  func certificate(_ identity: Identity) throws -> MembershipCertificate {
    MembershipCertificate(
      issuing: MembershipOpening(salt: Bytes16(), ipv4: 0x0a14_0002, name: try NodeName("box")),
      networkID: descriptor.networkID, signingKey: identity.signing.publicKey,
      agreementKey: identity.agreement.publicKey, role: .component, serial: 1, epoch: 1, issuer: 0,
      with: authority.signing)
  }

  func engine(_ identity: Identity, _ seed: UInt8, _ now: Instant) throws -> NeighbourEngine {
    var configuration = NeighbourConfiguration(
      id: identity.id, agreement: identity.agreement, descriptor: descriptor, certificate: try certificate(identity))
    configuration.wideDiscovery = false
    return NeighbourEngine(configuration: configuration, entropy: Entropy(seed: key(seed)), startingAt: now)
  }
}

nonisolated(unsafe) private let members: Members? = try? Members()

/// Two engines on a wire, in a class of their own: closures do not capture what cannot be copied.
private final class Wire {
  static let port = PortNumber(1)
  static let addresses = (one: MACAddress(0x0200_0000_0001), two: MACAddress(0x0200_0000_0002))
  var one: NeighbourEngine
  var two: NeighbourEngine
  var now = Instant(nanoseconds: 5_000_000_000)
  var choices: Choices

  init(_ members: Members, _ choices: Choices) throws {
    one = try members.engine(members.one, 1, now)
    two = try members.engine(members.two, 2, now)
    self.choices = choices
  }

  func status(_ address: MACAddress, _ isUp: Bool, _ size: Int) -> PortStatus {
    PortStatus(name: "p", address: address, frameSize: size, isUp: isUp, medium: .ethernet, riskGroup: 0)
  }

  /// To the first engine, or the second, in a block of the frame's very size with the head room a pool gives.
  func deliver(_ bytes: [UInt8], toOne: Bool, from source: MACAddress) {
    withExactBlock([UInt8](repeating: 0, count: 64) + bytes) { block, count in
      var buffer = PacketBuffer(base: block, capacity: count, start: 64, count: bytes.count)
      let verdict =
        toOne
        ? one.receive(&buffer, on: Wire.port, from: source, at: now)
        : two.receive(&buffer, on: Wire.port, from: source, at: now)
      switch verdict {
      case .linked(_, _, let offset, let length), .open(_, _, let offset, let length):
        require(offset + length <= bytes.count, "content lies within the frame")
      case .onion: require(bytes.count >= 138, "an onion frame holds its header")
      case .consumed, .refused: break
      }
    }
  }

  private func framesOfOne() -> [[UInt8]] {
    var out: [[UInt8]] = []
    while let output = one.nextOutput() {
      switch output {
      case .hello(let hello, _, _): out.append(hello.array)
      case .transmit(let bytes, _, _): out.append(bytes)
      default: break
      }
    }
    return out
  }

  private func framesOfTwo() -> [[UInt8]] {
    var out: [[UInt8]] = []
    while let output = two.nextOutput() {
      switch output {
      case .hello(let hello, _, _): out.append(hello.array)
      case .transmit(let bytes, _, _): out.append(bytes)
      default: break
      }
    }
    return out
  }

  func pump(mutating: Bool = false) {
    for _ in 0..<6 {
      let (fromOne, fromTwo) = (framesOfOne(), framesOfTwo())
      if fromOne.isEmpty && fromTwo.isEmpty { break }
      for frame in fromOne { deliver(changed(frame, mutating), toOne: false, from: Wire.addresses.one) }
      for frame in fromTwo { deliver(changed(frame, mutating), toOne: true, from: Wire.addresses.two) }
    }
  }

  private func changed(_ frame: [UInt8], _ mutating: Bool) -> [UInt8] {
    mutating && choices.u8() & 3 == 0 ? choices.mutated(frame) : frame
  }

  func pass(_ duration: Duration) {
    let end = now + duration
    for _ in 0..<64 {
      guard let due = earlier(one.nextDeadline, two.nextDeadline), due <= end else { break }
      now = max(now + .microseconds(1), due)
      one.timeout(at: now)
      two.timeout(at: now)
      pump()
    }
    now = max(now, end)
  }

  /// Sealed by the second engine under its link key: any head, any lengths.
  func sealed() -> [UInt8]? {
    guard let record = two.tables.record(1) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 15) + choices.array(choices.below(400))
    let index = choices.u8() % 3
    let head = choices.u8() & 1 == 0 ? choices.u8() : (3 + choices.u8() % 3) << 4 | record.pointee.currentPhase << 3
    let (encrypted, tagged) = (13 + choices.below(bytes.count - 12), 15 + choices.below(bytes.count - 14))
    let whole = choices.u8() & 3 != 0
    bytes.withUnsafeMutableBufferPointer {
      guard let p = $0.baseAddress else { return }
      record.pointee.keys[Int(index)].seal(
        p, head: head, detour: 0, encryptedEnd: whole && head >> 4 != 3 ? $0.count : whole ? 13 : encrypted,
        taggedEnd: whole ? $0.count : tagged)
    }
    return bytes
  }

  /// A hello of the second engine's with any fields; three in four with those that are checked first.
  func hello() -> [UInt8]? {
    guard let record = two.tables.record(1) else { return nil }
    let length = choices.u8() & 1 == 0 ? 56 : 56 + choices.below(300)
    var bytes = [UInt8](repeating: 0, count: 15) + choices.array(length - 15)
    if choices.u8() & 3 != 0 {
      (bytes[16], bytes[17], bytes[54], bytes[55]) = (0, 20, UInt8(length >> 8), UInt8(length & 255))
    }
    bytes.withUnsafeMutableBufferPointer {
      guard let p = $0.baseAddress else { return }
      record.pointee.keys[Int(record.pointee.currentPhase)].seal(
        p, head: FrameHead(.hello, phase: record.pointee.currentPhase).byte, detour: 0, encryptedEnd: 13,
        taggedEnd: $0.count)
    }
    return bytes
  }

  func begin() {
    one.portChanged(Wire.port, status(Wire.addresses.one, true, 1_500), at: now)
    two.portChanged(Wire.port, status(Wire.addresses.two, true, 1_500), at: now)
    let mutatesHandshake = choices.u8() & 1 == 1
    pump(mutating: mutatesHandshake)
    if !mutatesHandshake { pass(.milliseconds(60)) }
  }

  func step() {
    switch choices.u8() & 7 {
    case 0: pass(.milliseconds(Int64(choices.u8())))
    case 1: deliver(choices.array(choices.below(400)), toOne: true, from: Wire.addresses.two)
    case 2: deliver(choices.array(choices.below(400)), toOne: true, from: MACAddress(UInt64(choices.u8())))
    case 3: if let bytes = sealed() { deliver(bytes, toOne: true, from: Wire.addresses.two) }
    case 4: if let bytes = hello() { deliver(bytes, toOne: true, from: Wire.addresses.two) }
    case 5:
      one.portChanged(
        Wire.port, status(Wire.addresses.one, choices.u8() & 1 == 1, Int(choices.u16())), at: now)
    case 6: pump(mutating: true)
    default: one.loopWasLate(by: .milliseconds(Int64(choices.u8())), at: now)
    }
    pump()
    require(one.tables.numbers.count <= 8, "a port has at most eight neighbours")
  }
}

/// Each step of the input lets time pass, changes a frame under way, sends one from a stranger, or seals one.
private func fuzzNeighbour(_ input: UnsafeBufferPointer<UInt8>) {
  guard let members, let wire = try? Wire(members, Choices(bytes: copy(input))) else { fatalError("engines are made") }
  wire.begin()
  for _ in 0..<48 where !wire.choices.isExhausted { wire.step() }
}

private let beaconKeys = SigningKeyPair(seed: key(9))

/// Beacons of one authority, truly signed or not, from several adjacencies.
private func fuzzBeacons(_ input: UnsafeBufferPointer<UInt8>) {
  var choices = Choices(bytes: copy(input))
  let isOrigin = choices.u8() & 1 == 1
  let id = ComponentID(nonce(5))
  var engine = BeaconEngine(
    network: nonce(1), authorities: [BeaconAuthority(id: id, signingKey: beaconKeys.publicKey)],
    ownKey: isOrigin ? beaconKeys : nil, entropy: Entropy(seed: key(3)))
  var now = Instant(nanoseconds: 1_000_000_000)
  if isOrigin { engine.originate(boot: choices.u32(), at: now) }
  for _ in 0..<24 where !choices.isExhausted {
    let adjacency = UInt16(choices.u8())
    switch choices.u8() & 7 {
    case 0: engine.adjacencyUp(adjacency, authenticated: choices.u8() & 1 == 1, at: now)
    case 1: engine.adjacencyDown(adjacency)
    case 2, 3:
      let beacon = Beacon.signed(
        authority: id, boot: choices.u8() & 1 == 0 ? 3 : choices.u32(), counter: choices.u32(), epoch: choices.u32(),
        sizeCode: choices.u8(), network: nonce(1), with: beaconKeys)
      let bytes = choices.mutated(beacon.encode())
      engine.receive(bytes.span, from: adjacency, authenticated: choices.u8() & 1 == 1, at: now)
    case 4:
      let bytes = choices.array(choices.u8() & 3 == 0 ? choices.below(120) : Beacon.encodedSize)
      if let beacon = try? Beacon(decoding: bytes.span) { require(beacon.encode() == bytes, "a beacon is kept") }
      engine.receive(bytes.span, from: adjacency, authenticated: choices.u8() & 1 == 1, at: now)
    case 5: engine.announceChange(at: now)
    default:
      now = now + .milliseconds(Int64(choices.u16()))
      engine.timeout(at: now)
    }
    while engine.nextOutput() != nil {}
  }
}

/// Headers built for a hop whose key the relay has, mutated or not, and any bytes.
private func fuzzOnion(_ input: UnsafeBufferPointer<UInt8>) {
  var choices = Choices(bytes: copy(input))
  var relay = OnionRelay(routeLimit: 4, seed: 1)
  var now = Instant(nanoseconds: 1_000_000_000)
  relay.setKey(key(1), authority: 0, at: now)
  var entropy = Entropy(seed: key(2))
  for _ in 0..<96 where !choices.isExhausted {
    let size = OnionSize(code: choices.u8())
    let ingress = UInt16(choices.u8() & 3)
    var frame = [UInt8](repeating: 0, count: size.endToEnd)
    if choices.u8() & 3 == 0 {
      frame = choices.array(choices.below(size.endToEnd + 32))
    } else {
      var hops: [RouteHop] = []
      let route = UInt32(choices.u8())
      for hop in 0...(choices.u8() & 3 == 0 ? Int(choices.u8()) % size.entries : 0) {
        hops.append(
          RouteHop(
            key: hop == 0 ? key(1) : key(UInt8(truncatingIfNeeded: hop)), route: route, ingress: UInt16(hop),
            egress: choices.u16()))
      }
      guard let builder = OnionBuilder(route: route, size: size, hops: hops, entropy: &entropy) else { continue }
      let onionClass = OnionClass(
        traffic: .control, towardAuthority: choices.u8() & 1 == 1, authority: Int(choices.u8() & 1))
      builder.counter = choices.u8() & 1 == 0 ? UInt32(choices.u8()) : choices.u32()
      frame.withUnsafeMutableBufferPointer {
        if let p = $0.baseAddress { _ = builder.build(p, class: onionClass) }
      }
      if choices.u8() & 1 == 1 { frame = choices.mutated(frame, limit: 4_096) }
    }
    withExactBlock([UInt8](repeating: 0, count: 64) + frame) { block, count in
      let buffer = PacketBuffer(base: block, capacity: count, start: 64, count: frame.count)
      for _ in 0...(choices.u8() & 1) { _ = relay.process(buffer, size: size, ingress: ingress, at: now) }
    }
    if choices.u8() & 15 == 15 { relay.setKey(key(choices.u8()), authority: 0, at: now) }
    if choices.u8() & 15 == 15 { relay.removeKey(authority: 0) }
    now = now + .milliseconds(Int64(choices.u16()))
    // The least a table is made for.
    require(relay.routeCount <= 64, "routes are bounded")
  }
}

private func sessionKeys(_ isAuthority: Bool) -> SessionKeys {
  SessionKeys(
    seal: key(isAuthority ? 1 : 2), open: key(isAuthority ? 2 : 1), onion: key(3), epoch: 1, spi: 0xcafe_f00d)
}

/// End-to-end frames: truly sealed, mutated after, repeated, out of order, or any bytes.
private func fuzzSession(_ input: UnsafeBufferPointer<UInt8>) {
  var choices = Choices(bytes: copy(input))
  let (sender, receiver) = (SecureSession(keys: sessionKeys(true)), SecureSession(keys: sessionKeys(false)))
  for _ in 0..<24 where !choices.isExhausted {
    var frame: [UInt8]
    if choices.u8() & 3 == 0 {
      frame = choices.array(choices.below(80))
    } else {
      let plain = choices.array(choices.below(64))
      frame = [0, 0, 0, 0, 0] + plain + [UInt8](repeating: 0, count: SessionLayout.tag)
      let space = SequenceSpace(rawValue: choices.u8() % 3) ?? .control
      if choices.u8() & 7 == 0 { sender.sent[Int(space.rawValue)] = choices.u64() >> 1 }
      frame.withUnsafeMutableBufferPointer {
        if let p = $0.baseAddress { _ = sender.seal(p, count: plain.count, space: space) }
      }
      if choices.u8() & 1 == 1 { frame = choices.mutated(frame) }
    }
    for _ in 0...(choices.u8() & 1) {
      withExactBlock(frame) { block, count in
        if case .opened(_, _, let plain) = receiver.open(block, count: count) {
          require(plain == count - SessionLayout.header - SessionLayout.tag, "what was opened lies within the frame")
        }
      }
    }
  }
}

/// Challenge and answer, mutated on their way.
private func fuzzSessionHandshake(_ input: UnsafeBufferPointer<UInt8>) {
  guard let members else { fatalError("members are made") }
  var choices = Choices(bytes: copy(input))
  var entropy = Entropy(seed: key(4))
  let (network, id) = (members.descriptor.networkID.bytes, members.authority.id)
  do throws(SessionHandshakeError) {
    var challenge = try SessionChallenge(
      network: network, authority: id, authorityKey: members.authority.agreement, component: members.one.id,
      componentKey: members.one.agreement.publicKey, nonce: nonce(7), epoch: choices.u8(), spi: choices.u32(),
      entropy: &entropy)
    let first = choices.u8() & 3 == 0 ? choices.array(choices.below(120)) : choices.mutated(challenge.body)
    var response = choices.array(choices.below(120))
    do throws(SessionHandshakeError) {
      response = try SessionAnswer(
        challenge: first.span, network: network, authority: id, authorityKey: members.authority.agreement.publicKey,
        component: members.one.id, componentKey: members.one.agreement, nonce: nonce(7), entropy: &entropy
      ).body
    } catch {}
    for _ in 0..<4 {
      let second = choices.mutated(response)
      do throws(SessionHandshakeError) { _ = try challenge.complete(response: second.span) } catch {}
    }
  } catch {}
}

/// The reliable stream: chunks and acknowledgements of any number.
private func fuzzStream(_ input: UnsafeBufferPointer<UInt8>) {
  var choices = Choices(bytes: copy(input))
  var stream = ControlStream(firstNumber: choices.u8() & 1 == 0 ? 0 : choices.u32())
  var now = Instant(nanoseconds: 1_000_000_000)
  for _ in 0..<128 where !choices.isExhausted {
    switch choices.u8() & 7 {
    case 0, 1:
      let number = choices.u8() & 3 == 0 ? choices.u32() : UInt32(choices.u8() & 63)
      stream.receiveChunk(
        number: number, isLast: choices.u8() & 3 == 0, bytes: choices.array(choices.below(64)))
    case 2:
      stream.receiveChunk(
        number: choices.u32(), isLast: false, bytes: [UInt8](repeating: 1, count: choices.below(1_400)))
    case 3, 4: stream.receiveAcknowledgement(next: choices.u32(), bitmap: choices.u32(), at: now)
    case 5: stream.receiveAcknowledgement(next: UInt32(choices.u8()), bitmap: choices.u32(), at: now)
    case 6: _ = stream.send([UInt8](repeating: 2, count: choices.below(40_000)))
    default:
      now = now + .milliseconds(Int64(choices.u16()))
      if choices.u8() & 1 == 1 { stream.hurry() }
    }
    var sends = 0
    while stream.nextSend(at: now) != nil {
      sends += 1
      require(sends < 1_000, "a stream comes to rest")
    }
    if choices.u8() & 1 == 1 { while stream.nextMessage() != nil {} }
    require(stream.underWay.count <= ControlStream.window, "chunks under way are bounded")
    require(stream.early.count <= ControlStream.window, "early chunks are bounded")
  }
}
