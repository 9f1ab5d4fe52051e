// The rig the tests drive: a reassembler with its clock, fed with frames in memory of their own, with the head room the bearer asks for and not a byte more.

import Bearer
import Core
import Testing

/// One frame's plaintext.
final class Frame {
  static let headRoom = 8
  let memory: UnsafeMutablePointer<UInt8>
  let count: Int
  let sequence: UInt64

  init(_ bytes: [UInt8], sequence: UInt64) {
    count = bytes.count
    self.sequence = sequence
    memory = .allocate(capacity: Frame.headRoom + bytes.count)
    memory.initialize(repeating: 0xee, count: Frame.headRoom)
    bytes.withUnsafeBufferPointer { b in
      if let base = b.baseAddress { (memory + Frame.headRoom).initialize(from: base, count: b.count) }
    }
  }

  deinit { memory.deallocate() }

  var plaintext: UnsafeMutablePointer<UInt8> { memory + Frame.headRoom }
  var bytes: [UInt8] { Array(UnsafeBufferPointer(start: plaintext, count: count)) }
  var isLast: Bool { plaintext[0] & 1 != 0 }
}

func cut(_ packet: [UInt8], payloadSize: Int, firstSequence: UInt64 = 1) throws(BearerError) -> [Frame] {
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: packet.count, alignment: 16)
  defer { buffer.deallocate() }
  buffer.copyBytes(from: packet)
  var cutter = try PacketCutter(buffer: buffer, payloadSize: payloadSize)
  var frames: [Frame] = []
  let out = UnsafeMutablePointer<UInt8>.allocate(capacity: Segment.headerSize + payloadSize)
  defer { out.deallocate() }
  while let count = cutter.nextFrame(into: out) {
    frames.append(
      Frame(Array(UnsafeBufferPointer(start: out, count: count)), sequence: firstSequence + UInt64(frames.count)))
  }
  #expect(frames.count == cutter.frameCount)
  return frames
}

struct ReassemblyRig: ~Copyable {
  var reassembler: Reassembler
  var now = Instant(nanoseconds: 1_000_000)
  var delivered: [[UInt8]] = []
  var deliveredPeers: [UInt32] = []

  init(slots: Int = 8) { reassembler = Reassembler(slots: slots) }

  @discardableResult
  mutating func accept(_ frame: Frame, peer: UInt32 = 1) -> BearerError? {
    // A copy: a frame may be sent twice, and the fast path writes before it.
    let copy = Frame(frame.bytes, sequence: frame.sequence)
    let refusal = reassembler.accept(
      copy.plaintext, count: copy.count, sequence: copy.sequence, peer: peer, at: now)
    drain()
    return refusal
  }

  mutating func drain() {
    while let delivery = reassembler.nextDelivery() {
      delivered.append(Array(delivery.packet))
      deliveredPeers.append(delivery.peer)
    }
  }

  /// Past every packet's patience.
  mutating func expire() {
    now = now + Reassembler.patience
    reassembler.expire(at: now)
    drain()
  }
}
