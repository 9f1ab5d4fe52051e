// Constants in hexadecimal for the tests of this module.

import Core
import Testing

func hex(_ text: String) -> [UInt8] { bytes(hexadecimal: text.utf8) ?? [] }

func hex32(_ text: String) -> Bytes32 {
  let array = hex(text)
  precondition(array.count == 32, "32 bytes in \(text)")
  return array.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
}

func counting(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0) } }

let countingKey = hex32("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")

extension Array where Element == UInt8 {
  /// The same bytes with one bit turned; bit 0 is the lowest of byte 0.
  func flipping(bit: Int) -> [UInt8] {
    var copy = self
    copy[bit / 8] ^= 1 << UInt8(bit % 8)
    return copy
  }
}
