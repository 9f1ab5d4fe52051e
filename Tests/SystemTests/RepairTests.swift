// A slice of `lab repair`, `lab calm` and `lab hellos`: that failures are made as they are meant, and that what must not
// happen does not happen in seconds either. `make soak` has the long runs.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Repairs {
    /// Which frames still pass a wire, told by a stream beside lifeline's: of its own EtherType, small and large.
    @Test(arguments: WireLoss.allCases)
    func `a wire loses what it is told to, one way or both, and passes all when it is mended`(loss: WireLoss) throws {
      var options = LaboratoryOptions()
      options.linkStyle = .wires
      try withLaboratory(.chain(2), options: options, provisioned: false) { laboratory in
        let (a, b) = laboratory.linkEnds[0]
        let ends = [(laboratory.nodes[a.node], a.interface), (laboratory.nodes[b.node], b.interface)]
        let captures = try ends.map { try Capture($0.1, in: $0.0.namespace) }
        var storms = try [0, 1].map { try TestFrames(from: ends[$0].1, in: ends[$0].0.namespace, mark: UInt8($0)) }
        func passed(from side: Int) throws -> Set<TestFrames.Kind> {
          let round = storms[side].round
          try storms[side].send()
          try pause(0.1)
          return Set(captures[1 - side].frames.compactMap { TestFrames.kind(of: $0, mark: UInt8(side), round: round) })
        }
        let all = Set(TestFrames.Kind.allCases)
        #expect(try passed(from: 0) == all && passed(from: 1) == all)
        try laboratory.cutSilently(0, .fromAToB, losing: loss)
        let kept: Set<TestFrames.Kind> =
          switch loss {
          case .everything: []
          case .largeFrames: [.hello, .payload]
          case .payload: [.hello, .largeHello]
          }
        #expect(try passed(from: 0) == kept)
        #expect(try passed(from: 1) == all)
        try laboratory.mend(0)
        #expect(try passed(from: 0) == all)
        try laboratory.cutSilently(0, losing: loss)
        #expect(try passed(from: 0) == kept && passed(from: 1) == kept)
        try laboratory.mendAll()
        #expect(try passed(from: 0) == all && passed(from: 1) == all)
      }
    }

    /// The limits are for a machine with nothing else to do: `make bench` judges by them. Here only that each failure is
    /// one, and is repaired before it ends.
    @Test func `a stream goes on after a failure on its way, before the failure ends`() throws {
      let (laboratory, trial) = try RepairTrial.network(.ring(6), binary: shippedBinary, protection: .unprotected)
      defer { #expect(laboratory.close() == []) }
      let repairs = try RepairTrial(laboratory, trial, flow: .authority, protection: .unprotected)
      for kind in [RepairKind.silent, .killed, .frozen] {
        let run = try repairs.run(kind, cuts: 1)
        for stream in run.streams.indices {
          let figures = RepairFigures(run, stream: stream)
          #expect(figures.before.lost == 0)
          #expect(figures.cuts[0].gap > 5 && figures.cuts[0].gap < kind.hold * 1000 - 100, "\(figures.row)")
          print(figures.row)
        }
      }
    }

    @Test func `an authority names the node that swallows what it should pass on, and leads others' ways round it`()
      throws
    {
      var options = LaboratoryOptions()
      options.linkStyle = .wires
      try withRunningNetwork(.ring(6), options: options) { laboratory, trial in
        try laboratory.prepareWires()
        try pause(1)
        let authority = laboratory.authority
        // Two links away, so that one node lies between.
        let far = try #require(try laboratory.nodes.dropFirst().first { try authority.route(to: $0.name).count == 2 })
        let victim = try authority.route(to: far.name)[0]
        let number = try #require(laboratory.nodes.firstIndex { $0.name == victim })
        try laboratory.cutSilently(node: number, losing: .payload)
        let pings = try authority.ping(try trial.pair(of: far).four.description, count: 150, interval: 0.02)
        #expect(pings.roundTrips.count == 150)
        #expect(
          authority.logTail(40).contains("\(victim) seems to drop what it should pass on"), "\(authority.logTail(40))")
        for node in laboratory.nodes where node.name != victim && node.role != .authority {
          #expect(try !authority.route(to: node.name).contains(victim), "\(node.name)")
        }
        #expect(try authority.control(["links"], json: true).output.contains("\"penalty\":20000"))
      }
    }

    @Test func `no link is called down while every core is busy and nodes are stopped for 35 ms`() throws {
      try withRunningNetwork(.ring(6)) { laboratory, _ in
        try pause(1)
        let figures = try CalmTrial(laboratory, seed: 7).run(seconds: 6, load: true, stops: true)
        #expect(figures.linksDown == 0 && figures.lines.isEmpty || !figures.isConclusive, "\(figures)")
        #expect(figures.stops >= 4)
      }
    }

    @Test func `a core that does not run is noted, with when that was`() throws {
      let watch = try CoreWatch()
      let core = try #require(watch.cores.last)
      try pause(0.1)
      let begun = Date()
      try CoreWatch.hold(core: core, seconds: 0.08)
      let ended = Date()
      try pause(0.05)
      let stood = try watch.finish().filter { $0.milliseconds >= 60 && $0.core == core }
      let isNear = { (one: Date, other: Date) in abs(one.timeIntervalSince(other)) < 0.02 }
      #expect(stood.contains { isNear($0.begun, begun) && isNear($0.ended, ended) }, "\(stood)")
    }

    @Test func `a link that is cut is counted among those called down`() throws {
      var options = LaboratoryOptions()
      options.linkStyle = .wires
      try withRunningNetwork(.ring(3), options: options) { laboratory, _ in
        try laboratory.prepareWires()
        try pause(1)
        let before = try laboratory.nodes.map { try $0.counters()["node.link.adjacenciesDown"] }
        let figures = try CalmTrial(laboratory).run(seconds: 0.5, load: false, stops: false) {
          try laboratory.cutSilently(0)
        }
        #expect(before == [0, 0, 0])
        #expect(figures.linksDown == 2 && figures.lines.count == 2, "\(figures.lines)")
      }
    }

    @Test func `what hellos cost is set beside a bare exchange of the same frames`() throws {
      try withRunningNetwork(.star(4)) { laboratory, _ in
        let cost = try laboratory.helloCost(of: 1, seconds: 3)
        #expect(cost.ports == 4 && cost.intervals == [20, 20, 20, 20])
        // Seconds are judged no further than that both ran; the kernel tells a process's time in steps of 10 ms.
        #expect(cost.floor > 0.01 && cost.floor < 100 && cost.share > 0, "\(cost)")
        #expect(laboratory.nodes.allSatisfy { !$0.isRunning })
      }
    }
  }
}

