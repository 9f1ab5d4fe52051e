// What a neighbour engine is told at its start.

import Core
import Crypto
import Membership

public struct NeighbourConfiguration {
  public var id: ComponentID
  public var agreement: AgreementKeyPair
  public var descriptor: NetworkDescriptor
  /// This node's own; nil until the network has taken it in.
  public var certificate: MembershipCertificate?
  /// Pace of hellos, ms, 10...1000.
  public var ethernetInterval: UInt16 = 20
  public var wirelessInterval: UInt16 = 100
  public var tunnelInterval: UInt16 = 500
  /// Intervals are lengthened so that no more hellos than this are sent a second (2 % of a processor at about 20 µs for
  /// sending one and hearing one).
  public var helloLimitPerSecond = 1000
  /// Age of a link key at which the initiator makes a new one.
  public var rekeyAge = Duration.seconds(7200)
  /// Whether to look for neighbours behind unmanaged switches.
  public var wideDiscovery = true

  public init(
    id: ComponentID, agreement: AgreementKeyPair, descriptor: NetworkDescriptor, certificate: MembershipCertificate?
  ) {
    self.id = id
    self.agreement = agreement
    self.descriptor = descriptor
    self.certificate = certificate
  }

  /// Milliseconds.
  func interval(of medium: PortMedium) -> UInt16 {
    let chosen: UInt16
    switch medium {
    case .ethernet: chosen = ethernetInterval
    case .wireless: chosen = wirelessInterval
    case .tunnel: chosen = tunnelInterval
    }
    return min(max(chosen, HelloFrame.intervals.lowerBound), HelloFrame.intervals.upperBound)
  }
}

extension PortMedium {
  /// Cost of a link that does not flap.
  var cost: UInt16 {
    switch self {
    case .ethernet: 10
    case .wireless: 50
    case .tunnel: 200
    }
  }
}
