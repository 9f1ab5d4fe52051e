// The header a TUN device with IFF_VNET_HDR puts before each packet: what the kernel left to do (checksum, cutting).

/// `struct virtio_net_hdr`, the legacy 10-byte form in the machine's byte order (Virtio 1.2 §5.1.6, linux/virtio_net.h).
public struct VirtioNetHeader: Sendable, Equatable {
  /// Bytes.
  public static let size = 10

  /// The transport checksum field holds the pseudo-header's sum only.
  public static let needsChecksum: UInt8 = 1
  public static let gsoNone: UInt8 = 0
  public static let gsoTCPv4: UInt8 = 1
  public static let gsoTCPv6: UInt8 = 4
  /// UDP segmentation: each `gsoSize` bytes are a datagram of their own.
  public static let gsoUDP: UInt8 = 5
  /// Bit of `gsoType`: CWR is set, and belongs to the first segment only.
  public static let gsoECN: UInt8 = 0x80

  public var flags: UInt8
  public var gsoType: UInt8
  /// IP and transport header, bytes. From the kernel only a hint.
  public var headerLength: UInt16
  /// Payload bytes of each segment.
  public var gsoSize: UInt16
  /// Bytes from the IP header's start to where the checksum starts.
  public var checksumStart: UInt16
  /// Bytes from there to the checksum field.
  public var checksumOffset: UInt16

  @inlinable
  public init(
    flags: UInt8 = 0, gsoType: UInt8 = 0, headerLength: UInt16 = 0, gsoSize: UInt16 = 0, checksumStart: UInt16 = 0,
    checksumOffset: UInt16 = 0
  ) {
    self.flags = flags
    self.gsoType = gsoType
    self.headerLength = headerLength
    self.gsoSize = gsoSize
    self.checksumStart = checksumStart
    self.checksumOffset = checksumOffset
  }

  /// The first 10 bytes at `bytes`.
  @inlinable
  public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
    guard bytes.count >= VirtioNetHeader.size, let base = bytes.baseAddress else {
      throw .truncated(neededBytes: VirtioNetHeader.size, haveBytes: bytes.count)
    }
    flags = base.byte(at: 0)
    gsoType = base.byte(at: 1)
    headerLength = base.loadUnaligned(fromByteOffset: 2, as: UInt16.self)
    gsoSize = base.loadUnaligned(fromByteOffset: 4, as: UInt16.self)
    checksumStart = base.loadUnaligned(fromByteOffset: 6, as: UInt16.self)
    checksumOffset = base.loadUnaligned(fromByteOffset: 8, as: UInt16.self)
  }

  /// Writes 10 bytes; the caller has the room.
  @inlinable
  public func encode(into bytes: UnsafeMutableRawPointer) {
    bytes.storeByte(flags, at: 0)
    bytes.storeByte(gsoType, at: 1)
    bytes.storeBytes(of: headerLength, toByteOffset: 2, as: UInt16.self)
    bytes.storeBytes(of: gsoSize, toByteOffset: 4, as: UInt16.self)
    bytes.storeBytes(of: checksumStart, toByteOffset: 6, as: UInt16.self)
    bytes.storeBytes(of: checksumOffset, toByteOffset: 8, as: UInt16.self)
  }
}
