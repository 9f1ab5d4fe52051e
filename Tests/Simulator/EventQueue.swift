// What is going to happen, in the order of its time; what falls on the same instant happens in the order it was set.
//
// Nearly everything comes in order: frames of links that have the same delay, ticks of nodes that have the same pace.
// So each kind has a lane, a ring that takes what is not earlier than its last entry; only the rest goes to a heap.
// An entry is 24 bytes of plain memory. The rejected alternatives: a heap of enums with arrays and closures in them took
// a quarter of the whole simulation's time; a calendar needs a bucket width that fits every mix of delays.

import Core

struct WorldEvent {
  enum Kind: UInt64 {
    /// A frame (`reference`) reaches a tap (`place`).
    case arrival = 0
    /// The deadline of a node (`place`), as it stood when `reference` was its latest.
    case deadline = 1
    /// A paused node's (`place`) loop runs on.
    case resume = 2
    /// Something the test set (`reference`).
    case action = 3
  }

  var time: UInt64
  /// Sequence number, and the kind in the low two bits.
  var order: UInt64
  var place: Int32
  var reference: Int32

  @inline(__always)
  var kind: Kind { Kind(rawValue: order & 3).unsafelyUnwrapped }

  @inline(__always)
  func comesBefore(_ other: WorldEvent) -> Bool {
    time != other.time ? time < other.time : order < other.order
  }
}

/// First in, first out, and never out of order: grows as needed.
private struct EventLane {
  private var ring: UnsafeMutablePointer<WorldEvent>
  private var capacity = 64
  private var head = 0
  private(set) var count = 0

  init() { ring = .allocate(capacity: 64) }

  func free() { ring.deallocate() }

  @inline(__always)
  var first: WorldEvent { ring[head] }

  /// False when the event belongs before the last one.
  @inline(__always)
  mutating func append(_ event: WorldEvent) -> Bool {
    if count > 0 && event.time < ring[(head &+ count &- 1) & (capacity &- 1)].time { return false }
    if count == capacity { grow() }
    ring[(head &+ count) & (capacity &- 1)] = event
    count &+= 1
    return true
  }

  @inline(__always)
  mutating func removeFirst() {
    head = (head &+ 1) & (capacity &- 1)
    count &-= 1
  }

  @inline(never)
  private mutating func grow() {
    let larger = UnsafeMutablePointer<WorldEvent>.allocate(capacity: capacity * 2)
    for i in 0..<count { larger[i] = ring[(head + i) & (capacity - 1)] }
    ring.deallocate()
    ring = larger
    capacity *= 2
    head = 0
  }
}

struct EventQueue: ~Copyable {
  private var frames = EventLane()
  private var deadlines = EventLane()
  /// A heap of four children a node, over (time, order).
  private var heap: UnsafeMutablePointer<WorldEvent>
  private var heapCapacity = 256
  private var heapCount = 0
  private var sequence: UInt64 = 0

  init() { heap = .allocate(capacity: heapCapacity) }

  deinit {
    frames.free()
    deadlines.free()
    heap.deallocate()
  }

  var count: Int { frames.count + deadlines.count + heapCount }

  @inline(__always)
  mutating func push(_ kind: WorldEvent.Kind, at time: Instant, place: Int, reference: Int32) {
    sequence &+= 1
    let event = WorldEvent(
      time: time.nanoseconds, order: sequence &<< 2 | kind.rawValue, place: Int32(truncatingIfNeeded: place),
      reference: reference)
    switch kind {
    case .arrival: if frames.append(event) { return }
    case .deadline: if deadlines.append(event) { return }
    case .resume, .action: break
    }
    sift(event)
  }

  /// The next event, when it is not after `end`.
  @inline(__always)
  mutating func pop(notAfter end: UInt64) -> WorldEvent? {
    var next = WorldEvent(time: .max, order: .max, place: 0, reference: 0)
    var source = 0
    if frames.count > 0 {
      next = frames.first
      source = 1
    }
    if deadlines.count > 0, deadlines.first.comesBefore(next) {
      next = deadlines.first
      source = 2
    }
    if heapCount > 0, heap[0].comesBefore(next) {
      next = heap[0]
      source = 3
    }
    if source == 0 || next.time > end { return nil }
    switch source {
    case 1: frames.removeFirst()
    case 2: deadlines.removeFirst()
    default: removeRoot()
    }
    return next
  }

  private mutating func sift(_ event: WorldEvent) {
    if heapCount == heapCapacity {
      let larger = UnsafeMutablePointer<WorldEvent>.allocate(capacity: heapCapacity * 2)
      larger.update(from: heap, count: heapCount)
      heap.deallocate()
      heap = larger
      heapCapacity *= 2
    }
    var child = heapCount
    heapCount += 1
    while child > 0 {
      let parent = (child - 1) / 4
      if !event.comesBefore(heap[parent]) { break }
      heap[child] = heap[parent]
      child = parent
    }
    heap[child] = event
  }

  private mutating func removeRoot() {
    heapCount -= 1
    if heapCount == 0 { return }
    let last = heap[heapCount]
    var parent = 0
    while true {
      let first = 4 * parent + 1
      if first >= heapCount { break }
      var least = first
      for child in first + 1..<max(first + 1, min(first + 4, heapCount)) where heap[child].comesBefore(heap[least]) {
        least = child
      }
      if !heap[least].comesBefore(last) { break }
      heap[parent] = heap[least]
      parent = least
    }
    heap[parent] = last
  }
}
