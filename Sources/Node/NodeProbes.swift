// Probes: whether a way that is in use carries frames of full size to its end (docs/PROTOCOL.md §5, "Probes"). Hellos tell of
// links; a node that passes hellos and drops what it should pass on shows only here. On the way a probe is a frame
// like those it goes with; the answer goes by two ways where there are two, so that what is judged is the way there.
//
// They go out with the traffic and need no timer: a way nobody uses costs nothing.

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

/// What a source knows of one way from probes.
struct WayProbing {
  /// Between two probes of a way that carries traffic; longer where the answers take longer.
  static let pace = Duration.milliseconds(200)
  /// So many in a row without an answer, and another way is taken.
  static let lossLimit = 3
  /// The same of a way that has never answered: 200, 400, 800 and 1,600 ms apart, together `longest`.
  static let firstLossLimit = 4
  /// So many of them, and another way is taken while the answer is waited for: 600 ms.
  static let asideLimit = 2
  /// For how long then: what drops frames and passes hellos mends itself seldom.
  static let doubt = Duration.seconds(60)
  /// Round trips are taken for no longer, whatever is measured; a first answer is waited for so long.
  static let longest = Duration.seconds(3)
  /// Probes whose answers still count when they come late.
  static let remembered = 8

  struct Sent {
    let number: UInt32
    let at: Instant
  }

  var nextProbe = Instant.zero
  /// Number of the last probe.
  private(set) var number: UInt32 = 0
  /// The last probe was neither answered nor counted as lost.
  private(set) var isOpen = false
  /// The last ones without an answer, the oldest first.
  private var unanswered: [Sent] = []
  private(set) var lost = 0
  /// When the first of those that were lost in a row was sent.
  private(set) var lostSince = Instant.zero
  /// In the onion headers of the last probes that were lost in a row on the present route.
  private(set) var lostCounters: [UInt32] = []
  /// Of the last probe; nil when it went by the route before.
  private var counter: UInt32?
  private var routeSince = Instant.zero
  private var sentAt = Instant.zero
  /// The class of the last probe.
  private(set) var traffic = FrameClass.bulk
  /// Zero before the first answer. A longer one counts at once, a shorter one by an eighth.
  private(set) var roundTrip = Duration.zero
  /// The way was put aside before its first answer: when it is taken for one that loses frames.
  var verdictDue = Instant.never
  /// Until then others are preferred for want of answers.
  var silenceEnds = Instant.zero
  /// Probes were lost while it was so already: until then it is taken for one that goes on losing frames.
  var losingEnds = Instant.zero

  var hasAnswered: Bool { roundTrip > .zero }

  /// From one probe to the next: a probe without an answer by then is lost.
  var spacing: Duration {
    hasAnswered
      ? max(WayProbing.pace, roundTrip * 2) : WayProbing.pace * (1 << Int64(min(lost, WayProbing.firstLossLimit - 1)))
  }

  var isSilent: Bool { lost >= (hasAnswered ? WayProbing.lossLimit : WayProbing.firstLossLimit) }

  /// The last probe went out: its number, and the counter of its onion header.
  mutating func sent(_ number: UInt32, counter: UInt32, traffic: FrameClass, at now: Instant) {
    self.number = number
    self.counter = counter
    self.traffic = traffic
    sentAt = now
    isOpen = true
    if unanswered.count == WayProbing.remembered { unanswered.removeFirst() }
    unanswered.append(Sent(number: number, at: now))
  }

  /// The time for the answer to the last probe is over. It counts once, whether another probe can be sent or not.
  mutating func countLoss() {
    isOpen = false
    if lost == 0 { lostSince = sentAt }
    lost += 1
    if let counter { lostCounters = lostCounters.suffix(WayProbing.lossLimit - 1) + [counter] }
  }

  /// When the first of those that `lostCounters` names was sent, or earlier, but on the present route.
  var namedSince: Instant { max(lostSince, routeSince) }

  /// The same nodes are passed by another route. What was found holds, but its hops know no frame of the route before.
  mutating func carryOver(at now: Instant) {
    lostCounters = []
    counter = nil
    routeSince = now
  }

  /// Takes an answer; how long it took, nil when no such probe waits for one.
  mutating func answered(_ number: UInt32, at now: Instant) -> Duration? {
    guard let i = unanswered.firstIndex(where: { $0.number == number }) else { return nil }
    let time = now - unanswered[i].at
    // Answers overtake one another; those before may still come.
    unanswered.remove(at: i)
    let sample = min(max(time, .nanoseconds(1)), WayProbing.longest)
    roundTrip = sample >= roundTrip ? sample : roundTrip - (roundTrip - sample) / 8
    if number == self.number { isOpen = false }
    if isOpen { nextProbe = max(nextProbe, sentAt + spacing) }
    verdictDue = .never
    forgetLosses()
    return time
  }

  /// What was under way long ago tells nothing.
  mutating func forgetUnderWay() {
    isOpen = false
    verdictDue = .never
    forgetLosses()
  }

