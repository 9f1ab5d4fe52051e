// What the bearer needs of the system, compared with what there is: the device up and under its name, its addresses, our
// routes in a table of our own, the rule that leads there, and the sysctls that could stop it. The first time it is set
// up by the same comparison.

import CSystem
import Core

extension BearerGuard {
  static let mtu: UInt32 = 1500
  static let transmitQueue: UInt32 = 1000
  /// Routes of others taken out of our table at once.
  static let foreignLimit = 256

  func install() {
    isInstalling = true
    removeStaleRules()
    removeFilterRules()
    prepareDevice()
    _ = audit()
    isInstalling = false
  }

  /// What does not vanish with the device.
  func uninstall() {
    for prefix in prefixes {
      _ = requests.request(RuleRecord.change(prefix, from: prefix.address, add: false))
      _ = requests.request(RuleRecord.change(prefix, add: false))
      for route in wantedRoutes(prefix) {
        _ = requests.request(
          RouteRecord.remove(route.destination, type: route.type, table: route.table, interface: index))
      }
      _ = requests.request(AddressRecord.change(prefix, on: index, add: false))
    }
  }

  /// Looks at everything and mends what is amiss. True when something was.
  func audit() -> Bool {
    var isDamaged = false
    let present = requests.link(index)
    guard !isLost, var link = present else { return deviceIsGone(present) }
    isMissing = false
    if auditDevice(&link) { isDamaged = true }
    if auditSysctls(link.name) { isDamaged = true }
    if auditAddresses() { isDamaged = true }
    // Rules first: what stands before ours decides which routes are wanted.
    for prefix in prefixes where auditRule(prefix) { isDamaged = true }
    for prefix in prefixes where auditRoutes(prefix) { isDamaged = true }
    for prefix in prefixes where auditAnswerRule(prefix) { isDamaged = true }
    return isDamaged
  }

  /// Mends unless told not to, and says so. `act` answers 0 or errno; EEXIST is as good as done.
  func mend(_ what: String, _ deed: String, _ act: () -> Int32) {
    if isInstalling {
      let refused = act()
      if refused != 0 && refused != 17 {
        finding(.error, "setting up \(nameText(name)): \(what), and the kernel refused to help (errno \(refused))")
      }
      return
    }
    if !protect {
      finding(.warning, "\(nameText(name)): \(what); left as it is (protection is off)")
      return
    }
    let refused = act()
    if refused == 0 || refused == 17 {
      repairs += 1
      finding(.warning, "\(nameText(name)): \(what); \(deed)")
    } else {
      finding(.error, "\(nameText(name)): \(what); mending it failed (errno \(refused))")
    }
  }

  // MARK: Device

  /// MTU, queue and no addresses of the kernel's own making, before it is up.
  func prepareDevice() {
    _ = requests.request(
      LinkRequest.change(index) { w in
        w.attribute(4, u32: BearerGuard.mtu)
        w.attribute(13, u32: BearerGuard.transmitQueue)
      })
    _ = requests.request(
      LinkRequest.change(index) { w in
        w.nested(26) { families in families.nested(10) { $0.attribute(8, u8: 1) } }
      })
    Sysctl.write(Sysctl.interfaceKey(family: 6, name: name, "accept_ra"), 0)
    Sysctl.write(Sysctl.interfaceKey(family: 6, name: name, "accept_dad"), 0)
  }

