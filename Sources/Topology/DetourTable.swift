// What a node is given for repair beside a failure: ways around a link or a neighbour, as facility bypasses of RFC 4090.
// A frame that cannot go on by its own way goes around under a label that every node on the way around swaps, and comes
// back to its own way as if it had come by it.

import Core

/// The beginning of a detour, at the node beside the failure.
public struct DetourHead: Sendable, Equatable {
  /// The adjacency that failed.
  public var egress: UInt16
  /// When the neighbour may have failed: the adjacency by which the frame would leave it. 0 when only the link has: the
  /// detour ends at the neighbour itself.
  public var onward: UInt16
  /// The adjacency to send on instead.
  public var first: UInt16
  /// The label to write.
  public var label: UInt16
  /// The largest frame that gets round, bytes.
  public var frameSize: UInt16

  public init(egress: UInt16, onward: UInt16, first: UInt16, label: UInt16, frameSize: UInt16) {
    self.egress = egress
    self.onward = onward
    self.first = first
    self.label = label
    self.frameSize = frameSize
  }
}

/// A detour at a node it passes or ends at.
public struct DetourStep: Sendable, Equatable {
  /// The adjacency a frame comes by.
  public var ingress: UInt16
  /// Its label, not 0.
  public var label: UInt16
  /// The adjacency it goes on by; 0: the detour ends here.
  public var egress: UInt16
  /// The label to write; at the end the adjacency the frame counts as having come by.
  public var next: UInt16

  public init(ingress: UInt16, label: UInt16, egress: UInt16, next: UInt16) {
    self.ingress = ingress
    self.label = label
    self.egress = egress
    self.next = next
  }
}

/// All of one node's detours.
public struct DetourTable: Sendable, Equatable {
  /// By (egress, onward), each pair once.
  public var heads: [DetourHead] = []
  /// By (ingress, label), each pair once.
  public var steps: [DetourStep] = []

  public init() {}

  public static let headLimit = 1_024
  public static let stepLimit = 4_096
  /// Links of a detour.
  public static let longest = 16
}
