// The tunnels of a node: their sockets, one a family, and the places of their peers. Configured peers have places of
// their own for ever. A listener's peers share 32 more, of which those that have not proved themselves get 8: a stranger,
// or many, can keep other newcomers waiting, and nobody else.

import CSystem
import Core
import Wire

public final class TunnelTable {
  static let limit = TunnelPeer.limit + TunnelLimits.learned

  let configuration: TunnelConfiguration
  /// 48 × about 300 B. Those below `end` are initialized.
  let places: UnsafeMutablePointer<TunnelPlace>
  private(set) var end = 0
  /// IPv4's, then IPv6's.
  var sockets: InlineArray<2, TunnelSocket?> = [nil, nil]
  var received: ReceiveBatch
  let sending: OpaquePointer
  private let requests: NetlinkSocket?
  var counters = TunnelCounters()
  /// What the log is to be told.
  var notes: [(LogLevel, String)] = []
  var newcomers = TokenBucket(rate: TunnelLimits.newcomersPerSecond, burst: TunnelLimits.newcomersPerSecond)
  var nextTick: Instant?
  private var lastTick = Instant.zero
  private var reopenAt = Instant.zero
  private var openingFailed = [false, false]
  private var lastFound = 0

  /// Opens the sockets: while the process may still bind any port.
  @inline(never)
  public init(_ configuration: TunnelConfiguration, pool: PacketPool) {
    self.configuration = configuration
    places = .allocate(capacity: TunnelTable.limit)
    received = ReceiveBatch(pool: pool, datagrams: true)
    sending = cs_batch_create_addressed()!
    do throws(SystemError) {
      requests = try NetlinkSocket(NetlinkSocket.route, nonblocking: false, action: "open netlink")
    } catch { requests = nil }
    openSockets(at: .zero)
  }

  deinit {
    places.deinitialize(count: end)
    places.deallocate()
    cs_batch_destroy(sending)
  }

  // MARK: Sockets

  private func isWanted(isIPv6: Bool) -> Bool {
    if configuration.peers.contains(where: { $0.endpoint.isIPv6 == isIPv6 }) { return true }
    return listens(isIPv6: isIPv6)
  }

  private func listens(isIPv6: Bool) -> Bool {
    guard let listener = configuration.listener else { return false }
    return listener.address.map { $0.isIPv6 == isIPv6 } ?? true
  }

  /// Opens those that are wanted and not open. Tunnels are sent from the port that is listened on, so that two nodes
  /// behind translators that keep ports reach each other when each sends to the other.
  @inline(never)
  private func openSockets(at now: Instant) {
    for family in 0..<2 where sockets[family] == nil && isWanted(isIPv6: family == 1) {
      let listens = listens(isIPv6: family == 1)
      do throws(SystemError) {
        sockets[family] = try TunnelSocket(
          isIPv6: family == 1, address: listens ? configuration.listener?.address : nil,
          port: listens ? configuration.listener?.port ?? 0 : 0, listens: listens)
        if openingFailed[family] { notes.append((.notice, "tunnels: the UDP socket is open now")) }
        openingFailed[family] = false
      } catch {
        // A kernel without IPv6 is no fault where nobody asked for it.
        let isOptional = family == 1 && error.code == 97 && configuration.listener?.address == nil
        let level = isOptional && !configuration.peers.contains { $0.endpoint.isIPv6 } ? LogLevel.debug : .error
        if !openingFailed[family] {
          notes.append((level, "tunnels: cannot \(error.reason); tried again every 10 s"))
        }
        openingFailed[family] = true
        reopenAt = now + TunnelLimits.reopenAfter
      }
    }
  }

  /// Tries again what could not be opened. The families that are new.
  func reopen(at now: Instant) -> [Int] {
    if now < reopenAt || !(openingFailed[0] || openingFailed[1]) { return [] }
    let before = [sockets[0] == nil, sockets[1] == nil]
    openSockets(at: now)
    return [0, 1].filter { before[$0] && sockets[$0] != nil }
  }

  func family(of endpoint: InternetEndpoint) -> Int { endpoint.isIPv6 ? 1 : 0 }

  // MARK: Places

  /// A place that is not used by anybody, with a number of its own; numbers stay with places.
  func add(
    _ address: TunnelAddress, configured: InternetEndpoint?, cost: UInt16, at now: Instant, _ ports: inout PortTable
  ) -> Int? {
    let base = configured == nil ? configuration.peers.count : 0
    var place = base
    while place < end && places[place].isUsed { place += 1 }
    if place == (configured == nil ? base + TunnelLimits.learned : TunnelPeer.limit) { return nil }
    let number: PortNumber
    if place < end {
      number = places[place].number
    } else {
      number = ports.takeNumber(forTunnel: place)
    }
    let name = configured == nil ? "tunnel-in\(place - base + 1)" : "tunnel\(place + 1)"
    var fresh = TunnelPlace(number: number, name: name, configured: configured, address: address, cost: cost)
    fresh.bornAt = now
    fresh.heardAt = now
    if place < end { places[place] = fresh } else { (places + place).initialize(to: fresh) }
    end = max(end, place + 1)
    return place
  }

  func remove(_ place: Int) { places[place].isUsed = false }

  // MARK: Time

