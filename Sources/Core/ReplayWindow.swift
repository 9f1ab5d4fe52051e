// Which counters were seen already, for frames that may come out of order: the ring of RFC 6479. Beside it the rebuilding
// of a 64-bit counter of which only the low half travels.

/// Accepts each counter once, as long as it is less than `size` below the highest accepted one. Counters start at 1; 0 is
/// never accepted. `words` is a count of 64-bit words, one of which is always partly stale: 17 for a window of 1,024,
/// 129 for one of 8,192. Memory: 8 × (words + 1) bytes.
public struct ReplayWindow<let words: Int>: Sendable {
  @usableFromInline var top: UInt64
  @usableFromInline var ring: InlineArray<words, UInt64>

  @inlinable
  public init() {
    ring = InlineArray(repeating: 0)
    top = 0
  }

  /// The highest accepted counter, 0 before the first.
  @inlinable
  public var highest: UInt64 { top }

  /// How far below the highest counter one may lie and still be accepted.
  @inlinable
  public static var size: UInt64 { UInt64(truncatingIfNeeded: (words - 1) * 64) }

  /// Whether `counter` would be accepted; changes nothing. For use before what carries it is known to be authentic.
  /// `mutating` because reading an element of an InlineArray that is not (Swift 6.3.1) copies the whole ring first.
  @inlinable
  public mutating func check(_ counter: UInt64) -> Bool {
    if counter == 0 { return false }
    if counter > highest { return true }
    if highest - counter >= Self.size { return false }
    return ring[index(counter >> 6)] & (1 << (counter & 63)) == 0
  }

  /// Takes `counter` in; false, and nothing changed, when it was seen or lies below the window.
  @inlinable
  public mutating func accept(_ counter: UInt64) -> Bool {
    if counter == 0 { return false }
    if counter > highest {
      let (from, to) = (highest >> 6, counter >> 6)
      // Words between the old highest and the new one hold what is a full turn of the ring older.
      let stale = min(to - from, UInt64(truncatingIfNeeded: words))
      var step: UInt64 = 0
      while step < stale {
        ring[index(to &- step)] = 0
        step &+= 1
      }
      top = counter
    } else if highest - counter >= Self.size {
      return false
    }
    let at = index(counter >> 6)
    let bit: UInt64 = 1 << (counter & 63)
    if ring[at] & bit != 0 { return false }
    ring[at] |= bit
    return true
  }

  /// The counter with this low half that lies nearest to the highest accepted one.
  @inlinable
  public func reconstruct(low: UInt32) -> UInt64 {
    let turn: UInt64 = 0x1_0000_0000
    let candidate = highest & ~0xffff_ffff | UInt64(low)
    if candidate < highest {
      return highest - candidate > turn / 2 && candidate <= UInt64.max - turn ? candidate + turn : candidate
    }
    return candidate - highest > turn / 2 && candidate >= turn ? candidate - turn : candidate
  }

  @inlinable @inline(__always)
  func index(_ word: UInt64) -> Int { Int(truncatingIfNeeded: word % UInt64(truncatingIfNeeded: words)) }
}
