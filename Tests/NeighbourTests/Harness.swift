// Boxes with neighbour engines on wires, in virtual time that jumps to what is next. Nothing sleeps; a run depends on its
// seed only. `fate` of a wire decides what becomes of each frame: one delay for each copy that arrives.

import Core
import Crypto
import Membership
import Testing
import Wire

@testable import Neighbour

/// A network with one authority, and members of it made from small numbers.
struct TestNetwork {
  let authority: Identity
  var descriptor: NetworkDescriptor

  init(seed: UInt8 = 200) {
    authority = Self.identity(seed)
    let entry = AuthorityEntry(
      index: 0, signingKey: authority.signing.publicKey, agreementKey: authority.agreement.publicKey,
      name: try! NodeName("ma"), ipv4: 0x0a14_0001)
    descriptor = try! NetworkDescriptor(
      founding: try! DomainName("lab.test"), prefix: try! IPv4Prefix("10.20.0.0/16"), authorities: [entry])
    descriptor.sign(as: 0, with: authority.signing)
  }

  static func identity(_ seed: UInt8) -> Identity {
    var entropy = Entropy(seed: bytes32(seed))
    return Identity(entropy: &entropy)
  }

  func certificate(of identity: Identity, serial: UInt32 = 1) -> MembershipCertificate {
    MembershipCertificate(
      issuing: MembershipOpening(salt: Bytes16(), ipv4: 0x0a14_0002, name: try! NodeName("box")),
      networkID: descriptor.networkID, signingKey: identity.signing.publicKey,
      agreementKey: identity.agreement.publicKey, role: .component, serial: serial, epoch: 1, issuer: 0,
      with: authority.signing)
  }

  /// The next epoch, in which these are revoked.
  func revoking(_ ids: [ComponentID]) -> NetworkDescriptor {
    try! descriptor.successor(authorities: descriptor.authorities, revoked: ids.sorted())
  }
}

func bytes32(_ fill: UInt8) -> Bytes32 {
  var value = Bytes32()
  value.withMutableBytes { for i in 0..<32 { $0[i] = fill &+ UInt8(i) } }
  return value
}

/// A frame on its way.
struct Transit {
  let bytes: [UInt8]
  let source: MACAddress
  let destination: MACAddress
  let from: Int
  let to: Int
  let sent: Instant

  var type: UInt8 { bytes[0] >> 4 }
}

struct Attachment {
  let box: Int
  let port: PortNumber
}

final class Wire {
  var attachments: [Attachment] = []
  /// A switch: does not forward the nearest-bridge address.
  var isSwitch = false
  var fate: (Transit) -> [Duration] = { _ in [.microseconds(20)] }
  /// Every frame that was put on it, when it is to be kept.
  var heard: [Transit] = []
  var isRecording = false
}

enum Happening: Equatable {
  case up(UInt16)
  case down(UInt16, AdjacencyDownReason)
  case changed(UInt16)
  case doubted(UInt16)
  case trusted(UInt16)
  case stranger(UInt16)
  case strangerGone(UInt16)
  case event(String)

  /// Whether a link came up or went down.
  var isOfLink: Bool {
    switch self {
    case .up, .down: true
    default: false
    }
  }
}

final class Box {
  var engine: NeighbourEngine
  var trustsItsLink: Bool { engine.isTrusted(1) }
  let identity: Identity
  var status: [PortNumber: PortStatus] = [:]
  var log: [(at: Instant, what: Happening)] = []
  var verdicts: [NeighbourVerdict] = []
  /// The contents of OPEN, LINKED and ONION frames as they came out of `receive`.
  var contents: [[UInt8]] = []
  /// A frozen process: neither receives nor runs.
  var isFrozen = false

  init(_ engine: consuming NeighbourEngine, identity: Identity) {
    self.engine = engine
    self.identity = identity
  }

  func times(of what: Happening) -> [Instant] { log.filter { $0.what == what }.map(\.at) }

