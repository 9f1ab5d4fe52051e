// A netlink socket: requests that wait for their answer, dumps, and notifications that are drained without waiting.

import CSystem

/// What one receive on a notification socket gave.
enum NetlinkReceipt {
  case nothing, datagram
  /// Notifications were lost (ENOBUFS): what is known must be read anew.
  case overrun
}

final class NetlinkSocket {
  static let route: Int32 = 0
  static let netfilter: Int32 = 12

  let fileDescriptor: Int32
  private var sequence: UInt32 = 0
  /// 32 KiB is what the kernel fills in a dump; one datagram is never larger than the room offered.
  private var buffer = [UInt8](repeating: 0, count: 32768)

  /// For requests when `groups` is empty, else for notifications of those groups.
  init(_ netlinkProtocol: Int32, groups: [UInt32] = [], nonblocking: Bool, action: String) throws(SystemError) {
    let fd = groups.withUnsafeBufferPointer {
      cs_netlink_open(
        netlinkProtocol, $0.baseAddress, Int32($0.count), nonblocking ? 1 << 20 : 1 << 18, nonblocking ? 1 : 0)
    }
    if fd < 0 { throw SystemError(code: -fd, action: action) }
    fileDescriptor = fd
  }

  deinit { cs_net_close(fileDescriptor) }

  /// Sends; the answers come through `receive`. Positive errno, or 0.
  func send(_ message: NetlinkWriter) -> Int32 {
    var message = message
    sequence &+= 1
    message.number(sequence)
    let sent = message.bytes.withUnsafeBytes { cs_netlink_send(fileDescriptor, $0.baseAddress, $0.count) }
    return sent < 0 ? Int32(-sent) : 0
  }

  /// Sends a message, or a batch of which one message asks for an acknowledgement, and waits for the verdict:
  /// 0 or positive errno. `answer` sees messages that come before it.
  func request(_ message: NetlinkWriter, _ answer: (NetlinkMessage) -> Void = { _ in }) -> Int32 {
    let refused = send(message)
    if refused != 0 { return refused }
    while true {
      let n = fill()
      if n < 0 { return Int32(-n) }
      var all = NetlinkMessages(buffer, count: Int(n))
      while let m = all.next() {
        if m.sequence != sequence { continue }
        if m.type == NetlinkType.error { return m.errorCode }
        answer(m)
      }
    }
  }

  /// Asks for a dump and hands every message of it to `each`. Read anew, at most three times, when a change overtook
  /// it; then `each` sees some messages twice. 0 or positive errno.
  func dump(_ message: NetlinkWriter, _ each: (NetlinkMessage) -> Void) -> Int32 {
    var result: Int32 = 0
    for _ in 0..<3 {
      result = send(message)
      if result != 0 { return result }
      var interrupted = false
      result = collectDump(&interrupted, each)
      if !interrupted { break }
    }
    return result
  }

  private func collectDump(_ interrupted: inout Bool, _ each: (NetlinkMessage) -> Void) -> Int32 {
    while true {
      let n = fill()
      if n < 0 { return Int32(-n) }
      var all = NetlinkMessages(buffer, count: Int(n))
      while let m = all.next() {
        if m.sequence != sequence { continue }
        if m.flags & NetlinkFlag.dumpInterrupted != 0 { interrupted = true }
        if m.type == NetlinkType.error { return m.errorCode }
        if m.type == NetlinkType.done { return m.errorCode }
        each(m)
      }
    }
  }

  /// One datagram, without waiting on a nonblocking socket.
  func receive(_ each: (NetlinkMessage) -> Void) -> NetlinkReceipt {
    let n = fill()
    if n == -105 || n == -90 { return .overrun }  // ENOBUFS, EMSGSIZE
    if n < 0 { return .nothing }
    var all = NetlinkMessages(buffer, count: Int(n))
    while let m = all.next() { each(m) }
    return .datagram
  }

  private func fill() -> Int64 {
    buffer.withUnsafeMutableBytes { cs_netlink_receive(fileDescriptor, $0.baseAddress, $0.count) }
  }
}
