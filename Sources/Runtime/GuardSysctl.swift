// Small numbers under /proc/sys and /sys, and names on their way to C and to a reader.

import CSystem

/// A file with one small decimal number in it.
enum Sysctl {
  static func read(_ path: [UInt8]) -> Int? {
    var room = [UInt8](repeating: 0, count: 16)
    let n = withZeroTerminated(path) { p in
      room.withUnsafeMutableBytes { Int(cs_net_file_read(p, $0.baseAddress, $0.count)) }
    }
    if n <= 0 || n > room.count { return nil }
    return number(room[0..<n])
  }

  /// False when the kernel refused, or has no such file.
  @discardableResult
  static func write(_ path: [UInt8], _ value: Int) -> Bool {
    let digits = Array("\(value)".utf8)
    return withZeroTerminated(path) { p in digits.withUnsafeBytes { cs_net_file_write(p, $0.baseAddress, $0.count) } }
      > 0
  }

  static func exists(_ path: [UInt8]) -> Bool { withZeroTerminated(path) { cs_net_file_exists($0) } == 1 }

  /// `/proc/sys/net/ipv4/conf/NAME/KEY` for family 4, likewise 6.
  static func interfaceKey(family: Int, name: [UInt8], _ key: StaticString) -> [UInt8] {
    Array("/proc/sys/net/ipv\(family)/conf/".utf8) + name + [47] + bytes(key)
  }

  static func bytes(_ text: StaticString) -> [UInt8] {
    Array(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// The decimal digits at the front; nil when there are none or more than nine.
  static func number(_ text: ArraySlice<UInt8>) -> Int? {
    var value = 0
    var digits = 0
    for c in text {
      guard c >= 48, c <= 57 else { break }
      if digits == 9 { return nil }
      value = value * 10 + Int(c - 48)
      digits += 1
    }
    return digits == 0 ? nil : value
  }
}

/// A zero-terminated copy for C.
func withZeroTerminated<R>(_ name: [UInt8], _ body: (UnsafePointer<CChar>) -> R) -> R {
  (name + [0]).withUnsafeBytes { body($0.bindMemory(to: CChar.self).baseAddress!) }
}

/// A name of the system's, for a message.
func nameText(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
