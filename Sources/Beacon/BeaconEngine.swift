// Flooding of beacons: authorities originate them, every node verifies what is newer than the newest it knows, remembers
// where the first authentic copy came from, and passes it on unchanged (docs/PROTOCOL.md section 3). The remembered
// adjacencies of one beacon form a tree to the authority: frames follow it before there are routes.
//
// A stranger must not be able to bend the tree by carrying a beacon round faster than the network does. So, while an
// authenticated adjacency is up, a stranger's beacon is held for half a second and counts only when no neighbour has
// brought that one or a newer one by then. Taking the first copy from an authenticated neighbour *after* a stranger's
// was passed on would not do: that copy may be our own, come back, and the tree a loop.

import Core
import Crypto
import Wire

public struct BeaconEngine {
  /// The protocol's constants.
  public static let authorityLimit = 16
  static let remembered = 4
  static let period = Duration.seconds(1)
  static let fastestPace = Duration.milliseconds(20)
  static let silence = Duration.milliseconds(3500)

  /// This implementation's.
  static let strangerHold = Duration.milliseconds(500)
  /// The period is shortened by up to this, so that authorities do not fall into step.
  static let jitterMicroseconds: UInt32 = 50_000
  static let outputLimit = 256

  /// A beacon, and where its first authentic copy came from.
  private struct Sighting {
    var number: BeaconNumber
    var adjacency: UInt16
  }

  /// A stranger's beacon, authentic and newer, that waits for a neighbour to bring it.
  private struct Held {
    var beacon: Beacon
    var adjacency: UInt16
    var deadline: Instant
  }

  private struct AuthorityState {
    var authority: BeaconAuthority
    var newest: Beacon?
    /// Its 96 bytes.
    var content: [UInt8] = []
    /// Of the last four beacons, newest first.
    var sightings: [Sighting] = []
    var lastHeard: Instant?
    var held: Held?
    /// Beacons taken: 64 a second, 32 at once; an honest authority sends at most 50 a second.
    var pace: TokenBucket

    func isNewer(_ beacon: Beacon) -> Bool {
      guard let newest else { return true }
      return newest.number < beacon.number
    }
  }

  /// Our own sequence, when we are an authority.
  private struct Origin {
    /// Of the last beacon sent.
    var number: BeaconNumber
    var lastSent: Instant?
    var due: Instant
  }

  public let network: Bytes16
  /// Of the own descriptor, sent in own beacons.
  public var epoch: UInt32 = 0
  /// 0 … 3, sent in own beacons.
  public var sizeCode: UInt8 = 0
  /// Bit i: the authority with index i is reached; sent in own beacons.
  public var reached: UInt16 = 0
  public private(set) var counters = BeaconCounters()
  /// Our own place among the authorities; nil when we are none, or not any more.
  public private(set) var ownIndex: Int?

  private let ownKey: SigningKeyPair?
  private var states: [AuthorityState] = []
  private var origin: Origin?
  private var adjacencies = AdjacencyTable()
  /// Signature checks for all authenticated neighbours together, and for all strangers together.
  private var memberChecks = TokenBucket(rate: 512, burst: 128)
  private var strangerChecks = TokenBucket(rate: 512, burst: 128)
  /// Jumps of the own boot count, each a write to flash: 8 at once, then one in 10 s. More are needed only when another
  /// node uses our key, and then they never end.
  private var jumps = TokenBucket(every: .seconds(10), burst: 8)
  private var outputs = BoundedQueue<BeaconOutput>(limit: BeaconEngine.outputLimit)
  private var entropy: Entropy

  /// - Parameters:
  ///   - network: the first 16 bytes of BLAKE2b-256 over the founding descriptor.
  ///   - authorities: those of the descriptor, in its order; at most 16 count.
  ///   - ownKey: this node's signing key when it is an authority.
  public init(network: Bytes16, authorities: [BeaconAuthority], ownKey: SigningKeyPair?, entropy: Entropy) {
    self.network = network
    self.ownKey = ownKey
    self.entropy = entropy
    update(authorities: authorities)
  }

