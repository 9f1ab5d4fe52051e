// What an MA knows of nodes that pass hellos and drop what they should pass on, and how it looks for them
// (docs/PROTOCOL.md §5, "Search"). It sends frames of full size along a path, on a route it has built itself, and asks
// every hop of the path which of them came. Where one hop saw them and the next did not, that link loses frames: one of
// its two ends drops them, or lies, or the wire between does. So a hop that lies condemns a link of its own and no other.
//
// Rejected: probes that end at one hop after the other. A hop that drops some of them chooses the place where they seem
// to stop. And what a component says of its way back: it holds the keys to make a frame that a hop in the middle refuses.

import Core
import Onion
import Topology
import Wire

/// Frames under way along one path, and what its hops say of them.
struct FaultSearch {
  enum Purpose {
    /// Frames on a component's way were lost.
    case way
    /// A component says so of its way back: what is laid at this place of this channel's.
    case hint(channel: UInt32, place: Int)
    /// A path beside one that was found to lose frames.
    case trial
    /// A condemned link: does it carry again?
    case retest(TopologyLink)
  }

  enum Stage: Equatable {
    case probing
    case asking(times: Int)
  }

  /// Frames sent for one search, beside those that were lost before it.
  static let probeCount = 4
  static let probePace = Duration.milliseconds(20)
  /// From the last frame to the question, and from one question to the next, at least; longer where round trips are.
  static let settling = Duration.milliseconds(100)
  /// The same where no round trip is known, or nothing hurries: a frame still under way is none that was lost.
  static let unhurriedSettling = Duration.seconds(1)
  static let longestSettling = WayProbing.longest
  /// A search that is not over then ends with what it knows.
  static let longest = Duration.seconds(15)
  static let askingLimit = 3
  /// Frames that must agree on a place.
  static let agreement = 3
  /// One for a source that came to nothing is made again so often, so long after.
  static let repeats = 2
  static let repeatAfter = Duration.seconds(2)

  let purpose: Purpose
  /// From this MA on, in the direction of the frames; the last link may end at this MA again.
  let path: [TopologyLink]
  let builder: OnionBuilder
  let frameSize: Int
  let traffic: FrameClass
  /// When the first of its frames was sent, those that were lost before it included.
  let since: Instant
  var repeatsLeft: Int
  /// Of the frames that are asked for, 8 at most.
  var counters: [UInt32]
  var sent = 0
  var stage = Stage.probing
  let settling: Duration
  let ends: Instant
  /// By link of the path: what the node at its end says.
  var passages: [[Passage]?]
  var due: Instant

  init(
    _ purpose: Purpose, path: [TopologyLink], builder: OnionBuilder, frameSize: Int, traffic: FrameClass,
    settling: Duration, lost: [UInt32] = [], lostSince: Instant? = nil, repeats: Int = 0, at now: Instant
  ) {
    self.purpose = purpose
    self.path = path
    self.builder = builder
    self.frameSize = frameSize
    self.traffic = traffic
    self.settling = min(max(settling, FaultSearch.settling), FaultSearch.longestSettling)
    since = lostSince ?? now
    ends = now + FaultSearch.longest
    repeatsLeft = repeats
    counters = lost
    passages = Array(repeating: nil, count: path.count)
    due = now
  }

  var isAnswered: Bool { passages.allSatisfy { $0 != nil } }

  var finding: FaultFinding { FaultFinding(passages: passages, count: counters.count) }
}

/// Where frames stop on a path.
enum FaultFinding: Equatable {
  /// They come to its end.
  case carries
  /// The node before link `n` of the path has got them, the one behind it has not.
  case link(Int)
  /// The node between links `n` and `n + 1` does not say; the one before has got them, the one behind has not.
  case node(Int)
  case unclear

  /// - Parameters:
  ///   - passages: by link, what the node at its end says of each frame; nil where it says nothing.
  ///   - count: frames.
  init(passages: [[Passage]?], count: Int) {
    var arrived = 0
    var links = Array(repeating: 0, count: passages.count)
    var nodes = links
    for frame in 0..<count {
      func said(_ i: Int) -> Passage? {
        guard let said = passages[i], frame < said.count else { return nil }
        return said[frame]
      }
      // The last that says it has got the frame is right, or lies and is one of the two ends that are blamed.
      let next = (passages.indices.last { said($0) == .seen || said($0) == .forgotten } ?? -1) + 1
      if next == passages.count {
        if said(next - 1) == .seen { arrived += 1 }
      } else if said(next) != nil {
        links[next] += 1
      } else if next + 1 < passages.count, said(next + 1) != nil {
        nodes[next] += 1
      }
    }
    self = .unclear
    if arrived >= 2 {
      self = .carries
      return
    }
    let all = links.reduce(0, +) + nodes.reduce(0, +)
    for i in passages.indices {
      // One frame may have been lost elsewhere.
      if links[i] >= FaultSearch.agreement, all - links[i] <= 1, arrived == 0 { self = .link(i) }
      if nodes[i] >= FaultSearch.agreement, all - nodes[i] <= 1, arrived == 0 { self = .node(i) }
    }
  }
}

/// A link that was found to lose frames.
struct CondemnedLink {
  /// In the direction in which it loses them.
  var link: TopologyLink
  /// What showed it: from this MA to the node behind the link's far end, where the path went on.
  var path: [TopologyLink]
  var traffic: FrameClass
  /// Of the search that showed it.
  var settling: Duration
  /// It carries again; kept for a while, since who offends again is believed later.
  var isLifted = false
  var offences = 1
  /// When it was found, or the first frame of the last try went out.
  var since: Instant
  var retests = 0
  /// When it is tried again; once lifted, when it is forgotten.
  var due: Instant

