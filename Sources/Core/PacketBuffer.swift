// Buffers of the packet path: fixed slabs from one pool, handed on by reference, changed in place, given back once.
// Slabs are page-rounded, and untouched pages cost nothing, so a large limit does not mean a large process.

/// A view into one slab of a `PacketPool`: the bytes `start ..< start + count`. The holder gives it back exactly once.
public struct PacketBuffer {
  public let base: UnsafeMutablePointer<UInt8>
  /// Bytes in the slab.
  public let capacity: Int
  /// Offset of the first byte in use; what lies before it is head room.
  public var start: Int
  /// Bytes in use.
  public var count: Int

  public init(base: UnsafeMutablePointer<UInt8>, capacity: Int, start: Int, count: Int) {
    self.base = base
    self.capacity = capacity
    self.start = start
    self.count = count
  }

  /// The first byte in use.
  @inline(__always)
  public var bytes: UnsafeMutablePointer<UInt8> { base + start }
  /// Bytes between the end of what is in use and the end of the slab.
  @inline(__always)
  public var tailRoom: Int { capacity - start - count }
  @inline(__always)
  public var span: Span<UInt8> {
    @_lifetime(borrow self)
    get { _overrideLifetime(UnsafeBufferPointer(start: base + start, count: count).span, borrowing: self) }
  }
}

/// A fixed number of equal slabs. `take` answers nil when all are out; the caller drops and counts.
public final class PacketPool {
  /// Head room of a fresh buffer, bytes: an Ethernet header and a virtio header, rounded up.
  public static let headRoom = 64

  public let slabSize: Int
  public let slabCount: Int
  private let memory: UnsafeMutablePointer<UInt8>
  private let free: UnsafeMutablePointer<Int32>
  public private(set) var freeCount: Int

  /// slabCount × slabSize bytes are reserved; only pages that were written are resident.
  public init(slabSize: Int, slabCount: Int) {
    invariant(slabSize > PacketPool.headRoom && slabCount > 0, "a pool has room")
    self.slabSize = slabSize
    self.slabCount = slabCount
    memory = .allocate(capacity: slabSize * slabCount)
    free = .allocate(capacity: slabCount)
    for i in 0..<slabCount { free[i] = Int32(slabCount - 1 - i) }
    freeCount = slabCount
  }

  deinit {
    memory.deallocate()
    free.deallocate()
  }

  /// An empty buffer with `headRoom` bytes before it, or nil when none is left.
  public func take() -> PacketBuffer? {
    if freeCount == 0 { return nil }
    freeCount -= 1
    let slab = Int(free[freeCount])
    return PacketBuffer(
      base: memory + slab * slabSize, capacity: slabSize, start: PacketPool.headRoom, count: 0)
  }

  public func give(_ buffer: PacketBuffer) {
    let offset = buffer.base - memory
    let slab = offset / slabSize
    invariant(offset >= 0 && slab < slabCount && slab * slabSize == offset, "a buffer of this pool")
    invariant(freeCount < slabCount, "no buffer is given back twice")
    free[freeCount] = Int32(truncatingIfNeeded: slab)
    freeCount += 1
  }
}
