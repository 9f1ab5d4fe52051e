// A hop's table of detours: what an MA names is kept, and what it no longer names makes room.

import Core
import Testing
import Wire

@testable import Onion

@Suite struct DetourTableTests {
  private func steps(_ range: Range<Int>, ingress: UInt16) -> [DetourStep] {
    range.map { DetourStep(ingress: ingress, label: UInt16($0 + 1), egress: 2, next: 3) }
  }

  private func at(_ seconds: Int64) -> Instant { .zero + .seconds(seconds) }

  @Test func `labels that change every second leave no new one out`() {
    let table = Detours()
    for round in 0..<20 {
      let fresh = steps(0..<DetourPart.stepLimit, ingress: UInt16(round + 1))
      let part = DetourPart(replacesSteps: true, replacesHeads: true, steps: fresh)
      #expect(table.install(part, at: at(Int64(round))))
      #expect(fresh.allSatisfy { table.step(ingress: $0.ingress, label: $0.label, at: at(Int64(round))) == $0 })
      #expect(table.stepCount <= Detours.stepLimit)
    }
  }

  @Test func `what does not fit is said, and what is there is overwritten all the same`() {
    let table = Detours()
    let half = DetourPart.stepLimit
    for ingress in 1...2 as ClosedRange<UInt16> {
      let part = DetourPart(
        replacesSteps: ingress == 1, replacesHeads: ingress == 1, steps: steps(0..<half, ingress: ingress))
      #expect(table.install(part, at: at(0)))
    }
    var changed = steps(0..<1, ingress: 2)
    changed[0].egress = 9
    #expect(table.install(DetourPart(replacesSteps: false, replacesHeads: false, steps: changed), at: at(0)))
    #expect(table.step(ingress: 2, label: 1, at: at(0))?.egress == 9)
    let more = steps(0..<1, ingress: 3)
    #expect(!table.install(DetourPart(replacesSteps: false, replacesHeads: false, steps: more), at: at(0)))
    #expect(table.step(ingress: 3, label: 1, at: at(0)) == nil)
    let heads = (0...DetourPart.headLimit).map {
      DetourHead(egress: UInt16($0), onward: 0, first: 1, label: 1, frameSize: 1_500)
    }
    #expect(!table.install(DetourPart(replacesSteps: false, replacesHeads: true, heads: heads), at: at(0)))
    #expect(table.headCount == DetourPart.headLimit)
  }
}
