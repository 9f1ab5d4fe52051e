// What a node does when a link is gone (docs/PROTOCOL.md §5, "Repair"). Three stages, each of which is enough for itself:
// a hop takes the detours that the MA has laid and tells the sources of the routes that went that way; a source that is
// told, or whose own link is gone, sends by another of its ways; the MA, told by LSAs, lays others.
//
// A notice is believed from the neighbour to which the route leads, and from nobody else: who is on a route can stop it
// anyway, and can do no more than that by saying that it is broken.

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

/// BROKEN (LINKED subtype 4): a list of MA index 1 and R 4.
struct BrokenRoutes {
  static let entrySize = 5
  /// Entries of a frame: 600 bytes, which every link of use carries.
  static let atOnce = 120
  /// Of a link that fails, the routes used in this time are told at once; the others when a frame comes.
  static let recent = Duration.seconds(10)
  /// A route's source is told again, when frames go on coming, not sooner than this.
  static let pace = Duration.milliseconds(10)
  /// Routes told at once.
  static let limit = 4_096

  /// By the adjacency they go to.
  private(set) var byIngress: [UInt16: [UInt8]] = [:]
  private var count = 0

  mutating func add(_ route: UInt32, authority: Int, to ingress: UInt16) {
    guard count < BrokenRoutes.limit else { return }
    count += 1
    byIngress[ingress, default: []] += [UInt8(truncatingIfNeeded: authority)] + bigEndian(route)
  }
}

extension Node {
  func isUp(_ adjacency: UInt16) -> Bool { neighbour.isUp(adjacency) }

  // MARK: The source

  /// Chooses which of a channel's ways are used now.
  mutating func chooseWays(_ channel: Channel, at now: Instant) {
    let before = channel.ways.main
    channel.ways.choose(at: now) { neighbour.isUp($0) }
    guard let main = channel.ways.main, let before, main !== before else { return }
    counters.waysChanged &+= 1
    // It was losing probes and is left for another reason, and the next may pass what made it lose them.
    if before.probing.lost > 0, !before.isSilent(at: now) { markAsked(channel, at: now) }
    // What is under way went by the other one.
    channel.stream.hurry()
  }

  /// An adjacency is down, or in doubt.
  mutating func linkFailed(_ number: UInt16, at now: Instant) {
    leaveLink(number, at: now)
    var broken = BrokenRoutes()
    relay.forEachRoute(by: number, usedSince: now - BrokenRoutes.recent) { route, authority, ingress in
      broken.add(route, authority: authority, to: ingress)
    }
    tell(broken, at: now)
  }

  /// All channels leave the ways that begin with an adjacency.
  mutating func leaveLink(_ number: UInt16, at now: Instant) {
    for channel in channels where leave(channel, at: now, { $0.egress == number }) { chooseWays(channel, at: now) }
  }

  mutating func linkCame(_ number: UInt16, at now: Instant) {
    for channel in channels where channel.ways.uses(number) { chooseWays(channel, at: now) }
  }

  /// Puts ways in doubt; true when there were some.
  func leave(_ channel: Channel, at now: Instant, _ isMeant: (Way) -> Bool) -> Bool {
    var any = false
    for case let way? in channel.ways.places where isMeant(way) {
      way.callBroken(at: now)
      any = true
    }
    return any
  }

  /// Routes that are broken behind a neighbour: passed on towards their sources, or left.
  mutating func receiveBroken(_ content: UnsafeBufferPointer<UInt8>, on adjacency: UInt16, at now: Instant) {
    guard content.count % BrokenRoutes.entrySize == 0, relayDesk.mayTell(adjacency, at: now) else {
      counters.brokenRefused &+= 1
      return
    }
    var broken = BrokenRoutes()
    var i = 0
    while i < content.count {
      let index = Int(content[i])
      let route = loadBig32(content, i + 1)
      i += BrokenRoutes.entrySize
      if index < 16, let hop = relay.hop(of: route, authority: index) {
        guard hop.egress == adjacency, relay.mayTell(route, authority: index, pace: BrokenRoutes.pace, at: now) else {
          counters.brokenRefused &+= 1
          continue
        }
        broken.add(route, authority: index, to: hop.ingress)
      } else if let channel = source(of: route, authority: index),
        leave(channel, at: now, { $0.builder.route == route && $0.egress == adjacency })
      {
        counters.brokenTold &+= 1
        chooseWays(channel, at: now)
      } else {
        counters.brokenRefused &+= 1
      }
    }
    tell(broken, at: now)
  }

  /// The channel of which this node is the source of a route.
  private func source(of route: UInt32, authority index: Int) -> Channel? {
    if index == authorityIndex { return authority?.forwardRoutes[route].map { channels[Int($0)] } }
    return uplink(index)?.channel
  }

