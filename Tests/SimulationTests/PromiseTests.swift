// What an MA promises is on its medium before anybody hears of it (docs/decisions/0038, 0063), and nothing else waits.

import Core
import Simulator
import Testing

@Suite struct PromiseTests {
  @Test
  func `a descriptor an MA has signed is heard of when its store holds it, and links and channels stay meanwhile`()
    throws
  {
    let world = try World(.ring(5), authorities: [0], seed: 63)
    for number in world.nodes.indices { world.start(number) }
    #expect(world.run(atMost: .seconds(10)) { $0.isComplete } != nil)
    world.run(for: .seconds(1))
    let epoch = world.epoch(of: 1)
    world.nodes[0].keepsStoreWaiting = true
    let flow = world.startFlow(from: 0, to: 2, every: .milliseconds(1))
    #expect(world.ask(0, ["revoke", "cm3"]) != nil)
    world.run(for: .seconds(5))
    #expect(world.epoch(of: 0) == epoch + 1)
    for number in 1..<5 { #expect(world.epoch(of: number) == epoch, "node \(number)") }
    #expect(world.counter(1, "link", "adjacenciesDown") == 0)
    world.storeAnswers(0)
    let time = world.run(atMost: .seconds(2)) { world in [1, 2, 4].allSatisfy { world.epoch(of: $0) == epoch + 1 } }
    #expect(time ?? .seconds(9) < .milliseconds(100))
    world.endFlow(flow)
    world.run(for: .milliseconds(100))
    #expect(world.traffic.flows[flow].sent == world.traffic.flows[flow].arrivals.count)
    #expect(world.violations == [])
  }
}
