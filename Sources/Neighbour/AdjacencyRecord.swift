// What the engine keeps of one neighbour on one port. Records lie in memory of their own and never move, so the packet
// path reaches them by one pointer.

import Core
import Crypto
import Membership

/// A handshake this node has begun; resent as it is while the responder's nonce stays the same.
struct PendingHandshake {
  var noise: NoiseKKInitiator
  var nonce: Bytes16
  var phase: UInt8
  var frame: [UInt8]
  var gap: Duration
  var nextRetry: Instant
  var lastSent: Instant
}

/// What a key whose handshake is done brings with it, until a hello proves it.
struct Candidate {
  var payload: HandshakePayload
  /// We began it, so we send hellos under it unasked.
  var isOurs: Bool
  var until: Instant
}

/// The last first message answered: the same one again gets the same answer and changes nothing.
struct AnsweredHandshake {
  var message: [UInt8]
  var answer: [UInt8]
  var turn: UInt64
}

struct AdjacencyRecord {
  /// Index in `keys` of the key that is not proved yet; 0 and 1 are the phases.
  static let candidateIndex = 2

  // What every frame and every tick touches stands together, a few cache lines of it: a box at rest finds none of this in
  // its cache.
  let number: UInt8
  var isUp = false
  /// Up, and to be gone round where there is a way round.
  var isInDoubt = false
  /// Whether keys[currentPhase] is a proved key.
  var hasKey = false
  var currentPhase: UInt8 = 0
  var isHeard = false
  var peerHearsUs = false
  /// The neighbour said goodbye; no hellos until a new key.
  var isLeaving = false
  /// Steps of `LinkDoubt` taken in the present silence.
  var doubtSteps: UInt8 = 0
  /// This end's doubt: the neighbour's frames are overdue.
  var isMissing = false
  /// The other end's, as its newest hello says.
  var peerMissesUs = false
  var isWide = false
  var isLargeLost = false
  var isTooSmall = false
  var probePending = false
  var countsKnown = false
  /// Pace of this end's hellos, ms: the medium's, lengthened when there are many neighbours.
  var interval: UInt16 = 0
  var peerInterval: UInt16 = 0
  var penalty: UInt16 = 0
  var reportedCost: UInt16 = 0
  var largest = InlineArray<5, UInt16>(repeating: 0)
  /// Three keys, allocated with the record.
  let keys: UnsafeMutablePointer<LinkKey>
  let port: UnsafeMutablePointer<PortRecord>
  let address: MACAddress
  var destination: MACAddress
  /// The earliest of what is due beside hellos and silence, as of the last `refreshDeadline`.
  var seldomDue = Instant.zero
  var nextHello = Instant.never
  var hearingUntil = Instant.zero
  /// The largest frame to send, bytes.
  var frameSize: Int
  var sent: UInt64 = 0
  var received: UInt64 = 0
  var lastReceived: UInt64 = 0
  var lossBalance: Int64 = 0
  var lastPeerSent: UInt32 = 0
  var peerEpoch: UInt32
  var peerFrameSize = 0
  var peerLargest = 0
  var peerNonce: Bytes16
  var judgeLargeFrom = Instant.never
  /// Since when less than what is sent has been heard, while smaller probes find out what passes.
  var shrinkingSince = Instant.never
  var largestTurn = Instant.zero
  var nextFullSize = Instant.zero
  var nextProbe = Instant.zero
  /// When the other of group and own address is tried, because the neighbour does not hear us.
  var otherAddressAt = Instant.never
  var eagerUntil = Instant.zero
  var nonces = NoncePair()

