// What a node counts of its own; its engines count for themselves (NodeCounterReport.swift shows all of them).

import Session

/// What this node refused or dropped, by name; the engines' own counters stand beside these in `ctl counters`.
struct NodeCounters {
  /// Frames whose link tag held, and OPEN ones within their budget.
  var onionIn: UInt64 = 0
  var linkedIn: UInt64 = 0
  var openIn: UInt64 = 0
  /// Well-formed and within their budgets: RELAY and TOWARD frames, messages of a session.
  var relayTaken: UInt64 = 0
  var towardTaken: UInt64 = 0
  var controlTaken: UInt64 = 0
  var relayed: UInt64 = 0
  /// Second copies of protected frames, sent and dropped.
  var twinsSent: UInt64 = 0
  var twinsDropped: UInt64 = 0
  /// Times a source went over to another of its ways.
  var waysChanged: UInt64 = 0
  /// Probes of ways, those without an answer, those not answered; ways left because three were lost.
  var probesSent: UInt64 = 0
  var probesLost: UInt64 = 0
  var probesOverBudget: UInt64 = 0
  var waysSilent: UInt64 = 0
  /// Searches for what loses frames silently, those without a clear result, hints that led to none, links found, and
  /// those that had to make room.
  var searches: UInt64 = 0
  var searchesVain: UInt64 = 0
  var suspicionsRefused: UInt64 = 0
  var linksCondemned: UInt64 = 0
  var condemnedOverLimit: UInt64 = 0
  /// Routes that were said to be broken: by others of this node's own, and those nobody may say it of or too often.
  var brokenTold: UInt64 = 0
  var brokenRefused: UInt64 = 0
  /// Frames that began a detour here, that went on one, and whose label was unknown or over its budget.
  var detoursBegun: UInt64 = 0
  var detoured: UInt64 = 0
  var labelsRefused: UInt64 = 0
  var detoursOverLimit: UInt64 = 0
  /// MA: times that heads were given out before all steps were acknowledged.
  var headsEarly: UInt64 = 0
  var delivered: UInt64 = 0
  var outputOverflow: UInt64 = 0
  var poolEmpty: UInt64 = 0
  var noAdjacency: UInt64 = 0
  var noSession: UInt64 = 0
  var sealRefused = [UInt64](repeating: 0, count: SessionRefusal.allCases.count)
  var unknownRoute: UInt64 = 0
  var controlInvalid: UInt64 = 0
  /// Control frames of a session whose stream is over.
  var controlLate: UInt64 = 0
  var handshakeRefused: UInt64 = 0
  var relayOverBudget: UInt64 = 0
  var relayInvalid: UInt64 = 0
  var towardExhausted: UInt64 = 0
  var towardNoTree: UInt64 = 0
  var carrierTooDeep: UInt64 = 0
  var bearerNoRoute: UInt64 = 0
  var bearerWrongSource: UInt64 = 0
  var bearerWrongDestination: UInt64 = 0
  var bearerInvalid: UInt64 = 0
  var strangersRefused: UInt64 = 0
  var memberLimit: UInt64 = 0
  var sessionsRenewed: UInt64 = 0
  var attachOld: UInt64 = 0
  var sessionsOverBudget: UInt64 = 0
  var attachOverBudget: UInt64 = 0
  var towardOverBudget: UInt64 = 0
  var controlOverBudget: UInt64 = 0
  var challengesMade: UInt64 = 0
  var challengesOverBudget: UInt64 = 0
  var advertisementsHeld: UInt64 = 0
  var successionOverBudget: UInt64 = 0
  var successionRefused: UInt64 = 0
  var membersRefused: UInt64 = 0
  var computations: UInt64 = 0
}
