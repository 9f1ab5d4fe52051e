// The routes a source has to one peer, and which of them it sends by (docs/PROTOCOL.md §5, "Ways").
//
// They stand at places, the best first; each was chosen to share as little as the graph allows with those before it. One
// carries what is sent once, two carry what is protected: the same end-to-end frame goes over both, and the receiver's
// replay window drops the second. A way that is said to be broken is left at once, without asking the MA.

import Core
import Onion
import Session

/// One route to the peer.
final class Way {
  let builder: OnionBuilder
  /// The first link's adjacency on this node.
  let egress: UInt16
  /// Largest lifeline frame every link carries, bytes.
  let frameSize: Int
  /// Links; 0 on a component, which is not told.
  let hops: Int
  /// One of the two that are as disjoint as any two can be.
  let isPaired: Bool
  /// Two ways to one peer have the same when they pass the same nodes. Those of them that leave by one link of this node's
  /// are as one for what is found of them.
  let pathTag: UInt32
  /// R of the way before through the same nodes: answers to its probes may be under way.
  private(set) var formerRoute: UInt32?
  /// A hop has said that it is broken, or its first link was down: until then others are preferred. Lost probes are apart
  /// (`probing.silenceEnds`): a way may be both.
  private(set) var brokenEnds = Instant.zero
  /// When that was told, for the first time in `tellings`.
  private(set) var brokenSince = Instant.zero

  /// What was broken may be mended; if not, the next frame has it told again.
  static let doubt = Duration.seconds(2)
  /// What is told again within this counts once, so that two that are both broken do not take turns with every telling.
  static let tellings = Duration.milliseconds(100)
  var probing = WayProbing()

  init(builder: OnionBuilder, egress: UInt16, frameSize: Int, hops: Int, isPaired: Bool, pathTag: UInt32) {
    self.builder = builder
    self.egress = egress
    self.frameSize = frameSize
    self.hops = hops
    self.isPaired = isPaired
    self.pathTag = pathTag
  }

  /// Takes up what was found of a way through the same nodes, losses above all: who changes what the MA lays must not make
  /// them forgotten. What hops said of the route before is over with it, and so are probes of long ago.
  func inherit(_ found: WayFindings, at now: Instant) {
    probing = found.probing
    probing.carryOver(at: now)
    if now - found.keptAt > WayProbing.longest { probing.forgetUnderWay() }
    formerRoute = found.route
  }

  func isBroken(at now: Instant) -> Bool { now < brokenEnds }

  func callBroken(at now: Instant) {
    if !isBroken(at: now) || now - brokenSince >= Way.tellings { brokenSince = now }
    brokenEnds = now + Way.doubt
    probing.backEnds = .zero
  }

  /// Probes were lost on it, of what went by it alone or was copied to it.
  func isSilent(at now: Instant) -> Bool { now < probing.silenceEnds }

  func isInDoubt(at now: Instant) -> Bool { isBroken(at: now) || isSilent(at: now) }

  /// Probes were lost on it, and in the last seconds again.
  func goesOnLosing(at now: Instant) -> Bool { isSilent(at: now) && now < probing.losingEnds }

  /// When it was called broken or probes were last found to be lost, whichever is later; zero when it is not in doubt.
  func inDoubtSince(at now: Instant) -> Instant {
    let found = isSilent(at: now) ? probing.silenceEnds - WayProbing.doubt : .zero
    return isBroken(at: now) ? max(brokenSince, found) : found
  }

  func isAs(_ other: Way) -> Bool { pathTag == other.pathTag && egress == other.egress }

  /// Bytes of IP packet a frame holds, the segment header not counted.
  var payloadSize: Int { frameSize - builder.size.endToEnd - SessionLayout.overhead }
}

/// What probes found of a way, kept when it is laid anew.
struct WayFindings {
  let pathTag: UInt32
  let egress: UInt16
  let route: UInt32
  private(set) var probing: WayProbing
  let keptAt: Instant

