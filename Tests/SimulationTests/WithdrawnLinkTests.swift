// An MA leaves a link of its own when the far end's LSA no longer names it. A member that lies in its LSA moves nobody
// else's traffic so: what it says of the MA's links to others is not asked.

import Core
import Testing
import Topology
import Wire

@testable import Node
@testable import Simulator

extension Node {
  /// Sends an LSA of this member's own, changed by `edit`.
  fileprivate mutating func advertise(at now: Instant, _ edit: (inout LinkStateAdvertisement) -> Void) {
    guard let uplink = uplinks.first else { return }
    var advertisement = ownAdvertisement()
    edit(&advertisement)
    sendDatagram([ControlType.lsa.rawValue] + advertisement.encode(), on: uplink.channel, at: now)
    drainNeighbour(at: now)
  }
}

@Suite struct WithdrawnLinkTests {
  /// The MA in the corner of a grid: components 1 and 3 are its neighbours, 1 is the liar.
  @Test func `a member withdraws its own links to an authority and nobody else's`() throws {
    let world = try World(.grid(3, 3), seed: 81)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let ids = world.nodes.map { $0.running?.node.identity.id }
    func link(to number: Int) -> UInt16? {
      world.nodes[0].running?.node.neighbour.adjacencies.first { $0.id == ids[number] }?.number
    }
    let own = try #require(link(to: 1))
    let foreign = try #require(link(to: 3))
    let authority = try #require(ids[0])

    /// Links with which ways of the MA begin that are in doubt.
    func inDoubt() -> Set<UInt16> {
      let now = world.nodes[0].own(world.now)
      let ways = world.nodes[0].running?.node.channels.flatMap { $0.ways.places.compactMap { $0 } } ?? []
      return Set(ways.filter { $0.isInDoubt(at: now) }.map(\.egress))
    }
    func advertise(_ edit: @escaping (inout LinkStateAdvertisement) -> Void) {
      let box = world.nodes[1]
      world.enter(box) { $0.advertise(at: box.own(world.now), edit) }
      world.run(for: .milliseconds(2))
    }

    // It names the MA's link to another as its own, many times over, and takes that back.
    advertise { advertisement in
      let model = advertisement.adjacencies[0]
      for number in 0..<8 {
        var lie = model
        lie.number = UInt16(1_000 + number)
        lie.neighbour = authority
        lie.neighbourNumber = foreign
        advertisement.adjacencies.append(lie)
      }
    }
    let held = world.nodes[0].running?.node.authority?.graph.lsa(of: try #require(ids[1]))
    #expect(held?.adjacencies.count { $0.neighbourNumber == foreign } ?? 0 >= 8)
    advertise { _ in }
    #expect(inDoubt() == [])
    // Its own it may withdraw.
    advertise { $0.adjacencies.removeAll { $0.neighbour == authority } }
    #expect(inDoubt() == [own])
    world.run(for: .seconds(3))
    #expect(inDoubt() == [])
  }
}
