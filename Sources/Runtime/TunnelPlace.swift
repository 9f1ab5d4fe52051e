// One tunnel: a port of the node whose other end is one UDP peer. Configured ones are always there; those of a listener
// come and go with their peers.

import Core
import Wire

struct TunnelPlace {
  /// Why nothing is sent.
  enum Obstacle: Equatable {
    case managementPrefix
    case overBearer
    case noRoute(Int32)
    case noSocket

    var text: String {
      switch self {
      case .managementPrefix: "its address is in the management prefix, which the channel itself carries"
      case .overBearer: "the route to it leads over the management device, which the channel itself carries"
      case .noRoute(let code): "there is no route to it (errno \(code))"
      case .noSocket: "there is no UDP socket for it"
      }
    }
  }

  let number: PortNumber
  let name: String
  /// Nil: of a listener.
  let configured: InternetEndpoint?
  let cost: UInt16
  var isUsed: Bool
  var address: TunnelAddress
  var status: PortStatus
  var counters = PortCounters()
  var obstacle: Obstacle?
  /// As last asked of the node.
  var neighbour: TunnelNeighbour?
  /// The obstacle, or its end, was said.
  var isSettled = false
  var bornAt = Instant.zero
  var heardAt = Instant.zero
  /// The kernel refused a frame of this size, and the MTU does not say why.
  var refusedSize = Int.max
  var interface: Int32 = 0
  /// The kernel refused something: the route is looked at again.
  var wantsLook = true

  init(number: PortNumber, name: String, configured: InternetEndpoint?, address: TunnelAddress, cost: UInt16) {
    self.number = number
    self.name = name
    self.configured = configured
    self.cost = cost
    self.address = address
    isUsed = true
    status = PortStatus(
      name: name, address: .tunnelEnd, frameSize: TunnelLimits.safeFrame, isUp: false, medium: .tunnel, riskGroup: 0,
      cost: cost)
  }

  /// The kernel did not take a datagram of this many bytes.
  mutating func refused(_ count: Int, _ code: Int32) {
    counters.sendFailed &+= 1
    wantsLook = true
    switch code {
    case SystemCode.messageTooLong: refusedSize = min(refusedSize, count)
    // The address of ours that was spoken to is gone.
    case SystemCode.invalid, SystemCode.addressNotAvailable, SystemCode.networkUnreachable: address.local = Bytes16()
    default: break
    }
  }

  /// Takes in which way the datagrams go. True when that changes the port.
  mutating func take(_ route: TunnelRoute, bearer: Int32) -> Bool {
    let before = status
    wantsLook = false
    switch route {
    case .none(let code): setObstacle(.noRoute(code))
    case .over(let interface, _) where interface == bearer && bearer > 0: setObstacle(.overBearer)
    case .over(let interface, let mtu):
      setObstacle(nil)
      let size = max(0, mtu - (address.remote.isIPv6 ? TunnelLimits.headers6 : TunnelLimits.headers4))
      if interface != self.interface || size < refusedSize { refusedSize = Int.max }
      self.interface = interface
      status.frameSize = min(size, frameLimit)
      // Tunnels over one interface fail together. Ports' groups are interface numbers, far below.
      status.riskGroup = 1 << 31 | UInt32(bitPattern: interface)
    }
    status.isUp = obstacle == nil
    return status != before
  }

  /// Where the MTU is not all there is to it (a security association takes its share), what every path carries.
  private var frameLimit: Int {
    if refusedSize == Int.max { return refusedSize }
    return refusedSize > TunnelLimits.safeFrame ? TunnelLimits.safeFrame : TunnelLimits.smallFrame
  }

  mutating func setObstacle(_ found: Obstacle?) {
    if obstacle != found { isSettled = false }
    obstacle = found
    status.isUp = found == nil
  }
}
