// What is done to ports: raised for the channel alone, held closed for data, opened again. All of it waits for the
// kernel, and happens beside the loop; when it is done, the port monitor decides.

import Core

/// What the port monitor wants done. `link` is the port as it was last heard of.
enum PortOrder {
  /// Ports that an earlier run left closed.
  case findLeftovers
  case readLinks
  /// Brings it up, closed for data; `wasHeld` when it is closed already.
  case raise(LinkRecord, wasHeld: Bool, ticket: UInt32)
  /// Opens it for data; its administrative state stays.
  case release(LinkRecord)
  /// Sets it down and opens it.
  case lower(LinkRecord)
  /// Opens what an earlier run left closed.
  case open(Int32)
  /// The device is gone.
  case forget(Int32)
  /// Closes again those that are not.
  case checkHolds([LinkRecord])
  case removeTable
}

enum RaisingOutcome {
  case done
  /// Data could not be held out; errno.
  case notHeld(Int32)
  /// The kernel did not bring it up; errno.
  case refused(Int32)
}

enum PortReport {
  case leftovers([Int32])
  case links([LinkRecord], refused: Int32)
  case raised(Int32, ticket: UInt32, RaisingOutcome)
  /// It was not closed; 0 when it is again, or errno.
  case putBack(Int32, refused: Int32)
  case holdsChecked
}

final class PortKeeper {
  private struct Held {
    let index: Int32
    /// disable_ipv6 before we set it.
    let formerIPv6Off: Int
    var routes = PortRoutes()
  }

  private let requests: NetlinkSocket
  private let hold = PortHold()
  private var held: [Held] = []

  init() throws(SystemError) {
    requests = try NetlinkSocket(NetlinkSocket.route, nonblocking: false, action: "open netlink")
  }

  func carryOut(_ order: PortOrder, _ report: (PortReport) -> Void) {
    switch order {
    case .findLeftovers: report(.leftovers(hold.leftovers()))
    case .readLinks: readLinks(report)
    case .raise(let link, let wasHeld, let ticket):
      report(.raised(link.index, ticket: ticket, raise(link, wasHeld: wasHeld)))
    case .release(let link): release(link, isUp: link.isAdministrativelyUp)
    case .lower(let link):
      _ = requests.request(LinkRequest.set(link.index, up: false))
      release(link, isUp: false)
    case .open(let index): hold.open(index)
    case .forget(let index): held.removeAll { $0.index == index }
    case .checkHolds(let links):
      for link in links where !hold.isClosed(link.index) { report(.putBack(link.index, refused: hold.close(link))) }
      report(.holdsChecked)
    case .removeTable: hold.removeTable()
    }
  }

  private func readLinks(_ report: (PortReport) -> Void) {
    var seen: [LinkRecord] = []
    let refused = requests.dump(LinkRequest.dump()) { m in
      guard m.type == RouteMessage.newLink, let link = LinkRecord(m) else { return }
      if let i = seen.firstIndex(where: { $0.index == link.index }) { seen[i] = link } else { seen.append(link) }
    }
    report(.links(seen, refused: refused))
  }

  private func raise(_ link: LinkRecord, wasHeld: Bool) -> RaisingOutcome {
    let closed = hold.close(link)
    if closed != 0 { return .notHeld(closed) }
    if !wasHeld {
      let key = Sysctl.interfaceKey(family: 6, name: link.name, "disable_ipv6")
      held.removeAll { $0.index == link.index }
      held.append(Held(index: link.index, formerIPv6Off: Sysctl.read(key) ?? 0))
      Sysctl.write(key, 1)
    }
    let refused = requests.request(LinkRequest.set(link.index, up: true))
    if refused != 0 {
      if !wasHeld { release(link, isUp: false) }
      return .refused(refused)
    }
    if PortChoice.isKind(link.slaveKind, "bridge") {
      _ = requests.request(LinkRequest.bridgePort(link.index, state: 0))
    }
    let place = held.firstIndex { $0.index == link.index } ?? held.count
    if place == held.count { held.append(Held(index: link.index, formerIPv6Off: 0)) }
    held[place].routes.takeAway(over: link.index, requests)
    return .done
  }

  private func release(_ link: LinkRecord, isUp: Bool) {
    hold.open(link.index)
    let place = held.firstIndex { $0.index == link.index }
    Sysctl.write(
      Sysctl.interfaceKey(family: 6, name: link.name, "disable_ipv6"), place.map { held[$0].formerIPv6Off } ?? 0)
    if PortChoice.isKind(link.slaveKind, "bridge"), isUp {
      _ = requests.request(LinkRequest.bridgePort(link.index, state: 3))
    }
    guard let place else { return }
    if isUp { held[place].routes.giveBack(requests) }
    held.remove(at: place)
  }
}
