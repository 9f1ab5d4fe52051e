import Core
import Simulator
import Testing

@Suite struct ProbeTests {
  @Test func `probe`() throws {
    let world = try World(.line(5), seed: 2)
    _ = form(world)
    world.run(for: .seconds(2))
    print("ELAPSED \(world.elapsed.milliseconds)")
    world.isTalkative = true
    world.crash(2)
    world.run(for: .milliseconds(20))
    world.start(2)
    let t = world.timeToReach(atMost: .seconds(10))
    tell("probe", t)
  }
}
