// Which of a packet's 256 possible frames are held.

struct FrameSet {
  private var words = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))

  private subscript(word: Int) -> UInt64 {
    @inline(__always) get {
      switch word {
      case 0: words.0
      case 1: words.1
      case 2: words.2
      default: words.3
      }
    }
    @inline(__always) set {
      switch word {
      case 0: words.0 = newValue
      case 1: words.1 = newValue
      case 2: words.2 = newValue
      default: words.3 = newValue
      }
    }
  }

  /// `index` is 0…255, here and below.
  @inline(__always)
  func contains(_ index: Int) -> Bool { self[index &>> 6] &>> UInt64(index & 63) & 1 != 0 }

  @inline(__always)
  mutating func insert(_ index: Int) { self[index &>> 6] |= 1 &<< UInt64(index & 63) }

  /// The highest index up to `limit` that is not held, or nil when all are.
  func lastMissing(upTo limit: Int) -> Int? {
    var word = limit &>> 6
    // Bits above the limit count as held.
    var missing = ~self[word] & (UInt64.max &>> UInt64(63 &- (limit & 63)))
    while missing == 0 {
      if word == 0 { return nil }
      word &-= 1
      missing = ~self[word]
    }
    return word &* 64 &+ 63 &- missing.leadingZeroBitCount
  }

  /// The first run of held indexes at or after `from`, first and last, up to `limit`.
  func run(from: Int, upTo limit: Int) -> (first: Int, last: Int)? {
    var first = from
    while first <= limit, !contains(first) { first &+= 1 }
    if first > limit { return nil }
    var last = first
    while last < limit, contains(last &+ 1) { last &+= 1 }
    return (first, last)
  }
}
