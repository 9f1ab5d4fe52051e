// What the beacon engine is told, wants done and counts.

import Core

/// One authority of the descriptor. Its place in the list is the index used everywhere.
public struct BeaconAuthority: Sendable, Equatable {
  public var id: ComponentID
  /// Ed25519.
  public var signingKey: Bytes32

  public init(id: ComponentID, signingKey: Bytes32) {
    self.id = id
    self.signingKey = signingKey
  }
}

public enum BeaconOutput {
  /// Send the beacon on this adjacency: LINKED when it has a link key, OPEN otherwise.
  case send([UInt8], adjacency: UInt16)
  /// Send the beacon on every adjacency but this one (0: on every one). Strangers too.
  case flood([UInt8], except: UInt16)
  /// The newest beacon of an authority, not our own, came first on this adjacency.
  case newest(
    authority: Int, boot: UInt32, counter: UInt32, adjacency: UInt16, epoch: UInt32, sizeCode: UInt8)
  /// Its boot is higher than any known, or the first known: sessions of an older one are over. After its `newest`.
  case newBoot(authority: Int)
  /// Our own boot count was behind; this one is to be stored before any output that follows.
  case bootJumped(UInt32)
  case event(LogLevel, String)
}

/// The newest beacon known of an authority.
public struct NewestBeacon: Sendable, Equatable {
  public var boot: UInt32
  public var counter: UInt32
  public var epoch: UInt32
  public var sizeCode: UInt8
  /// Bit i: the authority reaches the one with index i.
  public var reached: UInt16
  /// Where its first authentic copy came from; nil for our own, and when that adjacency has gone down since.
  public var adjacency: UInt16?
}

public struct BeaconCounters: Sendable, Equatable {
  public var originated: UInt64 = 0
  /// Newer and authentic.
  public var accepted: UInt64 = 0
  /// Copies of the newest one: not verified again.
  public var duplicates: UInt64 = 0
  /// Older than the newest one.
  public var old: UInt64 = 0
  /// Old ones from authenticated neighbours that were answered with the newest one.
  public var answered: UInt64 = 0
  /// Accepted from a stranger after no authenticated neighbour brought it in time.
  public var acceptedLate: UInt64 = 0
  public var refusedMalformed: UInt64 = 0
  public var refusedUnknownAuthority: UInt64 = 0
  public var refusedSignature: UInt64 = 0
  /// The number of the newest one, and other bytes.
  public var refusedConflicting: UInt64 = 0
  /// Over the budget of signature checks.
  public var refusedBudget: UInt64 = 0
  /// An authority sends more beacons than it may.
  public var refusedPace: UInt64 = 0
  /// More adjacencies than the table holds.
  public var refusedAdjacency: UInt64 = 0
  /// Jumps of our own boot count that were put off: another node uses our key.
  public var refusedJump: UInt64 = 0
  /// Outputs dropped because they were not drained.
  public var droppedOutputs: UInt64 = 0

  public init() {}
}
