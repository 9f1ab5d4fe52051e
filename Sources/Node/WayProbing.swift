// What probes of one way have shown: losses, the round trip, doubt, and when it is asked again (docs/PROTOCOL.md §5,
// "Probes"). NodeProbes.swift sends them and draws the conclusions.

import Core
import Onion

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
  /// A way in doubt for lost probes is asked after that, and again, twice as long afterwards each time, up to
  /// `longestPause`. Where it has answered and then loses the traffic all the same: from `deceiversPause` up to `doubt`.
  static let firstPause = Duration.milliseconds(100)
  static let longestPause = Duration.milliseconds(400)
  static let deceiversPause = Duration.seconds(1)
  /// One that has answered nothing for so long, when it was asked, does not lead through a box that is just beginning anew.
  static let patience = Duration.seconds(10)
  /// Probes whose answers still count when they come late.
  static let remembered = 8

  struct Sent {
    let number: UInt32
    let at: Instant
    let traffic: FrameClass
    /// No traffic went with it: it asked whether the way carries.
    let isAlone: Bool
  }

  var nextProbe = Instant.zero
  /// Number of the last probe.
  private(set) var number: UInt32 = 0
  /// The last probe was neither answered nor counted as lost.
  private(set) var isOpen = false
  /// The last ones without an answer, the oldest first.
  private var unanswered: [Sent] = []
  private(set) var lost = 0
  /// The class of the traffic that went with the last of them; nil when all went alone.
  private(set) var lostTraffic: FrameClass?
  /// When the first of those that were lost in a row was sent.
  private(set) var lostSince = Instant.zero
  /// In the onion headers of the last probes that were lost in a row on the present route.
  private(set) var lostCounters: [UInt32] = []
  /// Of the last probe; nil when it went by the route before.
  private var counter: UInt32?
  private var routeSince = Instant.zero
  private var sentAt = Instant.zero
  private var isAlone = false
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
  /// It is to be asked by a probe of its own whether it carries.
  var isAsked = false
  /// When it was laid, or another way of the peer's fell silent, and it has not answered since: it comes behind those that
  /// have. Zero when there is no such thing.
  private(set) var mustAnswerSince = Instant.zero
  /// When the last answer came.
  private(set) var answeredAt = Instant.zero
  /// In doubt for lost probes: when it is asked next.
  var nextAsking = Instant.never
  /// When it fell silent and had answered since it did so last.
  private var silentSince = Instant.zero
  /// From one asking to the next.
  private(set) var askingPause = WayProbing.firstPause
  /// The classes of traffic that were lost when it was put in doubt, 1 << class each; 0 when only what asked was.
  private var doubted: UInt8 = 0
  /// In doubt, it has answered a probe that went alone: until then it is taken before those that are and have not.
  var backEnds = Instant.zero

  var hasAnswered: Bool { roundTrip > .zero }
  var mustAnswer: Bool { mustAnswerSince > .zero }

  /// From one probe to the next: a probe without an answer by then is lost.
  var spacing: Duration {
    hasAnswered
      ? max(WayProbing.pace, roundTrip * 2) : WayProbing.pace * (1 << Int64(min(lost, WayProbing.firstLossLimit - 1)))
  }

  /// When the last probe, if nothing has answered it, is lost.
  var lossDue: Instant { sentAt + spacing }

  var isSilent: Bool { lost >= (hasAnswered ? WayProbing.lossLimit : WayProbing.firstLossLimit) }

  /// It is silent and has been for a long time.
  func isLongSilent(at now: Instant) -> Bool { now < silenceEnds && now - silentSince >= WayProbing.patience }

  /// It has answered when it was asked, and lost the traffic: it is asked less and less.
  func isDeceiver(at now: Instant) -> Bool { askingPause > WayProbing.longestPause && now < nextAsking }

  /// The last probe went out: its number, and the counter of its onion header.
  mutating func sent(_ number: UInt32, counter: UInt32, traffic: FrameClass, isAlone: Bool, at now: Instant) {
    self.number = number
    self.counter = counter
    self.traffic = traffic
    self.isAlone = isAlone
    sentAt = now
    isOpen = true
    if unanswered.count == WayProbing.remembered { unanswered.removeFirst() }
    unanswered.append(Sent(number: number, at: now, traffic: traffic, isAlone: isAlone))
  }

  /// The time for the answer to the last probe is over. It counts once, whether another probe can be sent or not.
  mutating func countLoss() {
    isOpen = false
    if lost == 0 { lostSince = sentAt }
    lost += 1
    if !isAlone { lostTraffic = traffic }
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

  /// Takes an answer; how long it took, nil when no probe of that number waits for one.
  mutating func answered(_ number: UInt32, at now: Instant) -> Duration? {
    guard let i = unanswered.firstIndex(where: { $0.number == number }) else { return nil }
    // Answers overtake one another; those before may still come.
    let probe = unanswered.remove(at: i)
    let time = now - probe.at
    let sample = min(max(time, .nanoseconds(1)), WayProbing.longest)
    roundTrip = sample >= roundTrip ? sample : roundTrip - (roundTrip - sample) / 8
    if number == self.number { isOpen = false }
    let next = sentAt + spacing
    nextProbe = isOpen ? max(nextProbe, next) : min(nextProbe, next)
    verdictDue = .never
    forgetLosses()
    if time <= WayProbing.longest { carried(probe, at: now) }
    return time
  }

  /// A probe came to the end of the way. What drops the traffic may let a lone probe pass, and what drops one class may
  /// let another: doubt ends when that comes through which was lost.
  private mutating func carried(_ probe: Sent, at now: Instant) {
    answeredAt = now
    // One that was under way long before tells of that time.
    if probe.at + spacing >= mustAnswerSince { mustAnswerSince = .zero }
    isAsked = mustAnswer
    if !probe.isAlone { doubted &= ~(1 << probe.traffic.rawValue) }
    if doubted == 0 {
      silenceEnds = .zero
    } else if now < silenceEnds {
      backEnds = now + Way.doubt
    }
  }

  /// What was under way long ago tells nothing.
  mutating func forgetUnderWay() {
    isOpen = false
    verdictDue = .never
    forgetLosses()
  }

  /// Puts it in doubt.
  /// - Parameter traffic: the class that was lost; nil where only what asked was.
  mutating func fallSilent(losing traffic: FrameClass?, at now: Instant) {
    if silenceEnds == .zero || answeredAt > silentSince { silentSince = now }
    if silenceEnds == .zero {
      askingPause = WayProbing.firstPause
    } else if traffic != nil, answeredAt > silenceEnds - WayProbing.doubt {
      askingPause = min(max(askingPause * 2, WayProbing.deceiversPause), WayProbing.doubt)
    } else {
      askingPause = max(askingPause, min(askingPause * 2, WayProbing.longestPause))
    }
    if let traffic { doubted |= 1 << traffic.rawValue }
    silenceEnds = now + WayProbing.doubt
    nextAsking = now + askingPause
    isAsked = false
    mustAnswerSince = .zero
    backEnds = .zero
  }

  mutating func awaitAnswer(at now: Instant) { mustAnswerSince = now }

  mutating func forgetLosses() {
    lost = 0
    lostTraffic = nil
    lostCounters = []
  }
}
