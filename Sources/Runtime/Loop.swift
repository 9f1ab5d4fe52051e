// The event loop that runs a node: one epoll over the ports' packet sockets, the bearer, the port monitor, the control
// socket, the housekeeping's reports and the signals. What may wait for the kernel or a medium is the housekeeping's
// (Housekeeper.swift): nothing here takes longer than the packets it handles. One turn waits, drains the sockets in
// batches, and only then judges deadlines, so that a busy loop does not take its own lateness for a neighbour's silence.
// Work in one turn is bounded; what is left waits for the next, which then does not sleep.

import CSystem
import Core

public struct Loop<Node: Personality & ~Copyable>: ~Copyable {
  public internal(set) var node: Node
  let pool: PacketPool
  let log: EventLog
  var store = StoreWriter()
  let options: LoopOptions

  var monitor: PortMonitor
  var bearer: BearerDevice?
  var house: HouseDesk
  var control: ControlServer?
  let tunnels: TunnelTable?
  var ports = PortTable()
  /// Ports whose sockets are being opened.
  var openings: [PortOpening] = []
  var lastTicket: UInt32 = 0
  var counters = LoopCounters()

  var epoll: Int32 = -1
  private var signals: Int32 = -1
  private let events: UnsafeMutablePointer<cs_event>
  private var received: ReceiveBatch
  private let sending: OpaquePointer
  /// Room for one packet of the bearer: a virtio header and 65,535 bytes, with slack.
  let bearerPacket: UnsafeMutableRawBufferPointer

  /// Slots of ports to read from.
  private let readable: UnsafeMutablePointer<Int32>
  private var readableCount = 0
  /// Slots of ports with frames to send.
  private let dirty: UnsafeMutablePointer<Int32>
  private var dirtyCount = 0
  var bearerIsReadable = false
  /// Its descriptor reports an error.
  var bearerIsBroken = false
  /// Reads that failed, one after the other.
  var bearerFailures = 0
  /// Which of the bearer's descriptors is watched.
  var bearerWatched: UInt32 = 0
  private var monitorIsReadable = false
  private var hasReports = false
  /// Answers on the control socket that wait for the store, at most one of each client that is connected.
  var waitingAnswers: [WaitingAnswer] = []
  /// When ports that try later are tried again.
  private var retryAt: Instant?
  /// The deadline the last wait was for, and when it ended.
  private var awaited: Instant?
  private var wokeAt: Instant
  private var isStopping = false
  var gathering = Gathering()

  /// Nothing is opened or changed before `start`. There may be no bearer, for tests, and no tunnels. `persist` writes the
  /// store: nil when it is on the medium, otherwise why not.
  public init(
    node: consuming Node, pool: PacketPool, monitor: consuming PortMonitor, bearer: consuming BearerDevice?,
    tunnels: TunnelTable? = nil, log: EventLog, options: LoopOptions = LoopOptions(),
    persist: @escaping ([UInt8]) -> String?
  ) {
    self.node = node
    self.pool = pool
    self.tunnels = tunnels
    self.log = log
    self.options = options
    house = HouseDesk(ports: monitor.keeper, bearer: bearer?.guardian, persist: persist)
    self.monitor = monitor
    self.bearer = bearer
    received = ReceiveBatch(pool: pool)
    sending = cs_batch_create()!
    control = nil
    events = .allocate(capacity: LoopLimits.eventsAtOnce)
    bearerPacket = .allocate(byteCount: LoopLimits.bearerPacketSize, alignment: 16)
    readable = .allocate(capacity: PortTable.limit)
    dirty = .allocate(capacity: PortTable.limit)
    wokeAt = Process.now
  }

  deinit {
    events.deallocate()
    bearerPacket.deallocate()
    readable.deallocate()
    dirty.deallocate()
    cs_batch_destroy(sending)
    if epoll >= 0 { cs_close(epoll) }
  }

  /// Opens what the loop waits on and takes in the ports that are there now. Once, before the first turn: what is to be
  /// done until here (the first thing the node has written is its boot count) is done when it returns.
  public mutating func start() throws(SystemError) {
    epoll = try SystemError.check(cs_epoll_create(), "epoll_create1")
    try watch(monitor.fileDescriptor, .monitor, "watch the port monitor")
    try watch(house.descriptor, .house, "watch the housekeeping")
    if let descriptor = bearer?.descriptor { try watch(descriptor, .bearer, "watch the bearer") }
    bearerWatched = bearer?.view.generation ?? 0
    if let path = options.controlPath {
      control = try ControlServer(path: path, epoll: epoll, tag: Source.control.tag())
    }
    if options.handlesSignals {
      signals = try SystemError.check(cs_signals_open(), "signalfd")
      try watch(signals, .signals, "watch signals")
    }
    monitor.start()
    passPortOrders()
    try startTunnels(at: Process.now)
    // The node may have things to say before the first event.
    drain(at: Process.now)
    flush()
    try house.start()
  }

