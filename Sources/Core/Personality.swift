// What a running node looks like from below: the contract between Runtime (or the simulator), which owns the clock and
// the file descriptors, and Node, which owns the protocol. Events and the time go in; outputs and a deadline come out.

/// Runtime's number for one network port, stable while the port exists. A number comes again for another peer of a tunnel
/// listener, after the one before has vanished, and for another port when all others have been given.
public struct PortNumber: Sendable, Equatable, Hashable, Comparable {
  public var value: UInt16
  public init(_ value: UInt16) { self.value = value }
  public static func < (a: PortNumber, b: PortNumber) -> Bool { a.value < b.value }
}

/// An IEEE 802 MAC address, in the low 48 bits.
public struct MACAddress: Sendable, Equatable, Hashable {
  public var value: UInt64
  public init(_ value: UInt64) { self.value = value & 0xffff_ffff_ffff }
  /// The nearest-bridge group address, which bridges do not forward (IEEE 802.1Q table 8-1).
  public static let nearestBridge = MACAddress(0x0180_c200_000e)
  /// A locally administered group address that unmanaged switches and bridges flood: the slow discovery.
  public static let wideDiscovery = MACAddress(0x034c_4946_4501)
  /// Either end of a tunnel, which has no address of this kind: a port that is a tunnel has one peer.
  public static let tunnelEnd = MACAddress(0x024c_4946_4502)
}

/// The EtherType of the channel's frames (docs/PROTOCOL.md): the first that IEEE 802 leaves to experiments.
public let channelEtherType: UInt16 = 0x88b5

/// The kind of medium, which sets the default pace of hellos.
public enum PortMedium: UInt8, Sendable {
  case ethernet, wireless, tunnel
}

/// One port as the system shows it now.
public struct PortStatus: Sendable, Equatable {
  /// The system's name, at most 15 bytes ASCII.
  public var name: String
  public var address: MACAddress
  /// The largest lifeline frame the port carries, bytes (the link's MTU).
  public var frameSize: Int
  /// Administratively up and carrier present.
  public var isUp: Bool
  public var medium: PortMedium
  /// Ports that fail together share it (one physical parent); 0 when it is alone.
  public var riskGroup: UInt32
  /// Cost of a link here that does not flap, at most 10,000; 0 is the medium's.
  public var cost: UInt16

  public init(
    name: String, address: MACAddress, frameSize: Int, isUp: Bool, medium: PortMedium, riskGroup: UInt32,
    cost: UInt16 = 0
  ) {
    self.name = name
    self.address = address
    self.frameSize = frameSize
    self.isUp = isUp
    self.medium = medium
    self.riskGroup = riskGroup
    self.cost = cost
  }

  public static func == (a: PortStatus, b: PortStatus) -> Bool {
    a.address == b.address && a.frameSize == b.frameSize && a.isUp == b.isUp && a.medium == b.medium
      && a.riskGroup == b.riskGroup && a.cost == b.cost && a.name.utf8.elementsEqual(b.name.utf8)
  }
}

public enum LogLevel: UInt8, Sendable, Comparable {
  case error, warning, notice, info, debug
  public static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }
}

/// What the bearer interface is to look like; Runtime makes it so and keeps it so.
public struct BearerAddresses: Sendable, Equatable {
  /// Host order.
  public var ipv4: UInt32
  public var ipv4PrefixLength: UInt8
  /// Network order: byte 0 is the most significant.
  public var ipv6: Bytes16
  public var ipv6PrefixLength: UInt8

  public init(ipv4: UInt32, ipv4PrefixLength: UInt8, ipv6: Bytes16, ipv6PrefixLength: UInt8) {
    self.ipv4 = ipv4
    self.ipv4PrefixLength = ipv4PrefixLength
    self.ipv6 = ipv6
    self.ipv6PrefixLength = ipv6PrefixLength
  }
}

/// What a node wants done. Drained until nil after every event.
public enum NodeOutput {
  /// A lifeline frame (no Ethernet header; at least 14 bytes of head room) to send. Runtime gives the buffer back to
  /// the pool after it is sent or dropped.
  case transmit(PacketBuffer, port: PortNumber, destination: MACAddress)
  /// A packet for the local IP stack: a 10-byte virtio_net_hdr, then an IP packet of up to 65,535 bytes. Valid only
  /// until the next call into the node; Runtime writes it at once and does not give it back.
  case deliver(UnsafeRawBufferPointer)
  /// The bearer's addresses are known or have changed.
  case configureBearer(BearerAddresses)
  /// The store's contents to be written to the nonvolatile file, beside everything else. What must not be told before it
  /// is there the node keeps back until `storeIsSettled`.
  case persist([UInt8])
  /// One line for the log and the event ring.
  case event(LogLevel, String)
}