  private func auditDevice(_ link: inout LinkRecord) -> Bool {
    var isDamaged = false
    if link.name == name {
      outage = ""
    } else if protect, let other = namesake() {
      trouble(
        "the device was renamed to \(nameText(link.name)) and another's device\(other) has its name: it works under that "
          + "name; rename or remove the other one")
    } else {
      isDamaged = true
      outage = ""
      mend("the device was renamed to \(nameText(link.name))", "renamed back") {
        let rename = LinkRequest.change(index) { $0.attribute(3, text: name) }
        let refused = requests.request(rename)
        if refused != 16 { return refused }  // EBUSY: only when it is down
        _ = requests.request(LinkRequest.set(index, up: false))
        link.flags &= ~LinkFlag.up
        return requests.request(rename)
      }
    }
    if link.master != 0 {
      isDamaged = true
      mend("the device was put under another", "taken out again") {
        requests.request(LinkRequest.change(index) { $0.attribute(10, u32: 0) })
      }
    }
    if link.mtu != BearerGuard.mtu {
      isDamaged = true
      mend("its MTU was set to \(link.mtu)", "set back to \(BearerGuard.mtu)") {
        requests.request(LinkRequest.change(index) { $0.attribute(4, u32: BearerGuard.mtu) })
      }
    }
    if link.transmitQueue != BearerGuard.transmitQueue {
      isDamaged = true
      mend("its queue was set to \(link.transmitQueue) packets", "set back to \(BearerGuard.transmitQueue)") {
        requests.request(LinkRequest.change(index) { $0.attribute(13, u32: BearerGuard.transmitQueue) })
      }
    }
    isUp = link.isAdministrativelyUp
    if !isUp {
      isDamaged = true
      mend("it was set down", "set up again") {
        let refused = requests.request(LinkRequest.set(index, up: true))
        isUp = refused == 0
        return refused
      }
    } else if link.flags & LinkFlag.lowerUp == 0 {
      isDamaged = true
      mend("its carrier was taken away", "given back") {
        requests.request(LinkRequest.change(index) { $0.attribute(33, u8: 1) })  // IFLA_CARRIER
      }
    }
    return isDamaged
  }

  // MARK: Sysctls

  private func auditSysctls(_ name: [UInt8]) -> Bool {
    var isDamaged = false
    // The kernel takes the greater of this and conf/all: 2, loose, wins over all=1.
    let reverse = Sysctl.interfaceKey(family: 4, name: name, "rp_filter")
    if let value = Sysctl.read(reverse), value != 2 {
      isDamaged = true
      mend("its rp_filter was \(value)", "set to 2") { Sysctl.write(reverse, 2) ? 0 : 1 }
    }
    let off = Sysctl.interfaceKey(family: 6, name: name, "disable_ipv6")
    if prefixes.count > 1, let value = Sysctl.read(off), value != 0 {
      isDamaged = true
      mend("IPv6 was switched off on it", "switched on again") { Sysctl.write(off, 0) ? 0 : 1 }
    }
    return isDamaged
  }

  // MARK: Addresses

  private func auditAddresses() -> Bool {
    var present: [IPPrefix] = []
    _ = requests.dump(AddressRecord.dump(index)) { m in
      if m.type == RouteMessage.newAddress, let record = AddressRecord(m), record.index == index {
        present.append(record.prefix)
      }
    }
    var isDamaged = false
    for prefix in prefixes where !present.contains(where: { $0 == prefix }) {
      isDamaged = true
      mend("its address \(prefix.text) was missing", "put back") {
        requests.request(AddressRecord.change(prefix, on: index, add: true))
      }
    }
    return isDamaged
  }

  // MARK: Routes and rules

  struct WantedRoute {
    var destination: IPPrefix
    var type: UInt8
    var table: UInt32
  }

  /// The own address to the host, should our rule ever stand before the local one, and the prefix to the device. In this
  /// order: the kernel takes the second with our source address only when it knows that as local, by whatever table.
  func wantedRoutes(_ prefix: IPPrefix) -> [WantedRoute] {
    var wanted = [
      WantedRoute(destination: prefix.host, type: RouteType.local, table: OwnNumber.table),
      WantedRoute(destination: prefix.network, type: RouteType.unicast, table: OwnNumber.table),
    ]
    if usesLocalTable {
      wanted.append(
        WantedRoute(destination: prefix.network, type: RouteType.unicast, table: OwnNumber.localTable))
    }
    return wanted
  }

