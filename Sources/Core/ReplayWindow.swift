// TEMPORARY
public struct ReplayWindow {
  private var words: [UInt64]
  public private(set) var highest: UInt64 = 0
  public init(bits: Int) { words = Array(repeating: 0, count: bits / 64) }
  public func check(_ c: UInt64) -> Bool { c > highest || (c != 0 && highest - c < UInt64(words.count * 64 - 64) && words[Int(c / 64) % words.count] & (1 << (c & 63)) == 0) }
  public mutating func accept(_ c: UInt64) -> Bool { check(c) }
}