  private func watch(_ descriptor: Int32, _ source: Source, _ action: StaticString) throws(SystemError) {
    try SystemError.check(cs_epoll_add(epoll, descriptor, CS_READABLE, source.tag()), text(action))
  }

  /// Turns until a signal ends it; what was made is then undone.
  public mutating func run() {
    while turn() {}
    shutdown()
  }

  /// Says goodbye, sends what can be sent, has the store written and undoes what was made.
  public mutating func shutdown() {
    node.shutdown(at: Process.now)
    drain(at: Process.now)
    flush()
    finishHouse()
    closeTunnels()
    control?.shutdown()
    control = nil
    if signals >= 0 { cs_close(signals) }
  }

  /// Changes the node from outside and carries out what it then wants, for tests.
  mutating func withNode<R>(_ body: (inout Node) -> R) -> R {
    let result = body(&node)
    drain(at: Process.now)
    flush()
    return result
  }

  // MARK: One turn

  /// Waits for an event or a deadline, at most `limit`, and handles what is due. False when the loop is to end.
  public mutating func turn(waitingAtMost limit: Duration? = nil) -> Bool {
    wait(atMost: limit)
    excuseLateness()
    monitor.isHeldUp = house.isFull
    // Before the frames: after a carrier's loss and return those that came since must not count as heard before it.
    if monitorIsReadable || monitor.isLookDue(at: wokeAt) || (monitor.nextDeadline ?? .never) <= wokeAt {
      monitorIsReadable = false
      apply(monitor.refresh(at: Process.now))
    }
    if hasReports || house.isFull {
      hasReports = false
      house.clear()
      takeReports()
    }
    drainSockets()
    judgeDeadlines()
    flush()
    control?.pass(log, at: wokeAt)
    gather()
    return !isStopping
  }

  /// Lets the other neighbours' hellos come before it looks again.
  private mutating func gather() {
    if !gathering.hasHeard || readableCount > 0 || bearerIsReadable || tunnelsAreReadable || isStopping { return }
    if gathering.takeRest(at: Process.now, ports: ports.count, due: nextDeadline()) {
      cs_rest(Gathering.moment.nanoseconds)
    }
  }

  private mutating func nextDeadline() -> Instant? {
    var next = earlier(node.nextDeadline, monitor.nextDeadline)
    if house.isFull { next = earlier(next, Process.now + HouseDesk.retryAfter) }
    next = earlier(next, control?.nextDeadline ?? nil)
    next = earlier(next, store.nextDeadline)
    next = earlier(next, tunnels?.nextTick)
    return earlier(next, retryAt)
  }

  private mutating func wait(atMost limit: Duration?) {
    let before = Process.now
    awaited = node.nextDeadline
    var timeout: Int64 = limit?.nanoseconds ?? -1
    if let due = nextDeadline() {
      let left = due <= before ? 0 : (due - before).nanoseconds
      timeout = timeout < 0 ? max(0, left) : min(timeout, max(0, left))
    }
    if readableCount > 0 || bearerIsReadable || tunnelsAreReadable { timeout = 0 }
    let count = cs_epoll_wait(epoll, events, Int32(LoopLimits.eventsAtOnce), timeout)
    invariant(count >= 0, "epoll_wait succeeds on our own descriptor")
    wokeAt = Process.now
    counters.turns &+= 1
    for i in 0..<Int(count) { note(events[i]) }
  }

  private mutating func note(_ event: cs_event) {
    let low = Int(event.tag & 0xffff_ffff)
    switch Source(rawValue: UInt8(truncatingIfNeeded: event.tag >> 32)) {
    case .port: notePort(low, event.readiness)
    case .bearer:
      bearerIsReadable = true
      bearerIsBroken = event.readiness & CS_BROKEN != 0
    case .monitor: monitorIsReadable = true
    case .house: hasReports = true
    case .tunnel: noteTunnel(low, event.readiness)
    case .signals: takeSignals()
    case .control: handleControl(offset: low, readiness: event.readiness)
    case nil: break
    }
  }

  private mutating func notePort(_ slot: Int, _ readiness: UInt32) {
    if !ports.isUsed(slot) { return }
    if readiness & CS_WRITABLE != 0 && ports.sockets[slot].pace == .waitsForRoom {
      ports.sockets[slot].pace = .free
      _ = cs_epoll_change(epoll, ports.sockets[slot].descriptor, CS_READABLE, Source.port.tag(slot))
      markDirty(slot)
    }
    if readiness & (CS_READABLE | CS_BROKEN) != 0 && !ports.sockets[slot].isReadable {
      ports.sockets[slot].isReadable = true
      readable[readableCount] = Int32(slot)
      readableCount &+= 1
    }
  }

