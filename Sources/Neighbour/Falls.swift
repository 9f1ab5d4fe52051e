// Damping: each fall of a link soon after another makes it dearer (docs/PROTOCOL.md §2, "Cost"). Going down is never
// damped, and a dear link is used where there is no other.
//
// What counts is who fell, and on which wire: the neighbour's ID, which a key has proved, and the port. The address is the
// neighbour's to choose, and the record goes with it; neither may take the falls along. The port is part of it so that a
// bad wire does not make good ones to the same neighbour dearer. But an interface that is made anew comes as another port:
// what was remembered of one that is gone is taken over by the next new link of that neighbour. All tunnels of a neighbour
// count as one port, since it chooses from where they come.

import Core

struct FallMemory {
  /// Where a neighbour fell.
  enum Place: Equatable {
    case port(PortNumber)
    case tunnels
    /// A port that does not exist any more.
    case gone
  }

  private struct Entry {
    let id: ComponentID
    var place: Place
    var penalty: UInt16
    var last: Instant

    /// Times it is halved since the last fall.
    func turns(at now: Instant) -> Int64 { (now - last).nanoseconds / NeighbourLimits.flapMemory.nanoseconds }

    /// What is left of the penalty.
    func rest(at now: Instant) -> UInt16 {
      var rest = penalty
      var turns = turns(at: now)
      while turns > 0 && rest > 0 {
        rest = FallMemory.halved(rest)
        turns -= 1
      }
      return rest
    }
  }

  /// Up to `NeighbourLimits.falls`; beyond that goes the one that costs least now, of those the oldest. A member has one
  /// for each port that there is at most, one for its tunnels, and one for what is gone.
  private var entries: [Entry] = []

  static func halved(_ penalty: UInt16) -> UInt16 {
    penalty / 2 < NeighbourLimits.flapStep ? 0 : penalty / 2
  }

  /// A fall; the penalty from now on.
  mutating func note(_ id: ComponentID, on place: Place, at now: Instant) -> UInt16 {
    if let i = index(of: id, on: place) {
      var penalty = entries[i].rest(at: now)
      if entries[i].turns(at: now) == 0 {
        penalty = min(penalty + NeighbourLimits.flapStep, NeighbourLimits.flapLimit)
      }
      entries[i].penalty = penalty
      entries[i].last = now
      return penalty
    }
    let fresh = Entry(id: id, place: place, penalty: 0, last: now)
    if entries.count < NeighbourLimits.falls {
      entries.append(fresh)
    } else {
      entries[cheapest(at: now)] = fresh
    }
    return 0
  }

  /// What a link of the neighbour begins with as it comes up, and when that is halved next.
  mutating func penalty(of id: ComponentID, on place: Place, at now: Instant) -> (penalty: UInt16, until: Instant) {
    let known = index(of: id, on: place)
    guard let i = known ?? (place == .tunnels ? nil : index(of: id, on: .gone)) else { return (0, .never) }
    entries[i].place = place
    let rest = entries[i].rest(at: now)
    if rest == 0 { return (0, .never) }
    return (rest, entries[i].last + NeighbourLimits.flapMemory * (entries[i].turns(at: now) + 1))
  }

  /// The port does not exist any more.
  mutating func lose(_ port: PortNumber) {
    var i = 0
    while i < entries.count {
      guard entries[i].place == .port(port) else {
        i += 1
        continue
      }
      guard let other = index(of: entries[i].id, on: .gone) else {
        entries[i].place = .gone
        i += 1
        continue
      }
      // The dearer stands for both.
      let at = max(entries[i].last, entries[other].last)
      if entries[i].rest(at: at) >= entries[other].rest(at: at) {
        entries[other].penalty = entries[i].penalty
        entries[other].last = entries[i].last
      }
      entries.remove(at: i)
    }
  }

  private func index(of id: ComponentID, on place: Place) -> Int? {
    for i in entries.indices where entries[i].id == id && entries[i].place == place { return i }
    return nil
  }

  private func cheapest(at now: Instant) -> Int {
    var best = 0
    for i in entries.indices
    where (entries[i].rest(at: now), entries[i].last) < (entries[best].rest(at: now), entries[best].last) { best = i }
    return best
  }
}

extension NeighbourEngine {
  private func place(of adjacency: AdjacencyPointer) -> FallMemory.Place {
    let port = adjacency.pointee.port
    return port.pointee.status.medium == .tunnel ? .tunnels : .port(port.pointee.number)
  }

  mutating func noteFall(of adjacency: AdjacencyPointer, at now: Instant) {
    adjacency.pointee.penalty = falls.note(adjacency.pointee.id, on: place(of: adjacency), at: now)
    adjacency.pointee.decayAt = adjacency.pointee.penalty == 0 ? .never : now + NeighbourLimits.flapMemory
  }

  /// It comes up: what its neighbour's other links on the port have done meanwhile counts too.
  mutating func rememberFalls(of adjacency: AdjacencyPointer, at now: Instant) {
    (adjacency.pointee.penalty, adjacency.pointee.decayAt) = falls.penalty(
      of: adjacency.pointee.id, on: place(of: adjacency), at: now)
  }

  func decayPenalty(_ adjacency: AdjacencyPointer, at now: Instant) {
    guard now >= adjacency.pointee.decayAt else { return }
    adjacency.pointee.penalty = FallMemory.halved(adjacency.pointee.penalty)
    adjacency.pointee.decayAt = adjacency.pointee.penalty == 0 ? .never : now + NeighbourLimits.flapMemory
  }
}