  func events(containing text: String) -> Int {
    log.filter { if case .event(let line) = $0.what { return line.contains(text) } else { return false } }.count
  }

  var link: Adjacency? { engine.adjacency(1) }
}

final class Harness {
  let network: TestNetwork
  let start = Instant(nanoseconds: 5_000_000_000)
  var now: Instant
  var boxes: [Box] = []
  var wires: [Wire] = []
  var random: Entropy
  private var queue: [(at: Instant, order: Int, wire: Int, transit: Transit, port: PortNumber)] = []
  private var order = 0
  private let slab = UnsafeMutablePointer<UInt8>.allocate(capacity: 70_000)

  init(seed: UInt8 = 1, network: TestNetwork = TestNetwork()) {
    self.network = network
    now = start
    random = Entropy(seed: bytes32(seed))
  }

  deinit { slab.deallocate() }

  // MARK: - Building

  @discardableResult
  func addBox(
    _ seed: UInt8, isMember: Bool = true, network other: TestNetwork? = nil,
    adjust: (inout NeighbourConfiguration) -> Void = { _ in }
  ) -> Box {
    let identity = TestNetwork.identity(seed)
    let network = other ?? network
    var configuration = NeighbourConfiguration(
      id: identity.id, agreement: identity.agreement, descriptor: network.descriptor,
      certificate: isMember ? network.certificate(of: identity) : nil)
    configuration.wideDiscovery = false
    adjust(&configuration)
    let box = Box(
      NeighbourEngine(configuration: configuration, entropy: random.fork(), startingAt: now), identity: identity)
    boxes.append(box)
    return box
  }

  /// Boxes that have an address of another's choosing on all their ports.
  var moved: [Int: MACAddress] = [:]

  func address(_ box: Int, _ port: PortNumber) -> MACAddress {
    moved[box]
      ?? MACAddress(0x0200_0000_0000 | UInt64(box) << 8 | UInt64(port.value))
  }

  func wire(_ ends: [(Int, UInt16)], isSwitch: Bool = false) -> Wire {
    let wire = Wire()
    wire.isSwitch = isSwitch
    wire.attachments = ends.map { Attachment(box: $0.0, port: PortNumber($0.1)) }
    wires.append(wire)
    return wire
  }

  func setPort(
    _ box: Int, _ port: UInt16 = 1, isUp: Bool = true, frameSize: Int = 1500, medium: PortMedium = .ethernet
  ) {
    let number = PortNumber(port)
    let status = PortStatus(
      name: "p\(port)", address: address(box, number), frameSize: frameSize, isUp: isUp, medium: medium, riskGroup: 0)
    boxes[box].status[number] = status
    boxes[box].engine.portChanged(number, status, at: now)
    drain(box)
  }

  /// Two members on a wire, ports up.
  static func pair(seed: UInt8 = 1, adjust: (inout NeighbourConfiguration) -> Void = { _ in }) -> Harness {
    let harness = Harness(seed: seed)
    harness.addBox(10, adjust: adjust)
    harness.addBox(11, adjust: adjust)
    _ = harness.wire([(0, 1), (1, 1)])
    harness.setPort(0)
    harness.setPort(1)
    return harness
  }

  /// The same, up and at rest.
  static func upPair(seed: UInt8 = 1, adjust: (inout NeighbourConfiguration) -> Void = { _ in }) throws -> Harness {
    let harness = Harness.pair(seed: seed, adjust: adjust)
    try #require(harness.runUntilUp() != nil)
    harness.run(for: .seconds(4))
    return harness
  }

  /// The box with the lower ID of a pair, which begins handshakes, and the other.
  var initiator: Int { boxes[0].identity.id < boxes[1].identity.id ? 0 : 1 }
  var responder: Int { 1 - initiator }

  /// What the box keeps of its first adjacency.
  func record(_ box: Int) -> AdjacencyPointer {
    guard let record = boxes[box].engine.tables.record(1) else { fatalError("adjacency 1 is there") }
    return record
  }

