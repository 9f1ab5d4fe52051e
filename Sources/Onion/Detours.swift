// What a hop does for frames whose next link is gone (docs/PROTOCOL.md §5, "Detours"): label-switched paths that an MA
// laid beforehand round each link and each next node, as the bypasses of RFC 4090, and the successor's share of each
// route, without which a hop could not skip a node.

import Core
import Crypto
import Wire

/// What a hop needs to take its successor's layer off: neither the MAC key nor anything of another route.
public struct SuccessorShare: Equatable {
  /// 38 bytes on the wire.
  public static let size = 38
  /// Shares of one SUCCESSORS message.
  public static let atOnce = 400

  public var route: UInt32
  /// e of the successor.
  public var entryKey: Bytes32
  /// The successor's egress.
  public var onward: UInt16

  public init(route: UInt32, entryKey: Bytes32, onward: UInt16) {
    self.route = route
    self.entryKey = entryKey
    self.onward = onward
  }

  /// SUCCESSORS (docs/PROTOCOL.md §7), without the type byte.
  public static func decode(_ bytes: Span<UInt8>) throws(WireError) -> [SuccessorShare] {
    var reader = ByteReader(bytes)
    guard bytes.count % size == 0 else { throw .invalid(field: StaticFieldName("successors length")) }
    var shares: [SuccessorShare] = []
    shares.reserveCapacity(bytes.count / size)
    while reader.remaining > 0 {
      let route = try reader.u32()
      let entryKey = try reader.bytes32()
      shares.append(SuccessorShare(route: route, entryKey: entryKey, onward: try reader.u16()))
    }
    return shares
  }

  public static func encode(_ shares: ArraySlice<SuccessorShare>) -> [UInt8] {
    var writer = ByteWriter(reserving: 1 + shares.count * size)
    writer.u8(ControlType.successors.rawValue)
    for share in shares {
      writer.u32(share.route)
      writer.bytes32(share.entryKey)
      writer.u16(share.onward)
    }
    return writer.bytes
  }
}

/// One MA's detours at one node.
public final class Detours {
  /// Shares kept; at the limit the oldest go: an MA gives the newer ones for the routes in use.
  public static let shareLimit = 8_192
  /// Steps that an MA no longer names are kept for frames, and for heads of other nodes, that still use them.
  public static let grace = Duration.seconds(5)

  /// Steps kept, those that are no longer named with them.
  public static let stepLimit = 2 * DetourPart.stepLimit

  private struct Step {
    var step: DetourStep
    var ends: Instant
  }

  private(set) var heads: [UInt32: DetourHead] = [:]
  private var steps: [UInt32: Step] = [:]
  private var shares: [UInt32: SuccessorShare] = [:]
  /// Routes in the order their shares came, from `firstShare` on.
  private var order: [UInt32] = []
  private var firstShare = 0

  public init() {}

  public var headCount: Int { heads.count }
  public var stepCount: Int { steps.count }
  public var shareCount: Int { shares.count }

  private static func key(_ a: UInt16, _ b: UInt16) -> UInt32 { UInt32(a) << 16 | UInt32(b) }

  /// Takes a part of the table in; false when it is too large, and what was beyond the limit is left out.
  public func install(_ part: DetourPart, at now: Instant) -> Bool {
    if part.replacesHeads { heads = [:] }
    if part.replacesSteps {
      var kept: [UInt32: Step] = [:]
      for (key, old) in steps where old.ends > now {
        kept[key] = Step(step: old.step, ends: min(old.ends, now + Detours.grace))
      }
      steps = kept
    }
    var isWhole = true
    for head in part.heads {
      let key = Detours.key(head.egress, head.onward)
      if heads.count < DetourPart.headLimit || heads[key] != nil { heads[key] = head } else { isWhole = false }
    }
    if steps.count + part.steps.count > Detours.stepLimit { steps = steps.filter { $0.value.ends > now } }
    // What the MA still names goes before what is only kept for a while.
    if steps.count + part.steps.count > Detours.stepLimit { steps = steps.filter { $0.value.ends == .never } }
    for step in part.steps {
      let key = Detours.key(step.ingress, step.label)
      if steps.count < Detours.stepLimit || steps[key] != nil {
        steps[key] = Step(step: step, ends: .never)
      } else {
        isWhole = false
      }
    }
    return isWhole
  }

