// What an MA holds beyond any other node: members, the network's graph, and the routes it laid.

import Beacon
import Bearer
import Core
import Crypto
import Membership
import Neighbour
import Onion
import Session
import Store
import Topology
import Wire

final class AuthorityState {
  let index: Int
  var graph: TopologyGraph
  var byID: [ComponentID: UInt32] = [:]
  var byIPv4: [UInt32: UInt32] = [:]
  var byInterfaceID: [UInt64: UInt32] = [:]
  var bySPI: [UInt32: UInt32] = [:]
  /// R of every way back in use, to the channel's number.
  var returnRoutes: [UInt32: UInt32] = [:]
  /// Admission and routing of each channel, by its number.
  var admissions: [UInt32: Admission] = [:]
  /// This MA's own key as the last hop of every way back; fresh in each run.
  let ownKey: Bytes32
  private var routeSequence: UInt32
  private let routeMask: UInt32
  var size = OnionSize(code: 0)
  /// When paths are computed anew; `never` when nothing changed.
  var recomputeDue = Instant.never
  /// When to look which sessions' keys are due for renewal.
  var renewalDue = Instant.zero
  /// Challenges under way, by channel number.
  var challenged: [UInt32] = []

  /// Links that change together are computed together.
  static let recomputeDelay = Duration.milliseconds(2)
  /// What a full stream did not take is tried again.
  static let retryDelay = Duration.milliseconds(100)

  init(index: Int, root: ComponentID, entropy: inout Entropy) {
    self.index = index
    graph = TopologyGraph(root: root)
    ownKey = entropy.bytes32()
    routeSequence = entropy.u32()
    routeMask = entropy.u32()
  }

  /// A route number never used before in this run: a counter, scattered by a bijection of 32 bits.
  func nextRoute() -> UInt32 {
    routeSequence &+= 1
    var x = routeSequence ^ routeMask
    x = (x ^ (x >> 16)) &* 0x7feb_352d
    x = (x ^ (x >> 15)) &* 0x846c_a68b
    return x ^ (x >> 16)
  }

  /// An SPI no longer names this channel's session.
  func forget(spi: UInt32, of channel: Channel) {
    if bySPI[spi] == channel.number, admissions[channel.number]?.spi != spi { bySPI[spi] = nil }
  }

  /// Forgets a channel's addresses and routes; its number stays taken for this run.
  func remove(_ channel: Channel) {
    byID[channel.peer] = nil
    byIPv4[channel.ipv4] = nil
    byInterfaceID[channel.interfaceID] = nil
    if let previous = channel.previousSession { forget(spi: previous.keys.spi, of: channel) }
    if let admission = admissions[channel.number] {
      bySPI[admission.spi] = nil
      for route in admission.returnRoutes { returnRoutes[route] = nil }
    }
    admissions[channel.number] = nil
    challenged.removeAll { $0 == channel.number }
  }

  var nextDeadline: Instant? {
    var deadline: Instant? = min(recomputeDue, renewalDue)
    for number in challenged {
      if let due = admissions[number]?.challengeDue { deadline = earlier(deadline, due) }
    }
    return deadline
  }
}

/// How far a component has come with this MA.
final class Admission {
  var challenge: SessionChallenge?
  var challengeCarrier = Carrier.none
  var challengeDue = Instant.never
  var challengeAttempts = 0
  var challengedAt = Instant.zero
  var spi: UInt32 = 0
  /// The component's nonce that the session was made with.
  var sessionNonce = Bytes16()
  /// A renewal under way: its first message has been given to the stream.
  var renewal: SessionChallenge?
  var renewalBegan = Instant.zero
  /// When the session's keys are to be replaced.
  var renewalDue = Instant.never
  /// R of the ways back given out, the newest last. The one in use stays good with all newer ones, and at least three.
  var returnRoutes: [UInt32] = []
  var path: TopologyPath?
  /// A route must be laid anew though the path is the same: a hop has a new key, or the counter is worn out.
  var routeIsStale = false
  var certificate: [UInt8] = []
  var opening: [UInt8] = []

  static let returnRoutesKept = 3
  static let returnRoutesLimit = 16
  /// 8 sendings: 50, 100, 200 … ms, about 6 s.
  static let challengeLimit = 8
}