  private mutating func takeSignals() {
    while true {
      let signal = cs_signals_next(signals)
      if signal <= 0 { return }
      if signal == 1 {
        log.record(.notice, "SIGHUP: there is nothing to read again")
      } else {
        log.record(.notice, "signal \(signal): ending")
        isStopping = true
      }
    }
  }

  /// The loop slept too long, or what it did before took too long: nobody is to be blamed for that, also not when a port's
  /// change is told before the frames that wait.
  private mutating func excuseLateness() {
    guard let due = awaited, wokeAt - due > LoopLimits.tolerance else { return }
    awaited = nil
    wasLate(by: wokeAt - due, at: wokeAt)
  }

  private mutating func wasLate(by late: Duration, at now: Instant) {
    counters.late &+= 1
    counters.latest = max(counters.latest, late)
    node.loopWasLate(by: late, at: now)
    drain(at: now)
  }

  /// Judges what is due by the node, then by the store and the control socket.
  private mutating func judgeDeadlines() {
    let now = Process.now
    if let due = node.nextDeadline {
      // A deadline that was set during this turn counts from the turn's beginning at the earliest.
      let late = now - max(due, wokeAt)
      if late > LoopLimits.tolerance { wasLate(by: late, at: now) }
      if due <= now {
        node.timeout(at: now)
        drain(at: now)
      }
    }
    if let due = control?.nextDeadline ?? nil, due <= now { control?.timeout(at: now) }
    if let due = store.nextDeadline, due <= now { storeIsDue(at: now) }
    if let due = tunnels?.nextTick, due <= now { tendTunnels(at: now) }
    if let due = retryAt, due <= now { retry() }
  }

  /// Buffers that wait to be received into.
  var buffersHeld: Int { received.heldCount }

  // MARK: Draining sockets

  private mutating func drainSockets() {
    var bearerQuota = LoopLimits.bearerPacketsPerTurn
    let began = Process.now
    while readableCount > 0 || (bearerIsReadable && bearerQuota > 0) || tunnelsAreReadable {
      let now = Process.now
      if now - began > LoopLimits.drainTime { return }
      // One batch of each port and of the tunnels' sockets, then some of the bearer: a busy port delays the others by one batch.
      var kept = 0
      for i in 0..<readableCount {
        let slot = Int(readable[i])
        if receive(on: slot, at: now) {
          readable[kept] = Int32(truncatingIfNeeded: slot)
          kept &+= 1
        } else {
          ports.sockets[slot].isReadable = false
        }
      }
      readableCount = kept
      if tunnelsAreReadable { receiveFromTunnels() }
      if bearerIsReadable {
        let share = min(bearerQuota, LoopLimits.bearerPacketsPerRound)
        bearerQuota -= readBearer(atMost: share, at: now)
      }
    }
  }

  /// One batch. True when there may be more.
  private mutating func receive(on slot: Int, at now: Instant) -> Bool {
    let descriptor = ports.sockets[slot].descriptor
    let number = ports.sockets[slot].number
    switch received.receive(from: descriptor) {
    case .frames(let count, let mayBeMore):
      var bytes = 0
      for place in 0..<count {
        guard let (frame, source) = received.take(place) else {
          ports.sockets[slot].counters.receivedTooLong &+= 1
          continue
        }
        bytes &+= frame.count
        gathering.note(isSignOfLife: Node.isSignOfLife(frame), at: now)
        node.receive(frame, on: number, from: source, at: now)
        drain(at: now)
      }
      ports.sockets[slot].counters.received &+= UInt64(truncatingIfNeeded: count)
      ports.sockets[slot].counters.receivedBytes &+= UInt64(truncatingIfNeeded: bytes)
      flush()
      return mayBeMore
    case .wasted(let count):
      ports.sockets[slot].counters.receivedWithoutBuffer &+= UInt64(count)
      return count == ReceiveBatch.size
    case .refused:
      // No frame left, or the port went down, which the port monitor tells.
      return false
    }
  }

  // MARK: Outputs

  /// Carries out what the node wants. Frames are queued at their ports and go out with the next `flush`.
  @inline(__always)
  mutating func drain(at now: Instant) {
    while let output = node.nextOutput() { carryOut(output, at: now) }
  }

  @inline(__always)
  private mutating func carryOut(_ output: consuming NodeOutput, at now: Instant) {
    switch output {
    case .transmit(let frame, let port, let destination): transmit(frame, port, destination)
    case .deliver(let packet):
      if bearer?.write(packet) ?? -1 < 0 { counters.bearerRefused &+= 1 } else { counters.bearerWritten &+= 1 }
    case .configureBearer(let addresses): order(.configureBearer(addresses))
    case .persist(let contents): keep(contents, at: now)
    case .event(let level, let text): log.record(level, text)
    }
  }

