// What all searches of this module share: a binary heap with a total order, so that no result depends on chance, and
// a set of small numbers.

/// A binary min-heap by (key, tie). An item whose key falls is pushed again; who pops skips the stale entry.
struct SearchHeap {
  struct Entry {
    var key: UInt64
    var tie: UInt64
    var item: Int32

    @inline(__always)
    func precedes(_ other: Entry) -> Bool { key != other.key ? key < other.key : tie < other.tie }
  }
  private var entries: [Entry] = []

  var isEmpty: Bool { entries.isEmpty }

  mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

  mutating func push(key: UInt64, tie: UInt64 = 0, item: Int32) {
    let entry = Entry(key: key, tie: tie, item: item)
    var hole = entries.count
    entries.append(entry)
    while hole > 0 {
      let parent = (hole - 1) / 2
      if !entry.precedes(entries[parent]) { break }
      entries[hole] = entries[parent]
      hole = parent
    }
    entries[hole] = entry
  }

  mutating func pop() -> Entry? {
    guard let first = entries.first, let last = entries.popLast() else { return nil }
    let count = entries.count
    if count == 0 { return first }
    var hole = 0
    while true {
      var child = 2 * hole + 1
      if child >= count { break }
      if child + 1 < count && entries[child + 1].precedes(entries[child]) { child += 1 }
      if !entries[child].precedes(last) { break }
      entries[hole] = entries[child]
      hole = child
    }
    entries[hole] = last
    return first
  }
}

/// A set of numbers from 0 to its capacity.
struct BitSet {
  private(set) var words: [UInt64] = []
  private(set) var isEmpty = true

  mutating func grow(to capacity: Int) {
    while words.count * 64 < capacity { words.append(0) }
  }

  /// Numbers beyond the capacity are not in it.
  @inline(__always)
  func contains(_ number: Int) -> Bool {
    number >> 6 < words.count && words[number >> 6] & (1 << UInt64(number & 63)) != 0
  }

  @inline(__always)
  mutating func insert(_ number: Int) {
    if number >> 6 >= words.count { grow(to: number + 1) }
    words[number >> 6] |= 1 << UInt64(number & 63)
    isEmpty = false
  }

  @inline(__always)
  mutating func remove(_ number: Int) {
    if number >> 6 < words.count { words[number >> 6] &= ~(1 << UInt64(number & 63)) }
  }

  mutating func formUnion(_ other: BitSet) {
    if other.isEmpty { return }
    grow(to: other.words.count * 64)
    for i in other.words.indices { words[i] |= other.words[i] }
    isEmpty = false
  }

  func intersects(_ other: BitSet) -> Bool {
    if isEmpty || other.isEmpty { return false }
    for i in 0..<min(words.count, other.words.count) where words[i] & other.words[i] != 0 { return true }
    return false
  }

  mutating func removeAll() {
    if isEmpty { return }
    for i in words.indices { words[i] = 0 }
    isEmpty = true
  }
}
