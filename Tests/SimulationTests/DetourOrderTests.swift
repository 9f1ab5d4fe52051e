// That no node gets the beginning of a detour before the nodes on its way know it (docs/PROTOCOL.md §5, "Detours").

import Core
import Testing

@testable import Node
@testable import Onion
@testable import Simulator

@Suite struct DetourOrderTests {
  /// Heads whose labels some node on the way does not know, and all that could be followed.
  private func follow(_ world: World) -> (broken: Int, whole: Int) {
    let ids = world.nodes.map { $0.running?.storage.pointee.id }
    var (broken, whole) = (0, 0)
    for box in world.nodes {
      guard let table = box.running?.storage.pointee.detours[0] else { continue }
      for (_, head) in table.heads {
        var (at, egress, label) = (box.number, head.first, head.label)
        var isUp = true
        while egress != 0 {
          let view = world.nodes[at].running?.storage.pointee.neighbour.adjacency(egress)
          guard let view, view.state == .up, let next = ids.firstIndex(of: view.id) else {
            isUp = false
            break
          }
          let now = world.nodes[next].own(world.now)
          guard
            let step = world.nodes[next].running?.storage.pointee.detours[0]?.step(
              ingress: view.neighbourNumber, label: label, at: now)
          else {
            broken += 1
            isUp = false
            break
          }
          (at, egress, label) = (next, step.egress, step.next)
        }
        if isUp { whole += 1 }
      }
    }
    return (broken, whole)
  }

  @Test func `no detour begins before its way is laid`() throws {
    let world = try World(.grid(4, 4), seed: 95)
    var delay = LinkQuality.perfect
    delay.delay = .milliseconds(3)
    world.setQualityEverywhere(delay)
    for number in world.nodes.indices { world.start(number) }
    var (worst, most) = (0, 0)
    func watch(_ length: Duration) {
      let end = world.now + length
      while world.now < end {
        world.run(for: .milliseconds(3))
        let found = follow(world)
        worst = max(worst, found.broken)
        most = max(most, found.whole)
      }
    }
    watch(.seconds(3))
    // Cables go and come while the tables change.
    for medium in [0, 7, 12] {
      world.setCarrier(medium, false)
      watch(.milliseconds(600))
      world.setCarrier(medium, true)
      watch(.milliseconds(600))
    }
    #expect(worst == 0 && most > 40, "\(worst) of \(most)")
    #expect(world.counter(0, "headsEarly") == 0)
    world.checkTables()
    #expect(world.violations == [])
  }
}
