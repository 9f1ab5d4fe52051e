import CLab
import Core
import Foundation
import Testing

@testable import Runtime

@Suite(.serialized, .enabled(if: isRoot))
struct LoopTests {
  @Test func `a frame crosses the wire with the sender's address and without its Ethernet header`() throws {
    try inNamespace([("a0", "b0")]) {
      var a = try relayLoop(["a0"])
      var b = try relayLoop(["b0"])
      #expect(a.node.ports.count == 1)
      #expect(a.withNode { $0.send(Array(1...60), on: $0.ports[0]) })
      _ = a.turn(waitingAtMost: .zero)
      b.turns { $0.node.received == 1 }
      #expect(b.node.received == 1)
      #expect(b.node.firstPayloads.first == Array(1...60))
      #expect(b.node.sources.first == a.ports.sockets[0].status.address)
      // Our own frames do not come back.
      _ = a.turn(waitingAtMost: .milliseconds(5))
      #expect(a.node.received == 0)
      a.shutdown()
      b.shutdown()
    }
  }

  @Test func `a socket passes the lifeline's EtherType only, untagged or with a priority tag`() throws {
    try inNamespace([("a0", "b0")]) {
      var b = try relayLoop(["b0"])
      let raw = try RawSender("a0")
      raw.send(etherType: [0x08, 0x00], [1])
      raw.send(etherType: [0x81, 0x00, 0x00, 0x05, 0x88, 0xb5], [2])
      raw.send(etherType: [0x81, 0x00, 0xe0, 0x00, 0x88, 0xb5], [3])
      raw.send(etherType: [0x88, 0xb5], [4])
      b.turns { $0.node.received == 2 }
      #expect(b.node.firstPayloads.map { $0.first } == [3, 4])
      b.shutdown()
    }
  }

  @Test func `a relay of two ports hands on every frame of a burst and gives back every buffer`() throws {
    try inNamespace([("a0", "r0"), ("r1", "c0")]) {
      var relay = try relayLoop(["r0", "r1"])
      var sink = try relayLoop(["c0"])
      let raw = try RawSender("a0")
      let count = 5000
      for sequence in 0..<count {
        raw.send(etherType: [0x88, 0xb5], [UInt8(sequence >> 8), UInt8(sequence & 255)])
        if sequence % 200 == 199 { for _ in 0..<4 { _ = relay.turn(waitingAtMost: .zero) } }
        if sequence % 200 == 199 { for _ in 0..<4 { _ = sink.turn(waitingAtMost: .zero) } }
      }
      relay.turns { $0.node.received == count }
      sink.turns { $0.node.received == count }
      #expect(relay.node.received == count)
      #expect(sink.node.received == count)
      #expect(relay.ports.sockets[1].counters.sent == UInt64(count))
      relay.shutdown()
      #expect(relay.pool.freeCount + relay.buffersHeld == relay.pool.slabCount)
      sink.shutdown()
    }
  }

  @Test func `without free buffers frames are thrown away and counted, and the loop goes on when there are some again`()
    throws
  {
    try inNamespace([("a0", "b0")]) {
      var b = try relayLoop(["b0"], slabs: 80)
      b.withNode { $0.keeps = true }
      let raw = try RawSender("a0")
      for i in 0..<100 { raw.send(etherType: [0x88, 0xb5], [UInt8(i)]) }
      b.turns { $0.ports.sockets[0].counters.receivedWithoutBuffer == 20 }
      #expect(b.node.received == 80)
      #expect(b.ports.sockets[0].counters.receivedWithoutBuffer == 20)
      b.withNode { node in
        for frame in node.kept { node.pool.give(frame) }
        node.kept = []
        node.keeps = false
      }
      for i in 0..<100 { raw.send(etherType: [0x88, 0xb5], [UInt8(i)]) }
      b.turns { $0.node.received == 180 }
      #expect(b.node.received == 180)
      b.shutdown()
    }
  }

  @Test func `frames longer than the link are refused one by one, the others go out`() throws {
    try inNamespace([("a0", "b0")]) {
      var a = try relayLoop(["a0"])
      var b = try relayLoop(["b0"])
      a.withNode { node in
        _ = node.send([1], on: node.ports[0])
        _ = node.send([UInt8](repeating: 2, count: 4000), on: node.ports[0])
        _ = node.send([3], on: node.ports[0])
      }
      _ = a.turn(waitingAtMost: .zero)
      b.turns { $0.node.received == 2 }
      #expect(b.node.firstPayloads.map { $0.first } == [1, 3])
      #expect(a.ports.sockets[0].counters.sendFailed == 1)
      #expect(a.ports.sockets[0].counters.sent == 2)
      a.shutdown()
      b.shutdown()
    }
  }

