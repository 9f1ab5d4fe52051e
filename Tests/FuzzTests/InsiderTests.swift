// A member that has turned, against whole nodes in memory: nothing traps, every buffer comes back, no table outgrows
// its limit, and the nodes go on working.

import Core
import InsiderKit
import Testing

@Suite struct InsiderTests {
  @Test(arguments: 1...4 as ClosedRange<UInt64>)
  func `4,000 frames forged by a member neither trap nor leak (seeded)`(seed: UInt64) throws {
    let network = try MemoryNetwork(seed: 1)
    network.run(.seconds(3))
    #expect(network.isEstablished)
    var choices = Choices(seed: seed)
    var forged: [Forgery: Int] = [:]
    for number in 0..<4_000 {
      if let kind = network.forge(&choices) { forged[kind, default: 0] += 1 }
      if number % 8 == 0 { network.run(.milliseconds(5)) }
    }
    #expect(network.violation() == nil, "seed \(seed)")
    for kind in Forgery.allCases { #expect(forged[kind, default: 0] > 50, "\(kind.name), seed \(seed)") }
    // The honest go on.
    network.run(.seconds(20))
    #expect(network.isEstablished, "seed \(seed)")
    #expect(network.violation() == nil, "seed \(seed)")
  }
}
