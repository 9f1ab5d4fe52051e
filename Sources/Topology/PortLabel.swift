// The name of a port as an LSA carries it, held inline: a table of a quarter of a million adjacencies must not be a
// quarter of a million heap objects.

import Core

/// At most 15 bytes of printable ASCII, for operators to read; nothing is decided by it.
public struct PortLabel: Sendable, Equatable, CustomStringConvertible {
  public static let longest = 15

  /// Byte 0 is the length.
  private var storage = Bytes16()

  /// Empty.
  public init() {}

  /// The first 15 bytes of a port's name; what is not printable ASCII becomes `?`.
  public init(_ name: String) {
    var count = 0
    storage.withMutableBytes {
      for byte in name.utf8 where count < PortLabel.longest {
        count += 1
        $0[count] = PortLabel.isPrintable(byte) ? byte : 0x3f
      }
      $0[0] = UInt8(truncatingIfNeeded: count)
    }
  }

  /// Exactly these bytes, or nil when they are more than 15 or not all printable ASCII.
  public init?(exactly bytes: [UInt8]) {
    guard bytes.count <= PortLabel.longest else { return nil }
    for byte in bytes where !PortLabel.isPrintable(byte) { return nil }
    storage.withMutableBytes {
      $0[0] = UInt8(truncatingIfNeeded: bytes.count)
      for i in bytes.indices { $0[i + 1] = bytes[i] }
    }
  }

  public var bytes: [UInt8] {
    storage.withBytes { Array(UnsafeBufferPointer(start: $0 + 1, count: Int($0[0]))) }
  }

  public var count: Int { storage.withBytes { Int($0[0]) } }

  public var description: String { String(decoding: bytes, as: UTF8.self) }

  private static func isPrintable(_ byte: UInt8) -> Bool { byte >= 0x20 && byte < 0x7f }
}
