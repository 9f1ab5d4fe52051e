// Follows the system's links and says which are ports of the channel and how they are. A port that stays administratively
// down is brought up again for the channel alone (paper §5.2.1; design "Ports and adjacencies").
//
// Notifications come on a socket that is only read, which waits for nothing. What may wait, reading all links anew after
// notifications were lost and everything that is done to a port, is ordered of the PortKeeper beside the loop and
// reported later.

import Core

public enum PortChange {
  /// A port appeared, or something about it changed.
  case present(ifindex: Int32, PortStatus)
  case gone(ifindex: Int32)
  case note(LogLevel, String)
}

public struct PortMonitor: ~Copyable {
  /// Links known at a time, at most; further ones are not looked at and reported once.
  static let linkLimit = 8192
  /// How long a port may stay administratively down.
  static let patience = Duration.seconds(3)
  static let retryInterval = Duration.seconds(1)
  /// A port whose socket the kernel refused is tried again.
  static let openingInterval = Duration.seconds(10)
  /// Datagrams read in one turn; the rest waits for the next.
  static let turnLimit = 256

  /// How a port stands to being raised.
  enum Raising {
    /// Not touched by us.
    case own
    /// Raised by us, or about to be, and held closed; `settling` until the kernel's own word of it was seen.
    case held(settling: Bool)
    /// It was held, and somebody set it down.
    case heldDown
  }

  struct Tracked {
    var link: LinkRecord
    var status: PortStatus
    var raising = Raising.own
    /// Administratively down since.
    var downSince: Instant?
    var lastAttempt: Instant?
    var failureNoted = false
    /// The order to raise it that was not reported on yet, and how it stood before; 0 is none.
    var raisingTicket: UInt32 = 0
    var wasHeld = false
    /// Where the kernel may hold back the loss of its carrier.
    var carrier: CarrierFile?
    /// The file said that there is none, and netlink has said nothing newer since.
    var isDownByFile = false
    /// The device went: what has its index now is another, or the same come back, and no socket of before works.
    var wasTakenAway = false
    /// When a socket on it is tried again.
    var openAgainAt: Instant?
  }

  let policy: PortPolicy
  private let notifications: NetlinkSocket
  /// Carries out the orders; not used here.
  let keeper: PortKeeper
  private var orders: [PortOrder] = []
  private var links: [LinkRecord] = []
  var tracked: [Tracked] = []
  var changes: [PortChange] = []
  private var missingNoted: [[UInt8]] = []
  private var limitNoted = false
  private var portLimitNoted = false
  var leftover: [Int32] = []
  var nextHoldCheck: Instant?
  private var mustResynchronise = false
  /// After the kernel refused to tell.
  private var resynchroniseAt = Instant.zero
  private var refusalNoted = false
  /// The links are being read; messages, and links taken away (at most `linkLimit`), since that was ordered.
  private var isReading = false
  private var readingSince: UInt32 = 0
  private var goneSince: [Int32] = []
  /// Messages about links so far.
  private var messages: UInt32 = 0
  var isCheckingHolds = false
  var lastTicket: UInt32 = 0
  /// Links have changed since `reconcile`.
  private var isStale = false
  /// Orders wait for room: ports neither come nor go until they do not, so that there are never more orders than what
  /// is done to `PortChoice.limit` ports twice over. How the ports are is followed.
  var isHeldUp = false
  var isHoldTablePresent = false
  /// Ports with a carrier file.
  private var carrierFiles = 0
  private var lastLook = Instant.zero
  /// The kernel may hold changes of carrier back until then.
  private var heldBackUntil = Instant.zero

  public init(policy: PortPolicy) throws(SystemError) {
    // Everything that can fail comes before the first property is set.
    let listening = try NetlinkSocket(
      NetlinkSocket.route, groups: [RouteGroup.link, RouteGroup.addresses4], nonblocking: true,
      action: "listen to the system's links (netlink)")
    let keeping = try PortKeeper()
    self.policy = policy
    notifications = listening
    keeper = keeping
  }

  /// Readable when links have changed; then `refresh`.
  public var fileDescriptor: Int32 { notifications.fileDescriptor }

