// One packet being put together: its memory and what is known of it.
//
//   slot memory:  | saved headers 128 | room 64, the last 10 for the virtio header | IP packet, up to 65,535 | pad |

import Core
import Wire

struct ReassemblySlot {
  enum State {
    case free
    case filling
    /// Complete: the packet is to be delivered as it is.
    case whole
    /// Given up: its pieces are being delivered.
    case pieces
  }

  static let savedHeaders = 0
  static let packetStart = 192
  /// 65,792 bytes: 192 + 65,535, rounded up to a multiple of 64.
  static let stride = 65_792

  let memory: UnsafeMutableRawPointer
  var state = State.free
  var peer: UInt32 = 0
  /// The sequence number of frame 0: with `peer`, which packet this is.
  var first: UInt64 = 0
  /// Payload bytes of every frame but the last.
  var payloadSize = 0
  /// The gso byte all frames carry.
  var gso: UInt8 = 0
  /// Known once frame 0 is held.
  var gsoSize = 0
  var held = FrameSet()
  var heldCount = 0
  var highest = -1
  /// The last frame's index and the packet's length, once the last frame is held.
  var lastIndex: Int?
  var totalLength = 0
  /// A frame of this peer from this sequence number on shows that what is missing is lost.
  var giveUpAt: UInt64 = 0
  var touched = Instant.zero
  /// Deliveries leave in this order.
  var order: UInt64 = 0
  /// Set with `.whole` and `.pieces`.
  var packet: SuperPacket?
  /// The frame from which the next piece is looked for; with `.whole`, 1 when it is delivered.
  var cursor = 0

  init(memory: UnsafeMutableRawPointer) { self.memory = memory }

  var ip: UnsafeMutableRawPointer { memory + ReassemblySlot.packetStart }

  /// Bytes before the IP bytes of frame 0.
  @inline(__always)
  var prefix: Int { gso & Segment.gsoMask == 0 ? 0 : Segment.gsoSizeBytes }

  /// The packet offset where frame `index` starts.
  @inline(__always)
  func start(of index: Int) -> Int { index == 0 ? 0 : index &* payloadSize &- prefix }

  /// The packet offset behind frame `index`, which is held.
  @inline(__always)
  func end(of index: Int) -> Int { index == lastIndex ? totalLength : (index &+ 1) &* payloadSize &- prefix }

  mutating func open(frame: SegmentFrame, payloadSize: Int, first: UInt64, peer: UInt32) {
    let memory = memory
    self = ReassemblySlot(memory: memory)
    state = .filling
    self.peer = peer
    self.first = first
    self.payloadSize = payloadSize
    gso = frame.gso
  }

  /// Takes the frame's bytes in. The frame was decoded, so its index and offset are in range; all else is checked.
  /// True when the packet is now complete.
  mutating func insert(_ frame: SegmentFrame, at now: Instant) throws(BearerError) -> Bool {
    let index = frame.index
    guard frame.gso == gso, frame.offset == start(of: index),
      frame.isLast ? frame.payloadCount <= payloadSize : frame.payloadCount == payloadSize
    else { throw .contradiction(index: index) }
    if let lastIndex {
      guard index <= lastIndex, !frame.isLast || index == lastIndex else { throw .contradiction(index: index) }
    } else {
      guard !frame.isLast || index > highest else { throw .contradiction(index: index) }
    }
    guard !held.contains(index) else { throw .duplicate(index: index) }
    // offset + count ≤ 65,535 holds for every decoded frame.
    (ip + frame.offset).copyMemory(from: frame.bytes, byteCount: frame.count)
    held.insert(index)
    heldCount &+= 1
    if index > highest { highest = index }
    if index == 0 { gsoSize = frame.gsoSize }
    if frame.isLast {
      lastIndex = index
      totalLength = frame.offset &+ frame.count
    }
    touched = now
    guard let lastIndex else {
      giveUpAt = first &+ UInt64(truncatingIfNeeded: highest &+ 1) &+ Reassembler.reorderTolerance
      return false
    }
    guard let missing = held.lastMissing(upTo: lastIndex) else { return true }
    giveUpAt = first &+ UInt64(truncatingIfNeeded: missing) &+ Reassembler.reorderTolerance
    return false
  }

  /// Checks the packet that is complete, and readies its delivery.
  mutating func finishWhole(order: UInt64) throws(BearerError) {
    let checked = try SuperPacket(checking: ip, readable: totalLength, gso: gso, gsoSize: gsoSize)
    guard checked.totalLength == totalLength else {
      throw .lengthsDisagree(stated: checked.totalLength, have: totalLength)
    }
    packet = checked
    state = .whole
    self.order = order
  }

  /// Readies what can be delivered of a packet with frames missing; false when that is nothing.
  mutating func finishPieces(order: UInt64) throws(BearerError) -> Bool {
    guard held.contains(0), gso & Segment.gsoMask != 0 else { return false }
    let checked = try SuperPacket(checking: ip, readable: end(of: 0), gso: gso, gsoSize: gsoSize)
    let have = end(of: highest)
    guard lastIndex == nil ? checked.totalLength > have : checked.totalLength == have else {
      throw .lengthsDisagree(stated: checked.totalLength, have: have)
    }
    packet = checked
    (memory + ReassemblySlot.savedHeaders).copyMemory(from: ip, byteCount: checked.headerLength)
    state = .pieces
    self.order = order
    return true
  }

  /// The next packet to deliver, virtio header first; nil when there is none left. It overwrites what was delivered
  /// before it, never what comes after.
  mutating func nextPacket() -> UnsafeRawBufferPointer? {
    guard let packet else { return nil }
    if state == .whole {
      if cursor != 0 { return nil }
      cursor = 1
      return deliver(packet, from: 0, length: packet.totalLength)
    }
    while let run = held.run(from: cursor, upTo: highest) {
      cursor = run.last &+ 1
      var from = run.first == 0 ? 0 : start(of: run.first) - packet.headerLength
      let runEnd = end(of: run.last)
      let reachesEnd = runEnd == packet.totalLength
      var count = runEnd - packet.headerLength - from
      if packet.transport == IPProtocol.udp {
        // Whole datagrams only.
        let skipped = (gsoSize - from % gsoSize) % gsoSize
        from += skipped
        count -= skipped
        if !reachesEnd, count > 0 { count -= count % gsoSize }
      }
      if count <= 0 { continue }
      let headers = ip + from
      if from > 0 { headers.copyMemory(from: memory + ReassemblySlot.savedHeaders, byteCount: packet.headerLength) }
      packet.rewriteHeaders(at: headers, from: from, count: count, reachesEnd: reachesEnd)
      return deliver(packet, from: from, length: packet.headerLength + count)
    }
    return nil
  }

  private func deliver(_ packet: SuperPacket, from: Int, length: Int) -> UnsafeRawBufferPointer {
    let start = ip + from - VirtioNetHeader.size
    packet.writeVirtioHeader(at: start, length: length, isFront: from == 0)
    return UnsafeRawBufferPointer(start: start, count: VirtioNetHeader.size + length)
  }
}
