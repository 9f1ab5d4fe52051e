// The places of a port: who gets one, and who makes room. A member may have several under addresses of its own, for a box
// may have several NICs on a segment; but no more than a few, the last place of a port never, and when others need them
// it has one.
//
// What is heard gives way only to who has proved a key: anything less can be heard and said again by somebody else. That
// is why one place is kept for those who have none: they prove themselves in it.

import Core
import Crypto
import Membership

extension NeighbourEngine {
  /// Takes a new neighbour in. When the port's table is full, the longest silent neighbour without a key makes room,
  /// but none with a certificate for one without, and none that was proved for one that was not. A proved one comes
  /// before what it left behind itself on the port under other addresses, with a key or without, and where it has no
  /// place yet before others that were proved, those first who have several. Who has all the places it may have gets
  /// another for its own only.
  mutating func admit(
    _ id: ComponentID, at source: MACAddress, on port: PortPointer, shown: (MembershipCertificate, [UInt8])?,
    isProved: Bool, nonce: Bytes16, epoch: UInt32, now: Instant
  ) throws(NeighbourRefusal) -> AdjacencyPointer {
    var number = tables.freeNumber(at: now)
    let own = places(of: id, on: port)
    let isAtLimit = own >= NeighbourLimits.placesPerMember
    let portIsFull = port.pointee.neighbourCount >= NeighbourLimits.neighboursPerPort - (own == 0 ? 0 : 1)
    if isAtLimit || portIsFull || number == nil || strangerCount >= NeighbourLimits.strangers {
      let place = portIsFull ? port : nil
      // In the last place of a port is one who has none other, or nobody.
      let isLast = own > 0 && port.pointee.neighbourCount == NeighbourLimits.neighboursPerPort
      let mayReplace = !isAtLimit && (!isLast || unprovedCount(on: port) > 1)
      var victim = mayReplace ? longestSilent(on: place, standing: shown == nil ? 0 : 1) : nil
      if victim == nil, isProved {
        victim = longestSilent(of: id, on: port, isStranger: !isAtLimit && !portIsFull && number != nil)
        if victim == nil, own == 0 { victim = mostCrowded(on: port) ?? longestSilent(on: place, standing: 2) }
      }
      guard let victim else { throw .noRoomForNeighbour }
      // It need not rest: nobody routes over a number that never was a link, and one that was leads to the same
      // neighbour again.
      number = victim.pointee.number
      counters.strangersReplaced &+= 1
      forget(victim, .silent, at: now, rest: .zero)
      // What it left behind with a key made no room among the strangers.
      if strangerCount >= NeighbourLimits.strangers, let stranger = longestSilent(on: nil, standing: 2) {
        counters.strangersReplaced &+= 1
        forget(stranger, .silent, at: now)
      }
    }
    guard let number else { throw .noRoomForNeighbour }
    var record = AdjacencyRecord(
      number: number, port: port, address: source, id: id, nonce: nonce, epoch: epoch, at: now)
    if let (certificate, bytes) = shown {
      record.certificate = certificate
      record.certificateBytes = bytes
    }
    record.isProved = isProved
    record.interval = interval(of: port.pointee.status.medium)
    record.peerFrameSize = port.pointee.frameSize
    record.frameSize = port.pointee.assumedFrameSize
    record.reportStrangerAt = now + NeighbourLimits.strangerPatience
    record.nextProbe = now
    record.reportedCost = port.pointee.cost
    let adjacency = tables.add(record)
    deadlineIsStale = true
    return adjacency
  }

  /// Whether an ID is heard in so many places of the port that it gets no other, whatever it proves.
  func hasItsPlaces(_ id: ComponentID, on port: PortPointer) -> Bool {
    var heard = 0
    for i in 0..<port.pointee.neighbourCount {
      if let each = port.pointee.records[i], each.pointee.id == id, each.pointee.isHeard { heard += 1 }
    }
    return heard >= NeighbourLimits.placesPerMember
  }

