// Sessions get new keys while they are in use: nothing is lost, whatever happens on the way (docs/PROTOCOL.md §4).

import Core
import Testing

@testable import Node
@testable import Simulator

extension World {
  /// A component's keys of its session with the MA: end to end, and K_i.
  func keys(of number: Int) -> (seal: Bytes32, onion: Bytes32)? {
    guard let session = nodes[number].running?.node.uplinks.first?.channel.session else { return nil }
    return (session.keys.seal, session.keys.onion)
  }

  /// What nodes refused though it was meant for them: frames under keys, routes or sessions that they do not know (yet, or
  /// any more).
  func refusals() -> [String] {
    var found: [String] = []
    for box in nodes where box.isRunning {
      for name: StaticString in ["noSession", "unknownRoute", "handshakeRefused", "controlInvalid", "bearerInvalid"] {
        let count = counter(box.number, name)
        if count > 0 { found.append("node \(box.number): \(name) \(count)") }
      }
      for (group, name): (StaticString, StaticString) in [
        ("onion", "wrongMac"), ("onion", "noKey"), ("session", "wrongTag"),
      ] {
        let count = counter(box.number, group, name)
        if count > 0 { found.append("node \(box.number): \(group) \(name) \(count)") }
      }
    }
    return found
  }

  /// Flows both ways between the MA and each of these.
  func startFlows(with far: [Int], every interval: Duration) -> [Int] {
    far.flatMap { [startFlow(from: 0, to: $0, every: interval), startFlow(from: $0, to: 0, every: interval)] }
  }

  /// Packets of these flows that did not come, once all are ended.
  func lost(_ flows: [Int]) -> Int {
    for flow in flows { endFlow(flow) }
    run(for: .seconds(1))
    return flows.reduce(0) { $0 + traffic.flows[$1].sent - traffic.flows[$1].arrivals.count }
  }
}

@Suite struct RenewalTests {
  private func judge(_ world: World) {
    world.checkTables()
    #expect(world.violations == [])
  }

