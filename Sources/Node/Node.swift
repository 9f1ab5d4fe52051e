// A running lifeline node, MA or component: joins the engines, still without I/O.
//
// Every node relays, hears beacons and is a component of each MA but itself. An MA holds an `AuthorityState` beside it.
// The packet path runs from `receive` to `transmit` without allocation; everything else goes through `settle`, which
// drains the engines until none has anything to say.

import Beacon
import Bearer
import Core
import Crypto
import Membership
import Neighbour
import Onion
import Session
import Store
import Topology
import Wire

/// How large a network an MA manages; what stands here is what the shipped program has.
public struct NodeLimits: Sendable {
  /// Components with a channel and a place in the graph; at most 16,384.
  public var components = 1_024
  /// Those and the MAs.
  public var channels: Int { components + BeaconEngine.authorityLimit }

  public init() {}
}

public struct Node: Personality, ~Copyable {
  private let inPlace = InPlace()
  let pool: PacketPool
  var contents: StoreContents
  let identity: Identity
  var descriptor: NetworkDescriptor
  /// This node's index among the MAs, or nil on a component and on an MA that is not, or not any more, in the descriptor.
  var authorityIndex: Int?
  var entropy: Entropy

  var neighbour: NeighbourEngine
  var beacon: BeaconEngine
  var relay: OnionRelay
  /// By MA.
  var detours = [Detours?](repeating: nil, count: 16)
  /// By the adjacency frames come from, at most 255.
  var detourBudgets: [UInt16: TokenBucket] = [:]
  /// Probes that go alone, of all peers together.
  var askings = TokenBucket(rate: 1_024, burst: 256)
  var reassembler = Reassembler()
  /// Time of the event at hand; what is drained after it happens at that time.
  var currentTime: Instant
  /// The reassembler may have packets to hand out.
  var hasDeliveries = false

  /// Channels by number, those of forgotten members among them until another gets the number.
  var channels: [Channel] = []
  let limits: NodeLimits
  let agenda = ChannelAgenda()
  /// Buffers that streams leave to everything else.
  static let bufferReserve = 64
  /// Numbers of channels that ended for good.
  var freeNumbers: [UInt32] = []
  /// In the order of the MAs' indices.
  var uplinks: [Uplink] = []
  /// The MA for what is not for another one; see `choosePreferred`.
  var preferred: Channel?
  var succession = Succession()
  var authority: AuthorityState?
  var relayDesk = RelayDesk()

  /// Frames inside frames that are being sent through channels without a route.
  var carrierDepth = 0
  static let carrierDepthLimit = 4

  var portNames: [PortNumber: PortStatus] = [:]
  var outputs = BoundedQueue<NodeOutput>(limit: 4_096)
  /// The buffer whose packet was handed out last; given back on the next call.
  var heldBuffer: PacketBuffer?

  var controlDeadline: Instant?
  var settledAt = Instant.zero
  /// What no deadline announces (an MA has fallen silent) is looked at so often.
  static let settlePace = Duration.milliseconds(100)
  var lsaVersion: UInt32 = 0
  var topologyIsDirty = false
  /// The store has changed and could not be handed out yet.
  var persistIsDue = false
  /// Contents handed out to be written; of these the first so many are on the medium, or the medium has refused them.
  private var persisted: UInt64 = 0
  private var persistedSettled: UInt64 = 0
  /// The first of them that hold all this MA has promised (a signature, a certificate, an address).
  private var promised: UInt64 = 0
  /// A promise may not be on the medium yet: nothing is said on control channels, and the newest descriptor is not handed
  /// on, until it is.
  var isPromising: Bool { promised > persistedSettled }
  var counters = NodeCounters()
  let startedAt: Instant
  let renewal: SessionRenewal
  /// What each peer is sent over two ways at once, bit/s.
  let protectedRate: Int64
  /// Until then frames are sent while the process ends.
  var isEnding = false