/// What a node makes of a datagram from an address that no tunnel's peer is known at.
public enum TunnelArrival: Sendable, Equatable {
  /// Nobody's: to be refused.
  case nobody
  /// A DISCOVER of this network, which anybody may have sent or repeated.
  case newcomer
  /// The neighbour on this port says it, now, and has fallen silent where it was: it is at this address from now on.
  case moved(PortNumber)
}

/// Who is behind a tunnel's port, proved by a link key.
public struct TunnelNeighbour: Sendable, Equatable {
  public var id: ComponentID
  public var isUp: Bool
  public init(id: ComponentID, isUp: Bool) {
    self.id = id
    self.isUp = isUp
  }
}

/// A node. `Runtime` is generic over it; nothing here blocks, reads a clock or allocates without bound.
public protocol Personality: ~Copyable {
  /// A port appeared or changed.
  mutating func portChanged(_ port: PortNumber, _ status: PortStatus, at now: Instant)
  /// A port is gone.
  mutating func portVanished(_ port: PortNumber, at now: Instant)
  /// A lifeline frame arrived (Ethernet header removed). The node takes the buffer over.
  mutating func receive(_ frame: PacketBuffer, on port: PortNumber, from source: MACAddress, at now: Instant)
  /// Whether a frame is of those that come all the time, on every port, and carry nothing.
  static func isSignOfLife(_ frame: PacketBuffer) -> Bool
  /// The local IP stack sent a packet: virtio_net_hdr (10 bytes) and IP packet. The bytes are the caller's and may be
  /// changed in place.
  mutating func bearerSent(_ packet: UnsafeMutableRawBufferPointer, at now: Instant)
  mutating func timeout(at now: Instant)
  mutating func nextOutput() -> NodeOutput?
  var nextDeadline: Instant? { get }
  /// The caller's loop was this late; holds are extended, nobody is blamed.
  mutating func loopWasLate(by lateness: Duration, at now: Instant)
  /// Of the contents handed out by `persist` the first `count`, or newer ones, are on the medium, or it has refused them.
  mutating func storeIsSettled(through count: UInt64, at now: Instant)
  /// A request of the control socket; the answer is a whole document (JSON) or an error line. It is given when what the
  /// node had written meanwhile is settled.
  mutating func control(_ request: ControlRequest, at now: Instant) -> ControlAnswer
  /// A datagram came to a tunnel's socket from an unknown address: whose it may be. The bytes stay as they are.
  mutating func judgeArrival(_ frame: PacketBuffer, at now: Instant) -> TunnelArrival
  /// Nil while nobody on the port holds a link key.
  func tunnelNeighbour(on port: PortNumber) -> TunnelNeighbour?
  /// The process is about to end: say goodbye to neighbours; outputs are drained once more.
  mutating func shutdown(at now: Instant)
}

/// For nodes without tunnels, hellos or promises.
extension Personality where Self: ~Copyable {
  public static func isSignOfLife(_ frame: PacketBuffer) -> Bool { false }
  public mutating func storeIsSettled(through count: UInt64, at now: Instant) {}
  public mutating func judgeArrival(_ frame: PacketBuffer, at now: Instant) -> TunnelArrival { .nobody }
  public func tunnelNeighbour(on port: PortNumber) -> TunnelNeighbour? { nil }
}

/// A command of `lifeline ctl`, split into words.
public struct ControlRequest {
  public var words: [[UInt8]]
  /// Bytes handed along, for instance enrolment records read from a USB directory by the client; empty when none.
  public var attachment: [UInt8]
  /// Whether the bearer device is up, which only Runtime sees and `status` tells.
  public var bearerIsUp = true
  public init(words: [[UInt8]], attachment: [UInt8]) {
    self.words = words
    self.attachment = attachment
  }
}

public enum ControlAnswer {
  /// One JSON document, UTF-8.
  case document([UInt8])
  /// One line: what was wrong and what to do.
  case failure(String)
}
