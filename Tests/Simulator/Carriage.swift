// What becomes of a frame between two ports.

import Core

extension World {
  func carry(
    _ bytes: UnsafeMutablePointer<UInt8>, count: Int, trail: Int32, from tap: Int, to destination: MACAddress
  ) {
    let number = Int(taps[tap].medium)
    if !listeners.isEmpty, let listener = listeners[number] {
      let frame = HeardFrame(
        bytes: Array(UnsafeBufferPointer(start: bytes, count: count)), source: taps[tap].address,
        destination: destination)
      // Once the sender's own event is over.
      after(.zero) { listener($0, frame) }
    }
    var leaves = now
    if !taps[tap].isPlain, let rate = taps[tap].quality.bitsPerSecond {
      let wire = Int64(count + 38)
      let start = max(now, taps[tap].busyUntil)
      let waiting = Int64(Double((start - now).nanoseconds) * Double(rate) / 8e9)
      if waiting + wire > Int64(taps[tap].quality.queueBytes) { return }
      leaves = start + .nanoseconds(wire * 8_000_000_000 / rate)
      taps[tap].busyUntil = leaves
    }
    if taps[tap].isCut || count > media[number].largestFrame { return }
    let peer = Int(taps[tap].peer)
    if peer >= 0 {
      if destination.value >> 40 & 1 == 1 || destination == taps[peer].address {
        if taps[tap].isPlain {
          launch(bytes, count, trail, from: tap, to: peer, at: leaves + taps[tap].quality.delay)
        } else {
          brave(bytes, count, trail, from: tap, to: peer, leaving: leaves)
        }
      }
      return
    }
    guard media[number].lets(through: destination) else { return }
    for other in media[number].taps where other != tap {
      if destination.value >> 40 & 1 == 1 || destination == taps[other].address {
        brave(bytes, count, trail, from: tap, to: other, leaving: leaves)
      }
    }
  }

  @inline(__always)
  private func launch(
    _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ trail: Int32, from tap: Int, to other: Int,
    at time: Instant
  ) {
    if trail != 0 { trails.retain(trail) }
    let handle = frames.put(bytes, count: count, source: taps[tap].address, trail: trail)
    queue.push(.arrival, at: time, place: other, reference: handle)
  }

  /// Through everything that chance can do to a frame.
  private func brave(
    _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ trail: Int32, from tap: Int, to other: Int,
    leaving: Instant
  ) {
    let quality = taps[tap].quality
    if quality.burstBegin > 0 {
      let changes = random.happens(taps[tap].isBursting ? quality.burstEnd : quality.burstBegin)
      if changes { taps[tap].isBursting.toggle() }
      if taps[tap].isBursting { return }
    }
    let copies = random.happens(quality.duplication) ? 2 : 1
    for _ in 0..<copies {
      if random.happens(quality.loss) { continue }
      var arrives = leaving + quality.delay
      if quality.jitter > .zero {
        arrives = arrives + .nanoseconds(Int64(random.below(Int(quality.jitter.nanoseconds))))
      }
      if random.happens(quality.corruption), count > 0 {
        var damaged = Array(UnsafeBufferPointer(start: bytes, count: count))
        for _ in 0...random.below(4) { damaged[random.below(count)] ^= 1 << UInt8(random.below(8)) }
        damaged.withUnsafeMutableBufferPointer {
          launch($0.baseAddress!, count, trail, from: tap, to: other, at: arrives)
        }
      } else {
        launch(bytes, count, trail, from: tap, to: other, at: arrives)
      }
    }
  }
}
