// What a node says of itself in numbers, without words: for whoever runs many of them in one process.

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
  public var id: ComponentID { identity.id }

  /// ONION frames passed on.
  public var framesPassedOn: UInt64 { counters.relayed }

  public var outputsLost: UInt64 { counters.outputOverflow }
  public var poolWasEmpty: Bool { counters.poolEmpty > 0 }

  /// On an MA: members it has a route to.
  public var membersReached: Int {
    var count = 0
    for channel in channels where channel.isRouted { count += 1 }
    return count
  }

  /// On an MA: whether it has a session with this member, and a route to it.
  public func reaches(_ id: ComponentID) -> Bool {
    guard let number = authority?.byID[id] else { return false }
    let channel = channels[Int(number)]
    return channel.session != nil && channel.isRouted
  }

  /// On a component: whether it has a session with this MA, and a way to it.
  public func isReached(by authority: ComponentID) -> Bool {
    for uplink in uplinks where uplink.channel.peer == authority { return isReached(uplink) }
    return false
  }

  /// Every table that what others send can fill: its name, how much it holds, and the most it may.
  public func forEachTable(_ body: (_ name: StaticString, _ count: Int, _ limit: Int) -> Void) {
    body("neighbours", neighbour.adjacencies.count, 255)
    body("outputs", outputs.count, outputs.limit)
    body("relay routes", relay.routeCount, RouteTable.defaultLimit)
    body("held requests", relayDesk.held.count, RelayDesk.heldLimit)
    body("channels", channels.count, limits.channels)
    for case let table? in detours {
      body("detours that begin", table.headCount, DetourPart.headLimit)
      body("steps of detours", table.stepCount, Detours.stepLimit)
      body("successors' shares", table.shareCount, Detours.shareLimit)
    }
    for channel in channels { body("answered challenges", channel.pendings.count, PendingSession.limit) }
    guard let authority else { return }
    body("challenged members", authority.challenged.count, limits.channels)
    body("members whose LSA is held", authority.advertisers.count, limits.channels)
    body("sessions by number", authority.bySPI.count, 2 * limits.channels)
    body("searches", authority.faults.running.count, FaultSearches.limit)
    body("paths to try", authority.faults.waiting.count, FaultSearches.waitingLimit)
    body("condemned links", authority.faults.condemned.count, FaultSearches.condemnedLimit)
    for (_, admission) in authority.admissions {
      body("challenges under way", admission.attempts.count, Admission.attemptLimit)
      body("places", admission.laid.count, Ways.limit)
      for laid in admission.laid { body("ways back", laid.returnRoutes.count, LaidWay.returnRoutesLimit) }
    }
  }
}
