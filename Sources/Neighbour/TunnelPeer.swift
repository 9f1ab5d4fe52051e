// Tunnels: a peer is where its newest authentic hello comes from. An address translator may give a running tunnel another
// port or address; then hellos come from where nobody is known, and the key tells whose they are.
//
// Nothing moves a peer but a hello under its present key that is newer than all before, and only once the address before
// has been silent: a copy, late or early, is worth nothing as long as the neighbour itself is heard.

import Core
import Wire

extension NeighbourEngine {
  /// Whose a datagram from an unknown address may be. Changes nothing but a budget, and for a neighbour that moved the
  /// time of its next hello: now, so that it hears us again before its hold ends. The frame stays as it is.
  public mutating func judgeArrival(_ frame: PacketBuffer, at now: Instant) -> TunnelArrival {
    if isStopped || frame.count < 1 { return .nobody }
    guard let head = FrameHead(frame.bytes[0]) else { return .nobody }
    switch head.type {
    case .discover: return isOfNetwork(frame) ? .newcomer : .nobody
    case .hello: return owner(ofHello: frame, phase: head.phase, at: now).map { .moved($0) } ?? .nobody
    case .handshake, .onion, .linked, .open: return .nobody
    }
  }

  private func isOfNetwork(_ frame: PacketBuffer) -> Bool {
    do throws(WireError) {
      var reader = ByteReader(frame.span)
      let discover = try DiscoverFrame(decoding: &reader)
      return discover.network == network && discover.id != configuration.id
    } catch { return false }
  }

  private mutating func owner(ofHello frame: PacketBuffer, phase: UInt8, at now: Instant) -> PortNumber? {
    let p = frame.bytes
    if frame.count < HelloFrame.size { return nil }
    let length = Int(loadBig16(p + HelloFrame.lengthOffset))
    if length < HelloFrame.size || length > frame.count { return nil }
    let low = loadBig32(p + LinkHeader.counter)
    for number in tables.numbers {
      guard let adjacency = tables.record(UInt16(number)), mayHaveMoved(adjacency, at: now) else { continue }
      let key = adjacency.pointee.keys + Int(phase)
      if !key.pointee.isLive || phase != adjacency.pointee.currentPhase { continue }
      let (newest, counter) = (key.pointee.window.highest, key.pointee.window.reconstruct(low: low))
      if counter <= newest || counter - newest > NeighbourLimits.arrivalWindow { continue }
      if !arrivals.takeIfAvailable(at: now) {
        counters.count(.overBudget)
        return nil
      }
      let tag = loadLittle64(p + LinkHeader.tag)
      guard case .authentic = key.pointee.open(p, taggedEnd: length) else { continue }
      storeLittle64(tag, p + LinkHeader.tag)
      adjacency.pointee.nextHello = now
      refreshDeadline()
      return adjacency.pointee.port.pointee.number
    }
    return nil
  }

  private func mayHaveMoved(_ adjacency: AdjacencyPointer, at now: Instant) -> Bool {
    adjacency.pointee.port.pointee.status.medium == .tunnel && adjacency.pointee.hasKey
      && now + hold(of: adjacency) >= adjacency.pointee.hearingUntil + NeighbourLimits.arrivalSilence
  }

  /// Who holds a link key on the port; one that is up before one that is not.
  public func tunnelNeighbour(on number: PortNumber) -> TunnelNeighbour? {
    guard let port = tables.port(number) else { return nil }
    var found: TunnelNeighbour?
    for i in 0..<port.pointee.neighbourCount {
      guard let each = port.pointee.records[i], each.pointee.hasKey else { continue }
      if found == nil || each.pointee.isUp { found = TunnelNeighbour(id: each.pointee.id, isUp: each.pointee.isUp) }
    }
    return found
  }
}
