// An MA's search for the link or node that loses frames while its hellos pass: see FaultSearch.swift for how, and
// docs/PROTOCOL.md §5, "Search". What is found makes links dearer in this MA's graph, so that the ways of all components
// leave them where there is a way round; it is tried again until it carries.

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
  // MARK: What begins a search

  /// Probes in a row were lost on one of this node's ways: an MA looks for the place, a component tells its MA.
  mutating func suspect(_ way: Way, of channel: Channel, at now: Instant) {
    guard channel.suspicions.takeIfAvailable(at: now) else { return }
    if channel.isUplink {
      if channel.stream.send(SuspectNotice(route: way.builder.route).encode()) { pump(channel, at: now) }
      return
    }
    guard let place = channel.ways.places.firstIndex(where: { $0 === way }) else { return }
    search(.way, channel, place: place, lost: way.probing.lostCounters, at: now)
  }

  /// SUSPECT: a hint, and no more. The same path is tried with frames of this MA's own.
  mutating func takeSuspicion(_ body: Span<UInt8>, on channel: Channel, at now: Instant) throws(WireError) {
    let notice = try SuspectNotice(decoding: body)
    guard let authority, let known = authority.returnRoutes[notice.route], known.channel == channel.number,
      let admission = authority.admissions[channel.number], Int(known.place) < admission.laid.count,
      admission.laid[Int(known.place)].returnRoutes.last == notice.route,
      channel.suspicions.takeIfAvailable(at: now)
    else {
      counters.suspicionsRefused &+= 1
      return
    }
    let place = Int(known.place)
    search(.hint(channel: channel.number, place: place), channel, place: place, lost: [], at: now)
  }

  private mutating func search(
    _ purpose: FaultSearch.Purpose, _ channel: Channel, place: Int, lost: [UInt32], at now: Instant
  ) {
    var isHintTwice = false
    if case .hint = purpose { isHintTwice = authority?.faults.isTrying(hintOf: channel.number) ?? false }
    guard let authority, !isHintTwice, let admission = authority.admissions[channel.number],
      place < admission.laid.count, let way = channel.ways.at(place), let path = admission.laid[place].path,
      admission.laid[place].route == way.builder.route, !admission.laid[place].isStale,
      // Where it goes over such a link it is the only way, or another is about to be laid.
      !authority.faults.crossesCondemned(path.links), !authority.faults.owns(way.builder.route),
      authority.faults.running.count < FaultSearches.limit, authority.faults.suspicions.takeIfAvailable(at: now)
    else {
      counters.suspicionsRefused &+= 1
      return
    }
    // Frames of a way that has answered are not under way longer than that; of another one only acknowledgements tell.
    var settling = way.probing.roundTrip * 2
    if !way.probing.hasAnswered {
      settling = FaultSearch.unhurriedSettling
      if case .hint = purpose, let usual = channel.stream.smoothedRoundTrip { settling = usual * 4 }
    }
    let search = FaultSearch(
      purpose, path: path.links, builder: way.builder, frameSize: way.frameSize, traffic: way.probing.traffic,
      settling: max(settling, authority.graph.roundTrip(of: path.links) * 2), lost: lost,
      lostSince: lost.isEmpty ? nil : way.probing.namedSince, repeats: FaultSearch.repeats, at: now)
    authority.faults.running.append(search)
    counters.searches &+= 1
  }

  // MARK: The hop

  /// TRACE: which frames of a route came here.
  mutating func answerTrace(_ body: Span<UInt8>, on channel: Channel, at now: Instant) throws(WireError) {
    let request = try TraceRequest(decoding: body)
    guard channel.traces.takeIfAvailable(at: now) else {
      counters.probesOverBudget &+= 1
      return
    }
    let answer = TraceAnswer(
      route: request.route,
      passages: request.counters.map {
        relay.passage(of: $0, route: request.route, authority: channel.authorityIndex)
      })
    sendDatagram(answer.encode(), on: channel, at: now)
  }

  /// TRACED.
  mutating func takeTraced(_ body: Span<UInt8>, on channel: Channel, at now: Instant) throws(WireError) {
    let answer = try TraceAnswer(decoding: body)
    guard let authority,
      let i = authority.faults.running.firstIndex(where: { $0.builder.route == answer.route }),
      authority.faults.running[i].stage != .probing,
      answer.passages.count == authority.faults.running[i].counters.count,
      let hop = authority.faults.running[i].path.firstIndex(where: { $0.to == channel.peer })
    else { return }
    authority.faults.running[i].passages[hop] = answer.passages
    if authority.faults.running[i].isAnswered { authority.faults.running[i].due = now }
  }

  // MARK: The search

  mutating func tendFaults(at now: Instant) {
    guard let authority, authority.faults.nextDeadline <= now else { return }
    var i = 0
    while i < authority.faults.running.count {
      if authority.faults.running[i].due <= now, advance(i, at: now) {
        let done = authority.faults.running.remove(at: i)
        conclude(done, at: now)
      } else {
        i += 1
      }
    }
    tendCondemned(at: now)
    while authority.faults.running.count < FaultSearches.trialLimit,
      let next = authority.faults.waiting.firstIndex(where: { $0.notBefore <= now })
    {
      let trial = authority.faults.waiting.remove(at: next)
      if begin(trial, at: now) { continue }
      if case .retest(let link) = trial.purpose { letOff(link, at: now) }
    }
  }

  /// One step of a search; true when it is at its end.
  private mutating func advance(_ i: Int, at now: Instant) -> Bool {
    guard let authority else { return true }
    var search = authority.faults.running[i]
    defer { if i < authority.faults.running.count { authority.faults.running[i] = search } }
    if search.ends <= now { return true }
    switch search.stage {
    case .probing:
      guard authority.faults.frames.takeIfAvailable(at: now) else {
        search.due = now + FaultSearch.probePace
        return false
      }
      // No number of the way's own probes: an answer is none to those.
      guard sendAlong(search, number: .max - UInt32(search.sent), at: now) else { return true }
      if search.sent == 0, case .retest(let link) = search.purpose { authority.faults.tried(link, at: now) }
      search.counters.append(search.builder.counter)
      search.sent += 1
      if search.sent == FaultSearch.probeCount { search.stage = .asking(times: 0) }
      search.due = now + (search.sent == FaultSearch.probeCount ? search.settling : FaultSearch.probePace)
      return false
    case .asking(let times):
      if search.isAnswered || times == FaultSearch.askingLimit { return true }
      search.stage = .asking(times: times + 1)
      search.due = now + search.settling
      let request = TraceRequest(route: search.builder.route, counters: search.counters)
      for (hop, link) in search.path.enumerated() where search.passages[hop] == nil {
        if link.to == identity.id {
          search.passages[hop] = request.counters.map {
            relay.passage(of: $0, route: request.route, authority: authority.index)
          }
        } else if let number = authority.byID[link.to], channels[Int(number)].session != nil,
          authority.faults.frames.takeIfAvailable(at: now)
        {
          sendDatagram(request.encode(), on: channels[Int(number)], at: now)
        }
      }
      if search.isAnswered { search.due = now }
      return false
    }
  }

  /// A frame of full size, which looks as the way's traffic does.
  private mutating func sendAlong(_ search: FaultSearch, number: UInt32, at now: Instant) -> Bool {
    // One that comes back here is nobody's: any session serves to make it look like others.
    guard let authority, let last = search.path.last(where: { $0.to != identity.id }), let first = search.path.first,
      let channel = authority.byID[last.to].map({ channels[Int($0)] }), let session = channel.session,
      let frame = probeFrame(
        search.builder, frameSize: search.frameSize, session: session,
        class: OnionClass(traffic: search.traffic, towardAuthority: false, authority: authority.index), number: number)
    else { return false }
    counters.probesSent &+= 1
    if sendOnion(frame, size: search.builder.size, on: first.fromAdjacency, at: now) { return true }
    pool.give(frame)
    return false
  }

  private mutating func conclude(_ search: FaultSearch, at now: Instant) {
    guard let authority else { return }
    // What changed on the path meanwhile explains the losses: a link that went, a hop that began anew.
    var isWhole = true
    for link in search.path {
      if authority.currentLink(link) == nil { isWhole = false }
      guard link.to != identity.id else { continue }
      guard let number = authority.byID[link.to], channels[Int(number)].session != nil else {
        isWhole = false
        continue
      }
      // Not again and again, or a hop could keep what it loses from being found.
      if channels[Int(number)].sessionSince >= search.since, channels[Int(number)].excuses.takeIfAvailable(at: now) {
        isWhole = false
      }
    }
    let finding = isWhole ? search.finding : .unclear
    if case .retest(let link) = search.purpose {
      if finding == .carries {
        carriesAgain(link, at: now)
      } else if search.sent == 0 {
        letOff(link, at: now)
      }
    }
    switch finding {
    case .carries:
      if case .hint(let number, let place) = search.purpose {
        tryBackwards(channels[Int(number)], place, search.traffic, search.settling)
      }
    case .link(let n): condemn(n, of: search, at: now)
    case .node(let n):
      condemn(n, of: search, at: now)
      condemn(n + 1, of: search, at: now)
    case .unclear:
      counters.searchesVain &+= 1
      guard search.repeatsLeft > 0, !authority.faults.crossesCondemned(search.path) else { return }
      wait(
        for: search.path, search.traffic, search.purpose, settling: search.settling, repeats: search.repeatsLeft - 1,
        notBefore: now + FaultSearch.repeatAfter)
    }
  }

  // MARK: Paths to try

  /// False, and nothing done, where no frames can be made for the path.
  private mutating func begin(_ trial: FaultSearches.Trial, at now: Instant) -> Bool {
    guard let authority, trial.path.count <= authority.size.entries else { return false }
    var frameSize = Int(UInt16.max)
    for link in trial.path { frameSize = min(frameSize, Int(authority.graph.frameSize(of: link) ?? 0)) }
    let route = authority.nextRoute()
    var hops: [RouteHop] = []
    for (i, link) in trial.path.enumerated() {
      guard let key = link.to == identity.id ? authority.ownKey : onionKey(link.to, authority) else {
        return false
      }
      let egress = i + 1 < trial.path.count ? trial.path[i + 1].fromAdjacency : deliverHere
      hops.append(RouteHop(key: key, route: route, ingress: link.toAdjacency, egress: egress))
    }
    guard frameSize >= authority.size.smallestFrame,
      let builder = OnionBuilder(route: route, size: authority.size, hops: hops, entropy: &entropy)
    else { return false }
    counters.searches &+= 1
    authority.faults.running.append(
      FaultSearch(
        trial.purpose, path: trial.path, builder: builder, frameSize: frameSize, traffic: trial.traffic,
        settling: max(trial.settling, authority.graph.roundTrip(of: trial.path) * 2), repeats: trial.repeatsLeft,
        at: now))
    return true
  }

  /// Has a path tried when there is a place; false, and nothing done, where it cannot be, or waits already.
  @discardableResult
  private func wait(
    for path: [TopologyLink], _ traffic: FrameClass, _ purpose: FaultSearch.Purpose = .trial, settling: Duration,
    repeats: Int = 0, notBefore: Instant = .zero
  ) -> Bool {
    guard let authority, path.count <= authority.size.entries, isSimple(path),
      !authority.faults.waiting.contains(where: { $0.path == path }),
      authority.faults.waiting.count < FaultSearches.waitingLimit
    else { return false }
    authority.faults.waiting.append(
      FaultSearches.Trial(
        purpose: purpose, path: path, traffic: traffic, settling: settling, repeatsLeft: repeats,
        notBefore: notBefore))
    return true
  }

  /// No node twice; only the end may be this MA.
  private func isSimple(_ path: [TopologyLink]) -> Bool {
    for (i, link) in path.enumerated() {
      if link.to == identity.id, i + 1 < path.count { return false }
      for other in path[..<i] where other.to == link.to { return false }
    }
    return path.count > 1 || path.first?.to != identity.id
  }

  /// What a component says to lose frames carries there; whether it does so back only a round trip by another way shows.
  private func tryBackwards(_ channel: Channel, _ place: Int, _ traffic: FrameClass, _ settling: Duration) {
    guard let authority, let admission = authority.admissions[channel.number], place < admission.laid.count,
      let back = admission.laid[place].path
    else { return }
    let way = back.links.reversed().map { $0.reversed }
    for laid in admission.laid {
      if let there = laid.path, wait(for: there.links + way, traffic, settling: settling) { return }
    }
  }

  /// Paths through both ends of a link that loses frames, without it in that direction: they show which end it is, and
  /// which of its other links lose frames too.
  private func tryAround(_ link: TopologyLink, _ traffic: FrameClass, _ settling: Duration) {
    guard let authority else { return }
    let before = authority.faults.waiting.count
    func add(_ path: [TopologyLink]) {
      guard authority.faults.waiting.count < before + FaultSearches.trialsAround else { return }
      wait(for: path, traffic, settling: settling)
    }
    for end in [link.from, link.to] where end != identity.id {
      guard let way = authority.graph.path(to: end)?.links, !way.contains(where: { $0.isSameLink(as: link) }) else {
        continue
      }
      for onward in authority.graph.links(from: end) where !onward.isSameLink(as: link) { add(way + [onward]) }
    }
    // In by the link's far end, against the direction in which it loses frames.
    guard link.from != identity.id, let way = authority.graph.path(to: link.to)?.links, !way.isEmpty else { return }
    for onward in authority.graph.links(from: link.from) where !onward.isSameLink(as: link) {
      add(way + [link.reversed, onward])
    }
  }

  // MARK: What was found

  private mutating func condemn(_ n: Int, of search: FaultSearch, at now: Instant) {
    guard let authority, n < search.path.count else { return }
    let link = search.path[n]
    let path = Array(search.path[...min(n + 1, search.path.count - 1)])
    if let known = authority.faults.condemned.firstIndex(where: { link.isKnownAgain(as: $0.link) }) {
      guard authority.faults.condemned[known].isLifted else { return }
      authority.faults.condemned[known].isLifted = false
      authority.faults.condemned[known].offences += 1
      authority.faults.condemned[known].retests = 0
      authority.faults.condemned[known].since = now
      authority.faults.condemned[known].link = link
      authority.faults.condemned[known].path = path
      authority.faults.condemned[known].traffic = search.traffic
      authority.faults.condemned[known].settling = search.settling
      authority.faults.condemned[known].due = now + authority.faults.condemned[known].pace
    } else {
      if authority.faults.condemned.count == FaultSearches.condemnedLimit {
        let oldest = authority.faults.removeOldest()
        counters.condemnedOverLimit &+= 1
        if !oldest.isLifted { authority.graph.setPenalty(0, on: oldest.link) }
      }
      authority.faults.condemned.append(
        CondemnedLink(
          link: link, path: path, traffic: search.traffic, settling: search.settling, since: now,
          due: now + .seconds(5)))
    }
    counters.linksCondemned &+= 1
    authority.graph.setPenalty(FaultSearches.penalty, on: link)
    scheduleRecompute(at: now)
    let (near, far) = (nameOf(link.from) ?? link.from.description, nameOf(link.to) ?? link.to.description)
    report(.warning, "frames that \(near) has got do not come to \(far), and their link is up: routes avoid it")
    for end in [link.from, link.to] where end != identity.id {
      let count = authority.faults.suspicion(of: end)
      guard count > 1, !authority.faults.named.contains(end) else { continue }
      authority.faults.named.append(end)
      report(
        .warning,
        "\(nameOf(end) ?? end.description) seems to drop what it should pass on: \(count) of its links lose frames")
    }
    tryAround(link, search.traffic, search.settling)
  }

  private mutating func carriesAgain(_ link: TopologyLink, at now: Instant) {
    guard let i = authority?.faults.condemned.firstIndex(where: { !$0.isLifted && $0.link == link }) else { return }
    lift(i, "carries again", at: now)
  }

  /// Of a link that cannot be tried nobody can say that it still loses frames.
  private mutating func letOff(_ link: TopologyLink, at now: Instant) {
    guard
      let i = authority?.faults.condemned.firstIndex(where: {
        !$0.isLifted && $0.link == link && now - $0.since > CondemnedLink.untestable
      })
    else { return }
    lift(i, "cannot be tried any more", at: now)
  }

  private mutating func lift(_ i: Int, _ why: StaticString, at now: Instant) {
    guard let authority else { return }
    let link = authority.faults.condemned[i].link
    authority.faults.condemned[i].isLifted = true
    authority.faults.condemned[i].due = now + CondemnedLink.memory
    authority.graph.setPenalty(0, on: link)
    scheduleRecompute(at: now)
    let (near, far) = (nameOf(link.from) ?? link.from.description, nameOf(link.to) ?? link.to.description)
    report(.notice, "the link \(near) - \(far) \(text(why)): routes may use it")
    authority.faults.unname(link)
  }

  private mutating func tendCondemned(at now: Instant) {
    guard let authority else { return }
    var i = 0
    while i < authority.faults.condemned.count {
      guard authority.faults.condemned[i].due <= now else {
        i += 1
        continue
      }
      if authority.faults.condemned[i].isLifted {
        authority.faults.condemned.remove(at: i)
        continue
      }
      authority.renumberCondemned(i)
      let entry = authority.faults.condemned[i]
      var isQueued = false
      if let path = retestPath(entry) {
        isQueued = wait(
          for: path, entry.traffic, .retest(entry.link), settling: max(entry.settling, FaultSearch.unhurriedSettling))
      }
      if !isQueued {
        letOff(entry.link, at: now)
        if authority.faults.condemned[i].isLifted { continue }
      }
      authority.faults.condemned[i].retests += 1
      authority.faults.condemned[i].due = now + authority.faults.condemned[i].pace
      i += 1
    }
  }

  /// The path that showed it, or to its near end by the present way, in turn; nil where neither stands.
  private func retestPath(_ entry: CondemnedLink) -> [TopologyLink]? {
    guard let authority, authority.graph.frameSize(of: entry.link) != nil else { return nil }
    let known = entry.path.allSatisfy { authority.graph.frameSize(of: $0) != nil } ? entry.path : nil
    var other: [TopologyLink]?
    let way = entry.link.from == identity.id ? [] : authority.graph.path(to: entry.link.from)?.links
    if let way, let at = entry.path.firstIndex(of: entry.link) {
      let path = way + entry.path[at...]
      if path.count <= authority.size.entries, isSimple(path),
        path.allSatisfy({ authority.graph.frameSize(of: $0) != nil })
      {
        other = path
      }
    }
    return entry.retests % 2 == 0 ? known ?? other : other ?? known
  }
}
