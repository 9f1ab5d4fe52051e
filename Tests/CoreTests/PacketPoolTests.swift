// Slabs are lent once each, apart from one another, and come back whole.

import Core
import Testing

@Suite struct PacketPoolTests {
  @Test func `each slab is lent once; when all are out there is none`() {
    let pool = PacketPool(slabSize: 256, slabCount: 4)
    var lent: [PacketBuffer] = []
    while let buffer = pool.take() { lent.append(buffer) }
    #expect(lent.count == 4 && pool.freeCount == 0)
    for buffer in lent {
      #expect(buffer.start == PacketPool.headRoom && buffer.count == 0 && buffer.capacity == 256)
      #expect(buffer.tailRoom == 256 - PacketPool.headRoom)
      // Another slab begins behind its last byte at the earliest.
      #expect(lent.allSatisfy { $0.base == buffer.base || abs($0.base - buffer.base) >= 256 })
    }
    pool.give(lent[2])
    #expect(pool.freeCount == 1)
    #expect(pool.take()?.base == lent[2].base)
    #expect(pool.take() == nil)
  }

  @Test func `a buffer that was moved about comes back as a fresh one`() {
    let pool = PacketPool(slabSize: 256, slabCount: 1)
    guard var buffer = pool.take() else {
      Issue.record("no buffer")
      return
    }
    buffer.start -= 14
    buffer.count = 100
    buffer.bytes[0] = 0xab
    #expect(buffer.span.count == 100 && buffer.span[0] == 0xab)
    #expect(buffer.tailRoom == 256 - PacketPool.headRoom + 14 - 100)
    pool.give(buffer)
    let again = pool.take()
    #expect(again?.base == buffer.base && again?.start == PacketPool.headRoom && again?.count == 0)
  }
}
