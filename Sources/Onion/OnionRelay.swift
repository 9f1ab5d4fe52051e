// What each hop does with an ONION frame: open its entry, check the MAC and the replay window, and only then act.
// Keys of routes that proved authentic are kept in a fixed table; a route that did not leaves no trace.

import Core
import Crypto

/// Why a frame was refused at this hop.
public enum OnionRefusal: UInt8, Sendable, CaseIterable {
  case short, unknownClass, noKey, wrongMAC, replayed

  /// As `lifeline ctl` shows it.
  public var name: StaticString {
    switch self {
    case .short: "short"
    case .unknownClass: "unknown-class"
    case .noKey: "no-key"
    case .wrongMAC: "wrong-mac"
    case .replayed: "replayed"
    }
  }
}

public enum OnionVerdict {
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
    /// Until then routes unknown so far may still be laid under the previous key.
    var previousEnds = Instant.zero
  }
  private var slots = [Slot](repeating: Slot(), count: 16)
  private var table: RouteTable
  private let stream: UnsafeMutablePointer<UInt8>
  public private(set) var refused = [UInt64](repeating: 0, count: OnionRefusal.allCases.count)

  public init(routeLimit: Int = RouteTable.defaultLimit) {
    table = RouteTable(limit: routeLimit)
    stream = .allocate(capacity: OnionLayout.entrySize * 65)
  }

  deinit { stream.deallocate() }

  public var routeCount: Int { table.count }
  public var routesEvicted: UInt64 { table.evicted }

  /// Gives the key K_i this node shares with an MA. The one before stays good for routes in use, and for 10 s for others.
  public mutating func setKey(_ key: Bytes32, authority: Int, at now: Instant) {
    slots[authority & 15].previous = slots[authority & 15].current
    slots[authority & 15].current = key
    slots[authority & 15].previousEnds = now + .seconds(10)
  }

  /// Forgets an MA's keys and routes, at once.
  public mutating func removeKey(authority: Int) {
    slots[authority & 15] = Slot()
    table.removeAll(authority: authority)
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
    let streamSize = OnionLayout.entrySize * (size.entries + 1)
    if let known = table.find(route: route, authority: onionClass.authority) {
      StreamCipher.keystream(stream, count: streamSize, key: table.entryKey(known), nonce: UInt64(counter))
      let egress = hiddenEgress(p) ^ table.egressPad(known)
      guard table.ingress(known) == ingress, table.egress(known) == egress,
        onionMAC(p, size: size, key: table.macKey(known)) == mac
      else { return refuse(.wrongMAC) }
      guard table.accept(known, counter: counter, at: now) else { return refuse(.replayed) }
      shift(p, size: size)
      return verdict(egress, onionClass, route)
    }
    let slot = slots[onionClass.authority]
    guard let current = slot.current else { return refuse(.noKey) }
    if let egress = tryKey(current, p, size, route, counter, mac, ingress, onionClass, now) {
      return verdict(egress, onionClass, route)
    }
    if let previous = slot.previous, now < slot.previousEnds,
      let egress = tryKey(previous, p, size, route, counter, mac, ingress, onionClass, now)
    {
      return verdict(egress, onionClass, route)
    }
    return refuse(.wrongMAC)
  }

  /// The first frame of a route: derive, check, and remember only when it is authentic.
  private mutating func tryKey(
    _ key: Bytes32, _ p: UnsafeMutablePointer<UInt8>, _ size: OnionSize, _ route: UInt32, _ counter: UInt32,
    _ mac: UInt64, _ ingress: UInt16, _ onionClass: OnionClass, _ now: Instant
  ) -> UInt16? {
    let entryKey = OnionKeys.entry(key, route)
    StreamCipher.keystream(
      stream, count: OnionLayout.entrySize * (size.entries + 1), key: entryKey, nonce: UInt64(counter))
    let pad = OnionKeys.egressPad(key, route)
    let egress = hiddenEgress(p) ^ pad
    let macKey = OnionKeys.mac(key, route, ingress: ingress, egress: egress)
    guard counter != 0, onionMAC(p, size: size, key: macKey) == mac else { return nil }
    let index = table.insert(
      route: route, authority: onionClass.authority, entryKey: entryKey, macKey: macKey, egressPad: pad,
      ingress: ingress, egress: egress, at: now)
    _ = table.accept(index, counter: counter, at: now)
    shift(p, size: size)
    return egress
  }

  @inline(__always)
  private func hiddenEgress(_ p: UnsafeMutablePointer<UInt8>) -> UInt16 {
    UInt16(p[OnionLayout.entries] ^ stream[0]) << 8 | UInt16(p[OnionLayout.entries + 1] ^ stream[1])
  }

  /// Takes this hop's entry off and fills up behind.
  @inline(__always)
  private func shift(_ p: UnsafeMutablePointer<UInt8>, size: OnionSize) {
    let entries = p + OnionLayout.entries
    let entrySize = OnionLayout.entrySize
    let entryBytes = entrySize * size.entries
    for j in 0..<8 { p[OnionLayout.mac + j] = entries[2 + j] ^ stream[2 + j] }
    var j = 0
    while j < entryBytes - entrySize {
      entries[j] = entries[j + entrySize] ^ stream[j + entrySize]
      j += 1
    }
    while j < entryBytes {
      entries[j] = stream[j + entrySize]
      j += 1
    }
  }

  private func verdict(_ egress: UInt16, _ onionClass: OnionClass, _ route: UInt32) -> OnionVerdict {
    egress == deliverHere
      ? .deliver(class: onionClass, route: route) : .forward(egress: egress, class: onionClass)
  }

  private mutating func refuse(_ reason: OnionRefusal) -> OnionVerdict {
    refused[Int(reason.rawValue)] &+= 1
    return .refused(reason)
  }
}
