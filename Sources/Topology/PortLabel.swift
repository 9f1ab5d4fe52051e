// The name of a port as an LSA carries it, held inline: a table of a quarter of a million adjacencies must not be a
// quarter of a million heap objects. After an `@` it names the risk group its operator put the port's link in.

import Core

/// At most 15 bytes of printable ASCII, for operators to read. One thing is decided by it: links whose labels, at either
/// end, end in the same `@GROUP` fail together (one duct, one carrier), whatever nodes they join. A group's name is
/// 1 … 8 letters, digits, `.`, `_` or `-`; what follows the last `@` and is none of that is no group.
public struct PortLabel: Sendable, Equatable, CustomStringConvertible {
  public static let longest = 15
  /// Of a risk group's name.
  public static let longestGroup = 8
  private static let separator: UInt8 = 0x40

  /// Byte 0 is the length.
  private var storage = Bytes16()

  /// Empty.
  public init() {}

  /// The first 15 bytes of a port's name; what is not printable ASCII, and an `@`, becomes `?`.
  public init(_ name: String) { self.init(port: name, riskGroup: "") }

  /// As much of the port's name as leaves room, `@` and the group; a group that is no name of one is left out.
  public init(port: String, riskGroup: String) {
    let group = Array(riskGroup.utf8)
    let hasGroup = PortLabel.isGroup(group[...])
    let room = PortLabel.longest - (hasGroup ? group.count + 1 : 0)
    var count = 0
    storage.withMutableBytes {
      for byte in port.utf8 where count < room {
        count += 1
        $0[count] = PortLabel.isPrintable(byte) && byte != PortLabel.separator ? byte : 0x3f
      }
      if hasGroup {
        count += 1
        $0[count] = PortLabel.separator
        for byte in group {
          count += 1
          $0[count] = byte
        }
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

  /// The name of the risk group, empty when there is none.
  public var riskGroup: [UInt8] {
    let all = bytes
    guard let at = all.lastIndex(of: PortLabel.separator) else { return [] }
    let group = all[(at + 1)...]
    return PortLabel.isGroup(group) ? Array(group) : []
  }

  /// The name of the risk group as a number; 0 when there is none.
  var riskGroupNumber: UInt64 {
    let hasSeparator = storage.withBytes {
      for i in 1...PortLabel.longest where i <= Int($0[0]) && $0[i] == PortLabel.separator { return true }
      return false
    }
    guard hasSeparator else { return 0 }
    var number: UInt64 = 0
    for byte in riskGroup { number = number << 8 | UInt64(byte) }
    return number
  }

  private static func isPrintable(_ byte: UInt8) -> Bool { byte >= 0x20 && byte < 0x7f }

  private static func isGroup(_ name: ArraySlice<UInt8>) -> Bool {
    guard name.count >= 1, name.count <= longestGroup else { return false }
    for byte in name {
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2e, 0x5f, 0x2d: continue
      default: return false
      }
    }
    return true
  }
}