  /// - Parameters:
  ///   - contents: the store; its boot count is raised, which is the first thing to be written.
  ///   - seed: 32 bytes of the kernel's entropy, or of a simulator's.
  ///   - renewal: when an MA has its sessions get new keys.
  ///   - limits: how large a network it manages, when it is an MA.
  public init(
    contents: StoreContents, pool: PacketPool, seed: Bytes32, startingAt now: Instant,
    renewal: SessionRenewal = SessionRenewal(), limits: NodeLimits = NodeLimits()
  ) {
    let descriptor = contents.descriptor
    self.pool = pool
    self.contents = contents
    self.descriptor = descriptor
    identity = contents.identity
    entropy = Entropy(seed: seed)
    startedAt = now
    self.renewal = renewal
    protectedRate = contents.settings.protectedRate.map { $0 * 1_000 } ?? TrafficClassifier.protectedBitsPerSecond
    self.limits = limits
    authorityIndex = contents.authorityIndex.map { Int($0) }
    var neighbourhood = NeighbourConfiguration(
      id: contents.identity.id, agreement: contents.identity.agreement, descriptor: descriptor,
      certificate: contents.certificate)
    neighbourhood.wideDiscovery = contents.settings.isOn(.wideDiscovery, default: true)
    neighbour = NeighbourEngine(configuration: neighbourhood, entropy: entropy.fork(), startingAt: now)
    beacon = BeaconEngine(
      network: descriptor.networkID.bytes,
      authorities: descriptor.authorities.map { BeaconAuthority(id: $0.id, signingKey: $0.signingKey) },
      ownKey: contents.role == .authority ? contents.identity.signing : nil, entropy: entropy.fork())
    beacon.epoch = descriptor.epoch
    relay = OnionRelay(seed: entropy.u32())
    currentTime = now
    for entry in descriptor.authorities where entry.id != contents.identity.id { addUplink(entry) }
    succession.keep(descriptor)
    self.contents.bumpBoot()
    persist()
    if let own = authorityIndex { startAuthority(own, at: now) }
    needFrames(at: now)
    configureBearer()
    settle(at: now)
  }

  // Without one of its own, Embedded Swift looks for the members' deinits in the module that uses this one.
  deinit {}
}

extension Node {
  // MARK: Outputs

  mutating func emit(_ output: NodeOutput) {
    if !outputs.append(output) {
      counters.outputOverflow &+= 1
      if case .transmit(let buffer, _, _) = output { pool.give(buffer) }
    }
  }

  mutating func report(_ level: LogLevel, _ text: String) { emit(.event(level, text)) }

  public mutating func nextOutput() -> NodeOutput? {
    if hasDeliveries {
      if let packet = nextDelivery() { return .deliver(packet) }
      hasDeliveries = false
      if let held = heldBuffer {
        pool.give(held)
        heldBuffer = nil
      }
    }
    return outputs.popFirst()
  }

  // MARK: Ports

  public mutating func portChanged(_ port: PortNumber, _ status: PortStatus, at now: Instant) {
    var status = status
    // No frame is larger than the buffers it is built in.
    status.frameSize = min(status.frameSize, pool.slabSize - PacketPool.headRoom)
    portNames[port] = status
    neighbour.portChanged(port, status, at: now)
    settle(at: now)
  }

  public mutating func portVanished(_ port: PortNumber, at now: Instant) {
    neighbour.portVanished(port, at: now)
    // What is said of its links names the port.
    settle(at: now)
    portNames[port] = nil
  }

  // MARK: Time

  public var nextDeadline: Instant? {
    earlier(earlier(neighbour.nextDeadline, beacon.nextDeadline), controlDeadline)
  }

  public mutating func timeout(at now: Instant) {
    neighbour.timeout(at: now)
    // Most ticks are hellos and nothing else.
    if !drainNeighbour(at: now), isAtRest(at: now) { return }
    beacon.timeout(at: now)
    expireReassembly(at: now)
    settle(at: now)
  }

  /// Nothing is due but what neighbours want, nothing waits to be told, and the last settling is not long ago.
  private func isAtRest(at now: Instant) -> Bool {
    if persistIsDue || topologyIsDirty || agenda.hasTouched || now >= settledAt + Node.settlePace { return false }
    if let due = controlDeadline, due <= now { return false }
    if let due = beacon.nextDeadline, due <= now { return false }
    return true
  }

  public mutating func loopWasLate(by lateness: Duration, at now: Instant) {
    neighbour.loopWasLate(by: lateness, at: now)
  }

  public mutating func judgeArrival(_ frame: PacketBuffer, at now: Instant) -> TunnelArrival {
    neighbour.judgeArrival(frame, at: now)
  }

  public func tunnelNeighbour(on port: PortNumber) -> TunnelNeighbour? { neighbour.tunnelNeighbour(on: port) }

  public mutating func shutdown(at now: Instant) {
    isEnding = true
    for channel in channels where channel.session != nil {
      sendDatagram([ControlType.goodbye.rawValue], on: channel, at: now)
    }
    neighbour.shutdown(at: now)
    drainNeighbour(at: now)
  }

  // MARK: Settling

  /// Drains every engine until none has anything to say, then sets the next deadline.
  mutating func settle(at now: Instant) {
    currentTime = now
    settledAt = now
    if persistIsDue { persist() }
    var isQuiet = false
    while !isQuiet {
      isQuiet = true
      if drainNeighbour(at: now) { isQuiet = false }
      if drainBeacon(at: now) { isQuiet = false }
    }
    if topologyIsDirty {
      topologyIsDirty = false
      ownAdjacenciesChanged(at: now)
    }
    tendSuccession(at: now)
    for uplink in uplinks { tendUplink(uplink, at: now) }
    choosePreferred(at: now)
    if authority != nil { tendAuthority(at: now) }
    relay.expireKeys(at: now)
    tendChannels(at: now)
    drainBeacon(at: now)
    setControlDeadline(at: now)
  }

