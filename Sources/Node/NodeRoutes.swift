// Laying routes: from the graph's paths to headers for the ways there, and permissions for the ways back. The best ways
// first; alternates, detours and successors' shares follow in slices, so that no change of the graph holds up the loop.

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

extension Node {
  /// An MA knows of changes that its best ways do not follow yet.
  public var owesBestWays: Bool { authority.map { $0.recomputeDue != .never } ?? false }

  /// An MA has alternates, detours or shares to compute or to give.
  public var owesAlternates: Bool {
    authority.map { $0.alternatesDue != .never || $0.sharesDue != .never || $0.detours.due != .never } ?? false
  }

  /// Chunks wait that would be sent now if there were buffers.
  public var hasUnsentChunks: Bool {
    channels.contains { $0.session != nil && $0.stream.nextDeadline == .zero }
  }

  /// Computes the best paths anew and lays every best way that changed or went stale.
  mutating func layRoutes(at now: Instant) {
    guard let authority else { return }
    // A link that carries no frame of the size in use is no link; others may lead to the same place.
    authority.graph.smallestFrameSize = UInt16(clamping: authority.size.smallestFrame)
    for id in authority.graph.recompute() {
      guard let number = authority.byID[id], let admission = authority.admissions[number] else { continue }
      let (channel, path) = (channels[Int(number)], authority.graph.path(to: id))
      leaveBroken(channel, admission, at: now)
      if path == nil, let last = admission.path?.links.last, authority.graph.frameSize(of: last) == nil {
        loseHearing(of: channel, heardFrom: now)
      }
      admission.setPath(path, isPaired: admission.laid.first?.isPaired ?? false, at: 0)
    }
    var (waiting, count) = waitingForWays(authority)
    if growTo(longestWay(waiting), at: now) { (waiting, count) = waitingForWays(authority) }
    if count > AuthorityState.manyWays { authority.hurriesUntil = now + AuthorityState.hurry }
    // Who has another way keeps to it for some milliseconds, so that what is told to all does not delay what they send.
    for (channel, admission) in waiting {
      if admission.laid.first?.isStale ?? false {
        if count > AuthorityState.bestAtOnce, hasGoodWay(channel, admission, at: now) {
          authority.wantAlternates(channel.number)
        } else {
          layWay(channel, admission, place: 0, at: now)
        }
      }
      if admission.laid.dropFirst().contains(where: { $0.isStale }) { authority.wantAlternates(channel.number) }
    }
    if !authority.alternatesWanted.isEmpty || authority.graph.hasPendingAlternates {
      authority.alternatesDue = min(authority.alternatesDue, now + AuthorityState.alternatesPace)
    }
  }

  /// A component that its own links no longer join to the MA may come back without its keys while its last LSA still
  /// stands; one that asks for a session and gets none has lost them. Nobody else's best way leads through it, where there
  /// is another, before a frame of it has come. (Those behind it cannot be reached either, and have their keys.)
  func loseHearing(of channel: Channel, heardFrom: Instant) {
    channel.isUnheard = true
    channel.heardFrom = heardFrom
    authority?.graph.setPenalty(FaultSearches.penalty, onLinksOf: channel.peer)
  }

  /// A frame under the session's keys has come. One that was under way when the component was cut off says nothing; one over
  /// a link that it has now does, and so does the first of a session.
  mutating func judgeHearing(of channel: Channel, at now: Instant) {
    guard now >= channel.heardFrom else { return }
    if channel.mayLackKeys || authority?.graph.path(to: channel.peer) != nil { hear(channel, at: now) }
  }

  /// The component has its keys.
  mutating func hear(_ channel: Channel, at now: Instant) {
    channel.isUnheard = false
    authority?.graph.setPenalty(0, onLinksOf: channel.peer)
    scheduleRecompute(at: now)
  }