  init(_ way: Way, at now: Instant) {
    keptAt = now
    pathTag = way.pathTag
    egress = way.egress
    route = way.builder.route
    probing = way.probing
  }

  /// The other, known before, but where this one is in doubt for lost probes, and for longer.
  func orWorse(_ other: WayFindings?, at now: Instant) -> WayFindings {
    guard let other else { return self }
    return probing.silenceEnds > max(other.probing.silenceEnds, now) ? self : other
  }
}

/// All of a peer's ways.
struct Ways {
  /// The best and up to seven alternates.
  static let limit = 8
  /// Of ways that are no more, the newest last; at most `limit`.
  private var findings: [WayFindings] = []

  private(set) var places: [Way?] = []
  /// What is sent once goes by this one.
  private(set) var main: Way?
  /// What is protected goes by this one, and a copy by each of the twins: by the pair. While one of the pair is in doubt:
  /// by the way for bulk and up to two others, the better one first.
  private(set) var first: Way?
  private(set) var twins: [Way] = []
  /// When a way stops being in doubt, so that the choice may change.
  private(set) var nextChoice = Instant.never
  /// While the way in use is in doubt, the others are asked again from then on.
  var nextAsking = Instant.zero

  var isEmpty: Bool { main == nil }

  func at(_ place: Int) -> Way? { place < places.count ? places[place] : nil }

  /// Puts a way at a place (0 ..< limit); of `count` places those behind are cleared.
  mutating func put(_ way: Way?, at place: Int, of count: Int, at now: Instant) {
    guard place < Ways.limit else { return }
    while places.count <= place { places.append(nil) }
    if let way {
      if let found = takeFindings(for: way, place, now) { way.inherit(found, at: now) }
      let isRenewed = places[place].map { $0.isAs(way) } ?? false
      if !isRenewed, now - way.probing.answeredAt >= WayProbing.pace * 2 { ask(way, at: now) }
    }
    keepFindings(at: place, besides: way, now)
    places[place] = way
    let count = max(count, place + 1)
    while places.count > count {
      keepFindings(at: places.count - 1, besides: nil, now)
      places.removeLast()
    }
  }

  /// What is known of a way that is laid now is old, or nothing: it is asked with the next traffic.
  private func ask(_ way: Way, at now: Instant) {
    way.probing.isAsked = true
    way.probing.awaitAnswer(at: now)
    main?.probing.nextProbe = .zero
  }

  /// Of the ways that are as this one what the one at its place has shown, or one that is in doubt for lost probes: of two
  /// parallel links further on nobody here knows which it is that loses frames, and the MA puts the better way first.
  private mutating func takeFindings(for way: Way, _ place: Int, _ now: Instant) -> WayFindings? {
    var found: WayFindings?
    for case let other? in [places[place]] + places where other.isAs(way) {
      found = WayFindings(other, at: now).orWorse(found, at: now)
    }
    return takeFindings(way.pathTag, way.egress)?.orWorse(found, at: now) ?? found
  }

  private mutating func takeFindings(_ pathTag: UInt32, _ egress: UInt16) -> WayFindings? {
    findings.firstIndex { $0.pathTag == pathTag && $0.egress == egress }.map { findings.remove(at: $0) }
  }

  private mutating func keepFindings(at place: Int, besides way: Way?, _ now: Instant) {
    guard let old = places[place], !(way.map { old.isAs($0) } ?? false) else { return }
    let before = takeFindings(old.pathTag, old.egress)
    let kept = before?.orWorse(WayFindings(old, at: now), at: now) ?? WayFindings(old, at: now)
    if findings.count == Ways.limit { findings.removeFirst() }
    findings.append(kept)
  }

  mutating func removeAll() { self = Ways() }

  /// Whether traffic of this class goes by it now.
  func uses(_ way: Way, _ traffic: FrameClass) -> Bool {
    traffic == .bulk ? way === main : way === first || twins.contains { $0 === way }
  }

  func uses(_ egress: UInt16) -> Bool {
    for case let way? in places where way.egress == egress { return true }
    return false
  }

