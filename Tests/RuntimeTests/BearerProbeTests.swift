// The self-probe's packets.

import Core
import Testing

@testable import Runtime

@Suite struct BearerProbeTests {
  private let four: ([UInt8], [UInt8]) = ([10, 1, 255, 254], [10, 1, 0, 1])
  private let six: ([UInt8], [UInt8]) = (
    [0xfd, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe],
    [0xfd, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
  )

  /// A sum over what a checksum covers, itself included, is zero (RFC 1071 §1).
  private func transportSum(_ packet: [UInt8], next: UInt8, pseudoHeader: Bool) -> UInt16 {
    let ip = Array(packet[10...])
    let isSix = ip[0] >> 4 == 6
    let body = Array(ip[(isSix ? 40 : 20)...])
    let addresses = isSix ? Array(ip[8..<40]) : Array(ip[12..<20])
    let pseudo = addresses + bigEndian(UInt32(body.count)) + bigEndian(UInt32(next))
    return ProbePacket.checksum((pseudoHeader ? pseudo : []) + body)
  }

  @Test func `every probe packet carries right checksums (RFC 791, 792, 4443 §2.3, 768, 9293 §3.1)`() {
    for (from, to) in [four, six] {
      let isSix = from.count == 16
      let echo = ProbePacket.echo(from: from, to: to, isRequest: true, identifier: 7, payload: [1, 2, 3])
      #expect(transportSum(echo, next: isSix ? 58 : 1, pseudoHeader: isSix) == 0)
      let datagram = ProbePacket.datagram(from: from, port: 1, to: to, port: 2, payload: [9])
      #expect(transportSum(datagram, next: 17, pseudoHeader: true) == 0)
      let segment = ProbePacket.segment(from: from, port: 1, to: to, port: 22, sequence: 5, flags: 2)
      #expect(transportSum(segment, next: 6, pseudoHeader: true) == 0)
      if !isSix { #expect(ProbePacket.checksum(Array(echo[10..<30])) == 0) }
      #expect(echo.prefix(10).allSatisfy { $0 == 0 })
    }
  }

  @Test func `probe packets read back`() throws {
    for (from, to) in [four, six] {
      let echo = ProbePacket.echo(from: from, to: to, isRequest: false, identifier: 7, payload: [1, 2, 3])
      let reading = try #require(ProbeReading(Array(echo[10...])))
      #expect(reading.source == from)
      guard case .echo(false, 7, [1, 2, 3]) = reading.content else {
        Issue.record("not the echo that was written")
        return
      }
    }
  }

  @Test func `truncated and random packets are read without a trap`() {
    var read = 0
    let whole = Array(ProbePacket.segment(from: four.0, port: 1, to: four.1, port: 22, sequence: 5, flags: 2)[10...])
    for count in 0..<whole.count where ProbeReading(Array(whole.prefix(count))) != nil { read += 1 }
    #expect(read == 20)  // from a bare header on
    for length in UInt8(0)...15 {
      var packet = whole
      packet[0] = 0x40 | length
      _ = ProbeReading(packet)
    }
  }

  @Test func `the reserved address is the last but one of the prefix and never the host's own`() {
    func reserved(_ address: [UInt8], _ length: Int) -> [UInt8] {
      ProbePath.reservedAddress(IPPrefix(address: address, length: length))
    }
    #expect(reserved([10, 1, 0, 1], 16) == [10, 1, 255, 254])
    #expect(reserved([10, 1, 3, 1], 24) == [10, 1, 3, 254])
    #expect(reserved([10, 1, 3, 1], 29) == [10, 1, 3, 6])
    #expect(reserved([10, 1, 255, 254], 16) == [10, 1, 255, 253])
    #expect(reserved(six.1, 64) == six.0)
    #expect(reserved(six.0, 64)[15] == 0xfd)
  }

  @Test func `an answer counts only with this run's mark and this round's number`() {
    let own = IPPrefix(address: four.1, length: 16)
    var path = ProbePath(own: own, cookie: [1, 2, 3, 4, 5, 6, 7, 8])
    defer { path.close() }
    var written: [[UInt8]] = []
    path.begin(round: 3, full: false) { written.append($0) }
    #expect(path.pending.contains(.echoIn))
    func answer(cookie: UInt8, round: UInt32) -> [UInt8] {
      let payload = ProbeMark(cookie: [cookie, 2, 3, 4, 5, 6, 7, 8], round: round).bytes
      return Array(
        ProbePacket.echo(from: four.1, to: four.0, isRequest: false, identifier: 0x8003, payload: payload)[10...])
    }
    path.observed(answer(cookie: 9, round: 3)) { _ in }
    path.observed(answer(cookie: 1, round: 2)) { _ in }
    #expect(path.pending.contains(.echoIn))
    path.observed(answer(cookie: 1, round: 3)) { _ in }
    #expect(!path.pending.contains(.echoIn))
    path.conclude(asked: false)
    #expect(path.failing == .echoOut)
  }
}
