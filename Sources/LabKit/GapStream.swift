// How long is a repair? A stream of one datagram a millisecond, each stamped as it leaves and as it arrives.

import CLab
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

  public init() {}

  init(_ record: StreamRecord, period: Int64) {
    guard let begin = record.sent.first, let end = record.sent.last else { return }
    sent = record.sent.count
    let times = record.arrivals.map(\.time)
    received = Set(record.arrivals.map(\.number)).count
    duplicates = times.count - received
    let gap = zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? (times.isEmpty ? end - begin : 0)
    longestGap = max(0, StreamRecord.milliseconds(gap - period))
    endedAlive = times.last.map { end - $0 < 500_000_000 } ?? false
  }
}

/// The sizes and the pace of a stream's datagrams.
public struct StreamShape: Sendable, Equatable {
  /// Bytes of payload, at least 8.
  public var size = 64
  /// Every so many datagrams one is of `largeSize` instead; 0: none.
  public var largeEvery = 0
  public var largeSize = 1200
  /// Seconds between two.
  public var period = 0.001

  public init(size: Int = 64, largeEvery: Int = 0) {
    self.size = size
    self.largeEvery = largeEvery
  }

  /// Bits a second of IPv4 packets.
  public var rate: Double {
    let large = largeEvery > 0 ? 1 / Double(largeEvery) : 0
    return (Double(size + 28) * (1 - large) + Double(largeSize + 28) * large) * 8 / period
  }
}

/// A 1 kHz UDP stream from one namespace to an address in another. Starts at once; ends with `finish`.
public final class GapStream: @unchecked Sendable {
  /// Above the nodes, which run under SCHED_FIFO 1.
  private static let priority: Int32 = 50
  /// An hour; room that is not used takes no memory.
  private static let capacity = 3_600_000
  /// What is under way when the sender ends has so long to arrive, ns.
  private static let grace: Int64 = 300_000_000

  private let sender: Descriptor
  private let receiver: Descriptor
  private let target: IPAddress
  private let port: UInt16
  private let shape: StreamShape
  private let sent = UnsafeMutablePointer<Int64>(zeroed: capacity)
  private let arrivals = UnsafeMutablePointer<lab_arrival>(zeroed: 2 * capacity)
  /// How many were sent, and how many arrived.
  private let counts = UnsafeMutablePointer<Int>(zeroed: 2)
  /// The sender's end, and the receiver's.
  private let ends = UnsafeMutablePointer<Int32>(zeroed: 2)
  private let senderEnded = DispatchGroup()
  private let receiverEnded = DispatchGroup()

  public init(
    from source: String, to target: IPAddress, in destination: String, port: UInt16 = 7777,
    shape: StreamShape = .init()
  ) throws {
    self.target = target
    self.port = port
    self.shape = shape
    sender = try udpSocket(in: source, isIPv6: target.isIPv6)
    receiver = try udpSocket(in: destination, isIPv6: target.isIPv6, port: port)
    run(receiverEnded) { [self] in
      lab_receive_stamped(receiver.number, arrivals, 2 * Self.capacity, counts + 1, ends + 1)
    }
    run(senderEnded) { [self] in
      var pace = lab_pace(
        period: Int64(shape.period * 1e9), bytes: max(8, shape.size), large_every: shape.largeEvery,
        large_bytes: max(8, shape.largeSize))
      target.withSocketAddress(port: port) {
        lab_send_paced(sender.number, $0, $1, &pace, sent, Self.capacity, counts, ends)
      }
    }
  }

  /// - Parameter size: bytes of payload, at least 8.
  public convenience init(
    from source: String, to target: IPAddress, in destination: String, port: UInt16 = 7777, size: Int
  ) throws {
    try self.init(from: source, to: target, in: destination, port: port, shape: StreamShape(size: size))
  }

  deinit {
    free(sent)
    free(arrivals)
    free(counts)
    free(ends)
  }

  private func run(_ group: DispatchGroup, _ body: @escaping @Sendable () -> Void) {
    group.enter()
    Thread {
      // Without the right to it the stream is less even, which `StreamRecord.longestPause` shows.
      _ = lab_real_time(Self.priority)
      body()
      group.leave()
    }.start()
  }

  /// The longest time between two departures since `time`, ms, the stream still running.
  public func longestPause(since time: Int64) -> Double {
    var longest: Int64 = 0
    var number = lab_count(counts) - 1
    while number > 0 && sent[number] > time {
      longest = max(longest, sent[number] - sent[number - 1])
      number -= 1
    }
    return StreamRecord.milliseconds(longest)
  }

  /// Datagrams that have arrived so far.
  public var arrivedCount: Int { lab_count(counts + 1) }

  private func end() {
    lab_set(ends)
    senderEnded.wait()
    lab_sleep_until(lab_now() + Self.grace)
    lab_set(ends + 1)
    receiverEnded.wait()
  }

  /// Ends the stream and waits for both of its threads.
  public func record() -> StreamRecord {
    end()
    return StreamRecord(
      sent: (0..<lab_count(counts)).map { sent[$0] },
      arrivals: (0..<lab_count(counts + 1)).map { .init(time: arrivals[$0].time, number: Int(arrivals[$0].number)) })
  }

  /// The same, in short.
  public func finish() -> GapResult { GapResult(record(), period: Int64(shape.period * 1e9)) }
}

extension UnsafeMutablePointer {
  /// Memory that is 0; released with `free`.
  fileprivate init(zeroed count: Int) {
    guard let room = calloc(count, MemoryLayout<Pointee>.stride) else { fatalError("no memory for a stream") }
    self = room.bindMemory(to: Pointee.self, capacity: count)
  }
}
