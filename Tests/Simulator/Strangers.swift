// Somebody on the wire without a key of the network: hears what passes through a medium, and sends what he likes.

import Core
import Node

public struct HeardFrame: Sendable {
  public let bytes: [UInt8]
  public let source: MACAddress
  public let destination: MACAddress

  /// A RELAY message in the clear, as bytes of the OPEN frame's content; nil otherwise.
  public var openRelay: [UInt8]? {
    guard bytes.count > 4, bytes[0] == 0x60, bytes[1] == 2 else { return nil }
    let end = 4 + Int(bytes[2]) << 8 + Int(bytes[3])
    return end <= bytes.count ? Array(bytes[4..<end]) : nil
  }

  public var isDiscover: Bool { bytes.first == 0x10 }
}

extension World {
  public func listen(to medium: Int, _ listener: @escaping (World, HeardFrame) -> Void) {
    listeners[medium] = listener
  }

  /// A frame that comes out of a medium at all its ports, or at one node's, at once.
  public func inject(_ bytes: [UInt8], into medium: Int, from source: MACAddress, at node: Int? = nil) {
    for tap in media[medium].taps where node == nil || Int(taps[tap].node) == node {
      bytes.withUnsafeBufferPointer {
        let handle = frames.put($0.baseAddress!, count: $0.count, source: source, trail: 0)
        queue.push(.arrival, at: now, place: tap, reference: handle)
      }
    }
  }

  /// Does something every `interval` for so long.
  public func every(_ interval: Duration, for length: Duration, _ action: @escaping (World) -> Void) {
    let end = now + length
    func again(_ world: World) {
      guard world.now < end else { return }
      action(world)
      world.after(interval, again)
    }
    after(.zero, again)
  }
}
