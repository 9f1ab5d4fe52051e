// A member that has turned: forges frames with the keys it holds. It changes them before its link key seals them and
// before its session seals them, so that they pass every check of authenticity and meet the code behind it.

import Beacon
import Core
import Crypto
import Membership
import Session
import Topology
import Wire

@testable import Neighbour
@testable import Node
@testable import Onion

/// What a forger makes. The names are those of the frames in docs/PROTOCOL.md.
public enum Forgery: UInt8, CaseIterable, Sendable {
  case beacon, relay, toward, linked, routed, onion, hello, sealed, packet, handshake, replay

  public var name: String {
    switch self {
    case .beacon: "beacon"
    case .relay: "relay"
    case .toward: "toward"
    case .linked: "linked"
    case .routed: "routed"
    case .onion: "onion"
    case .hello: "hello"
    case .sealed: "sealed"
    case .packet: "packet"
    case .handshake: "handshake"
    case .replay: "replay"
    }
  }
}

extension Forgery {
  /// How often each kind is drawn. Those that go far into the code behind the checks are drawn most; what a node takes
  /// only a few of in a second (beacons, RELAY frames) or refuses at the first look (handshake, replay) seldom, so that a
  /// storm of thousands a second is not spent on budgets.
  static let shares: [(kind: Forgery, share: Int)] = [
    (.routed, 64), (.packet, 64), (.toward, 32), (.onion, 24), (.hello, 24), (.linked, 8), (.sealed, 8), (.replay, 8),
    (.handshake, 8), (.relay, 8), (.beacon, 8),
  ]

  static let drawn: [Forgery] = shares.flatMap { Array(repeating: $0.kind, count: $0.share) }
}

/// A frame ready for a port: no Ethernet header.
public struct ForgedFrame {
  public var kind: Forgery
  public var bytes: [UInt8]
  public var port: PortNumber
  public var destination: MACAddress
  /// Believed, it costs the link: a hello that says "I do not hear you", or that large frames do not arrive. Who wants to
  /// keep the link says a true hello next.
  public var isHarmful = false
}

/// Forges on the first adjacency of a node that is up. Keeps the last frames the node itself sent, to mutate and repeat.
public struct Forger {
  private static let sampleLimit = 64
  private var samples: [[UInt8]] = []
  private var nextSample = 0
  private let slab: UnsafeMutablePointer<UInt8>
  private static let slabSize = 4_096

  public init() { slab = .allocate(capacity: Forger.slabSize) }

  /// The memory is the forger's; call once, last.
  public func free() { slab.deallocate() }

  /// A frame the node sent of its own accord.
  public mutating func remember(_ frame: [UInt8]) {
    if samples.count < Forger.sampleLimit {
      samples.append(frame)
    } else {
      samples[nextSample] = frame
      nextSample = (nextSample + 1) % Forger.sampleLimit
    }
  }

  /// Nil when the node has no adjacency that is up, or nothing to forge this kind from.
  public mutating func forge(_ node: inout Node, _ choices: inout Choices, at now: Instant) -> ForgedFrame? {
    guard let adjacency = node.neighbour.adjacencies.first(where: { $0.state == .up }) else { return nil }
    let kind = Forgery.drawn[choices.below(Forgery.drawn.count)]
    let limit = min(adjacency.frameSize, 1_500)
    switch kind {
    case .beacon: return linked(&node, kind, 1, beacon(node, &choices), adjacency, at: now)
    case .relay: return linked(&node, kind, 2, relay(&node, &choices), adjacency, at: now)
    case .toward: return linked(&node, kind, 3, toward(&node, &choices), adjacency, at: now)
    case .linked:
      let (subtype, content) = betweenNeighbours(node, &choices, limit - 18)
      return linked(&node, kind, subtype, content, adjacency, at: now)
    case .routed: return routed(&node, kind, message(&node, &choices), nil, &choices, adjacency, at: now)
    case .packet: return routed(&node, kind, packet(node, &choices), 2, &choices, adjacency, at: now)
    case .onion: return onion(&node, &choices, limit, adjacency, at: now)
    case .hello: return hello(node, &choices, adjacency)
    case .sealed: return sealed(node, &choices, limit, adjacency)
    case .handshake, .replay:
      if samples.isEmpty { return nil }
      let sample = samples[choices.below(samples.count)]
      let bytes = kind == .replay ? sample : choices.mutated(sample, limit: limit)
      return ForgedFrame(
        kind: kind, bytes: bytes.isEmpty ? [0] : bytes, port: adjacency.port, destination: .nearestBridge)
    }
  }