  private func auditRoutes(_ prefix: IPPrefix) -> Bool {
    var present: [RouteRecord] = []
    var foreign: [RouteRecord] = []
    let wantedHere = wantedRoutes(prefix)
    for table in usesLocalTable ? [OwnNumber.table, OwnNumber.localTable] : [OwnNumber.table] {
      _ = requests.dump(RouteRecord.dump(family: prefix.family, table: table)) { m in
        guard m.type == RouteMessage.newRoute, let route = RouteRecord(m), route.table == table else { return }
        let isOurs = wantedHere.contains { isSame(route, $0) }
        if isOurs && route.origin == OwnNumber.origin { present.append(route) }
        if table == OwnNumber.table && foreign.count < BearerGuard.foreignLimit
          && (!isOurs || route.origin != OwnNumber.origin)
        {
          foreign.append(route)
        }
      }
    }
    var isDamaged = removeForeign(foreign)
    for wanted in wantedHere {
      if present.contains(where: { isSame($0, wanted) }) { continue }
      isDamaged = true
      // Its coming is part of what was noted of the rule.
      if wanted.table == OwnNumber.localTable && (protect || isInstalling) {
        _ = requests.request(addition(wanted, source: prefix.address))
        continue
      }
      mend(
        "the route to \(wanted.destination.text) was missing", "put back"
      ) {
        requests.request(addition(wanted, source: prefix.address))
      }
    }
    return isDamaged
  }

  private func isSame(_ route: RouteRecord, _ wanted: WantedRoute) -> Bool {
    route.destination == wanted.destination && route.type == wanted.type && route.table == wanted.table
      && (route.interface == index || wanted.type == RouteType.local)
  }

  /// Our table is ours: what another put there leads members' packets astray.
  private func removeForeign(_ foreign: [RouteRecord]) -> Bool {
    guard let first = foreign.first else { return false }
    let more = foreign.count == 1 ? "" : " and \(foreign.count - 1) more"
    mend("another's route to \(first.destination.text)\(more) was in table \(OwnNumber.table)", "removed") {
      var refused: Int32 = 0
      for route in foreign {
        let answer = requests.request(RouteRecord.remove(route))
        if answer != 0 { refused = answer }
      }
      return refused
    }
    return true
  }

  private func addition(_ wanted: WantedRoute, source: [UInt8]) -> NetlinkWriter {
    RouteRecord.add(
      wanted.destination, type: wanted.type, table: wanted.table, interface: index, source: source)
  }

  func rules(family: UInt8) -> [RuleRecord] {
    var all: [RuleRecord] = []
    _ = requests.dump(RuleRecord.dump(family: family)) { m in
      if m.type == RouteMessage.newRule, let rule = RuleRecord(m) { all.append(rule) }
    }
    return all
  }

  private func auditRule(_ prefix: IPPrefix) -> Bool {
    var isDamaged = false
    var all = rules(family: prefix.family)
    if !all.contains(where: { $0.isOwn(prefix) }) {
      isDamaged = true
      mend("the ip rule for \(prefix.network.text) was missing", "put back") {
        requests.request(RuleRecord.change(prefix, add: true))
      }
      all = rules(family: prefix.family)
    }
    guard !usesLocalTable, let own = all.firstIndex(where: { $0.isOwn(prefix) }),
      let before = all[..<own].first(where: { RuleRecord.diverts($0, prefix) })
    else { return isDamaged }
    let what = "an ip rule of priority \(before.priority) (table \(before.table)) stands before ours"
    if protect || isInstalling {
      usesLocalTable = true
      if !isInstalling { repairs += 1 }
      finding(
        .warning,
        "\(nameText(name)): \(what); the prefix goes into the local table too, which stands before it")
    } else {
      finding(.warning, "\(nameText(name)): \(what); left as it is")
    }
    return true
  }

  /// Rules of an earlier run that ended without undoing them, for prefixes that are not ours now.
  private func removeStaleRules() {
    for family in [2, 10] as [UInt8] {
      for rule in rules(family: family) where rule.isOwn(nil) && !prefixes.contains(where: { rule.isOwn($0) }) {
        _ = requests.request(RuleRecord.change(rule.destination, from: rule.source, add: false))
      }
    }
  }
}

extension RuleRecord {
  /// It may take packets for `prefix` elsewhere. The kernel's own rule for local addresses does not.
  static func diverts(_ rule: RuleRecord, _ prefix: IPPrefix) -> Bool {
    rule.table != OwnNumber.localTable && rule.action != 3 && rule.destination.overlaps(prefix.network)
      && !rule.isOwn(nil)
  }
}
