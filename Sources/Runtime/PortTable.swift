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
  private var nextNumber: UInt32 = 1

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

  /// 65,535 ports have come and gone; numbers are never reused.
  var isUsedUp: Bool { nextNumber > UInt32(UInt16.max) }

  /// The number the next port inserted has to have.
  var freshNumber: PortNumber { PortNumber(UInt16(truncatingIfNeeded: nextNumber)) }

  /// Keeps a socket that has the fresh number; the slot it is kept in.
  mutating func insert(_ socket: PortSocket) -> Int {
    invariant(
      count < PortTable.limit && !isUsedUp && socket.number == freshNumber, "the caller asked for room and number")
    var slot = 0
    while used[slot] { slot += 1 }
    (sockets + slot).initialize(to: socket)
    used[slot] = true
    end = max(end, slot + 1)
    slotOfNumber[Int(nextNumber)] = UInt16(slot + 1)
    nextNumber += 1
    count += 1
    return slot
  }

  /// A number for a tunnel, which is not kept here; nil when they are used up.
  mutating func takeNumber(forTunnel place: Int) -> PortNumber? {
    if isUsedUp { return nil }
    defer { nextNumber += 1 }
    slotOfNumber[Int(nextNumber)] = PortTable.firstTunnel + UInt16(truncatingIfNeeded: place)
    return freshNumber
  }

  func tunnel(of number: PortNumber) -> Int? {
    if UInt32(number.value) >= nextNumber || number.value == 0 { return nil }
    let entry = slotOfNumber[Int(number.value)]
    return entry >= PortTable.firstTunnel ? Int(entry - PortTable.firstTunnel) : nil
  }

  mutating func remove(_ slot: Int, returningTo pool: PacketPool) {
    invariant(isUsed(slot), "only a port that is there can go")
    sockets[slot].end(returningTo: pool)
    slotOfNumber[Int(sockets[slot].number.value)] = 0
    (sockets + slot).deinitialize(count: 1)
    used[slot] = false
    count -= 1
    while end > 0 && !used[end - 1] { end -= 1 }
  }

  @inline(__always)
  func isUsed(_ slot: Int) -> Bool { slot < end && used[slot] }

  @inline(__always)
  func slot(of number: PortNumber) -> Int? {
    if UInt32(number.value) >= nextNumber || number.value == 0 { return nil }
    let entry = slotOfNumber[Int(number.value)]
    return entry == 0 || entry >= PortTable.firstTunnel ? nil : Int(entry) - 1
  }

  func slot(ofInterface ifindex: Int32) -> Int? {
    for slot in 0..<end where used[slot] && sockets[slot].ifindex == ifindex { return slot }
    return nil
  }
}