  /// Asks for the ports there are; once.
  mutating func start() {
    order(.findLeftovers)
    resynchronise()
  }

  /// What to have done, in this order, until nil; after every call.
  mutating func nextOrder() -> PortOrder? { orders.isEmpty ? nil : orders.removeFirst() }

  mutating func order(_ order: PortOrder) { orders.append(order) }

  /// What changed; also has ports raised whose time has come.
  mutating func refresh(at now: Instant) -> [PortChange] {
    drain()
    if isStale || mustResynchronise { heldBackUntil = now + CarrierPace.heldBack }
    if mustResynchronise && !isReading && resynchroniseAt <= now { resynchronise() }
    if isStale { reconcile() }
    openAgain(at: now)
    if isLookDue(at: now) { lookAtCarriers(at: now) }
    attend(at: now)
    checkHolds(at: now)
    return takeChanges()
  }

  /// What an order has come to, and what changes by it.
  mutating func take(_ report: PortReport, at now: Instant) -> [PortChange] {
    switch report {
    case .leftovers(let found):
      leftover = found
      isHoldTablePresent = !found.isEmpty
    case .links(let seen, let refused): takeLinks(seen, refused, at: now)
    case .raised(let index, let ticket, let outcome): raised(index, ticket, outcome, at: now)
    case .putBack(let index, let refused): putBack(index, refused)
    case .holdsChecked: isCheckingHolds = false
    }
    attend(at: now)
    return takeChanges()
  }

  var nextDeadline: Instant? {
    var deadline = nextHoldCheck
    if mustResynchronise && !isReading { deadline = earlier(deadline, resynchroniseAt) }
    if isStale && !isHeldUp { return .zero }
    if carrierFiles > 0 {
      deadline = earlier(deadline, lastLook + (lastLook < heldBackUntil ? CarrierPace.busy : CarrierPace.idle))
    }
    for port in tracked { deadline = earlier(deadline, port.openAgainAt) }
    for port in tracked where isToBeRaised(port) {
      guard let since = port.downSince else { return .zero }
      deadline = earlier(deadline, raiseTime(port, since))
    }
    return deadline
  }

  /// Orders that ports that were raised are set down again, and what held them closed is taken away.
  mutating func shutdown() {
    for i in tracked.indices {
      stopLooking(i)
      switch tracked[i].raising {
      case .own: continue
      case .held:
        order(.lower(tracked[i].link))
        tracked[i].link.flags &= ~LinkFlag.up
        forgetHold(i)
      case .heldDown: release(i)
      }
    }
    for index in leftover { order(.open(index)) }
    if isHoldTablePresent { order(.removeTable) }
    isHoldTablePresent = false
    leftover = []
    nextHoldCheck = nil
  }

  // MARK: Sockets

  /// The kernel has unbound the port's socket: its device went, whatever was heard of it. To be said before `take`.
  mutating func wasTakenAway(_ index: Int32) {
    guard let i = tracked.firstIndex(where: { $0.link.index == index }) else { return }
    tracked[i].wasTakenAway = true
    isStale = true
  }

  mutating func wasNotOpened(_ index: Int32, at now: Instant) {
    guard let i = tracked.firstIndex(where: { $0.link.index == index }) else { return }
    tracked[i].openAgainAt = now + PortMonitor.openingInterval
  }

  private mutating func openAgain(at now: Instant) {
    for i in tracked.indices {
      guard let due = tracked[i].openAgainAt, due <= now else { continue }
      tracked[i].openAgainAt = nil
      changes.append(.present(ifindex: tracked[i].link.index, tracked[i].status))
    }
  }

  // MARK: Carrier

  /// Whether there are carriers to look at, the loop being awake.
  @inline(__always)
  public func isLookDue(at now: Instant) -> Bool {
    carrierFiles > 0 && now - lastLook >= (now < heldBackUntil ? CarrierPace.busy : CarrierPace.awake)
  }