  @Test func `frames that a full queueing discipline refuses wait, at most 256 of them, and go out later in order`()
    throws
  {
    try inNamespace([("a0", "b0")]) {
      // 8 Mb/s and a queue of three frames: 1 ms a frame.
      if system("tc qdisc add dev a0 root tbf rate 8mbit burst 2000 limit 3000") != 0 {
        throw Refused(what: "tc", errno: 0)
      }
      var a = try relayLoop(["a0"])
      var b = try relayLoop(["b0"])
      b.withNode { $0.recordLimit = 4096 }
      a.withNode { node in
        for i in 0..<400 { _ = node.send([UInt8](repeating: UInt8(i & 255), count: 986), on: node.ports[0]) }
      }
      let first = a.ports.sockets[0].counters
      #expect(first.queueDropped >= 400 - 256 - 16 && first.queueDropped <= 400 - 256)
      for _ in 0..<5000 where a.ports.sockets[0].waiting > 0 { _ = a.turn(waitingAtMost: .milliseconds(2)) }
      #expect(a.ports.sockets[0].waiting == 0)
      #expect(a.pool.freeCount + a.buffersHeld == a.pool.slabCount)
      let counters = a.ports.sockets[0].counters
      #expect(counters.sent + counters.queueDropped + counters.sendFailed == 400)
      usleep(20_000)
      for _ in 0..<20 { _ = b.turn(waitingAtMost: .milliseconds(5)) }
      let numbers = b.node.firstPayloads.compactMap { $0.first }
      #expect(UInt64(b.node.received) == counters.sent)
      #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 || $0 > 200 && $1 < 200 })
      // It is not the discipline's refusals that lost them.
      #expect(counters.sent >= 250)
      a.shutdown()
      b.shutdown()
    }
  }

  @Test func `a port that vanishes is reported, gives back what waits, and its number is not the next one`() throws {
    try inNamespace([("a0", "b0"), ("c0", "d0")]) {
      var a = try relayLoop(["a0", "c0"])
      let before = a.node.ports
      #expect(before.count == 2)
      try ip("link del a0")
      try ip("link add a0 type veth peer name b0")
      try ip("link set a0 up")
      try ip("link set b0 up")
      for _ in 0..<50 where a.node.vanished == 0 || a.node.ports.count < 2 {
        _ = a.turn(waitingAtMost: .milliseconds(10))
      }
      #expect(a.node.vanished == 1)
      let after = a.node.ports
      #expect(after.count == 2)
      #expect(after.max()! > before.max()!)
      #expect(a.ports.count == 2)
      a.shutdown()
    }
  }

  @Test func `a port that is down drops what is sent on it and works again when it is up`() throws {
    try inNamespace([("a0", "b0")]) {
      var a = try relayLoop(["a0"])
      var b = try relayLoop(["b0"])
      try ip("link set a0 down")
      a.withNode { _ = $0.send([1], on: $0.ports[0]) }
      for _ in 0..<3 { _ = a.turn(waitingAtMost: .milliseconds(2)) }
      #expect(a.ports.sockets[0].counters.sendFailed == 1)
      try ip("link set a0 up")
      a.withNode { _ = $0.send([2], on: $0.ports[0]) }
      _ = a.turn(waitingAtMost: .zero)
      b.turns { $0.node.received == 1 }
      #expect(b.node.firstPayloads.map { $0.first } == [2])
      a.shutdown()
      b.shutdown()
    }
  }

  @Test func `that a port lost its carrier is told before the frames that wait on it`() throws {
    try inNamespace([("a0", "b0")]) {
      var b = try relayLoop(["b0"])
      let raw = try RawSender("a0")
      raw.send(etherType: [0x88, 0xb5], [1])
      try ip("link set a0 down")
      usleep(50_000)
      b.turns { $0.node.received == 1 }
      #expect(b.node.received == 1 && b.node.receivedWhileDown == 1)
      b.shutdown()
    }
  }

  @Test func `a deadline is kept to the millisecond and a late loop is told to the node`() throws {
    try inNamespace([("a0", "b0")]) {
      var a = try relayLoop(["a0"])
      let start = Process.now
      a.withNode { $0.deadline = start + .milliseconds(3) }
      while a.node.timeouts == 0 { _ = a.turn(waitingAtMost: .seconds(1)) }
      #expect(Process.now - start >= .milliseconds(3))
      // A deadline in the past, set in this turn, is not the loop's lateness.
      a.withNode { $0.deadline = .zero + .seconds(1) }
      let before = a.node.lateness.count
      _ = a.turn(waitingAtMost: .zero)
      #expect(a.node.timeouts == 2)
      a.withNode { $0.deadline = Process.now + .milliseconds(1) }
      usleep(30_000)
      _ = a.turn(waitingAtMost: .zero)
      #expect(a.node.timeouts == 3)
      let late = try #require(a.node.lateness.last)
      #expect(a.node.lateness.count > before)
      #expect(late > .milliseconds(20) && late < .seconds(5))
      a.shutdown()
    }
  }

  @Test func `shutdown sends the node's goodbye`() throws {
    try inNamespace([("a0", "b0")]) {
      var a = try relayLoop(["a0"])
      var b = try relayLoop(["b0"])
      a.shutdown()
      #expect(a.node.saidGoodbye == true)
      b.turns { $0.node.received == 1 }
      #expect(b.node.firstPayloads.map { $0.first } == [0xbb])
      b.shutdown()
    }
  }
}

/// Sends frames with any EtherType from an interface.
struct RawSender {
  let descriptor: Int32

  init(_ name: String) throws {
    descriptor = lab_packet_socket(name, 0)
    if descriptor < 0 { throw Refused(what: "packet socket", errno: -descriptor) }
  }

  func send(etherType: [UInt8], _ payload: [UInt8]) {
    let padding = [UInt8](repeating: 0, count: 46 - payload.count)
    let frame: [UInt8] = [1, 0x80, 0xc2, 0, 0, 0x0e, 2, 2, 3, 4, 5, 6] + etherType + payload + padding
    #expect(write(descriptor, frame, frame.count) == frame.count)
  }
}