  /// Another descriptor: what is known of authorities that are in both lists is kept, under their new indices. Drain the
  /// outputs before, since they carry the old ones.
  public mutating func update(authorities: [BeaconAuthority]) {
    defer { refreshDeadline() }
    var new: [AuthorityState] = []
    ownIndex = nil
    for authority in authorities.prefix(BeaconEngine.authorityLimit) {
      if let ownKey, authority.signingKey == ownKey.publicKey { ownIndex = new.count }
      if let known = states.first(where: { $0.authority == authority }) {
        new.append(known)
      } else {
        new.append(AuthorityState(authority: authority, pace: TokenBucket(rate: 64, burst: 32)))
      }
    }
    states = new
  }

  // MARK: what is known

  public var authorityCount: Int { states.count }

  public func newest(authority: Int) -> NewestBeacon? {
    guard states.indices.contains(authority), let beacon = states[authority].newest else { return nil }
    let sighting = states[authority].sightings.first { $0.number == beacon.number }
    return NewestBeacon(
      boot: beacon.boot, counter: beacon.counter, epoch: beacon.epoch, sizeCode: beacon.sizeCode,
      reached: beacon.reached, adjacency: sighting?.adjacency)
  }

  /// Where the first authentic copy of one of the authority's last four beacons came from: one hop nearer to it. Nil for
  /// other beacons, for our own, and when that adjacency has gone down since.
  public func treeAdjacency(authority: Int, boot: UInt32, counter: UInt32) -> UInt16? {
    guard states.indices.contains(authority) else { return nil }
    let number = BeaconNumber(boot: boot, counter: counter)
    return states[authority].sightings.first { $0.number == number }?.adjacency
  }

  /// When a newer authentic beacon of the authority came last (of our own: was sent).
  public func lastHeard(authority: Int) -> Instant? {
    states.indices.contains(authority) ? states[authority].lastHeard : nil
  }

  /// Nothing new heard for 3.5 s, or never.
  public func isSilent(authority: Int, at now: Instant) -> Bool {
    guard let heard = lastHeard(authority: authority) else { return true }
    return now - heard >= BeaconEngine.silence
  }

  // MARK: adjacencies

  /// An adjacency came up; it gets the newest beacon of each authority at once. A stranger's may be told of too, once
  /// it is found, so that a new box need not wait for the next beacon.
  public mutating func adjacencyUp(_ adjacency: UInt16, authenticated: Bool = true, at now: Instant) {
    if let index = adjacencies.index(of: adjacency, at: now) {
      if authenticated { adjacencies.setUp(index) }
    } else {
      counters.refusedAdjacency &+= 1
    }
    for state in states where state.newest != nil { emit(.send(state.content, adjacency: adjacency)) }
  }

  /// Its key is new, and the neighbour may have begun anew and know no beacon. The newest is not returned to where it came
  /// from: the neighbour would look for the way there behind itself, where its own tree leads.
  public mutating func adjacencyRenewed(_ adjacency: UInt16) {
    for state in states {
      guard let newest = state.newest?.number,
        !state.sightings.contains(where: { $0.number == newest && $0.adjacency == adjacency })
      else { continue }
      emit(.send(state.content, adjacency: adjacency))
    }
  }

  /// The tree no longer leads there; the next beacon finds another way.
  public mutating func adjacencyDown(_ adjacency: UInt16) {
    defer { refreshDeadline() }
    adjacencies.setDown(adjacency)
    for index in states.indices {
      states[index].sightings.removeAll { $0.adjacency == adjacency }
      if states[index].held?.adjacency == adjacency { states[index].held = nil }
    }
  }

  // MARK: the authority's side

  /// Begins to send beacons, the first at once. Without effect before `update(authorities:)` lists our key.
  /// - Parameter boot: the stored boot count of this start, higher than at any start before.
  public mutating func originate(boot: UInt32, at now: Instant) {
    defer { refreshDeadline() }
    origin = Origin(number: BeaconNumber(boot: boot, counter: 0), lastSent: nil, due: now)
    if let ownIndex, let newest = states[ownIndex].newest, newest.boot >= boot { jump(past: newest.number) }
    timeout(at: now)
  }