/// Frames of lifeline's EtherType that say which they are.
private struct TestFrames {
  enum Kind: UInt8, CaseIterable {
    case hello, largeHello, payload, largePayload
    /// Byte 0 of the protocol: its type in the high half (docs/PROTOCOL.md §1).
    var type: UInt8 { self == .hello || self == .largeHello ? 0x30 : 0x40 }
    var size: Int { self == .hello || self == .payload ? 200 : Laboratory.largeFrame + 100 }
  }

  private let socket: Descriptor
  private let mark: UInt8
  private(set) var round: UInt8 = 0

  init(from interface: String, in namespace: String, mark: UInt8) throws {
    socket = try inNetwork(of: namespace) { try packetSocket(on: interface) }
    self.mark = mark
  }

  mutating func send() throws {
    for kind in Kind.allCases {
      var frame: [UInt8] = [0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1 + mark, 0x88, 0xb5]
      frame += [kind.type, kind.rawValue, mark, round]
      frame += [UInt8](repeating: 0, count: kind.size - 4)
      #expect(Foundation.send(socket.number, frame, frame.count, 0) == frame.count)
    }
    round += 1
  }

  static func kind(of frame: [UInt8], mark: UInt8, round: UInt8) -> Kind? {
    guard frame.count > 17, frame[12] == 0x88, frame[13] == 0xb5, frame[16] == mark, frame[17] == round else {
      return nil
    }
    return Kind(rawValue: frame[15])
  }
}
