// Probes: whether a way that is in use carries frames of full size to its end (docs/PROTOCOL.md §5, "Probes"). Hellos tell of
// links; a node that passes hellos and drops what it should pass on shows only here. On the way a probe is a frame
// like those it goes with; the answer goes by other ways too, so that what is judged is the way there.
//
// They go out with the traffic and need no timer: a way nobody uses costs nothing. When one that is in use loses them, the
// others are asked, by a probe of their own each, before they are relied on.

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
  // MARK: Probes

  /// With a frame that goes by this way: a probe, when one is due.
  @inline(__always)
  mutating func probe(_ way: Way, _ onionClass: OnionClass, of channel: Channel, at now: Instant) {
    if now < way.probing.nextProbe { return }
    sendProbe(way, onionClass, of: channel, isAlone: false, at: now)
  }

  @inline(never)
  private mutating func sendProbe(
    _ way: Way, _ onionClass: OnionClass, of channel: Channel, isAlone: Bool, at now: Instant
  ) {
    if !isAlone, way === channel.ways.main || way === channel.ways.first {
      judgeThoseAside(channel, onionClass, at: now)
      if way.isInDoubt(at: now), now >= channel.ways.nextAsking { markAsked(channel, besides: way, at: now) }
      if !way.probing.hasAnswered && way.probing.lost == 0 { askForComparison(than: way, of: channel, at: now) }
      askThoseInDoubt(of: channel, at: now)
      askThoseMarked(channel, besides: way, onionClass, at: now)
    }
    if way.probing.isOpen {
      // It was only others' turn.
      if now < way.probing.lossDue {
        way.probing.nextProbe = way.probing.lossDue
        return
      }
      way.probing.countLoss()
      // Before the first answer nobody knows how long one takes.
      if way.probing.hasAnswered { counters.probesLost &+= 1 }
      if way.probing.isSilent {
        if leaveSilently(way, onionClass, of: channel, at: now) { return }
      } else if putAside(way, onionClass, of: channel, at: now) {
        return
      }
    }
    way.probing.nextProbe = now + way.probing.spacing
    let number = way.probing.number &+ 1
    guard !isAlone || askings.takeIfAvailable(at: now), let session = channel.session,
      let buffer = probeFrame(
        way.builder, frameSize: way.frameSize, session: session, class: onionClass, number: number,
        byEveryWay: way.probing.isAsked)
    else { return }
    way.probing.sent(number, counter: way.builder.counter, traffic: onionClass.traffic, isAlone: isAlone, at: now)
    counters.probesSent &+= 1
    if sendOnion(buffer, size: way.builder.size, on: way.egress, at: now) { return }
    pool.give(buffer)
  }

  /// A PROBE that fills a route's frame size, link header apart; nil when there is no buffer, or no more of the route.
  /// - Parameter byEveryWay: so the answer is to come.
  func probeFrame(
    _ builder: OnionBuilder, frameSize: Int, session: SecureSession, class onionClass: OnionClass, number: UInt32,
    byEveryWay: Bool = false
  ) -> PacketBuffer? {
    guard var buffer = pool.take() else { return nil }
    let offset = builder.size.endToEnd
    let payloadSize = frameSize - offset - SessionLayout.overhead
    let count = SessionLayout.segment + payloadSize
    guard payloadSize >= 9, buffer.tailRoom >= offset + SessionLayout.overhead + payloadSize,
      builder.build(buffer.bytes, class: onionClass)
    else {
      pool.give(buffer)
      return nil
    }
    let frame = buffer.bytes + offset
    let plain = frame + SessionLayout.header
    for i in 0..<count { plain[i] = 0 }
    plain[SessionLayout.segment] = ControlType.probe.rawValue
    store(builder.route, plain + SessionLayout.segment + 1)
    store(number, plain + SessionLayout.segment + 5)
    if byEveryWay && payloadSize > 9 { plain[SessionLayout.segment + 9] = 1 }
    buffer.count = offset + session.seal(frame, count: count, space: .bulk)
    return buffer
  }

  /// Probes in a row were lost: another way is taken, where there is one. True when the way is left.
  private mutating func leaveSilently(_ way: Way, _ onionClass: OnionClass, of channel: Channel, at now: Instant)
    -> Bool
  {
    if !way.probing.hasAnswered { counters.probesLost &+= UInt64(way.probing.lost) }
    // Of one that was only asked nothing is said for some time: it may lead through a box that is just beginning anew.
    let lost = way.probing.lostTraffic
    let carried = lost != nil || way.probing.verdictDue != .never
    // One that goes on losing what is copied to it is no news.
    let isNews = carried && (way.probing.verdictDue != .never || !way.isSilent(at: now))
    if carried && !isNews { way.probing.losingEnds = now + Way.doubt }
    way.probing.verdictDue = .never
    if carried || way.probing.isLongSilent(at: now) { suspect(way, of: channel, at: now) }
    way.probing.forgetLosses()
    guard channel.ways.hasOther(than: way, at: now, orDoubtful: true, isUp: { neighbour.isUp($0) }) else {
      return false
    }
    if isNews {
      counters.waysSilent &+= 1
      report(
        .warning,
        "a way to \(String(decoding: channel.name, as: UTF8.self)) loses frames while all its links are up: another is "
          + "taken")
    }
    let wasMain = way === channel.ways.main
    putInDoubt(way, losing: lost, of: channel, at: now)
    if isNews || wasMain { askOthers(than: way, onionClass, of: channel, at: now) }
    return true
  }

  /// A way that has never answered, where answers are faster otherwise: another is taken, and nothing said until the time
  /// for a first answer is over. True when the way is left.
  private mutating func putAside(_ way: Way, _ onionClass: OnionClass, of channel: Channel, at now: Instant) -> Bool {
    guard way.probing.lostTraffic != nil, !way.probing.hasAnswered,
      way.probing.lost >= (hasOtherAnswered(than: way, of: channel) ? 1 : WayProbing.asideLimit),
      way.probing.verdictDue == .never,
      !way.isSilent(at: now), let usual = usualRoundTrip(channel), now - way.probing.lostSince >= usual * 4,
      channel.ways.hasOther(than: way, at: now, isUp: { neighbour.isUp($0) })
    else { return false }
    // The first was sent three paces ago, and longer where the traffic paused; the last is waited for as well.
    way.probing.verdictDue = max(way.probing.lostSince, now - WayProbing.pace * 3) + WayProbing.longest
    // An answer to whatever probe shows that it was only slow.
    putInDoubt(way, losing: nil, of: channel, at: now)
    askOthers(than: way, onionClass, of: channel, at: now)
    return true
  }

  /// The longest that answers by the peer's other ways take, or acknowledgements where none has answered; nil when no time
  /// is known.
  private func usualRoundTrip(_ channel: Channel) -> Duration? {
    var longest: Duration?
    for case let way? in channel.ways.places where way.probing.hasAnswered {
      longest = max(longest ?? .zero, way.probing.roundTrip)
    }
    return longest ?? channel.stream.smoothedRoundTrip
  }

  /// Ways that carry no traffic, and so no probes, since they were put aside.
  private mutating func judgeThoseAside(_ channel: Channel, _ onionClass: OnionClass, at now: Instant) {
    for case let way? in channel.ways.places where way.probing.verdictDue <= now {
      _ = leaveSilently(way, onionClass, of: channel, at: now)
    }
  }

  private mutating func putInDoubt(_ way: Way, losing traffic: FrameClass?, of channel: Channel, at now: Instant) {
    way.probing.fallSilent(losing: traffic, at: now)
    chooseWays(channel, at: now)
  }

  // MARK: Asking

  /// What made a way fall silent may be on others as well, and what was found of others may be long over: all are asked
  /// at once, and one that answers is taken before those that do not.
  private mutating func askOthers(than way: Way, _ onionClass: OnionClass, of channel: Channel, at now: Instant) {
    markAsked(channel, besides: way, at: now)
    askThoseMarked(channel, besides: way, onionClass, at: now)
    chooseWays(channel, at: now)
  }

  func markAsked(_ channel: Channel, besides way: Way? = nil, at now: Instant) {
    channel.ways.nextAsking = now + Way.doubt
    for case let other? in channel.ways.places where other !== way && neighbour.isUp(other.egress) {
      other.probing.backEnds = .zero
      if other.probing.isDeceiver(at: now) { continue }
      mark(other, at: now)
      other.probing.awaitAnswer(at: now)
    }
  }

  private func mark(_ way: Way, at now: Instant) {
    way.probing.isAsked = true
    if !way.probing.isOpen { way.probing.nextProbe = now }
  }

  /// A new way is in use: whether it or the peer is slow to answer shows by the others.
  private func askForComparison(than way: Way, of channel: Channel, at now: Instant) {
    for case let other? in channel.ways.places
    where other !== way && !other.probing.isOpen && !other.probing.isAsked { mark(other, at: now) }
  }

  /// Some way has answered since this one's probes are without an answer.
  private func hasOtherAnswered(than way: Way, of channel: Channel) -> Bool {
    channel.ways.places.contains { $0 !== way && ($0?.probing.answeredAt ?? .zero) > way.probing.lostSince }
  }

  /// What was found of a way may be long over.
  private func askThoseInDoubt(of channel: Channel, at now: Instant) {
    for case let way? in channel.ways.places where way.isSilent(at: now) && now >= way.probing.nextAsking {
      way.probing.nextAsking = now + way.probing.askingPause
      mark(way, at: now)
    }
  }

  /// With the probes of the way in use, until they have answered or are silent too.
  private mutating func askThoseMarked(_ channel: Channel, besides way: Way, _ onionClass: OnionClass, at now: Instant)
  {
    for case let other? in channel.ways.places
    where other !== way && other.probing.isAsked && now >= other.probing.nextProbe && neighbour.isUp(other.egress) {
      sendProbe(other, onionClass, of: channel, isAlone: true, at: now)
    }
  }

  // MARK: Answers

  /// PROBE: what came in full size is answered in few bytes. `body` is the message without its type byte.
  mutating func answerProbe(_ body: Span<UInt8>, on channel: Channel, at now: Instant) throws(WireError) {
    guard body.count >= 8 else { throw .truncated(neededBytes: 8, haveBytes: body.count) }
    guard channel.probes.takeIfAvailable(at: now) else {
      counters.probesOverBudget &+= 1
      return
    }
    var answer = [ControlType.probed.rawValue]
    for i in 0..<8 { answer.append(body[i]) }
    // Who asks of a way does not know which carry, and the peer may not know it of its own.
    let isAsked = body.count > 8 && body[8] & 1 != 0
    sendSegment(
      kind: SegmentKind.datagram, flags: 0, word: 0, payload: answer, on: channel, attempt: 1, byEveryWay: isAsked,
      at: now)
  }

  /// PROBED: the way carries. One that was left for want of this answer is only slow, and taken again.
  mutating func takeProbed(_ body: Span<UInt8>, on channel: Channel, at now: Instant) throws(WireError) {
    var reader = ByteReader(body)
    let route = try reader.u32()
    let number = try reader.u32()
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("probed length")) }
    guard let way = channel.ways.way(of: route) else { return }
    let isNews = way.probing.isAsked || way.isSilent(at: now)
    if way.probing.answered(number, at: now) != nil, isNews { chooseWays(channel, at: now) }
  }
}

@inline(__always)
private func store(_ value: UInt32, _ p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.bigEndian, as: UInt32.self)
}
