// Who gets the places of a port that many share, and what hellos cost whom: a member with many addresses takes nothing
// from others (docs/decisions/0064).

import Core
import Crypto
import Membership
import Testing

@testable import Neighbour

@Suite struct PlacesTests {
  private func linksUp(_ harness: Harness) -> [Adjacency] {
    harness.boxes[0].engine.adjacencies.filter { $0.state == .up }
  }

  private func placesUp(_ harness: Harness, of box: Int) -> Int {
    linksUp(harness).count { $0.id == harness.boxes[box].identity.id }
  }

  /// Box 0 and, on the same segment, one box for each of these; those with the same number are one member's ports.
  private func segment(_ seeds: [UInt8], seed: UInt8, own: UInt8 = 10) -> Harness {
    let harness = Harness(seed: seed)
    harness.addBox(own)
    for each in seeds { harness.addBox(each) }
    _ = harness.wire((0...seeds.count).map { ($0, 1) })
    harness.setPort(0)
    return harness
  }

  /// Either end may be the one that begins handshakes.
  @Test(arguments: [10, 50] as [UInt8])
  func `a member with many addresses keeps no other from a shared segment`(own: UInt8) throws {
    let harness = segment(Array(repeating: 11, count: 8) + [12], seed: 31, own: own)
    harness.wires[0].isRecording = true
    for i in 1...8 { harness.setPort(i) }
    harness.run(for: .seconds(20))
    #expect(placesUp(harness, of: 1) == NeighbourLimits.placesPerMember)
    let downs = harness.boxes[0].downs
    // More addresses of it use nothing up that others need.
    let said = try #require(harness.wires[0].heard.last { $0.type == 1 && $0.from == 1 })
    for i in 0..<200 {
      let verdict = harness.inject(said.bytes, into: 0, from: MACAddress(0x0266_0000_0000 | UInt64(i)))
      #expect(verdict == .refused(.noRoomForNeighbour))
    }
    let from = harness.now
    harness.setPort(9)
    harness.run(until: from + .seconds(20), orWhen: { placesUp(harness, of: 9) == 1 })
    #expect(harness.now - from < .milliseconds(100), "\(harness.now - from)")
    // Its surplus addresses displace nobody, their own siblings neither.
    harness.run(for: .seconds(60))
    #expect(harness.boxes[0].downs == downs)
    #expect(placesUp(harness, of: 1) == NeighbourLimits.placesPerMember)
  }

  @Test func `two members with many addresses keep no other from it, and each keeps what it has`() throws {
    let harness = segment(Array(repeating: 11, count: 4) + Array(repeating: 12, count: 4) + [13, 14, 15], seed: 32)
    for i in 1...8 { harness.setPort(i) }
    harness.run(for: .seconds(20))
    // The last place is for who has none.
    #expect(linksUp(harness).count == NeighbourLimits.neighboursPerPort - 1)
    let before = harness.boxes[0].engine.counters.placesGivenUp
    for (count, i) in (9...11).enumerated() {
      let from = harness.now
      harness.setPort(i)
      harness.run(until: from + .seconds(20), orWhen: { placesUp(harness, of: i) == 1 })
      #expect(harness.now - from < .milliseconds(100), "\(harness.now - from)")
      harness.run(for: .seconds(15))
      #expect(linksUp(harness).count == NeighbourLimits.neighboursPerPort - 1)
      #expect(placesUp(harness, of: 1) + placesUp(harness, of: 5) == 6 - count)
      #expect(abs(placesUp(harness, of: 1) - placesUp(harness, of: 5)) <= 1)
    }
    #expect(harness.boxes[0].engine.counters.placesGivenUp == before + 3)
    #expect(harness.boxes[0].events(containing: "gives its place up") >= 3)
    let downs = harness.boxes[0].downs
    harness.run(for: .seconds(60))
    #expect(harness.boxes[0].downs == downs)
  }

  @Test func `eight members have eight places, and a ninth finds none`() throws {
    let harness = segment((11...19).map { $0 }, seed: 33)
    for i in 1...8 { harness.setPort(i) }
    harness.run(for: .seconds(10))
    #expect(linksUp(harness).count == NeighbourLimits.neighboursPerPort)
    harness.setPort(9)
    harness.run(for: .seconds(60))
    #expect(linksUp(harness).count == NeighbourLimits.neighboursPerPort)
    #expect(harness.boxes[0].downs == 0)
    #expect(harness.boxes[0].engine.counters[.noRoomForNeighbour] > 0)
    #expect(harness.boxes[0].engine.counters.placesGivenUp == 0)
  }

