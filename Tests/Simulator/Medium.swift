// What lies between ports: cables, segments that several ports share, and tunnels through another network.

import Core

/// How frames fare that are sent into a medium at one of its taps.
public struct LinkQuality: Sendable, Equatable {
  public var delay = Duration.microseconds(50)
  /// Up to this much longer, evenly: more than the gap between frames reorders them.
  public var jitter = Duration.zero
  /// nil: no serialization time, and no queue.
  public var bitsPerSecond: Int64?
  /// Bytes that wait for a medium with a rate; what does not fit is dropped (drop tail).
  public var queueBytes = 65_536
  public var loss = 0.0
  /// Probability that a burst of losses begins with a frame, and that one ends: in it all are lost (Gilbert 1960).
  public var burstBegin = 0.0
  public var burstEnd = 1.0
  public var duplication = 0.0
  /// One to four bits of a frame are flipped.
  public var corruption = 0.0

  public init() {}

  public static let perfect = LinkQuality()

  /// As a tunnel through the Internet is: some milliseconds, some of them reordered.
  public static let tunnel: LinkQuality = {
    var quality = LinkQuality()
    quality.delay = .milliseconds(12)
    quality.jitter = .milliseconds(3)
    return quality
  }()

  /// Nothing but a delay.
  var isPlain: Bool {
    jitter == .zero && bitsPerSecond == nil && loss <= 0 && burstBegin <= 0 && duplication <= 0 && corruption <= 0
  }

  /// Whether what is sent can be counted on to arrive, and in order enough.
  var isFaultless: Bool { loss <= 0 && burstBegin <= 0 && corruption <= 0 && bitsPerSecond ?? .max >= 10_000_000 }
}

public enum MediumKind: Sendable {
  /// Two ports; carrier is lost at both when it is pulled.
  case cable
  /// Every port hears every frame that is for it or for a group.
  case hub
  /// As a hub, without what IEEE 802.1Q does not let through (01-80-C2-00-00-0x).
  case bridge
  /// Two ends of a UDP tunnel: ports of that kind, which never lose carrier.
  case tunnel
}

/// Where a port is at a medium. Plain memory: taps are what every frame touches.
struct Tap {
  let node: Int32
  /// Index among its node's ports.
  let port: Int32
  let medium: Int32
  /// The tap at the other end, or -1 where several share the medium.
  var peer: Int32 = -1
  let address: MACAddress
  var frameSize: Int32
  var hasCarrier = true
  /// Frames vanish here, and no port learns of it.
  var isCut = false
  private(set) var isPlain = true
  /// In a burst of losses.
  var isBursting = false
  var quality = LinkQuality.perfect { didSet { isPlain = quality.isPlain } }
  /// When what was sent so far has left.
  var busyUntil = Instant.zero
}

struct Medium {
  let kind: MediumKind
  /// Indices of the world's taps.
  var taps: [Int]
  /// What is longer is lost on the way, whatever the ports believe.
  var largestFrame = Int.max
  /// Takes part in no oracle: a test does something to it that they cannot know.
  var isTrusted = true

  func lets(through destination: MACAddress) -> Bool {
    kind != .bridge || destination.value & 0xffff_ffff_fff0 != 0x0180_c200_0000
  }
}
