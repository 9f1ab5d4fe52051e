// What the engine says: to whom frames go, what became of a received one, what changed.

import Core

/// Where a sealed frame goes.
public struct LinkDestination: Equatable, Sendable {
  public var port: PortNumber
  public var address: MACAddress

  @inlinable
  public init(port: PortNumber, address: MACAddress) {
    self.port = port
    self.address = address
  }
}

/// What a received frame was.
public enum NeighbourVerdict: Equatable {
  /// The engine's own; done with.
  case consumed
  case refused(NeighbourRefusal)
  /// An authentic ONION frame, decrypted in place.
  case onion(adjacency: UInt16)
  /// An authentic LINKED frame, decrypted in place; the content's place in the frame.
  case linked(adjacency: UInt16, subtype: UInt8, offset: Int, count: Int)
  /// An OPEN frame, from a stranger or from an authenticated neighbour: its sender is not proved.
  case open(adjacency: UInt16, subtype: UInt8, offset: Int, count: Int)
}

/// A frame that travels by value: a small hello, nearly all that is sent at rest.
public struct ShortFrame {
  /// Bytes.
  public static let size = HelloFrame.size

  private var bytes = InlineArray<56, UInt8>(repeating: 0)

  init() {}

  @inline(__always)
  mutating func withMutableBytes(_ body: (UnsafeMutablePointer<UInt8>) -> Void) {
    withUnsafeMutableBytes(of: &bytes) { body($0.baseAddress!.assumingMemoryBound(to: UInt8.self)) }
  }

  /// There must be room for `size` bytes.
  @inline(__always)
  public func copy(to destination: UnsafeMutablePointer<UInt8>) {
    withUnsafeBytes(of: bytes) {
      UnsafeMutableRawPointer(destination).copyMemory(from: $0.baseAddress!, byteCount: ShortFrame.size)
    }
  }

  public var array: [UInt8] {
    withUnsafeBytes(of: bytes) { Array($0) }
  }
}

public enum NeighbourOutput {
  /// A small hello to send.
  case hello(ShortFrame, port: PortNumber, destination: MACAddress)
  /// A frame of the engine's own to send.
  case transmit([UInt8], port: PortNumber, destination: MACAddress)
  /// The adjacency carries frames both ways. Also the end of its time as a stranger, if it was one.
  case adjacencyUp(UInt16)
  /// It may be forgotten already: whom it led to, by which port, and what it carried.
  case adjacencyDown(UInt16, AdjacencyDownReason, neighbour: ComponentID, port: PortNumber, frameSize: Int)
  /// It is up, and what should have been heard was not, at this end or the other: to be gone round while that lasts.
  case adjacencyDoubted(UInt16)
  /// It was in doubt, and is heard again.
  case adjacencyTrusted(UInt16)
  /// Frame size, cost, the neighbour's number or its epoch changed.
  case adjacencyChanged(UInt16)
  /// An adjacency that is up has a new key: its age was up, or the neighbour has restarted so fast that nobody missed it,
  /// and knows nothing.
  case adjacencyRenewed(UInt16)
  /// A neighbour that cannot be linked (now): OPEN RELAY frames can be exchanged with it.
  case strangerHeard(UInt16)
  /// The stranger with this number is forgotten.
  case strangerGone(UInt16)
  case event(LogLevel, String)
}

public enum AdjacencyDownReason: UInt8, Equatable, Sendable {
  /// Three hellos missed.
  case silent
  /// The neighbour is heard and does not hear us.
  case oneWay
  case carrierLost
  /// The neighbour said goodbye.
  case leaving
  /// Small frames pass, large ones do not.
  case largeFramesLost
  /// One of the two ports has frames smaller than the network's.
  case tooSmall
  /// Its certificate does not hold any more.
  case revoked
  /// The port does not exist any more.
  case portGone
  /// This node is stopping.
  case stopped

  public var text: StaticString {
    switch self {
    case .silent: "silent"
    case .oneWay: "one-way"
    case .carrierLost: "carrier lost"
    case .leaving: "leaving"
    case .largeFramesLost: "large frames lost"
    case .tooSmall: "too small"
    case .revoked: "revoked"
    case .portGone: "port gone"
    case .stopped: "stopped"
    }
  }
}

