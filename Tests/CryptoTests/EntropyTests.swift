// The generator: repeatable, independent of how it is read, without bias.

import Core
import Crypto
import Testing

@Suite struct EntropyTests {
  func stream(_ entropy: inout Entropy, _ count: Int) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: count)
    out.withUnsafeMutableBufferPointer { entropy.fill($0.baseAddress!, count: count) }
    return out
  }

  @Test func `the bytes are ChaCha20's after the erased key, across a refill`() {
    var entropy = Entropy(seed: countingKey)
    let bytes = stream(&entropy, 532)
    #expect(bytes.prefix(32) == hex("2b23cce7a26023ab3f0eef693ac87f64258235eab1f7a32dc22762a0485b410c")[...])
    #expect(bytes.suffix(32) == hex("80ff29b6fd4ec5a1b17574512d41a59c90e41a8e7a4dccaa1c46069983b1a333")[...])
  }

  @Test func `the same seed gives the same bytes however they are drawn`() {
    var (whole, pieces) = (Entropy(seed: countingKey), Entropy(seed: countingKey))
    let all = stream(&whole, 3000)
    var joined: [UInt8] = []
    var size = 1
    while joined.count < 3000 {
      joined += stream(&pieces, min(size, 3000 - joined.count))
      size = size * 3 % 701
    }
    #expect(joined == all)
    var numbers = Entropy(seed: countingKey)
    #expect(numbers.u8() == all[0])
    #expect(numbers.u16() == UInt16(all[1]) | UInt16(all[2]) << 8)
    #expect(numbers.u32() == (3..<7).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(all[$1]) })
    #expect(numbers.u64() == (7..<15).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(all[$1]) })
    let sixteen = numbers.bytes16()
    #expect(sixteen.withBytes { Array(UnsafeBufferPointer(start: $0, count: 16)) } == Array(all[15..<31]))
    #expect(numbers.bytes32().array == Array(all[31..<63]))
  }

  @Test func `a fork and its origin give different bytes`() {
    var origin = Entropy(seed: countingKey)
    var fork = origin.fork()
    var second = origin.fork()
    let streams = [stream(&origin, 64), stream(&fork, 64), stream(&second, 64)]
    #expect(streams[0] != streams[1] && streams[1] != streams[2] && streams[0] != streams[2])
  }

  @Test func `below stays below and every value comes about equally often`() {
    var entropy = Entropy(seed: countingKey)
    var counts = [Int](repeating: 0, count: 7)
    for _ in 0..<70_000 { counts[Int(entropy.below(7))] += 1 }
    // 10,000 each; the standard deviation is 93.
    #expect(counts.allSatisfy { abs($0 - 10_000) < 500 })
    for _ in 0..<100 { #expect(entropy.below(1) == 0) }
  }

  @Test func `below has no bias where a plain remainder or a plain product would`() {
    // With bound 3 · 2^30, draws % bound would fall twice as often into the lowest third of the range, and
    // draws · bound >> 32 twice as often on multiples of 3.
    var entropy = Entropy(seed: countingKey)
    let third: UInt32 = 1 << 30
    var (thirds, remainders) = ([0, 0, 0], [0, 0, 0])
    for _ in 0..<30_000 {
      let value = entropy.below(3 * third)
      thirds[Int(value / third)] += 1
      remainders[Int(value % 3)] += 1
    }
    #expect((thirds + remainders).allSatisfy { abs($0 - 10_000) < 500 })
  }
}
