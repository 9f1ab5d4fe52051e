// Puts frames back together to the packets the far kernel sent, and gives them to the local kernel whole. When a frame
// is lost, what is held of a segmented packet goes on as shorter packets: one loss does not cost 64 KiB.
//
// A packet of one frame never touches a slot: its virtio header is written in front of it, where it lies. Frames of
// longer packets are copied once, to their place in a slot. A packet is given up when a frame shows that all that is
// missing is lost (`reorderTolerance`), when nothing came for `patience`, or when its slot is needed. The rejected
// alternative, a deadline from the first frame, gives up on slow links what is still on its way.

import Core
import Wire

/// A packet for the local kernel: a 10-byte virtio_net_hdr and an IP packet.
public struct BearerDelivery {
  public let packet: UnsafeRawBufferPointer
  /// Of the frames it came in.
  public let peer: UInt32

  /// What its IP header says; checked when the packet was put together.
  public var source: IPAddress? { address(isDestination: false) }
  public var destination: IPAddress? { address(isDestination: true) }

  private func address(isDestination: Bool) -> IPAddress? {
    guard packet.count > VirtioNetHeader.size, let base = packet.baseAddress else { return nil }
    let ip = base + VirtioNetHeader.size
    do throws(WireError) {
      let layout = try IPLayout(ip, readable: packet.count - VirtioNetHeader.size)
      return isDestination ? layout.destination(of: ip) : layout.source(of: ip)
    } catch { return nil }
  }
}

/// Packets of all peers being put together. After each `accept` and `expire`, `nextDelivery` is drained until nil.
public struct Reassembler: ~Copyable {
  /// A frame is lost when one sent this many later has come, in sequence numbers.
  public static let reorderTolerance: UInt64 = 32
  /// How long a packet waits for its next frame.
  public static let patience = Duration.milliseconds(50)

  /// Packets recently completed or given up, whose late frames open no slot: 16 × 16 B.
  private static let memoryOfFinished = 16

  public private(set) var counters = BearerCounters()
  /// One more than asked for: a slot that was reclaimed is delivered from while its successor fills.
  private let slots: UnsafeMutablePointer<ReassemblySlot>
  private let slotCount: Int
  private let memory: UnsafeMutableRawPointer
  private let finished: UnsafeMutablePointer<(first: UInt64, peer: UInt32)>
  private var finishedNext = 0
  private var filling = 0
  private var draining = 0
  private var order: UInt64 = 0
  /// The slot that is being delivered from.
  private var current: Int?
  private var inPlace: BearerDelivery?

  /// (`slots` + 1) × 65,792 bytes are reserved; pages never written cost nothing. With all slots taken, the peer with
  /// the most of them gives up its longest untouched packet, counted as `reclaimed`.
  public init(slots: Int = 8) {
    invariant(slots > 0 && slots <= 1024, "a reassembler has slots")
    slotCount = slots + 1
    memory = .allocate(byteCount: slotCount * ReassemblySlot.stride, alignment: 64)
    self.slots = .allocate(capacity: slotCount)
    for i in 0..<slotCount {
      (self.slots + i).initialize(to: ReassemblySlot(memory: memory + i * ReassemblySlot.stride))
    }
    finished = .allocate(capacity: Reassembler.memoryOfFinished)
    finished.initialize(repeating: (.max, 0), count: Reassembler.memoryOfFinished)
  }

  deinit {
    slots.deinitialize(count: slotCount)
    slots.deallocate()
    finished.deallocate()
    memory.deallocate()
  }

  /// Packets being put together.
  public var fillingCount: Int { filling }

  /// Takes in one frame's plaintext: `count` bytes, segment header first. `sequence` is the frame's end-to-end sequence
  /// number; `peer` names its sequence space (a session's two classes are two). The 8 bytes before the plaintext may
  /// be overwritten, and the plaintext must stay until deliveries are drained. Returns why it was refused, if it was.
  @discardableResult
  public mutating func accept(
    _ plaintext: UnsafeMutablePointer<UInt8>, count: Int, sequence: UInt64, peer: UInt32, at now: Instant
  ) -> BearerError? {
    do throws(BearerError) {
      let frame = try SegmentFrame(decoding: plaintext, count: count)
      guard sequence >= UInt64(truncatingIfNeeded: frame.index) else {
        throw .framePosition(index: frame.index, offset: frame.offset)
      }
      let first = sequence &- UInt64(truncatingIfNeeded: frame.index)
      let slot = filling == 0 ? nil : search(first: first, peer: peer, sequence: sequence)
      if frame.isLast, frame.index == 0, slot == nil {
        try acceptSingle(frame, peer: peer)
      } else {
        try insert(frame, slot: slot, first: first, sequence: sequence, peer: peer, at: now)
      }
      return nil
    } catch {
      counters.add(error.counter)
      return error
    }
  }

  /// Gives up what has waited too long.
  public mutating func expire(at now: Instant) {
    for i in 0..<slotCount where slots[i].state == .filling && slots[i].touched + Reassembler.patience <= now {
      giveUp(i, because: .timedOut)
    }
  }

  /// When `expire` is next due.
  public var nextDeadline: Instant? {
    if filling == 0 { return nil }
    var earliest: Instant?
    for i in 0..<slotCount where slots[i].state == .filling {
      earliest = earlier(earliest, slots[i].touched + Reassembler.patience)
    }
    return earliest
  }

