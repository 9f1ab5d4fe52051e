// The control socket's server side: a few clients, each with one request at a time. Nothing here waits: a client that is
// slow to send or to read is closed after a while and never holds up the loop.

import CSystem
import Core
import Wire

struct ControlServer: ~Copyable {
  /// 8 × (518 KiB of request and one answer).
  static let clientLimit = 8
  /// From connection or last progress to the whole request, or to the next byte of an answer that is taken.
  static let patience = Duration.seconds(10)
  /// Events in one part for a client that follows.
  static let followChunk = 32

  /// A client for as long as it is connected: its place is another's later.
  struct ClientName {
    let place: Int
    let serial: UInt32
  }

  struct Client {
    let descriptor: Int32
    let serial: UInt32
    /// Its request was taken and not answered yet.
    var isAwaiting = false
    var input: [UInt8] = []
    var output: [UInt8] = []
    /// Bytes of the output that were sent.
    var sent = 0
    /// The next event for a client that follows them.
    var following: UInt64?
    var givenUpAt: Instant

    var hasOutput: Bool { sent < output.count }
  }

  private let epoll: Int32
  private let listener: Int32
  private let tag: UInt64
  private var clients: [Client?]
  private var lastSerial: UInt32 = 0
  /// When connections are taken again after the kernel had no room for one.
  private var resumesAt: Instant?
  private(set) var refusedClients: UInt64 = 0
  private(set) var badRequests: UInt64 = 0

  /// Listens at `path`. Epoll events carry `tag` + 0 for the listener and `tag` + 1 + place for clients.
  init(path: [UInt8], epoll: Int32, tag: UInt64) throws(SystemError) {
    guard let name = terminated(path) else { throw SystemError(code: 22, action: "listen on the control socket") }
    let listener = try SystemError.check(
      name.withUnsafeBufferPointer { cs_local_listen($0.baseAddress!, 8) },
      "listen on \(String(decoding: path, as: UTF8.self))")
    let watched = cs_epoll_add(epoll, listener, CS_READABLE, tag)
    if watched < 0 {
      cs_close(listener)
      throw SystemError(code: 0 &- watched, action: "watch the control socket")
    }
    self.listener = listener
    self.epoll = epoll
    self.tag = tag
    clients = []
    for _ in 0..<ControlServer.clientLimit { clients.append(nil) }
  }

  mutating func shutdown() {
    for place in 0..<clients.count { close(place) }
    cs_close(listener)
  }

  /// A request that has arrived whole, and from whom.
  struct Arrival {
    let client: ClientName
    let request: ControlRequest
  }

  /// Handles one epoll event (`offset` = its tag − ours).
  mutating func handle(offset: Int, readiness: UInt32, at now: Instant) -> Arrival? {
    if offset == 0 {
      accept(at: now)
      return nil
    }
    let place = offset - 1
    guard place < clients.count, clients[place] != nil else { return nil }
    if readiness & CS_WRITABLE != 0 { push(place, at: now) }
    if clients[place] != nil, readiness & (CS_READABLE | CS_BROKEN) != 0 { return pull(place, at: now) }
    return nil
  }

  private mutating func accept(at now: Instant) {
    for _ in 0..<ControlServer.clientLimit {
      let descriptor = cs_local_accept(listener)
      if descriptor == -1 {  // -EPERM: another user's
        refusedClients += 1
        continue
      }
      if descriptor < 0 {
        // Out of descriptors or memory: the listener would be ready for ever.
        if descriptor != -SystemCode.again {
          _ = cs_epoll_change(epoll, listener, 0, tag)
          resumesAt = now + .seconds(1)
        }
        return
      }
      guard let place = clients.firstIndex(where: { $0 == nil }) else {
        refuse(descriptor)
        continue
      }
      if cs_epoll_add(epoll, descriptor, CS_READABLE, tag + 1 + UInt64(place)) < 0 {
        cs_close(descriptor)
        continue
      }
      lastSerial &+= 1
      clients[place] = Client(descriptor: descriptor, serial: lastSerial, givenUpAt: now + ControlServer.patience)
    }
  }

  private mutating func refuse(_ descriptor: Int32) {
    refusedClients += 1
    let answer = ControlProtocol.answer(
      .failure, Array("\(ControlServer.clientLimit) clients are connected already: try again later".utf8))
    _ = answer.withUnsafeBytes { cs_send(descriptor, $0.baseAddress, $0.count) }
    cs_close(descriptor)
  }

  private mutating func close(_ place: Int) {
    guard let client = clients[place] else { return }
    cs_close(client.descriptor)
    clients[place] = nil
  }

  // MARK: Requests

