// Tunnels in the loop: datagrams come in as frames of their peer's port; who is not known is judged by the node, within
// bounds; once a second routes, places and sockets are looked at.

import CSystem
import Core
import Wire

extension Loop where Node: ~Copyable {
  /// `drain` is made to be inlined where frames pass at line rate; it is large.
  @inline(never)
  private mutating func drainApart(at now: Instant) { drain(at: now) }

  private var bearerIndex: Int32 { mutating get { bearer?.view.index ?? 0 } }

  /// Once, when the ports are known.
  @inline(never)
  mutating func startTunnels(at now: Instant) throws(SystemError) {
    guard let tunnels else { return }
    for family in 0..<2 { try watchTunnelSocket(family) }
    for peer in tunnels.configuration.peers {
      _ = tunnels.add(TunnelAddress(peer.endpoint), configured: peer.endpoint, cost: peer.cost, at: now, &ports)
    }
    if let listener = tunnels.configuration.listener {
      let address = listener.address.map { $0.text } ?? "port \(Int(listener.port))"
      log.record(.notice, "tunnels are listened for on \(address)")
    }
    tendTunnels(at: now)
  }

  private func watchTunnelSocket(_ family: Int) throws(SystemError) {
    guard let descriptor = tunnels?.sockets[family]?.descriptor else { return }
    try SystemError.check(
      cs_epoll_add(epoll, descriptor, CS_READABLE, Source.tunnel.tag(family)), "watch a tunnels' socket")
  }

  @inline(never)
  mutating func noteTunnel(_ family: Int, _ readiness: UInt32) {
    guard let tunnels, family < 2, let socket = tunnels.sockets[family] else { return }
    if readiness & (CS_READABLE | CS_BROKEN) != 0 { tunnels.sockets[family]?.isReadable = true }
    if readiness & CS_WRITABLE != 0 && socket.waitsForRoom { flushTunnels(family) }
  }

  var tunnelsAreReadable: Bool {
    guard let tunnels else { return false }
    return tunnels.sockets[0]?.isReadable ?? false || tunnels.sockets[1]?.isReadable ?? false
  }

  // MARK: Receiving

  /// One batch of each socket.
  @inline(never)
  mutating func receiveFromTunnels() {
    guard let tunnels else { return }
    for family in 0..<2 {
      guard let socket = tunnels.sockets[family], socket.isReadable else { continue }
      switch tunnels.received.receive(from: socket.descriptor) {
      case .frames(let count, let mayBeMore):
        tunnels.sockets[family]?.isReadable = mayBeMore
        for place in 0..<count { takeDatagram(place, tunnels) }
        flush()
      case .wasted(let count):
        tunnels.counters.noBuffer &+= UInt64(count)
        tunnels.sockets[family]?.isReadable = count == ReceiveBatch.size
      case .refused: tunnels.sockets[family]?.isReadable = false
      }
    }
  }

  @inline(never)
  private mutating func takeDatagram(_ position: Int, _ tunnels: TunnelTable) {
    guard let (frame, address) = tunnels.received.takeDatagram(position) else { return }
    let now = Process.now
    guard let place = place(of: frame, from: address, tunnels, at: now) else {
      pool.give(frame)
      return
    }
    tunnels.places[place].counters.received &+= 1
    tunnels.places[place].counters.receivedBytes &+= UInt64(truncatingIfNeeded: frame.count)
    tunnels.places[place].heardAt = now
    if !Node.isSignOfLife(frame) { gathering.noteWork(at: now) }
    node.receive(frame, on: tunnels.places[place].number, from: .tunnelEnd, at: now)
    drainApart(at: now)
  }