  public func install(_ fresh: [SuccessorShare]) {
    for share in fresh {
      if shares.updateValue(share, forKey: share.route) == nil { order.append(share.route) }
    }
    while order.count - firstShare > Detours.shareLimit {
      shares[order[firstShare]] = nil
      firstShare += 1
    }
    if firstShare > Detours.shareLimit {
      order.removeFirst(firstShare)
      firstShare = 0
    }
  }

  public func share(of route: UInt32) -> SuccessorShare? { shares[route] }

  /// The detour round the link of `egress` to the neighbour (`onward` 0), or round the neighbour to the node behind its
  /// egress `onward`.
  public func head(egress: UInt16, onward: UInt16) -> DetourHead? { heads[Detours.key(egress, onward)] }

  /// What to do with a label. Nil when it is unknown.
  public func step(ingress: UInt16, label: UInt16, at now: Instant) -> DetourStep? {
    guard let found = steps[Detours.key(ingress, label)], now < found.ends else { return nil }
    return found.step
  }
}

extension OnionRelay {
  /// Takes off the layer of the next hop, which a detour leaves out: the header is then as the node behind it wants it.
  public func takeOffSuccessor(_ frame: borrowing PacketBuffer, size: OnionSize, share: SuccessorShare) {
    let counter = onionCounter(of: frame)
    let p = frame.bytes
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: wholeBatches(size.streamStride)) {
      guard let stream = $0.baseAddress else { return }
      makeStreams(stream, size: size, from: counter, count: 1, key: share.entryKey)
      takeOff(p, size: size, stream: UnsafePointer(stream))
    }
  }

  /// Where a known route comes from and goes to.
  public func hop(of route: UInt32, authority: Int) -> (ingress: UInt16, egress: UInt16)? {
    guard let index = table.find(route: route, authority: authority) else { return nil }
    let record = table.record(index)
    return (record.pointee.ingress, record.pointee.egress)
  }

  /// Whether a frame of a route was accepted here.
  public func passage(of counter: UInt32, route: UInt32, authority: Int) -> Passage {
    guard let index = table.find(route: route, authority: authority) else { return .notSeen }
    let highest = table.record(index).pointee.window.highest
    if UInt64(counter) > highest || counter == 0 { return .notSeen }
    if highest - UInt64(counter) >= ReplayWindow<17>.size { return .forgotten }
    return table.record(index).pointee.window.check(UInt64(counter)) ? .notSeen : .seen
  }

  /// Whether its source may be told now that the route is broken: once in `pace`.
  public mutating func mayTell(_ route: UInt32, authority: Int, pace: Duration, at now: Instant) -> Bool {
    guard let index = table.find(route: route, authority: authority) else { return false }
    let record = table.record(index)
    guard now.nanoseconds >= record.pointee.tellAfter else { return false }
    record.pointee.tellAfter = (now + pace).nanoseconds
    return true
  }

  /// The routes that go out by an adjacency and were used since then: `body` gets route, MA and ingress.
  public func forEachRoute(
    by egress: UInt16, usedSince: Instant, _ body: (_ route: UInt32, _ authority: Int, _ ingress: UInt16) -> Void
  ) {
    table.forEach { record in
      if record.egress == egress, record.lastUsed >= usedSince.nanoseconds {
        body(record.route, record.authority, record.ingress)
      }
    }
  }
}

/// R of an ONION frame.
public func onionRoute(of frame: borrowing PacketBuffer) -> UInt32 { load(frame.bytes + OnionLayout.route) }

/// The detour label of an ONION frame whose link layer was taken off.
public func detourLabel(of frame: borrowing PacketBuffer) -> UInt16 { loadShort(frame.bytes + OnionLayout.label) }
