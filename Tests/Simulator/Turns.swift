// One turn of a node: something happens to it, what it then wants is carried out, and its next deadline is set.

import Core
import Node

/// A frame that a node is passing on: what it sends next of this length is that frame.
struct Passing {
  var trail: Int32
  var count: Int
}

extension World {
  // MARK: Into a node

  /// Does something to a running node, carries out what it then wants, and sets its next deadline.
  func enter(_ box: SimulatedNode, _ body: (inout Node) -> Void) {
    guard let running = box.running else { return }
    body(&running.storage.pointee)
    drain(box, running)
    setDeadline(box, running)
  }

  /// The event in the queue stays when it is not too late: nodes put their deadlines off far more often than forward.
  @inline(__always)
  func setDeadline(_ box: SimulatedNode, _ running: RunningNode) {
    guard let own = running.storage.pointee.nextDeadline else { return }
    let due = max(box.clock.world(own), now)
    if due >= box.awaited { return }
    box.awaited = due
    box.turn &+= 1
    queue.push(.deadline, at: due, place: box.number, reference: box.turn)
  }

  func deadline(_ box: SimulatedNode, _ turn: Int32) {
    guard box.turn == turn else { return }
    box.awaited = .never
    guard !box.isPaused, let running = box.running else { return }
    guard let own = running.storage.pointee.nextDeadline, own <= box.own(now) else {
      setDeadline(box, running)
      return
    }
    trace.event(1, at: now.nanoseconds, box.number, 0)
    box.timeoutsAtOnce = box.lastTimeout == now ? box.timeoutsAtOnce + 1 : 0
    box.lastTimeout = now
    if box.timeoutsAtOnce >= 100 {
      if box.timeoutsAtOnce == 100 { violated("sets a deadline that is due, again and again", at: box.number) }
      return
    }
    takeTurn(box, running) { $0.timeout(at: box.own(now)) }
    drain(box, running)
    setDeadline(box, running)
  }

  /// Now, or when the node's loop runs on. What a late loop finds is bounded, but for how its ports look: the kernel may
  /// drop messages of that too, and the port monitor then asks anew.
  func deliver(_ box: SimulatedNode, isOfPort: Bool = false, _ body: @escaping (inout Node, Instant) -> Void) {
    if box.isPaused {
      if isOfPort || box.backlog.count < SimulatedNode.backlogLimit { box.backlog.append(.call(body)) }
    } else {
      enter(box) { body(&$0, box.own(now)) }
    }
  }

  /// A frame comes out of a medium.
  func arrive(_ tap: Int, _ handle: Int32) {
    let box = nodes[Int(taps[tap].node)]
    guard box.running != nil, taps[tap].hasCarrier else {
      drop(handle)
      return
    }
    let header = frames.header(handle)
    trace.event(2, at: now.nanoseconds, box.number, Int(taps[tap].port))
    trace.mix(frames.bytes(handle), count: Int(header.count))
    box.framesReceived &+= 1
    if box.isPaused {
      if box.backlog.count < SimulatedNode.backlogLimit {
        box.backlog.append(.frame(port: Int(taps[tap].port), handle: handle))
      } else {
        drop(handle)
      }
      return
    }
    receive(box, port: Int(taps[tap].port), handle, header)
  }

  private func receive(_ box: SimulatedNode, port: Int, _ handle: Int32, _ header: FrameHeader) {
    guard let running = box.running, var buffer = running.pool.take() else {
      drop(handle)
      return
    }
    let count = Int(header.count)
    UnsafeMutableRawPointer(buffer.bytes).copyMemory(from: frames.bytes(handle), byteCount: count)
    buffer.count = count
    let isOnion = count > 0 && buffer.bytes[0] >> 4 == 4
    let passed = isOnion ? running.storage.pointee.framesPassedOn : 0
    takeTurn(box, running) {
      $0.receive(buffer, on: PortNumber(UInt16(truncatingIfNeeded: port + 1)), from: header.source, at: box.own(now))
    }
    if isOnion, running.storage.pointee.framesPassedOn != passed {
      passing = Passing(trail: header.trail, count: count)
    }
    drain(box, running)
    passing = nil
    drop(handle)
    setDeadline(box, running)
  }

  func drop(_ handle: Int32) {
    let trail = frames.header(handle).trail
    if trail != 0 { trails.release(trail) }
    frames.drop(handle)
  }

