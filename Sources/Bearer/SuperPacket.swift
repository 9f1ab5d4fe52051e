// The one place that decides whether a packet, with the offloads asked for it, is something a kernel may be given. The
// cutter asks it about what the local kernel sent, the reassembler about what a peer sent.

import Core
import Wire

/// A checked packet: headers that are all there and agree with one another and with the offloads.
struct SuperPacket {
  /// As in the segment header: segmentation kind, ECN, partial checksum.
  let gso: UInt8
  /// Payload bytes a segment; 0 without segmentation.
  let gsoSize: Int
  let isIPv4: Bool
  let transport: UInt8
  let ipHeaderLength: Int
  /// IP and transport header; only the IP header when there is neither segmentation nor a partial checksum.
  let headerLength: Int
  /// The whole packet, bytes.
  let totalLength: Int

  /// Linux takes at most this many datagrams in one UDP super-packet (UDP_MAX_SEGMENTS, linux/udp.h).
  static let maximumDatagrams = 128
  /// Linux's least TCP segment (TCP_MIN_GSO_SIZE, net/tcp.h), bytes.
  static let minimumSegment = 8

  /// `readable` bytes of the packet are at `packet`: all of it, or at least its headers. `gso` must have no reserved
  /// bits. A kernel may hand out a super-packet of less than one segment (`isLocal`); a peer's cutter never does.
  init(
    checking packet: UnsafeRawPointer, readable: Int, gso: UInt8, gsoSize: Int, isLocal: Bool = false
  ) throws(BearerError) {
    let layout: IPLayout
    do throws(WireError) { layout = try IPLayout(packet, readable: readable) } catch { throw .malformed(error) }
    guard layout.totalLength <= Segment.maximumPacket else { throw .packetTooLong(bytes: layout.totalLength) }
    self.gso = gso
    self.gsoSize = gsoSize
    isIPv4 = layout.isIPv4
    transport = layout.transport
    ipHeaderLength = layout.headerLength
    totalLength = layout.totalLength
    let kind = gso & Segment.gsoMask
    if gso & Segment.partialChecksum == 0 {
      guard kind == 0 else { throw .segmentationWithoutChecksum }
      headerLength = layout.headerLength
      return
    }
    let wanted = kind == Segment.gsoUDP ? IPProtocol.udp : IPProtocol.tcp
    guard
      kind == 0
        || (layout.transport == wanted && !layout.isFragment
          && (kind == Segment.gsoUDP || layout.isIPv4 == (kind == Segment.gsoTCPv4)))
    else { throw .segmentationMismatch }
    guard !layout.isFragment else { throw .checksumPosition }
    headerLength =
      layout.headerLength
      + (try SuperPacket.transportHeader(
        packet, layout: layout, readable: readable, isSuper: kind != 0))
    if kind != 0 { try checkSegments(isLocal: isLocal) }
  }

  /// The transport header's length, where it is one with a checksum to complete.
  private static func transportHeader(
    _ packet: UnsafeRawPointer, layout: IPLayout, readable: Int, isSuper: Bool
  ) throws(BearerError) -> Int {
    let at = layout.headerLength
    let room = min(readable, layout.totalLength) - at
    switch layout.transport {
    case IPProtocol.tcp:
      guard room >= 20 else { throw .transportHeader }
      let length = Int(packet.byte(at: at + 12) >> 4) * 4
      guard length >= 20, length <= room else { throw .transportHeader }
      let flags = packet.byte(at: at + 13)
      if isSuper, flags & (TCPFlag.syn | TCPFlag.rst) != 0 { throw .flagsInSuperPacket(flags) }
      return length
    case IPProtocol.udp:
      guard room >= IPProtocol.udpHeader, Int(packet.bigEndian16(at: at + 4)) == layout.totalLength - at else {
        throw .transportHeader
      }
      return IPProtocol.udpHeader
    default:
      throw .checksumPosition
    }
  }

  private func checkSegments(isLocal: Bool) throws(BearerError) {
    let payload = totalLength - headerLength
    let isUDP = transport == IPProtocol.udp
    guard gsoSize >= (isUDP ? 1 : SuperPacket.minimumSegment), isLocal || gsoSize <= payload,
      !isUDP || payload <= gsoSize * SuperPacket.maximumDatagrams
    else { throw .segmentSize(bytes: gsoSize, payload: payload) }
  }

