// What the loop has done beside it, and what becomes of it: ports that come and go, the store, the end.

import CSystem
import Core

extension Loop where Node: ~Copyable {
  /// Has it carried out; before the thread runs, at once.
  mutating func order(_ order: HouseOrder) {
    house.post(order)
    if !house.isRunning { takeReports() }
  }

  @inline(never)
  mutating func takeReports() {
    while let report = house.takeReport() {
      let now = Process.now
      switch report {
      case .socketOpened(let ticket, let descriptor): socketOpened(ticket, descriptor, at: now)
      case .storeWritten(let fault): storeWritten(fault, at: now)
      case .port(let report):
        if case .links = report { findUnbound() }
        apply(monitor.take(report, at: now))
      case .bearer(let view): take(view)
      case .note(let level, let text): log.record(level, text)
      case .finished: return
      }
    }
    monitor.isHeldUp = house.isFull
  }

  // MARK: Ports

  @inline(never)
  mutating func apply(_ changes: [PortChange]) {
    for change in changes {
      let now = Process.now
      switch change {
      case .present(let ifindex, let status): portPresent(ifindex, status, at: now)
      case .gone(let ifindex): portGone(ifindex, at: now)
      case .note(let level, let text): log.record(level, text)
      }
      drain(at: now)
    }
    flush()
    passPortOrders()
  }

  mutating func passPortOrders() { while let next = monitor.nextOrder() { order(.port(next)) } }

  private mutating func portPresent(_ ifindex: Int32, _ status: PortStatus, at now: Instant) {
    if let slot = ports.slot(ofInterface: ifindex) {
      ports.sockets[slot].status = status
      node.portChanged(ports.sockets[slot].number, status, at: now)
      return
    }
    if let i = openings.firstIndex(where: { $0.ifindex == ifindex && !$0.isCancelled }) {
      openings[i].status = status
      return
    }
    lastTicket &+= 1
    openings.append(PortOpening(ticket: lastTicket, ifindex: ifindex, status: status))
    order(
      .openSocket(SocketOrder(ticket: lastTicket, ifindex: ifindex, bypassesQueueing: options.bypassesQueueing)))
  }

  private mutating func socketOpened(_ ticket: UInt32, _ descriptor: Int32, at now: Instant) {
    guard let place = openings.firstIndex(where: { $0.ticket == ticket }) else { return }
    let opening = openings.remove(at: place)
    if opening.isCancelled {
      if descriptor >= 0 { close(descriptor) }
      return
    }
    let name = opening.status.name
    do throws(SystemError) {
      try SystemError.check(descriptor, "open a packet socket on \(name)")
      let number = ports.freshNumber
      let slot = ports.insert(
        PortSocket(ifindex: opening.ifindex, number: number, status: opening.status, descriptor: descriptor))
      try SystemError.check(cs_epoll_add(epoll, descriptor, CS_READABLE, Source.port.tag(slot)), "watch \(name)")
      node.portChanged(number, opening.status, at: now)
      drain(at: now)
      flush()
    } catch {
      counters.portsRefused &+= 1
      log.record(.error, "port \(name) is not used, and is tried again in 10 s: \(error.reason)")
      monitor.wasNotOpened(opening.ifindex, at: now)
    }
  }

  private mutating func portGone(_ ifindex: Int32, at now: Instant) {
    if let i = openings.firstIndex(where: { $0.ifindex == ifindex && !$0.isCancelled }) {
      openings[i].isCancelled = true
      return
    }
    guard let slot = ports.slot(ofInterface: ifindex) else { return }
    let (number, descriptor) = (ports.sockets[slot].number, ports.sockets[slot].descriptor)
    forget(slot)
    _ = cs_epoll_remove(epoll, descriptor)
    ports.remove(slot, returningTo: pool)
    close(descriptor)
    node.portVanished(number, at: now)
  }

  /// Devices that went and came again while notifications were lost: the kernel has unbound their sockets for good.
  private mutating func findUnbound() {
    for slot in 0..<ports.end where ports.isUsed(slot) && !ports.sockets[slot].isBound {
      monitor.wasTakenAway(ports.sockets[slot].ifindex)
    }
  }

  /// A packet socket that is not used any more.
  private mutating func close(_ descriptor: Int32) {
    if house.hasFinished { cs_close(descriptor) } else { order(.closeSocket(descriptor)) }
  }

  // MARK: Store

  @inline(never)
  mutating func keep(_ contents: [UInt8], at now: Instant) {
    if let bytes = store.take(contents, at: now) { order(.writeStore(bytes)) }
  }

  private mutating func storeWritten(_ fault: String?, at now: Instant) {
    if let bytes = store.ended(fault, at: now, log) { order(.writeStore(bytes)) }
    storeIsSettled(at: now)
  }

  @inline(never)
  mutating func storeIsDue(at now: Instant) {
    if let bytes = store.timeout(at: now, log) { order(.writeStore(bytes)) } else { storeIsSettled(at: now) }
  }

  /// What was kept back until the store is on the medium, or has failed, goes on.
  @inline(never)
  mutating func storeIsSettled(at now: Instant) {
    let count = store.settled
    node.storeIsSettled(through: count, at: now)
    drain(at: now)
    flush()
    let answers = waitingAnswers
    waitingAnswers = answers.filter { $0.contents > count }
    for waiting in answers where waiting.contents <= count {
      var answer = waiting.answer
      if waiting.isWritten, let fault = store.fault {
        answer = .failure(
          "done, but a restart would undo it: the store was not written (\(fault)); it is tried again every "
            + "\(StoreWriter.pauseSeconds) s")
      }
      control?.reply(waiting.client, answer, at: now)
    }
  }

  // MARK: The end

  /// Has the last contents written, and what was made undone. A kernel that holds the thread up for longer is left alone:
  /// the end of the process takes the devices and sockets with it.
  @inline(never)
  mutating func finishHouse() {
    if let bytes = store.last() { order(.writeStore(bytes)) }
    monitor.shutdown()
    passPortOrders()
    var descriptors: [Int32] = []
    for slot in 0..<ports.end where ports.isUsed(slot) {
      descriptors.append(ports.sockets[slot].descriptor)
      _ = cs_epoll_remove(epoll, ports.sockets[slot].descriptor)
      forget(slot)
      ports.remove(slot, returningTo: pool)
    }
    order(.finish(closing: descriptors))
    let end = Process.now + LoopLimits.parting
    while !house.hasFinished {
      house.clear()
      takeReports()
      let now = Process.now
      if house.hasFinished { break }
      if now >= end {
        log.record(
          .error,
          "the kernel or the store's medium has not answered for \(LoopLimits.parting.milliseconds / 1000) s: what was "
            + "set up, and the last change of the store, may not be undone or written")
        return
      }
      house.wait(atMost: house.isFull ? min(HouseDesk.retryAfter, end - now) : end - now)
    }
  }
}
