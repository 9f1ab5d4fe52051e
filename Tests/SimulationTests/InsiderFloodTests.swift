// A member that was taken over sends all it can of what members may send: the MA and the relays go on serving the others
// (docs/SECURITY.md). What relays budget is sent into links of 5 Mb/s, so that a flood that is carried on would displace
// what others send; the traitor's own are as fast as it likes. What comes by the traitor's own route is budgeted at the MA
// alone, and so are these links without limit: queues that are fair by ingress are another matter.

import Core
import Testing
import Wire

@testable import Node
@testable import Simulator

enum Flood: CaseIterable {
  /// Ever new states of its links, as datagrams and past its own pace.
  case advertisements
  /// Frames along the beacon's tree, for sessions that do not exist and for its own.
  case toward
  /// Requests for admission of all members, as if from its neighbours, with link keys.
  case requests
  /// Requests in the clear to a neighbour.
  case open
  /// Any control frames in its session.
  case control

  /// Relays refuse what is too much of it.
  var isBudgetedByRelays: Bool { self == .toward || self == .open }
}

extension Node {
  /// One frame of a flood.
  mutating func flood(_ kind: Flood, _ number: Int, others: [ComponentID], at now: Instant) {
    guard let uplink = uplinks.first, uplink.channel.session != nil,
      let newest = beacon.newest(authority: 0), let toward = newest.adjacency
    else { return }
    let nonce = entropy.bytes16()
    let request = AttachRequest(
      id: others[number % others.count], nonce: nonce, epoch: 1, keyEpoch: 255,
      certificate: contents.certificate?.encode() ?? [])
    let relay = RelayMessage(kind: .attach, authority: uplink.channel.peer, body: request.encode())
    switch kind {
    case .advertisements:
      var advertisement = ownAdvertisement()
      for i in advertisement.adjacencies.indices { advertisement.adjacencies[i].cost = UInt16(10 + (number + i) % 900) }
      sendDatagram([ControlType.lsa.rawValue] + advertisement.encode(), on: uplink.channel, at: now)
    case .toward:
      let message = TowardMessage(
        authority: uplink.channel.peer, boot: newest.boot, counter: newest.counter, budget: TowardMessage.fullBudget,
        spi: number % 2 == 0 ? entropy.u32() : uplink.channel.session?.keys.spi ?? 0,
        sealed: [UInt8](repeating: 0x55, count: 600))
      sendLink(subtype: LinkSubtype.toward, message.encode(), on: toward, at: now)
    case .requests:
      let up = RelayUp(adjacency: UInt16(1 + number % 200), neighbour: request.id, linked: true, relay: relay)
      sendDatagram(up.encode(), on: uplink.channel, at: now)
    case .open:
      let content = relay.encode()
      guard let port = neighbour.adjacency(toward) else { return }
      transmit(
        [0x60, 2, UInt8(content.count >> 8), UInt8(content.count & 255)] + content, port.port, port.address)
    case .control:
      sendDatagram([UInt8](repeating: 200, count: 400), on: uplink.channel, at: now)
    }
    drainNeighbour(at: now)
  }
}

@Suite struct InsiderFloodTests {
  private func slow(_ world: World, besides traitor: Int) {
    var quality = LinkQuality()
    quality.bitsPerSecond = 5_000_000
    for medium in 0..<world.mediumCount {
      for end in world.ends(of: medium) where end != traitor { world.setQuality(medium, quality, from: end) }
    }
  }

