// Cuts one packet as the kernel's TUN device gives it, up to 64 KiB, into the plaintexts of lifeline frames.

import Wire

/// Plans and writes the frames of one packet. Holds no memory of its own; the packet's bytes must stay in place and
/// unchanged until the last frame is written.
public struct PacketCutter {
  private let packet: UnsafeRawPointer
  private let totalLength: Int
  private let payloadSize: Int
  private let gsoByte: UInt8
  private let gsoSize: UInt16
  /// Frames the packet takes: 1…256.
  public let frameCount: Int
  private var nextIndex = 0

  /// `buffer` is a 10-byte virtio_net_hdr and an IP packet; bytes behind the packet's stated end are left out. A
  /// checksum the frame format cannot hand on is completed in place. `payloadSize`: bytes of a frame's plaintext after
  /// its segment header, at least 256.
  public init(buffer: UnsafeMutableRawBufferPointer, payloadSize: Int) throws(BearerError) {
    guard payloadSize >= Segment.minimumPayload else { throw .payloadTooSmall(bytes: payloadSize) }
    let header: VirtioNetHeader
    let ip: UnsafeMutableRawBufferPointer
    do throws(WireError) {
      header = try VirtioNetHeader(decoding: UnsafeRawBufferPointer(buffer))
      ip = try trimTrailing(UnsafeMutableRawBufferPointer(rebasing: buffer[VirtioNetHeader.size...]))
    } catch { throw .malformed(error) }
    packet = UnsafeRawPointer(ip.baseAddress!)
    var gso = try PacketCutter.segmentation(of: header)
    if header.flags & VirtioNetHeader.needsChecksum != 0 {
      if gso != 0 || PacketCutter.isHandedOn(packet, readable: ip.count, header: header) {
        gso |= Segment.partialChecksum
      } else {
        try PacketCutter.completeChecksum(ip, header: header)
      }
    }
    let size = gso & Segment.gsoMask == 0 ? 0 : Int(header.gsoSize)
    let checked = try SuperPacket(checking: packet, readable: ip.count, gso: gso, gsoSize: size, isLocal: true)
    totalLength = checked.totalLength
    if gso & Segment.gsoMask != 0 {
      let have = buffer.count - VirtioNetHeader.size
      guard totalLength == have else { throw .lengthsDisagree(stated: totalLength, have: have) }
      guard Int(header.checksumStart) == checked.ipHeaderLength else { throw .checksumPosition }
      // One segment only: nothing to segment.
      if totalLength - checked.headerLength <= size { gso &= Segment.partialChecksum }
    }
    gsoByte = gso
    gsoSize = header.gsoSize
    self.payloadSize = payloadSize
    let prefix = gso & Segment.gsoMask == 0 ? 0 : Segment.gsoSizeBytes
    frameCount = (totalLength + prefix + payloadSize - 1) / payloadSize
    guard frameCount <= Segment.maximumFrames else { throw .tooManyFrames(needed: frameCount) }
  }

  /// The packet's destination; nothing is carried that has none.
  public var destination: IPAddress? { address(isDestination: true) }
  public var source: IPAddress? { address(isDestination: false) }

  private func address(isDestination: Bool) -> IPAddress? {
    do throws(WireError) {
      let layout = try IPLayout(packet, readable: totalLength)
      return isDestination ? layout.destination(of: packet) : layout.source(of: packet)
    } catch { return nil }
  }

  /// The packet without its virtio header, bytes.
  public var packetLength: Int { totalLength }

  /// Writes the next frame's plaintext, segment header first, and returns its length; nil when all are written. There
  /// must be room for 5 + `payloadSize` bytes.
  public mutating func nextFrame(into frame: UnsafeMutablePointer<UInt8>) -> Int? {
    let index = nextIndex
    if index == frameCount { return nil }
    nextIndex = index &+ 1
    let prefix = gsoByte & Segment.gsoMask == 0 ? 0 : Segment.gsoSizeBytes
    let isLast = nextIndex == frameCount
    let start = index == 0 ? 0 : index &* payloadSize &- prefix
    let end = isLast ? totalLength : nextIndex &* payloadSize &- prefix
    let out = UnsafeMutableRawPointer(frame)
    out.storeByte(Segment.kindIP << 4 | (isLast ? Segment.lastFlag : 0), at: 0)
    out.storeByte(UInt8(truncatingIfNeeded: index), at: 1)
    out.storeBigEndian16(UInt16(truncatingIfNeeded: start), at: 2)
    out.storeByte(gsoByte, at: 4)
    var at = Segment.headerSize
    if index == 0 && prefix != 0 {
      out.storeBigEndian16(gsoSize, at: at)
      at &+= prefix
    }
    (out + at).copyMemory(from: packet + start, byteCount: end &- start)
    return at &+ (end &- start)
  }

  private static func segmentation(of header: VirtioNetHeader) throws(BearerError) -> UInt8 {
    let ecn = header.gsoType & VirtioNetHeader.gsoECN == 0 ? 0 : Segment.ecn
    switch header.gsoType & ~VirtioNetHeader.gsoECN {
    case VirtioNetHeader.gsoNone: return 0
    case VirtioNetHeader.gsoTCPv4: return Segment.gsoTCPv4 | ecn
    case VirtioNetHeader.gsoTCPv6: return Segment.gsoTCPv6 | ecn
    case VirtioNetHeader.gsoUDP where ecn == 0: return Segment.gsoUDP
    default: throw .unknownSegmentation(type: header.gsoType)
    }
  }

  /// Whether the far side can find the checksum to complete by the packet's headers alone.
  private static func isHandedOn(_ packet: UnsafeRawPointer, readable: Int, header: VirtioNetHeader) -> Bool {
    do throws(BearerError) {
      let checked = try SuperPacket(
        checking: packet, readable: readable, gso: Segment.partialChecksum, gsoSize: 0)
      return Int(header.checksumStart) == checked.ipHeaderLength
        && header.checksumOffset == (checked.transport == IPProtocol.udp ? 6 : 16)
    } catch { return false }
  }

  /// Does what the kernel left to the device: sums from `checksumStart` to the end into the field there.
  private static func completeChecksum(
    _ ip: UnsafeMutableRawBufferPointer, header: VirtioNetHeader
  ) throws(BearerError) {
    let start = Int(header.checksumStart)
    let field = start + Int(header.checksumOffset)
    guard let base = ip.baseAddress, field + 2 <= ip.count else { throw .checksumPosition }
    let value = InternetChecksum.of(base + start, count: ip.count - start)
    // Zero would mean "no checksum" to UDP, and is the same number as 0xffff to all others.
    base.storeBigEndian16(value == 0 ? 0xffff : value, at: field)
  }
}
