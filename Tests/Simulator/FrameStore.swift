// Frames under way: plain memory in slots of three sizes, taken when a frame leaves a port and given back when it has
// arrived. No allocation a frame.

import Core

/// What stands before a frame's bytes.
struct FrameHeader {
  /// Bytes of the frame.
  var count: Int32
  /// The trail of what is being forwarded (`TrailTable`); 0 for a frame that begins here.
  var trail: Int32
  var source: MACAddress
}

/// Slots of one size, in blocks that do not move.
private struct FrameShelf {
  static let blockSlots = 64

  let slotSize: Int
  private var blocks: [UnsafeMutableRawPointer] = []
  private var free: [Int32] = []
  private(set) var inUse = 0

  init(slotSize: Int) { self.slotSize = slotSize }

  func release() { for block in blocks { block.deallocate() } }

  @inline(__always)
  mutating func take() -> Int32 {
    inUse &+= 1
    if let slot = free.popLast() { return slot }
    return grow()
  }

  @inline(never)
  private mutating func grow() -> Int32 {
    let first = blocks.count * Self.blockSlots
    blocks.append(.allocate(byteCount: slotSize * Self.blockSlots, alignment: 16))
    for slot in stride(from: first + Self.blockSlots - 1, to: first, by: -1) { free.append(Int32(slot)) }
    return Int32(first)
  }

  @inline(__always)
  mutating func give(_ slot: Int32) {
    inUse &-= 1
    free.append(slot)
  }

  @inline(__always)
  func address(_ slot: Int32) -> UnsafeMutableRawPointer {
    blocks[Int(slot) / Self.blockSlots] + Int(slot) % Self.blockSlots * slotSize
  }

  var bytes: Int { blocks.count * Self.blockSlots * slotSize }
}

struct FrameStore: ~Copyable {
  static let headerSize = MemoryLayout<FrameHeader>.stride

  /// Hellos; what a 1,500-byte link carries; the rest.
  private var small = FrameShelf(slotSize: 128)
  private var medium = FrameShelf(slotSize: 1_664)
  private var large = FrameShelf(slotSize: 12_544)

  deinit {
    small.release()
    medium.release()
    large.release()
  }

  /// Frames under way.
  var count: Int { small.inUse + medium.inUse + large.inUse }
  var bytes: Int { small.bytes + medium.bytes + large.bytes }

  /// Copies a frame in; its handle.
  @inline(__always)
  mutating func put(_ bytes: UnsafePointer<UInt8>, count: Int, source: MACAddress, trail: Int32) -> Int32 {
    let needed = count &+ Self.headerSize
    let handle: Int32
    if needed <= small.slotSize {
      handle = small.take()
    } else if needed <= medium.slotSize {
      handle = medium.take() | 1 << 28
    } else {
      invariant(needed <= large.slotSize, "no port carries longer frames")
      handle = large.take() | 2 << 28
    }
    let slot = address(handle)
    slot.storeBytes(of: FrameHeader(count: Int32(count), trail: trail, source: source), as: FrameHeader.self)
    (slot + Self.headerSize).copyMemory(from: bytes, byteCount: count)
    return handle
  }

  @inline(__always)
  func header(_ handle: Int32) -> FrameHeader { address(handle).load(as: FrameHeader.self) }

  @inline(__always)
  func bytes(_ handle: Int32) -> UnsafeMutablePointer<UInt8> {
    (address(handle) + Self.headerSize).assumingMemoryBound(to: UInt8.self)
  }

  @inline(__always)
  mutating func drop(_ handle: Int32) {
    let slot = handle & 0x0fff_ffff
    switch handle >> 28 {
    case 0: small.give(slot)
    case 1: medium.give(slot)
    default: large.give(slot)
    }
  }

  @inline(__always)
  private func address(_ handle: Int32) -> UnsafeMutableRawPointer {
    let slot = handle & 0x0fff_ffff
    switch handle >> 28 {
    case 0: return small.address(slot)
    case 1: return medium.address(slot)
    default: return large.address(slot)
    }
  }
}

/// Which nodes have forwarded a frame: a chain from its last forwarder to its first, shared by the copies of a frame.
/// Entry 0 is the empty trail.
struct TrailTable {
  private struct Entry {
    var node: Int32
    var parent: Int32
    var references: Int32
  }

  private var entries = [Entry(node: -1, parent: 0, references: 1)]
  private var free: [Int32] = []

  /// A trail that ends in `node`; holds its parent.
  mutating func extend(_ parent: Int32, by node: Int) -> Int32 {
    retain(parent)
    let entry = Entry(node: Int32(node), parent: parent, references: 0)
    if let place = free.popLast() {
      entries[Int(place)] = entry
      return place
    }
    entries.append(entry)
    return Int32(entries.count - 1)
  }

  mutating func retain(_ trail: Int32) { if trail != 0 { entries[Int(trail)].references += 1 } }

  mutating func release(_ trail: Int32) {
    var trail = trail
    while trail != 0 {
      entries[Int(trail)].references -= 1
      if entries[Int(trail)].references > 0 { return }
      free.append(trail)
      trail = entries[Int(trail)].parent
    }
  }

  /// How often `node` has forwarded what has this trail.
  func visits(_ trail: Int32, of node: Int) -> Int {
    var trail = trail
    var count = 0
    while trail != 0 {
      if entries[Int(trail)].node == Int32(node) { count += 1 }
      trail = entries[Int(trail)].parent
    }
    return count
  }

  func nodes(_ trail: Int32) -> [Int] {
    var trail = trail
    var nodes: [Int] = []
    while trail != 0 {
      nodes.insert(Int(entries[Int(trail)].node), at: 0)
      trail = entries[Int(trail)].parent
    }
    return nodes
  }

  /// Trails that something holds.
  var inUse: Int { entries.count - 1 - free.count }
}