  @Test(arguments: Flood.allCases) func `a member that sends all it can`(flood: Flood) throws {
    let world = try World(.grid(4, 4), seed: 61)
    let traitor = 5
    if flood.isBudgetedByRelays { slow(world, besides: traitor) }
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let others = world.nodes.compactMap { $0.number == 0 ? nil : $0.running?.node.identity.id }
    let before = (world.counter(0, "computations"), world.counter(0, "challengesMade"))
    let carried = world.nodes[0].framesReceived
    var number = 0
    // Some 2,600 a second.
    world.every(.milliseconds(1), for: .milliseconds(5_500)) { world in
      let box = world.nodes[traitor]
      world.enter(box) { node in
        for _ in 0..<3 {
          number += 1
          node.flood(flood, number, others: others, at: box.own(world.now))
        }
      }
    }
    world.run(for: .milliseconds(500))
    // What does not pass through the traitor goes on as if it were not there.
    let paths = [(0, 3), (3, 0), (0, 12), (12, 0)]
    let flows = paths.map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(5)) }
    world.run(for: .milliseconds(1_500))
    let start = world.now
    for flow in flows { #expect(world.longestGap(flow, from: start - .seconds(1), to: start) < .milliseconds(20)) }
    // A node that starts anew, and one that is killed beside the flow.
    world.crash(10)
    world.run(for: .milliseconds(200))
    world.start(10)
    let time = world.timeToReach([10], atMost: .seconds(5))
    tell("\(flood): a member back", time)
    #expect(time ?? .seconds(99) < .milliseconds(500))
    world.run(for: .milliseconds(500))
    let killed = world.now
    world.crash(2)
    world.run(for: .seconds(1))
    var gap = Duration.zero
    for flow in flows.prefix(2) { gap = max(gap, world.longestGap(flow, from: killed, to: world.now)) }
    tell("\(flood): gap when a node of a route dies", gap)
    #expect(gap < .milliseconds(100))
    world.start(2)
    world.run(for: .seconds(1))
    let computations = world.counter(0, "computations") - before.0
    let challenges = world.counter(0, "challengesMade") - before.1
    print(
      "SIM   \(flood): \(number) frames; the MA got \(world.nodes[0].framesReceived - carried), computed \(computations) "
        + "times, made \(challenges) challenges")
    #expect(number > 12_000)
    #expect(computations < 400)
    #expect(challenges < 1_800)
    #expect(world.unanswered(world.nodes.map { $0.number }.filter { $0 != traitor }) == [])
    // A traitor that stops is a member like any other.
    world.run(for: .seconds(2))
    #expect(world.timeToReach(atMost: .seconds(15)) != nil)
    #expect(world.violations == [])
  }

  /// What the budgets are for is far from what an honest network does.
  @Test(arguments: ["chain of 17", "grid of 10x10", "star of 60", "MA of a grid killed", "a grid cut in two"])
  func `nothing honest comes near a budget`(what: String) throws {
    let layout: Layout = what == "chain of 17" ? .line(17) : what == "star of 60" ? .star(60) : .grid(10, 10)
    for enrolled in what.hasPrefix("MA") || what.hasPrefix("a ")
      ? [true] : what.hasPrefix("grid") ? [false] : [true, false]
    {
      let world = try World(layout, enrolled: enrolled, seed: 62)
      #expect(form(world) != nil)
      world.run(for: .seconds(1))
      switch what {
      case "MA of a grid killed":
        world.crash(0)
        world.run(for: .seconds(1))
        world.start(0)
        #expect(world.timeToReach(atMost: .seconds(5)) != nil)
      case "a grid cut in two":
        // Between the second and the third column.
        let cut = (0..<world.mediumCount).filter { medium in
          let columns = world.ends(of: medium).map { $0 % 10 }.sorted()
          return columns == [1, 2]
        }
        for medium in cut.dropFirst() { world.setCut(medium, true) }
        world.run(for: .seconds(1))
        world.setCut(cut[0], true)
        world.run(for: .seconds(1))
        for medium in cut { world.setCut(medium, false) }
        #expect(world.timeToReach(atMost: .seconds(5)) != nil)
      default: break
      }
      world.run(for: .seconds(1))
      var over: [String] = []
      for box in world.nodes {
        for name: StaticString in [
          "attachOverBudget", "relayOverBudget", "towardOverBudget", "controlOverBudget", "challengesOverBudget",
          "advertisementsHeld",
        ] {
          let count = world.counter(box.number, name)
          if count > 0 { over.append("node \(box.number): \(name) \(count)") }
        }
      }
      #expect(over == [], "\(what), enrolled \(enrolled)")
      print("SIM \(what): MA computed \(world.counter(0, "computations")) times")
    }
  }
}
