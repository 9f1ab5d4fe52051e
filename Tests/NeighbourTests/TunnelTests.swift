// What the engine does for tunnels: sizes that begin low and rise, costs of a port's own, and whose a hello from an unknown
// address is.

import Core
import Testing
import Wire

@testable import Neighbour

@Suite struct TunnelTests {
  private func pair(frameSize: Int = 1472, cost: UInt16 = 0) -> Harness {
    let harness = Harness(seed: 3)
    harness.addBox(10)
    harness.addBox(11)
    _ = harness.wire([(0, 1), (1, 1)])
    for box in 0...1 { setTunnel(harness, box, frameSize: frameSize, cost: cost) }
    return harness
  }

  private func setTunnel(_ harness: Harness, _ box: Int, frameSize: Int = 1472, cost: UInt16 = 0) {
    let status = PortStatus(
      name: "tunnel1", address: harness.address(box, PortNumber(1)), frameSize: frameSize, isUp: true, medium: .tunnel,
      riskGroup: 0, cost: cost)
    harness.boxes[box].engine.portChanged(PortNumber(1), status, at: harness.now)
    harness.drain(box)
  }

  private func buffer(_ bytes: [UInt8], _ body: (PacketBuffer) -> Void) {
    var bytes = bytes
    bytes.withUnsafeMutableBufferPointer {
      body(PacketBuffer(base: $0.baseAddress!, capacity: $0.count, start: 0, count: $0.count))
    }
  }

  private func judge(_ harness: Harness, _ box: Int, _ bytes: [UInt8]) -> TunnelArrival {
    var verdict = TunnelArrival.nobody
    buffer(bytes) { frame in
      verdict = harness.boxes[box].engine.judgeArrival(frame, at: harness.now)
      #expect((0..<bytes.count).allSatisfy { frame.bytes[$0] == bytes[$0] }, "the frame stays as it is")
    }
    return verdict
  }

  @Test func `A tunnel carries 1,232 bytes at once and more when more was heard`() throws {
    let harness = pair()
    try #require(harness.runUntilUp() != nil)
    #expect(harness.boxes.map { $0.link?.frameSize } == [1232, 1232])
    harness.run(for: .seconds(2))
    #expect(harness.boxes.map { $0.link?.frameSize } == [1472, 1472])
    #expect(harness.boxes.allSatisfy { $0.downs == 0 })
  }

  @Test(arguments: [1300, 1232, 1240]) func `On a path that eats large frames a tunnel never falls below 1,232`(
    most: Int
  )
    throws
  {
    let harness = pair()
    var smallest = Int.max
    harness.wires[0].fate = { $0.bytes.count > most ? [] : [.milliseconds(20)] }
    try #require(harness.runUntilUp() != nil)
    for _ in 0..<100 {
      harness.run(for: .milliseconds(100))
      smallest = min(smallest, harness.boxes[0].link?.frameSize ?? 0)
    }
    #expect(smallest == 1232)
    #expect(harness.boxes[0].link?.frameSize == (most >= 1280 ? 1280 : 1232))
    #expect(harness.boxes.allSatisfy { $0.downs == 0 && $0.link?.state == .up })
  }

  @Test func `A tunnel costs 200, or what its port says`() throws {
    let usual = pair()
    try #require(usual.runUntilUp() != nil)
    #expect(usual.boxes[0].link?.cost == 200)
    let dear = pair(cost: 7)
    try #require(dear.runUntilUp() != nil)
    #expect(dear.boxes[0].link?.cost == 7)
    // No cost makes the sum with its penalties overflow.
    setTunnel(dear, 0, cost: .max)
    #expect(dear.boxes[0].link?.cost == 10_000)
  }