  /// The tunnel a datagram belongs to; a newcomer's is made. Nil when it is nobody's.
  @inline(never)
  private mutating func place(
    of frame: PacketBuffer, from address: TunnelAddress, _ tunnels: TunnelTable, at now: Instant
  ) -> Int? {
    if address.interface == bearerIndex && bearerIndex > 0 {
      tunnels.counters.overBearer &+= 1
      return nil
    }
    let known = tunnels.find(address.remote)
    if let known {
      if tunnels.places[known].neighbour == nil { askAfter(known, tunnels) }
      let isConfigured = tunnels.places[known].configured != nil
      // The address of ours that a peer speaks to may change until its link is up; then others could say so too.
      if !isConfigured && tunnels.places[known].neighbour?.isUp != true {
        tunnels.places[known].address.local = address.local
      }
      if isConfigured || tunnels.places[known].neighbour != nil { return known }
    }
    switch node.judgeArrival(frame, at: now) {
    case .moved(let number):
      guard let place = ports.tunnel(of: number), place != known else { return known }
      // It said here who it is before anything showed that it is a peer that moved.
      if let known { removeTunnel(known, tunnels, at: now) }
      move(place, to: address, tunnels, at: now)
      return place
    case .newcomer: return known ?? admit(address, tunnels, at: now)
    case .nobody:
      if known == nil { tunnels.counters.strangers &+= 1 }
      return known
    }
  }

  @inline(never)
  private mutating func askAfter(_ place: Int, _ tunnels: TunnelTable) {
    let isNew = tunnels.places[place].neighbour == nil
    tunnels.places[place].neighbour = node.tunnelNeighbour(on: tunnels.places[place].number)
    if isNew && tunnels.places[place].neighbour != nil && tunnels.places[place].configured == nil {
      tunnels.places[place].isSettled = false
      tunnels.report(place)
      takeTunnelNotes()
    }
  }

  @inline(never)
  private mutating func move(_ place: Int, to address: TunnelAddress, _ tunnels: TunnelTable, at now: Instant) {
    let before = tunnels.places[place].address.remote.text
    log.record(
      .notice, "\(tunnels.places[place].name): its peer is at \(address.remote.text) now, it was at \(before)")
    tunnels.places[place].address = address
    // The route chooses for those that were configured, as before.
    if tunnels.places[place].configured != nil { tunnels.places[place].address.local = Bytes16() }
    tunnels.counters.moved &+= 1
    look(place, tunnels, at: now)
  }

  @inline(never)
  private mutating func admit(_ address: TunnelAddress, _ tunnels: TunnelTable, at now: Instant) -> Int? {
    guard let listener = tunnels.configuration.listener,
      tunnels.sockets[address.remote.isIPv6 ? 1 : 0]?.listens == true
    else {
      tunnels.counters.strangers &+= 1
      return nil
    }
    if !address.remote.isUsable || tunnels.configuration.isExcluded(address.remote) {
      tunnels.counters.overBearer &+= 1
      return nil
    }
    for place in 0..<tunnels.end where tunnels.places[place].isUsed { askAfter(place, tunnels) }
    var room = tunnels.room(at: now)
    if room == .free && ports.count + tunnels.usedCount >= TunnelLimits.ports { room = .none }
    if room == .none || !tunnels.newcomers.takeIfAvailable(at: now) {
      tunnels.counters.noPlace &+= 1
      return nil
    }
    if case .instead(let victim) = room { removeTunnel(victim, tunnels, at: now) }
    guard let place = tunnels.add(address, configured: nil, cost: listener.cost, at: now, &ports) else { return nil }
    look(place, tunnels, at: now)
    return place
  }

  @inline(never)
  private mutating func removeTunnel(_ place: Int, _ tunnels: TunnelTable, at now: Instant) {
    tunnels.remove(place)
    node.portVanished(tunnels.places[place].number, at: now)
    drainApart(at: now)
  }

  // MARK: Sending