  // MARK: Contents

  private func beacon(_ node: borrowing Node, _ choices: inout Choices) -> [UInt8] {
    guard let entry = node.descriptor.authorities.first, let newest = node.beacon.newest(authority: 0) else {
      return choices.array(Beacon.encodedSize)
    }
    // Newer than what is known, and so worth a look at the signature, which is wrong.
    var writer = ByteWriter(reserving: Beacon.encodedSize)
    writer.componentID(entry.id)
    writer.u32(newest.boot &+ UInt32(choices.u8() & 1))
    writer.u32(newest.counter &+ UInt32(choices.u8()))
    writer.u32(newest.epoch)
    writer.u8(choices.u8() & 3)
    writer.zeros(67)
    return choices.mutated(writer.bytes)
  }

  private func authority(_ node: borrowing Node, _ choices: inout Choices) -> ComponentID {
    if let entry = node.descriptor.authorities.first, choices.u8() & 15 != 0 { return entry.id }
    return ComponentID(Bytes16())
  }

  private func relay(_ node: inout Node, _ choices: inout Choices) -> [UInt8] {
    let kind = RelayMessage.Kind(rawValue: 1 + choices.u8() % 5) ?? .attach
    let body: [UInt8]
    switch choices.u8() & 3 {
    case 0:
      let request = AttachRequest(
        id: choices.u8() & 1 == 0 ? node.identity.id : authority(node, &choices), nonce: node.entropy.bytes16(),
        epoch: node.descriptor.epoch, keyEpoch: choices.u8() % 5 == 4 ? 255 : choices.u8() & 3,
        certificate: node.contents.certificate?.encode() ?? [])
      body = choices.mutated(request.encode())
    case 1: body = bigEndian(spi(node, &choices)) + endToEnd(&node, nil, message(&node, &choices), &choices)
    default: body = choices.array(choices.below(300))
    }
    return choices.mutated(RelayMessage(kind: kind, authority: authority(node, &choices), body: body).encode())
  }

  private func spi(_ node: borrowing Node, _ choices: inout Choices) -> UInt32 {
    choices.u8() & 15 == 0 ? choices.u32() : node.uplinks.first?.channel.session?.keys.spi ?? 0
  }

  private func toward(_ node: inout Node, _ choices: inout Choices) -> [UInt8] {
    let newest = node.beacon.newest(authority: 0)
    let message = TowardMessage(
      authority: authority(node, &choices), boot: newest?.boot ?? 1, counter: newest?.counter ?? 1,
      budget: choices.u8() & 3 == 0 ? choices.u8() & 63 : TowardMessage.fullBudget, spi: spi(node, &choices),
      sealed: endToEnd(&node, nil, message(&node, &choices), &choices))
    let bytes = message.encode()
    return choices.u8() & 1 == 0 ? bytes : choices.mutated(bytes)
  }

  /// Any subtype with anything, or what tells of broken routes and hands descriptors on.
  private func betweenNeighbours(
    _ node: borrowing Node, _ choices: inout Choices, _ limit: Int
  ) -> (subtype: UInt8, content: [UInt8]) {
    switch choices.u8() % 6 {
    case 0:
      var routes: [UInt8] = []
      for _ in 0...choices.below(60) { routes += [choices.u8() & 15] + bigEndian(choices.u32()) }
      return (4, routes)
    case 1:
      let epoch = choices.u8() & 1 == 0 ? node.descriptor.epoch &+ 1 : choices.u32()
      return (8, SuccessionAsk(epoch: epoch, offset: choices.u16(), name: authority(node, &choices)).encode())
    case 2:
      let bytes = choices.array(1 + choices.below(SuccessionPiece.limit))
      let offset = choices.u16()
      return (
        9,
        SuccessionPiece(
          epoch: node.descriptor.epoch &+ UInt32(choices.u8() & 3), length: offset | 512, offset: offset, bytes: bytes
        ).encode()
      )
    case 3:
      return (
        10,
        SuccessionStanding(epoch: node.descriptor.epoch &+ UInt32(choices.u8() & 3), name: authority(node, &choices))
          .encode()
      )
    default: return (choices.u8() % 12, choices.array(choices.below(limit)))
    }
  }

