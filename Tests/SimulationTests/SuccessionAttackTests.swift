// A linked member, taken over, that wants to keep others from a new descriptor, such as the one that takes it out
// (docs/SECURITY.md, "Taken-over component"): nothing it shows, promises or names may stand in another's way.

import Core
import Crypto
import Membership
import Store
import Testing
import Wire

@testable import Node
@testable import Simulator

extension Node {
  /// The adjacencies that are up, by number.
  fileprivate var linked: [UInt16] { neighbour.adjacencies.filter { $0.state == .up }.map { $0.number } }

  /// A first piece to every neighbour, as of the next epoch; `length` of the whole.
  fileprivate mutating func show(_ bytes: [UInt8], epoch: UInt32, length: Int, at now: Instant) {
    let piece = SuccessionPiece(
      epoch: epoch, length: UInt16(length), offset: 0, bytes: Array(bytes.prefix(SuccessionPiece.limit)))
    for adjacency in linked {
      sendLink(subtype: LinkSubtype.successionPiece, piece.encode(), on: adjacency, at: now)
    }
    drainNeighbour(at: now)
  }

  /// Names a descriptor of this epoch that there is not.
  fileprivate mutating func nameAnother(at now: Instant) {
    let standing = SuccessionStanding(epoch: descriptor.epoch, name: ComponentID(entropy.bytes16()))
    for adjacency in linked {
      sendLink(subtype: LinkSubtype.standing, standing.encode(), on: adjacency, at: now)
    }
    drainNeighbour(at: now)
  }

  /// What looks like the next descriptor until its signature is looked at.
  fileprivate mutating func forgedSuccessor() throws -> NetworkDescriptor {
    var forged = try descriptor.successor(authorities: descriptor.authorities, threshold: descriptor.threshold)
    for entry in descriptor.authorities { forged.sign(as: entry.index, with: SigningKeyPair(seed: entropy.bytes32())) }
    return forged
  }
}

@Suite struct SuccessionAttackTests {
  private func slow(_ world: World, _ medium: Int) {
    var quality = LinkQuality()
    quality.delay = .milliseconds(5)
    for end in world.ends(of: medium) { world.setQuality(medium, quality, from: end) }
  }

  @Test func `a member that floods forged descriptors keeps nobody from the one that revokes it`() throws {
    let world = try World(.grid(4, 4), seed: 71)
    let traitor = 5
    #expect(form(world) != nil)
    world.run(for: .seconds(1))
    var forged: [UInt8] = []
    var epoch: UInt32 = 0
    try world.nodes[traitor].running.map { running in
      let descriptor = try running.storage.pointee.forgedSuccessor()
      (forged, epoch) = (descriptor.encode(), descriptor.epoch)
    }
    #expect(forged.count > 0 && forged.count <= SuccessionPiece.limit)
    var count = 0
    world.every(.milliseconds(1), for: .seconds(4)) { world in
      let box = world.nodes[traitor]
      world.enter(box) { node in
        for _ in 0..<3 {
          node.show(forged, epoch: epoch, length: forged.count, at: box.own(world.now))
          count += 1
        }
      }
    }
    world.run(for: .seconds(2))
    #expect(world.ask(0, ["revoke", "cm5"]) != nil)
    let others = world.nodes.indices.filter { $0 != traitor }
    let spread = world.run(atMost: .seconds(2), every: .milliseconds(1)) { world in
      others.allSatisfy { world.epoch(of: $0) == 2 }
    }
    tell("the descriptor that revokes a member that floods is everywhere else", spread)
    #expect(spread ?? .seconds(99) < .milliseconds(50))
    #expect(count > 5_000)
    // Each of its neighbours has looked at one.
    for number in [1, 4, 6, 9] { #expect(world.counter(number, "successionRefused") == 1, "node \(number)") }
    world.run(for: .seconds(3))
    #expect(world.unanswered(others) == [])
    #expect(world.violations == [])
  }

  /// No MA is left; one neighbour has the descriptor in two pieces, the other begins one that never ends.
  @Test func `a neighbour that begins and does not go on holds up no descriptor`() throws {
    var layout = Layout(nodeCount: 10)
    for i in 0..<8 { layout.cable(i, i + 1) }
    layout.cable(8, 5)
    layout.cable(9, 5)
    let authorities = Array(0..<6)
    let world = try World(layout, authorities: authorities, threshold: 1, seed: 72)
    let (honest, late, traitor) = (6, 7, 8)
    let old = UInt32(world.epoch(of: late))
    for number in 0..<10 { world.start(number) }
    #expect(world.run(atMost: .seconds(10)) { $0.isServed(by: authorities) } != nil)
    world.crash(late)
    #expect(world.ask(0, ["revoke", "cm4"]) != nil)
    world.run(for: .seconds(1))
    for number in [honest, traitor] { #expect(world.epoch(of: number) == Int(old) + 1) }
    let size = try StoreContents(decoding: world.nodes[honest].store).descriptor.encode().count
    #expect(size > SuccessionPiece.limit)
    for number in authorities { world.crash(number) }
    // Between the question to the honest one and its answer the other has spoken.
    slow(world, 6)
    world.every(.milliseconds(1), for: .seconds(5)) { world in
      let box = world.nodes[traitor]
      world.enter(box) { node in
        node.show(
          [UInt8](repeating: 1, count: SuccessionPiece.limit), epoch: old + 1, length: 2_000, at: box.own(world.now))
      }
    }
    world.start(late)
    let time = world.run(atMost: .seconds(5), every: .milliseconds(10)) { $0.epoch(of: late) == Int(old) + 1 }
    tell("a descriptor of two pieces beside a neighbour that begins and begins", time)
    #expect(time ?? .seconds(99) < .seconds(3))
    #expect(world.violations == [])
  }

  /// Two MAs that each could sign alone have each taken one in; where the halves meet, a neighbour names what is not.
  @Test func `a neighbour that names descriptors that are not hides no second successor`() throws {
    var layout = Layout(nodeCount: 9)
    for i in 0..<5 { layout.cable(i, i + 1) }
    layout.cable(0, 6)
    layout.cable(5, 7)
    layout.cable(3, 8)
    let world = try World(layout, authorities: [0, 5], threshold: 1, seed: 73)
    let traitor = 8
    let keys = [
      (0, try world.replaceBoxByAuthority(6, named: "new1", secretOf: 0)),
      (5, try world.replaceBoxByAuthority(7, named: "new2", secretOf: 5)),
    ]
    for number in world.nodes.indices where number != 6 && number != 7 { world.start(number) }
    #expect(world.run(atMost: .seconds(10)) { $0.isServed(by: [0, 5]) } != nil)
    world.setCut(2, true)
    world.run(for: .seconds(5))
    for (authority, key) in keys {
      #expect(world.ask(authority, ["accept", "--yes", "--threshold", "1"], attachment: key) != nil)
    }
    world.run(for: .seconds(1))
    // No session brings the other one.
    for authority in [0, 5] { world.crash(authority) }
    slow(world, 2)
    world.every(.milliseconds(1), for: .seconds(6)) { world in
      let box = world.nodes[traitor]
      world.enter(box) { $0.nameAnother(at: box.own(world.now)) }
    }
    world.run(for: .milliseconds(200))
    world.setCut(2, false)
    world.run(for: .seconds(6))
    for number in 1..<5 { #expect(world.nodes[number].hasLogged("two descriptors of epoch 3"), "node \(number)") }
    #expect(world.violations == [])
  }
}