  /// Writes the 10 bytes a TUN device wants before `length` bytes of packet with these headers, starting at payload
  /// byte `from`. A packet of one segment is not one to be segmented.
  func writeVirtioHeader(at bytes: UnsafeMutableRawPointer, length: Int, isFront: Bool) {
    var header = VirtioNetHeader()
    if gso & Segment.partialChecksum != 0 {
      header.flags = VirtioNetHeader.needsChecksum
      header.headerLength = UInt16(truncatingIfNeeded: headerLength)
      header.checksumStart = UInt16(truncatingIfNeeded: ipHeaderLength)
      header.checksumOffset = transport == IPProtocol.udp ? 6 : 16
    }
    if gso & Segment.gsoMask != 0, length - headerLength > gsoSize {
      switch gso & Segment.gsoMask {
      case Segment.gsoTCPv4: header.gsoType = VirtioNetHeader.gsoTCPv4
      case Segment.gsoTCPv6: header.gsoType = VirtioNetHeader.gsoTCPv6
      default: header.gsoType = VirtioNetHeader.gsoUDP
      }
      if isFront, gso & Segment.ecn != 0 { header.gsoType |= VirtioNetHeader.gsoECN }
      header.gsoSize = UInt16(truncatingIfNeeded: gsoSize)
    }
    header.encode(into: bytes)
  }

  /// Makes the headers at `packet`, a copy of the whole packet's, those of a packet that carries only the payload
  /// bytes `from ..< from + count`: lengths, TCP sequence number and flags, IPv4 identification, the checksum that is
  /// left to the kernel. `reachesEnd` when the payload's last byte is among them.
  func rewriteHeaders(at packet: UnsafeMutableRawPointer, from: Int, count: Int, reachesEnd: Bool) {
    let length = headerLength + count
    let transportHeader = packet + ipHeaderLength
    let read = UnsafeRawPointer(packet)
    if transport == IPProtocol.udp {
      transportHeader.storeBigEndian16(UInt16(truncatingIfNeeded: length - ipHeaderLength), at: 4)
    } else {
      rewriteTCP(transportHeader, from: from, reachesEnd: reachesEnd)
    }
    let sum = InternetChecksum.pseudoHeader(
      of: read, isIPv4: isIPv4, transport: transport, length: length - ipHeaderLength)
    transportHeader.storeBigEndian16(sum.folded, at: transport == IPProtocol.udp ? 6 : 16)
    guard isIPv4 else {
      packet.storeBigEndian16(UInt16(truncatingIfNeeded: length - ipHeaderLength), at: 4)
      return
    }
    packet.storeBigEndian16(UInt16(truncatingIfNeeded: length), at: 2)
    packet.storeBigEndian16(read.bigEndian16(at: 4) &+ UInt16(truncatingIfNeeded: from / gsoSize), at: 4)
    packet.storeBigEndian16(0, at: 10)
    packet.storeBigEndian16(InternetChecksum.of(read, count: ipHeaderLength), at: 10)
  }

  private func rewriteTCP(_ header: UnsafeMutableRawPointer, from: Int, reachesEnd: Bool) {
    let read = UnsafeRawPointer(header)
    header.storeBigEndian32(read.bigEndian32(at: 4) &+ UInt32(truncatingIfNeeded: from), at: 4)
    var flags = read.byte(at: 13)
    if !reachesEnd { flags &= ~(TCPFlag.psh | TCPFlag.fin) }
    if from > 0, gso & Segment.ecn != 0 { flags &= ~TCPFlag.cwr }
    if flags & TCPFlag.urg != 0 {
      // Counted from the sequence number: it moves with it, and is void once passed.
      let urgent = Int(read.bigEndian16(at: 18))
      if urgent > from {
        header.storeBigEndian16(UInt16(truncatingIfNeeded: urgent - from), at: 18)
      } else {
        flags &= ~TCPFlag.urg
        header.storeBigEndian16(0, at: 18)
      }
    }
    header.storeByte(flags, at: 13)
  }
}