  /// A control message, well formed or mutated.
  private func message(_ node: inout Node, _ choices: inout Choices) -> [UInt8] {
    var bytes: [UInt8]
    switch choices.u8() % 11 {
    case 0, 1:
      var advertisement = node.ownAdvertisement()
      while choices.u8() & 1 == 1, advertisement.adjacencies.count < 24 {
        advertisement.adjacencies.append(
          LinkStateAdvertisement.Adjacency(
            number: choices.u16(), neighbour: authority(node, &choices), neighbourNumber: choices.u16(),
            frameSize: choices.u16(), cost: choices.u16()))
      }
      bytes = [ControlType.lsa.rawValue] + advertisement.encode()
    case 2:
      let relayed = RelayMessage(
        kind: RelayMessage.Kind(rawValue: 1 + choices.u8() % 5) ?? .attach, authority: authority(node, &choices),
        body: choices.array(choices.below(200)))
      bytes =
        RelayUp(
          adjacency: choices.u16(), neighbour: authority(node, &choices), linked: choices.u8() & 1 == 1, relay: relayed
        ).encode()
    case 3: bytes = [ControlType.renewed.rawValue]
    case 4: bytes = [ControlType.probe.rawValue] + choices.array(choices.below(900))
    case 5:
      bytes =
        DetourPart(
          replacesSteps: choices.u8() & 1 == 1, replacesHeads: choices.u8() & 1 == 1,
          heads: (0..<choices.below(8)).map { _ in
            DetourHead(
              egress: choices.u16() & 7, onward: choices.u16() & 7, first: choices.u16() & 7, label: choices.u16(),
              frameSize: choices.u16())
          },
          steps: (0..<choices.below(8)).map { _ in
            DetourStep(
              ingress: choices.u16() & 7, label: choices.u16(), egress: choices.u16() & 7, next: choices.u16())
          }
        ).encode()
    case 6:
      bytes = Present(certificate: choices.array(choices.below(260)), opening: choices.array(choices.below(99)))
        .encode()
    case 7:
      // Of a way of its own, and of none.
      let own = node.uplinks.first?.channel.ways.main?.builder.route
      bytes = SuspectNotice(route: choices.u8() & 1 == 0 ? own ?? 0 : choices.u32()).encode()
    case 8:
      let passages = (0..<1 + choices.below(8)).map { _ in Passage(rawValue: choices.u8() % 3) ?? .notSeen }
      bytes = TraceAnswer(route: choices.u32(), passages: passages).encode()
    default: bytes = [choices.u8() & 31] + choices.array(choices.below(200))
    }
    if choices.u8() & 1 == 1 { bytes = choices.mutated(bytes, limit: 1_000) }
    // A goodbye would end the session that everything here is sealed with; now and then one may.
    if bytes.first == ControlType.goodbye.rawValue, choices.u8() != 1 { bytes[0] = ControlType.renewed.rawValue }
    return bytes
  }

  /// An IP segment: its header, then a packet from this node to the authority, mutated.
  private func packet(_ node: borrowing Node, _ choices: inout Choices) -> [UInt8] {
    let length = 28 + choices.below(900)
    var ip = [UInt8](repeating: 0, count: length)
    ip.replaceSubrange(0..<2, with: [0x45, 0])
    ip[2] = UInt8(length >> 8)
    ip[3] = UInt8(length & 255)
    ip.replaceSubrange(8..<10, with: [64, choices.u8() & 1 == 0 ? 17 : 6])
    ip.replaceSubrange(12..<16, with: bigEndian(node.ownIPv4))
    ip.replaceSubrange(16..<20, with: bigEndian(node.descriptor.authorities.first?.ipv4 ?? 0))
    if choices.u8() & 1 == 1 { ip = choices.mutated(ip) }
    let segment: [UInt8] =
      choices.u8() & 3 == 0 ? choices.array(4) : [choices.u8() & 3, 0, 0, choices.u8() & 3 == 0 ? choices.u8() : 0]
    return segment + ip
  }

