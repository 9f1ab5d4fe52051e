// Whose packets come out where (docs/SECURITY.md): what a member sends comes out only under its own two addresses, and
// a component's system gets only what is addressed to it. The forgers below send on their own session whatever their
// program would refuse to send; the exact counts show that every forged packet arrived and was refused there.

import Bearer
import Core
import Onion
import Session
import Testing
import Wire

@testable import Node
@testable import Simulator

extension Node {
  /// Sends a packet on this channel, whatever its addresses are: `sendPacket` without its choice of the channel.
  mutating func forge(_ bytes: [UInt8], on channel: Channel, at now: Instant) -> Bool {
    var packet = bytes
    guard let way = channel.ways.main, let session = channel.session else { return false }
    let onionClass = OnionClass(
      traffic: .protected, towardAuthority: channel.isUplink, authority: channel.authorityIndex)
    let offset = way.builder.size.endToEnd
    let payloadSize = way.payloadSize
    let frames = packet.withUnsafeMutableBytes { raw -> [PacketBuffer] in
      guard var cutter = try? PacketCutter(buffer: raw, payloadSize: payloadSize) else { return [] }
      var sealed: [PacketBuffer] = []
      for _ in 0..<cutter.frameCount {
        guard var buffer = pool.take() else { break }
        let sealedAt = buffer.bytes + offset
        guard let count = cutter.nextFrame(into: sealedAt + SessionLayout.header),
          way.builder.build(buffer.bytes, class: onionClass)
        else {
          pool.give(buffer)
          break
        }
        buffer.count = offset + session.seal(sealedAt, count: count, space: .protected)
        sealed.append(buffer)
      }
      return sealed
    }
    for frame in frames where !sendOnion(frame, size: way.builder.size, on: way.egress, at: now) { pool.give(frame) }
    return !frames.isEmpty
  }
}

@Suite struct DeliveryTests {
  private static let kinds: [PacketKind] = [.udp4, .udp6, .echo4, .echo6, .tcp4, .tcp6]

  /// 0 (the MA), 1, 2 (the forger), 3 in a row: between the forger and the MA stands 1, behind it 3.
  private func chain() throws -> World {
    let world = try World(.line(4), seed: 71)
    #expect(form(world) != nil)
    world.run(for: .seconds(1))
    return world
  }

  /// Not in the list of what was sent: coming out anywhere it is a violation.
  private static let unsent: UInt32 = 0x7fff_0000

  private func addresses(_ world: World, _ number: Int) throws -> BearerAddresses {
    try #require(world.nodes[number].addresses)
  }

  /// Of another ID in the same /64 and /16, which nobody has.
  private func nobody(like own: BearerAddresses) -> BearerAddresses {
    var address = own
    address.ipv4 = own.ipv4 & 0xffff_0000 | 0x3039
    address.ipv6.withMutableBytes { for i in 8..<16 { $0[i] = UInt8(0xa0 + i) } }
    return address
  }

  private func address(_ four: UInt32, _ six: [UInt8]) -> BearerAddresses {
    var bytes = Bytes16()
    bytes.withMutableBytes { for i in 0..<16 { $0[i] = six[i] } }
    return BearerAddresses(ipv4: four, ipv4PrefixLength: 16, ipv6: bytes, ipv6PrefixLength: 64)
  }