  private mutating func tell(_ broken: BrokenRoutes, at now: Instant) {
    var ingresses: [UInt16] = []
    for (ingress, _) in broken.byIngress { ingresses.append(ingress) }
    ingresses.sort()
    for ingress in ingresses where neighbour.isUp(ingress) {
      let entries = broken.byIngress[ingress] ?? []
      var from = 0
      while from < entries.count {
        let end = min(entries.count, from + BrokenRoutes.atOnce * BrokenRoutes.entrySize)
        sendLink(subtype: LinkSubtype.broken, Array(entries[from..<end]), on: ingress, at: now)
        from = end
      }
    }
  }

  // MARK: The hop

  /// A frame whose next link is down, in doubt or too narrow: its source is told, and it takes a detour where there is
  /// one; over a link in doubt it goes where there is none. Takes the buffer over.
  mutating func routeFailed(
    _ frame: PacketBuffer, _ size: OnionSize, _ onionClass: OnionClass, egress: UInt16, at now: Instant
  ) {
    let index = onionClass.authority
    let route = onionRoute(of: frame)
    let ingress = relay.hop(of: route, authority: index)?.ingress
    if let ingress, relay.mayTell(route, authority: index, pace: BrokenRoutes.pace, at: now) {
      var broken = BrokenRoutes()
      broken.add(route, authority: index, to: ingress)
      tell(broken, at: now)
    }
    if let ingress, let detours = detours[index] {
      if let share = detours.share(of: route), let head = detours.head(egress: egress, onward: share.onward),
        isUsable(head, for: frame), mayDetour(from: ingress, at: now)
      {
        relay.takeOffSuccessor(frame, size: size, share: share)
        // It is another frame now, and of no use on its own way.
        if sendOnion(frame, size: size, label: head.label, on: head.first, at: now) {
          counters.detoursBegun &+= 1
        } else {
          counters.noAdjacency &+= 1
          pool.give(frame)
        }
        return
      }
      if let head = detours.head(egress: egress, onward: 0), isUsable(head, for: frame),
        mayDetour(from: ingress, at: now), sendOnion(frame, size: size, label: head.label, on: head.first, at: now)
      {
        counters.detoursBegun &+= 1
        return
      }
    }
    if sendOnion(frame, size: size, on: egress, at: now) { return }
    counters.noAdjacency &+= 1
    pool.give(frame)
  }

  /// Whether one more frame from an adjacency may go round something: whoever sends there has no more than this.
  private mutating func mayDetour(from ingress: UInt16, at now: Instant) -> Bool {
    detourBudgets[ingress, default: TokenBucket(rate: 20_000, burst: 4_096)].takeIfAvailable(at: now)
  }

  private func isUsable(_ head: DetourHead, for frame: borrowing PacketBuffer) -> Bool {
    frame.count <= Int(head.frameSize) && neighbour.isTrusted(head.first)
  }

  /// A frame with a label: sent on by it, or at the end of its detour the adjacency it counts as having come by. Nil when
  /// it was taken over.
  mutating func followLabel(
    _ frame: PacketBuffer, _ label: UInt16, _ size: OnionSize, on adjacency: UInt16, at now: Instant
  ) -> UInt16? {
    let index = Int(frame.bytes[OnionLayout.classByte] & 15)
    if let detours = detours[index], let step = detours.step(ingress: adjacency, label: label, at: now),
      mayDetour(from: adjacency, at: now)
    {
      if step.egress == 0 { return step.next }
      if sendOnion(frame, size: size, label: step.next, on: step.egress, at: now) {
        counters.detoured &+= 1
        return nil
      }
    }
    counters.labelsRefused &+= 1
    pool.give(frame)
    return nil
  }

  /// Detours and shares that an MA gives.
  mutating func takeDetours(_ body: Span<UInt8>, authority index: Int, at now: Instant) throws(WireError) {
    let part = try DetourPart(decoding: body)
    let table = detours[index] ?? Detours()
    detours[index] = table
    if !table.install(part, at: now) { counters.detoursOverLimit &+= 1 }
  }

  mutating func takeSuccessors(_ body: Span<UInt8>, authority index: Int) throws(WireError) {
    let shares = try SuccessorShare.decode(body)
    let table = detours[index] ?? Detours()
    detours[index] = table
    table.install(shares)
  }
}

private func loadBig32(_ bytes: UnsafeBufferPointer<UInt8>, _ at: Int) -> UInt32 {
  UInt32(bytes[at]) << 24 | UInt32(bytes[at + 1]) << 16 | UInt32(bytes[at + 2]) << 8 | UInt32(bytes[at + 3])
}
