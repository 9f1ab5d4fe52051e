// What an MA holds beyond any other node: members, the network's graph, and the routes it laid.

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

final class AuthorityState {
  let index: Int
  var graph: TopologyGraph
  var byID: [ComponentID: UInt32] = [:]
  var byIPv4: [UInt32: UInt32] = [:]
  var byInterfaceID: [UInt64: UInt32] = [:]
  var bySPI: [UInt32: UInt32] = [:]
  /// R of every way back in use, to the channel's number.
  var returnRoutes: [UInt32: UInt32] = [:]
  /// Admission and routing of each channel, by its number.
  var admissions: [UInt32: Admission] = [:]
  /// This MA's own key as the last hop of every way back; fresh in each run.
  let ownKey: Bytes32
  private var routeSequence: UInt32
  private let routeMask: UInt32
  var size = OnionSize(code: 0)
  /// Numbers of channels whose members were forgotten.
  var freeNumbers: [UInt32] = []
  /// When paths are computed anew; `never` when nothing changed.
  var recomputeDue = Instant.never
  /// When to look which sessions' keys are due for renewal.
  var renewalDue = Instant.zero
  /// Channels with challenges under way.
  var challenged: [UInt32] = []
  /// Channels whose newest LSA waits for their budget, and when to look again.
  var advertisers: [UInt32] = []
  var advertisersDue = Instant.never
  /// Computations of paths: beyond this rate changes are gathered for longer.
  var computations = TokenBucket(rate: 50, burst: 128)
  /// Beacons sent before their time for links that components report.
  var announcements = TokenBucket(rate: 2, burst: 8)

  /// Links that change together are computed together.
  static let recomputeDelay = Duration.milliseconds(2)
  /// What a full stream did not take is tried again.
  static let retryDelay = Duration.milliseconds(100)
  static let busyDelay = Duration.milliseconds(20)

  init(index: Int, root: ComponentID, nodeLimit: Int, entropy: inout Entropy) {
    self.index = index
    graph = TopologyGraph(root: root, nodeLimit: nodeLimit)
    ownKey = entropy.bytes32()
    routeSequence = entropy.u32()
    routeMask = entropy.u32()
  }

  /// A route number never used before in this run: a counter, scattered by a bijection of 32 bits.
  func nextRoute() -> UInt32 {
    routeSequence &+= 1
    var x = routeSequence ^ routeMask
    x = (x ^ (x >> 16)) &* 0x7feb_352d
    x = (x ^ (x >> 15)) &* 0x846c_a68b
    return x ^ (x >> 16)
  }

  /// An SPI no longer names this channel's session.
  func forget(spi: UInt32, of channel: Channel) {
    if bySPI[spi] == channel.number, admissions[channel.number]?.spi != spi { bySPI[spi] = nil }
  }

  /// Forgets a channel's addresses, routes and keys; the next new member gets its number.
  func remove(_ channel: Channel) {
    byID[channel.peer] = nil
    byIPv4[channel.ipv4] = nil
    byInterfaceID[channel.interfaceID] = nil
    if let previous = channel.previousSession { forget(spi: previous.keys.spi, of: channel) }
    if let admission = admissions[channel.number] {
      bySPI[admission.spi] = nil
      for route in admission.returnRoutes { returnRoutes[route] = nil }
    }
    admissions[channel.number] = nil
    challenged.removeAll { $0 == channel.number }
    advertisers.removeAll { $0 == channel.number }
    // Nothing that was to go through it may go through the next one's.
    for (_, other) in admissions { other.attempts.removeAll { $0.carrier.leads(through: channel.number) } }
    channel.previousSession = nil
    channel.previousEnds = .never
    freeNumbers.append(channel.number)
  }

  var nextDeadline: Instant? {
    var deadline: Instant? = min(min(recomputeDue, renewalDue), advertisersDue)
    for number in challenged {
      for attempt in admissions[number]?.attempts ?? [] { deadline = earlier(deadline, attempt.due) }
    }
    return deadline
  }
}

/// How far a component has come with this MA.
final class Admission {
  /// Challenges under way, the one asked for longest ago first.
  var attempts: [ChallengeAttempt] = []
  var spi: UInt32 = 0
  /// The component's nonce that the session was made with.
  var sessionNonce = Bytes16()
  /// A renewal under way: its first message has been given to the stream.
  var renewal: SessionChallenge?
  var renewalBegan = Instant.zero
  /// The newest LSA beyond the component's budget, at most 13,301 bytes: taken when there is budget again.
  var heldAdvertisement: [UInt8] = []
  /// When the session's keys are to be replaced.
  var renewalDue = Instant.never
  /// R of the ways back given out, the newest last. The one in use stays good with all newer ones, and at least three.
  var returnRoutes: [UInt32] = []
  var path: TopologyPath?
  /// A route must be laid anew though the path is the same: a hop has a new key, or the counter is worn out.
  var routeIsStale = false
  var certificate: [UInt8] = []
  var opening: [UInt8] = []

  static let returnRoutesKept = 3
  static let returnRoutesLimit = 16
  /// How long a component may take to use a session it has agreed to, before its ATTACH gets another challenge.
  static let provingTime = Duration.seconds(1)
  /// Challenges under way for one component, and of those through one neighbour of it. Anybody who has heard an ATTACH can
  /// repeat it elsewhere; that takes a place, and not the true one's.
  static let attemptLimit = 8
  static let attemptsBesideLimit = 2

  /// Makes room for another attempt: first among those through the same neighbour, of those the ones that no link key
  /// vouches for, of those the oldest.
  func makeRoom(beside: ComponentID, isLinked: Bool) -> Bool {
    let beside = attempts.indices.filter { attempts[$0].beside == beside }
    let crowd: [Int]
    if beside.count >= Admission.attemptsBesideLimit {
      crowd = beside
    } else if attempts.count >= Admission.attemptLimit {
      crowd = Array(attempts.indices)
    } else {
      return true
    }
    guard let victim = crowd.first(where: { !attempts[$0].isLinked }) ?? (isLinked ? crowd.first : nil) else {
      return false
    }
    attempts.remove(at: victim)
    return true
  }
}

/// A challenge under way: through whom it goes, and how often it went.
struct ChallengeAttempt {
  var challenge: SessionChallenge
  /// The component's neighbour that it goes through: the MA itself, or the component whose channel carries it.
  let beside: ComponentID
  var carrier: Carrier
  /// The ATTACH came over a link whose key proves its sender.
  var isLinked: Bool
  var due: Instant
  var sentAt = Instant.zero
  var sendings = 0

  /// 8 sendings, 50, 100, 200 … 1,600 and 2,000 ms apart: the last after 5.15 s, and 2 s later it is given up.
  static let sendingLimit = 8
  /// A repeated ATTACH has the challenge sent again, not sooner than this after the last time.
  static let spacing = Duration.milliseconds(20)
}
