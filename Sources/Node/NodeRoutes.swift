// Laying routes: from the graph's paths to headers for the way there, and permissions for the way back.

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
  /// Computes the paths anew and lays every route that changed or went stale.
  mutating func layRoutes(at now: Instant) {
    guard let authority else { return }
    // A link that carries no frame of the size in use is no link; others may lead to the same place.
    authority.graph.smallestFrameSize = UInt16(clamping: authority.size.smallestFrame)
    var changed: [ComponentID: Bool] = [:]
    for id in authority.graph.recompute() { changed[id] = true }
    var longest = 1
    for channel in channels where !channel.isUplink {
      guard let admission = authority.admissions[channel.number] else { continue }
      if changed[channel.peer] != nil {
        admission.path = authority.graph.path(to: channel.peer)
        admission.routeIsStale = true
      }
      longest = max(longest, admission.path?.links.count ?? 0)
    }
    if let size = OnionSize(hops: longest), size.entries > authority.size.entries {
      authority.size = size
      beacon.sizeCode = size.code
      needFrames(at: now)
      scheduleRecompute(at: now)
      for (_, admission) in authority.admissions { admission.routeIsStale = true }
    }
    // Near ones first: what is told to far ones travels over the nearer ones' links, not over their routes.
    for channel in channels where !channel.isUplink {
      guard let admission = authority.admissions[channel.number], admission.routeIsStale else { continue }
      layRoute(channel, admission, at: now)
    }
  }

  private mutating func layRoute(_ channel: Channel, _ admission: Admission, at now: Instant) {
    guard let authority else { return }
    let wasReachable = channel.route != nil
    guard let path = admission.path, channel.session != nil else {
      channel.route = nil
      if wasReachable { report(.warning, "\(String(decoding: channel.name, as: UTF8.self)) is unreachable") }
      admission.routeIsStale = channel.session == nil
      return
    }
    guard Int(path.frameSize) >= authority.size.smallestFrame else {
      channel.route = nil
      admission.routeIsStale = false
      report(
        .warning,
        "\(String(decoding: channel.name, as: UTF8.self)) is unreachable: its way carries frames of \(path.frameSize) bytes, "
          + "and \(authority.size.smallestFrame) are needed")
      return
    }
    guard let there = forwardHops(path, authority), let back = backwardHops(path, authority) else {
      // A hop has no session yet: its own admission marks this route stale again.
      channel.route = nil
      return
    }
    guard
      let builder = OnionBuilder(
        route: there.route, size: authority.size, hops: there.hops, entropy: &entropy),
      let first = path.links.first, let last = path.links.last
    else { return }
    admission.routeIsStale = false
    channel.route = builder
    channel.routeEgress = first.fromAdjacency
    channel.frameSize = Int(path.frameSize)
    channel.pathHops = path.links.count
    channel.stream.hurry()
    let message = ReturnRoute(
      route: back.route, size: authority.size, frameSize: path.frameSize, egress: last.toAdjacency, hops: back.hops)
    authority.returnRoutes[back.route] = channel.number
    admission.returnRoutes.append(back.route)
    // While the component has not used a newer one, frames under way come by the one it uses.
    while admission.returnRoutes.count > Admission.returnRoutesLimit
      || (admission.returnRoutes.count > Admission.returnRoutesKept
        && admission.returnRoutes[0] != channel.lastReturnRoute
        && admission.returnRoutes.contains(channel.lastReturnRoute))
    {
      authority.returnRoutes[admission.returnRoutes.removeFirst()] = nil
    }
    if !channel.stream.send(message.encode()) {
      admission.routeIsStale = true
      authority.recomputeDue = min(authority.recomputeDue, now + AuthorityState.retryDelay)
    }
    if !wasReachable {
      let hops = path.links.count == 1 ? "1 hop" : "\(path.links.count) hops"
      report(.notice, "\(String(decoding: channel.name, as: UTF8.self)) is reachable over \(hops)")
    }
    pump(channel, at: now)
  }

  private func onionKey(_ id: ComponentID, _ authority: AuthorityState) -> Bytes32? {
    guard let number = authority.byID[id] else { return nil }
    return channels[Int(number)].session?.keys.onion
  }

  private func forwardHops(_ path: TopologyPath, _ authority: AuthorityState) -> (route: UInt32, hops: [RouteHop])? {
    let route = authority.nextRoute()
    var hops: [RouteHop] = []
    for (i, link) in path.links.enumerated() {
      guard let key = onionKey(link.to, authority) else { return nil }
      let egress = i + 1 < path.links.count ? path.links[i + 1].fromAdjacency : deliverHere
      hops.append(RouteHop(key: key, route: route, ingress: link.toAdjacency, egress: egress))
    }
    return (route, hops)
  }

  private mutating func backwardHops(
    _ path: TopologyPath, _ authority: AuthorityState
  ) -> (route: UInt32, hops: [RouteHop])? {
    let route = authority.nextRoute()
    var hops: [RouteHop] = []
    var i = path.links.count - 1
    while i >= 1 {
      let node = path.links[i].from
      guard let key = onionKey(node, authority) else { return nil }
      hops.append(
        RouteHop(
          key: key, route: route, ingress: path.links[i].fromAdjacency, egress: path.links[i - 1].toAdjacency))
      i -= 1
    }
    hops.append(
      RouteHop(
        key: authority.ownKey, route: route, ingress: path.links[0].fromAdjacency, egress: deliverHere))
    while hops.count < authority.size.entries { hops.append(RouteHop(decoyFrom: &entropy)) }
    return (route, hops)
  }
}
