// Who is where: ports by their number, neighbours by port and address, adjacencies by number. Fixed sizes, memory that
// does not move, and look-ups without hashing more than a port number.

import Core

typealias PortPointer = UnsafeMutablePointer<PortRecord>
typealias AdjacencyPointer = UnsafeMutablePointer<AdjacencyRecord>

/// Twice 256 record pointers, 64 port pointers, 128 of the port index; a record with its keys is about 2 KiB and exists
/// only while its neighbour does.
struct NeighbourTables: ~Copyable {
  private static let bucketCount = 128

  private let records: UnsafeMutablePointer<AdjacencyPointer?>
  private let ports: UnsafeMutablePointer<PortPointer?>
  /// Ports by number, open addressing.
  private let buckets: UnsafeMutablePointer<PortPointer?>
  /// Records in use, by number.
  private let live: UnsafeMutablePointer<AdjacencyPointer>
  /// Of records in use.
  private(set) var count = 0
  private let restUntil: UnsafeMutablePointer<Instant>
  /// Adjacency numbers in use, ascending.
  private(set) var numbers: [UInt8] = []
  /// Port slots in use, ascending.
  private(set) var slots: [UInt8] = []

  init() {
    records = .allocate(capacity: NeighbourLimits.numbers + 1)
    records.initialize(repeating: nil, count: NeighbourLimits.numbers + 1)
    ports = .allocate(capacity: NeighbourLimits.ports)
    ports.initialize(repeating: nil, count: NeighbourLimits.ports)
    buckets = .allocate(capacity: Self.bucketCount)
    buckets.initialize(repeating: nil, count: Self.bucketCount)
    live = .allocate(capacity: NeighbourLimits.numbers)
    restUntil = .allocate(capacity: NeighbourLimits.numbers + 1)
    restUntil.initialize(repeating: .zero, count: NeighbourLimits.numbers + 1)
  }

  deinit {
    for number in numbers { if let record = records[Int(number)] { Self.free(record) } }
    for slot in slots {
      ports[Int(slot)]?.deinitialize(count: 1)
      ports[Int(slot)]?.deallocate()
    }
    records.deallocate()
    ports.deallocate()
    buckets.deallocate()
    live.deallocate()
    restUntil.deallocate()
  }

  private static func free(_ record: AdjacencyPointer) {
    let keys = record.pointee.keys
    for i in 0..<3 { keys[i].erase() }
    keys.deinitialize(count: 3)
    keys.deallocate()
    record.deinitialize(count: 1)
    record.deallocate()
  }

  // MARK: - Ports

  @inline(__always)
  func port(_ number: PortNumber) -> PortPointer? {
    var bucket = Int(number.value) & (Self.bucketCount - 1)
    // At most half of the buckets are in use, so an empty one ends the search.
    while let port = buckets[bucket] {
      if port.pointee.number == number { return port }
      bucket = (bucket + 1) & (Self.bucketCount - 1)
    }
    return nil
  }

  func port(slot: UInt8) -> PortPointer? { ports[Int(slot)] }

  /// Nil when there are 64 already.
  mutating func addPort(_ port: PortRecord) -> PortPointer? {
    var free = 0
    while free < NeighbourLimits.ports, ports[free] != nil { free += 1 }
    if free == NeighbourLimits.ports { return nil }
    let pointer = PortPointer.allocate(capacity: 1)
    pointer.initialize(to: port)
    ports[free] = pointer
    indexPorts()
    return pointer
  }

  /// The port's neighbours are gone already.
  mutating func removePort(_ port: PortPointer) {
    invariant(port.pointee.neighbourCount == 0, "a port goes after its neighbours")
    for slot in 0..<NeighbourLimits.ports where ports[slot] == port { ports[slot] = nil }
    port.deinitialize(count: 1)
    port.deallocate()
    indexPorts()
  }

  private mutating func indexPorts() {
    slots.removeAll(keepingCapacity: true)
    for i in 0..<Self.bucketCount { buckets[i] = nil }
    for slot in 0..<NeighbourLimits.ports {
      guard let port = ports[slot] else { continue }
      slots.append(UInt8(slot))
      var bucket = Int(port.pointee.number.value) & (Self.bucketCount - 1)
      while buckets[bucket] != nil { bucket = (bucket + 1) & (Self.bucketCount - 1) }
      buckets[bucket] = port
    }
  }

  // MARK: - Adjacencies

  @inline(__always)
  func record(_ number: UInt16) -> AdjacencyPointer? {
    number <= UInt16(NeighbourLimits.numbers) ? records[Int(number)] : nil
  }

  /// The records in use in the order of their numbers, `place` below `count`.
  @inline(__always)
  func record(at place: Int) -> AdjacencyPointer { live[place] }

  @inline(__always)
  func find(_ address: MACAddress, on port: PortPointer) -> AdjacencyPointer? {
    var i = 0
    while i < port.pointee.neighbourCount {
      if port.pointee.addresses[i] == address.value { return port.pointee.records[i] }
      i += 1
    }
    return nil
  }

  /// The lowest number that is free and has rested.
  func freeNumber(at now: Instant) -> UInt8? {
    for number in 1...NeighbourLimits.numbers where records[number] == nil && restUntil[number] <= now {
      return UInt8(number)
    }
    return nil
  }

  /// The caller has seen that the number is free and the port has room.
  mutating func add(_ record: AdjacencyRecord) -> AdjacencyPointer {
    let (port, number) = (record.port, record.number)
    invariant(records[Int(number)] == nil, "a number is given once")
    invariant(port.pointee.neighbourCount < NeighbourLimits.neighboursPerPort, "a port's table has room")
    let pointer = AdjacencyPointer.allocate(capacity: 1)
    pointer.initialize(to: record)
    records[Int(number)] = pointer
    port.pointee.addresses[port.pointee.neighbourCount] = record.address.value
    port.pointee.records[port.pointee.neighbourCount] = pointer
    port.pointee.neighbourCount += 1
    var at = 0
    while at < numbers.count, numbers[at] < number { at += 1 }
    numbers.insert(number, at: at)
    list()
    return pointer
  }

  /// The number rests until `rest`.
  mutating func remove(_ record: AdjacencyPointer, rest: Instant) {
    let (port, number) = (record.pointee.port, record.pointee.number)
    var kept = 0
    for i in 0..<port.pointee.neighbourCount where port.pointee.records[i] != record {
      port.pointee.records[kept] = port.pointee.records[i]
      port.pointee.addresses[kept] = port.pointee.addresses[i]
      kept += 1
    }
    port.pointee.neighbourCount = kept
    records[Int(number)] = nil
    restUntil[Int(number)] = rest
    numbers.removeAll { $0 == number }
    list()
    Self.free(record)
  }

  private mutating func list() {
    count = 0
    for number in numbers {
      guard let record = records[Int(number)] else { continue }
      live[count] = record
      count += 1
    }
  }
}