  /// A new process in the box: an engine that knows nothing, with the same identity or another one.
  func restart(_ box: Int, as another: Identity? = nil) {
    let old = boxes[box]
    let identity = another ?? old.identity
    var configuration = NeighbourConfiguration(
      id: identity.id, agreement: identity.agreement, descriptor: network.descriptor,
      certificate: network.certificate(of: identity))
    configuration.wideDiscovery = false
    let fresh = Box(
      NeighbourEngine(configuration: configuration, entropy: random.fork(), startingAt: now), identity: identity)
    fresh.status = old.status
    boxes[box] = fresh
    for (number, status) in old.status.sorted(by: { $0.key < $1.key }) {
      boxes[box].engine.portChanged(number, status, at: now)
    }
    drain(box)
  }

  // MARK: - Running

  func drain(_ index: Int) {
    let box = boxes[index]
    while let output = box.engine.nextOutput() {
      switch output {
      case .hello(let hello, let port, let destination): send(hello.array, from: index, port, to: destination)
      case .transmit(let bytes, let port, let destination): send(bytes, from: index, port, to: destination)
      case .adjacencyUp(let n): box.log.append((now, .up(n)))
      case .adjacencyDown(let n, let reason, _, _, _): box.log.append((now, .down(n, reason)))
      case .adjacencyChanged(let n): box.log.append((now, .changed(n)))
      case .adjacencyDoubted(let n): box.log.append((now, .doubted(n)))
      case .adjacencyTrusted(let n): box.log.append((now, .trusted(n)))
      case .adjacencyRenewed: break
      case .strangerHeard(let n): box.log.append((now, .stranger(n)))
      case .strangerGone(let n): box.log.append((now, .strangerGone(n)))
      case .event(_, let text): box.log.append((now, .event(text)))
      }
    }
  }

  func send(
    _ bytes: [UInt8], from box: Int, _ port: PortNumber, to destination: MACAddress, as source: MACAddress? = nil
  ) {
    for (index, wire) in wires.enumerated() {
      guard wire.attachments.contains(where: { $0.box == box && $0.port == port }) else { continue }
      if wire.isSwitch && destination == .nearestBridge { continue }
      for end in wire.attachments where !(end.box == box && end.port == port) {
        let isGroup = destination == .nearestBridge || destination == .wideDiscovery
        if !isGroup && destination != address(end.box, end.port) { continue }
        let transit = Transit(
          bytes: bytes, source: source ?? address(box, port), destination: destination, from: box, to: end.box,
          sent: now)
        if wire.isRecording { wire.heard.append(transit) }
        for delay in wire.fate(transit) { enqueue(transit, wire: index, port: end.port, at: now + delay) }
      }
    }
  }

  private func enqueue(_ transit: Transit, wire: Int, port: PortNumber, at: Instant) {
    order += 1
    var position = queue.count
    while position > 0, queue[position - 1].at > at { position -= 1 }
    queue.insert((at, order, wire, transit, port), at: position)
  }

  /// Hands bytes to a box as if they came from the wire now.
  @discardableResult
  func inject(_ bytes: [UInt8], into index: Int, port: UInt16 = 1, from source: MACAddress) -> NeighbourVerdict {
    for i in bytes.indices { slab[64 + i] = bytes[i] }
    var buffer = PacketBuffer(base: slab, capacity: 70_000, start: 64, count: bytes.count)
    let verdict = boxes[index].engine.receive(&buffer, on: PortNumber(port), from: source, at: now)
    switch verdict {
    case .open(_, _, let offset, let count), .linked(_, _, let offset, let count):
      boxes[index].contents.append((0..<count).map { buffer.bytes[offset + $0] })
    case .onion: boxes[index].contents.append((13..<buffer.count).map { buffer.bytes[$0] })
    case .consumed, .refused: break
    }
    boxes[index].verdicts.append(verdict)
    drain(index)
    return verdict
  }