  private static let outside: (UInt32, [UInt8]) = (
    0xc633_6407, [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [7]
  )

  private func refusals(_ world: World, _ number: Int) -> [Int] {
    [world.counter(number, "bearerWrongSource"), world.counter(number, "bearerWrongDestination")]
  }

  /// From the forger's uplink, or from the MA on its channel with the forger.
  private func forge(
    _ world: World, by number: Int, from source: BearerAddresses, to destination: BearerAddresses, payload: Int = 40
  ) {
    for kind in Self.kinds {
      let packet = makePacket(kind, number: Self.unsent, from: source, to: destination, payload: payload)
      let box = world.nodes[number]
      var isSent = false
      world.enter(box) { node in
        let forger = world.nodes[2].addresses?.ipv4
        guard
          let channel = number == 0 ? node.channels.first(where: { $0.ipv4 == forger }) : node.uplinks.first?.channel
        else { return }
        isSent = node.forge(packet, on: channel, at: box.own(world.now))
      }
      #expect(isSent)
      world.run(for: .milliseconds(5))
    }
  }

  @Test func `a packet that does not bear its member's own address comes out nowhere`() throws {
    let world = try chain()
    let (authority, honest, forger, behind) = (
      try addresses(world, 0), try addresses(world, 1), try addresses(world, 2), try addresses(world, 3)
    )
    // Another member's, the MA's own, nobody's, one from outside, and of each family another member's.
    var mixed = forger
    mixed.ipv4 = honest.ipv4
    mixed.ipv6 = behind.ipv6
    let sources = [
      honest, behind, authority, nobody(like: forger), address(Self.outside.0, Self.outside.1), mixed,
    ]
    let before = refusals(world, 0)
    for source in sources {
      // To the MA's own system, through it to another member, and through it to beyond the network.
      for destination in [authority, honest, behind, address(0x0808_0808, Self.outside.1)] {
        forge(world, by: 2, from: source, to: destination)
      }
    }
    // A packet of many frames is put together first, and refused all the same.
    forge(world, by: 2, from: honest, to: authority, payload: 1400)
    let count = (sources.count * 4 + 1) * Self.kinds.count
    let after = refusals(world, 0)
    #expect(after == [before[0] + count, before[1]])
    #expect(world.violations == [])
    // Under its own address it is a member like any other, also to members behind the MA.
    for (source, destination) in [(2, 0), (2, 1), (2, 3), (3, 2), (1, 3)] {
      for kind in [PacketKind.echo4, .echo6] {
        let number = try #require(world.send(kind, from: source, to: destination))
        world.run(for: .milliseconds(50))
        #expect(world.traffic.packets[number].roundTrip != nil, "\(kind) from \(source) to \(destination)")
      }
    }
    #expect(refusals(world, 0) == after)
    #expect(world.violations == [])
  }

  @Test func `a member's packet to nobody of the network comes out nowhere`() throws {
    let world = try chain()
    let forger = try addresses(world, 2)
    let none = [UInt8](repeating: 0, count: 15)
    let destinations = [
      // In the prefix, and nobody's; all of it; everybody; a group; the own machine.
      nobody(like: forger), address(forger.ipv4 | 0xffff, [0xff, 0x02] + none.dropLast(2) + [1, 1]),
      address(.max, [0xff, 0x05] + none.dropLast() + [2]), address(0xe000_0001, [0xfe, 0x80] + none.dropLast() + [9]),
      address(0x7f00_0001, none + [1]), address(0, none + [0]),
    ]
    let before = refusals(world, 0)
    for destination in destinations { forge(world, by: 2, from: forger, to: destination) }
    #expect(refusals(world, 0) == [before[0], before[1] + destinations.count * Self.kinds.count])
    // Its own address is not sent back to it.
    forge(world, by: 2, from: forger, to: forger)
    #expect(refusals(world, 2) == [0, 0])
    #expect(world.violations == [])
  }

  @Test func `a component hands out nothing that an authority sends it for others`() throws {
    let world = try chain()
    let (authority, honest, forger, behind) = (
      try addresses(world, 0), try addresses(world, 1), try addresses(world, 2), try addresses(world, 3)
    )
    let before = refusals(world, 2)
    let destinations = [
      honest, behind, authority, nobody(like: forger), address(Self.outside.0, Self.outside.1),
      address(0xe000_0001, [0xff, 0x02] + [UInt8](repeating: 0, count: 13) + [1]),
    ]
    for destination in destinations {
      for source in [authority, honest] { forge(world, by: 0, from: source, to: destination) }
    }
    #expect(refusals(world, 2) == [before[0], before[1] + 2 * destinations.count * Self.kinds.count])
    #expect(world.violations == [])
    // An authority does hand on what others send: other members, and hosts behind it.
    for kind in [PacketKind.echo4, .echo6] {
      let number = try #require(world.send(kind, from: 1, to: 2))
      world.run(for: .milliseconds(50))
      #expect(world.traffic.packets[number].roundTrip != nil)
    }
    let host = address(Self.outside.0, Self.outside.1)
    let number = UInt32(world.traffic.packets.count)
    for (place, kind) in [PacketKind.udp4, .udp6].enumerated() {
      world.traffic.packets.append(
        SentPacket(
          kind: kind, source: 0, destination: 2, sentAt: world.now,
          sourceAddress: host.bytes(isIPv4: kind.isIPv4), destinationAddress: forger.bytes(isIPv4: kind.isIPv4),
          payload: 64, flow: nil))
      let packet = makePacket(kind, number: number + UInt32(place), from: host, to: forger, payload: 64)
      world.deliver(world.nodes[0]) { node, time in
        var packet = packet
        packet.withUnsafeMutableBytes { node.bearerSent($0, at: time) }
      }
      world.run(for: .milliseconds(50))
      #expect(world.traffic.packets[Int(number) + place].isComplete)
    }
    #expect(world.violations == [])
  }
}