  /// The best way so far has lost a link: another is taken at once, where there is one, also when nobody has said so on the
  /// way itself, or this node's own end of the link has not told yet.
  private mutating func leaveBroken(_ channel: Channel, _ admission: Admission, at now: Instant) {
    guard let authority, let way = channel.ways.at(0), let path = admission.path,
      path.links.contains(where: { authority.graph.frameSize(of: $0) == nil })
    else { return }
    if leave(channel, at: now, { $0 === way }) { chooseWays(channel, at: now) }
  }

  /// What it is sent now goes by a way that nobody has called broken, none of whose hops has begun a new session, and all of
  /// whose links are there (the best one's were looked at as its path changed): a component may tell of a link's end
  /// before this node sees it itself.
  private func hasGoodWay(_ channel: Channel, _ admission: Admission, at now: Instant) -> Bool {
    guard let authority, let way = channel.ways.main, neighbour.isUp(way.egress), !way.isInDoubt(at: now),
      let place = channel.ways.places.firstIndex(where: { $0 === way }), place < admission.laid.count,
      !admission.laid[place].isWorn, let path = admission.laid[place].path
    else { return false }
    return place == 0 || path.links.allSatisfy { authority.graph.frameSize(of: $0) != nil }
  }

  /// Components some of whose ways are stale, and how many best ways are among those. Near ones first: what is told to far
  /// ones travels over the nearer ones' links, not over their routes.
  private func waitingForWays(_ authority: AuthorityState) -> (waiting: [(Channel, Admission)], count: Int) {
    var waiting: [(Channel, Admission)] = []
    var count = 0
    for channel in channels where !channel.isUplink {
      guard let admission = authority.admissions[channel.number] else { continue }
      if admission.laid.first?.isStale ?? false { count += 1 }
      if admission.laid.contains(where: { $0.isStale }) { waiting.append((channel, admission)) }
    }
    return (waiting, count)
  }

  private func longestWay(_ waiting: [(Channel, Admission)]) -> Int {
    waiting.reduce(1) { max($0, $1.1.path?.links.count ?? 0) }
  }

  /// N rises with the longest path, and all ways are laid anew: true then.
  private mutating func growTo(_ longest: Int, at now: Instant) -> Bool {
    guard let authority, let size = OnionSize(hops: longest), size.entries > authority.size.entries else {
      return false
    }
    authority.size = size
    beacon.sizeCode = size.code
    needFrames(at: now)
    scheduleRecompute(at: now)
    for channel in channels where !channel.isUplink {
      authority.admissions[channel.number]?.markStale()
      // There may be room for longer ones.
      authority.wantAlternates(channel.number)
    }
    return true
  }

  /// A slice of the alternates that are to be computed and laid, and when there are none left, of the detours.
  mutating func layAlternates(at now: Instant) {
    guard let authority, now >= authority.alternatesDue else { return }
    if now < authority.hurriesUntil, hasUnsentChunks {
      authority.alternatesDue = now + AuthorityState.alternatesPace
      return
    }
    authority.alternatesDue = .never
    for id in authority.graph.nextAlternates(budget: AuthorityState.alternatesBudget) {
      if let number = authority.byID[id] { authority.wantAlternates(number) }
    }
    for number in authority.takeWanted(authority.alternatesSlice(at: now)) {
      let channel = channels[Int(number)]
      guard let admission = authority.admissions[number], channel.session != nil else { continue }
      admission.setAlternates(authority.graph.routes(to: channel.peer, longest: authority.size.entries))
      for place in admission.laid.indices where admission.laid[place].isStale {
        layWay(channel, admission, place: place, at: now)
      }
    }
    if !authority.alternatesWanted.isEmpty || authority.graph.hasPendingAlternates {
      authority.alternatesDue = now + AuthorityState.alternatesPace
      return
    }
    if now >= authority.detoursAge {
      authority.detoursAge = now + AuthorityState.detoursPace
      authority.graph.ageDetours()
    }
    for id in authority.graph.nextDetours(budget: AuthorityState.detoursBudget) {
      if id == identity.id {
        authority.detours.wantOwn(at: now)
      } else if let number = authority.byID[id] {
        authority.detours.want(number, at: now)
      }
    }
    if authority.graph.hasPendingDetours { authority.alternatesDue = now + AuthorityState.alternatesPace }
  }