/// Why a frame was refused; each is counted.
public enum NeighbourRefusal: UInt8, Error, CaseIterable, Sendable {
  /// Shorter than its kind, or than the length it states.
  case truncated
  /// Byte 0 is none that this version sends.
  case unknownType
  /// A field holds a value the format does not allow.
  case invalidField
  case unknownPort
  case portDown
  case otherNetwork
  /// This node's own ID from one of its own ports: a cable loop.
  case ownPort
  /// This node's own ID from a foreign address: a clone.
  case clone
  /// No DISCOVER has come from this address on this port.
  case unknownNeighbour
  /// A protected frame, and no live key for its phase.
  case noKey
  case badTag
  case replayed
  /// A handshake with a nonce that is not one of the last two.
  case staleNonce
  /// A first handshake message from the node with the higher ID.
  case wrongInitiator
  /// A handshake for which this node has no certificate to show or is not waiting.
  case unexpectedHandshake
  /// Noise refused the message.
  case handshakeNotAuthentic
  case badCertificate
  /// An ID other than the live neighbour's from the same address.
  case identityConflict
  case noRoomForNeighbour
  /// More DISCOVERs from new neighbours, handshakes or certificates than are looked at in a second.
  case overBudget
  /// More OPEN frames than are let through in a second.
  case openOverBudget
  /// A DISCOVER from across a switch, where this node is set to have no such neighbours.
  case wideDiscoveryOff

  /// As `lifeline ctl` shows it.
  public var name: StaticString {
    switch self {
    case .truncated: "truncated"
    case .unknownType: "unknownType"
    case .invalidField: "invalidField"
    case .unknownPort: "unknownPort"
    case .portDown: "portDown"
    case .otherNetwork: "otherNetwork"
    case .ownPort: "ownPort"
    case .clone: "clone"
    case .unknownNeighbour: "unknownNeighbour"
    case .noKey: "noKey"
    case .badTag: "badTag"
    case .replayed: "replayed"
    case .staleNonce: "staleNonce"
    case .wrongInitiator: "wrongInitiator"
    case .unexpectedHandshake: "unexpectedHandshake"
    case .handshakeNotAuthentic: "handshakeNotAuthentic"
    case .badCertificate: "badCertificate"
    case .identityConflict: "identityConflict"
    case .noRoomForNeighbour: "noRoomForNeighbour"
    case .overBudget: "overBudget"
    case .openOverBudget: "openOverBudget"
    case .wideDiscoveryOff: "wideDiscoveryOff"
    }
  }
}

/// Since the start; all rise only.
public struct NeighbourCounters {
  private var refused = InlineArray<24, UInt64>(repeating: 0)
  public internal(set) var hellosSent: UInt64 = 0
  public internal(set) var hellosReceived: UInt64 = 0
  public internal(set) var discoversSent: UInt64 = 0
  public internal(set) var discoversReceived: UInt64 = 0
  /// Answers a full budget left unsent.
  public internal(set) var answersWithheld: UInt64 = 0
  public internal(set) var handshakesBegun: UInt64 = 0
  public internal(set) var handshakesAnswered: UInt64 = 0
  /// Keys that carried an authentic hello.
  public internal(set) var keysProved: UInt64 = 0
  public internal(set) var certificatesVerified: UInt64 = 0
  public internal(set) var adjacenciesUp: UInt64 = 0
  public internal(set) var adjacenciesDown: UInt64 = 0
  /// Times a link that was up was in doubt.
  public internal(set) var adjacenciesDoubted: UInt64 = 0
  /// Frames not sealed because the adjacency was not up.
  public internal(set) var notUp: UInt64 = 0
  /// Frames not sent because they are larger than the adjacency or the port carries.
  public internal(set) var tooLarge: UInt64 = 0
  /// OPEN frames not composed for want of budget.
  public internal(set) var openWithheld: UInt64 = 0
  /// Frames of the engine's own dropped because too many were waiting.
  public internal(set) var outputsDropped: UInt64 = 0
  /// Times a link could not be used, or no more, because it carries no frames of the network's size.
  public internal(set) var linksTooSmall: UInt64 = 0
  /// Times holds were extended because the loop was late.
  public internal(set) var lateLoops: UInt64 = 0
  /// Strangers, and what members left behind themselves, forgotten to make room for others.
  public internal(set) var strangersReplaced: UInt64 = 0
  /// Places with a key that went to another neighbour because their own had others on the port.
  public internal(set) var placesGivenUp: UInt64 = 0

  public init() {}

  public subscript(_ refusal: NeighbourRefusal) -> UInt64 { refused[Int(refusal.rawValue)] }

  @inline(__always)
  mutating func count(_ refusal: NeighbourRefusal) { refused[Int(refusal.rawValue)] &+= 1 }

  /// Frames refused, for whatever reason.
  public var refusedInAll: UInt64 {
    var sum: UInt64 = 0
    for i in refused.indices { sum &+= refused[i] }
    return sum
  }
}
