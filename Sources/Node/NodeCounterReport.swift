// Everything that was refused or dropped, by name, for `lifeline ctl counters`.

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
  func allCounters() -> ControlAnswer {
    var json = JSONWriter()
    json.object { json in
      json.field("onionIn", counters.onionIn)
      json.field("linkedIn", counters.linkedIn)
      json.field("openIn", counters.openIn)
      json.field("relayTaken", counters.relayTaken)
      json.field("towardTaken", counters.towardTaken)
      json.field("controlTaken", counters.controlTaken)
      json.field("relayed", counters.relayed)
      json.field("delivered", counters.delivered)
      json.field("twinsSent", counters.twinsSent)
      json.field("twinsDropped", counters.twinsDropped)
      json.field("waysChanged", counters.waysChanged)
      json.field("probesSent", counters.probesSent)
      json.field("probesLost", counters.probesLost)
      json.field("probesOverBudget", counters.probesOverBudget)
      json.field("waysSilent", counters.waysSilent)
      json.field("searches", counters.searches)
      json.field("searchesVain", counters.searchesVain)
      json.field("suspicionsRefused", counters.suspicionsRefused)
      json.field("linksCondemned", counters.linksCondemned)
      json.field("condemnedOverLimit", counters.condemnedOverLimit)
      json.field("brokenTold", counters.brokenTold)
      json.field("brokenRefused", counters.brokenRefused)
      json.field("detoursBegun", counters.detoursBegun)
      json.field("detoured", counters.detoured)
      json.field("labelsRefused", counters.labelsRefused)
      json.field("detoursOverLimit", counters.detoursOverLimit)
      json.field("headsEarly", counters.headsEarly)
      json.field("outputOverflow", counters.outputOverflow)
      json.field("poolEmpty", counters.poolEmpty)
      json.field("poolFree", pool.freeCount)
      json.field("noAdjacency", counters.noAdjacency)
      json.field("noSession", counters.noSession)
      json.field("unknownRoute", counters.unknownRoute)
      json.field("controlInvalid", counters.controlInvalid)
      json.field("controlLate", counters.controlLate)
      json.field("handshakeRefused", counters.handshakeRefused)
      json.field("relayOverBudget", counters.relayOverBudget)
      json.field("relayInvalid", counters.relayInvalid)
      json.field("towardExhausted", counters.towardExhausted)
      json.field("towardNoTree", counters.towardNoTree)
      json.field("carrierTooDeep", counters.carrierTooDeep)
      json.field("bearerNoRoute", counters.bearerNoRoute)
      json.field("bearerWrongSource", counters.bearerWrongSource)
      json.field("bearerWrongDestination", counters.bearerWrongDestination)
      json.field("bearerInvalid", counters.bearerInvalid)
      json.field("strangersRefused", counters.strangersRefused)
      json.field("memberLimit", counters.memberLimit)
      json.field("attachOld", counters.attachOld)
      json.field("sessionsOverBudget", counters.sessionsOverBudget)
      json.field("attachOverBudget", counters.attachOverBudget)
      json.field("towardOverBudget", counters.towardOverBudget)
      json.field("controlOverBudget", counters.controlOverBudget)
      json.field("challengesMade", counters.challengesMade)
      json.field("challengesOverBudget", counters.challengesOverBudget)
      json.field("advertisementsHeld", counters.advertisementsHeld)
      json.field("successionOverBudget", counters.successionOverBudget)
      json.field("successionRefused", counters.successionRefused)
      json.field("membersRefused", counters.membersRefused)
      json.field("computations", counters.computations)
      json.field("sessionsRenewed", counters.sessionsRenewed)
      json.field("routesKnown", relay.routeCount)
      json.field("routesEvicted", relay.routesEvicted)
      json.field("routesForgotten", relay.routesForgotten)
      json.key("link")
      json.object { json in
        for reason in NeighbourRefusal.allCases { json.field(reason.name, neighbour.counters[reason]) }
        json.field("hellos", neighbour.counters.hellosReceived)
        json.field("certificatesVerified", neighbour.counters.certificatesVerified)
        json.field("handshakesAnswered", neighbour.counters.handshakesAnswered)
        json.field("notUp", neighbour.counters.notUp)
        json.field("tooLarge", neighbour.counters.tooLarge)
        json.field("linksTooSmall", neighbour.counters.linksTooSmall)
        json.field("lateLoops", neighbour.counters.lateLoops)
        json.field("strangersReplaced", neighbour.counters.strangersReplaced)
        json.field("placesGivenUp", neighbour.counters.placesGivenUp)
        json.field("adjacenciesUp", neighbour.counters.adjacenciesUp)
        json.field("adjacenciesDown", neighbour.counters.adjacenciesDown)
        json.field("adjacenciesDoubted", neighbour.counters.adjacenciesDoubted)
      }
      json.key("onion")
      json.object { json in
        for reason in OnionRefusal.allCases { json.field(reason.name, relay.refused[Int(reason.rawValue)]) }
      }
      json.key("session")
      json.object { json in
        for reason in SessionRefusal.allCases { json.field(reason.name, counters.sealRefused[Int(reason.rawValue)]) }
      }
      json.key("bearer")
      json.object { json in
        for raw in 0..<UInt8(BearerCounter.count) {
          guard let counter = BearerCounter(rawValue: raw) else { continue }
          json.field(counter.name, reassembler.counters[counter])
        }
      }
      json.key("beacon")
      json.object { json in
        let beacons = beacon.counters
        json.field("originated", beacons.originated)
        json.field("accepted", beacons.accepted)
        json.field("duplicates", beacons.duplicates)
        json.field("old", beacons.old)
        json.field("refusedMalformed", beacons.refusedMalformed)
        json.field("refusedUnknownAuthority", beacons.refusedUnknownAuthority)
        json.field("refusedSignature", beacons.refusedSignature)
        json.field("refusedConflicting", beacons.refusedConflicting)
        json.field("refusedBudget", beacons.refusedBudget)
        json.field("refusedPace", beacons.refusedPace)
      }
    }
    return .document(json.bytes)
  }
}