  /// What channels have due: those that something was done to, and those whose time has come.
  private mutating func tendChannels(at now: Instant) {
    while true {
      let numbers = agenda.takeDue(at: now, channels)
      if numbers.isEmpty { return }
      for number in numbers {
        let channel = channels[Int(number)]
        expireKeys(channel, at: now)
        if channel.ways.nextChoice <= now { chooseWays(channel, at: now) }
        pump(channel, at: now)
        channel.isTouched = false
        // What could be done now was done: what is due still (the pool is nearly empty, or a promise is not on the medium)
        // is due in a moment.
        let due = channel.nextDeadline
        agenda.schedule(
          channel, at: due <= now ? now + (isPromising ? Node.promisePace : .milliseconds(1)) : due, channels)
      }
    }
  }

  /// True when it said something that others must know; frames are only sent.
  @discardableResult
  mutating func drainNeighbour(at now: Instant) -> Bool {
    var any = false
    while let output = neighbour.nextOutput() {
      var isFrame = false
      switch output {
      case .hello(let hello, let port, let destination):
        transmit(hello, port, destination)
        isFrame = true
      case .transmit(let bytes, let port, let destination):
        transmit(bytes, port, destination)
        isFrame = true
      case .adjacencyDoubted(let number): linkFailed(number, at: now)
      case .adjacencyTrusted(let number): linkCame(number, at: now)
      case .adjacencyUp(let number):
        topologyIsDirty = true
        beacon.adjacencyUp(number, at: now)
        relayDesk.adjacencyChanged(number)
        showStanding(to: number, at: now)
        for uplink in uplinks where uplink.attachedOn == nil { uplink.attachDue = now }
        linkCame(number, at: now)
        if let up = neighbour.adjacency(number) { reportLink(to: up.id, on: up.port, "up") }
      case .adjacencyDown(let number, let reason, let id, let port, let frameSize):
        topologyIsDirty = true
        beacon.adjacencyDown(number)
        linkFailed(number, at: now)
        reportLink(to: id, on: port, "down: " + neighbour.describe(reason, frameSize: frameSize))
      case .adjacencyChanged(let number):
        topologyIsDirty = true
        neighbourChanged(number, at: now)
      case .adjacencyRenewed(let number): beacon.adjacencyRenewed(number)
      case .strangerHeard(let number): beacon.adjacencyUp(number, authenticated: false, at: now)
      case .strangerGone(let number): beacon.adjacencyDown(number)
      case .event(let level, let text): report(level, text)
      }
      if !isFrame { any = true }
    }
    return any
  }

  @discardableResult
  mutating func drainBeacon(at now: Instant) -> Bool {
    var any = false
    while let output = beacon.nextOutput() {
      any = true
      switch output {
      case .send(let content, let adjacency): sendBeacon(content, on: adjacency, at: now)
      case .flood(let content, let except):
        for adjacency in neighbour.adjacencies where adjacency.number != except {
          sendBeacon(content, on: adjacency.number, at: now)
        }
      case .newest(let position, let boot, _, let adjacency, _, _):
        needFrames(at: now)
        beaconHeard(authority: authorityIndex(atPosition: position), boot: boot, on: adjacency, at: now)
      case .newBoot(let position):
        report(.notice, "authority \(authorityName(authorityIndex(atPosition: position))) has started anew")
      case .bootJumped(let boot):
        contents.jumpBoot(to: boot)
        persist()
        report(.warning, "this authority's boot count was behind its network's: set to \(boot)")
      case .event(let level, let text): report(level, text)
      }
    }
    return any
  }

  /// A link is of use that carries the frames of one authority at least. Sizes are in the beacons, and rise only.
  mutating func needFrames(at now: Instant) {
    var needed: Int?
    for (position, entry) in descriptor.authorities.enumerated() {
      guard
        let code = Int(entry.index) == authorityIndex
          ? authority?.size.code : beacon.newest(authority: position)?.sizeCode
      else { continue }
      let smallest = OnionSize(code: code).smallestFrame
      needed = min(needed ?? smallest, smallest)
    }
    neighbour.needFrames(of: needed ?? OnionSize(code: 0).smallestFrame, at: now)
  }

  mutating func sendBeacon(_ content: [UInt8], on adjacency: UInt16, at now: Instant) {
    sendLink(subtype: LinkSubtype.beacon, content, on: adjacency, at: now)
  }

