// Keeps the bearer's device working whatever is done to the system around it: asks once a second whether packets pass
// (BearerProbe), listens to what the kernel says of links, addresses, routes, rules and filters, looks for what is wrong
// (GuardAudit, GuardFilter) and mends it for the bearer alone. With protection off it reports and mends nothing.
//
// Times: a change the kernel announces is seen within `tick`; what it does not announce is found by the next probe,
// at most `probeInterval` + `answerTime` later. A round that failed is followed by the next at once.

import CSystem
import Core

final class BearerGuard {
  static let tick = Duration.milliseconds(200)
  static let probeInterval = Duration.seconds(1)
  /// What is not answered in this time counts as lost.
  static let answerTime = Duration.milliseconds(300)
  /// A round judged later than this was delayed by us, and proves nothing.
  static let lateness = Duration.seconds(1)
  /// Rounds that announced changes ask for keep this distance.
  static let hastyInterval = Duration.milliseconds(400)
  /// Every so many rounds asks everything, the others only echoes.
  static let fullEvery: UInt32 = 10
  /// The same mending is noted again after this long.
  static let noteInterval = Duration.seconds(5)
  /// With protection off what is wrong stays wrong; it is said once a minute.
  static let noteIntervalUnprotected = Duration.seconds(60)
  /// Findings remembered in order not to repeat them.
  static let recentLimit = 32
  /// Notifications read in one turn.
  static let turnLimit = 256

  let protect: Bool
  /// The TUN device's descriptor. Its number stays, since the loop reads and writes it meanwhile; what is behind it may
  /// be another device than before, or none.
  let tun: Int32
  var isAttached = true
  /// Counts what has been behind it.
  var generation: UInt32 = 0
  let name: [UInt8]
  var index: Int32
  let requests: NetlinkSocket
  let filter: NetlinkSocket?
  private let notifications: NetlinkSocket
  private let filterNotifications: NetlinkSocket?

  var addresses: BearerAddresses?
  /// The bearer's own addresses with their prefix lengths: IPv4, and IPv6 where the system has it.
  var prefixes: [IPPrefix] = []
  var paths: [ProbePath] = []
  var overlap = GuardOverlap()
  var isUp = false
  /// The device is not in this namespace.
  var isMissing = false
  /// Its descriptor gives nothing but errors.
  var isLost = false
  /// What cannot be mended as long as another's device has our name: said once.
  var outage = ""
  /// First set-up: what is missing is not damage.
  var isInstalling = false
  /// Another's rule stands before ours; the kernel's local table stands before both.
  var usesLocalTable = false
  var now = Instant.zero
  var repairs = 0
  private var notes = BoundedQueue<(LogLevel, String)>(limit: 64)
  private var recent: [(at: Instant, text: String)] = []
  /// Notes not given: repeated, or beyond the queue's limit.
  private(set) var suppressed = 0

  private let cookie: [UInt8]
  private var round: UInt32 = 0
  private var isFullRound = false
  /// A round is out since.
  private var askedAt: Instant?
  private var nextRound = Instant.zero
  private var nextTick = Instant.zero
  private var failures = 0
  private var isExplained = false
  private var mustAudit = false
  private var mustAskAll = true
  /// Filters changed since a round last went well: they are the first to look at.
  private var isFilterSuspect = false

  init(name: [UInt8], protect: Bool, tun: Int32, index: Int32) throws(SystemError) {
    let listening = try NetlinkSocket(
      NetlinkSocket.route,
      groups: [
        RouteGroup.link, RouteGroup.addresses4, RouteGroup.addresses6, RouteGroup.routes4, RouteGroup.routes6,
        RouteGroup.rules4, RouteGroup.rules6, RouteGroup.configuration4, RouteGroup.configuration6,
      ], nonblocking: true, action: "listen to the system's network changes (netlink)")
    let asking = try NetlinkSocket(NetlinkSocket.route, nonblocking: false, action: "open netlink")
    self.name = name
    self.protect = protect
    self.tun = tun
    self.index = index
    notifications = listening
    requests = asking
    filter = BearerGuard.filterSocket(groups: [])
    filterNotifications = BearerGuard.filterSocket(groups: [FilterMessage.group])
    var random = [UInt8](repeating: 0, count: 8)
    _ = random.withUnsafeMutableBytes { cs_net_random($0.baseAddress, $0.count) }
    cookie = random
  }