  /// Segment and payload sealed under the session: as the far end opens it. Without a session, unsealed.
  /// - Parameter kind: high nibble of the segment, or nil for a control one.
  private func endToEnd(
    _ node: inout Node, _ kind: UInt8?, _ payload: [UInt8], _ choices: inout Choices
  ) -> [UInt8] {
    var frame = [UInt8](repeating: 0, count: SessionLayout.header)
    if let kind {
      frame.append(kind << 4 | (choices.u8() & 7 == 0 ? choices.u8() & 15 : 1))
      frame += payload
    } else {
      let control: UInt8
      switch choices.u8() & 7 {
      case 0: control = choices.u8()
      case 1: control = 1 << 4 | choices.u8() & 1
      case 2: control = 3 << 4
      default: control = 0
      }
      frame.append(control)
      frame += choices.u8() & 1 == 0 ? [0, 0, 0, choices.u8()] : choices.array(4)
      frame += payload
    }
    let count = frame.count - SessionLayout.header
    frame += [UInt8](repeating: 0, count: SessionLayout.tag)
    guard let session = node.uplinks.first?.channel.session else { return frame }
    let space: SequenceSpace = kind == nil ? .control : choices.u8() & 1 == 0 ? .protected : .bulk
    frame.withUnsafeMutableBufferPointer {
      if let start = $0.baseAddress { _ = session.seal(start, count: count, space: space) }
    }
    return frame
  }

  // MARK: Frames

  private func buffer(_ count: Int) -> PacketBuffer {
    PacketBuffer(base: slab, capacity: Forger.slabSize, start: PacketPool.headRoom, count: count)
  }

  private func frame(_ kind: Forgery, _ buffer: borrowing PacketBuffer, _ destination: LinkDestination) -> ForgedFrame {
    ForgedFrame(
      kind: kind, bytes: Array(UnsafeBufferPointer(start: buffer.bytes, count: buffer.count)), port: destination.port,
      destination: destination.address)
  }

  private func linked(
    _ node: inout Node, _ kind: Forgery, _ subtype: UInt8, _ content: [UInt8], _ adjacency: Adjacency, at now: Instant
  ) -> ForgedFrame? {
    var buffer = buffer(0)
    guard
      let destination = node.neighbour.sealLinked(
        subtype: subtype, content: content, into: &buffer, on: adjacency.number, at: now)
    else { return nil }
    return frame(kind, buffer, destination)
  }

  /// By the node's own way to the authority: a true onion header around a forged content, or a header mutated too.
  private func routed(
    _ node: inout Node, _ kind: Forgery, _ payload: [UInt8], _ segment: UInt8?, _ choices: inout Choices,
    _ adjacency: Adjacency, at now: Instant
  ) -> ForgedFrame? {
    guard let channel = node.uplinks.first?.channel, let way = channel.ways.main else { return nil }
    let inner = endToEnd(&node, segment, payload, &choices)
    let start = way.builder.size.endToEnd
    var buffer = buffer(start + inner.count)
    guard buffer.count <= adjacency.frameSize else { return nil }
    let traffic: FrameClass = segment == nil ? .control : choices.u8() & 1 == 0 ? .protected : .bulk
    guard
      way.builder.build(
        buffer.bytes,
        class: OnionClass(traffic: traffic, towardAuthority: true, authority: channel.authorityIndex))
    else { return nil }
    for i in inner.indices { buffer.bytes[start + i] = inner[i] }
    if choices.u8() & 7 == 0 {
      for _ in 0...(choices.u8() & 3) { buffer.bytes[15 + choices.below(start - 15)] ^= 1 << (choices.u8() & 7) }
    }
    guard
      let destination = node.neighbour.sealOnion(
        &buffer, sizeCode: way.builder.size.code, detour: choices.u8() & 3 == 0 ? choices.u16() : 0, on: way.egress,
        at: now)
    else { return nil }
    return frame(kind, buffer, destination)
  }

  /// A random onion header of any size; half of them of a class that exists.
  private func onion(
    _ node: inout Node, _ choices: inout Choices, _ limit: Int, _ adjacency: Adjacency, at now: Instant
  ) -> ForgedFrame? {
    let code = choices.u8() & 3
    let end = LinkHeader.onionHeaderEnd(sizeCode: code)
    if end > limit { return nil }
    let content = choices.array(choices.below(min(limit - end + 1, 200)))
    var buffer = buffer(end + content.count)
    for i in 15..<end { buffer.bytes[i] = choices.u8() }
    if choices.u8() & 1 == 1 { buffer.bytes[15] = choices.u8() % 3 << 5 | choices.u8() & 0x10 }
    for i in content.indices { buffer.bytes[end + i] = content[i] }
    guard
      let destination = node.neighbour.sealOnion(
        &buffer, sizeCode: code, detour: choices.u16(), on: adjacency.number, at: now)
    else { return nil }
    return frame(.onion, buffer, destination)
  }