  func resume(_ box: SimulatedNode) {
    guard box.isPaused else { return }
    box.isPaused = false
    let backlog = box.backlog
    box.backlog = []
    guard let running = box.running else {
      for case .frame(_, let handle) in backlog { drop(handle) }
      return
    }
    let awaited = running.storage.pointee.nextDeadline.map { box.clock.world($0) } ?? .never
    // As the loop does it: what has arrived first, and only then deadlines.
    for waiting in backlog {
      switch waiting {
      case .frame(let port, let handle): receive(box, port: port, handle, frames.header(handle))
      case .call(let body): enter(box) { body(&$0, box.own(now)) }
      }
    }
    if awaited < now, now - awaited > World.lateTolerance {
      enter(box) { $0.loopWasLate(by: now - awaited, at: box.own(now)) }
    }
    if let due = running.storage.pointee.nextDeadline, due <= box.own(now) {
      enter(box) { $0.timeout(at: box.own(now)) }
    }
    box.awaited = .never
    setDeadline(box, running)
  }

  // MARK: Out of a node

  private func drain(_ box: SimulatedNode, _ running: RunningNode) {
    var packets: [[UInt8]] = []
    while let output = running.storage.pointee.nextOutput() {
      switch output {
      case .transmit(let buffer, let port, let destination):
        transmit(box, running.pool, buffer, port, destination)
      case .deliver(let packet): packets.append(Array(packet))
      case .configureBearer(let addresses): box.addresses = addresses
      case .persist(let bytes):
        box.store = bytes
        box.persistCount += 1
        bytes.withUnsafeBufferPointer { trace.mix($0.baseAddress!, count: $0.count) }
        running.persisted += 1
        if !box.keepsStoreWaiting {
          running.storage.pointee.storeIsSettled(through: running.persisted, at: box.own(now))
        }
      case .event(let level, let text): log(box, level, text)
      }
    }
    if running.pool.freeCount &+ leaked != running.pool.slabCount {
      let missing = running.pool.slabCount - running.pool.freeCount
      violated("holds \(missing - leaked) buffers after an event", at: box.number)
      leaked = missing
    }
    if packets.isEmpty { return }
    for packet in packets {
      trace.event(3, at: now.nanoseconds, box.number, 0)
      packet.withUnsafeBufferPointer { trace.mix($0.baseAddress!, count: $0.count) }
      hostReceives(packet, at: box)
    }
  }

  @inline(never)
  private func log(_ box: SimulatedNode, _ level: LogLevel, _ text: String) {
    var text = text
    text.withUTF8 { if let start = $0.baseAddress { trace.mix(start, count: $0.count) } }
    if box.log.count < SimulatedNode.logLimit { box.log.append((now, level, text)) }
    if isTalkative { print("\(elapsed.microseconds) µs node \(box.number) \(level): \(text)") }
  }

  private func transmit(
    _ box: SimulatedNode, _ pool: PacketPool, _ buffer: PacketBuffer, _ port: PortNumber, _ destination: MACAddress
  ) {
    defer { pool.give(buffer) }
    if buffer.start < 14 { violated("leaves no room for an Ethernet header", at: box.number) }
    let index = Int(port.value) - 1
    guard index >= 0, index < box.taps.count else {
      violated("sends on port \(port.value), which does not exist", at: box.number)
      return
    }
    let tap = Int(box.taps[index])
    if buffer.count > Int(taps[tap].frameSize) {
      violated("sends \(buffer.count) bytes on a port of \(taps[tap].frameSize)", at: box.number)
      return
    }
    box.framesSent &+= 1
    var trail: Int32 = 0
    if buffer.count > 0, buffer.bytes[0] >> 4 == 4 {
      box.onionFramesSent &+= 1
      if let passed = passing, passed.count == buffer.count {
        passing = nil
        if swallows(box, tap) { return }
        guard let longer = follow(passed.trail, box) else { return }
        trail = longer
      }
    }
    if taps[tap].hasCarrier {
      carry(buffer.bytes, count: buffer.count, trail: trail, from: tap, to: destination)
    }
    if trail != 0 {
      trails.retain(trail)
      trails.release(trail)
    }
  }

  private func swallows(_ box: SimulatedNode, _ tap: Int) -> Bool {
    switch box.conduct {
    case .honest: false
    case .greyHole: true
    case .greyTowards(let node): media[Int(taps[tap].medium)].taps.contains { Int(taps[$0].node) == node }
    }
  }
}