  private mutating func layWay(_ channel: Channel, _ admission: Admission, place: Int, at now: Instant) {
    guard let authority else { return }
    let wasRouted = channel.isRouted
    guard let path = admission.laid[place].path, channel.session != nil else {
      admission.laid[place].isStale = channel.session == nil
      if place > 0 {
        withdraw(channel, admission, place: place, at: now)
        return
      }
      // When the path is back the others are not laid by themselves: their paths may not have changed.
      for other in admission.laid.indices.dropFirst() {
        withdraw(channel, admission, place: other, at: now)
        admission.laid[other].isStale = true
      }
      channel.ways.removeAll()
      if wasRouted { report(.warning, "\(String(decoding: channel.name, as: UTF8.self)) is unreachable") }
      return
    }
    guard Int(path.frameSize) >= authority.size.smallestFrame else {
      admission.laid[place].isStale = false
      withdraw(channel, admission, place: place, at: now)
      if place == 0 {
        report(
          .warning,
          "\(String(decoding: channel.name, as: UTF8.self)) is unreachable: its way carries frames of \(path.frameSize) bytes, "
            + "and \(authority.size.smallestFrame) are needed")
      }
      return
    }
    guard let there = forwardHops(path, authority), let back = backwardHops(path, authority) else {
      // A hop has no session yet: its own admission marks this route stale again.
      withdraw(channel, admission, place: place, at: now)
      return
    }
    guard
      let builder = OnionBuilder(
        route: there.route, size: authority.size, hops: there.hops, entropy: &entropy),
      let first = path.links.first, let last = path.links.last
    else {
      // Longer than N, which all that is computed fits: not before the next computation.
      admission.laid[place].isStale = false
      withdraw(channel, admission, place: place, at: now)
      return
    }
    let isPaired = admission.laid[place].isPaired
    let pathTag = authority.pathTag(of: path.links)
    let message = ReturnRoute(
      route: back.route, size: authority.size, place: UInt8(place), count: UInt8(admission.placeCount),
      isPaired: isPaired, frameSize: path.frameSize, egress: last.toAdjacency, pathTag: pathTag,
      hops: back.hops)
    guard channel.stream.send(message.encode()) else {
      // Its stream is full: tried again when there may be room.
      authority.recomputeDue = min(authority.recomputeDue, now + AuthorityState.retryDelay)
      return
    }
    if let old = admission.laid[place].route { authority.forwardRoutes[old] = nil }
    authority.forwardRoutes[there.route] = channel.number
    admission.laid[place].isLaid(by: there.route)
    authority.returnRoutes[back.route] = ReturnPlace(channel: channel.number, place: UInt8(place))
    for gone in admission.laid[place].give(back.route, lastUsed: channel.lastReturnRoutes[place]) {
      authority.returnRoutes[gone] = nil
    }
    let way = Way(
      builder: builder, egress: first.fromAdjacency, frameSize: Int(path.frameSize), hops: path.links.count,
      isPaired: isPaired, pathTag: pathTag)
    channel.ways.put(way, at: place, of: admission.placeCount, at: now)
    chooseWays(channel, at: now)
    if place == 0 {
      channel.stream.hurry()
      giveShares(path, there.hops, there.route, isBack: false, at: now)
      giveShares(path, back.hops, back.route, isBack: true, at: now)
    }
    if !wasRouted {
      let hops = path.links.count == 1 ? "1 hop" : "\(path.links.count) hops"
      report(.notice, "\(String(decoding: channel.name, as: UTF8.self)) is reachable over \(hops)")
    }
    pump(channel, at: now)
  }