  private func key(_ node: borrowing Node, _ number: UInt16) -> UnsafeMutablePointer<LinkKey>? {
    guard let record = node.neighbour.tables.record(number) else { return nil }
    return record.pointee.keys + Int(record.pointee.currentPhase)
  }

  /// A true hello but for one field. One in 256 says what costs the link when it is believed.
  private func hello(_ node: borrowing Node, _ choices: inout Choices, _ adjacency: Adjacency) -> ForgedFrame? {
    guard let key = key(node, adjacency.number) else { return nil }
    let isHarmful = choices.u8() == 0
    let length = choices.u8() & 3 == 0 ? 56 + choices.below(600) : 56
    var values = HelloFrame(
      flags: HelloFrame.Flag.hearsYou | choices.u8() & HelloFrame.Flag.answerNow, interval: 20,
      epoch: node.descriptor.epoch, sent: UInt32(truncatingIfNeeded: adjacency.sent),
      received: UInt32(truncatingIfNeeded: adjacency.received), nonce: node.contents.networkID.bytes,
      heard: UInt32(truncatingIfNeeded: key.pointee.window.highest), frameSize: 1_500, largest: 1_500,
      length: UInt16(length))
    switch choices.u8() & 7 {
    case 0: values.interval = 10 + choices.u16() % 991
    case 1: values.epoch = choices.u32()
    case 2: values.sent = choices.u32()
    case 3: values.received = choices.u32()
    case 4: values.heard = choices.u32()
    case 5: values.nonce = Bytes16()
    case 6: values.flags |= choices.u8() & ~HelloFrame.Flag.leaving
    default: values.frameSize = max(576, choices.u16())
    }
    if isHarmful {
      switch choices.u8() & 15 {
      // Seldom "leaving": a neighbour that has left hears nothing more before the next handshake.
      case 0: values.flags |= HelloFrame.Flag.leaving
      case 1...4: values.largest = choices.u16()
      case 5...8: values.frameSize = choices.u16()
      default: values.flags = choices.u8() & ~(HelloFrame.Flag.hearsYou | HelloFrame.Flag.leaving)
      }
    }
    var bytes = values.encode()
    // Many of these do not decode.
    if choices.u8() & 15 == 0 { for i in 16..<50 where choices.u8() & 7 == 0 { bytes[i] = choices.u8() } }
    bytes.withUnsafeMutableBufferPointer {
      guard let p = $0.baseAddress else { return }
      key.pointee.seal(
        p, head: FrameHead(.hello, phase: key.pointee.phase).byte, detour: choices.u16() & 1,
        encryptedEnd: LinkHeader.detour, taggedEnd: length)
    }
    return ForgedFrame(
      kind: .hello, bytes: bytes, port: adjacency.port, destination: adjacency.address, isHarmful: isHarmful)
  }

  /// Any bytes of any type under the link key, tagged over any length.
  private func sealed(
    _ node: borrowing Node, _ choices: inout Choices, _ limit: Int, _ adjacency: Adjacency
  ) -> ForgedFrame? {
    guard let key = key(node, adjacency.number) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 15) + choices.array(choices.below(limit - 15))
    let head = choices.u8() & 1 == 0 ? choices.u8() : (3 + choices.u8() % 3) << 4 | key.pointee.phase << 3
    let length = bytes.count
    let tagged = choices.u8() & 1 == 0 ? length : 15 + choices.below(length - 14)
    let encrypted = choices.u8() & 1 == 0 ? length : 13 + choices.below(length - 12)
    bytes.withUnsafeMutableBufferPointer {
      guard let p = $0.baseAddress else { return }
      key.pointee.seal(p, head: head, detour: 0, encryptedEnd: encrypted, taggedEnd: tagged)
    }
    return ForgedFrame(kind: .sealed, bytes: bytes, port: adjacency.port, destination: adjacency.address)
  }
}
