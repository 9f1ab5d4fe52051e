// The golden vectors of Tests/Vectors/onion.txt: made apart from this code, so that both ends cannot be wrong alike.

import Core
import Crypto
import TestSupport
import Testing

@testable import Onion

@Suite struct OnionVectorTests {
  struct Case {
    var size: OnionSize
    var route: UInt32
    var classByte: UInt8
    var hops: [(key: Bytes32, ingress: UInt16, egress: UInt16)]
    var decoys: [RouteHop]
    var counters: [UInt32]
    var headers: [String: [UInt8]]
  }

  static let names = ["full8", "back8", "short8", "full16", "full32", "full64", "short64"]

  func load(_ name: String) throws -> Case {
    var fields: [String: [UInt8]] = [:]
    for (key, value) in try vectors("onion.txt") where key.hasPrefix(name + ".") {
      fields[String(key.dropFirst(name.count + 1))] = value
    }
    let hops = try #require(fields["hops"])
    let decoys = fields["decoys"] ?? []
    let counters = fields.keys.filter { $0.hasSuffix(".sent") }.compactMap { UInt32($0.dropLast(5)) }.sorted()
    let digits = try #require(Int(name.drop(while: { $0.isLetter })))
    return Case(
      size: try #require(OnionSize(hops: digits)), route: number(try #require(fields["route"])),
      classByte: try #require(fields["class"]?.first),
      hops: stride(from: 0, to: hops.count, by: 36).map { at in
        (
          key: hops[at...].withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) },
          ingress: UInt16(number(Array(hops[(at + 32)..<(at + 34)]))),
          egress: UInt16(number(Array(hops[(at + 34)..<(at + 36)])))
        )
      },
      decoys: stride(from: 0, to: decoys.count, by: 50).map { at in
        decoys[at...].withUnsafeBufferPointer { p in
          RouteHop(
            entryKey: Bytes32(loadingFrom: p.baseAddress!), macKey: Bytes16(loadingFrom: p.baseAddress! + 32),
            hiddenEgress: UInt16(p[48]) << 8 | UInt16(p[49]))
        }
      },
      counters: counters, headers: fields)
  }

  func number(_ bytes: [UInt8]) -> UInt32 { bytes.reduce(0) { $0 << 8 | UInt32($1) } }

  @Test(arguments: names) func `hops open the golden headers as written (section 5)`(name: String) throws {
    let golden = try load(name)
    let onionClass = try #require(OnionClass(byte: golden.classByte))
    let hops = golden.hops.map {
      Hop(key: $0.key, ingress: $0.ingress, egress: $0.egress, authority: onionClass.authority)
    }
    #expect(!golden.counters.isEmpty && !hops.isEmpty)
    for counter in golden.counters {
      let sent = try #require(golden.headers["\(counter).sent"])
      var frame = [UInt8](repeating: 0, count: 15) + sent
      for (i, hop) in hops.enumerated() {
        let expected: OnionVerdict =
          hop.egress == deliverHere
          ? .deliver(class: onionClass, route: golden.route) : .forward(egress: hop.egress, class: onionClass)
        #expect(hop.process(&frame, size: golden.size) == expected, "\(name) counter \(counter) hop \(i)")
        if i == 0 { #expect(Array(frame[15...]) == golden.headers["\(counter).afterFirst"]) }
      }
      #expect(Array(frame[15...]) == golden.headers["\(counter).delivered"])
    }
  }

  @Test(arguments: ["full8", "back8", "full16", "full32", "full64"])
  func `a builder with N shares makes the golden headers to the byte (section 5)`(name: String) throws {
    let golden = try load(name)
    let shares =
      golden.hops.map { RouteHop(key: $0.key, route: golden.route, ingress: $0.ingress, egress: $0.egress) }
      + golden.decoys
    #expect(shares.count == golden.size.entries)
    var entropy = seeded(1)
    let builder = try #require(
      OnionBuilder(route: golden.route, size: golden.size, hops: shares, entropy: &entropy))
    for counter in golden.counters {
      builder.counter = counter - 1
      var frame = [UInt8](repeating: 0, count: golden.size.endToEnd)
      let onionClass = try #require(OnionClass(byte: golden.classByte))
      #expect(frame.withUnsafeMutableBufferPointer { builder.build($0.baseAddress!, class: onionClass) })
      #expect(Array(frame[15...]) == golden.headers["\(counter).sent"], "\(name) counter \(counter)")
    }
  }
}