  /// Nil where the kernel has no nf_tables: then there is nothing of it to mend either.
  private static func filterSocket(groups: [UInt32]) -> NetlinkSocket? {
    do throws(SystemError) {
      return try NetlinkSocket(
        NetlinkSocket.netfilter, groups: groups, nonblocking: !groups.isEmpty, action: "open the filter's netlink")
    } catch { return nil }
  }

  // MARK: The device's interface

  func configure(_ wanted: BearerAddresses, at time: Instant) {
    now = time
    if addresses == wanted {
      mustAudit = true
      nextTick = .zero
      return
    }
    forgetAddresses()
    addresses = wanted
    prefixes = [
      IPPrefix(address: bigEndian(wanted.ipv4), length: min(32, Int(wanted.ipv4PrefixLength)))
    ]
    if Sysctl.exists(Array("/proc/sys/net/ipv6".utf8)) {
      let bytes = wanted.ipv6.withBytes { Array(UnsafeBufferPointer(start: $0, count: 16)) }
      prefixes.append(IPPrefix(address: bytes, length: min(128, Int(wanted.ipv6PrefixLength))))
    } else {
      note(.notice, "the system has no IPv6: \(nameText(name)) has an IPv4 address only")
    }
    install()
    paths = prefixes.map { ProbePath(own: $0, cookie: cookie) }
    overlap.scan(prefixes: prefixes, bearer: index, at: now)
    mustAskAll = true
    nextRound = now
    nextTick = now
  }

  var nextDeadline: Instant? {
    if addresses == nil { return nil }
    var deadline = earlier(nextTick, overlap.nextDeadline)
    if let askedAt {
      if !isAnswered { deadline = earlier(deadline, askedAt + BearerGuard.answerTime) }
    } else {
      deadline = earlier(deadline, nextRound)
    }
    return deadline
  }

  func timeout(at time: Instant) {
    guard let due = nextDeadline, due <= time else { return }
    now = time
    nextTick = now + BearerGuard.tick
    drain()
    for i in paths.indices { paths[i].listen() }
    if mustAudit {
      mustAudit = false
      let wasMissing = isMissing
      if audit() { hasten(all: wasMissing) }
    }
    judge()
    if askedAt == nil && nextRound <= now {
      if isMissing { seek() } else { ask() }
    }
    if overlap.turn(at: now) { noteOverlaps(overlap.routes) }
  }

  /// Nothing but errors comes from the descriptor.
  func lost() {
    isLost = true
    mustAudit = true
  }

  /// The kernel sent `packet` (an IP packet without its virtio header) to a reserved address.
  func observed(_ packet: [UInt8], path: Int) {
    guard path < paths.count else { return }
    paths[path].observed(packet) { inject($0) }
  }

  func nextNote() -> (LogLevel, String)? { notes.popFirst() }

  /// What was due while the caller was away came late, and proves nothing: the round is begun anew.
  func wasAway() {
    guard askedAt != nil else { return }
    askedAt = nil
    mustAskAll = mustAskAll || isFullRound
    nextRound = .zero
  }

  func shutdown() {
    removeFilterRules()
    forgetAddresses()
    addresses = nil
  }

  /// After `shutdown`: the device goes.
  func close() { cs_net_close(tun) }

  private func forgetAddresses() {
    for path in paths { path.close() }
    paths = []
    askedAt = nil
    uninstall()
    prefixes = []
    usesLocalTable = false
  }

  // MARK: Rounds

  private var isAnswered: Bool { paths.allSatisfy { $0.pending.isEmpty } }

  private func hasten(all: Bool) {
    if all { mustAskAll = true }
    nextRound = min(nextRound, max(now, (lastAsked ?? .zero) + BearerGuard.hastyInterval))
  }
  private var lastAsked: Instant?

