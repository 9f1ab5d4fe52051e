// What waits to be computed, by urgency.

/// Small numbers with a level each; the highest level goes first, and in it what waits longest.
struct WorkQueue {
  private var levels: [UInt8] = []
  private var queues: [[Int32]]
  private var heads: [Int]
  private(set) var waiting = 0

  /// - Parameter levels: 1 … `levels`, the highest the most urgent.
  init(levels: Int) {
    queues = Array(repeating: [], count: levels)
    heads = Array(repeating: 0, count: levels)
  }

  mutating func grow(to count: Int) {
    while levels.count < count { levels.append(0) }
  }

  func isWaiting(_ item: Int) -> Bool { levels[item] != 0 }

  /// An item that waits already does so at the higher level.
  mutating func want(_ item: Int, _ level: UInt8) {
    guard levels[item] < level else { return }
    if levels[item] == 0 { waiting += 1 }
    levels[item] = level
    queues[Int(level) - 1].append(Int32(truncatingIfNeeded: item))
  }

  mutating func forget(_ item: Int) {
    if levels[item] != 0 { waiting -= 1 }
    levels[item] = 0
  }

  mutating func next() -> (item: Int, level: UInt8)? {
    for index in queues.indices.reversed() {
      while heads[index] < queues[index].count {
        let item = Int(queues[index][heads[index]])
        heads[index] += 1
        // Since then done, forgotten, or more urgent.
        guard Int(levels[item]) == index + 1 else { continue }
        levels[item] = 0
        waiting -= 1
        return (item, UInt8(index + 1))
      }
      queues[index].removeAll(keepingCapacity: true)
      heads[index] = 0
    }
    return nil
  }
}
