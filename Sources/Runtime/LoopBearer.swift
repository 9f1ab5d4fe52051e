// The bearer's descriptor in the loop: packets are read from it; its device may die, and the guard puts another behind it.

import CSystem
import Core

extension Loop where Node: ~Copyable {
  /// The packets read; none when the bearer has no more.
  mutating func readBearer(atMost limit: Int, at now: Instant) -> Int {
    var count = 0
    while count < limit {
      let length = bearer?.read(into: bearerPacket) ?? 0
      if length <= 0 {
        bearerIsReadable = false
        bearerFailed(length)
        break
      }
      bearerFailures = 0
      count += 1
      counters.bearerRead &+= 1
      let packet = UnsafeMutableRawBufferPointer(rebasing: bearerPacket[0..<min(length, bearerPacket.count)])
      if let probe = bearer?.probe(in: packet) ?? nil {
        if house.hasRoomForPackets { order(.bearerPacket(probe.bytes, path: probe.path)) }
        continue
      }
      if isTunnelsOwn(packet) { continue }
      gathering.noteWork(at: now)
      node.bearerSent(packet, at: now)
      drain(at: now)
    }
    flush()
    return count
  }

  /// A descriptor that only fails would be reported for ever: it is watched no longer, until there is another.
  mutating func bearerFailed(_ length: Int) {
    if length == -11 || length == -4 {  // EAGAIN, EINTR
      bearerFailures = 0
      if !bearerIsBroken { return }
    } else {
      // One packet that the kernel cannot hand over is no more than that; EBADFD is a device that was deleted.
      bearerFailures += 1
      if length != -77 && bearerFailures < LoopLimits.bearerFailures { return }
    }
    bearerFailures = 0
    bearerIsBroken = false
    if let descriptor = bearer?.descriptor { _ = cs_epoll_remove(epoll, descriptor) }
    order(.bearerLost(generation: bearerWatched))
  }

  /// What the guard has told: there may be another device behind the descriptor, which is not watched yet.
  mutating func take(_ view: BearerView) {
    bearer?.view = view
    if view.generation == bearerWatched { return }
    bearerWatched = view.generation
    bearerIsReadable = false
    bearerIsBroken = false
    bearerFailures = 0
    if let descriptor = bearer?.descriptor { _ = cs_epoll_add(epoll, descriptor, CS_READABLE, Source.bearer.tag()) }
  }
}