  /// A neighbour's first key on the port is proved: now it is the neighbour who has the place, and nobody who repeats what
  /// it said. Where it has more than it may have, an older one of its own goes; where the last place was taken, one of who
  /// has most, so that there is one again for who has none. Where all have one the port is full.
  mutating func settlePlaces(with adjacency: AdjacencyPointer, at now: Instant) {
    let port = adjacency.pointee.port
    var keyed = 0
    var (most, crowded) = (0, adjacency.pointee.id)
    for i in 0..<port.pointee.neighbourCount {
      guard let each = port.pointee.records[i], each.pointee.hasKey else { continue }
      keyed += 1
      let count = places(of: each.pointee.id, on: port, withKey: true)
      if count > most { (most, crowded) = (count, each.pointee.id) }
    }
    let own = places(of: adjacency.pointee.id, on: port, withKey: true)
    if own > NeighbourLimits.placesPerMember {
      crowded = adjacency.pointee.id
    } else if keyed < NeighbourLimits.neighboursPerPort || most < 2 {
      return
    }
    var found: AdjacencyPointer?
    for i in 0..<port.pointee.neighbourCount {
      guard let each = port.pointee.records[i], each != adjacency, each.pointee.hasKey, each.pointee.id == crowded
      else { continue }
      if let best = found, best.pointee.silentSince <= each.pointee.silentSince { continue }
      found = each
    }
    guard let found else { return }
    counters.placesGivenUp &+= 1
    log(
      .notice,
      "port \(port.pointee.status.name): link \(Int(found.pointee.number)) to \(crowded.description) gives its place up, it has others"
    )
    forget(found, .silent, at: now)
  }

  /// Of one ID on the port, with a key or proved, or with a key only.
  private func places(of id: ComponentID, on port: PortPointer, withKey: Bool = false) -> Int {
    var count = 0
    for i in 0..<port.pointee.neighbourCount {
      guard let each = port.pointee.records[i], each.pointee.id == id else { continue }
      if each.pointee.hasKey || (!withKey && each.pointee.isProved) { count += 1 }
    }
    return count
  }

  /// Of those without a key one of the member that has most places on the port, if that is more than one.
  private func mostCrowded(on port: PortPointer) -> AdjacencyPointer? {
    var (most, found) = (1, AdjacencyPointer?.none)
    for i in 0..<port.pointee.neighbourCount {
      guard let each = port.pointee.records[i], !each.pointee.hasKey else { continue }
      let count = places(of: each.pointee.id, on: port)
      if count > most { (most, found) = (count, each) }
    }
    return found
  }

  /// Records of the port that show neither a key nor a proof.
  private func unprovedCount(on port: PortPointer) -> Int {
    var count = 0
    for i in 0..<port.pointee.neighbourCount {
      if let each = port.pointee.records[i], !each.pointee.hasKey, !each.pointee.isProved { count += 1 }
    }
    return count
  }

  private var strangerCount: Int {
    var count = 0
    for number in tables.numbers {
      if let each = tables.record(UInt16(number)), !each.pointee.hasKey { count += 1 }
    }
    return count
  }

  /// Of those without a key the one of the lowest standing, up to this one.
  private func longestSilent(on port: PortPointer?, standing: Int) -> AdjacencyPointer? {
    var found: AdjacencyPointer?
    for number in tables.numbers {
      guard let each = tables.record(UInt16(number)), !each.pointee.hasKey, each.pointee.standing <= standing else {
        continue
      }
      if let port, each.pointee.port != port { continue }
      guard let best = found else {
        found = each
        continue
      }
      if (each.pointee.standing, each.pointee.lastDiscover) < (best.pointee.standing, best.pointee.lastDiscover) {
        found = each
      }
    }
    return found
  }

  /// Of those that are the same node on the port under other addresses the longest silent one; none that is heard now.
  func longestSilent(of id: ComponentID, on port: PortPointer, isStranger: Bool) -> AdjacencyPointer? {
    var found: AdjacencyPointer?
    for i in 0..<port.pointee.neighbourCount {
      guard let each = port.pointee.records[i], each.pointee.id == id, !each.pointee.isHeard,
        !(isStranger && each.pointee.hasKey)
      else { continue }
      if let best = found, best.pointee.silentSince <= each.pointee.silentSince { continue }
      found = each
    }
    return found
  }

  /// Takes a neighbour out of the tables, and says so. Its number rests until `rest`, or as long as a number does that
  /// was a link's; one that never was need not.
  mutating func forget(
    _ adjacency: AdjacencyPointer, _ reason: AdjacencyDownReason, at now: Instant, rest: Instant? = nil
  ) {
    let (number, port) = (UInt16(adjacency.pointee.number), adjacency.pointee.port)
    if adjacency.pointee.isUp { goDown(adjacency, reason, at: now) }
    if adjacency.pointee.isStrangerReported { tell(.strangerGone(number)) }
    let hadKey = adjacency.pointee.hasKey
    tables.remove(adjacency, rest: rest ?? (hadKey ? now + NeighbourLimits.numberRest : .zero))
    setDestinations(port, at: now)
    if hadKey { updatePace(at: now) }
    deadlineIsStale = true
  }
}