  /// A beacon at once, but never two within 20 ms: then it is sent when they are over.
  public mutating func announceChange(at now: Instant) {
    defer { refreshDeadline() }
    guard let lastSent = origin?.lastSent else { return }
    let allowed = lastSent + BeaconEngine.fastestPace
    if let due = origin?.due, allowed < due { origin?.due = allowed }
    timeout(at: now)
  }

  // MARK: time and outputs

  public mutating func timeout(at now: Instant) {
    defer { refreshDeadline() }
    if ownIndex != nil, let origin, origin.due <= now { sendOwn(at: now) }
    for index in states.indices {
      guard let held = states[index].held, held.deadline <= now else { continue }
      states[index].held = nil
      counters.acceptedLate &+= 1
      accept(held.beacon, held.beacon.encode(), index, from: held.adjacency, at: now)
    }
  }

  /// When something is due; kept, since it is asked after every event.
  public private(set) var nextDeadline: Instant?

  private mutating func refreshDeadline() {
    var next = ownIndex != nil ? origin?.due : nil
    for index in states.indices where states[index].held != nil {
      next = earlier(next, states[index].held?.deadline)
    }
    nextDeadline = next
  }

  public mutating func nextOutput() -> BeaconOutput? { outputs.popFirst() }

  private mutating func emit(_ output: BeaconOutput) {
    if !outputs.append(output) { counters.droppedOutputs &+= 1 }
  }
}

// MARK: receiving

extension BeaconEngine {
  /// Takes a beacon from a LINKED frame (authenticated) or an OPEN one (a stranger).
  public mutating func receive(
    _ content: Span<UInt8>, from adjacency: UInt16, authenticated: Bool, at now: Instant
  ) {
    defer { refreshDeadline() }
    let beacon: Beacon
    do throws(WireError) {
      beacon = try Beacon(decoding: content)
    } catch {
      counters.refusedMalformed &+= 1
      return
    }
    guard let index = states.firstIndex(where: { $0.authority.id == beacon.authority }) else {
      counters.refusedUnknownAuthority &+= 1
      return
    }
    if let newest = states[index].newest, !states[index].isNewer(beacon) {
      if newest.number != beacon.number {
        counters.old &+= 1
        if authenticated { answer(index, on: adjacency, at: now) }
      } else if newest == beacon {
        counters.duplicates &+= 1
      } else {
        counters.refusedConflicting &+= 1
      }
      return
    }
    if !authenticated, let held = states[index].held, beacon.number <= held.beacon.number {
      counters.duplicates &+= 1
      return
    }
    guard isWorthTaking(beacon, index, from: adjacency, authenticated: authenticated, at: now) else { return }
    if index == ownIndex {
      ownCameBack(beacon, index, at: now)
    } else if !authenticated && adjacencies.upCount > 0 {
      let deadline = states[index].held?.deadline ?? now + BeaconEngine.strangerHold
      states[index].held = Held(beacon: beacon, adjacency: adjacency, deadline: deadline)
    } else {
      accept(beacon, beacon.encode(), index, from: adjacency, at: now)
    }
  }

  /// Whether the budgets allow to look at the signature, and the signature is right.
  private mutating func isWorthTaking(
    _ beacon: Beacon, _ index: Int, from adjacency: UInt16, authenticated: Bool, at now: Instant
  ) -> Bool {
    guard let record = adjacencies.index(of: adjacency, at: now) else {
      counters.refusedAdjacency &+= 1
      return false
    }
    guard states[index].pace.hasToken(at: now) else {
      counters.refusedPace &+= 1
      return false
    }
    let shared = authenticated ? memberChecks.hasToken(at: now) : strangerChecks.hasToken(at: now)
    guard shared, adjacencies.mayCheck(record, authenticated: authenticated, at: now) else {
      counters.refusedBudget &+= 1
      return false
    }
    if authenticated { memberChecks.take() } else { strangerChecks.take() }
    let isAuthentic = beacon.isAuthentic(network: network, key: states[index].authority.signingKey)
    adjacencies.charge(record, authenticated: authenticated, failed: !isAuthentic)
    if isAuthentic { states[index].pace.take() } else { counters.refusedSignature &+= 1 }
    return isAuthentic
  }

