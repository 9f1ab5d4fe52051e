// What is going to happen, in the order of its time; what falls on the same instant happens in the order it was set.

import Core

enum WorldEvent {
  /// A frame reaches a port.
  case arrival(node: Int, port: Int, source: MACAddress, bytes: [UInt8])
  /// A node's deadline, as it stood when `turn` was its latest.
  case deadline(node: Int, turn: Int)
  /// A paused node's loop runs on.
  case resume(node: Int)
  case action((World) -> Void)
}

/// A binary heap over (time, sequence).
struct EventQueue {
  private struct Entry {
    var time: UInt64
    var sequence: UInt64
    var event: WorldEvent
  }

  private var heap: [Entry] = []
  private var sequence: UInt64 = 0

  var nextTime: UInt64? { heap.first?.time }

  mutating func push(_ event: WorldEvent, at time: Instant) {
    sequence += 1
    heap.append(Entry(time: time.nanoseconds, sequence: sequence, event: event))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      if !comesBefore(child, parent) { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  mutating func pop() -> (Instant, WorldEvent)? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      var parent = 0
      while true {
        var least = parent
        for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && comesBefore(child, least) {
          least = child
        }
        if least == parent { break }
        heap.swapAt(parent, least)
        parent = least
      }
    }
    return (Instant(nanoseconds: first.time), first.event)
  }

  private func comesBefore(_ a: Int, _ b: Int) -> Bool {
    heap[a].time != heap[b].time ? heap[a].time < heap[b].time : heap[a].sequence < heap[b].sequence
  }
}