  /// As the program is shipped: an hour. Slow hellos, so that hours pass in seconds.
  @Test func `three hours of two-way traffic, and not a packet lost`() throws {
    let world = try World(.line(3), seed: 31, portMedium: .tunnel)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    var last = (1...2).map { world.keys(of: $0) }
    let flows = world.startFlows(with: [2], every: .milliseconds(700))
    var changes = 0
    for _ in 0..<(3 * 60) {
      world.run(for: .seconds(60))
      for number in 1...2 {
        let (old, new) = (last[number - 1], world.keys(of: number))
        guard let old, let new else {
          Issue.record("node \(number) has no session")
          return
        }
        if old.seal != new.seal {
          changes += 1
          #expect(old.onion != new.onion)
        }
        last[number - 1] = new
      }
    }
    print("SIM three hours: \(changes) renewals, \(flows.reduce(0) { $0 + world.traffic.flows[$1].sent }) packets")
    // Every 52.5 to 60 minutes, each of two.
    #expect(changes == 6)
    #expect(world.counter(0, "sessionsRenewed") == 6)
    #expect(world.lost(flows) == 0)
    #expect(world.refusals() == [])
    for number in 1...2 { #expect(world.nodes[number].log.filter { $0.text.contains("authenticated by") }.count == 1) }
    judge(world)
  }

  static let lines: [(name: String, quality: LinkQuality)] = {
    var reordered = LinkQuality()
    reordered.jitter = .milliseconds(8)
    reordered.delay = .milliseconds(3)
    var doubled = LinkQuality()
    doubled.duplication = 0.3
    var lossy = LinkQuality()
    lossy.loss = 0.05
    lossy.jitter = .milliseconds(4)
    return [("reordering", reordered), ("duplication", doubled), ("loss 5 % and reordering", lossy)]
  }()

  /// What arrives at a node is never refused for its keys; on lines that lose nothing, nothing is lost.
  @Test(arguments: lines.indices) func `renewals on bad lines`(line: Int) throws {
    let (name, quality) = RenewalTests.lines[line]
    let world = try World(.grid(3, 2), seed: 32)
    world.renewal.age = .seconds(4)
    world.renewal.interval = .milliseconds(100)
    world.setQualityEverywhere(quality)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let before = world.refusals()
    let flows = world.startFlows(with: [1, 5], every: .milliseconds(5))
    for _ in 0..<60 {
      for kind in [PacketKind.tcp4, .tcp6] {
        world.send(kind, from: 0, to: 5, payload: 20_000)
        world.send(kind, from: 5, to: 0, payload: 20_000)
      }
      world.run(for: .milliseconds(500))
    }
    let renewed = world.counter(0, "sessionsRenewed")
    let lost = world.lost(flows)
    let incomplete = world.traffic.packets.filter { $0.kind.isSuperPacket && !$0.isComplete }.count
    print("SIM renewals, \(name): \(renewed) in 30 s, \(lost) packets and \(incomplete) super-packets lost")
    #expect(renewed >= 8)
    #expect(world.refusals() == before)
    if quality.loss == 0 {
      #expect(lost == 0)
      #expect(incomplete == 0)
    }
    judge(world)
  }

  @Test func `as many frames as keys may protect, and they are replaced`() throws {
    let world = try World(.line(3), seed: 33)
    world.renewal.frames = 2_000
    world.renewal.interval = .milliseconds(100)
    #expect(form(world) != nil)
    let flows = world.startFlows(with: [2], every: .milliseconds(4))
    world.run(for: .seconds(40))
    // 250 frames a second each way: after 8 s, and not before the old keys are forgotten, 10 s after a change.
    let renewed = world.counter(0, "sessionsRenewed")
    print("SIM renewals by count: \(renewed)")
    #expect((3...4).contains(renewed))
    #expect(world.lost(flows) == 0)
    #expect(world.refusals() == [])
    judge(world)
  }

  @Test func `on demand, every session of a network at once`() throws {
    let world = try World(.grid(5, 5), seed: 34)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let before = (1..<25).map { world.keys(of: $0) }
    let flows = world.startFlows(with: [4, 12, 20, 24], every: .milliseconds(3))
    world.run(for: .milliseconds(100))
    #expect(world.ask(0, ["rekey"]) != nil)
    world.run(for: .milliseconds(500))
    #expect(world.counter(0, "sessionsRenewed") == 24)
    for number in 1..<25 {
      let (old, new) = (before[number - 1], world.keys(of: number))
      #expect(old?.seal != new?.seal && old?.onion != new?.onion)
    }
    world.run(for: .seconds(2))
    #expect(world.lost(flows) == 0)
    #expect(world.refusals() == [])
    // The old keys are gone in the end, and nothing hangs on them.
    world.run(for: .seconds(70))
    for box in world.nodes {
      for channel in box.running?.node.channels ?? [] {
        #expect(channel.previousSession == nil && channel.pendings.isEmpty)
      }
    }
    #expect(world.unanswered() == [])
    #expect(world.refusals() == [])
    #expect(world.ask(1, ["rekey"]) == nil)
    judge(world)
  }

  /// The old keys are good for a while: nobody's ways are laid in a hurry, and all are laid before those keys end.
  @Test func `ways through a component whose keys were renewed are laid little by little`() throws {
    var layout = Layout(nodeCount: 22)
    layout.cable(0, 1)
    for leaf in 2..<22 { layout.cable(1, leaf) }
    let world = try World(layout, seed: 45)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let flows = world.startFlows(with: [2, 21], every: .milliseconds(1))
    /// The MA's best routes, by component.
    func routes() -> [UInt32: UInt32?] {
      world.nodes[0].running?.node.authority?.admissions.mapValues { $0.laid.first?.route } ?? [:]
    }
    let old = routes()
    #expect(old.count >= 21)
    #expect(world.ask(0, ["rekey", "cm1"]) != nil)
    var (last, most) = (old, 0)
    for _ in 0..<300 {
      world.run(for: .milliseconds(1))
      let now = routes()
      most = max(most, now.count { $0.value != last[$0.key] })
      last = now
    }
    print("SIM a renewal: at most \(most) best ways laid in a millisecond")
    #expect(world.counter(0, "sessionsRenewed") == 1)
    #expect(last.allSatisfy { $0.value != old[$0.key] })
    #expect(most <= 3)
    #expect(world.lost(flows) == 0)
    judge(world)
  }

  /// Either end dies at any moment of a renewal, and comes back.
  @Test(arguments: [0, 2]) func `a crash in the middle of a renewal`(victim: Int) throws {
    for moment in stride(from: 0, to: 36, by: 5) {
      let world = try World(.line(4), seed: UInt64(35 + moment))
      var quality = LinkQuality()
      quality.delay = .milliseconds(2)
      world.setQualityEverywhere(quality)
      #expect(form(world) != nil)
      world.run(for: .seconds(1))
      #expect(world.ask(0, ["rekey", "cm2"]) != nil)
      world.run(for: .milliseconds(Int64(moment)))
      world.crash(victim)
      world.run(for: .milliseconds(30))
      world.start(victim)
      let time = world.timeToReach(atMost: .seconds(10))
      #expect(time ?? .seconds(99) < .seconds(2), "crash after \(moment) ms")
      world.run(for: .seconds(1))
      let flows = world.startFlows(with: [2, 3], every: .milliseconds(10))
      world.run(for: .seconds(12))
      #expect(world.ask(0, ["rekey"]) != nil)
      world.run(for: .seconds(2))
      #expect(world.lost(flows) == 0, "crash after \(moment) ms")
      judge(world)
    }
  }

  /// The only way is cut in the middle of a renewal, so that either message may be the last that comes.
  @Test func `a cut in the middle of a renewal`() throws {
    for moment in stride(from: 0, to: 36, by: 7) {
      for length: Int64 in [100, 12_000] {
        let world = try World(.line(4), seed: UInt64(75 + moment))
        var quality = LinkQuality()
        quality.delay = .milliseconds(2)
        world.setQualityEverywhere(quality)
        #expect(form(world) != nil)
        world.run(for: .seconds(1))
        #expect(world.ask(0, ["rekey", "cm3"]) != nil)
        world.run(for: .milliseconds(Int64(moment)))
        world.setCut(1, true)
        world.run(for: .milliseconds(length))
        world.setCut(1, false)
        let time = world.timeToReach(atMost: .seconds(10))
        #expect(time ?? .seconds(99) < .seconds(3), "cut after \(moment) ms for \(length) ms")
        let flows = world.startFlows(with: [3], every: .milliseconds(10))
        world.run(for: .seconds(2))
        #expect(world.lost(flows) == 0, "cut after \(moment) ms for \(length) ms")
        judge(world)
      }
    }
  }
}
