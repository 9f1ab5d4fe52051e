// The window's edges, after WireGuard's selftest/counter.c, for the two sizes the protocol uses.

import Core
import Testing

@Suite struct ReplayWindowTests {
  private func edges<let words: Int>(_ empty: ReplayWindow<words>) {
    let size = ReplayWindow<words>.size
    var window = empty
    func accepts(_ counter: UInt64) -> Bool {
      let expected = window.check(counter)
      let taken = window.accept(counter)
      #expect(expected == taken)
      return taken
    }
    #expect(!accepts(0))
    #expect(accepts(1))
    #expect(!accepts(1))
    #expect(accepts(9))
    #expect(accepts(8))
    #expect(accepts(7))
    #expect(!accepts(7))
    // The last one inside the window, and the first outside.
    #expect(accepts(size))
    #expect(accepts(size - 1))
    #expect(!accepts(size - 1))
    #expect(accepts(size - 2))
    #expect(accepts(2))
    #expect(!accepts(2))
    #expect(accepts(size + 16))
    #expect(!accepts(3))
    #expect(!accepts(16))
    #expect(accepts(17))
    #expect(!accepts(17))
    #expect(accepts(size * 4))
    #expect(accepts(size * 4 - (size - 1)))
    #expect(!accepts(10))
    #expect(!accepts(size * 4 - size))
    #expect(!accepts(size * 4 - (size + 1)))
    #expect(accepts(size * 4 - (size - 2)))
    #expect(!accepts(size * 4 + 1 - size))
    #expect(!accepts(0))
    // A jump by far more than the ring leaves nothing stale behind.
    let far = UInt64.max / 2 + 12_345
    #expect(accepts(far))
    for back in 1..<size { #expect(accepts(far - back)) }
    for back in 0..<size { #expect(!accepts(far - back)) }
    #expect(!accepts(far - size))
    // The end of all counters.
    #expect(accepts(.max))
    #expect(!accepts(.max))
    #expect(accepts(.max - 1))
    #expect(accepts(.max - (size - 1)))
    #expect(!accepts(.max - size))
    #expect(window.highest == .max)
  }

  @Test("each counter once, within the window and above it: 1,024")
  func small() {
    #expect(ReplayWindow<17>.size == 1024)
    edges(ReplayWindow<17>())
  }

  @Test("each counter once, within the window and above it: 8,192")
  func large() {
    #expect(ReplayWindow<129>.size == 8192)
    edges(ReplayWindow<129>())
  }

  @Test("ascending, descending and shuffled in steps: the same as a set of what was seen")
  func againstSet() {
    var window = ReplayWindow<17>()
    var seen: Set<UInt64> = []
    var state: UInt64 = 88_172_645_463_325_252
    var middle: UInt64 = 2000
    for round in 0..<200_000 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      if round % 3 == 0 { middle += state >> 20 & 3 }
      if round % 5000 == 0 { middle += state >> 10 & 4095 }
      let counter = middle - 1500 + state % 1600
      let expected = counter > window.highest || (window.highest - counter < 1024 && !seen.contains(counter))
      if window.accept(counter) != expected { Issue.record("round \(round), counter \(counter)") }
      if expected { seen.insert(counter) }
    }
    #expect(seen.count > 50_000)
  }

  @Test("the high half is the one that brings the counter nearest to the highest")
  func reconstruct() {
    func at(_ highest: UInt64, _ low: UInt32) -> UInt64 {
      var window = ReplayWindow<17>()
      _ = window.accept(highest)
      return window.reconstruct(low: low)
    }
    #expect(at(0, 1) == 1)
    #expect(at(0, 0xffff_ffff) == 0xffff_ffff)
    #expect(at(5, 0x9000_0000) == 0x9000_0000)
    #expect(at(0xffff_ffff, 0) == 0x1_0000_0000)
    #expect(at(0xffff_ffff, 0xffff_fffe) == 0xffff_fffe)
    #expect(at(0x1_0000_0000, 0xffff_ffff) == 0xffff_ffff)
    #expect(at(0x1_0000_0000, 1) == 0x1_0000_0001)
    #expect(at(0x1_8000_0000, 0) == 0x1_0000_0000)
    #expect(at(0x1_8000_0001, 0) == 0x2_0000_0000)
    #expect(at(0x5_7fff_ffff, 0xffff_ffff) == 0x5_ffff_ffff)
    #expect(at(0x5_7fff_fffe, 0xffff_ffff) == 0x4_ffff_ffff)
    #expect(at(.max, 0) == 0xffff_ffff_0000_0000)
    #expect(at(.max, 0xffff_ffff) == .max)
  }
}