  private mutating func pull(_ place: Int, at now: Instant) -> Arrival? {
    guard var client = clients[place] else { return nil }
    clients[place] = nil
    var chunk = [UInt8](repeating: 0, count: 16384)
    // A bound on the work for one client in one turn; epoll reports the rest again.
    let count = chunk.withUnsafeMutableBytes { cs_receive(client.descriptor, $0.baseAddress, $0.count) }
    if count == Int64(-SystemCode.again) {
      clients[place] = client
      return nil
    }
    // A client that has asked has nothing more to say before it is answered.
    if count <= 0 || client.following != nil || client.isAwaiting {
      cs_close(client.descriptor)
      return nil
    }
    client.input.append(contentsOf: chunk[0..<Int(count)])
    var request: ControlRequest?
    do throws(WireError) {
      request = try ControlServer.takeRequest(from: &client.input)
    } catch {
      badRequests += 1
      cs_close(client.descriptor)
      return nil
    }
    client.isAwaiting = request != nil
    client.givenUpAt = request == nil ? client.givenUpAt : now + ControlServer.patience
    clients[place] = client
    guard let request else { return nil }
    return Arrival(client: ClientName(place: place, serial: client.serial), request: request)
  }

  private static func takeRequest(from input: inout [UInt8]) throws(WireError) -> ControlRequest? {
    if input.count < 4 { return nil }
    let length = Int(input[0]) << 24 | Int(input[1]) << 16 | Int(input[2]) << 8 | Int(input[3])
    if length > ControlProtocol.requestLimit { throw .invalid(field: StaticFieldName("request length")) }
    if input.count < 4 + length { return nil }
    // One request at a time: nothing may follow it before it is answered.
    if input.count > 4 + length { throw .invalid(field: StaticFieldName("request length")) }
    let body = Array(input[4...])
    input = []
    return try ControlProtocol.decode(body.span)
  }

  // MARK: Answers

  func isConnected(_ client: ClientName) -> Bool { clients[client.place]?.serial == client.serial }

  mutating func reply(_ client: ClientName, _ answer: ControlAnswer, at now: Instant) {
    let place = client.place
    guard isConnected(client) else { return }
    clients[place]?.isAwaiting = false
    switch answer {
    case .document(let bytes): send(place, ControlProtocol.answer(.document, bytes), at: now)
    case .failure(let text): send(place, ControlProtocol.answer(.failure, Array(text.utf8)), at: now)
    }
  }

  /// From now on the client gets every event, beginning with this one.
  mutating func follow(_ place: Int, from sequence: UInt64) {
    clients[place]?.following = sequence
  }

  private mutating func send(_ place: Int, _ bytes: [UInt8], at now: Instant) {
    guard clients[place] != nil else { return }
    clients[place]!.output = bytes
    clients[place]!.sent = 0
    push(place, at: now)
  }

  private mutating func push(_ place: Int, at now: Instant) {
    guard var client = clients[place], client.hasOutput else { return }
    clients[place] = nil
    let count = client.output.withUnsafeBytes {
      cs_send(client.descriptor, $0.baseAddress! + client.sent, $0.count - client.sent)
    }
    if count < 0 && count != Int64(-SystemCode.again) {
      cs_close(client.descriptor)
      return
    }
    if count > 0 {
      client.sent += Int(count)
      client.givenUpAt = now + ControlServer.patience
    }
    if !client.hasOutput {
      client.output = []
      client.sent = 0
    }
    let interest = client.hasOutput ? CS_WRITABLE : CS_READABLE
    _ = cs_epoll_change(epoll, client.descriptor, interest, tag + 1 + UInt64(place))
    clients[place] = client
  }

  // MARK: Time and events

  var nextDeadline: Instant? {
    var first = resumesAt
    for client in clients {
      if let client, client.hasOutput || client.following == nil { first = earlier(first, client.givenUpAt) }
    }
    return first
  }

  mutating func timeout(at now: Instant) {
    if let due = resumesAt, due <= now {
      resumesAt = nil
      _ = cs_epoll_change(epoll, listener, UInt32(CS_READABLE), tag)
    }
    for place in 0..<clients.count {
      guard let client = clients[place], client.givenUpAt <= now else { continue }
      if client.hasOutput || client.following == nil { close(place) }
    }
  }

  /// Hands new events to the clients that follow them and have taken what they had.
  mutating func pass(_ log: EventLog, at now: Instant) {
    for place in 0..<clients.count {
      guard let client = clients[place], let next = client.following else { continue }
      if client.hasOutput || next >= log.nextSequence { continue }
      let part = ControlServer.part(log, from: next)
      clients[place]!.following = part.next
      clients[place]!.givenUpAt = now + ControlServer.patience
      send(place, ControlProtocol.answer(.part, part.bytes), at: now)
    }
  }

  /// Up to `followChunk` events; one that says so stands for those that were pushed out of the ring.
  private static func part(_ log: EventLog, from first: UInt64) -> (bytes: [UInt8], next: UInt64) {
    let oldest = log.oldestSequence
    if first >= oldest { return log.document(from: first, limit: followChunk) }
    var json = JSONWriter()
    json.array { json in
      let text = Array("\(oldest - first) events were lost: this client did not keep up".utf8)
      EventLog.append(
        EventLog.Event(sequence: oldest - 1, time: cs_realtime_ms(), level: .warning, text: text), to: &json)
    }
    return (json.bytes, oldest)
  }
}
