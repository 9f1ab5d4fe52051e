// An adjacency as others see it: a copy of what is known of one neighbour on one port.

import Core
import Membership

public enum AdjacencyState: Equatable, Sendable {
  /// It has no certificate that holds, or we have none: no link is possible.
  case stranger
  /// Members both; no link key is proved yet.
  case handshaking
  case up
  /// A link key exists; frames do not pass, or not both ways.
  case down(AdjacencyDownReason)

  public var text: StaticString {
    switch self {
    case .stranger: "stranger"
    case .handshaking: "handshaking"
    case .up: "up"
    case .down(let reason): reason.text
    }
  }
}

public struct Adjacency {
  /// 1...255, this node's.
  public let number: UInt16
  public let port: PortNumber
  public let address: MACAddress
  /// Proved when a link key was; before that, what the neighbour says.
  public let id: ComponentID
  public let state: AdjacencyState
  /// From its certificate; nil for a stranger.
  public let role: NodeRole?
  /// The neighbour's number for this link, 0 before a handshake.
  public let neighbourNumber: UInt16
  /// The epoch of the neighbour's descriptor: authentic when linked, otherwise what it says.
  public let neighbourEpoch: UInt32
  /// The largest lifeline frame that can be sent to the neighbour, bytes.
  public let frameSize: Int
  public let cost: UInt16
  /// µs; 0 before the first measurement.
  public let roundTrip: UInt32
  /// Frames the neighbour sent that did not arrive.
  public let losses: UInt64
  public let sent: UInt64
  public let received: UInt64
  /// Frames go to the neighbour's own address, not to the group.
  public let isUnicast: Bool
  /// This end's and the neighbour's, ms.
  public let interval: UInt16
  public let neighbourInterval: UInt16
}
