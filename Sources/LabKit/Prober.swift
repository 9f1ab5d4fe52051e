// When can every node be reached? A process for each ping would measure the machine's two cores; one raw socket a family
// in the authority's namespace asks everybody at once, with the same ICMP echo that ping sends.

import Foundation

public final class Prober {
  private let four: Descriptor
  private let six: Descriptor
  private let identifier: UInt16
  private var sequence: UInt16 = 0

  /// A prober whose packets leave from `namespace`.
  public init(in namespace: String) throws {
    (four, six) = try inNetwork(of: namespace) {
      let kind = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
      return (
        try Descriptor(socket(AF_INET, kind, Int32(IPPROTO_ICMP)), "socket"),
        try Descriptor(socket(AF_INET6, kind, Int32(IPPROTO_ICMPV6)), "socket")
      )
    }
    identifier = UInt16.random(in: 1 ... .max)
  }

  /// An echo request (RFC 792, RFC 4443 §4.1) with eight bytes of payload; the kernel sums the IPv6 one.
  private func send(to address: IPAddress) {
    sequence &+= 1
    var packet: [UInt8] = [address.isIPv6 ? 128 : 8, 0, 0, 0]
    packet += [UInt8(identifier >> 8), UInt8(identifier & 0xff), UInt8(sequence >> 8), UInt8(sequence & 0xff)]
    packet += [UInt8](repeating: 0x6c, count: 8)
    if !address.isIPv6 {
      var sum: UInt32 = 0
      for i in stride(from: 0, to: packet.count, by: 2) { sum += UInt32(packet[i]) << 8 | UInt32(packet[i + 1]) }
      while sum > 0xffff { sum = (sum & 0xffff) + (sum >> 16) }
      packet[2] = UInt8(~sum >> 8 & 0xff)
      packet[3] = UInt8(~sum & 0xff)
    }
    // A refusal (no route yet) is as good as a loss.
    _ = address.withSocketAddress(port: 0) {
      sendto(address.isIPv6 ? six.number : four.number, packet, packet.count, 0, $0, $1)
    }
  }

  /// Sources of the answers that have come in.
  private func answers() -> Set<[UInt8]> {
    var sources: Set<[UInt8]> = []
    var buffer = [UInt8](repeating: 0, count: 2048)
    while true {
      let count = recv(four.number, &buffer, buffer.count, 0)
      if count < 0 { break }
      let header = Int(buffer[0] & 15) * 4
      if count >= header + 8, buffer[header] == 0,
        UInt16(buffer[header + 4]) << 8 | UInt16(buffer[header + 5]) == identifier
      {
        sources.insert(Array(buffer[12..<16]))
      }
    }
    while true {
      var source = sockaddr_in6()
      var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
      let count = withUnsafeMutablePointer(to: &source) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          recvfrom(six.number, &buffer, buffer.count, 0, $0, &length)
        }
      }
      if count < 0 { break }
      if count >= 8, buffer[0] == 129, UInt16(buffer[4]) << 8 | UInt16(buffer[5]) == identifier {
        sources.insert(withUnsafeBytes(of: source.sin6_addr) { Array($0) })
      }
    }
    return sources
  }

  /// Asks all who have not answered, every `interval` seconds, until all have or the time is over.
  ///
  /// - Parameter since: the time that the answers' delays count from (`now()` by default).
  /// - Returns: seconds to the first answer of each address; those without an answer are not in it.
  public func probe(
    _ addresses: [IPAddress], timeout: Double, interval: Double = 0.1, since: Double = now()
  ) throws -> [IPAddress: Double] {
    _ = answers()
    let end = now() + timeout
    var answered: [IPAddress: Double] = [:]
    var next = 0.0
    while answered.count < addresses.count && now() < end {
      if now() >= next {
        next = now() + interval
        for address in addresses where answered[address] == nil { send(to: address) }
      }
      try pause(0.005)
      let sources = answers()
      for address in addresses where answered[address] == nil && sources.contains(address.bytes) {
        answered[address] = now() - since
      }
    }
    return answered
  }
}

/// What `ping` said.
public struct PingResult: Sendable {
  public var sent = 0
  public var received = 0
  /// Milliseconds, in the order of arrival.
  public var roundTrips: [Double] = []
  public var output = ""
  public var isComplete: Bool { sent > 0 && sent == received }
  public var median: Double { roundTrips.isEmpty ? .nan : roundTrips.sorted()[roundTrips.count / 2] }
}

extension LabNode {
  /// Runs the system's own ping. `payload` counts as `ping -s` does; `unfragmented` is `-M do`.
  public func ping(
    _ address: String, count: Int = 1, interval: Double = 0.2, payload: Int? = nil, unfragmented: Bool = false,
    wait: Int = 1
  ) throws -> PingResult {
    try LabKit.ping(
      from: namespace, address, count: count, interval: interval, payload: payload, unfragmented: unfragmented,
      wait: wait)
  }
}

public func ping(
  from namespace: String, _ address: String, count: Int = 1, interval: Double = 0.2, payload: Int? = nil,
  unfragmented: Bool = false, wait: Int = 1
) throws -> PingResult {
  var words = [
    "ping", address.contains(":") ? "-6" : "-4", "-n", "-c", "\(count)", "-i", "\(interval)", "-W", "\(wait)",
  ]
  if let payload { words += ["-s", "\(payload)"] }
  if unfragmented { words += ["-M", "do"] }
  let said = try run(
    words + [address], in: namespace, timeout: Double(count) * interval + Double(wait) + 15, tolerant: true)
  var result = PingResult(output: said.output + said.errorOutput)
  for line in said.output.split(separator: "\n") {
    if let range = line.range(of: "time="), let value = Double(line[range.upperBound...].prefix { $0 != " " }) {
      result.roundTrips.append(value)
    } else if line.contains("packets transmitted") {
      let numbers = line.split(separator: ",").compactMap { Int($0.split(separator: " ").first ?? "") }
      if numbers.count >= 2 { (result.sent, result.received) = (numbers[0], numbers[1]) }
    }
  }
  return result
}