  private func ask() {
    round &+= 1
    isFullRound = mustAskAll || round % BearerGuard.fullEvery == 0
    if isFullRound { for i in paths.indices { refreshEchoIgnored(i) } }
    mustAskAll = false
    askedAt = now
    lastAsked = now
    nextRound = now + BearerGuard.probeInterval
    for i in paths.indices { paths[i].begin(round: round, full: isFullRound) { inject($0) } }
  }

  /// In place of a round while there is no device: tries to have one again.
  private func seek() {
    nextRound = now + BearerGuard.probeInterval
    for i in paths.indices { paths[i].failsEntirely() }
    _ = audit()
    if isMissing { return }
    mustAskAll = true
    nextRound = now
  }

  private func inject(_ packet: [UInt8]) {
    packet.withUnsafeBytes { _ = cs_tun_write(tun, $0.baseAddress, $0.count) }
  }

  private func judge() {
    guard let asked = askedAt else { return }
    if isAnswered {
      for i in paths.indices { paths[i].conclude(asked: isFullRound) }
      askedAt = nil
      if isFullRound || paths.allSatisfy({ $0.failing.isEmpty }) { recovered() } else { mustAskAll = true }
      return
    }
    if now - asked < BearerGuard.answerTime { return }
    askedAt = nil
    if now - asked > BearerGuard.lateness || onlyEchoesAreIgnored() {
      mustAskAll = mustAskAll || isFullRound
      nextRound = now
      return
    }
    for i in paths.indices { paths[i].conclude(asked: isFullRound) }
    failed()
  }

  private func recovered() {
    if isExplained { note(.notice, "\(nameText(name)) passes packets both ways again") }
    isExplained = false
    failures = 0
    isFilterSuspect = false
  }

  /// A round failed: look for the cause, mend it, and ask again at once; when mending does not help, once a second.
  private func failed() {
    failures += 1
    let isDamaged = audit()
    if isMissing { return }
    var isMended = isDamaged && protect
    if !isDamaged || failures >= 2 || isFilterSuspect {
      if repairFilters() { isMended = true }
    }
    if !isMended && failures >= 3 { explain() }
    mustAskAll = true
    nextRound = failures <= 3 ? now : now + BearerGuard.probeInterval
  }

  /// Every missing answer is an echo the host is told not to give.
  private func onlyEchoesAreIgnored() -> Bool {
    var isSo = false
    for i in paths.indices where paths[i].pending.contains(.echoIn) && !paths[i].isEchoIgnored {
      refreshEchoIgnored(i)
      if paths[i].isEchoIgnored { isSo = true }
    }
    return isSo
  }

  private func refreshEchoIgnored(_ i: Int) {
    let key: StaticString =
      paths[i].isIPv6 ? "/proc/sys/net/ipv6/icmp/echo_ignore_all" : "/proc/sys/net/ipv4/icmp_echo_ignore_all"
    paths[i].isEchoIgnored = Sysctl.read(Sysctl.bytes(key)) == 1
  }

  /// What still fails and what else may be behind it, once until it works again.
  private func explain() {
    if isExplained { return }
    isExplained = true
    var what = ""
    for path in paths where !path.failing.isEmpty {
      what += "\(what.isEmpty ? "" : "; ")\(path.familyText) \(path.failing.text)"
    }
    let why = protect ? suspects() : "protection is off; what was found is reported above"
    note(.error, "packets do not pass \(nameText(name)) (\(what)): \(why)")
  }

  // MARK: Notifications

  private func drain() {
    for _ in 0..<BearerGuard.turnLimit {
      switch notifications.receive({ take($0) }) {
      case .nothing: return drainFilter()
      case .overrun:
        mustAudit = true
        overlap.scan(prefixes: prefixes, bearer: index, at: now)
      case .datagram: continue
      }
    }
    drainFilter()
  }

