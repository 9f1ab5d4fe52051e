// What nodes say of themselves while something is wrong: a component that no authority can reach is not ready.

import Core
import Testing
import Wire

@testable import Node
@testable import Simulator

@Suite struct StatusTests {
  private func standing(_ layout: Layout) throws -> World {
    let world = try World(layout, seed: 41)
    #expect(form(world) != nil)
    world.run(for: .seconds(2))
    return world
  }

  private func isReached(_ world: World, by number: Int) -> Bool {
    guard case .array(let authorities)? = world.ask(number, ["status"])?["authorities"],
      case .bool(let isReached)? = authorities.first?["reached"],
      case .array(let nodes)? = world.ask(number, ["nodes"]), nodes.count == 2,
      case .string(let state)? = nodes[1]["state"]
    else { return false }
    #expect(state.elementsEqual(Array((isReached ? "authenticated" : "unreachable").utf8)))
    return isReached
  }

  /// Names that are there twice in one object: of these most readers take one, and none says so.
  private func repeated(_ value: JSONValue) -> [String] {
    switch value {
    case .object(let members):
      let names = members.map { String(decoding: $0.name, as: UTF8.self) }
      return names.filter { name in names.count { $0 == name } > 1 } + members.flatMap { repeated($0.value) }
    case .array(let elements): return elements.flatMap(repeated)
    default: return []
    }
  }

  @Test func `what is answered names nothing twice`() throws {
    let world = try standing(.ring(4))
    for number in [0, 2] {
      for command in [["status"], ["nodes"], ["links"], ["neighbours"], ["routes"], ["counters"]] {
        let answer = try #require(world.ask(number, command), "\(command)")
        #expect(repeated(answer) == [], "\(command)")
      }
    }
    let name = try #require(world.nodes[2].running?.node.contents.name).description
    let there = try #require(world.ask(0, ["routes", name]))
    let authority = try #require(world.nodes[0].running?.node.contents.name).description
    let back = try #require(world.ask(2, ["routes", authority]))
    for answer in [there, back] {
      #expect(repeated(answer) == [])
      guard case .array(let ways)? = answer["ways"] else {
        Issue.record("no ways")
        continue
      }
      #expect(ways.count == 2)
    }
  }

  @Test func `a component whose only link is down says so at once`() throws {
    let world = try standing(.line(2))
    for silently in [true, false] {
      if silently { world.setCut(0, true) } else { world.setCarrier(0, false) }
      let time = world.run(atMost: .seconds(60)) { !$0.isReady(1) }
      tell("only link down: not ready after", time)
      #expect(time ?? .seconds(99) < .milliseconds(100))
      #expect(!isReached(world, by: 1))
      if silently { world.setCut(0, false) } else { world.setCarrier(0, true) }
      let back = world.run(atMost: .seconds(10)) { $0.isReady(1) }
      tell("   ready again after", back)
      #expect(back ?? .seconds(99) < .seconds(2))
      #expect(isReached(world, by: 1))
    }
  }

  @Test func `a component far from what happened says so when the beacons are silent`() throws {
    let world = try standing(.line(4))
    world.crash(0)
    let dead = world.run(atMost: .seconds(60)) { !$0.isReady(2) && !$0.isReady(3) }
    tell("MA dead: not ready after", dead)
    #expect(dead ?? .seconds(99) < .seconds(4))
    world.start(0)
    #expect(world.run(atMost: .seconds(10)) { $0.isReady(2) && $0.isReady(3) } != nil)
    world.run(for: .seconds(2))
    world.setCut(0, true)
    let cut = world.run(atMost: .seconds(60)) { !$0.isReady(3) }
    tell("a link near the MA cut: not ready after", cut)
    #expect(cut ?? .seconds(99) < .seconds(4))
    #expect(!isReached(world, by: 3))
    world.setCut(0, false)
    #expect(world.run(atMost: .seconds(10)) { $0.isReady(3) } != nil)
  }

  @Test(arguments: [68, 300, 575, 600, 649]) func `a link too small for the network is down and says why`(
    size: Int
  ) throws {
    let world = try standing(.line(2))
    world.setFrameSize(0, of: 1, size)
    world.run(for: .seconds(10))
    for number in 0..<2 {
      guard case .array(let links)? = world.ask(number, ["neighbours"]), links.count == 1,
        case .string(let state)? = links[0]["state"]
      else {
        Issue.record("node \(number) lists no neighbour")
        return
      }
      let text = String(decoding: state, as: UTF8.self)
      #expect(text == "down: too small: needs 650 bytes, has \(size)")
      #expect(
        world.nodes[number].log.filter { $0.text.hasPrefix("link to") && $0.text.contains("too small") }.count == 1)
    }
    #expect(!world.isReady(1))
    #expect(world.reachable == 0)
    world.setFrameSize(0, of: 1, 650)
    let time = world.timeToReach(atMost: .seconds(5))
    tell("MTU from \(size) to 650: reached", time)
    #expect(time ?? .seconds(99) < .seconds(2))
    #expect(world.isReady(1))
    #expect(world.violations == [])
  }
}
