import Membership
import Testing

@Suite struct NameTests {
  @Test func `A name is lower-cased and is one RFC 1123 label`() throws {
    #expect(try NodeName("Sw-01").description == "sw-01")
    #expect(try NodeName("3com").description == "3com")
    #expect(try NodeName(String(repeating: "a", count: 63)).bytes.count == 63)
  }

  @Test func `What is wrong with a name is said`() {
    #expect(throws: MembershipError.badLabel(.empty)) { try NodeName("") }
    #expect(throws: MembershipError.badLabel(.tooLong(haveBytes: 64, limit: 63))) {
      try NodeName(String(repeating: "a", count: 64))
    }
    #expect(throws: MembershipError.badLabel(.badByte(UInt8(ascii: "."), offset: 2))) { try NodeName("sw.a") }
    #expect(throws: MembershipError.badLabel(.badByte(UInt8(ascii: "_"), offset: 0))) { try NodeName("_a") }
    #expect(throws: MembershipError.badLabel(.hyphenAtEdge)) { try NodeName("a-") }
    #expect(throws: MembershipError.badLabel(.hyphenAtEdge)) { try NodeName("-a") }
    #expect(MembershipError.badLabel(.badByte(95, offset: 0)).description.contains("'_' at position 1"))
    #expect(MembershipError.badLabel(.badByte(27, offset: 3)).description.contains("byte 27 at position 4"))
  }

  @Test func `A domain is labels joined with dots, at most 189 bytes`() throws {
    #expect(try DomainName("Lab.Example.").description == "lab.example")
    let label = String(repeating: "a", count: 62)
    #expect(try DomainName("\(label).\(label).\(label)").bytes.count == 188)
    #expect(throws: MembershipError.badLabel(.tooLong(haveBytes: 190, limit: 189))) {
      try DomainName("\(label).\(label).\(label).a")
    }
    #expect(throws: MembershipError.badLabel(.empty)) { try DomainName("a..b") }
    #expect(throws: MembershipError.badLabel(.empty)) { try DomainName(".") }
  }

  @Test(
    arguments: [
      ("10.20.0.0/16", nil), ("10.0.0.0/8", nil), ("192.168.7.0/24", nil), ("10.20.0.0", PrefixFault.notAPrefix),
      ("10.20.0/16", .notAPrefix), ("10.20.0.256/24", .notAPrefix), ("10.020.0.0/16", .notAPrefix),
      ("10.20.0.0/", .notAPrefix), ("10.20.0.0/16x", .notAPrefix), ("10.20.0.0/25", .badLength(25)),
      ("10.0.0.0/7", .badLength(7)), ("10.20.1.0/16", .hostBits), ("127.0.0.0/8", .reserved(.loopback)),
      ("224.0.0.0/8", .reserved(.multicast)), ("239.255.0.0/16", .reserved(.multicast)),
      ("240.0.0.0/8", .reserved(.classE)), ("255.255.0.0/16", .reserved(.classE)),
      ("0.0.0.0/8", .reserved(.thisNetwork)), ("169.254.0.0/16", .reserved(.linkLocal)), ("169.253.0.0/16", nil),
    ] as [(String, PrefixFault?)])
  func `A prefix is /8 to /24 without host bits`(text: String, fault: PrefixFault?) throws {
    guard let fault else {
      #expect(try IPv4Prefix(text).description == text)
      return
    }
    #expect(throws: MembershipError.badPrefix(fault)) { try IPv4Prefix(text) }
  }

  @Test(
    arguments: [
      ("10.20.0.0/16", nil), ("100.64.0.0/16", nil), ("10.0.0.0/8", PrefixFault.notSixteen(8)),
      ("192.168.7.0/24", .notSixteen(24)), ("10.20.0.0/0", .notSixteen(0)), ("10.20.0.0/33", .notSixteen(33)),
      ("10.20.1.0/16", .hostBits), ("169.254.0.0/16", .reserved(.linkLocal)), ("10.20/16", .notAPrefix),
    ] as [(String, PrefixFault?)])
  func `A network is founded with a /16 (architecture, command line)`(text: String, fault: PrefixFault?) throws {
    guard let fault else {
      #expect(try IPv4Prefix(founding: Array(text.utf8)).description == text)
      return
    }
    #expect(throws: MembershipError.badPrefix(fault)) { try IPv4Prefix(founding: Array(text.utf8)) }
  }

  @Test func `The first and last address of a prefix are no host's`() throws {
    let prefix = try IPv4Prefix("10.20.30.0/24")
    #expect(prefix.hostCount == 254)
    #expect(dottedQuad(prefix.host(1)) == "10.20.30.1")
    #expect(dottedQuad(prefix.host(254)) == "10.20.30.254")
    #expect(!prefix.isHost(prefix.address))
    #expect(!prefix.isHost(prefix.address + 255))
    #expect(prefix.isHost(prefix.address + 254))
    #expect(!prefix.isHost(prefix.address + 256))
  }
}
