// Neighbours: finding them, proving who they are, sharing a key with each, and knowing within three hellos when one
// cannot be reached any more. A state machine without clock and I/O; see docs/PROTOCOL.md §1 and §2.
//
// Nothing that is not authentic changes the state of a link. DISCOVERs, which anybody can send or repeat, may begin
// handshakes within a budget; a key replaces another only when a hello under it has proved that both ends hold it.

import Core
import Crypto
import Membership

public struct NeighbourEngine: ~Copyable {
  private let inPlace = InPlace()
  var configuration: NeighbourConfiguration
  /// The first 8 bytes of the network ID.
  let network: UInt64
  var ownCertificate: [UInt8]
  var entropy: Entropy
  var tables = NeighbourTables()
  /// Ports beyond the limit, the one that came first in front.
  private var waitingPorts: [(number: PortNumber, status: PortStatus)] = []
  var verified = CertificateCache()
  var spare = SpareBudgets()
  var falls = FallMemory()
  /// Hellos from unknown addresses that are tried under the tunnels' keys.
  var arrivals = TokenBucket(rate: NeighbourLimits.arrivalsPerSecond, burst: NeighbourLimits.arrivalsBurst)
  /// Rises with every nonce made.
  var nonceTurn: UInt64 = 0
  /// Hellos go out at this instant and a multiple of their interval after it; moved by the neighbours' hellos.
  /// Nanoseconds; below zero where they were drawn far.
  var ticksFrom: Int64
  /// The shortest interval of a link that is up, ms.
  var quickest: UInt16 = 0
  /// By how much hello intervals are lengthened; 1 is not at all.
  var stretch = 1
  /// Likewise those of members' further places on a port.
  var furtherStretch = 1
  /// Bytes a link must carry to be of use.
  public private(set) var smallestFrame = NeighbourLimits.smallestUsableFrame
  var isStopped = false
  var deadline = Instant.never
  /// Something was scheduled earlier than `deadline` may say.
  var deadlineIsStale = false
  /// Likewise, but only for what was heard: `deadline` is earlier than it need be.
  var deadlineIsEarly = false
  /// The earliest of what is due beside hellos and silence.
  var seldomDue = Instant.never
  var outputs = BoundedQueue<NeighbourOutput>(limit: NeighbourLimits.waitingOutputs)
  public internal(set) var counters = NeighbourCounters()

  public init(configuration: NeighbourConfiguration, entropy: Entropy, startingAt now: Instant) {
    self.configuration = configuration
    self.entropy = entropy
    ticksFrom = Int64(bitPattern: now.nanoseconds)
    network = configuration.descriptor.networkID.bytes.withBytes {
      UInt64(loadBig32($0)) << 32 | UInt64(loadBig32($0 + 4))
    }
    ownCertificate = configuration.certificate?.encode() ?? []
  }

  // Without one of its own, Embedded Swift looks for the members' deinits in the module that uses this one.
  deinit {}

  // MARK: - Outputs

  public mutating func nextOutput() -> NeighbourOutput? { outputs.popFirst() }

  public var nextDeadline: Instant? { deadline == .never ? nil : deadline }

  mutating func transmit(_ bytes: [UInt8], on port: PortPointer, to destination: MACAddress) {
    if bytes.count > port.pointee.frameSize {
      counters.tooLarge &+= 1
      return
    }
    if outputs.count >= NeighbourLimits.waitingFrames {
      counters.outputsDropped &+= 1
      return
    }
    outputs.append(.transmit(bytes, port: port.pointee.number, destination: destination))
  }

  mutating func transmit(_ hello: ShortFrame, on port: PortPointer, to destination: MACAddress) {
    if outputs.count >= NeighbourLimits.waitingFrames {
      counters.outputsDropped &+= 1
      return
    }
    outputs.append(.hello(hello, port: port.pointee.number, destination: destination))
  }

  mutating func tell(_ output: NeighbourOutput) {
    if !outputs.append(output) { counters.outputsDropped &+= 1 }
  }

  mutating func log(_ level: LogLevel, _ text: String) { tell(.event(level, text)) }

  // MARK: - Ports

