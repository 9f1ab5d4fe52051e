// The IP bearer's packet transform: kernel super-packets to the plaintexts of lifeline frames and back. This file has
// the frame's segment header, why something is refused, and what is counted.
//
//   one frame:  | kind 4, flags 4 | index 8 | offset 16 | gso 8 | [gso size 16, index 0 with gso only] | IP bytes |
//
// All frames of a packet but the last carry the same number P of bytes after the segment header, so that index and
// offset determine each other: a frame that disagrees is refused, and frames can never overlap. The sequence numbers
// of a packet's frames are consecutive: sequence − index names the packet.

import Wire

/// The protocol's constants (docs/PROTOCOL.md, "IP bearer").
public enum Segment {
  /// Segment header, bytes.
  public static let headerSize = 5
  /// Value of the kind nibble.
  public static let kindIP: UInt8 = 2
  /// Flag in the low nibble of byte 0: no frame of this packet follows.
  public static let lastFlag: UInt8 = 1
  /// Bytes of gso size before the IP bytes of the first frame, where there is segmentation.
  public static let gsoSizeBytes = 2
  /// A packet's frames.
  public static let maximumFrames = 256
  /// The least P, bytes, of a packet of several frames: one frame always holds all headers (60 + 60), and a hole of
  /// one frame has room for a copy of them.
  public static let minimumPayload = 256
  /// The longest IP packet carried, bytes.
  public static let maximumPacket = 65_535

  @usableFromInline static let gsoMask: UInt8 = 0x07
  @usableFromInline static let gsoTCPv4: UInt8 = 1
  @usableFromInline static let gsoTCPv6: UInt8 = 2
  @usableFromInline static let gsoUDP: UInt8 = 3
  @usableFromInline static let ecn: UInt8 = 0x08
  @usableFromInline static let partialChecksum: UInt8 = 0x80
  @usableFromInline static let reservedGSO: UInt8 = 0x70
}

/// Why a packet or a frame was refused. Lengths and positions in bytes.
public enum BearerError: Error, Equatable {
  /// Not an IP packet, or shorter than it says.
  case malformed(WireError)
  /// A packet that is longer or shorter than its IP header says.
  case lengthsDisagree(stated: Int, have: Int)
  case packetTooLong(bytes: Int)
  /// Frames this small do not carry IP.
  case payloadTooSmall(bytes: Int)
  case tooManyFrames(needed: Int)
  /// A virtio segmentation type the bearer does not carry.
  case unknownSegmentation(type: UInt8)
  /// Segmentation asked for a packet of another kind: other version or protocol, a fragment, IPv6 extension headers.
  case segmentationMismatch
  /// Segmentation without the partial checksum the kernel demands with it.
  case segmentationWithoutChecksum
  /// Zero, too small, larger than the payload, or giving more segments than a kernel takes.
  case segmentSize(bytes: Int, payload: Int)
  /// TCP data offset or UDP length do not fit the packet.
  case transportHeader
  /// A TCP super-packet that opens or resets a connection.
  case flagsInSuperPacket(UInt8)
  /// A checksum to be completed where no TCP or UDP checksum is, or outside the packet.
  case checksumPosition
  /// Not an IP frame, unknown flags, or shorter than its header.
  case segmentHeader
  /// Index, offset and length of a frame do not fit together.
  case framePosition(index: Int, offset: Int)
  /// A frame that contradicts others of its packet.
  case contradiction(index: Int)
  /// A frame that is held already.
  case duplicate(index: Int)
  /// A frame of a packet that is complete or given up.
  case late(index: Int)
  /// The caller did not drain deliveries: no slot is free.
  case noSlot

  public var counter: BearerCounter {
    switch self {
    case .malformed: .malformed
    case .lengthsDisagree: .lengthsDisagree
    case .packetTooLong: .packetTooLong
    case .payloadTooSmall: .payloadTooSmall
    case .tooManyFrames: .tooManyFrames
    case .unknownSegmentation: .unknownSegmentation
    case .segmentationMismatch: .segmentationMismatch
    case .segmentationWithoutChecksum: .segmentationWithoutChecksum
    case .segmentSize: .segmentSize
    case .transportHeader: .transportHeader
    case .flagsInSuperPacket: .flagsInSuperPacket
    case .checksumPosition: .checksumPosition
    case .segmentHeader: .segmentHeader
    case .framePosition: .framePosition
    case .contradiction: .contradiction
    case .duplicate: .duplicate
    case .late: .late
    case .noSlot: .noSlot
    }
  }
}

/// What is counted, under the name an operator looks up.
public enum BearerCounter: UInt8, Sendable {
  case malformed, lengthsDisagree, packetTooLong, payloadTooSmall, tooManyFrames, unknownSegmentation
  case segmentationMismatch, segmentationWithoutChecksum, segmentSize, transportHeader, flagsInSuperPacket
  case checksumPosition, segmentHeader, framePosition, contradiction, duplicate, late, noSlot
  /// Packets delivered whole.
  case delivered
  /// Packets given up because a later frame showed that one is lost.
  case lostFrame
  /// Packets given up because nothing came for `Reassembler.patience`.
  case timedOut
  /// Packets given up because their slot was needed.
  case reclaimed
  /// Pieces of given-up packets that were delivered.
  case piece
  /// Given-up packets of which nothing could be delivered.
  case nothingLeft

  /// Raw values are 0 ..< `count`. (`CaseIterable` would allocate.)
  public static let count = 24

  public var name: StaticString {
    switch self {
    case .malformed: "malformed"
    case .lengthsDisagree: "lengthsDisagree"
    case .packetTooLong: "packetTooLong"
    case .payloadTooSmall: "payloadTooSmall"
    case .tooManyFrames: "tooManyFrames"
    case .unknownSegmentation: "unknownSegmentation"
    case .segmentationMismatch: "segmentationMismatch"
    case .segmentationWithoutChecksum: "segmentationWithoutChecksum"
    case .segmentSize: "segmentSize"
    case .transportHeader: "transportHeader"
    case .flagsInSuperPacket: "flagsInSuperPacket"
    case .checksumPosition: "checksumPosition"
    case .segmentHeader: "segmentHeader"
    case .framePosition: "framePosition"
    case .contradiction: "contradiction"
    case .duplicate: "duplicate"
    case .late: "late"
    case .noSlot: "noSlot"
    case .delivered: "delivered"
    case .lostFrame: "lostFrame"
    case .timedOut: "timedOut"
    case .reclaimed: "reclaimed"
    case .piece: "piece"
    case .nothingLeft: "nothingLeft"
    }
  }
}

/// One total a counter, since start.
public struct BearerCounters {
  private var totals = InlineArray<24, UInt64>(repeating: 0)

  public init() {}

  public subscript(_ counter: BearerCounter) -> UInt64 { totals[Int(counter.rawValue)] }

  public mutating func add(_ counter: BearerCounter) { totals[Int(counter.rawValue)] &+= 1 }
}
