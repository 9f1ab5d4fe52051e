// What the unit tests of several modules share: golden vectors, fixed bytes, and numbers that follow from a seed.

import Core
import Crypto
import Foundation
import Testing

/// Lines "name hexadecimal" of a file under Tests/Vectors.
public func vectors(_ file: String) throws -> [String: [UInt8]] {
  let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  let text = try String(contentsOf: tests.appendingPathComponent("Vectors/\(file)"), encoding: .utf8)
  var found: [String: [UInt8]] = [:]
  for line in text.split(separator: "\n") where !line.hasPrefix("#") {
    let words = line.split(separator: " ")
    try #require(words.count == 2)
    let value: [UInt8] = try #require(bytes(hexadecimal: words[1].utf8))
    found[String(words[0])] = value
  }
  return found
}

/// The 16 bytes of an array that long.
public func bytes16(_ array: [UInt8]) -> Bytes16 {
  precondition(array.count == 16)
  return array.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
}

/// The 32 bytes of an array that long.
public func bytes32(_ array: [UInt8]) -> Bytes32 {
  precondition(array.count == 32)
  return array.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
}

/// The shipped generator from a number that is printed with a failure.
public func seeded(_ seed: UInt64) -> Entropy {
  var key = Bytes32()
  key.withMutableBytes { p in for i in 0..<8 { p[i] = UInt8(truncatingIfNeeded: seed >> UInt64(8 * i)) } }
  return Entropy(seed: key)
}

/// SplitMix64: the same numbers for the same seed everywhere.
public struct Generator: RandomNumberGenerator {
  private var state: UInt64
  public init(seed: UInt64) { state = seed }
  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
  public mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
