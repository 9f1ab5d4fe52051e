// Sockets that live in a node's namespace while this process stays where it is: a socket belongs to the namespace its
// thread was in when it was made.

import CLab
import Foundation

/// Runs `body` with the calling thread inside a network namespace.
public func inNetwork<R>(of namespace: String, _ body: () throws -> R) throws -> R {
  let saved = try checked(lab_enter_network("/run/netns/\(namespace)"), "enter \(namespace)")
  defer { lab_leave_network(saved) }
  return try body()
}

/// A file descriptor, closed at the end.
public final class Descriptor: @unchecked Sendable {
  public let number: Int32
  public init(_ number: Int32, _ call: String) throws(LabError) {
    if number < 0 { throw .system(call: call, code: number == -1 ? errno : -number) }
    self.number = number
  }
  deinit { close(number) }
}

/// An address of either family, as text and as the kernel wants it.
public struct IPAddress: Sendable, Hashable, CustomStringConvertible {
  public let text: String
  public let bytes: [UInt8]
  public var isIPv6: Bool { bytes.count == 16 }
  public var description: String { text }

  /// nil when the text is no address. A prefix length after `/` is ignored.
  public init?(_ text: String) {
    let text = String(text.prefix { $0 != "/" })
    var four = in_addr()
    var six = in6_addr()
    if inet_pton(AF_INET, text, &four) == 1 {
      bytes = withUnsafeBytes(of: &four) { Array($0) }
    } else if inet_pton(AF_INET6, text, &six) == 1 {
      bytes = withUnsafeBytes(of: &six) { Array($0) }
    } else {
      return nil
    }
    self.text = text
  }

  /// Calls `body` with a socket address.
  public func withSocketAddress<R>(port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    if isIPv6 {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: bytes) }
      return withUnsafePointer(to: address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in6>.size)) }
      }
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    withUnsafeMutableBytes(of: &address.sin_addr) { $0.copyBytes(from: bytes) }
    return withUnsafePointer(to: address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
  }
}

/// A UDP socket of a namespace, bound to `port` on every address (0: any port).
public func udpSocket(in namespace: String, isIPv6: Bool, port: UInt16 = 0) throws -> Descriptor {
  try inNetwork(of: namespace) {
    let socket = try Descriptor(
      socket(isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0), "socket")
    guard let any = IPAddress(isIPv6 ? "::" : "0.0.0.0") else { throw LabError.expectation("no such address") }
    if any.withSocketAddress(port: port, { bind(socket.number, $0, $1) }) != 0 {
      throw LabError.system(call: "bind to UDP port \(port)", code: errno)
    }
    return socket
  }
}

/// A packet socket that sends and hears every frame on an interface of the calling thread's namespace.
public func packetSocket(on interface: String) throws(LabError) -> Descriptor {
  try Descriptor(lab_packet_socket(interface, 0), "packet socket on \(interface)")
}