  mutating func forgetLosses() {
    lost = 0
    lostCounters = []
  }
}

extension Node {
  /// With a frame that goes by this way: a probe, when one is due.
  @inline(__always)
  mutating func probe(_ way: Way, _ onionClass: OnionClass, of channel: Channel, at now: Instant) {
    if now < way.probing.nextProbe { return }
    sendProbe(way, onionClass, of: channel, at: now)
  }

  @inline(never)
  private mutating func sendProbe(_ way: Way, _ onionClass: OnionClass, of channel: Channel, at now: Instant) {
    if way.probing.isOpen {
      way.probing.countLoss()
      // Before the first answer nobody knows how long one takes.
      if way.probing.hasAnswered { counters.probesLost &+= 1 }
      if way.probing.isSilent {
        if leaveSilently(way, of: channel, at: now) { return }
      } else if putAside(way, of: channel, at: now) {
        return
      }
    }
    judgeThoseAside(channel, at: now)
    way.probing.nextProbe = now + way.probing.spacing
    let number = way.probing.number &+ 1
    guard let session = channel.session,
      let buffer = probeFrame(
        way.builder, frameSize: way.frameSize, session: session, class: onionClass, number: number)
    else { return }
    way.probing.sent(number, counter: way.builder.counter, traffic: onionClass.traffic, at: now)
    counters.probesSent &+= 1
    if sendOnion(buffer, size: way.builder.size, on: way.egress, at: now) { return }
    pool.give(buffer)
  }

  /// A PROBE that fills a route's frame size, link header apart; nil when there is no buffer, or no more of the route.
  func probeFrame(
    _ builder: OnionBuilder, frameSize: Int, session: SecureSession, class onionClass: OnionClass, number: UInt32
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
    buffer.count = offset + session.seal(frame, count: count, space: .bulk)
    return buffer
  }

  /// Probes in a row were lost: another way is taken, where there is one. True when the way is left.
  private mutating func leaveSilently(_ way: Way, of channel: Channel, at now: Instant) -> Bool {
    if !way.probing.hasAnswered { counters.probesLost &+= UInt64(way.probing.lost) }
    // One that goes on losing what is copied to it is no news.
    let isNews = way.probing.verdictDue != .never || !way.isSilent(at: now)
    if !isNews { way.probing.losingEnds = now + Way.doubt }
    way.probing.verdictDue = .never
    suspect(way, of: channel, at: now)
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
    putInDoubt(way, of: channel, at: now)
    return true
  }

  /// A way that has never answered, where answers are faster otherwise: another is taken, and nothing said until the time
  /// for a first answer is over. True when the way is left.
  private mutating func putAside(_ way: Way, of channel: Channel, at now: Instant) -> Bool {
    guard !way.probing.hasAnswered, way.probing.lost >= WayProbing.asideLimit, way.probing.verdictDue == .never,
      !way.isSilent(at: now), let usual = usualRoundTrip(channel), now - way.probing.lostSince >= usual * 4,
      channel.ways.hasOther(than: way, at: now, isUp: { neighbour.isUp($0) })
    else { return false }
    // The first was sent three paces ago, and longer where the traffic paused; the last is waited for as well.
    way.probing.verdictDue = max(way.probing.lostSince, now - WayProbing.pace * 3) + WayProbing.longest
    putInDoubt(way, of: channel, at: now)
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
  private mutating func judgeThoseAside(_ channel: Channel, at now: Instant) {
    for case let way? in channel.ways.places where way.probing.verdictDue <= now {
      _ = leaveSilently(way, of: channel, at: now)
    }
  }

  private mutating func putInDoubt(_ way: Way, of channel: Channel, at now: Instant) {
    way.probing.silenceEnds = now + WayProbing.doubt
    chooseWays(channel, at: now)
  }

  /// PROBE: what came in full size is answered in few bytes. `body` is the message without its type byte.
  mutating func answerProbe(_ body: Span<UInt8>, on channel: Channel, at now: Instant) throws(WireError) {
    guard body.count >= 8 else { throw .truncated(neededBytes: 8, haveBytes: body.count) }
    guard channel.probes.takeIfAvailable(at: now) else {
      counters.probesOverBudget &+= 1
      return
    }
    var answer = [ControlType.probed.rawValue]
    for i in 0..<8 { answer.append(body[i]) }
    sendDatagram(answer, on: channel, at: now)
  }

  /// PROBED: the way carries. One that was left for want of this answer is only slow, and taken again.
  mutating func takeProbed(_ body: Span<UInt8>, on channel: Channel, at now: Instant) throws(WireError) {
    var reader = ByteReader(body)
    let route = try reader.u32()
    let number = try reader.u32()
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("probed length")) }
    guard let way = channel.ways.way(of: route), let time = way.probing.answered(number, at: now) else { return }
    guard time <= WayProbing.longest, way.isSilent(at: now) else { return }
    way.probing.silenceEnds = .zero
    chooseWays(channel, at: now)
  }
}

@inline(__always)
private func store(_ value: UInt32, _ p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.bigEndian, as: UInt32.self)
}
