// What each hop does with an ONION frame: open its entry, check the MAC and the replay window, and only then act.
// Keys of routes that proved authentic are kept in a fixed table; a route that did not leaves no trace.

import Core
import Crypto

/// Why a frame was refused at this hop.
public enum OnionRefusal: UInt8, Sendable, CaseIterable {
  case short, unknownClass, noKey, wrongMAC, replayed, noPlace

  /// As `lifeline ctl` shows it.
  public var name: StaticString {
    switch self {
    case .short: "short"
    case .unknownClass: "unknownClass"
    case .noKey: "noKey"
    case .wrongMAC: "wrongMac"
    case .replayed: "replayed"
    case .noPlace: "noPlace"
    }
  }
}

public enum OnionVerdict: Equatable {
  /// The header is ready for the next hop; send it on this adjacency.
  case forward(egress: UInt16, class: OnionClass)
  /// The frame ends here.
  case deliver(class: OnionClass, route: UInt32)
  case refused(OnionRefusal)
}

/// One node's hop keys: a slot an MA, 16 at most.
public struct OnionRelay: ~Copyable {
  private struct Slot {
    var current: Bytes32?
    var previous: Bytes32?
    /// The key to come: routes may be laid under it already.
    var next: Bytes32?
    /// Until then routes unknown so far may still be laid under the previous key.
    var previousEnds = Instant.never
    /// Until then routes known under older keys are good.
    var oldRoutesEnd = Instant.never
    /// Number of the current key; the one before it is the previous key's, the one behind it the next one's.
    var generation: UInt16 = 0

    var deadline: Instant { min(previousEnds, oldRoutesEnd) }

    mutating func erase() {
      current?.erase()
      previous?.erase()
      next?.erase()
    }
  }

  /// How long routes unknown so far may be laid under the key before.
  public static let keyOverlap = Duration.seconds(10)
  /// How long routes known under older keys stay good; by then an MA has long laid others.
  public static let routeOverlap = Duration.seconds(60)

  private let inPlace = InPlace()
  private var slots = InlineArray<16, Slot>(repeating: Slot())
  var table: RouteTable
  private var cache = StreamCache()
  private var refusals = InlineArray<6, UInt64>(repeating: 0)
  /// When a key or routes under one are to be forgotten; `never` when there are none.
  public private(set) var nextDeadline = Instant.never

  /// - Parameters:
  ///   - routeLimit: routes kept, see `RouteTable`.
  ///   - seed: random; where routes stand in the table depends on it.
  public init(routeLimit: Int = RouteTable.defaultLimit, seed: UInt32 = 0) {
    table = RouteTable(limit: routeLimit, seed: seed)
  }

  // Without one of its own, Embedded Swift looks for the members' deinits in the module that uses this one.
  deinit {}

  public var routeCount: Int { table.count }
  public var routesEvicted: UInt64 { table.evicted }
  public var routesForgotten: UInt64 { table.forgotten }
  /// Frames refused, by `OnionRefusal`.
  public var refused: [UInt64] { refusals.indices.map { refusals[$0] } }

  /// Gives the key K_i this node shares with an MA. The one before stays good for 10 s, and for 60 s for routes in use.
  public mutating func setKey(_ key: Bytes32, authority: Int, at now: Instant) {
    var slot = slots[authority & 15]
    let generation = slot.generation &+ 1
    let old = slot.current
    slot.erase()
    slots[authority & 15] = Slot(
      current: key, previous: old, previousEnds: old == nil ? .never : now + OnionRelay.keyOverlap,
      oldRoutesEnd: old == nil ? .never : now + OnionRelay.routeOverlap, generation: generation)
    setDeadline()
  }

  /// Gives the key that will take the place of the present one: from now on routes may be laid under either.
  public mutating func setNextKey(_ key: Bytes32?, authority: Int) {
    slots[authority & 15].next?.erase()
    slots[authority & 15].next = key
  }

  /// The next key takes the present one's place.
  public mutating func useNextKey(authority: Int, at now: Instant) {
    guard let next = slots[authority & 15].next else { return }
    setKey(next, authority: authority, at: now)
  }

  /// Forgets an MA's keys and routes, at once.
  public mutating func removeKey(authority: Int) {
    slots[authority & 15].erase()
    slots[authority & 15] = Slot()
    table.removeAll(authority: authority)
    setDeadline()
  }

  /// Forgets what has had its time: keys that were replaced, and the routes laid under them.
  public mutating func expireKeys(at now: Instant) {
    guard nextDeadline <= now else { return }
    for i in slots.indices where slots[i].deadline <= now {
      if slots[i].previousEnds <= now {
        slots[i].previous?.erase()
        slots[i].previous = nil
        slots[i].previousEnds = .never
      }
      if slots[i].oldRoutesEnd <= now {
        table.removeAll(authority: i, olderThan: slots[i].generation)
        slots[i].oldRoutesEnd = .never
      }
    }
    setDeadline()
  }

  private mutating func setDeadline() {
    nextDeadline = .never
    for i in slots.indices { nextDeadline = min(nextDeadline, slots[i].deadline) }
  }

