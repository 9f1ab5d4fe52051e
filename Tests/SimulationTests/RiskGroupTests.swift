// Links that an operator says fail together (docs/OPERATIONS.md, "Settings"): ways that stand in for each other avoid them.

import Core
import Store
import Testing
import Topology

@testable import Node
@testable import Simulator

@Suite struct RiskGroupTests {
  /// 0 to 3 by 1, by 2, and a longer way by 4 and 5.
  private func pair(_ setting: String?) throws -> [[Int]] {
    var layout = Layout(nodeCount: 6)
    for (a, b) in [(0, 1), (0, 2), (0, 4), (1, 3), (2, 3), (4, 5), (5, 3)] { layout.cable(a, b) }
    let world = try World(layout, seed: 91)
    if let setting {
      var contents = try StoreContents(decoding: world.nodes[0].store)
      try contents.set(setting)
      world.nodes[0].store = try contents.encode()
    }
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    let ids = world.nodes.compactMap { $0.running?.storage.pointee.id }
    guard let authority = world.nodes[0].running?.storage.pointee.authority else { return [] }
    let admission = try #require(authority.byID[ids[3]].flatMap { authority.admissions[$0] })
    #expect(world.violations == [])
    return admission.laid.filter { $0.isPaired }.compactMap { laid in
      laid.path?.links.compactMap { ids.firstIndex(of: $0.to) }
    }
  }

  @Test func `the protected pair leaves a common risk group where the graph lets it`() throws {
    #expect(Set(try pair(nil)) == [[1, 3], [2, 3]])
    let apart = try pair("risk-group=eth0=duct7,eth1=duct7")
    #expect(apart.count == 2 && apart.contains([4, 5, 3]), "\(apart)")
    // One port in a group of its own changes nothing.
    #expect(Set(try pair("risk-group=eth0=duct7,eth1=duct8")) == [[1, 3], [2, 3]])
  }
}