  func ticked(at now: Instant) {
    lastTick = now
    nextTick = now + TunnelLimits.tick
  }

  /// Something shows that a route has changed.
  func hasten() { nextTick = earlier(nextTick, lastTick + TunnelLimits.hurry) }

  func flush(_ family: Int, _ pool: PacketPool) {
    sockets[family]?.flush(sending, pool, places)
    for place in 0..<end where places[place].wantsLook { hasten() }
  }

  /// The place of the peer that is at this address.
  @inline(__always)
  func find(_ remote: InternetEndpoint) -> Int? {
    if lastFound < end && places[lastFound].isUsed && places[lastFound].address.remote == remote { return lastFound }
    for place in 0..<end where places[place].isUsed && places[place].address.remote == remote {
      lastFound = place
      return place
    }
    return nil
  }

  var usedCount: Int {
    var count = 0
    for place in 0..<end where places[place].isUsed { count += 1 }
    return count
  }

  /// Whether another newcomer finds room, and who goes for it.
  enum Room: Equatable {
    case free
    case instead(of: Int)
    case none
  }

  /// Neighbours have just been asked after.
  func room(at now: Instant) -> Room {
    var (learned, unproved) = (0, 0)
    var victim: Int?
    for i in 0..<end where places[i].isUsed && places[i].configured == nil {
      learned += 1
      if places[i].neighbour != nil { continue }
      unproved += 1
      let isPatient =
        now < places[i].heardAt + TunnelLimits.unprovedPatience && now < places[i].bornAt + TunnelLimits.unprovedAge
      if isPatient { continue }
      if victim.map({ places[i].heardAt < places[$0].heardAt }) ?? true { victim = i }
    }
    if unproved < TunnelLimits.unproved && learned < TunnelLimits.learned { return .free }
    return victim.map { .instead(of: $0) } ?? .none
  }

  /// One who has more places than a member may have: the one of them that was not heard for the longest time.
  func surplus() -> Int? {
    for i in 0..<end where places[i].isUsed && places[i].configured == nil {
      guard let id = places[i].neighbour?.id else { continue }
      var (count, silent) = (0, i)
      for j in 0..<end where places[j].isUsed && places[j].configured == nil && places[j].neighbour?.id == id {
        count += 1
        if places[j].heardAt < places[silent].heardAt { silent = j }
      }
      if count > TunnelLimits.perMember { return silent }
    }
    return nil
  }

  /// Finds the way to the peer. True when that changes the port.
  @inline(never)
  func look(_ place: Int, bearer: Int32) -> Bool {
    let remote = places[place].address.remote
    let before = places[place].status
    if configuration.isExcluded(remote) {
      places[place].setObstacle(.managementPrefix)
    } else if let socket = sockets[family(of: remote)], let requests {
      return places[place].take(TunnelRoute.find(remote, from: socket.port, requests), bearer: bearer)
    } else {
      places[place].setObstacle(.noSocket)
    }
    return places[place].status != before
  }

  /// Says how a configured tunnel stands, once for each change. Those of strangers say nothing.
  @inline(never)
  func report(_ place: Int) {
    if places[place].isSettled { return }
    places[place].isSettled = true
    if places[place].configured == nil && places[place].neighbour == nil { return }
    let (name, peer) = (places[place].name, places[place].address.remote.text)
    if let obstacle = places[place].obstacle {
      notes.append((.warning, "\(name) to \(peer) is not used: \(obstacle.text)"))
    } else {
      notes.append((.notice, "\(name) to \(peer) is used: frames of \(places[place].status.frameSize) bytes"))
    }
  }

  /// Whether a packet that the kernel sent over the management device is a tunnel's datagram. Bytes as the device gives
  /// them: a virtio header, then the packet.
  func isOwn(_ packet: UnsafeMutableRawBufferPointer) -> Bool {
    let at = VirtioNetHeader.size
    guard packet.count >= at + 28 else { return false }
    let isIPv6 = packet[at] >> 4 == 6
    guard let socket = sockets[isIPv6 ? 1 : 0] else { return false }
    let header = isIPv6 ? 40 : Int(packet[at] & 15) * 4
    guard packet[at + (isIPv6 ? 6 : 9)] == IPProtocol.udp, packet.count >= at + header + 4 else { return false }
    if UInt16(packet[at + header]) << 8 | UInt16(packet[at + header + 1]) != socket.port { return false }
    let (start, size) = isIPv6 ? (at + 24, 16) : (at + 16, 4)
    for i in 0..<end where places[i].isUsed && places[i].address.remote.isIPv6 == isIPv6 {
      let isSame = places[i].address.remote.address.withBytes { bytes in
        (0..<size).allSatisfy { packet[start + $0] == bytes[$0] }
      }
      if isSame { return true }
    }
    return false
  }
}

/// Datagrams, unless the name says otherwise.
struct TunnelCounters {
  /// From addresses of nobody, and nothing that would make them somebody's.
  var strangers: UInt64 = 0
  /// Newcomers that found no place, or came too fast.
  var noPlace: UInt64 = 0
  /// Peers that were found at another address.
  var moved: UInt64 = 0
  /// Sent towards, or received over, the management device: dropped.
  var overBearer: UInt64 = 0
  var noBuffer: UInt64 = 0
}