  public mutating func portChanged(_ number: PortNumber, _ status: PortStatus, at now: Instant) {
    if isStopped { return }
    let port: PortPointer
    if let known = tables.port(number) {
      port = known
    } else {
      let fresh = PortRecord(number: number, status: status)
      guard let added = tables.addPort(fresh) else {
        keepWaiting(number, status)
        return
      }
      port = added
    }
    let before = port.pointee.status
    port.pointee.status = status
    if status.isUp && (!port.pointee.isUp || before.address != status.address) {
      port.pointee.isUp = true
      carrierCame(port, at: now)
    } else if !status.isUp && port.pointee.isUp {
      port.pointee.isUp = false
      port.pointee.burstLeft = 0
      port.pointee.nextDiscover = .never
      port.pointee.nextWide = .never
    }
    forEachNeighbour(of: port) { engine, adjacency in engine.evaluate(adjacency, at: now) }
    if before.medium != status.medium { updatePace(at: now) }
    refreshDeadline()
  }

  /// A port that finds no place; it gets one when another goes.
  private mutating func keepWaiting(_ number: PortNumber, _ status: PortStatus) {
    if let i = waitingPorts.firstIndex(where: { $0.number == number }) {
      waitingPorts[i].status = status
      return
    }
    logPort(.error, status, "is not used: \(NeighbourLimits.ports) ports are in use already")
    if waitingPorts.count < NeighbourLimits.waitingPorts { waitingPorts.append((number, status)) }
  }

  private mutating func logPort(_ level: LogLevel, _ status: PortStatus, _ what: String) {
    log(level, "port \(status.name) \(what)")
  }

  private mutating func carrierCame(_ port: PortPointer, at now: Instant) {
    port.pointee.burstLeft = LinkProtocol.discoverBurst
    port.pointee.nextDiscover = now
    port.pointee.nextWide = configuration.wideDiscovery && port.pointee.status.medium != .tunnel ? now : .never
    discoverWhenDue(port, at: now)
    setDestinations(port, at: now, mayReturnToGroup: true)
    forEachNeighbour(of: port) { engine, adjacency in
      if adjacency.pointee.hasKey {
        adjacency.pointee.eagerUntil = now + NeighbourLimits.eagerLife
        engine.sendChangeBurst(adjacency, at: now)
        adjacency.pointee.nextHello = engine.nextTick(of: adjacency, after: now)
      }
    }
  }

  public mutating func portVanished(_ number: PortNumber, at now: Instant) {
    guard let port = tables.port(number) else {
      waitingPorts.removeAll { $0.number == number }
      return
    }
    forEachNeighbour(of: port) { engine, adjacency in engine.forget(adjacency, .portGone, at: now) }
    tables.removePort(port)
    falls.lose(number)
    updatePace(at: now)
    refreshDeadline()
    if !isStopped, !waitingPorts.isEmpty {
      let next = waitingPorts.removeFirst()
      logPort(.notice, next.status, "is used now: another has gone")
      portChanged(next.number, next.status, at: now)
    }
  }

  /// The body may remove the neighbour it is given.
  mutating func forEachNeighbour(
    of port: PortPointer, _ body: (inout NeighbourEngine, AdjacencyPointer) -> Void
  ) {
    let (count, records) = (port.pointee.neighbourCount, port.pointee.records)
    for i in 0..<count { if let adjacency = records[i] { body(&self, adjacency) } }
  }

  // MARK: - Membership

  /// The node's descriptor or certificate is new. Neighbours whose certificates do not hold any more are dropped, but a
  /// link whose neighbour has lost nothing but its certificate's issuer stays for a minute; with a new certificate of its
  /// own the node makes itself known at once.
  public mutating func update(
    descriptor: NetworkDescriptor, certificate: MembershipCertificate?, at now: Instant
  ) {
    if isStopped { return }
    configuration.descriptor = descriptor
    configuration.certificate = certificate
    let encoded = certificate?.encode() ?? []
    let isNew = encoded != ownCertificate
    ownCertificate = encoded
    verified.removeAll()
    for number in tables.numbers {
      guard let adjacency = tables.record(UInt16(number)) else { continue }
      adjacency.pointee.badCertificate = []
      guard let shown = adjacency.pointee.certificate else { continue }
      do throws(MembershipError) {
        try shown.verify(with: descriptor)
        counters.certificatesVerified &+= 1
        verified.insert(blake2b256(adjacency.pointee.certificateBytes))
        adjacency.pointee.vouchedUntil = .never
        if isNew {
          adjacency.pointee.isStrangerReported = false
          startHandshakeIfOurs(adjacency, at: now)
        }
      } catch {
        if adjacency.pointee.hasKey, hasLostIssuer(error) {
          if adjacency.pointee.vouchedUntil == .never {
            adjacency.pointee.vouchedUntil = now + NeighbourLimits.orphanLife
          }
          continue
        }
        log(.warning, "neighbour \(adjacency.pointee.id.description) is dropped: \(error.description)")
        forget(adjacency, .revoked, at: now)
      }
    }
    if isNew {
      for slot in tables.slots {
        guard let port = tables.port(slot: slot), port.pointee.isUp else { continue }
        port.pointee.burstLeft = LinkProtocol.discoverBurst
        port.pointee.nextDiscover = now
        if configuration.wideDiscovery && port.pointee.status.medium != .tunnel { port.pointee.nextWide = now }
        discoverWhenDue(port, at: now)
      }
    }
    refreshDeadline()
  }

