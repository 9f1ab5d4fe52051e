// What a node is given for repair beside a failure: where its detours begin, and what it does for those of others.

import Wire

/// All of one node's detours.
public struct DetourTable: Sendable, Equatable {
  /// By (egress, onward), each pair once.
  public var heads: [DetourHead] = []
  /// By (ingress, label), each pair once.
  public var steps: [DetourStep] = []

  public init() {}

  public static let headLimit = DetourPart.headLimit
  public static let stepLimit = DetourPart.stepLimit
  /// Links of a detour.
  public static let longest = 16
}