  private func take(_ m: NetlinkMessage) {
    switch m.type {
    case RouteMessage.newLink, RouteMessage.deleteLink:
      guard m.payload.u8(0) == 0 else { return }
      if m.payload.u32(4) == UInt32(bitPattern: index) || !outage.isEmpty { mustAudit = true }
    case RouteMessage.newAddress, RouteMessage.deleteAddress:
      if m.payload.u32(4) == UInt32(bitPattern: index) { mustAudit = true }
    case RouteMessage.newRoute, RouteMessage.deleteRoute:
      guard let route = RouteRecord(m) else { return }
      if route.table == OwnNumber.table || usesLocalTable && route.interface == index { mustAudit = true }
      if overlap.changed(route, isNew: m.type == RouteMessage.newRoute) {
        if m.type == RouteMessage.newRoute { noteOverlaps([route]) } else { noteOverlapGone(route) }
      }
    case RouteMessage.newRule, RouteMessage.deleteRule: mustAudit = true
    case RouteMessage.newNetconf:
      if m.payload.attribute(1, from: 4)?.u32(0) == UInt32(bitPattern: index) { mustAudit = true }
    default: break
    }
  }

  private func drainFilter() {
    guard let filterNotifications else { return }
    var isChanged = false
    for _ in 0..<BearerGuard.turnLimit {
      let receipt = filterNotifications.receive { m in
        // Tables, chains and rules; elements of sets come and go all day.
        if m.type >= FilterMessage.newTable && m.type <= FilterMessage.deleteRule { isChanged = true }
      }
      if case .overrun = receipt { isChanged = true }
      if case .nothing = receipt { break }
    }
    if isChanged {
      isFilterSuspect = true
      hasten(all: true)
    }
  }

  // MARK: Notes

  func note(_ level: LogLevel, _ text: String) {
    if !notes.append((level, text)) { suppressed += 1 }
  }

  /// Something found and what was done. The same words within `noteInterval` (somebody fights us) are counted, not noted.
  func finding(_ level: LogLevel, _ text: String) {
    let interval = protect ? BearerGuard.noteInterval : BearerGuard.noteIntervalUnprotected
    recent.removeAll { now - $0.at >= interval }
    if recent.contains(where: { $0.text.utf8.elementsEqual(text.utf8) }) {
      suppressed += 1
      return
    }
    if recent.count == BearerGuard.recentLimit { recent.removeFirst() }
    recent.append((now, text))
    note(level, text)
  }

  /// Said once as long as it lasts.
  func trouble(_ text: String) {
    if outage.utf8.elementsEqual(text.utf8) { return }
    outage = text
    note(.error, "\(nameText(name)): \(text)")
  }

  private func noteOverlaps(_ routes: [RouteRecord]) {
    for route in routes {
      if overlap.isShadow(route) {
        mustAudit = true
        note(
          .error,
          "the data plane's \(overlapText(route)) hides the same address of the management prefix from this host, which "
            + "cannot open a connection to a member there: remove it, or give one of the two another prefix")
        continue
      }
      let what = "the data plane's \(overlapText(route)) overlaps the management prefix"
      if overlap.isWider(route) {
        note(.notice, "\(what); inside the prefix management traffic goes over \(nameText(name))")
      } else {
        note(.warning, "\(what): its addresses are reached over \(nameText(name)); give one of the two another prefix")
      }
    }
    if overlap.beyond > 0 { note(.warning, "\(overlap.beyond) further routes overlap the management prefix") }
  }

  private func noteOverlapGone(_ route: RouteRecord) {
    if overlap.isShadow(route) { mustAudit = true }
    note(.info, "the data plane's \(overlapText(route)) overlaps the management prefix no longer")
  }

  /// "route 10.1.5.0/24 (eth0)".
  func overlapText(_ route: RouteRecord) -> String {
    let via = route.interface == 0 ? "" : " (\(requests.link(route.interface).map { nameText($0.name) } ?? "?"))"
    let isInFront = route.table == OwnNumber.localTable
    let kind = route.type == RouteType.local ? "address" : isInFront ? "local-table route" : "route"
    return "\(kind) \(route.destination.text)\(via)"
  }
}
