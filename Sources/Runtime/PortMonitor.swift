// Follows the system's links and says which are ports of the channel and how they are. A port that stays administratively
// down is brought up again for the channel alone (paper §5.2.1; design "Ports and adjacencies").
//
// Notifications come on one socket, questions and changes go over another; a lost notification means everything is read
// anew. Nothing here waits for anything but the kernel's immediate answer.

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
  /// Datagrams read in one turn; the rest waits for the next.
  static let turnLimit = 256

  /// How a port stands to being raised.
  private enum Raising {
    /// Not touched by us.
    case own
    /// Raised by us and held closed; `settling` until the kernel's own word of it was seen.
    case held(settling: Bool)
    /// It was held, and somebody set it down.
    case heldDown
  }

  private struct Tracked {
    var link: LinkRecord
    var status: PortStatus
    var raising = Raising.own
    /// Administratively down since.
    var downSince: Instant?
    var lastAttempt: Instant?
    var failureNoted = false
    /// disable_ipv6 before we set it.
    var formerIPv6Off = 0
    var routes = PortRoutes()
    /// Where the kernel may hold back the loss of its carrier.
    var carrier: CarrierFile?
    /// The file said that there is none, and netlink has said nothing newer since.
    var isDownByFile = false
  }

  private let policy: PortPolicy
  private let notifications: NetlinkSocket
  private let requests: NetlinkSocket
  private let hold: PortHold
  private var links: [LinkRecord] = []
  private var tracked: [Tracked] = []
  private var changes: [PortChange] = []
  private var missingNoted: [[UInt8]] = []
  private var limitNoted = false
  private var portLimitNoted = false
  private var leftover: [Int32] = []
  private var nextHoldCheck: Instant?
  private var mustResynchronise = false
  /// Links have changed since `reconcile`.
  private var isStale = false
  private var isHoldTablePresent = false
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
    let asking = try NetlinkSocket(NetlinkSocket.route, nonblocking: false, action: "open netlink")
    self.policy = policy
    notifications = listening
    requests = asking
    hold = PortHold()
  }

  /// Readable when links have changed; then `refresh`.
  public var fileDescriptor: Int32 { notifications.fileDescriptor }

  /// The ports there are.
  public mutating func start() -> [PortChange] {
    leftover = hold.leftovers()
    isHoldTablePresent = !leftover.isEmpty
    resynchronise()
    return takeChanges()
  }

  /// What changed; also raises ports whose time has come.
  public mutating func refresh(at now: Instant) -> [PortChange] {
    drain()
    if isStale || mustResynchronise { heldBackUntil = now + CarrierPace.heldBack }
    if mustResynchronise { resynchronise() } else if isStale { reconcile() }
    if isLookDue(at: now) { lookAtCarriers(at: now) }
    attend(at: now)
    checkHolds(at: now)
    return takeChanges()
  }

  public var nextDeadline: Instant? {
    var deadline = mustResynchronise ? Instant.zero : nextHoldCheck
    if carrierFiles > 0 {
      deadline = earlier(deadline, lastLook + (lastLook < heldBackUntil ? CarrierPace.busy : CarrierPace.idle))
    }
    for port in tracked where !port.link.isAdministrativelyUp && !isKeptDown(port.link) {
      guard let since = port.downSince else { return .zero }
      deadline = earlier(deadline, raiseTime(port, since))
    }
    return deadline
  }

  /// Ports that were raised are set down again, and what held them closed is taken away.
  public mutating func shutdown() {
    for i in tracked.indices {
      stopLooking(i)
      switch tracked[i].raising {
      case .own: continue
      case .held:
        tracked[i].routes.forget()
        _ = requests.request(LinkRequest.set(tracked[i].link.index, up: false))
        tracked[i].link.flags &= ~LinkFlag.up
      case .heldDown: break
      }
      release(i)
    }
    for index in leftover { hold.open(index) }
    if isHoldTablePresent { hold.removeTable() }
    isHoldTablePresent = false
    leftover = []
    nextHoldCheck = nil
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
      correct(&link)
      note(link)
      observe(link)
      isStale = true
    case RouteMessage.deleteLink:
      guard let link = LinkRecord(message) else { return }
      links.removeAll { $0.index == link.index }
      isStale = true
    case RouteMessage.newAddress: if let address = AddressRecord(message) { addressGiven(on: address.index) }
    default: break
    }
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
    } else if links.count < PortMonitor.linkLimit {
      links.append(link)
    } else if !limitNoted {
      limitNoted = true
      changes.append(.note(.warning, "more than \(PortMonitor.linkLimit) links: the rest is not looked at"))
    }
  }

  private mutating func resynchronise() {
    mustResynchronise = false
    var seen: [LinkRecord] = []
    let refused = requests.dump(LinkRequest.dump()) { m in
      guard m.type == RouteMessage.newLink, let link = LinkRecord(m) else { return }
      if let i = seen.firstIndex(where: { $0.index == link.index }) { seen[i] = link } else { seen.append(link) }
    }
    if refused != 0 {
      changes.append(.note(.error, "reading the links failed (errno \(refused)); what is known is kept"))
      return
    }
    links = []
    for var link in seen {
      correct(&link)
      note(link)
    }
    reconcile()
  }

  /// Compares what should be followed with what is, and says the difference.
  private mutating func reconcile() {
    isStale = false
    var chosen = PortChoice.choose(links, policy, isWireless: PortMonitor.isWireless)
    leaveOut(&chosen)
    var i = 0
    while i < tracked.count {
      if chosen.contains(where: { $0.link.index == tracked[i].link.index }) {
        i += 1
        continue
      }
      if links.contains(where: { $0.index == tracked[i].link.index }) { release(i) } else { forgetHold(i) }
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

  // MARK: Raising

  private func isKeptDown(_ link: LinkRecord) -> Bool { policy.keepDown.contains { $0 == link.name } }

  private func raiseTime(_ port: Tracked, _ since: Instant) -> Instant {
    let due = since + PortMonitor.patience
    guard let last = port.lastAttempt else { return due }
    return max(due, last + PortMonitor.retryInterval)
  }

  private mutating func administrativeState(_ i: Int, was: Bool, is isUp: Bool) {
    if isUp { tracked[i].downSince = nil }
    switch tracked[i].raising {
    case .own: break
    case .held(let settling):
      if isUp {
        if settling { tracked[i].raising = .held(settling: false) }
      } else if !settling && was {
        tracked[i].raising = .heldDown
      }
    case .heldDown:
      if isUp {
        release(i)
        changes.append(.note(.notice, "port \(tracked[i].status.name) was set up by the system: open for data again"))
      }
    }
  }

  /// An address on a port that is held closed means that somebody takes it into service.
  private mutating func addressGiven(on index: Int32) {
    guard let i = tracked.firstIndex(where: { $0.link.index == index }) else { return }
    switch tracked[i].raising {
    case .own, .heldDown: return
    case .held:
      release(i)
      changes.append(.note(.notice, "port \(tracked[i].status.name) was given an address: open for data again"))
    }
  }

  private mutating func attend(at now: Instant) {
    for i in tracked.indices where !tracked[i].link.isAdministrativelyUp && !isKeptDown(tracked[i].link) {
      guard let since = tracked[i].downSince else {
        tracked[i].downSince = now
        continue
      }
      if raiseTime(tracked[i], since) <= now { raise(i, at: now) }
    }
  }

  private mutating func raise(_ i: Int, at now: Instant) {
    tracked[i].lastAttempt = now
    let link = tracked[i].link
    let wasHeld: Bool
    switch tracked[i].raising {
    case .own: wasHeld = false
    case .held, .heldDown: wasHeld = true
    }
    let closed = hold.close(link)
    isHoldTablePresent = true
    if closed != 0 { return raisingFailed(i, "holding data out of it failed (errno \(closed))") }
    if !wasHeld {
      let key = Sysctl.interfaceKey(family: 6, name: link.name, "disable_ipv6")
      tracked[i].formerIPv6Off = Sysctl.read(key) ?? 0
      Sysctl.write(key, 1)
    }
    let raised = requests.request(LinkRequest.set(link.index, up: true))
    if raised != 0 {
      if !wasHeld { release(i) }
      tracked[i].lastAttempt = now
      return raisingFailed(i, "the kernel refused (errno \(raised))")
    }
    if PortChoice.isKind(link.slaveKind, "bridge") {
      _ = requests.request(LinkRequest.bridgePort(link.index, state: 0))
    }
    tracked[i].routes.takeAway(over: link.index, requests)
    tracked[i].raising = .held(settling: true)
    tracked[i].failureNoted = false
    nextHoldCheck = now + PortMonitor.retryInterval
    changes.append(
      .note(
        .warning,
        "port \(tracked[i].status.name) was administratively down for 3 s: brought up for the management channel only; "
          + "no data passes (to use it: set it down and up again; to leave it alone: keep-down)"))
  }

  private mutating func raisingFailed(_ i: Int, _ why: String) {
    if tracked[i].failureNoted { return }
    tracked[i].failureNoted = true
    changes.append(
      .note(.warning, "port \(tracked[i].status.name) is administratively down and cannot be brought up: \(why)"))
  }

  /// The rule set may have been flushed: once a second the ports that are held are closed again where they are not.
  private mutating func checkHolds(at now: Instant) {
    guard let due = nextHoldCheck, due <= now else { return }
    nextHoldCheck = nil
    for i in tracked.indices {
      guard case .held = tracked[i].raising else { continue }
      nextHoldCheck = now + PortMonitor.retryInterval
      if hold.isClosed(tracked[i].link.index) { continue }
      let refused = hold.close(tracked[i].link)
      changes.append(
        .note(
          .warning,
          refused == 0
            ? "port \(tracked[i].status.name): the rule that keeps data out was removed; put back"
            : "port \(tracked[i].status.name): data is no longer kept out (errno \(refused))"))
    }
  }

  /// Opens the port for data; its administrative state stays.
  private mutating func release(_ i: Int) {
    let link = tracked[i].link
    if case .own = tracked[i].raising {
      // A failed attempt may have left its chain.
      if tracked[i].lastAttempt == nil { return }
    }
    hold.open(link.index)
    Sysctl.write(
      Sysctl.interfaceKey(family: 6, name: link.name, "disable_ipv6"), tracked[i].formerIPv6Off)
    if PortChoice.isKind(link.slaveKind, "bridge"), link.isAdministrativelyUp {
      _ = requests.request(LinkRequest.bridgePort(link.index, state: 3))
    }
    if link.isAdministrativelyUp { tracked[i].routes.giveBack(requests) }
    forgetHold(i)
  }

  private mutating func forgetHold(_ i: Int) {
    tracked[i].raising = .own
    tracked[i].lastAttempt = nil
    tracked[i].routes.forget()
    var isAnyHeld = false
    for port in tracked {
      switch port.raising {
      case .own: break
      case .held, .heldDown: isAnyHeld = true
      }
    }
    if isHoldTablePresent && !isAnyHeld && leftover.isEmpty {
      hold.removeTable()
      isHoldTablePresent = false
    }
  }
}