  @inline(never)
  mutating func transmit(_ frame: PacketBuffer, toTunnel place: Int, _ tunnels: TunnelTable) {
    let family = tunnels.places[place].address.remote.isIPv6 ? 1 : 0
    guard let socket = tunnels.sockets[family], tunnels.places[place].isUsed, tunnels.places[place].obstacle == nil
    else {
      tunnels.places[place].counters.sendFailed &+= 1
      pool.give(frame)
      return
    }
    if !socket.waitsForRoom && socket.waiting >= ReceiveBatch.size { flushTunnels(family) }
    // A socket that stands still must not hold the buffers that the others receive with.
    let isShort = socket.waitsForRoom && pool.freeCount < LoopLimits.reservedBuffers
    if isShort || tunnels.sockets[family]?.enqueue(frame, for: place) != true {
      tunnels.places[place].counters.queueDropped &+= 1
      pool.give(frame)
    }
  }

  @inline(never)
  mutating func flushTunnels() {
    guard let tunnels else { return }
    for family in 0..<2 {
      if let socket = tunnels.sockets[family], socket.waiting > 0, !socket.waitsForRoom { flushTunnels(family) }
    }
  }

  @inline(never)
  private func flushTunnels(_ family: Int) {
    guard let tunnels, let before = tunnels.sockets[family] else { return }
    tunnels.flush(family, pool)
    let waits = tunnels.sockets[family]?.waitsForRoom ?? false
    if waits != before.waitsForRoom {
      let interest = waits ? CS_READABLE | CS_WRITABLE : CS_READABLE
      _ = cs_epoll_change(epoll, before.descriptor, interest, Source.tunnel.tag(family))
    }
  }

  /// A packet of the kernel's for the management device that is a tunnel's own datagram: the route to a peer leads there.
  @inline(never)
  func isTunnelsOwn(_ packet: UnsafeMutableRawBufferPointer) -> Bool {
    guard let tunnels, tunnels.isOwn(packet) else { return false }
    tunnels.counters.overBearer &+= 1
    tunnels.hasten()
    return true
  }

  // MARK: Once a second

  @inline(never)
  mutating func tendTunnels(at now: Instant) {
    guard let tunnels else { return }
    tunnels.ticked(at: now)
    for family in tunnels.reopen(at: now) {
      do throws(SystemError) { try watchTunnelSocket(family) } catch { log.record(.error, error.reason) }
    }
    for place in 0..<tunnels.end where tunnels.places[place].isUsed {
      askAfter(place, tunnels)
      tend(place, tunnels, at: now)
    }
    if let surplus = tunnels.surplus() { removeTunnel(surplus, tunnels, at: now) }
    takeTunnelNotes()
    flush()
  }

  private mutating func tend(_ place: Int, _ tunnels: TunnelTable, at now: Instant) {
    let each = tunnels.places[place]
    if each.configured == nil && each.neighbour == nil && now >= each.heardAt + TunnelLimits.silence {
      removeTunnel(place, tunnels, at: now)
      return
    }
    if let home = each.configured, home != each.address.remote, each.neighbour?.isUp != true,
      now >= each.heardAt + TunnelLimits.homesickness
    {
      tunnels.places[place].address = TunnelAddress(home)
      log.record(.notice, "\(each.name): its peer is lost; it is sought at \(home.text) again")
    }
    look(place, tunnels, at: now)
  }

  /// Finds the way, and tells the node where that changes its port.
  @inline(never)
  private mutating func look(_ place: Int, _ tunnels: TunnelTable, at now: Instant) {
    let isNew = tunnels.places[place].bornAt == now
    let changed = tunnels.look(place, bearer: bearerIndex)
    tunnels.report(place)
    takeTunnelNotes()
    guard changed || isNew else { return }
    node.portChanged(tunnels.places[place].number, tunnels.places[place].status, at: now)
    drainApart(at: now)
  }

  @inline(never)
  func takeTunnelNotes() {
    guard let tunnels, !tunnels.notes.isEmpty else { return }
    for (level, text) in tunnels.notes { log.record(level, text) }
    tunnels.notes.removeAll()
  }

  @inline(never)
  func closeTunnels() {
    guard let tunnels else { return }
    for family in 0..<2 {
      tunnels.sockets[family]?.close(returningTo: pool)
      tunnels.sockets[family] = nil
    }
  }
}