  func run(for time: Duration) { run(until: now + time) }

  func run(until end: Instant, orWhen condition: () -> Bool = { false }) {
    while !condition() {
      var next = queue.first?.at
      for box in boxes where !box.isFrozen { next = earlier(next, box.engine.nextDeadline) }
      guard let next, next <= end else { break }
      if next > now { now = next }
      // What has arrived is taken in before deadlines are judged.
      if let first = queue.first, first.at <= now {
        queue.removeFirst()
        if boxes[first.transit.to].isFrozen { continue }
        inject(first.transit.bytes, into: first.transit.to, port: first.port.value, from: first.transit.source)
        continue
      }
      for index in boxes.indices where !boxes[index].isFrozen {
        if let due = boxes[index].engine.nextDeadline, due <= now {
          boxes[index].engine.timeout(at: now)
          drain(index)
          if let next = boxes[index].engine.nextDeadline, next <= now {
            Issue.record("box \(index) asks again for the time it just had")
            return
          }
        }
      }
    }
    if !condition() && now < end { now = end }
  }

  /// Both ends of a pair are up. Nil when they were not within the time.
  @discardableResult
  func runUntilUp(within limit: Duration = .seconds(5)) -> Duration? {
    let from = now
    run(until: now + limit, orWhen: { boxes.allSatisfy { $0.link?.state == .up } })
    return boxes.allSatisfy { $0.link?.state == .up } ? now - from : nil
  }

  /// Seals an ONION frame of this class from one box; nil when refused. Bytes from 15 on count up.
  func onion(from index: Int, size: Int = 112 + 26, onionClass: UInt8 = 2, on number: UInt16 = 1) -> [UInt8]? {
    for i in 0..<size { slab[64 + i] = UInt8(truncatingIfNeeded: i) }
    slab[64 + 15] = onionClass << 5
    var buffer = PacketBuffer(base: slab, capacity: 70_000, start: 64, count: size)
    guard boxes[index].engine.sealOnion(&buffer, sizeCode: 0, on: number, at: now) != nil else { return nil }
    return (0..<size).map { buffer.bytes[$0] }
  }

  func linked(from index: Int, subtype: UInt8, content: [UInt8], on number: UInt16 = 1) -> [UInt8]? {
    var buffer = PacketBuffer(base: slab, capacity: 70_000, start: 64, count: 0)
    guard
      boxes[index].engine.sealLinked(subtype: subtype, content: content, into: &buffer, on: number, at: now) != nil
    else { return nil }
    return (0..<buffer.count).map { buffer.bytes[$0] }
  }

  func open(
    from index: Int, subtype: UInt8, content: [UInt8], on number: UInt16 = 1
  ) -> (bytes: [UInt8], to: LinkDestination)? {
    var buffer = PacketBuffer(base: slab, capacity: 70_000, start: 64, count: 0)
    guard
      let to = boxes[index].engine.composeOpen(
        subtype: subtype, content: content, into: &buffer, on: number, at: now)
    else { return nil }
    return ((0..<buffer.count).map { buffer.bytes[$0] }, to)
  }
}

extension Array where Element == Happening {
  var downs: Int { filter { if case .down = $0 { return true } else { return false } }.count }
}

extension Box {
  var downs: Int { log.map(\.what).downs }
}

/// Decodes recorded frames.
struct ByteReaderBox {
  let bytes: [UInt8]
  init(_ bytes: [UInt8]) { self.bytes = bytes }

  mutating func discover() throws -> DiscoverFrame {
    var reader = ByteReader(bytes.span)
    return try DiscoverFrame(decoding: &reader)
  }

  mutating func hello() throws -> HelloFrame {
    try #require(bytes.count >= HelloFrame.size)
    return try bytes.withUnsafeBufferPointer { try HelloFrame(decoding: $0.baseAddress!) }
  }
}
