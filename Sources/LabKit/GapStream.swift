// How long is a repair? A stream of one small datagram a millisecond, and the longest time in which none arrived.

import Foundation

/// What happened to a stream.
public struct GapResult: Sendable {
  public var sent = 0
  public var received = 0
  /// Datagrams that came more than once.
  public var duplicates = 0
  /// The longest time between two arrivals, less the period, milliseconds.
  public var longestGap = 0.0
  /// Whether datagrams still arrived in the stream's last half second.
  public var endedAlive = false
  public var lost: Int { sent - received }
}

/// A 1 kHz UDP stream from one namespace to an address in another. Starts at once; ends with `finish`.
public final class GapStream: @unchecked Sendable {
  private static let period = 0.001
  private let sender: Descriptor
  private let receiver: Descriptor
  private let target: IPAddress
  private let port: UInt16
  private let size: Int
  private let lock = NSLock()
  private var shouldEnd = false
  private var lastSent = 0.0
  private var result = GapResult()
  private let ended = DispatchGroup()

  /// - Parameter size: bytes of payload, at least 8.
  public init(from source: String, to target: IPAddress, in destination: String, port: UInt16 = 7777, size: Int = 64)
    throws
  {
    self.target = target
    self.port = port
    self.size = max(8, size)
    sender = try udpSocket(in: source, isIPv6: target.isIPv6)
    receiver = try udpSocket(in: destination, isIPv6: target.isIPv6, port: port)
    var patience = timeval(tv_sec: 0, tv_usec: 100_000)
    setsockopt(receiver.number, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    for body in [send, receive] {
      ended.enter()
      let thread = Thread {
        body()
        self.ended.leave()
      }
      thread.start()
    }
  }

  private var isEnding: Bool { lock.withLock { shouldEnd } }

  private func send() {
    var number: UInt64 = 0
    var next = now()
    var payload = [UInt8](repeating: 0x5a, count: size)
    while !isEnding {
      withUnsafeBytes(of: number.bigEndian) { payload.replaceSubrange(0..<8, with: $0) }
      _ = target.withSocketAddress(port: port) { sendto(sender.number, payload, payload.count, 0, $0, $1) }
      number += 1
      next += Self.period
      let rest = next - now()
      if rest > 0 { usleep(UInt32(rest * 1e6)) }
    }
    lock.withLock {
      result.sent = Int(number)
      lastSent = now()
    }
  }

  private func receive() {
    var seen: Set<UInt64> = []
    var buffer = [UInt8](repeating: 0, count: 2048)
    var last = 0.0
    var gap = 0.0
    var duplicates = 0
    var graceEnds = Double.infinity
    while now() < graceEnds {
      if graceEnds == .infinity && isEnding { graceEnds = now() + 0.3 }
      let count = recv(receiver.number, &buffer, buffer.count, 0)
      guard count >= 8 else { continue }
      let time = now()
      if last > 0 { gap = max(gap, time - last) }
      last = time
      let number = buffer[0..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      if !seen.insert(number).inserted { duplicates += 1 }
    }
    lock.withLock {
      result.received = seen.count
      result.duplicates = duplicates
      result.longestGap = max(0, (gap - Self.period) * 1000)
      result.endedAlive = last > 0 && graceEnds - 0.3 - last < 0.5
    }
  }

  /// Ends the stream and waits for both of its threads.
  public func finish() -> GapResult {
    lock.withLock { shouldEnd = true }
    ended.wait()
    return lock.withLock { result }
  }
}
