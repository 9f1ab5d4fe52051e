// One end-to-end relation: between a component and one MA, as either of them holds it. A channel outlives its sessions.

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

/// How frames reach the other end before there is a route.
enum Carrier: Equatable {
  case none
  /// A direct neighbour's adjacency, in RELAY frames.
  case neighbour(adjacency: UInt16)
  /// Through another component's channel (by number) and its adjacency; MAs only.
  case through(channel: UInt32, adjacency: UInt16)

  func leads(through number: UInt32) -> Bool {
    if case .through(number, _) = self { true } else { false }
  }

  /// The same link of this node, or the same component, which says itself over which of its links.
  func isNoOther(than other: Carrier) -> Bool {
    if case .through(let number, _) = self { other.leads(through: number) } else { self == other }
  }

  /// The same neighbour of the component, on whichever of its adjacencies.
  func isBeside(_ other: Carrier) -> Bool {
    switch (self, other) {
    case (.neighbour, .neighbour): true
    case (.through(let a, _), .through(let b, _)): a == b
    default: false
    }
  }
}

/// A challenge that was answered: which of several answers the MA has got, its first frame tells.
struct PendingSession {
  let session: SecureSession
  /// Bodies of the CHALLENGE and of the RESPONSE, which is repeated when the challenge is; empty in a renewal.
  let challenge: [UInt8]
  let response: [UInt8]
  /// Until then it is kept.
  let ends: Instant

  var isRenewal: Bool { challenge.isEmpty }

  static let limit = 4
}

final class Channel {
  /// Index of the channel table, and the peer number of the bearer. It is given again when the member is forgotten.
  let number: UInt32
  let peer: ComponentID
  /// Index of the MA whose keys the channel uses.
  let authorityIndex: Int
  /// True when the other end is the MA.
  let isUplink: Bool

  var name: [UInt8] = []
  var ipv4: UInt32 = 0
  /// Low half of the peer's IPv6 address: the first 8 bytes of its ID.
  let interfaceID: UInt64

  var session: SecureSession? { didSet { touch() } }
  /// The one before, for frames under way; dropped after a while.
  var previousSession: SecureSession? { didSet { touch() } }
  /// The control stream is that of the session before too: its keys were renewed, and nothing else.
  var streamGoesOn = false
  var previousEnds = Instant.never { didSet { touch() } }
  /// A frame under the present keys has come.
  var isProved = false
  /// MA: the component was cut off by a link of its own or asked for a session that it could not get, and no frame of it
  /// has come since. It may have forgotten its keys.
  var isUnheard = false
  /// What comes before this may have been under way since before.
  var heardFrom = Instant.zero
  /// Of what a component sent before it began anew.
  static let longestUnderWay = Duration.seconds(1)
  /// MA: it asked for another session, and its budget was used up. One that has its keys and asks again all the same is not
  /// believed before the next session.
  var hasAskedInVain = false
  /// Component: agreed but not yet proved by a first end-to-end frame; the newest last, at most four.
  var pendings: [PendingSession] = [] { didSet { touch() } }

  var stream = ControlStream() { didSet { touch() } }
  /// The way the answer to the challenge took.
  var carrier = Carrier.none
  /// MA: the way of its last ATTACH since, while it may lack its keys. Anybody may have repeated that one: what goes by this
  /// goes by `carrier` as well.
  var laterCarrier = Carrier.none

  /// The routes to the peer, once known.
  var ways = Ways() { didSet { touch() } }
  var sessionSince = Instant.zero
  /// When the present keys were made.
  var keysSince = Instant.zero
  /// MA: R of the way back that the last frame came by, of each place.
  var lastReturnRoutes = InlineArray<8, UInt32>(repeating: 0)
  /// Probes of the other end's that are answered.
  var probes = TokenBucket(rate: 64, burst: 32)
  /// Ways that lose frames: what this end tells, or looks into, of them.
  var suspicions = TokenBucket(every: .seconds(2), burst: 3)
  /// Component: questions of the MA that are answered.
  var traces = TokenBucket(rate: 64, burst: 64)
  /// MA: control frames taken from the component, its RELAY-UPs included.
  var controlFrames = TokenBucket(rate: 1_024, burst: 2_048)
  /// MA: challenges made for neighbours of the component.
  var challenges = TokenBucket(rate: 128, burst: 256)
  /// MA: LSAs of the component taken into the graph.
  var advertisements = TokenBucket(rate: 4, burst: 64)
  var classifier: TrafficClassifier
  /// MA: sessions made at the component's request. Each has every way through it laid anew.
  var sessions = TokenBucket(every: .seconds(1), burst: 8)
  /// MA: searches that came to nothing because the component had a new session meanwhile.
  var excuses = TokenBucket(every: .seconds(60), burst: 2)
  /// MA: requests of the component for descriptors.
  var chains = TokenBucket(rate: 1, burst: 4)

  private let agenda: ChannelAgenda
  /// It is on the agenda's list already, or is being tended.
  var isTouched = false
  /// The deadline the agenda has for it.
  var agendaDue = Instant.never

  init(
    number: UInt32, peer: ComponentID, authorityIndex: Int, isUplink: Bool, protectedRate: Int64, agenda: ChannelAgenda
  ) {
    classifier = TrafficClassifier(bitsPerSecond: protectedRate, startingAt: .zero)
    self.agenda = agenda
    self.number = number
    self.peer = peer
    self.authorityIndex = authorityIndex
    self.isUplink = isUplink
    interfaceID = firstHalf(of: peer)
  }

  /// Something changed that may give the channel something to do.
  @inline(__always)
  func touch() {
    if isTouched { return }
    isTouched = true
    agenda.touch(number)
  }

  /// When it wants to be tended next.
  var nextDeadline: Instant {
    session == nil ? ways.nextChoice : min(min(stream.nextDeadline ?? .never, keysEnd), ways.nextChoice)
  }

  /// Takes a new session into use: a fresh control stream, no route, the old keys kept for what is under way.
  func adopt(_ fresh: SecureSession, at now: Instant) {
    previousSession = session
    streamGoesOn = false
    previousEnds = now + .seconds(5)
    isProved = false
    session = fresh
    pendings = []
    keysSince = now
    stream = ControlStream()
    ways.removeAll()
    laterCarrier = .none
    sessionSince = now
  }

  /// An MA's: the component has agreed to the session, and nothing shows that it has the keys: it takes them into use with
  /// the first frame. (Those of a renewal it has before.)
  var mayLackKeys: Bool { !isUplink && session != nil && !isProved && !streamGoesOn }

  /// There is a route to the peer.
  var isRouted: Bool { !ways.isEmpty }

  /// The relation is over: nothing of it is used again.
  func end() {
    session = nil
    previousSession = nil
    previousEnds = .never
    pendings = []
    ways.removeAll()
    carrier = .none
    laterCarrier = .none
    stream = ControlStream()
  }
}

/// The first 8 bytes of an ID as a big-endian number: the interface ID of its IPv6 address.
func firstHalf(of id: ComponentID) -> UInt64 {
  id.bytes.withBytes { p in
    var value: UInt64 = 0
    for i in 0..<8 { value = value << 8 | UInt64(p[i]) }
    return value
  }
}
