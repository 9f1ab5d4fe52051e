// A personality for tests: what comes in on one port goes out on the next, and everything it is told is counted.

import Core
import Wire

struct Relay: Personality, ~Copyable {
  let pool: PacketPool
  var ports: [PortNumber] = []
  var received = 0
  /// Of these, on a port that was told to be down.
  var receivedWhileDown = 0
  /// Payloads kept to be looked at.
  var recordLimit = 8
  var firstPayloads: [[UInt8]] = []
  var sources: [MACAddress] = []
  var vanished = 0
  var timeouts = 0
  var lateness: [Duration] = []
  /// Of these, before the last change of a port was told.
  var latenessAtChange = 0
  var storesSettled = 0
  var settledThrough: UInt64 = 0
  var deadline: Instant?
  var outputs = BoundedQueue<NodeOutput>(limit: 4096)
  /// Frames are kept instead of sent on.
  var keeps = false
  var kept: [PacketBuffer] = []
  var saidGoodbye = false
  /// Who is behind tunnels' ports.
  var neighbours: [PortNumber: TunnelNeighbour] = [:]
  var statuses: [PortNumber: PortStatus] = [:]

  init(pool: PacketPool) { self.pool = pool }

  mutating func portChanged(_ port: PortNumber, _ status: PortStatus, at now: Instant) {
    if !ports.contains(port) { ports.append(port) }
    statuses[port] = status
    latenessAtChange = lateness.count
    outputs.append(.event(.info, "port \(status.name) is there"))
  }

  mutating func portVanished(_ port: PortNumber, at now: Instant) {
    vanished += 1
    ports.removeAll { $0 == port }
  }

  mutating func receive(_ frame: PacketBuffer, on port: PortNumber, from source: MACAddress, at now: Instant) {
    received += 1
    if statuses[port]?.isUp == false { receivedWhileDown += 1 }
    if firstPayloads.count < recordLimit {
      firstPayloads.append(Array(UnsafeBufferPointer(start: frame.bytes, count: frame.count)))
      sources.append(source)
    }
    if keeps || ports.count < 2 {
      if keeps { kept.append(frame) } else { pool.give(frame) }
      return
    }
    outputs.append(.transmit(frame, port: port == ports[0] ? ports[1] : ports[0], destination: .nearestBridge))
  }

  /// A frame that begins with 1 is a newcomer's, with 3 that of the neighbour on the port that follows.
  mutating func judgeArrival(_ frame: PacketBuffer, at now: Instant) -> TunnelArrival {
    switch frame.bytes[0] {
    case 1: .newcomer
    case 3 where frame.count > 1: .moved(PortNumber(UInt16(frame.bytes[1])))
    default: .nobody
    }
  }

  func tunnelNeighbour(on port: PortNumber) -> TunnelNeighbour? { neighbours[port] }

  mutating func send(_ payload: [UInt8], on port: PortNumber, to destination: MACAddress = .nearestBridge) -> Bool {
    guard var frame = pool.take() else { return false }
    for (i, byte) in payload.enumerated() { frame.bytes[i] = byte }
    frame.count = payload.count
    return outputs.append(.transmit(frame, port: port, destination: destination))
  }

  mutating func bearerSent(_ packet: UnsafeMutableRawBufferPointer, at now: Instant) {}

  mutating func timeout(at now: Instant) {
    timeouts += 1
    deadline = nil
  }

  mutating func storeIsSettled(through count: UInt64, at now: Instant) {
    storesSettled += 1
    settledThrough = count
  }
  mutating func nextOutput() -> NodeOutput? { outputs.popFirst() }
  var nextDeadline: Instant? { deadline }
  mutating func loopWasLate(by lateness: Duration, at now: Instant) { self.lateness.append(lateness) }

  mutating func control(_ request: ControlRequest, at now: Instant) -> ControlAnswer {
    var json = JSONWriter()
    if request.words[0].elementsEqual("big".utf8) {
      json.array { json in for i in 0..<100_000 { json.integer(i) } }
      return .document(json.bytes)
    }
    if request.words[0].elementsEqual("keep".utf8) {
      outputs.append(.persist([UInt8](request.words[1])))
      return .document(Array("{}".utf8))
    }
    if !request.words[0].elementsEqual("status".utf8) { return .failure("unknown command") }
    json.object { json in
      json.field("ports", ports.count)
      json.field("attachment", request.attachment.count)
    }
    return .document(json.bytes)
  }

  mutating func shutdown(at now: Instant) {
    saidGoodbye = true
    if let port = ports.first { _ = send([0xbb], on: port) }
  }
}