  /// 5, 10, 20, 40 and 60 s; one that offends again begins later.
  var pace: Duration {
    var pace = Duration.seconds(5)
    for _ in 0..<min(retests + offences - 1, 4) { pace = min(pace * 2, .seconds(60)) }
    return pace
  }

  static let memory = Duration.seconds(600)
  /// One that could not be tried for so long is believed again.
  static let untestable = Duration.seconds(120)
}

/// Bounds: 8 searches of 64 hops × 8 answers; 32 paths that wait, of 64 links × 48 B: 96 KiB; 256 condemned links with
/// paths, 768 KiB where all are 64 links long.
struct FaultSearches {
  static let limit = 8
  /// Of these, for paths that waited; the others are kept for sources that lose frames.
  static let trialLimit = 6
  static let waitingLimit = 32
  static let condemnedLimit = 256
  /// Paths tried around one link that was found to lose frames.
  static let trialsAround = 12
  /// More than a way round costs: 64 tunnels of 200, or 20 links that flap as much as they can.
  static let penalty: UInt16 = 20_000

  struct Trial {
    let purpose: FaultSearch.Purpose
    let path: [TopologyLink]
    let traffic: FrameClass
    let settling: Duration
    var repeatsLeft = 0
    var notBefore = Instant.zero
  }

  var running: [FaultSearch] = []
  var waiting: [Trial] = []
  var condemned: [CondemnedLink] = []
  /// Nodes that were named, with two or more condemned links.
  var named: [ComponentID] = []
  /// Searches begun for sources that lose frames.
  var suspicions = TokenBucket(rate: 8, burst: 16)
  /// Frames of full size and questions, of all searches together.
  var frames = TokenBucket(rate: 256, burst: 64)

  func isCondemned(_ link: TopologyLink) -> Bool {
    condemned.contains { !$0.isLifted && link.isKnownAgain(as: $0.link) }
  }

  func crossesCondemned(_ path: [TopologyLink]) -> Bool { path.contains { isCondemned($0) } }

  func owns(_ route: UInt32) -> Bool { running.contains { $0.builder.route == route } }

  /// What this component said of its ways back is being looked into, or will be once more.
  func isTrying(hintOf component: UInt32) -> Bool {
    func isHint(_ purpose: FaultSearch.Purpose) -> Bool {
      if case .hint(component, _) = purpose { true } else { false }
    }
    return running.contains { isHint($0.purpose) } || waiting.contains { isHint($0.purpose) }
  }

  /// Frames of a retest go out.
  mutating func tried(_ link: TopologyLink, at now: Instant) {
    for i in condemned.indices where condemned[i].link == link { condemned[i].since = now }
  }

  /// Makes room for one condemned link more.
  mutating func removeOldest() -> CondemnedLink {
    let oldest = condemned.removeFirst()
    unname(oldest.link)
    return oldest
  }

  /// Ends of a link that is not condemned any more: who has fewer than two is named anew when he gets them again.
  mutating func unname(_ link: TopologyLink) {
    for end in [link.from, link.to] where suspicion(of: end) < 2 { named.removeAll { $0 == end } }
  }

  /// Condemned links of a node, by neighbour at most one.
  func suspicion(of node: ComponentID) -> Int {
    var neighbours: [ComponentID] = []
    for entry in condemned where !entry.isLifted {
      let other = entry.link.from == node ? entry.link.to : entry.link.to == node ? entry.link.from : node
      if other != node, !neighbours.contains(other) { neighbours.append(other) }
    }
    return neighbours.count
  }

  var nextDeadline: Instant {
    var deadline = Instant.never
    for search in running { deadline = min(deadline, search.due) }
    for entry in condemned { deadline = min(deadline, entry.due) }
    if running.count < FaultSearches.trialLimit {
      for trial in waiting { deadline = min(deadline, trial.notBefore) }
    }
    return deadline
  }
}

extension TopologyLink {
  var reversed: TopologyLink {
    TopologyLink(from: to, fromAdjacency: toAdjacency, to: from, toAdjacency: fromAdjacency)
  }

  /// In whichever direction.
  func isSameLink(as other: TopologyLink) -> Bool { self == other || reversed == other }

  /// The same by one of its ends at least, in whichever direction: a node may give its end another number at any time.
  func isKnownAgain(as other: TopologyLink) -> Bool { isKin(to: other) || reversed.isKin(to: other) }

  fileprivate func isKin(to other: TopologyLink) -> Bool {
    from == other.from && to == other.to
      && (fromAdjacency == other.fromAdjacency || toAdjacency == other.toAdjacency)
  }
}

extension AuthorityState {
  /// A link as it is numbered now; nil when there is none that is usable and known again by one of its ends.
  func currentLink(_ link: TopologyLink) -> TopologyLink? {
    if graph.frameSize(of: link) != nil { return link }
    return graph.links(from: link.from).first { $0.isKin(to: link) }
  }

  /// Where a condemned link has another number at one end by now, and is not another condemned one, it gets that.
  func renumberCondemned(_ i: Int) {
    let old = faults.condemned[i].link
    guard graph.frameSize(of: old) == nil,
      let new = graph.links(from: old.from).first(where: { kin in
        kin.isKin(to: old) && !faults.condemned.contains { !$0.isLifted && $0.link.isSameLink(as: kin) }
      })
    else { return }
    faults.condemned[i].link = new
    for k in faults.condemned[i].path.indices where faults.condemned[i].path[k] == old {
      faults.condemned[i].path[k] = new
    }
    graph.setPenalty(0, on: old)
    // Others may share an end's number with it.
    for entry in faults.condemned where !entry.isLifted { graph.setPenalty(FaultSearches.penalty, on: entry.link) }
  }
}
