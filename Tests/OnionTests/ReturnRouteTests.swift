// RETURN ROUTE against its golden vector (docs/PROTOCOL.md §7).

import Core
import Crypto
import TestSupport
import Testing
import Wire

@testable import Onion

@Suite struct ReturnRouteTests {
  func decode(_ bytes: [UInt8]) throws(WireError) -> ReturnRoute { try ReturnRoute(decoding: bytes.span) }

  func refusal(_ bytes: [UInt8]) -> WireError? {
    do throws(WireError) {
      _ = try decode(bytes)
      return nil
    } catch { return error }
  }

  @Test func `the golden vector decodes to what it says and encodes to itself (section 7)`() throws {
    let bytes = try #require(try vectors("relay.txt")["returnRoute"])
    #expect(bytes[0] == ControlType.returnRoute.rawValue)
    let message = try decode(Array(bytes[1...]))
    #expect(message.route == 0x0102_0304 && message.size == OnionSize(code: 0))
    #expect(message.place == 2 && message.count == 4 && message.isPaired)
    #expect(
      message.frameSize == 1_500 && message.egress == 9 && message.pathTag == 0x5051_5253 && message.hops.count == 8)
    #expect(message.hops.map(\.hiddenEgress) == (0..<8).map { 0x100 * $0 + 5 })
    #expect(message.hops[1].entryKey.array == (16..<48).map { UInt8($0) })
    #expect(message.encode() == bytes)
  }

  @Test(arguments: allSizes) func `every size goes round, and every truncation is refused (section 7)`(
    size: OnionSize
  ) throws {
    var entropy = seeded(8)
    let hops = (0..<size.entries).map { _ in RouteHop(decoyFrom: &entropy) }
    let message = ReturnRoute(
      route: entropy.u32(), size: size, place: 7, count: 8, frameSize: 9_000, egress: 200, pathTag: entropy.u32(),
      hops: hops)
    let bytes = Array(message.encode()[1...])
    #expect(bytes.count == 14 + 50 * size.entries)
    #expect(try decode(bytes) == message)
    for count in 0..<bytes.count {
      guard case .truncated = refusal(Array(bytes[..<count])) else {
        Issue.record("\(count) bytes taken")
        return
      }
    }
    #expect(refusal(bytes + [0]) == .invalid(field: StaticFieldName("return route length")))
    var other = bytes
    for code in UInt8(0)...255 where code != size.code {
      other[4] = code
      #expect(refusal(other) != nil)
    }
    other[4] = size.code
    for places: UInt8 in [0x80, 0x01, 0x2e, 0xff] {
      other[5] = places
      #expect(refusal(other) == .invalid(field: StaticFieldName("return route place")))
    }
    other[4] = 4
    #expect(refusal(other) == .invalid(field: StaticFieldName("return route size code")))
  }
}
