// The counterpart of ByteReader for messages off the packet path: appends big-endian fields to an array it owns.

import Core

public struct ByteWriter {
  public private(set) var bytes: [UInt8] = []

  public init(reserving capacity: Int = 64) { bytes.reserveCapacity(capacity) }

  public mutating func u8(_ value: UInt8) { bytes.append(value) }

  public mutating func u16(_ value: UInt16) {
    bytes.append(UInt8(truncatingIfNeeded: value >> 8))
    bytes.append(UInt8(truncatingIfNeeded: value))
  }

  public mutating func u32(_ value: UInt32) {
    for shift in [24, 16, 8, 0] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
  }

  public mutating func u64(_ value: UInt64) {
    u32(UInt32(truncatingIfNeeded: value >> 32))
    u32(UInt32(truncatingIfNeeded: value))
  }

  public mutating func bytes16(_ value: Bytes16) {
    value.withBytes { bytes.append(contentsOf: UnsafeBufferPointer(start: $0, count: 16)) }
  }

  public mutating func bytes32(_ value: Bytes32) {
    value.withBytes { bytes.append(contentsOf: UnsafeBufferPointer(start: $0, count: 32)) }
  }

  public mutating func componentID(_ value: ComponentID) { bytes16(value.bytes) }

  public mutating func array(_ value: [UInt8]) { bytes.append(contentsOf: value) }

  public mutating func zeros(_ count: Int) { for _ in 0..<count { bytes.append(0) } }
}
