// How an MA installs the detours it has computed: a node's steps before any node's heads. A head that is there before the
// steps behind it would take the place of one that works, and lose the frames that this one saves (docs/PROTOCOL.md §5,
// "Detours").

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

/// Which nodes have yet to be given what; a set each of channels, 1,024 at most in the shipped program.
struct DetourInstallation {
  /// Nodes whose detours are others than those they were given last.
  private var wanted: Set<UInt32> = []
  private var ownIsWanted = false
  /// Steps that were sent and are not acknowledged: the mark in the channel's stream.
  private var marks: [UInt32: UInt32] = [:]
  /// Nodes that get their heads when no steps are under way any more.
  private var heads: Set<UInt32> = []
  private var ownHeadsAreWanted = false
  /// Then they get them all the same.
  private var patienceEnds = Instant.never
  private(set) var due = Instant.never

  /// How long heads wait for a node that does not acknowledge. Below the 5 s for which nodes keep the steps before.
  static let patience = Duration.seconds(2)
  static let pace = Duration.milliseconds(20)

  mutating func want(_ number: UInt32, at now: Instant) {
    wanted.insert(number)
    due = min(due, now + AuthorityState.sharesDelay)
  }

  mutating func wantOwn(at now: Instant) {
    ownIsWanted = true
    due = min(due, now + AuthorityState.sharesDelay)
  }

  mutating func remove(_ number: UInt32) {
    wanted.remove(number)
    heads.remove(number)
    marks[number] = nil
  }

  mutating func takeWanted() -> (numbers: [UInt32], own: Bool) {
    due = .never
    let taken = (wanted.sorted(), ownIsWanted)
    wanted = []
    if ownIsWanted { ownHeadsAreWanted = true }
    ownIsWanted = false
    return taken
  }

  mutating func stepsSent(_ number: UInt32, mark: UInt32) {
    marks[number] = mark
    heads.insert(number)
  }

  mutating func again(_ number: UInt32, at time: Instant) {
    wanted.insert(number)
    due = min(due, time)
  }

  /// Whether heads may be given out now; `isDelivered` tells of the steps of one channel.
  mutating func headsMayGo(_ isComputed: Bool, at now: Instant, _ isDelivered: (UInt32, UInt32) -> Bool) -> HeadsTurn {
    if heads.isEmpty, !ownHeadsAreWanted { return .nothing }
    for (number, mark) in marks where isDelivered(number, mark) { marks[number] = nil }
    if patienceEnds == .never { patienceEnds = now + DetourInstallation.patience }
    if marks.isEmpty, wanted.isEmpty, isComputed { return .ready }
    if now >= patienceEnds { return .early }
    due = min(due, now + DetourInstallation.pace)
    return .nothing
  }

  mutating func takeHeads() -> (numbers: [UInt32], own: Bool) {
    let taken = (heads.sorted(), ownHeadsAreWanted)
    heads = []
    ownHeadsAreWanted = false
    patienceEnds = .never
    return taken
  }

  mutating func headsAgain(_ number: UInt32, at time: Instant) {
    heads.insert(number)
    due = min(due, time)
  }
}

enum HeadsTurn { case nothing, ready, early }

extension Node {
  mutating func layDetours(at now: Instant) {
    guard let authority, now >= authority.detours.due else { return }
    let steps = authority.detours.takeWanted()
    for number in steps.numbers { sendSteps(channels[Int(number)], at: now) }
    if steps.own {
      install(
        DetourPart(replacesSteps: true, replacesHeads: false, steps: authority.graph.detours(of: identity.id).steps),
        at: now)
    }
    let turn = authority.detours.headsMayGo(!authority.graph.hasPendingDetours, at: now) { number, mark in
      // With a new session the node gets everything anew.
      channels[Int(number)].session == nil || channels[Int(number)].stream.isDelivered(before: mark)
    }
    if turn == .nothing { return }
    if turn == .early { counters.headsEarly &+= 1 }
    let heads = authority.detours.takeHeads()
    for number in heads.numbers {
      let channel = channels[Int(number)]
      guard channel.session != nil else { continue }
      let part = DetourPart(
        replacesSteps: false, replacesHeads: true, heads: authority.graph.detours(of: channel.peer).heads)
      if channel.stream.send(part.encode()) {
        pump(channel, at: now)
      } else {
        authority.detours.headsAgain(number, at: now + AuthorityState.retryDelay)
      }
    }
    if heads.own {
      install(
        DetourPart(replacesSteps: false, replacesHeads: true, heads: authority.graph.detours(of: identity.id).heads),
        at: now)
    }
  }

  /// An MA's own part in the detours it lays.
  private mutating func install(_ part: DetourPart, at now: Instant) {
    guard let own = authorityIndex else { return }
    let mine = detours[own] ?? Detours()
    detours[own] = mine
    if !mine.install(part, at: now) { counters.detoursOverLimit &+= 1 }
  }

  /// All steps of a node, one part after the other.
  private mutating func sendSteps(_ channel: Channel, at now: Instant) {
    guard let authority, channel.session != nil else { return }
    let steps = authority.graph.detours(of: channel.peer).steps
    var from = 0
    repeat {
      let end = min(steps.count, from + DetourPart.stepsAtOnce)
      let part = DetourPart(replacesSteps: from == 0, replacesHeads: false, steps: Array(steps[from..<end]))
      guard channel.stream.send(part.encode()) else {
        // Begun anew when there is room.
        authority.detours.again(channel.number, at: now + AuthorityState.retryDelay)
        return
      }
      from = end
    } while from < steps.count
    authority.detours.stepsSent(channel.number, mark: channel.stream.mark)
    pump(channel, at: now)
  }
}