  @Test
  func `a box with more NICs on a segment than it gets places keeps links that stand, and replaces one that fails`()
    throws
  {
    let harness = segment(Array(repeating: 11, count: 5), seed: 34)
    for i in 1...5 { harness.setPort(i) }
    harness.run(for: .seconds(30))
    #expect(linksUp(harness).count == 4)
    #expect(harness.boxes[0].downs <= 1)
    let out = try #require(
      (1...5).first { i in !linksUp(harness).contains { $0.address == harness.address(i, PortNumber(1)) } })
    let fails = out == 1 ? 2 : 1
    let downs = harness.boxes[0].downs
    harness.setPort(fails, isUp: false)
    harness.run(for: .seconds(15))
    #expect(linksUp(harness).contains { $0.address == harness.address(out, PortNumber(1)) })
    #expect(linksUp(harness).count == 4)
    #expect(harness.boxes[0].downs == downs + 1)
  }

  @Test func `a member that keeps moving leaves the others their places`() throws {
    let harness = segment([11] + (12...18).map { $0 }, seed: 35)
    for i in 2...8 { harness.setPort(i) }
    harness.run(for: .seconds(5))
    #expect(linksUp(harness).count == 7)
    func move(_ i: Int) {
      harness.moved[1] = MACAddress(0x0266_0000_0000 | UInt64(i))
      harness.setPort(1)
      harness.run(for: .milliseconds(200))
    }
    for i in 0..<40 { move(i) }
    for i in 2...8 { #expect(placesUp(harness, of: i) == 1) }
    harness.run(for: .seconds(2))
    #expect(placesUp(harness, of: 1) == 1)
    // Who was away finds its place free, though the other still moves.
    harness.setPort(8, isUp: false)
    harness.run(for: .seconds(70))
    for i in 40..<60 { move(i) }
    let from = harness.now
    harness.setPort(8)
    var i = 60
    while placesUp(harness, of: 8) == 0 && i < 100 {
      move(i)
      i += 1
    }
    #expect(harness.now - from < .seconds(1), "\(harness.now - from)")
  }

  @Test func `the last place of a port stays with who has no other, and one who has is refused`() throws {
    let harness = segment((11...18).map { $0 }, seed: 38)
    harness.wires[0].isRecording = true
    for i in 1...8 { harness.setPort(i) }
    harness.run(for: .seconds(5))
    #expect(linksUp(harness).count == 8)
    harness.setPort(8, isUp: false)
    harness.run(for: .seconds(70))
    let newcomer = try #require(harness.wires[0].heard.first { $0.type == 1 && $0.from == 8 })
    let holder = try #require(harness.wires[0].heard.last { $0.type == 1 && $0.from == 1 })
    let places = [MACAddress(0x0266_0000_0001), MACAddress(0x0266_0000_0002)]
    _ = harness.inject(newcomer.bytes, into: 0, from: places[0])
    #expect(harness.inject(holder.bytes, into: 0, from: places[1]) == .refused(.noRoomForNeighbour))
    let strangers = harness.boxes[0].engine.adjacencies.filter { places.contains($0.address) }
    #expect(strangers.map(\.id) == [harness.boxes[8].identity.id])
  }

  @Test func `a member with many addresses lengthens no other's hellos`() throws {
    let harness = Harness(seed: 36)
    harness.addBox(10)
    for i in 0..<14 { harness.addBox(UInt8(40 + i)) }
    for _ in 0..<8 { harness.addBox(11) }
    for i in 0..<14 { _ = harness.wire([(0, UInt16(i + 1)), (i + 1, 1)]) }
    _ = harness.wire([(0, 20)] + (15...22).map { ($0, 1) })
    for i in 0..<14 {
      harness.setPort(0, UInt16(i + 1))
      harness.setPort(i + 1)
    }
    harness.setPort(0, 20)
    harness.run(for: .seconds(3))
    for i in 15...22 { harness.setPort(i) }
    harness.run(for: .seconds(10))
    #expect(linksUp(harness).count == 14 + NeighbourLimits.placesPerMember)
    #expect(linksUp(harness).allSatisfy { $0.interval == 20 })
  }

  @Test func `what the others leave is what a member's further places share, and the limit of hellos holds`() throws {
    let harness = Harness(seed: 37)
    harness.addBox(10, adjust: { $0.helloLimitPerSecond = 200 })
    for i in 0..<3 { harness.addBox(UInt8(40 + i)) }
    for _ in 0..<4 { harness.addBox(11) }
    for i in 0..<3 { _ = harness.wire([(0, UInt16(i + 1)), (i + 1, 1)]) }
    let shared = harness.wire([(0, 20)] + (4...7).map { ($0, 1) })
    _ = shared
    for i in 0..<3 {
      harness.setPort(0, UInt16(i + 1))
      harness.setPort(i + 1)
    }
    harness.setPort(0, 20)
    for i in 4...7 { harness.setPort(i) }
    harness.run(for: .seconds(5))
    func intervals() -> [UInt16] { linksUp(harness).filter { $0.port == PortNumber(20) }.map(\.interval).sorted() }
    #expect(linksUp(harness).filter { $0.port != PortNumber(20) }.map(\.interval) == [20, 20, 20])
    // 150 of three wires and 50 of its first place: the others share a twentieth of the limit.
    #expect(intervals() == [20, 300, 300, 300])
    let before = harness.boxes[0].engine.counters.hellosSent
    harness.run(for: .seconds(10))
    let sent = harness.boxes[0].engine.counters.hellosSent - before
    // On top come full-size ones, two a second and link, and an answer.
    #expect(sent < 10 * (210 + 3 * 7), "\(sent)")
    // Where the first place is lost, one of the others is it.
    let first = try #require(linksUp(harness).first { $0.port == PortNumber(20) && $0.interval == 20 })
    let box = try #require((4...7).first { harness.address($0, PortNumber(1)) == first.address })
    let downs = harness.boxes[0].downs
    harness.setPort(box, isUp: false)
    harness.run(for: .seconds(1))
    #expect(intervals() == [20, 300, 300])
    harness.setPort(box)
    harness.run(for: .seconds(3))
    #expect(intervals() == [20, 300, 300, 300])
    #expect(harness.boxes[0].downs == downs + 1)
  }
}
