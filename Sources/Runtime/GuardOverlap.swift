// Routes of the data plane that overlap the management prefix. They are never touched: our rule stands before them, so
// members' addresses win; but somebody should know. Read once in pieces (a router may have a million routes), then kept
// by notification.

import Core

struct GuardOverlap {
  /// Overlapping routes kept, at most; further ones are counted.
  static let limit = 32
  /// Datagrams (32 KiB of routes) read in one turn while the tables are read.
  static let turnLimit = 4
  static let rescanInterval = Duration.seconds(10)

  private(set) var routes: [RouteRecord] = [] {
    didSet { version &+= 1 }
  }
  /// Another whenever they have changed.
  private(set) var version: UInt32 = 0
  /// Further ones, not kept.
  private(set) var beyond = 0
  private let socket: NetlinkSocket?
  private var prefixes: [IPPrefix] = []
  private var bearer: Int32 = 0
  /// Families still to be read; the first is being read.
  private var unread: [UInt8] = []
  private var seen: [RouteRecord] = []
  private var seenBeyond = 0
  private var nextTurn: Instant?
  private var lastScan: Instant?

  init() {
    do throws(SystemError) {
      socket = try NetlinkSocket(NetlinkSocket.route, nonblocking: true, action: "open netlink")
    } catch {
      socket = nil
    }
  }

  var nextDeadline: Instant? { nextTurn }

  /// Reads everything anew, soon, at most once in ten seconds unless the prefixes changed.
  mutating func scan(prefixes: [IPPrefix], bearer: Int32, at now: Instant) {
    let isNew = self.prefixes != prefixes || self.bearer != bearer
    self.prefixes = prefixes
    self.bearer = bearer
    if !unread.isEmpty && !isNew { return }
    unread = []
    nextTurn = isNew ? now : max(now, (lastScan ?? .zero) + GuardOverlap.rescanInterval)
  }

  /// A piece of the reading, when it is due. True when the list is complete and new.
  mutating func turn(at now: Instant) -> Bool {
    guard let due = nextTurn, due <= now, let socket else { return false }
    if unread.isEmpty {
      lastScan = now
      seen = []
      seenBeyond = 0
      unread = prefixes.map { $0.family }
      guard let family = unread.first else {
        nextTurn = nil
        return false
      }
      _ = socket.send(RouteRecord.dump(family: family, table: 0))
    }
    nextTurn = now + .milliseconds(5)
    for _ in 0..<GuardOverlap.turnLimit {
      var isDone = false
      var found: [RouteRecord] = []
      let receipt = socket.receive { m in
        if m.type == NetlinkType.done || m.type == NetlinkType.error { isDone = true }
        if m.type == RouteMessage.newRoute, let route = RouteRecord(m) { found.append(route) }
      }
      for route in found where isOverlap(route) {
        if seen.count >= room(for: route) {
          seenBeyond += 1
        } else if !seen.contains(where: { GuardOverlap.same($0, route) }) {
          seen.append(route)
        }
      }
      if case .nothing = receipt { return false }
      if !isDone { continue }
      unread.removeFirst()
      if let family = unread.first {
        _ = socket.send(RouteRecord.dump(family: family, table: 0))
      } else {
        nextTurn = nil
        beyond = seenBeyond
        routes = seen
        return true
      }
    }
    return false
  }

  /// A route came or went. True when the list changed.
  mutating func changed(_ route: RouteRecord, isNew: Bool) -> Bool {
    guard isOverlap(route) else { return false }
    let known = routes.firstIndex { GuardOverlap.same($0, route) }
    if isNew {
      if known != nil { return false }
      if routes.count >= room(for: route) {
        beyond += 1
        return false
      }
      routes.append(route)
      return true
    }
    guard let known else { return false }
    routes.remove(at: known)
    return true
  }

  /// A way of others for addresses of ours. Default routes overlap everything and mean nothing.
  func isOverlap(_ route: RouteRecord) -> Bool {
    if route.destination.length == 0 || route.table == OwnNumber.table || route.origin == OwnNumber.origin {
      return false
    }
    if route.interface == bearer && !(route.type == RouteType.local && isShadow(route)) { return false }
    switch route.type {
    case RouteType.broadcast, RouteType.anycast, RouteType.multicast: return false
    default: return prefixes.contains { $0.overlaps(route.destination) }
    }
  }

  /// In the local table, which stands before our rule: members' addresses inside it are hidden from this host. Our own
  /// address may be there any number of times.
  func isShadow(_ route: RouteRecord) -> Bool {
    route.table == OwnNumber.localTable && route.type != RouteType.throwing
      && !(route.type == RouteType.local && prefixes.contains { $0.host == route.destination })
  }

  /// Something hides addresses of this prefix.
  func hides(_ prefix: IPPrefix) -> Bool {
    routes.contains { isShadow($0) && $0.destination.overlaps(prefix) }
  }

  /// What hides addresses has room where the others have none left.
  private func room(for route: RouteRecord) -> Int {
    isShadow(route) ? 2 * GuardOverlap.limit : GuardOverlap.limit
  }

  /// It covers more than the prefix: ours would win even without a rule.
  func isWider(_ route: RouteRecord) -> Bool {
    prefixes.contains { $0.isIPv6 == route.destination.isIPv6 && route.destination.length < $0.length }
  }

  static func same(_ a: RouteRecord, _ b: RouteRecord) -> Bool {
    a.destination == b.destination && a.table == b.table && a.type == b.type && a.interface == b.interface
  }
}
