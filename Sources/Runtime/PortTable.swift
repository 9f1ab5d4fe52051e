// The ports in use, in slots that do not move, found by slot (epoll), by interface number (the port monitor) and by port
// number (the node).

import CSystem
import Core

struct PortTable: ~Copyable {
  /// Ports at once: the port monitor follows no more.
  static let limit = 256

  /// What numbers lead to from here on are tunnels' places.
  private static let firstTunnel: UInt16 = 1 << 15

  /// Only slots in use are initialized.
  let sockets: UnsafeMutablePointer<PortSocket>
  private let used: UnsafeMutablePointer<Bool>
  /// Slot plus one, or a tunnel, of each number given so far; 128 KiB of which only the pages in use are resident.
  private let slotOfNumber: UnsafeMutablePointer<UInt16>
  /// Slots beyond it are not in use.
  private(set) var end = 0
  private(set) var count = 0
  /// The number that was given last.
  private var lastNumber: UInt16 = 0
  /// Numbers beyond it were never given, and their entries are not initialized.
  private var highestNumber: UInt16 = 0
  /// Freed last, in this order: 512 B.
  private var resting: [UInt16] = []
  private static let restingLimit = 256

  init() {
    sockets = .allocate(capacity: PortTable.limit)
    used = .allocate(capacity: PortTable.limit)
    used.initialize(repeating: false, count: PortTable.limit)
    slotOfNumber = .allocate(capacity: 1 << 16)
  }

  deinit {
    for slot in 0..<end where used[slot] { (sockets + slot).deinitialize(count: 1) }
    sockets.deallocate()
    used.deallocate()
    slotOfNumber.deallocate()
  }

  /// The number the next port inserted has to have. They are given in turns, and one that was freed comes again when as
  /// many others were freed after it as `restingLimit`: longer than anything said of the port before can be under way.
  var freshNumber: PortNumber {
    var number = lastNumber
    repeat { number = number == .max ? 1 : number + 1 } while number <= highestNumber && !isFree(number)
    return PortNumber(number)
  }

  private func isFree(_ number: UInt16) -> Bool { slotOfNumber[Int(number)] == 0 && !resting.contains(number) }

  private mutating func give(_ number: PortNumber, _ entry: UInt16) {
    lastNumber = number.value
    highestNumber = max(highestNumber, number.value)
    slotOfNumber[Int(number.value)] = entry
  }

  /// Keeps a socket that has the fresh number; the slot it is kept in.
  mutating func insert(_ socket: PortSocket) -> Int {
    invariant(count < PortTable.limit && socket.number == freshNumber, "the caller asked for room and number")
    var slot = 0
    while used[slot] { slot += 1 }
    (sockets + slot).initialize(to: socket)
    used[slot] = true
    end = max(end, slot + 1)
    give(socket.number, UInt16(slot + 1))
    count += 1
    return slot
  }

  /// A number for a tunnel, which is not kept here. It stays the place's.
  mutating func takeNumber(forTunnel place: Int) -> PortNumber {
    let number = freshNumber
    give(number, PortTable.firstTunnel + UInt16(truncatingIfNeeded: place))
    return number
  }

  func tunnel(of number: PortNumber) -> Int? {
    if number.value > highestNumber || number.value == 0 { return nil }
    let entry = slotOfNumber[Int(number.value)]
    return entry >= PortTable.firstTunnel ? Int(entry - PortTable.firstTunnel) : nil
  }

  mutating func remove(_ slot: Int, returningTo pool: PacketPool) {
    invariant(isUsed(slot), "only a port that is there can go")
    sockets[slot].end(returningTo: pool)
    slotOfNumber[Int(sockets[slot].number.value)] = 0
    if resting.count == PortTable.restingLimit { resting.removeFirst() }
    resting.append(sockets[slot].number.value)
    (sockets + slot).deinitialize(count: 1)
    used[slot] = false
    count -= 1
    while end > 0 && !used[end - 1] { end -= 1 }
  }

  @inline(__always)
  func isUsed(_ slot: Int) -> Bool { slot < end && used[slot] }

  @inline(__always)
  func slot(of number: PortNumber) -> Int? {
    if number.value > highestNumber || number.value == 0 { return nil }
    let entry = slotOfNumber[Int(number.value)]
    return entry == 0 || entry >= PortTable.firstTunnel ? nil : Int(entry) - 1
  }

  func slot(ofInterface ifindex: Int32) -> Int? {
    for slot in 0..<end where used[slot] && sockets[slot].ifindex == ifindex { return slot }
    return nil
  }
}
