// Stand-ins for the port monitor and the bearer device until theirs arrive.

import CSystem
import Core

public struct PortPolicy {
  public var named: [[UInt8]]
  public var keepDown: [[UInt8]]
  public var bearerName: [UInt8]
  public init(named: [[UInt8]], keepDown: [[UInt8]], bearerName: [UInt8]) {
    self.named = named
    self.keepDown = keepDown
    self.bearerName = bearerName
  }
}

public enum PortChange {
  case present(ifindex: Int32, PortStatus)
  case gone(ifindex: Int32)
  case note(LogLevel, String)
}

public struct PortMonitor: ~Copyable {
  let policy: PortPolicy
  let epoll: Int32
  public init(policy: PortPolicy) throws(SystemError) {
    self.policy = policy
    epoll = cs_epoll_create()
  }
  public var fileDescriptor: Int32 { epoll }
  public mutating func start() -> [PortChange] {
    var changes: [PortChange] = []
    for name in policy.named {
      let index = terminated(name)!.withUnsafeBufferPointer { cs_interface_index($0.baseAddress!) }
      if index < 0 { continue }
      changes.append(
        .present(
          ifindex: index,
          PortStatus(
            name: String(decoding: name, as: UTF8.self), address: MACAddress(0x0200_0000_0000 | UInt64(index)),
            frameSize: 1500, isUp: true, medium: .ethernet, riskGroup: 0)))
    }
    return changes
  }
  public mutating func refresh(at now: Instant) -> [PortChange] { [] }
  public var nextDeadline: Instant? { nil }
  public mutating func shutdown() { cs_close(epoll) }
}

public struct BearerDevice: ~Copyable {
  let epoll: Int32
  public init(name: [UInt8], protect: Bool) throws(SystemError) { epoll = cs_epoll_create() }
  public var fileDescriptor: Int32 { epoll }
  public func read(into: UnsafeMutableRawBufferPointer) -> Int { -11 }
  public func write(_ packet: UnsafeRawBufferPointer) -> Int { packet.count }
  public mutating func configure(_ addresses: BearerAddresses, at now: Instant) {}
  public mutating func observed(fromKernel packet: UnsafeMutableRawBufferPointer) -> Bool { false }
  public mutating func timeout(at now: Instant) {}
  public var nextDeadline: Instant? { nil }
  public mutating func nextNote() -> (LogLevel, String)? { nil }
  public var statusJSON: String { "{}" }
  public mutating func shutdown() {}
}