  mutating func beaconHeard(authority index: Int, boot: UInt32, on adjacency: UInt16, at now: Instant) {
    for uplink in uplinks where uplink.channel.authorityIndex == index {
      // There is a tree to follow again.
      if uplink.channel.ways.main?.isInDoubt(at: now) ?? false { uplink.channel.stream.hurry() }
      if uplink.sessionBoot != boot, uplink.attachBoot != boot {
        uplink.attachBoot = boot
        uplink.attachDelay = Uplink.firstAttachDelay
        uplink.attachDue = now
      } else if uplink.needsSession, uplink.attachedOn != adjacency {
        // The way there is back, or another one: what was asked before does not count.
        uplink.attachDelay = Uplink.firstAttachDelay
        uplink.attachDue = now
      }
    }
  }

  mutating func setControlDeadline(at now: Instant) {
    var deadline: Instant?
    for uplink in uplinks { deadline = earlier(deadline, uplink.nextDeadline) }
    deadline = earlier(deadline, agenda.nextDeadline(channels))
    deadline = earlier(deadline, relay.nextDeadline)
    if deadline == .never { deadline = nil }
    deadline = earlier(deadline, succession.nextDeadline)
    if let authority { deadline = earlier(deadline, authority.nextDeadline) }
    deadline = earlier(deadline, reassemblyDeadline)
    // A deadline that is due already is due in a moment: what could be done now was done.
    if let due = deadline, due <= now { deadline = now + .milliseconds(1) }
    controlDeadline = deadline
  }

  // MARK: Words

  func authorityName(_ index: Int) -> String {
    descriptor.authority(at: UInt8(truncatingIfNeeded: index))?.name.description ?? "?"
  }

  /// The beacon engine counts MAs by their place in the descriptor's list; everything else by their stable index.
  func authorityIndex(atPosition position: Int) -> Int { Int(descriptor.authorities[position].index) }

  func beaconPosition(_ index: Int) -> Int {
    for position in descriptor.authorities.indices where Int(descriptor.authorities[position].index) == index {
      return position
    }
    return 0
  }

  func portName(_ port: PortNumber) -> String { portNames[port]?.name ?? "?" }

  @inline(never)
  mutating func reportLink(to id: ComponentID, on port: PortNumber, _ state: String) {
    report(.notice, "link to \(nameOf(id) ?? id.description) on \(portName(port)) is \(state)")
  }

  /// The name of a node, where this one knows it.
  func nameOf(_ id: ComponentID) -> String? {
    if id == identity.id { return contents.name.description }
    for entry in descriptor.authorities where entry.id == id { return entry.name.description }
    if let number = authority?.byID[id] { return String(decoding: channels[Int(number)].name, as: UTF8.self) }
    return nil
  }

  /// Has the store written. With a promise, what depends on it waits for the medium (docs/decisions/0063).
  mutating func persist(promising: Bool = false) {
    do throws(StoreError) {
      // A change of the store is not dropped: when the outputs are full it is written at the next event.
      persistIsDue = !outputs.append(.persist(try contents.encode()))
      if !persistIsDue { persisted &+= 1 }
      if promising && authority != nil { promised = persisted &+ (persistIsDue ? 1 : 0) }
    } catch {
      persistIsDue = false
      promised = min(promised, persisted)
      report(.error, "the store cannot hold the change: \(error.description)")
    }
  }

  public mutating func storeIsSettled(through count: UInt64, at now: Instant) {
    let wasPromising = isPromising
    persistedSettled = max(persistedSettled, count)
    guard wasPromising, !isPromising, !isEnding else { return }
    for channel in channels where !channel.stream.isSilent { channel.touch() }
    handOn(at: now)
    settle(at: now)
  }

  /// While a promise is not on the medium.
  static let promisePace = Duration.milliseconds(10)

  mutating func configureBearer() {
    guard let addresses = ownAddresses() else { return }
    emit(.configureBearer(addresses))
  }

  /// Addresses of this node's own bearer; nil before the first certificate.
  func ownAddresses() -> BearerAddresses? {
    let ipv4: UInt32
    if let own = authorityIndex {
      ipv4 = descriptor.authority(at: UInt8(own))?.ipv4 ?? 0
    } else if let opening = contents.opening {
      ipv4 = opening.ipv4
    } else {
      return nil
    }
    return BearerAddresses(
      ipv4: ipv4, ipv4PrefixLength: descriptor.prefix.length, ipv6: ipv6Address(of: identity.id),
      ipv6PrefixLength: 64)
  }

  /// fd, 40 bits of the network's ID, subnet 0, the first 8 bytes of the component's ID (RFC 4193).
  func ipv6Address(of id: ComponentID) -> Bytes16 {
    var address = Bytes16()
    address.withMutableBytes { out in
      out[0] = 0xfd
      descriptor.networkID.bytes.withBytes { for i in 0..<5 { out[1 + i] = $0[i] } }
      id.bytes.withBytes { for i in 0..<8 { out[8 + i] = $0[i] } }
    }
    return address
  }
}