  /// Checks and opens one layer of `frame`, whose link header was taken off already; the frame is changed only when
  /// the verdict is not a refusal (the MAC field apart).
  public mutating func process(
    _ frame: borrowing PacketBuffer, size: OnionSize, ingress: UInt16, at now: Instant
  ) -> OnionVerdict {
    let p = frame.bytes
    guard frame.count >= size.endToEnd else { return refuse(.short) }
    guard let onionClass = OnionClass(byte: p[OnionLayout.classByte]) else { return refuse(.unknownClass) }
    let route = load(p + OnionLayout.route)
    let counter = load(p + OnionLayout.counter)
    let mac = loadMAC(p + OnionLayout.mac)
    if let index = table.find(route: route, authority: onionClass.authority) {
      let record = table.record(index)
      if record.pointee.ingress == ingress, record.pointee.sizeCode == size.code {
        let stream = cache.stream(index, record, size: size, counter: counter)
        if hiddenEgress(p, stream) ^ record.pointee.egressPad == record.pointee.egress,
          onionMAC(p, size: size, key: record.pointee.macKey) == mac
        {
          record.pointee.lastUsed = now.nanoseconds
          guard record.pointee.window.accept(UInt64(counter)) else { return refuse(.replayed) }
          takeOff(p, size: size, stream: stream)
          return verdict(record.pointee.egress, onionClass, route)
        }
      }
      // Under a newer key than the one it is known by, the same number may name another route.
      if record.pointee.keyGeneration == slots[onionClass.authority].generation { return refuse(.wrongMAC) }
    }
    return processUnknown(p, size, route, counter, mac, ingress, onionClass, now)
  }

  /// The first frame of a route: under the current key, the one to come, or for a while the one before.
  @inline(never)
  private mutating func processUnknown(
    _ p: UnsafeMutablePointer<UInt8>, _ size: OnionSize, _ route: UInt32, _ counter: UInt32, _ mac: UInt64,
    _ ingress: UInt16, _ onionClass: OnionClass, _ now: Instant
  ) -> OnionVerdict {
    let slot = slots[onionClass.authority]
    guard let current = slot.current else { return refuse(.noKey) }
    if let verdict = tryKey(current, slot.generation, p, size, route, counter, mac, ingress, onionClass, now) {
      return verdict
    }
    if let next = slot.next,
      let verdict = tryKey(next, slot.generation &+ 1, p, size, route, counter, mac, ingress, onionClass, now)
    {
      return verdict
    }
    if let previous = slot.previous, now < slot.previousEnds,
      let verdict = tryKey(previous, slot.generation &- 1, p, size, route, counter, mac, ingress, onionClass, now)
    {
      return verdict
    }
    return refuse(.wrongMAC)
  }

  /// Derives the hop's share in the route and checks; remembers it only when the frame is authentic. Nil when it is not.
  private mutating func tryKey(
    _ key: Bytes32, _ generation: UInt16, _ p: UnsafeMutablePointer<UInt8>, _ size: OnionSize, _ route: UInt32,
    _ counter: UInt32, _ mac: UInt64, _ ingress: UInt16, _ onionClass: OnionClass, _ now: Instant
  ) -> OnionVerdict? {
    guard counter != 0 else { return nil }
    let entryKey = OnionKeys.entry(key, route)
    let stream = cache.singleStream(entryKey, size: size, counter: counter)
    let pad = OnionKeys.egressPad(key, route)
    let egress = hiddenEgress(p, stream) ^ pad
    let macKey = OnionKeys.mac(key, route, ingress: ingress, egress: egress)
    guard onionMAC(p, size: size, key: macKey) == mac else { return nil }
    guard
      let index = table.insert(
        route: route, authority: onionClass.authority, keyGeneration: generation, size: size, entryKey: entryKey,
        macKey: macKey, egressPad: pad, ingress: ingress, egress: egress, at: now)
    else { return refuse(.noPlace) }
    _ = table.record(index).pointee.window.accept(UInt64(counter))
    takeOff(p, size: size, stream: stream)
    return verdict(egress, onionClass, route)
  }

  @inline(__always)
  private func hiddenEgress(_ p: UnsafeMutablePointer<UInt8>, _ stream: UnsafePointer<UInt8>) -> UInt16 {
    loadShort(p + OnionLayout.entries) ^ loadShort(stream)
  }

  /// Puts the next hop's MAC in place, takes this hop's entry off and fills up behind.
  @inline(__always)
  func takeOff(_ p: UnsafeMutablePointer<UInt8>, size: OnionSize, stream: UnsafePointer<UInt8>) {
    let entries = p + OnionLayout.entries
    storeXOR(p + OnionLayout.mac, entries + 2, stream + 2)
    unwrap(entries, size: size, stream: stream)
  }

  @inline(__always)
  private func verdict(_ egress: UInt16, _ onionClass: OnionClass, _ route: UInt32) -> OnionVerdict {
    egress == deliverHere
      ? .deliver(class: onionClass, route: route) : .forward(egress: egress, class: onionClass)
  }

  @inline(never)
  private mutating func refuse(_ reason: OnionRefusal) -> OnionVerdict {
    refusals[Int(reason.rawValue)] &+= 1
    return .refused(reason)
  }
}

/// The counter that an ONION frame's header carries.
public func onionCounter(of frame: borrowing PacketBuffer) -> UInt32 { load(frame.bytes + OnionLayout.counter) }