  /// The certificate held once; its index is nobody's now, or another authority's.
  private func hasLostIssuer(_ error: MembershipError) -> Bool {
    switch error {
    case .unknownIssuer, .badSignature: true
    default: false
    }
  }

  /// Frames of this network have at least so many bytes: a link that carries less is none.
  public mutating func needFrames(of bytes: Int, at now: Instant) {
    let bytes = max(bytes, NeighbourLimits.smallestUsableFrame)
    if isStopped || bytes == smallestFrame { return }
    smallestFrame = bytes
    for number in tables.numbers { if let each = tables.record(UInt16(number)) { evaluate(each, at: now) } }
    refreshDeadline()
  }

  // MARK: - What is known

  public func adjacency(_ number: UInt16) -> Adjacency? {
    guard let record = tables.record(number) else { return nil }
    return view(record)
  }

  /// Whether an adjacency carries frames both ways.
  public func isUp(_ number: UInt16) -> Bool { tables.record(number)?.pointee.isUp ?? false }

  /// Whether an adjacency carries frames both ways and its neighbour's signs of life are not overdue.
  @inline(__always)
  public func isTrusted(_ number: UInt16) -> Bool {
    guard let record = tables.record(number) else { return false }
    return record.pointee.isUp && !record.pointee.isInDoubt
  }

  /// In order of number.
  public var adjacencies: [Adjacency] {
    var all: [Adjacency] = []
    all.reserveCapacity(tables.numbers.count)
    for number in tables.numbers { if let record = tables.record(UInt16(number)) { all.append(view(record)) } }
    return all
  }

  private func view(_ record: AdjacencyPointer) -> Adjacency {
    Adjacency(
      number: UInt16(record.pointee.number), port: record.pointee.port.pointee.number,
      address: record.pointee.address, id: record.pointee.id, state: state(of: record),
      role: record.pointee.certificate?.role, neighbourNumber: record.pointee.peerNumber,
      neighbourEpoch: record.pointee.peerEpoch, frameSize: record.pointee.frameSize, cost: record.pointee.cost,
      roundTrip: record.pointee.roundTrip, losses: UInt64(max(0, record.pointee.lossBalance)),
      sent: record.pointee.sent, received: record.pointee.received,
      isUnicast: record.pointee.destination != .nearestBridge, interval: record.pointee.interval,
      neighbourInterval: record.pointee.peerInterval)
  }

  private func state(of record: AdjacencyPointer) -> AdjacencyState {
    if record.pointee.isUp { return .up }
    if record.pointee.hasKey {
      if let reason = record.pointee.reason { return .down(reason) }
      return .handshaking
    }
    return canLink(record) ? .handshaking : .stranger
  }

  /// Both ends have a certificate that holds.
  func canLink(_ record: AdjacencyPointer) -> Bool {
    record.pointee.certificate != nil && !ownCertificate.isEmpty
  }

  // MARK: - Stopping

  /// Says goodbye to every neighbour, three times, and takes nothing in any more.
  public mutating func shutdown(at now: Instant) {
    if isStopped { return }
    for number in tables.numbers {
      guard let adjacency = tables.record(UInt16(number)) else { continue }
      if adjacency.pointee.hasKey && adjacency.pointee.port.pointee.isUp {
        for _ in 0..<LinkProtocol.changeBurst {
          sendHello(adjacency, key: Int(adjacency.pointee.currentPhase), flags: HelloFrame.Flag.leaving, at: now)
        }
      }
      if adjacency.pointee.isUp { goDown(adjacency, .stopped, at: now) }
    }
    isStopped = true
    deadline = .never
  }
}
