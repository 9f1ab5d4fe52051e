// One frame's plaintext as it arrived, its segment header checked as far as a frame can be checked alone.

import Wire

struct SegmentFrame {
  let isLast: Bool
  /// 0…255.
  let index: Int
  /// Of the first IP byte within the packet; offset + count is at most 65,535.
  let offset: Int
  let gso: UInt8
  /// Given with frame 0 of a segmented packet only, else 0.
  let gsoSize: Int
  /// The IP bytes.
  let bytes: UnsafeMutableRawPointer
  let count: Int

  init(decoding plaintext: UnsafeMutablePointer<UInt8>, count total: Int) throws(BearerError) {
    guard total > Segment.headerSize else { throw .segmentHeader }
    let p = UnsafeMutableRawPointer(plaintext)
    let read = UnsafeRawPointer(plaintext)
    let first = read.byte(at: 0)
    gso = read.byte(at: 4)
    let kind = gso & Segment.gsoMask
    guard first >> 4 == Segment.kindIP, first & 15 & ~Segment.lastFlag == 0,
      gso & Segment.reservedGSO == 0, kind <= Segment.gsoUDP,
      gso & Segment.ecn == 0 || kind == Segment.gsoTCPv4 || kind == Segment.gsoTCPv6
    else { throw .segmentHeader }
    isLast = first & Segment.lastFlag != 0
    index = Int(read.byte(at: 1))
    offset = Int(read.bigEndian16(at: 2))
    if index == 0, kind != 0 {
      guard total > Segment.headerSize + Segment.gsoSizeBytes else { throw .segmentHeader }
      gsoSize = Int(read.bigEndian16(at: Segment.headerSize))
      bytes = p + Segment.headerSize + Segment.gsoSizeBytes
      count = total - Segment.headerSize - Segment.gsoSizeBytes
    } else {
      gsoSize = 0
      bytes = p + Segment.headerSize
      count = total - Segment.headerSize
    }
    guard index == 0 ? offset == 0 : offset > 0, offset + count <= Segment.maximumPacket else {
      throw .framePosition(index: index, offset: offset)
    }
  }

  /// What counts against the frame's payload size: with frame 0, the gso size too.
  @inline(__always)
  var payloadCount: Int { index == 0 && gso & Segment.gsoMask != 0 ? count &+ Segment.gsoSizeBytes : count }

  /// The payload size of the packet's frames, which follows from any frame but a single one.
  func impliedPayloadSize() throws(BearerError) -> Int {
    let size: Int
    if index == 0 {
      size = payloadCount
    } else {
      let ahead = offset + (gso & Segment.gsoMask == 0 ? 0 : Segment.gsoSizeBytes)
      guard ahead % index == 0 else { throw .framePosition(index: index, offset: offset) }
      size = ahead / index
    }
    guard size >= Segment.minimumPayload, isLast ? payloadCount <= size : payloadCount == size else {
      throw .framePosition(index: index, offset: offset)
    }
    return size
  }
}