  private mutating func lookAtCarriers(at now: Instant) {
    lastLook = now
    for i in tracked.indices {
      guard let hasCarrier = tracked[i].carrier?.hasCarrier(), tracked[i].link.isAdministrativelyUp,
        hasCarrier != tracked[i].link.isUp, !hasCarrier || tracked[i].isDownByFile
      else { continue }
      // What came by the file goes by the file: the kernel does not say again what it never took back.
      tracked[i].isDownByFile = !hasCarrier
      tracked[i].link.flags ^= LinkFlag.lowerUp
      if let k = links.firstIndex(where: { $0.index == tracked[i].link.index }) {
        links[k].flags = tracked[i].link.flags
      }
      tracked[i].status.isUp = tracked[i].link.isUp
      heldBackUntil = now + CarrierPace.heldBack
      changes.append(.present(ifindex: tracked[i].link.index, tracked[i].status))
    }
  }

  private mutating func stopLooking(_ i: Int) {
    guard let file = tracked[i].carrier else { return }
    file.close()
    tracked[i].carrier = nil
    carrierFiles -= 1
  }

  // MARK: Following

  private mutating func drain() {
    for _ in 0..<PortMonitor.turnLimit {
      var received: [NetlinkMessage] = []
      switch notifications.receive({ received.append($0) }) {
      case .nothing: return
      case .overrun: mustResynchronise = true
      case .datagram: for message in received { take(message) }
      }
    }
  }

  private mutating func take(_ message: NetlinkMessage) {
    switch message.type {
    case RouteMessage.newLink:
      guard var link = LinkRecord(message) else { return }
      messages &+= 1
      link.message = messages
      correct(&link)
      note(link)
      observe(link)
      isStale = true
    case RouteMessage.deleteLink:
      guard let link = LinkRecord(message) else { return }
      links.removeAll { $0.index == link.index }
      if let i = tracked.firstIndex(where: { $0.link.index == link.index }) { tracked[i].wasTakenAway = true }
      if isReading { noteTakenAway(link.index) }
      isStale = true
    case RouteMessage.newAddress: if let address = AddressRecord(message) { addressGiven(on: address.index) }
    default: break
    }
  }

  private mutating func noteTakenAway(_ index: Int32) {
    if goneSince.count < PortMonitor.linkLimit { goneSince.append(index) } else { mustResynchronise = true }
  }

  /// A message may be older than what the port's file has told since.
  private mutating func correct(_ link: inout LinkRecord) {
    guard let i = tracked.firstIndex(where: { $0.link.index == link.index }) else { return }
    tracked[i].carrier?.heard(&link)
  }

  /// Every step of a port's administrative state counts, also when several come in one turn.
  private mutating func observe(_ link: LinkRecord) {
    guard let i = tracked.firstIndex(where: { $0.link.index == link.index }) else { return }
    let was = tracked[i].link.isAdministrativelyUp
    tracked[i].link = link
    tracked[i].isDownByFile = link.carrier?.isThere == true && link.isAdministrativelyUp && !link.isUp
    administrativeState(i, was: was, is: link.isAdministrativelyUp)
  }

  private mutating func note(_ link: LinkRecord) {
    if let i = links.firstIndex(where: { $0.index == link.index }) {
      links[i] = link
    } else {
      keep(link)
    }
  }

  private mutating func keep(_ link: LinkRecord) {
    if links.count < PortMonitor.linkLimit {
      links.append(link)
    } else if !limitNoted {
      limitNoted = true
      changes.append(.note(.warning, "more than \(PortMonitor.linkLimit) links: the rest is not looked at"))
    }
  }

  private mutating func resynchronise() {
    mustResynchronise = false
    isReading = true
    readingSince = messages
    goneSince = []
    order(.readLinks)
  }

  /// The links as they were read some time ago: where a message has come since, it counts.
  private mutating func takeLinks(_ seen: [LinkRecord], _ refused: Int32, at now: Instant) {
    isReading = false
    if refused != 0 {
      mustResynchronise = true
      resynchroniseAt = now + PortMonitor.retryInterval
      if !refusalNoted {
        changes.append(
          .note(.error, "reading the links failed (errno \(refused)); what is known is kept, and it is tried again"))
      }
      refusalNoted = true
      return
    }
    refusalNoted = false
    let news = links.filter { isNews($0) }
    links = news
    for var link in seen where !goneSince.contains(link.index) && !news.contains(where: { $0.index == link.index }) {
      correct(&link)
      keep(link)
    }
    goneSince = []
    reconcile()
  }

