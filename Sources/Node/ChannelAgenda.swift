// Which channels have something to do, so that an MA with a thousand of them does not walk them all at each frame: those
// something was done to since the last settling, and those whose time has come.

import Core

/// Numbers of channels touched, and a heap over (deadline, number). An entry counts while its channel still has that
/// deadline; stale ones are dropped when they come up, or all at once when they are more than three in four. So the heap
/// holds at most 4 × channels + 64 entries of 16 B.
final class ChannelAgenda {
  private struct Entry {
    var due: Instant
    var number: UInt32

    func comesBefore(_ other: Entry) -> Bool { due != other.due ? due < other.due : number < other.number }
  }

  private var heap: [Entry] = []
  private var touched: [UInt32] = []

  func touch(_ number: UInt32) { touched.append(number) }

  var hasTouched: Bool { !touched.isEmpty }

  /// The channels to tend now, in order of their numbers; both are forgotten.
  func takeDue(at now: Instant, _ channels: [Channel]) -> [UInt32] {
    while let first = heap.first, first.due <= now {
      removeFirst()
      let channel = channels[Int(first.number)]
      if channel.agendaDue == first.due {
        channel.agendaDue = .never
        channel.touch()
      }
    }
    if touched.isEmpty { return [] }
    var numbers = touched
    touched.removeAll(keepingCapacity: true)
    if numbers.count > 1 { numbers.sort() }
    return numbers
  }

  /// The channel wants to be tended at its deadline.
  func schedule(_ channel: Channel, at due: Instant, _ channels: [Channel]) {
    if due == channel.agendaDue { return }
    channel.agendaDue = due
    if due == .never { return }
    if heap.count >= 4 * channels.count + 64 { compact(channels) }
    heap.append(Entry(due: due, number: channel.number))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      if !heap[child].comesBefore(heap[parent]) { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// The earliest deadline of any channel.
  func nextDeadline(_ channels: [Channel]) -> Instant? {
    while let first = heap.first {
      if channels[Int(first.number)].agendaDue == first.due { return first.due }
      removeFirst()
    }
    return nil
  }

  private func removeFirst() {
    let last = heap.removeLast()
    if heap.isEmpty { return }
    heap[0] = last
    sink(0)
  }

  private func sink(_ place: Int) {
    var parent = place
    while true {
      var least = parent
      let first = 2 * parent + 1
      if first < heap.count, heap[first].comesBefore(heap[least]) { least = first }
      if first + 1 < heap.count, heap[first + 1].comesBefore(heap[least]) { least = first + 1 }
      if least == parent { return }
      heap.swapAt(parent, least)
      parent = least
    }
  }

  private func compact(_ channels: [Channel]) {
    heap = []
    for channel in channels where channel.agendaDue != .never {
      heap.append(Entry(due: channel.agendaDue, number: channel.number))
    }
    for place in stride(from: heap.count / 2 - 1, through: 0, by: -1) { sink(place) }
  }
}
