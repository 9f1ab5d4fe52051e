// A box at rest hears a hello of each neighbour at nearly the same time (docs/PROTOCOL.md §2, ticks), and would wake for
// each of them. Where nothing but signs of life has passed for a while it waits a moment after the first, and takes the
// others in one turn (docs/decisions/0053). What comes first after a rest may so be this moment later, and nothing else.

import Core

struct Gathering {
  /// Neighbours' answers to a tick are there by then.
  static let moment = Duration.microseconds(200)
  /// Without anything else for so long the loop is at rest.
  static let restAfter = Duration.milliseconds(50)
  /// At most one such wait in so long: less than the shortest interval of hellos.
  static let pace = Duration.milliseconds(5)
  /// With fewer ports there is nothing to gather.
  static let fewestPorts = 3

  private var busyAt = Instant.zero
  private var next = Instant.zero
  /// A sign of life came since it was asked last.
  private(set) var hasHeard = false
  /// Waits so far.
  private(set) var count: UInt64 = 0

  /// A frame came.
  @inline(__always)
  mutating func note(isSignOfLife: Bool, at now: Instant) {
    if isSignOfLife { hasHeard = true } else { busyAt = now }
  }

  /// Something else happened: a packet of the host's, a command.
  @inline(__always)
  mutating func noteWork(at now: Instant) { busyAt = now }

  /// At the end of a turn: whether to wait a moment before the next. Nothing is due before `due`.
  mutating func takeRest(at now: Instant, ports: Int, due: Instant?) -> Bool {
    guard hasHeard else { return false }
    hasHeard = false
    guard ports >= Gathering.fewestPorts, now >= next, now >= busyAt + Gathering.restAfter else { return false }
    if let due, due < now + Gathering.moment + Gathering.moment { return false }
    next = now + Gathering.pace
    count &+= 1
    return true
  }
}