  private func isNews(_ link: LinkRecord) -> Bool {
    link.message != 0 && Int32(bitPattern: link.message &- readingSince) > 0
  }

  /// Compares what should be followed with what is, and says the difference.
  private mutating func reconcile() {
    isStale = isHeldUp
    var chosen = PortChoice.choose(links, policy, isWireless: PortMonitor.isWireless)
    leaveOut(&chosen)
    if isHeldUp {
      for port in chosen where tracked.contains(where: { $0.link.index == port.link.index && !$0.wasTakenAway }) {
        follow(port)
      }
      return
    }
    var i = 0
    while i < tracked.count {
      let wasTakenAway = tracked[i].wasTakenAway
      if !wasTakenAway && chosen.contains(where: { $0.link.index == tracked[i].link.index }) {
        i += 1
        continue
      }
      if !wasTakenAway && links.contains(where: { $0.index == tracked[i].link.index }) {
        release(i)
      } else {
        order(.forget(tracked[i].link.index))
        forgetHold(i)
      }
      changes.append(.gone(ifindex: tracked[i].link.index))
      stopLooking(i)
      tracked.remove(at: i)
    }
    for port in chosen { follow(port) }
    noteMissing()
  }

  private mutating func follow(_ port: ChosenPort) {
    if let i = tracked.firstIndex(where: { $0.link.index == port.link.index }) {
      observe(port.link)
      if tracked[i].status != port.status {
        tracked[i].status = port.status
        changes.append(.present(ifindex: port.link.index, port.status))
      }
      return
    }
    var fresh = Tracked(link: port.link, status: port.status)
    if let l = leftover.firstIndex(of: port.link.index) {
      leftover.remove(at: l)
      fresh.raising = port.link.isAdministrativelyUp ? .held(settling: false) : .heldDown
      nextHoldCheck = .zero
      changes.append(
        .note(.notice, "port \(port.status.name): still held closed for data by an earlier run; taken over"))
    }
    fresh.carrier = CarrierFile(of: port.link)
    if fresh.carrier != nil { carrierFiles += 1 }
    tracked.append(fresh)
    changes.append(.present(ifindex: port.link.index, port.status))
  }

  /// What is beyond the limit, said once for each time that there are too many.
  private mutating func leaveOut(_ chosen: inout [ChosenPort]) {
    let isOver = chosen.count > PortChoice.limit
    if isOver {
      let first = chosen.removeLast()
      if !portLimitNoted {
        changes.append(
          .note(.error, "port \(first.status.name) and later ones are not used: \(PortChoice.limit) ports are in use"))
      }
    }
    portLimitNoted = isOver
  }

  private mutating func noteMissing() {
    for name in policy.named {
      let isThere = tracked.contains { $0.link.name == name }
      let wasNoted = missingNoted.contains { $0 == name }
      if isThere {
        missingNoted.removeAll { $0 == name }
      } else if !wasNoted {
        missingNoted.append(name)
        let link = links.first { $0.name == name }
        changes.append(.note(.warning, PortMonitor.missingText(name, isLink: link != nil, policy)))
      }
    }
  }

  private static func missingText(_ name: [UInt8], isLink: Bool, _ policy: PortPolicy) -> String {
    if name == policy.bearerName { return "port \(nameText(name)) is the bearer itself; it is not used as a port" }
    if isLink { return "port \(nameText(name)) is not an Ethernet interface; it is not used" }
    return "port \(nameText(name)) does not exist (yet); waiting for it"
  }

  private static func isWireless(_ link: LinkRecord) -> Bool {
    let base = Array("/sys/class/net/".utf8) + link.name
    return Sysctl.exists(base + Array("/phy80211".utf8)) || Sysctl.exists(base + Array("/wireless".utf8))
  }

  private mutating func takeChanges() -> [PortChange] {
    let out = changes
    changes = []
    return out
  }
}