  /// Gives up all of a peer's packets, delivering nothing, and what is remembered of finished ones: its session is gone.
  public mutating func forget(peer: UInt32) {
    for i in 0..<slotCount where slots[i].state == .filling && slots[i].peer == peer {
      slots[i].state = .free
      filling -= 1
    }
    for i in 0..<Reassembler.memoryOfFinished where finished[i].peer == peer { finished[i] = (.max, 0) }
  }

  /// The next packet for the kernel, valid until the next call of anything here; nil when there is none.
  public mutating func nextDelivery() -> BearerDelivery? {
    while draining > 0 {
      let i = current ?? firstToDrain()
      current = i
      if let packet = slots[i].nextPacket() {
        counters.add(slots[i].state == .whole ? .delivered : .piece)
        return BearerDelivery(packet: packet, peer: slots[i].peer)
      }
      slots[i].state = .free
      draining -= 1
      current = nil
    }
    defer { inPlace = nil }
    return inPlace
  }

  private func firstToDrain() -> Int {
    var best = 0
    var bestOrder = UInt64.max
    for i in 0..<slotCount where slots[i].state == .whole || slots[i].state == .pieces {
      if slots[i].order < bestOrder {
        best = i
        bestOrder = slots[i].order
      }
    }
    return best
  }

  /// The packet's slot. On the way, packets of this peer whose missing frames this one shows to be lost are given up.
  private mutating func search(first: UInt64, peer: UInt32, sequence: UInt64) -> Int? {
    var found: Int?
    for i in 0..<slotCount where slots[i].peer == peer && slots[i].state == .filling {
      if slots[i].first == first {
        found = i
      } else if sequence >= slots[i].giveUpAt {
        giveUp(i, because: .lostFrame)
      }
    }
    return found
  }

  private mutating func acceptSingle(_ frame: SegmentFrame, peer: UInt32) throws(BearerError) {
    let checked = try SuperPacket(checking: frame.bytes, readable: frame.count, gso: frame.gso, gsoSize: frame.gsoSize)
    guard checked.totalLength == frame.count else {
      throw .lengthsDisagree(stated: checked.totalLength, have: frame.count)
    }
    let start = frame.bytes - VirtioNetHeader.size
    checked.writeVirtioHeader(at: start, length: frame.count, isFront: true)
    counters.add(.delivered)
    inPlace = BearerDelivery(
      packet: UnsafeRawBufferPointer(start: start, count: VirtioNetHeader.size + frame.count), peer: peer)
  }

  private mutating func insert(
    _ frame: SegmentFrame, slot: Int?, first: UInt64, sequence: UInt64, peer: UInt32, at now: Instant
  ) throws(BearerError) {
    let i: Int
    if let slot {
      i = slot
    } else {
      let payloadSize = try frame.impliedPayloadSize()
      guard !isFinished(first: first, peer: peer) else { throw .late(index: frame.index) }
      i = try takeSlot()
      slots[i].open(frame: frame, payloadSize: payloadSize, first: first, peer: peer)
      filling += 1
    }
    if try slots[i].insert(frame, at: now) {
      filling -= 1
      remember(first: first, peer: peer)
      slots[i].state = .free
      order &+= 1
      try slots[i].finishWhole(order: order)
      draining += 1
    } else if first &+ UInt64(truncatingIfNeeded: slots[i].highest) >= slots[i].giveUpAt {
      giveUp(i, because: .lostFrame)
    }
  }

  /// A free slot. There is one whenever deliveries were drained.
  private mutating func takeSlot() throws(BearerError) -> Int {
    if filling >= slotCount - 1, let victim = victim() { giveUp(victim, because: .reclaimed) }
    for i in 0..<slotCount where slots[i].state == .free { return i }
    throw .noSlot
  }

  /// Of the peer with the most packets (of those, the one waiting longest), the packet that waits longest.
  private func victim() -> Int? {
    var best: Int?
    var bestCount = 0
    for i in 0..<slotCount where slots[i].state == .filling {
      var count = 0
      for j in 0..<slotCount where slots[j].state == .filling && slots[j].peer == slots[i].peer { count += 1 }
      if let b = best, count < bestCount || (count == bestCount && slots[b].touched <= slots[i].touched) { continue }
      best = i
      bestCount = count
    }
    return best
  }

  private mutating func giveUp(_ i: Int, because counter: BearerCounter) {
    counters.add(counter)
    filling -= 1
    remember(first: slots[i].first, peer: slots[i].peer)
    slots[i].state = .free
    order &+= 1
    do throws(BearerError) {
      if try slots[i].finishPieces(order: order) {
        draining += 1
      } else {
        counters.add(.nothingLeft)
      }
    } catch {
      counters.add(error.counter)
    }
  }

  private mutating func remember(first: UInt64, peer: UInt32) {
    finished[finishedNext] = (first, peer)
    finishedNext = (finishedNext + 1) % Reassembler.memoryOfFinished
  }

  /// No sequence space gets as far as the entries that are still empty.
  private func isFinished(first: UInt64, peer: UInt32) -> Bool {
    for i in 0..<Reassembler.memoryOfFinished where finished[i].first == first && finished[i].peer == peer {
      return true
    }
    return false
  }
}
