import Core
import Testing

@testable import Wire

@Suite struct TunnelSettingTests {
  private func fault<T>(_ body: () throws -> T) -> TunnelFault? {
    do { _ = try body() } catch let error as TunnelFault { return error } catch { return nil }
    return nil
  }

  @Test(
    arguments: [
      ("", TunnelFault.notHostAndPort), ("192.0.2.1:4500,", .notHostAndPort), ("4500", .notHostAndPort),
      (":4500", .noHost),
      ("192.0.2.1", .notHostAndPort), ("192.0.2.1:", .badPort), ("192.0.2.1:0", .badPort),
      ("192.0.2.1:65536", .badPort),
      ("192.0.2.1:045", .badPort), ("192.0.2.1:4500 ", .badPort), ("192.0.2.256:1", .badIPv4), ("192.0.2:1", .badIPv4),
      ("1.2.3.4.5:1", .badIPv4), ("[2001:db8::1:1", .badIPv6), ("[]:1", .badIPv6), ("[2001:db8::1::]:1", .badIPv6),
      ("[1:2:3:4:5:6:7:8:9]:1", .badIPv6), ("[1:2:3:4:5:6:7:8::]:1", .badIPv6), ("[1:2:3]:1", .badIPv6),
      ("[fe80::1%eth0]:1", .badIPv6), ("[::192.0.2.1]:1", .badIPv6), ("[64:ff9b::192.0.2.1]:1", .badIPv6),
      ("[::ffff:192.0.2]:1", .badIPv6), ("[192.0.2.1]:1", .badIPv6), ("[::ffff:0:192.0.2.1]:1", .badIPv6),
      ("[1::ffff:192.0.2.1]:1", .badIPv6), ("[::ffff:224.0.0.1]:1", .badAddress), ("::ffff:192.0.2.1:1", .bareIPv6),
      ("192.0.2.1:1,[::ffff:192.0.2.1]:1", .twice), ("[:1::]:1", .badIPv6),
      ("[12345::]:1", .badIPv6), ("[1:]:1", .badIPv6), ("2001:db8::1:4500", .bareIPv6), ("hub.example:4500", .name),
      ("localhost:1", .name), ("0.0.0.0:1", .badAddress), ("224.0.0.1:1", .badAddress),
      ("255.255.255.255:1", .badAddress),
      ("169.254.1.1:1", .badAddress), ("[::]:1", .badAddress), ("[ff02::1]:1", .badAddress),
      ("[fe80::1]:1", .badAddress),
      ("192.0.2.1:1,cost=0", .badCost), ("192.0.2.1:1,cost=10001", .badCost), ("192.0.2.1:1,cost=", .badCost),
      ("192.0.2.1:1,cost=x", .badCost), ("cost=5,192.0.2.1:1", .costAlone), ("192.0.2.1:1,cost=5,cost=6", .costTwice),
      ("192.0.2.1:1,192.0.2.1:1", .twice),
    ])
  func `A list of tunnels that is none is refused for its reason`(text: String, reason: TunnelFault) {
    #expect(fault { try TunnelPeer.list(Array(text.utf8)) } == reason, "\(text)")
    #expect(!reason.description.isEmpty)
  }

  @Test func `A list names peers in order, each with its cost`() throws {
    let peers = try TunnelPeer.list(Array("192.0.2.1:4500,[2001:DB8::1:0:2]:65535,cost=10000,127.0.0.1:1,cost=1".utf8))
    #expect(peers.map(\.cost) == [0, 10_000, 1])
    #expect(peers.map(\.endpoint.port) == [4500, 65_535, 1])
    #expect(peers[0].endpoint.addressBytes == [192, 0, 2, 1])
    #expect(peers[1].endpoint.addressBytes == [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2])
  }

  @Test(
    arguments: [
      ("::1", [15: 1]), ("1::", [1: 1]), ("1:2:3:4:5:6:7:8", [1: 1, 3: 2, 5: 3, 7: 4, 9: 5, 11: 6, 13: 7, 15: 8]),
      ("::", [:]), ("1::8", [1: 1, 15: 8]), ("1:2:3:4:5:6:7::", [1: 1, 3: 2, 5: 3, 7: 4, 9: 5, 11: 6, 13: 7]),
      ("::2:3:4:5:6:7:8", [3: 2, 5: 3, 7: 4, 9: 5, 11: 6, 13: 7, 15: 8]), ("ABCD::", [0: 0xab, 1: 0xcd]),
    ] as [(String, [Int: UInt8])])
  func `An IPv6 address is read in each of its forms`(text: String, bytes: [Int: UInt8]) throws {
    let address = try #require(ipv6Literal(Array(text.utf8)[...]))
    address.withBytes { for i in 0..<16 { #expect($0[i] == bytes[i] ?? 0, "\(text), byte \(i)") } }
  }

  @Test(
    arguments: ["::ffff:192.0.2.1", "::FFFF:c000:201", "0:0:0:0:0:ffff:192.0.2.1", "0::ffff:192.0.2.1"])
  func `An IPv4 address in an IPv6 one is the IPv4 address`(text: String) throws {
    let peer = try TunnelPeer.list(Array("[\(text)]:4500".utf8))[0]
    #expect(peer.endpoint == InternetEndpoint(ipv4: 0xc000_0201, port: 4500))
    #expect(try TunnelListener(Array("[\(text)]:4500".utf8)).address == peer.endpoint)
  }

  @Test func `The seventeenth tunnel is refused`() throws {
    let list = (1...17).map { "192.0.2.\($0):1" }
    #expect(try TunnelPeer.list(Array(list.dropLast().joined(separator: ",").utf8)).count == 16)
    #expect(fault { try TunnelPeer.list(Array(list.joined(separator: ",").utf8)) } == .tooMany)
  }

  @Test(
    arguments: [
      ("", TunnelFault.oneListener), ("4500,", .oneListener), ("x", .badPort), ("0", .badPort), ("cost=5", .costAlone),
      ("4500,4501", .oneListener),
      ("4500,cost=5,cost=6", .oneListener), ("4500,cost=", .badCost), ("hub.example:4500", .name),
      ("0.0.0.0:1", .badAddress),
      ("2001:db8::1", .bareIPv6),
    ])
  func `A place to listen that is none is refused for its reason`(text: String, reason: TunnelFault) {
    #expect(fault { try TunnelListener(Array(text.utf8)) } == reason, "\(text)")
  }

  @Test func `A place to listen is a port, or an address and a port, with a cost`() throws {
    let any = try TunnelListener(Array("4500".utf8))
    #expect(any.address == nil && any.port == 4500 && any.cost == 0)
    let one = try TunnelListener(Array("[2001:db8::1]:1,cost=7".utf8))
    #expect(one.address?.isIPv6 == true && one.port == 1 && one.cost == 7)
  }
}
