// The process as the rest of the program sees it: build, clock, output, the way out. (Files.swift has `Host`: arguments,
// host name and entropy.)

import CSystem
import Core

/// Process-wide calls. Nothing here is for the packet path except `now`.
public enum Process {
  public static var commit: String { text(cs_build_commit()) }
  public static var version: String { text(cs_build_version()) }

  /// CLOCK_MONOTONIC.
  @inline(__always)
  public static var now: Instant { Instant(nanoseconds: cs_monotonic_ns()) }

  public static func environment(_ name: StaticString) -> [UInt8]? {
    guard let value = cs_environment(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)) else {
      return nil
    }
    return bytes(of: value)
  }

  public static func exit(_ status: Int32) -> Never { cs_exit(status) }

  /// What standard output refused first; nil when it took everything.
  nonisolated(unsafe) public private(set) static var outputFault: SystemError?

  /// All of `bytes` to standard output; false when it does not take them.
  @discardableResult
  public static func print(_ bytes: [UInt8]) -> Bool {
    let outcome = bytes.withUnsafeBytes { cs_print($0.baseAddress, $0.count) }
    if outcome < 0, outputFault == nil { outputFault = SystemError(code: -outcome, action: "write to standard output") }
    return outcome >= 0
  }

  @discardableResult
  public static func print(_ text: String) -> Bool { print(Array(text.utf8)) }

  /// One line to standard error, whatever it costs; for what ends the process.
  public static func complain(_ line: String) {
    var bytes = printable(line.utf8)
    bytes.append(10)
    _ = bytes.withUnsafeBytes { cs_write(2, $0.baseAddress, $0.count) }
  }

  /// Failed invariants say where before the process ends (a plain trap in Embedded Swift is a silent SIGILL).
  public static func reportInvariants() {
    invariantReporter = { file, line, what in
      // What led to it comes first.
      cs_log_settle(100_000_000)
      Process.complain("lifeline: \(text(file)):\(line): this should hold: \(text(what))")
      cs_abort()
    }
  }
}

/// A terminated C string's bytes.
func bytes(of text: UnsafePointer<CChar>) -> [UInt8] {
  var copy: [UInt8] = []
  var at = text
  while at.pointee != 0 {
    copy.append(UInt8(bitPattern: at.pointee))
    at += 1
  }
  return copy
}

func text(_ pointer: UnsafePointer<CChar>) -> String { String(decoding: bytes(of: pointer), as: UTF8.self) }

func text(_ constant: StaticString) -> String {
  String(decoding: UnsafeBufferPointer(start: constant.utf8Start, count: constant.utf8CodeUnitCount), as: UTF8.self)
}

/// The text with control characters replaced, so that it stays on one line and does nothing to a terminal.
public func printable(_ text: some Sequence<UInt8>) -> [UInt8] {
  text.map { $0 < 32 || $0 == 127 ? 63 : $0 }
}

/// The bytes with a terminating zero, for the kernel interface; nil when there is one inside.
func terminated(_ bytes: [UInt8]) -> [CChar]? {
  if bytes.contains(0) { return nil }
  return bytes.map { CChar(bitPattern: $0) } + [0]
}

extension SystemError {
  /// Throws when a call of the kernel interface gave -errno.
  @discardableResult
  static func check(_ result: Int32, _ action: @autoclosure () -> String) throws(SystemError) -> Int32 {
    if result < 0 { throw SystemError(code: 0 &- result, action: action()) }
    return result
  }

  /// What was being done and what the kernel said, for one line.
  public var reason: String { "\(action): \(text(cs_error_text(code)))" }
}
