import Core
import TestSupport
import Testing
import Topology
import Wire

@Suite struct LinkStateAdvertisementTests {
  func decode(_ bytes: [UInt8]) throws(WireError) -> LinkStateAdvertisement {
    try LinkStateAdvertisement(decoding: bytes.span)
  }

  func refusal(_ bytes: [UInt8]) -> WireError? {
    do throws(WireError) {
      _ = try decode(bytes)
      return nil
    } catch { return error }
  }

  @Test func `the golden vectors decode to what they say and encode to themselves (section 8)`() throws {
    let golden = try vectors("lsa.txt")
    #expect(golden.count == 3)
    for bytes in golden.values {
      let lsa = try decode(bytes)
      #expect(lsa.encode() == bytes)
      #expect(lsa.encodedSize == bytes.count)
    }
    let two = try decode(try #require(golden["two"]))
    #expect(two.boot == 0x0102_0304 && two.version == 0xffff_fffe)
    #expect(two.adjacencies.count == 2)
    let first = try #require(two.adjacencies.first)
    #expect(first.number == 1 && first.neighbourNumber == 0x0203 && first.frameSize == 1500 && first.cost == 10)
    #expect(first.neighbour.description == String(repeating: "a1", count: 16))
    #expect(first.riskGroup == 0 && first.roundTrip == 250 && first.losses == 3 && first.label.description == "eth0")
    let last = two.adjacencies[1]
    #expect(last.number == 0xffff && last.riskGroup == 0xdead_beef && last.roundTrip == .max)
    #expect(last.label.description == "enp193s0f1np123")
    #expect(two.counters.framesIn == 1 && two.counters.refusedMAC == 6 && two.counters.dropped == .max)
    #expect(try decode(try #require(golden["noLabel"])).adjacencies[0].neighbourNumber == 0)
  }

  @Test func `every truncation and a byte left over are refused (section 8)`() throws {
    for bytes in try vectors("lsa.txt").values {
      for count in 0..<bytes.count { #expect(refusal(Array(bytes.prefix(count))) != nil) }
      #expect(refusal(bytes + [0]) == .invalid(field: StaticFieldName("length")))
    }
  }

  @Test func `adjacency number 0, a number used twice and bad labels are refused (section 8)`() throws {
    let two = try #require(try vectors("lsa.txt")["two"])
    var bytes = two
    bytes[10] = 0
    #expect(refusal(bytes) == .invalid(field: StaticFieldName("number")))
    bytes = two
    // The second record follows the first one's 37 bytes and its label of 4.
    bytes[9 + 41] = 0
    bytes[9 + 42] = 1
    #expect(refusal(bytes) == .invalid(field: StaticFieldName("number")))
    bytes = two
    bytes[9 + 36] = 16
    #expect(refusal(bytes) == .invalid(field: StaticFieldName("label length")))
    bytes = two
    bytes[9 + 37] = 0x0a
    #expect(refusal(bytes) == .invalid(field: StaticFieldName("label")))
  }

  @Test func `255 adjacencies with the longest labels fill the stated size, and a 256th does not travel`() throws {
    var lsa = LinkStateAdvertisement(boot: 1, version: 2, adjacencies: [])
    for number in 1...256 {
      lsa.adjacencies.append(
        Adjacency(
          number: UInt16(number), neighbour: id(number), neighbourNumber: 1, frameSize: 1500, cost: 1,
          label: PortLabel("a-port-with-a-long-name")))
    }
    let bytes = lsa.encode()
    #expect(bytes.count == LinkStateAdvertisement.longest)
    #expect(lsa.encodedSize == bytes.count)
    let back = try decode(bytes)
    #expect(back.adjacencies == Array(lsa.adjacencies.prefix(255)))
  }

  @Test func `a label keeps 15 bytes and shows what is not printable as a question mark`() {
    #expect(PortLabel("a-port-with-a-long-name").description == "a-port-with-a-l")
    #expect(PortLabel("e\u{7}th\u{e9}").bytes == Array("e?th??".utf8))
    #expect(PortLabel("eth0") == PortLabel(exactly: Array("eth0".utf8)))
    #expect(PortLabel(exactly: Array(repeating: 65, count: 16)) == nil)
    #expect(PortLabel().count == 0)
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `mutated LSAs are refused or decode to something that encodes to the same bytes`(seed: UInt64) throws {
    var generator = Generator(seed: seed)
    var (refused, taken) = (0, 0)
    let golden = try vectors("lsa.txt").sorted { $0.key < $1.key }.map(\.value)
    for _ in 0..<4000 {
      var bytes = golden[generator.below(golden.count)]
      for _ in 0...generator.below(4) {
        switch generator.below(4) {
        case 0: bytes[generator.below(bytes.count)] = UInt8(truncatingIfNeeded: generator.next())
        case 1: bytes[generator.below(bytes.count)] ^= 1 << UInt8(generator.below(8))
        case 2: bytes.insert(UInt8(truncatingIfNeeded: generator.next()), at: generator.below(bytes.count))
        default: if bytes.count > 1 { bytes.remove(at: generator.below(bytes.count)) }
        }
      }
      do throws(WireError) {
        let lsa = try decode(bytes)
        #expect(lsa.encode() == bytes, "seed \(seed)")
        taken += 1
      } catch { refused += 1 }
    }
    #expect(refused > 1000 && taken > 300, "refused \(refused), taken \(taken), seed \(seed)")
  }
}