  /// This node sends nothing by the way at a place any more; frames of the component by it are still taken.
  private mutating func withdraw(_ channel: Channel, _ admission: Admission, place: Int, at now: Instant) {
    if let old = admission.laid[place].route { authority?.forwardRoutes[old] = nil }
    admission.laid[place].route = nil
    channel.ways.put(nil, at: place, of: admission.placeCount, at: now)
    chooseWays(channel, at: now)
  }

  /// Gives every hop but the last two what it needs to leave out its successor.
  private func giveShares(
    _ path: TopologyPath, _ hops: [RouteHop], _ route: UInt32, isBack: Bool, at now: Instant
  ) {
    guard let authority else { return }
    let count = path.links.count
    guard count > 2 else { return }
    for i in 0..<(count - 2) {
      // There: hop i is the node at the end of link i. Back: the node at the beginning of link count − 1 − i.
      let node = isBack ? path.links[count - 1 - i].from : path.links[i].to
      let onward = isBack ? path.links[count - 3 - i].toAdjacency : path.links[i + 2].fromAdjacency
      guard let number = authority.byID[node] else { continue }
      authority.giveShare(
        SuccessorShare(route: route, entryKey: hops[i + 1].entryKey, onward: onward), to: number, at: now)
    }
  }

  /// Gives hops the shares that they have not got yet, as their streams have room.
  mutating func sendShares(at now: Instant) {
    guard let authority, now >= authority.sharesDue else { return }
    authority.sharesDue = .never
    var numbers: [UInt32] = []
    for (number, _) in authority.shares { numbers.append(number) }
    numbers.sort()
    for number in numbers {
      let channel = channels[Int(number)]
      guard channel.session != nil, let waiting = authority.shares[number] else {
        authority.shares[number] = nil
        continue
      }
      // What has been replaced in the meantime is of no use.
      var rest = waiting.filter { authority.isLaid($0.route) }.suffix(Detours.shareLimit)
      while !rest.isEmpty, channel.stream.send(SuccessorShare.encode(rest.prefix(SuccessorShare.atOnce))) {
        rest = rest.dropFirst(SuccessorShare.atOnce)
      }
      authority.shares[number] = rest.isEmpty ? nil : Array(rest)
      if !rest.isEmpty { authority.sharesDue = now + AuthorityState.retryDelay }
      pump(channel, at: now)
    }
  }

  func onionKey(_ id: ComponentID, _ authority: AuthorityState) -> Bytes32? {
    guard let number = authority.byID[id] else { return nil }
    return channels[Int(number)].session?.keys.onion
  }

  private func forwardHops(_ path: TopologyPath, _ authority: AuthorityState) -> (route: UInt32, hops: [RouteHop])? {
    let route = authority.nextRoute()
    var hops: [RouteHop] = []
    for (i, link) in path.links.enumerated() {
      guard let key = onionKey(link.to, authority) else { return nil }
      let egress = i + 1 < path.links.count ? path.links[i + 1].fromAdjacency : deliverHere
      hops.append(RouteHop(key: key, route: route, ingress: link.toAdjacency, egress: egress))
    }
    return (route, hops)
  }

  private mutating func backwardHops(
    _ path: TopologyPath, _ authority: AuthorityState
  ) -> (route: UInt32, hops: [RouteHop])? {
    let route = authority.nextRoute()
    var hops: [RouteHop] = []
    var i = path.links.count - 1
    while i >= 1 {
      let node = path.links[i].from
      guard let key = onionKey(node, authority) else { return nil }
      hops.append(
        RouteHop(
          key: key, route: route, ingress: path.links[i].fromAdjacency, egress: path.links[i - 1].toAdjacency))
      i -= 1
    }
    hops.append(
      RouteHop(
        key: authority.ownKey, route: route, ingress: path.links[0].fromAdjacency, egress: deliverHere))
    while hops.count < authority.size.entries { hops.append(RouteHop(decoyFrom: &entropy)) }
    return (route, hops)
  }
}
