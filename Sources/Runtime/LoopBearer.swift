// The bearer's descriptor in the loop: packets are read from it; it dies with its device, and the guard makes another.

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
      if bearer?.observed(fromKernel: packet) ?? false {
        takeBearerNotes()
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
    if let descriptor = bearer?.fileDescriptor { _ = cs_epoll_remove(epoll, descriptor) }
    bearer?.lost()
  }

  /// The bearer may have another descriptor than before; the old one is closed and with that watched no longer.
  mutating func watchBearer() {
    guard let generation = bearer?.generation, generation != bearerWatched else { return }
    bearerWatched = generation
    bearerIsReadable = false
    bearerIsBroken = false
    bearerFailures = 0
    guard let descriptor = bearer?.fileDescriptor, descriptor >= 0 else { return }
    _ = cs_epoll_add(epoll, descriptor, CS_READABLE, Source.bearer.tag())
  }
}