  private mutating func answer(_ index: Int, on adjacency: UInt16, at now: Instant) {
    guard let record = adjacencies.index(of: adjacency, at: now), adjacencies.mayAnswer(record, at: now) else { return }
    counters.answered &+= 1
    emit(.send(states[index].content, adjacency: adjacency))
  }

  private mutating func accept(
    _ beacon: Beacon, _ content: [UInt8], _ index: Int, from adjacency: UInt16, at now: Instant
  ) {
    let boot = states[index].newest?.boot
    remember(beacon, content, index, at: now)
    states[index].sightings.insert(Sighting(number: beacon.number, adjacency: adjacency), at: 0)
    if states[index].sightings.count > BeaconEngine.remembered { states[index].sightings.removeLast() }
    counters.accepted &+= 1
    emit(.flood(content, except: adjacency))
    emit(
      .newest(
        authority: index, boot: beacon.boot, counter: beacon.counter, adjacency: adjacency, epoch: beacon.epoch,
        sizeCode: beacon.sizeCode))
    if boot != beacon.boot { emit(.newBoot(authority: index)) }
  }

  private mutating func remember(_ beacon: Beacon, _ content: [UInt8], _ index: Int, at now: Instant) {
    states[index].newest = beacon
    states[index].content = content
    states[index].lastHeard = now
    if let held = states[index].held, held.beacon.number <= beacon.number { states[index].held = nil }
  }
}

// MARK: originating

extension BeaconEngine {
  private mutating func sendOwn(at now: Instant) {
    guard let ownIndex, let ownKey, let started = origin?.number else { return }
    if started.counter == .max { jump(past: started) }
    guard let before = origin?.number, before.counter < .max else {
      origin?.due = .never
      return
    }
    let number = BeaconNumber(boot: before.boot, counter: before.counter + 1)
    let jitter = Duration.microseconds(Int64(entropy.below(BeaconEngine.jitterMicroseconds)))
    origin = Origin(number: number, lastSent: now, due: now + (BeaconEngine.period - jitter))
    let beacon = Beacon.signed(
      authority: states[ownIndex].authority.id, boot: number.boot, counter: number.counter, epoch: epoch,
      sizeCode: sizeCode, reached: reached, network: network, with: ownKey)
    let content = beacon.encode()
    remember(beacon, content, ownIndex, at: now)
    counters.originated &+= 1
    emit(.flood(content, except: 0))
  }

  /// An authentic beacon of ours that is newer than any we know: our store was set back, or another node uses our key.
  private mutating func ownCameBack(_ beacon: Beacon, _ index: Int, at now: Instant) {
    guard origin != nil else {
      remember(beacon, beacon.encode(), index, at: now)
      return
    }
    guard jumps.takeIfAvailable(at: now) else {
      counters.refusedJump &+= 1
      return
    }
    let (boot, counter) = (beacon.boot, beacon.counter)
    emit(
      .event(
        .warning,
        "own beacon \(boot).\(counter) heard, newer than sent: the store was set back, or another node has its key"))
    jump(past: beacon.number)
    announceChange(at: now)
  }

  /// Goes on after `number`, with the next boot count.
  private mutating func jump(past number: BeaconNumber) {
    if number.boot < .max {
      origin?.number = BeaconNumber(boot: number.boot + 1, counter: 0)
      emit(.bootJumped(number.boot + 1))
    } else {
      // The last boot there is: only its counter is left.
      origin?.number = number
      emit(.event(.error, "the boot count is used up: this authority needs a new identity"))
    }
  }
}