  /// Who heard a proof in one tunnel could say it in all.
  @Test func `In a tunnel a proved DISCOVER displaces nobody who may come back`() throws {
    let harness = pair()
    try #require(harness.runUntilUp() != nil)
    harness.run(for: .seconds(4))
    let stays = harness.initiator
    // A higher ID: it begins no handshake, which would displace the one before at once.
    let other = try #require(
      (100..<200).map { TestNetwork.identity($0) }.first { harness.boxes[stays].identity.id < $0.id })
    let before = harness.record(stays).pointee.id
    harness.restart(1 - stays, as: other)
    setTunnel(harness, 1 - stays)
    harness.run(for: .seconds(5))
    #expect(harness.record(stays).pointee.id == before && harness.record(stays).pointee.hasKey)
    harness.run(for: .seconds(10))
    #expect(harness.boxes.allSatisfy { $0.engine.adjacencies.contains { $0.state == .up } })
  }

  /// The newest hello of box 0 that did not arrive, after its link went silent for `silence`.
  private func lostHello(_ harness: Harness, after silence: Duration) throws -> [UInt8] {
    harness.run(for: .seconds(1))
    var lost: [[UInt8]] = []
    harness.wires[0].fate = { transit in
      if transit.from == 0 && transit.type == 3 && transit.bytes.count == 56 { lost.append(transit.bytes) }
      return transit.from == 0 ? [] : [.microseconds(20)]
    }
    harness.run(for: silence)
    return try #require(lost.last)
  }

  @Test
  func `A newer hello from elsewhere is its neighbour's once the address before is silent, and is answered at once`()
    throws
  {
    let harness = pair()
    try #require(harness.runUntilUp() != nil)
    let hello = try lostHello(harness, after: .milliseconds(1100))
    #expect(judge(harness, 1, hello) == .moved(PortNumber(1)))
    #expect(harness.boxes[1].engine.nextDeadline.map { $0 <= harness.now } == true)
    // It still counts when it is taken in.
    #expect(harness.inject(hello, into: 1, from: harness.address(0, PortNumber(1))) == .consumed)
    // And then it is old, wherever it is repeated.
    harness.run(for: .seconds(1))
    #expect(judge(harness, 1, hello) == .nobody)
    #expect(harness.boxes[1].downs == 0)
  }

  @Test func `A copy that overtakes a hello moves nobody while the neighbour is heard`() throws {
    let harness = pair()
    try #require(harness.runUntilUp() != nil)
    harness.run(for: .seconds(1))
    var verdicts: [TunnelArrival] = []
    harness.wires[0].fate = { transit in
      if transit.from == 0 && transit.type == 3 { verdicts.append(judge(harness, 1, transit.bytes)) }
      return [.milliseconds(1)]
    }
    harness.run(for: .seconds(5))
    #expect(verdicts.count > 10 && verdicts.allSatisfy { $0 == .nobody })
  }

  @Test func `What is not authentic, or of the past, moves nobody`() throws {
    let harness = pair()
    try #require(harness.runUntilUp() != nil)
    harness.wires[0].isRecording = true
    let hello = try lostHello(harness, after: .milliseconds(1100))
    let old = try #require(harness.wires[0].heard.first { $0.from == 0 && $0.type == 3 })
    #expect(judge(harness, 1, old.bytes) == .nobody)
    for i in hello.indices {
      var damaged = hello
      damaged[i] ^= 0x10
      #expect(judge(harness, 1, damaged) == .nobody, "byte \(i)")
      #expect(judge(harness, 1, Array(hello.prefix(i))) == .nobody, "\(i) bytes")
    }
    #expect(judge(harness, 1, hello) == .moved(PortNumber(1)))
  }

  @Test func `A hello on an Ethernet port's link moves nobody`() throws {
    let harness = Harness.pair(seed: 3)
    try #require(harness.runUntilUp() != nil)
    let hello = try lostHello(harness, after: .milliseconds(1100))
    #expect(judge(harness, 1, hello) == .nobody)
  }

  @Test func `A newcomer is who says DISCOVER in this network and is another`() throws {
    let harness = pair()
    harness.wires[0].isRecording = true
    harness.run(for: .milliseconds(100))
    let discover = try #require(harness.wires[0].heard.first { $0.from == 0 && $0.type == 1 }).bytes
    #expect(judge(harness, 1, discover) == .newcomer)
    #expect(judge(harness, 0, discover) == .nobody, "its own")
    var other = discover
    other[6] ^= 1
    #expect(judge(harness, 1, other) == .nobody, "another network's")
    #expect(judge(harness, 1, Array(discover.dropLast())) == .nobody)
    #expect(judge(harness, 1, [0x60, 1, 0, 0]) == .nobody)
    #expect(judge(harness, 1, [0xff]) == .nobody)
  }

  @Test func `Random and damaged datagrams are judged without a trap`() throws {
    let harness = pair()
    harness.wires[0].isRecording = true
    try #require(harness.runUntilUp() != nil)
    harness.run(for: .seconds(2))
    let samples = harness.wires[0].heard.map(\.bytes)
    var random = harness.random.fork()
    for round in 0..<20_000 {
      var bytes = samples[Int(random.u32()) % samples.count]
      if round % 3 == 0 {
        bytes = (0..<(1 + Int(random.u32()) % 300)).map { _ in UInt8(truncatingIfNeeded: random.u32()) }
      }
      for _ in 0..<(1 + round % 4) { bytes[Int(random.u32()) % bytes.count] = UInt8(truncatingIfNeeded: random.u32()) }
      if round % 5 == 0 { bytes = Array(bytes.prefix(1 + Int(random.u32()) % bytes.count)) }
      let verdict = judge(harness, round % 2, bytes)
      if case .moved = verdict { Issue.record("\(bytes)") }
    }
  }

  @Test func `A thousand hellos a second at most are tried under keys`() throws {
    let harness = pair()
    try #require(harness.runUntilUp() != nil)
    var hello = try lostHello(harness, after: .milliseconds(1100))
    let good = hello
    hello[20] ^= 1
    for _ in 0..<400 { #expect(judge(harness, 1, hello) == .nobody) }
    #expect(judge(harness, 1, good) == .nobody, "the budget is used up")
    // Counters nobody waits for cost nothing of it.
    harness.run(for: .milliseconds(50))
    hello[1] ^= 0x40
    for _ in 0..<4000 { #expect(judge(harness, 1, hello) == .nobody) }
    #expect(judge(harness, 1, good) == .moved(PortNumber(1)))
  }
}
