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
  /// R of every way back in use.
  var returnRoutes: [UInt32: ReturnPlace] = [:]
  /// R of every way there, to the channel's number.
  var forwardRoutes: [UInt32: UInt32] = [:]
  /// Admission and routing of each channel, by its number.
  var admissions: [UInt32: Admission] = [:]
  /// This MA's own key as the last hop of every way back; fresh in each run.
  let ownKey: Bytes32
  private var routeSequence: UInt32
  private let routeMask: UInt32
  private let pathTagKey: Bytes16
  var size = OnionSize(code: 0)
  /// When paths are computed anew; `never` when nothing changed.
  var recomputeDue = Instant.never
  /// When the next alternates are computed and laid; `never` when all are.
  var alternatesDue = Instant.never
  /// When alternates were laid last, and how many more are laid one by one.
  private var slicedAt = Instant.zero
  private var slicesGentle = 0
  /// Until then so many best ways are being laid that each chunk goes by one way only, the first time.
  var hurriesUntil = Instant.zero
  /// Channels whose alternates are to be looked at.
  var alternatesWanted: [UInt32] = []
  private var alternatesAreWanted: Set<UInt32> = []
  /// Successors' shares that hops have not been given yet, and when to try.
  var shares: [UInt32: [SuccessorShare]] = [:]
  var sharesDue = Instant.never
  var detours = DetourInstallation()
  /// When detours that no path needs any more are given up.
  var detoursAge = Instant.zero
  /// Links and nodes that lose frames silently.
  var faults = FaultSearches()
  /// When to look which sessions' keys are due for renewal.
  var renewalDue = Instant.zero
  /// Channels with challenges under way.
  var challenged: [UInt32] = []
  /// Channels whose newest LSA waits for their budget, and when to look again.
  var advertisers: [UInt32] = []
  var advertisersDue = Instant.never
  /// Members whose certificates' issuer has left, to be certified anew; some at a time.
  var orphans: [ComponentID] = []
  var orphansDue = Instant.never
  /// When other MAs are told of members again: their streams were full, or they had no route.
  var tellingDue = Instant.never
  /// Certificates looked at of components that this MA does not know.
  var guests = TokenBucket(rate: 20, burst: 64)
  /// Other MAs that were reached when it was last said in a beacon, by index.
  var reached: UInt16 = 0
  /// Successors of the descriptor that other MAs have signed and this one has not; 4 at most, the newest last.
  var proposals: [NetworkDescriptor] = []
  static let proposalLimit = 4
  /// Computations of paths: beyond this rate changes are gathered for longer.
  var computations = TokenBucket(rate: 50, burst: 128)
  /// Beacons sent before their time for links that components report.
  var announcements = TokenBucket(rate: 2, burst: 8)

  /// Links that change together are computed together.
  static let recomputeDelay = Duration.milliseconds(2)
  /// Shares and detours that change together are given together.
  static let sharesDelay = Duration.milliseconds(20)
  /// What a full stream did not take is tried again.
  static let retryDelay = Duration.milliseconds(100)
  static let busyDelay = Duration.milliseconds(20)
  /// Arcs to look at in one step.
  static let alternatesBudget = 20_000
  /// Components whose alternates are laid at once, and when the next follow.
  static let alternatesAtOnce = 4
  static let alternatesPace = Duration.milliseconds(1)
  /// After a rest the first so many are laid one by one: in a small network all of a change, with pauses for traffic
  /// between.
  static let gentleCount = 32
  static let gentleRest = Duration.milliseconds(100)
  /// More best ways than this are laid at once only for components without another good way.
  static let bestAtOnce = 2
  static let detoursBudget = 20_000
  /// Best ways laid at once beyond which chunks go by one way, and for how long.
  static let manyWays = 32
  static let hurry = Duration.milliseconds(50)
  /// How often detours that no path needs are looked for.
  static let detoursPace = Duration.seconds(30)

  init(index: Int, root: ComponentID, nodeLimit: Int, alternates: Int, entropy: inout Entropy) {
    self.index = index
    graph = TopologyGraph(root: root, nodeLimit: nodeLimit, alternates: alternates)
    ownKey = entropy.bytes32()
    routeSequence = entropy.u32()
    routeMask = entropy.u32()
    pathTagKey = entropy.bytes16()
  }

  /// Tells paths apart by the nodes they pass, and nobody without the key what they are. Which of two parallel links is
  /// taken, and what number a link has at its ends, is for those ends to change at any time.
  func pathTag(of links: [TopologyLink]) -> UInt32 {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(16 * links.count)
    for link in links {
      link.to.bytes.withBytes { bytes.append(contentsOf: UnsafeBufferPointer(start: $0, count: 16)) }
    }
    let tag = bytes.withUnsafeBufferPointer {
      $0.baseAddress.map { ShortMAC.sipHash24($0, count: bytes.count, key: pathTagKey) } ?? 0
    }
    return UInt32(truncatingIfNeeded: tag)
  }

  /// A route number never used before in this run: a counter, scattered by a bijection of 32 bits.
  func nextRoute() -> UInt32 {
    routeSequence &+= 1
    var x = routeSequence ^ routeMask
    x = (x ^ (x >> 16)) &* 0x7feb_352d
    x = (x ^ (x >> 15)) &* 0x846c_a68b
    return x ^ (x >> 16)
  }

  func wantAlternates(_ number: UInt32) {
    if alternatesAreWanted.insert(number).inserted { alternatesWanted.append(number) }
  }

  /// How many components' alternates are laid now.
  func alternatesSlice(at now: Instant) -> Int {
    if now - slicedAt > AuthorityState.gentleRest { slicesGentle = AuthorityState.gentleCount }
    slicedAt = now
    if slicesGentle == 0 { return AuthorityState.alternatesAtOnce }
    slicesGentle -= 1
    return 1
  }

  /// The next `count` of them, those wanted first in front.
  func takeWanted(_ count: Int) -> ArraySlice<UInt32> {
    let taken = alternatesWanted.prefix(count)
    alternatesWanted.removeFirst(taken.count)
    for number in taken { alternatesAreWanted.remove(number) }
    return taken
  }

  /// Keeps a share until the hop's control stream has room for it. At twice what a hop keeps, what is laid no more goes,
  /// then the oldest.
  func giveShare(_ share: SuccessorShare, to number: UInt32, at now: Instant) {
    shares[number, default: []].append(share)
    if let all = shares[number], all.count >= 2 * Detours.shareLimit {
      shares[number] = Array(all.filter { isLaid($0.route) }.suffix(Detours.shareLimit))
    }
    sharesDue = min(sharesDue, now + AuthorityState.sharesDelay)
  }

  /// Whether a route is laid still.
  func isLaid(_ route: UInt32) -> Bool { forwardRoutes[route] != nil || returnRoutes[route] != nil }

  /// An SPI no longer names this channel's session.
  func forget(spi: UInt32, of channel: Channel) {
    if bySPI[spi] == channel.number, admissions[channel.number]?.spi != spi { bySPI[spi] = nil }
  }

  /// Forgets a channel's addresses, routes and keys; the next new member gets its number.
  func remove(_ channel: Channel) {
    byID[channel.peer] = nil
    if byIPv4[channel.ipv4] == channel.number { byIPv4[channel.ipv4] = nil }
    byInterfaceID[channel.interfaceID] = nil
    if let previous = channel.previousSession { forget(spi: previous.keys.spi, of: channel) }
    if let admission = admissions[channel.number] {
      bySPI[admission.spi] = nil
      forgetRoutes(admission)
    }
    admissions[channel.number] = nil
    shares[channel.number] = nil
    detours.remove(channel.number)
    challenged.removeAll { $0 == channel.number }
    advertisers.removeAll { $0 == channel.number }
    // Nothing that was to go through it may go through the next one's.
    for (_, other) in admissions { other.attempts.removeAll { $0.carrier.leads(through: channel.number) } }
    channel.end()
  }

  /// R of everything laid for a component names nothing any more.
  func forgetRoutes(_ admission: Admission) {
    for laid in admission.laid {
      if let route = laid.route { forwardRoutes[route] = nil }
      for route in laid.returnRoutes { returnRoutes[route] = nil }
    }
    admission.laid = []
  }

  var nextDeadline: Instant? {
    var deadline: Instant? = min(min(recomputeDue, renewalDue), min(min(advertisersDue, alternatesDue), sharesDue))
    deadline = earlier(deadline, min(min(orphansDue, tellingDue), min(faults.nextDeadline, detours.due)))
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
  /// When it last asked again before it was heard.
  var hurriedAt = Instant.zero
  /// A renewal under way: its first message has been given to the stream.
  var renewal: SessionChallenge?
  var renewalBegan = Instant.zero
  /// The newest LSA beyond the component's budget, at most 13,301 bytes: taken when there is budget again.
  var heldAdvertisement: [UInt8] = []
  /// When the session's keys are to be replaced.
  var renewalDue = Instant.never
  /// What is laid for the component, by place; the best way first.
  var laid: [LaidWay] = []
  /// X25519: what the component is challenged with.
  let agreementKey: Bytes32
  /// Empty as long as this MA knows neither name nor address: the component is asked for them.
  var certificate: [UInt8] = []
  var opening: [UInt8] = []
  /// The epoch of its descriptor as its last ATTACH said.
  var saidEpoch: UInt32 = 0
  /// An MA: members it is still to be told of.
  var untold: [ComponentID] = []

  init(agreementKey: Bytes32) { self.agreementKey = agreementKey }

  /// How long a component may take to use a session it has agreed to, before its ATTACH gets another challenge.
  static let provingTime = Duration.seconds(1)
  /// Challenges under way for one component, and of those through one neighbour of it. Anybody who has heard an ATTACH can
  /// repeat it elsewhere; that takes a place, and not the true one's.
  static let attemptLimit = 8
  static let attemptsBesideLimit = 2

  /// The best path as last computed.
  var path: TopologyPath? { laid.first?.path }

  /// A path that differs in nothing but its cost is laid as it is.
  func setPath(_ path: TopologyPath?, isPaired: Bool, at place: Int) {
    while laid.count <= place { laid.append(LaidWay()) }
    let isLaid =
      path != nil && laid[place].path?.links == path?.links && laid[place].path?.frameSize == path?.frameSize
      && laid[place].isPaired == isPaired
    laid[place].path = path
    laid[place].isPaired = isPaired
    if !isLaid { laid[place].isStale = true }
  }

  /// The graph's alternates at the places behind the best way. One that has a place keeps it, unless one before it would
  /// stay empty: a component hears only of places behind the last that they are over.
  func setAlternates(_ set: RouteSet) {
    func isPaired(_ i: Int) -> Bool { set.paths.count > 1 && (i == set.pair.first || i == set.pair.second) }
    var isOpen = Array(repeating: true, count: set.paths.count)
    for place in laid.indices {
      let links = laid[place].path?.links
      let known = place == 0 ? 0 : set.paths.firstIndex { $0.links == links } ?? -1
      guard known >= 0, known < isOpen.count, set.paths[known].links == links, isOpen[known] else {
        if place > 0, laid[place].path != nil { setPath(nil, isPaired: false, at: place) }
        continue
      }
      isOpen[known] = false
      setPath(set.paths[known], isPaired: isPaired(known), at: place)
    }
    var place = 1
    for i in isOpen.indices where isOpen[i] && i > 0 {
      while place < laid.count, laid[place].path != nil { place += 1 }
      if place < Ways.limit { setPath(set.paths[i], isPaired: isPaired(i), at: place) }
    }
    while let last = laid.lastIndex(where: { $0.path != nil }),
      let hole = laid[..<last].firstIndex(where: { $0.path == nil })
    {
      setPath(laid[last].path, isPaired: laid[last].isPaired, at: hole)
      setPath(nil, isPaired: false, at: last)
    }
  }

  /// Places up to the last one that has a path, at least 1.
  var placeCount: Int { (laid.lastIndex { $0.path != nil } ?? 0) + 1 }

  /// All ways are to be laid anew though their paths are the same.
  func markStale(isWorn: Bool = false) {
    if laid.isEmpty { laid.append(LaidWay()) }
    for i in laid.indices { laid[i].markStale(isWorn: isWorn) }
  }

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

/// What an MA has laid at one place of a component's ways.
struct LaidWay {
  var path: TopologyPath?
  var isPaired = false
  /// It must be laid, for the first time or anew: another path, a hop's new key, a counter that is worn out.
  var isStale = false
  /// It is that because a hop has begun a new session and may have forgotten its keys: what is laid may not work any more.
  private(set) var isWorn = false
  /// R of the way there.
  var route: UInt32?
  /// R of the ways back given out, the newest last. The one in use stays good with all newer ones, and at least three.
  var returnRoutes: [UInt32] = []

  static let returnRoutesKept = 3
  static let returnRoutesLimit = 16

  mutating func markStale(isWorn: Bool) {
    isStale = true
    if isWorn { self.isWorn = true }
  }

  mutating func isLaid(by route: UInt32) {
    isStale = false
    isWorn = false
    self.route = route
  }

  /// Takes a new way back in, and tells which ones are over. While the component has not used a newer one, frames under
  /// way come by the one it uses.
  mutating func give(_ route: UInt32, lastUsed: UInt32) -> [UInt32] {
    returnRoutes.append(route)
    var gone: [UInt32] = []
    while returnRoutes.count > LaidWay.returnRoutesLimit
      || (returnRoutes.count > LaidWay.returnRoutesKept && returnRoutes[0] != lastUsed
        && returnRoutes.contains(lastUsed))
    {
      gone.append(returnRoutes.removeFirst())
    }
    return gone
  }
}

/// Whose way back a route is, and at which place.
struct ReturnPlace {
  var channel: UInt32
  var place: UInt8
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
  /// A repeated ATTACH has the challenge, or the session's first frames, sent again, not sooner than this after the last time.
  static let spacing = Duration.milliseconds(20)
}