  // Who it is.
  var id: ComponentID
  var certificate: MembershipCertificate?
  var certificateBytes: [UInt8] = []
  /// The last certificate that did not verify under the present descriptor.
  var badCertificate: [UInt8] = []
  /// The authority that signed its certificate has left the network: until then it may show one of another's.
  var vouchedUntil = Instant.never
  /// A DISCOVER, or a first message, from this address was its own.
  var isProved = false
  var peerNumber: UInt16 = 0
  var lastDiscover: Instant
  var directUntil = Instant.zero
  /// Handshake frames go to the two addresses in turn: whether it is the group's.
  var isGroupsTurn = false

  // Keys.
  var handshake: PendingHandshake?
  var candidate: Candidate?
  var answered: AnsweredHandshake?
  /// The last nonces an opening was made for. A repeated DISCOVER brings an old one: it must not displace the newest.
  private var triedNonces = InlineArray<8, Bytes16>(repeating: Bytes16())
  private var triedCount = 0
  var oldKeyUntil = Instant.never
  var rekeyAt = Instant.never
  var restarts = TokenBucket(rate: NeighbourLimits.restartsPerSecond, burst: 3)

  // Liveness.
  /// Counter of the first frame since the neighbour was heard last: one that hears us has heard it, or a later one. Zero
  /// once it says so, and under a key that is newer than that.
  var hearsFrom: UInt32 = 0
  var heardSince = Instant.zero
  var reason: AdjacencyDownReason?
  var answers = TokenBucket(rate: LinkProtocol.answersPerSecond, burst: 5)
  var doubts = TokenBucket(rate: NeighbourLimits.doubtsPerSecond, burst: NeighbourLimits.doubtsBurst)

  // Measurement.
  var probeCounter: UInt32 = 0
  var probeSent = Instant.zero
  var roundTrip: UInt32 = 0
  var decayAt = Instant.never

  // Strangers.
  var isStrangerReported = false
  var reportStrangerAt = Instant.never
  var openIn = TokenBucket(rate: LinkProtocol.openPerSecond, burst: LinkProtocol.openBurst)
  var openOut = TokenBucket(rate: LinkProtocol.openPerSecond, burst: LinkProtocol.openBurst)

  init(
    number: UInt8, port: UnsafeMutablePointer<PortRecord>, address: MACAddress, id: ComponentID, nonce: Bytes16,
    epoch: UInt32, at now: Instant
  ) {
    self.number = number
    self.port = port
    self.address = address
    self.id = id
    keys = .allocate(capacity: 3)
    keys.initialize(repeating: LinkKey(), count: 3)
    destination = .nearestBridge
    frameSize = 0
    peerNonce = nonce
    peerEpoch = epoch
    lastDiscover = now
  }

  @inline(__always)
  var cost: UInt16 {
    port.pointee.cost + (isWide ? NeighbourLimits.wideCost : 0) + penalty
  }

  /// Who makes room for whom: 0 without a certificate that holds, 1 with one that anybody may have shown, 2 proved.
  var standing: Int { isProved ? 2 : certificate == nil ? 0 : 1 }

  /// Of the largest frame heard in the last 2 to 2.5 s.
  @inline(__always)
  var largestHeard: UInt16 {
    var most: UInt16 = 0
    for i in largest.indices { most = max(most, largest[i]) }
    return most
  }

  func hasTried(_ nonce: Bytes16) -> Bool {
    for i in 0..<min(triedCount, triedNonces.count) where triedNonces[i] == nonce { return true }
    return false
  }

  mutating func noteTried(_ nonce: Bytes16) {
    triedNonces[triedCount % triedNonces.count] = nonce
    triedCount += 1
  }

  mutating func forgetTried() { triedCount = 0 }

  /// When it fell silent: with a key what was authentic counts, for anybody can repeat a DISCOVER.
  var silentSince: Instant { hasKey ? hearingUntil : lastDiscover }

  /// Until when it is remembered.
  @inline(__always)
  var forgetAt: Instant {
    if isHeard { return .never }
    let seen = lastDiscover + NeighbourLimits.strangerLife
    return hasKey ? max(seen, hearingUntil + NeighbourLimits.downLife) : seen
  }
}