  @inline(__always)
  private mutating func transmit(_ frame: PacketBuffer, _ port: PortNumber, _ destination: MACAddress) {
    guard let slot = ports.slot(of: port) else {
      if let tunnels, let place = ports.tunnel(of: port) { return transmit(frame, toTunnel: place, tunnels) }
      counters.unknownPort &+= 1
      pool.give(frame)
      return
    }
    if ports.sockets[slot].pace == .free {
      if ports.sockets[slot].waiting >= ReceiveBatch.size { flushPort(slot) }
    } else if pool.freeCount < LoopLimits.reservedBuffers {
      // A port that stands still must not hold the buffers that the others receive with.
      ports.sockets[slot].counters.queueDropped &+= 1
      pool.give(frame)
      return
    }
    if !ports.sockets[slot].enqueue(frame, to: destination) {
      ports.sockets[slot].counters.queueDropped &+= 1
      pool.give(frame)
      return
    }
    markDirty(slot)
  }

  @inline(__always)
  private mutating func markDirty(_ slot: Int) {
    if ports.sockets[slot].isDirty { return }
    ports.sockets[slot].isDirty = true
    dirty[dirtyCount] = Int32(truncatingIfNeeded: slot)
    dirtyCount &+= 1
  }

  /// Sends what was queued, a batch a port and call.
  mutating func flush() {
    for i in 0..<dirtyCount {
      let slot = Int(dirty[i])
      ports.sockets[slot].isDirty = false
      if ports.sockets[slot].pace == .free { flushPort(slot) }
    }
    dirtyCount = 0
    flushTunnels()
  }

  private mutating func flushPort(_ slot: Int) {
    ports.sockets[slot].flush(sending, pool)
    switch ports.sockets[slot].pace {
    case .free: break
    case .waitsForRoom:
      let interest = CS_READABLE | CS_WRITABLE
      _ = cs_epoll_change(epoll, ports.sockets[slot].descriptor, interest, Source.port.tag(slot))
    case .triesLater: retryAt = earlier(retryAt, Process.now + LoopLimits.retryAfter)
    }
  }

  private mutating func retry() {
    retryAt = nil
    for slot in 0..<ports.end where ports.isUsed(slot) && ports.sockets[slot].pace == .triesLater {
      flushPort(slot)
    }
  }

  /// Takes the slot out of the lists of ports to read and to send.
  mutating func forget(_ slot: Int) {
    LoopLimits.remove(Int32(slot), from: readable, &readableCount)
    LoopLimits.remove(Int32(slot), from: dirty, &dirtyCount)
  }

  // MARK: Control

  private mutating func handleControl(offset: Int, readiness: UInt32) {
    let now = wokeAt
    gathering.noteWork(at: now)
    let writes = store.taken
    guard let arrival = control?.handle(offset: offset, readiness: readiness, at: now) ?? nil else { return }
    let answer = answer(arrival.request, at: now, follow: arrival.client.place)
    drain(at: now)
    flush()
    guard let answer else { return }
    let isWritten = store.taken != writes
    if store.isSettled && !isWritten || isAboutLoop(arrival.request) {
      control?.reply(arrival.client, answer, at: now)
    } else {
      // What is done, by this request or before, may be told when it is on the medium.
      waitingAnswers.removeAll { !(control?.isConnected($0.client) ?? false) }
      waitingAnswers.append(
        WaitingAnswer(client: arrival.client, answer: answer, contents: store.taken, isWritten: isWritten))
      if store.isSettled { storeIsSettled(at: now) }
    }
  }

  /// It shows nothing that the store keeps, and has to be shown when the medium does not answer.
  private func isAboutLoop(_ request: ControlRequest) -> Bool {
    guard let command = request.words.first else { return true }
    return command.elementsEqual("counters".utf8) || command.elementsEqual("status".utf8)
  }

  /// What the node answers, with what only the loop knows added; nil when the answer comes later.
  private mutating func answer(_ request: ControlRequest, at now: Instant, follow place: Int) -> ControlAnswer? {
    guard let command = request.words.first else { return .failure("no command was given") }
    if command.elementsEqual("events".utf8) {
      if request.words.count == 1 { return .document(log.document(from: 1).bytes) }
      if request.words.count == 2 && request.words[1].elementsEqual("--follow".utf8) {
        control?.follow(place, from: log.oldestSequence)
        return nil
      }
      return .failure("events takes no argument but --follow")
    }
    var request = request
    request.bearerIsUp = bearer?.view.isUp ?? true
    let answer = node.control(request, at: now)
    if command.elementsEqual("counters".utf8) { return withCounters(answer) }
    if command.elementsEqual("status".utf8) { return withBearer(answer) }
    return answer
  }
}
