// Cut links, ruined data planes, floods.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Faults {
    private static var wires: LaboratoryOptions {
      var options = LaboratoryOptions()
      options.linkStyle = .wires
      return options
    }

    enum Cut: CaseIterable, Sendable { case carrier, silent, oneWay }

    @Test(arguments: Cut.allCases)
    func `traffic is back in under a second when a link of its path goes`(cut: Cut) throws {
      try withRunningNetwork(.ring(5), options: Self.wires) { laboratory, trial in
        let far = laboratory.nodes[2]
        let (four, _) = try trial.pair(of: far)
        // The links of a ring are known to the authority only when both ends have said so.
        _ = try wait(upTo: 5) { try laboratory.authority.knownLinks().count == 5 }
        let stream = try GapStream(from: laboratory.authority.namespace, to: four, in: far.namespace, size: 400)
        do {
          let link = try laboratory.busiestLinks(during: 1)[0]
          switch cut {
          case .carrier: try laboratory.setCarrier(link, up: false)
          case .silent: try laboratory.cutSilently(link)
          case .oneWay: try laboratory.cutSilently(link, .fromAToB)
          }
          try pause(3)
        } catch {
          _ = stream.finish()
          throw error
        }
        let result = stream.finish()
        #expect(result.endedAlive && result.received > 0)
        #expect(result.longestGap < 1000, "longest gap \(result.longestGap) ms")
        print("\(cut): longest gap \(result.longestGap) ms, \(result.lost) of \(result.sent) lost")
      }
    }

    @Test func `a link that is mended carries traffic again`() throws {
      try withRunningNetwork(.chain(3), options: Self.wires) { laboratory, trial in
        let far = laboratory.nodes[2]
        let (four, _) = try trial.pair(of: far)
        try laboratory.cutSilently(1)
        try pause(1)
        #expect(try !laboratory.authority.ping(four.text).isComplete)
        try laboratory.mend(1)
        let back = try wait(upTo: 5) { try laboratory.authority.ping(four.text).isComplete }
        #expect(back != nil)
      }
    }

    /// What an operator or a script does to a box, by name.
    enum Ruin: CaseIterable, Sendable {
      case routesFlushed, addressesAdded, ethernetFiltered, everythingFiltered, deviceDown, addressRemoved
      case overlappingRoute, ruleAdded, reversePathFilter
    }

    @Test(arguments: Ruin.allCases)
    func `the channel is back within 3 seconds of whatever covers it`(ruin: Ruin) throws {
      try withRunningNetwork(.chain(3)) { laboratory, trial in
        let node = laboratory.nodes[1]
        let pair = try trial.pair(of: node)
        let far = try trial.pair(of: laboratory.nodes[2])
        var generator = SplitMix64(state: 3)
        switch ruin {
        case .routesFlushed: try node.flushRoutes()
        case .addressesAdded: try node.randomizeAddresses(using: &generator)
        case .ethernetFiltered: try node.filterEthernet()
        case .everythingFiltered: try node.filterEverything()
        case .deviceDown: try node.run(["ip", "link", "set", "mm0", "down"])
        case .addressRemoved: try node.run(["ip", "address", "flush", "dev", "mm0"])
        case .overlappingRoute:
          try node.run(["ip", "address", "add", "10.77.0.200/24", "dev", "eth0"])
        case .ruleAdded:
          try node.run(["ip", "rule", "add", "priority", "1", "blackhole"])
          try node.run(["ip", "-6", "rule", "add", "priority", "1", "blackhole"])
        case .reversePathFilter:
          try node.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.mm0.rp_filter=1"])
        }
        let prober = try Prober(in: laboratory.authority.namespace)
        // A moment for the damage to be done before the question.
        try pause(0.1)
        let wanted = [pair.four, pair.six, far.four, far.six]
        let answered = try prober.probe(wanted, timeout: 3)
        #expect(answered.count == wanted.count, "\(ruin): only \(answered.keys.map(\.text).sorted()) answer")
        print("\(ruin): all answer \(answered.values.max() ?? .nan) s after it")
      }
    }

    @Test
    func `a storm on one port, half of it forged by a member, harms neither node nor other ports nor who comes next`()
      throws
    {
      try withRunningNetwork(.stormStar, options: .storm) { laboratory, trial in
        let bystander = try trial.pair(of: laboratory.nodes[2])
        let storm = try StormTrial(laboratory, seed: 11)
        try storm.watched(bystander.four) { try storm.storm(20_000, rounds: 1) }
        try storm.admissionAfter()
        let figures = storm.figures
        #expect(figures.outside.random > 3_000 && figures.outside.mutated > 3_000 && figures.outside.crafted > 3_000)
        #expect(figures.insideCount == 10_000)
        #expect(figures.growth.node < 1024 && figures.growth.authority < 1024, "\(figures.memory)")
        #expect(figures.pingsSent > 100 && figures.pingsLost <= figures.pingsSent / 100)
        let stream = figures.stream
        #expect(stream.endedAlive && Double(stream.lost) < 0.02 * Double(stream.sent), "\(stream)")
        #expect(figures.admittedAfter ?? 99 < 10)
      }
    }
  }
}
