// The ring of every queue with a limit: order, the limit, growth across the turn of the ring.

import Core
import Testing

@Suite struct BoundedQueueTests {
  private func drained(_ queue: inout BoundedQueue<Int>) -> [Int] {
    var all: [Int] = []
    while let element = queue.popFirst() { all.append(element) }
    return all
  }

  @Test func `first in, first out, and at the limit nothing changes`() {
    var queue = BoundedQueue<Int>(limit: 3)
    #expect(queue.isEmpty && queue.first == nil)
    #expect(drained(&queue) == [])
    let taken = (1...4).map { queue.append($0) }
    #expect(taken == [true, true, true, false])
    #expect(queue.count == 3 && queue.first == 1)
    #expect(drained(&queue) == [1, 2, 3])
    queue.append(5)
    #expect(queue.count == 1 && queue.first == 5)
  }

  @Test func `it agrees with an array whatever is appended and taken, and keeps order while it grows`() {
    for limit in [1, 7, 8, 9, 100] {
      var queue = BoundedQueue<Int>(limit: limit)
      var model: [Int] = []
      var state: UInt64 = 88_172_645_463_325_252
      for i in 0..<5_000 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        // Phases in which it fills, and in which it empties.
        if state % 8 < (i / 300 % 2 == 0 ? 5 : 3) {
          let taken = queue.append(i)
          #expect(taken == (model.count < limit))
          if taken { model.append(i) }
        } else {
          let expected = model.isEmpty ? nil : model.removeFirst()
          let first = queue.popFirst()
          #expect(first == expected)
        }
        if queue.count != model.count || queue.first != model.first { Issue.record("limit \(limit), step \(i)") }
      }
    }
  }

  @Test func `what was taken or removed is no longer held`() {
    final class Thing {}
    weak var (first, second): (Thing?, Thing?)
    var queue = BoundedQueue<Thing>(limit: 4)
    do {
      let things = [Thing(), Thing()]
      (first, second) = (things[0], things[1])
      for thing in things { queue.append(thing) }
    }
    #expect(first != nil && second != nil)
    _ = queue.popFirst()
    #expect(first == nil && second != nil)
    queue.removeAll()
    #expect(second == nil && queue.isEmpty)
  }
}
