// What an eavesdropper on a link sees: every frame, both ways, from a packet socket at one end.

import CLab
import Foundation

public final class Capture: @unchecked Sendable {
  private let socket: Descriptor
  private let lock = NSLock()
  private var collected: [[UInt8]] = []
  private var shouldEnd = false
  private let ended = DispatchGroup()
  /// Frames kept; later ones are not.
  private let limit: Int

  /// Starts to capture on an interface of a namespace.
  public init(_ interface: String, in namespace: String, limit: Int = 50_000) throws {
    self.limit = limit
    socket = try inNetwork(of: namespace) {
      try Descriptor(lab_packet_socket(interface, 1), "capture on \(interface)")
    }
    var patience = timeval(tv_sec: 0, tv_usec: 50_000)
    setsockopt(socket.number, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    ended.enter()
    Thread { [self] in
      receive()
      ended.leave()
    }.start()
  }

  private func receive() {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while !lock.withLock({ shouldEnd }) {
      let count = recv(socket.number, &buffer, buffer.count, 0)
      guard count > 0 else { continue }
      lock.withLock { if collected.count < limit { collected.append(Array(buffer[0..<count])) } }
    }
  }

  /// Whole Ethernet frames so far.
  public var frames: [[UInt8]] { lock.withLock { collected } }

  /// Ends the capture.
  @discardableResult
  public func finish() -> [[UInt8]] {
    lock.withLock { shouldEnd = true }
    ended.wait()
    return frames
  }
}

/// Where a pattern of bytes first stands in `bytes`; nil when it does not.
public func position(of pattern: [UInt8], in bytes: [UInt8]) -> Int? {
  guard !pattern.isEmpty, bytes.count >= pattern.count else { return nil }
  return (0...(bytes.count - pattern.count)).first { start in
    bytes[start] == pattern[0] && bytes[start..<(start + pattern.count)].elementsEqual(pattern)
  }
}

/// A run of eight bytes that two captures share, and where it stands in a frame of each (from the Ethernet payload on).
public struct SharedRun: Sendable, Hashable {
  public var offsetInFirst: Int
  public var offsetInSecond: Int
}

/// Every place in the Ethernet payloads of `second` whose eight bytes also stand somewhere in those of `first`.
public func sharedRuns(_ first: [[UInt8]], _ second: [[UInt8]]) -> [SharedRun: Int] {
  func windows(_ frame: [UInt8], _ body: (UInt64, Int) -> Void) {
    var value: UInt64 = 0
    for (index, byte) in frame.dropFirst(14).enumerated() {
      value = value << 8 | UInt64(byte)
      if index >= 7 { body(value, index - 7) }
    }
  }
  var places: [UInt64: Int] = [:]
  for frame in first { windows(frame) { value, offset in if places[value] == nil { places[value] = offset } } }
  var shared: [SharedRun: Int] = [:]
  for frame in second {
    windows(frame) { value, offset in
      if let other = places[value] { shared[SharedRun(offsetInFirst: other, offsetInSecond: offset), default: 0] += 1 }
    }
  }
  return shared
}