  /// The way of route R, or the one that took its place through the same nodes; nil when there is none.
  func way(of route: UInt32) -> Way? {
    for case let way? in places where way.builder.route == route { return way }
    for case let way? in places where way.formerRoute == route { return way }
    return nil
  }

  /// Whether there is another one to go over to. One that loses frames is left for one that did so longer ago, too.
  func hasOther(than way: Way, at now: Instant, orDoubtful: Bool = false, isUp: (UInt16) -> Bool) -> Bool {
    for case let other? in places where other !== way && isUp(other.egress) {
      if orDoubtful || !other.isInDoubt(at: now) || now < other.probing.backEnds { return true }
    }
    return false
  }

  /// How a place stands, the best first. A way that is in doubt and has just answered when it was asked comes before one
  /// that is not and has not answered since it was asked, while another has.
  private enum Standing: Int {
    case good, back, asked, doubtful, losing, down, none

    var isUp: Bool { rawValue < Standing.down.rawValue }
    var mayCarry: Bool { rawValue <= Standing.asked.rawValue }
  }

  private func standing(_ way: Way, at now: Instant, isUp: Bool) -> Standing {
    if !isUp { return .down }
    if way.isInDoubt(at: now) {
      return now < way.probing.backEnds ? .back : way.goesOnLosing(at: now) ? .losing : .doubtful
    }
    guard way.probing.mustAnswer else { return .good }
    let askedAt = way.probing.mustAnswerSince
    return places.contains {
      guard let other = $0, other !== way, !other.probing.mustAnswer else { return false }
      return other.probing.answeredAt > askedAt - WayProbing.pace * 2
        && (!other.isInDoubt(at: now) || now < other.probing.backEnds)
    } ? .asked : .good
  }

  /// Chooses anew. `isUp` tells of this node's adjacencies.
  mutating func choose(at now: Instant, isUp: (UInt16) -> Bool) {
    var standings: [Standing] = []
    nextChoice = .never
    for way in places {
      guard let way else {
        standings.append(.none)
        continue
      }
      if way.isBroken(at: now) { nextChoice = min(nextChoice, way.brokenEnds) }
      if way.isSilent(at: now) { nextChoice = min(nextChoice, way.probing.silenceEnds) }
      if now < way.probing.backEnds { nextChoice = min(nextChoice, way.probing.backEnds) }
      if way.goesOnLosing(at: now) { nextChoice = min(nextChoice, way.probing.losingEnds) }
      standings.append(standing(way, at: now, isUp: isUp(way.egress)))
    }
    main = nil
    first = nil
    twins = []
    // Of those in doubt the one that was put there longest ago: it may carry again, and where it does not that is told.
    func since(_ place: Int) -> Instant { places[place]?.inDoubtSince(at: now) ?? .zero }
    func comesBefore(_ a: Int, _ b: Int) -> Bool {
      (standings[a].rawValue, since(a), a) < (standings[b].rawValue, since(b), b)
    }
    guard let chosen = standings.indices.min(by: comesBefore), standings[chosen] != .none else { return }
    main = places[chosen]
    first = main
    let pair = standings.indices.filter { standings[$0].isUp && places[$0]?.isPaired == true }
    // One of them that has yet to answer, or to show that it carries more than lone probes, is as good for a copy.
    if pair.count == 2, pair.allSatisfy({ standings[$0].mayCarry }),
      pair.contains(where: { standings[$0] == .good && places[$0]?.probing.mustAnswer == false })
    {
      first = places[pair[0]]
      twins = pair.dropFirst().compactMap { places[$0] }
    } else if standings[chosen].isUp {
      // One that stands well, and one of the pair: it shares nothing with the other and may carry again, while what is
      // not in doubt may go through the node that fails next.
      var rest = standings.indices.filter { $0 != chosen && standings[$0].isUp }.sorted(by: comesBefore)
      if let other = rest.first {
        rest.removeFirst()
        let third = rest.first { pair.contains($0) } ?? rest.first
        twins = [other, third].compactMap { $0.flatMap { places[$0] } }
      }
    }
  }
}
