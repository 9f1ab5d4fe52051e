// Frames that nobody should believe: random ones, and genuine ones of the link with bytes changed, cut or grown.

import CLab
import Foundation

public struct FrameStorm {
  /// How many frames went out, of each kind.
  public struct Count: Sendable {
    public var random = 0
    public var mutated = 0
    public var refusedByKernel = 0
    public init() {}
  }

  private let socket: Descriptor
  private var generator: SplitMix64
  private let samples: [[UInt8]]
  private let etherType: [UInt8] = [0x88, 0xb5]

  /// - Parameters:
  ///   - interface: an interface of `namespace`; what it sends arrives at the port under attack.
  ///   - samples: whole genuine frames to mutate.
  public init(from interface: String, in namespace: String, samples: [[UInt8]], seed: UInt64) throws {
    socket = try inNetwork(of: namespace) {
      try Descriptor(lab_packet_socket(interface, 0), "storm on \(interface)")
    }
    generator = SplitMix64(state: seed)
    self.samples = samples
    // Nothing of what arrives is read.
    var none: Int32 = 0
    setsockopt(socket.number, SOL_SOCKET, SO_RCVBUF, &none, socklen_t(MemoryLayout<Int32>.size))
  }

  /// Sends `frames` frames, as fast as the link takes them, every other one mutated.
  public mutating func send(_ frames: Int) throws -> Count {
    var count = Count()
    for number in 0..<frames {
      if number % 4096 == 0 { try checkInterrupt() }
      let isMutated = number % 2 == 1 && !samples.isEmpty
      let frame = isMutated ? mutated() : random()
      if Foundation.send(socket.number, frame, frame.count, 0) < 0 {
        count.refusedByKernel += 1
        continue
      }
      if isMutated { count.mutated += 1 } else { count.random += 1 }
    }
    return count
  }

  private mutating func header() -> [UInt8] {
    let source = (0..<5).map { _ in UInt8.random(in: 0 ... .max, using: &generator) }
    return [0x01, 0x80, 0xc2, 0, 0, 0x0e, 0x02] + source + etherType
  }

  private mutating func random() -> [UInt8] {
    let length = Int.random(in: 1...1500, using: &generator)
    var frame = header()
    frame.reserveCapacity(length + 22)
    // A plausible type in three frames of four, so that the storm gets past the first comparison.
    if generator.next() % 4 != 0 { frame.append(UInt8(generator.next() % 7) << 4 | UInt8(generator.next() & 0x0f)) }
    while frame.count < length + 14 { withUnsafeBytes(of: generator.next()) { frame.append(contentsOf: $0) } }
    return Array(frame.prefix(1514))
  }

  private mutating func mutated() -> [UInt8] {
    var frame = samples[Int(generator.next() % UInt64(samples.count))]
    switch generator.next() % 6 {
    case 0: frame = Array(frame.prefix(Int.random(in: 15...max(15, frame.count), using: &generator)))
    case 1: while frame.count < 1514 && generator.next() % 64 != 0 { frame.append(UInt8(generator.next() & 0xff)) }
    case 2: break  // A replay.
    default:
      for _ in 0...(generator.next() % 8) where frame.count > 14 {
        frame[Int.random(in: 14..<frame.count, using: &generator)] ^= UInt8(1 + generator.next() % 255)
      }
    }
    return Array(frame.prefix(1514))
  }
}
