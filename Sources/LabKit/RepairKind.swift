// The kinds of failure whose repair is measured, and what each may cost.

/// What fails on the way of a stream.
public enum RepairKind: String, CaseIterable, Sendable {
  case carrier
  case silent
  /// Frames away from the stream's source, and toward it.
  case oneWayOut = "one-way-out"
  case oneWayBack = "one-way-back"
  /// Frames of more than `Laboratory.largeFrame` bytes.
  case large
  case killed, frozen
  /// A node that passes hellos and drops what carries payload.
  case grey

  public var isOfNode: Bool { [.killed, .frozen, .grey].contains(self) }

  public var text: String {
    switch self {
    case .carrier: "carrier lost"
    case .silent: "silent, both ways"
    case .oneWayOut: "silent, away from the source"
    case .oneWayBack: "silent, toward the source"
    case .large: "large frames only"
    case .killed: "node killed"
    case .frozen: "node frozen"
    case .grey: "grey hole"
    }
  }

  /// Milliseconds between two arrivals that an unprotected stream may see at worst.
  public var gapLimit: Double {
    switch self {
    case .carrier: 5
    case .silent, .killed, .frozen: 75
    case .oneWayOut, .oneWayBack: 95
    case .large: 3000
    case .grey: 1000
    }
  }

  /// Seconds a failure lasts: longer than its repair may take.
  public var hold: Double {
    switch self {
    case .large: 4
    case .grey: 1.5
    case .carrier, .silent, .oneWayOut, .oneWayBack, .killed, .frozen: 1
    }
  }

  /// Seconds from one to the next. That large frames pass again is found in up to 3 s.
  public var period: Double { self == .large ? 8 : 2 }
}

/// Whether a stream goes over two routes at once. A protected flow may lose nothing; an unprotected one may see gaps.
public enum Protection: String, CaseIterable, Sendable {
  case unprotected, protected

  /// Settings that make every store's node so (`provision set`). All flows of up to 1 Mb/s are protected by default.
  public var settings: [String] { self == .unprotected ? ["protected-rate=0"] : [] }

  /// Within the protected class's 1 Mb/s when it has to be. Every 32nd datagram is large where large ones are lost: as
  /// many as that rate leaves room for.
  public func shape(for kind: RepairKind) -> StreamShape {
    guard kind == .large else { return StreamShape() }
    return self == .protected ? StreamShape(size: 32, largeEvery: 32) : StreamShape(size: StreamShape().largeSize)
  }
}

/// Between whom the streams run.
public enum RepairFlow: String, CaseIterable, Sendable {
  /// From the MA to a component, and from it to the MA, at the same time.
  case authority
  /// From one component to another: through the MA.
  case components
}

/// The limits' verdict on a kind's figures.
public struct RepairVerdict: Sendable, Equatable {
  public var limit: String
  public var isMet: Bool

  public init(_ kind: RepairKind, _ protection: Protection, _ cuts: [StretchFigures]) {
    switch protection {
    case .unprotected:
      limit = "gap \(Int(kind.gapLimit)) ms"
      isMet = !cuts.isEmpty && cuts.allSatisfy { $0.gap <= kind.gapLimit }
    case .protected:
      limit = "lost 0"
      isMet = !cuts.isEmpty && cuts.allSatisfy { $0.lost == 0 }
    }
  }
}
