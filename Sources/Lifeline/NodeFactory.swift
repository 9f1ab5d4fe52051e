// Where a node is made from its store. Until the personalities are there, one that only answers the control socket.

import Core
import Crypto
import Membership
import Runtime
import Store
import Wire

/// The pool is shared with the loop, which gives sent frames back to it.
func makeNode(_ role: NodeRole, _ contents: StoreContents, _ pool: PacketPool) throws(SystemError) -> SilentNode {
  SilentNode(role: role, contents: contents, pool: pool)
}

/// Holds its ports open and says nothing on them.
struct SilentNode: Personality, ~Copyable {
  let role: NodeRole
  let contents: StoreContents
  let pool: PacketPool
  var outputs = BoundedQueue<NodeOutput>(limit: 64)

  init(role: NodeRole, contents: StoreContents, pool: PacketPool) {
    self.role = role
    self.contents = contents
    self.pool = pool
    outputs.append(.event(.warning, "this build has no \(role.name) personality yet: nothing is sent"))
  }

  mutating func portChanged(_ port: PortNumber, _ status: PortStatus, at now: Instant) {
    outputs.append(.event(.info, "port \(status.name) is \(status.isUp ? "up" : "down")"))
  }
  mutating func portVanished(_ port: PortNumber, at now: Instant) {}
  mutating func receive(_ frame: PacketBuffer, on port: PortNumber, from source: MACAddress, at now: Instant) {
    pool.give(frame)
  }
  mutating func bearerSent(_ packet: UnsafeMutableRawBufferPointer, at now: Instant) {}
  mutating func timeout(at now: Instant) {}
  mutating func nextOutput() -> NodeOutput? { outputs.popFirst() }
  var nextDeadline: Instant? { nil }
  mutating func loopWasLate(by lateness: Duration, at now: Instant) {}
  mutating func shutdown(at now: Instant) {}

  mutating func control(_ request: ControlRequest, at now: Instant) -> ControlAnswer {
    guard let word = request.words.first, word.elementsEqual("status".utf8) else {
      return .failure("this build answers status, events and counters only")
    }
    var json = JSONWriter()
    json.object { json in
      json.field("name", contents.name.description)
      json.field("id", contents.identity.id.description)
      json.field("role", role.name)
      json.field("ready", false)
    }
    return .document(json.bytes)
  }
}
