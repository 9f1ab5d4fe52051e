// What lies between ports: cables, and segments that several ports share.

import Core

/// How frames fare that are sent into a medium at one of its taps.
public struct LinkQuality: Sendable {
  public var delay = Duration.microseconds(50)
  /// Up to this much longer, evenly: more than the gap between frames reorders them.
  public var jitter = Duration.zero
  /// nil: no serialization time.
  public var bitsPerSecond: Int64?
  public var loss = 0.0
  public var duplication = 0.0
  /// One to four bits of a frame are flipped.
  public var corruption = 0.0

  public init() {}

  public static let perfect = LinkQuality()
}

public enum MediumKind: Sendable {
  /// Two ports; carrier is lost at both when it is pulled.
  case cable
  /// Every port hears every frame that is for it or for a group.
  case hub
  /// As a hub, without what IEEE 802.1Q does not let through (01-80-C2-00-00-0x).
  case bridge
}

struct Tap {
  let node: Int
  let port: Int
  var quality = LinkQuality.perfect
  /// When what was sent so far has left.
  var busyUntil = Instant.zero
}

struct Medium {
  let kind: MediumKind
  var taps: [Tap]
  /// Frames vanish, and no port learns of it.
  var isCut = false
  /// What is longer is lost on the way, whatever the ports believe.
  var largestFrame = Int.max

  /// A sender's queue at a tap with a rate, in time.
  static let queueLimit = Duration.milliseconds(50)

  func lets(through destination: MACAddress) -> Bool {
    kind != .bridge || destination.value & 0xffff_ffff_fff0 != 0x0180_c200_0000
  }
}
