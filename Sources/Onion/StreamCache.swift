// Key streams a hop holds ready. Frames of one route mostly come in order, and ChaCha20 makes the streams of several
// counters at the price of one. Direct mapped by the route's place in the table: a route that finds another's streams
// in its line takes the line and makes one stream, and goes over to several with the next frame. So routes that share a
// line and take turns never cost more than without a cache, and a single late or repeated frame does not clear it.

import Core
import Crypto

struct StreamCache: ~Copyable {
  /// 64 lines × 768 B = 48 KiB.
  static let lines = 64

  private let memory: UnsafeMutablePointer<UInt8>
  private let single: UnsafeMutablePointer<UInt8>
  /// Index of the record whose streams a line holds, or −1.
  private let owners: UnsafeMutablePointer<Int32>

  init() {
    memory = .allocate(capacity: StreamCache.lines * OnionSize.windowLimit)
    memory.initialize(repeating: 0, count: StreamCache.lines * OnionSize.windowLimit)
    single = .allocate(capacity: OnionSize.windowLimit)
    single.initialize(repeating: 0, count: OnionSize.windowLimit)
    owners = .allocate(capacity: StreamCache.lines)
    owners.initialize(repeating: -1, count: StreamCache.lines)
  }

  deinit {
    memory.deallocate()
    single.deallocate()
    owners.deallocate()
  }

  /// The stream of one counter of a route in the table; good until the next call.
  @inline(__always)
  func stream(
    _ index: Int, _ record: UnsafeMutablePointer<RouteTable.Record>, size: OnionSize, counter: UInt32
  ) -> UnsafePointer<UInt8> {
    let line = index & (StreamCache.lines - 1)
    let place = memory + line &* OnionSize.windowLimit
    let ahead = counter &- record.pointee.streamStart
    if ahead < UInt32(record.pointee.streamCount), owners[line] == Int32(truncatingIfNeeded: index) {
      return UnsafePointer(place + Int(truncatingIfNeeded: ahead) &* size.streamStride)
    }
    return make(index, record, size: size, counter: counter)
  }

  @inline(never)
  private func make(
    _ index: Int, _ record: UnsafeMutablePointer<RouteTable.Record>, size: OnionSize, counter: UInt32
  ) -> UnsafePointer<UInt8> {
    if UInt64(counter) <= record.pointee.window.highest {
      return singleStream(record.pointee.entryKey, size: size, counter: counter)
    }
    let line = index & (StreamCache.lines - 1)
    let place = memory + line &* OnionSize.windowLimit
    let owner = Int32(truncatingIfNeeded: index)
    let count = owners[line] == owner ? size.streamsAtOnce : 1
    owners[line] = owner
    record.pointee.streamStart = counter
    record.pointee.streamCount = UInt8(truncatingIfNeeded: count)
    makeStreams(place, size: size, from: counter, count: count, key: record.pointee.entryKey)
    return UnsafePointer(place)
  }

  /// The stream of one counter, kept nowhere.
  func singleStream(_ entryKey: Bytes32, size: OnionSize, counter: UInt32) -> UnsafePointer<UInt8> {
    makeStreams(single, size: size, from: counter, count: 1, key: entryKey)
    return UnsafePointer(single)
  }
}
