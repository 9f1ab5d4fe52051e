// Several MAs: what one does, suffers or is must not be felt on another's channel (mms.md, "Repair", "What it must
// withstand" 4; paper §3.3).

import Core
import Membership
import Simulator
import Store
import Testing
import Wire

@Suite struct AuthoritiesTests {
  /// Starts all but `later`, and waits until these MAs serve all that run.
  private func form(_ world: World, _ authorities: [Int], later: [Int] = []) -> Duration? {
    for number in world.nodes.indices where !later.contains(number) { world.start(number) }
    return world.run(atMost: .seconds(10)) { $0.isServed(by: authorities) }
  }

  private func text(_ value: JSONValue?) -> String {
    if case .string(let bytes)? = value { return String(decoding: bytes, as: UTF8.self) }
    return ""
  }

  private func rows(_ value: JSONValue?) -> [JSONValue] {
    if case .array(let rows)? = value { return rows }
    return []
  }

  /// Packets of a flow that were sent and did not arrive.
  private func lost(_ world: World, _ flow: Int) -> Int {
    world.traffic.flows[flow].sent - world.traffic.flows[flow].arrivals.count
  }

  @Test(arguments: [2, 3]) func `each of several MAs serves everybody, whoever took them in`(count: Int) throws {
    let places = Array([0, 24, 4].prefix(count))
    let world = try World(.grid(5, 5), authorities: places, seed: UInt64(30 + count))
    let time = form(world, places)
    tell("grid of 25, \(count) MAs", time)
    #expect(time ?? .seconds(99) < .seconds(3))
    for place in places {
      world.ask(as: place)
      #expect(world.unanswered() == [])
      // Each knows every member by name and address, not only those it took in itself.
      let names = Set(rows(world.ask(place, ["nodes"])).map { text($0["name"]) })
      #expect(names.count == 25 && names.isSuperset(of: ["ma1", "ma2", "cm1", "cm2", "cm3"]), "\(names)")
    }
    for box in world.nodes where !places.contains(box.number) {
      #expect(rows(world.ask(box.number, ["status"])?["authorities"]).count == count)
      #expect(rows(world.ask(box.number, ["nodes"])).count == count + 1)
    }
    world.checkTables()
    #expect(world.violations == [])
  }

  @Test func `two MAs, one killed: no packet is lost on the other's channel`() throws {
    let world = try World(.grid(5, 5), authorities: [0, 24], seed: 41)
    #expect(form(world, [0, 24]) != nil)
    world.run(for: .seconds(1))
    var flows: [Int] = []
    for (from, to) in [(24, 20), (20, 24), (24, 14), (14, 24)] {
      flows.append(world.startFlow(from: from, to: to, every: .milliseconds(1)))
    }
    world.run(for: .seconds(1))
    world.crash(0)
    world.run(for: .seconds(5))
    for flow in flows { world.endFlow(flow) }
    world.run(for: .milliseconds(200))
    for flow in flows { #expect(lost(world, flow) == 0) }
    #expect(world.violations == [])
  }

  @Test func `three MAs, two killed in the same instant: no packet is lost on the third's channel`() throws {
    let world = try World(.grid(5, 5), authorities: [0, 4, 24], seed: 42)
    #expect(form(world, [0, 4, 24]) != nil)
    world.run(for: .seconds(1))
    let flows = [(24, 20), (20, 24), (24, 22), (13, 24)].map {
      world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1))
    }
    world.run(for: .seconds(1))
    world.crash(0)
    world.crash(4)
    world.run(for: .seconds(5))
    for flow in flows { world.endFlow(flow) }
    world.run(for: .milliseconds(200))
    for flow in flows { #expect(lost(world, flow) == 0) }
    world.ask(as: 24)
    #expect(world.unanswered(world.nodes.indices.filter { $0 != 0 && $0 != 4 }) == [])
    #expect(world.violations == [])
  }

  @Test func `what the lost MA handed on goes through another within 1 s`() throws {
    let world = try World(.grid(4, 4), authorities: [0, 15], seed: 43)
    #expect(form(world, [0, 15]) != nil)
    world.run(for: .seconds(2))
    let flow = world.startFlow(from: 6, to: 9, every: .milliseconds(5))
    world.run(for: .seconds(1))
    let before = lost(world, flow)
    #expect(before <= 2)
    let cut = world.now
    world.crash(0)
    world.run(for: .seconds(3))
    let gap = world.longestGap(flow, from: cut, to: world.now)
    tell("component to component, its MA killed: longest gap", gap)
    #expect(gap < .seconds(1))
    // It comes back, and is preferred again.
    world.start(0)
    world.run(for: .seconds(3))
    let status = rows(world.ask(6, ["status"])?["authorities"])
    #expect(status.count == 2)
    if case .bool(let isPreferred)? = status.first?["preferred"] { #expect(isPreferred) }
    #expect(world.violations == [])
  }

  /// The paper's worst case: nobody is left who knows the components; the new one has their network and nothing else.
  @Test func `all MAs dead, then one that was configured and never ran: 100 components within 2 s`() throws {
    let world = try World(.grid(13, 8), authorities: [0, 60, 103], seed: 44)
    // Nobody told the third of anybody: its store knows those it took in itself.
    #expect(form(world, [0, 60], later: [103]) != nil)
    world.run(for: .seconds(1))
    world.crash(0)
    world.crash(60)
    world.run(for: .seconds(5))
    world.start(103)
    world.ask(as: 103)
    let components = world.nodes.indices.filter { ![0, 60, 103].contains($0) }
    #expect(components.count == 101)
    let time = world.timeToReach(components, atMost: .seconds(10))
    tell("all MAs dead, a new one started: 101 reached", time)
    #expect(time ?? .seconds(99) < .seconds(2))
    #expect(world.violations == [])
  }

  @Test func `an MA joins a running network: nobody is restarted, and nothing is lost`() throws {
    let world = try World(.grid(4, 4), authorities: [0], seed: 45)
    let key = try world.replaceBoxByAuthority(15, named: "ma2", secretOf: 0)
    #expect(form(world, [0], later: [15]) != nil)
    world.run(for: .seconds(1))
    let flow = world.startFlow(from: 0, to: 5, every: .milliseconds(1))
    world.run(for: .milliseconds(500))
    let answer = rows(world.ask(0, ["accept", "--yes"], attachment: key))
    #expect(text(answer.first?["verdict"]) == "accepted", "\(answer)")
    // At once everywhere: the speed of the links.
    let spread = world.run(atMost: .seconds(1), every: .milliseconds(1)) { world in
      world.nodes.allSatisfy { $0.number == 15 || world.epoch(of: $0.number) == 2 }
    }
    tell("grid of 16: the new descriptor is everywhere", spread)
    #expect(spread ?? .seconds(99) < .milliseconds(50))
    world.start(15)
    let time = world.run(atMost: .seconds(10)) { $0.isServed(by: [0, 15]) }
    tell("an MA joins: it serves all", time)
    #expect(time ?? .seconds(99) < .seconds(3))
    world.endFlow(flow)
    world.run(for: .milliseconds(200))
    #expect(lost(world, flow) == 0)
    world.ask(as: 15)
    #expect(world.unanswered() == [])
    #expect(world.epoch(of: 15) == 2)
    world.checkTables()
    #expect(world.violations == [])
  }

  @Test func `a third MA needs two signatures, and an MA is removed by two`() throws {
    let world = try World(.grid(4, 4), authorities: [0, 3], seed: 46)
    let key = try world.replaceBoxByAuthority(15, named: "ma3", secretOf: 0)
    #expect(form(world, [0, 3], later: [15]) != nil)
    world.run(for: .seconds(1))
    let proposed = rows(world.ask(0, ["accept", "--yes"], attachment: key))
    #expect(text(proposed.first?["verdict"]) == "proposed", "\(proposed)")
    world.run(for: .seconds(1))
    #expect(world.epoch(of: 0) == 2 && world.epoch(of: 3) == 2)
    let waiting = rows(world.ask(3, ["proposals"]))
    #expect(waiting.count == 1)
    // A second order of the same epoch is refused by who has signed one.
    #expect(world.ask(0, ["remove", "ma2"]) == nil)
    #expect(text(world.ask(3, ["sign", text(waiting.first?["id"])])?["verdict"]) == "in force")
    world.start(15)
    #expect(world.run(atMost: .seconds(5)) { $0.isServed(by: [0, 3, 15]) } != nil)
    #expect((0..<16).allSatisfy { world.epoch(of: $0) == 3 })

    // ma2 goes: those that it took in keep their links and get certificates from another.
    let flows = [(0, 10), (10, 15)].map { world.startFlow(from: $0.0, to: $0.1, every: .milliseconds(1)) }
    let downs = (0..<16).map { world.counter($0, "link", "adjacenciesDown") }
    #expect(text(world.ask(0, ["remove", "ma2"])?["verdict"]) == "waits for signatures")
    world.run(for: .milliseconds(200))
    let removal = rows(world.ask(15, ["proposals"]))
    #expect(text(world.ask(15, ["sign", text(removal.first?["id"])])?["verdict"]) == "in force")
    world.run(for: .seconds(3))
    #expect((0..<16).allSatisfy { world.epoch(of: $0) == 4 })
    for number in 0..<16 where ![2, 3, 7].contains(number) {
      #expect(world.counter(number, "link", "adjacenciesDown") == downs[number], "node \(number)")
    }
    for number in 0..<16 where ![0, 3, 15].contains(number) {
      let contents = try StoreContents(decoding: world.nodes[number].store)
      #expect(contents.certificate?.issuer != 1, "node \(number)")
    }
    for flow in flows { world.endFlow(flow) }
    world.run(for: .milliseconds(200))
    for flow in flows { #expect(lost(world, flow) == 0) }
    #expect(world.nodes[3].hasLogged("is no authority"))
    // A minute later no link hangs on what the removed one signed.
    world.run(for: .seconds(61))
    #expect(world.unanswered(world.nodes.indices.filter { $0 != 3 }) == [])
    #expect(world.violations == [])
  }

  @Test func `a node that slept through two epochs is led through them`() throws {
    let world = try World(.line(6), authorities: [0], seed: 47)
    let key = try world.replaceBoxByAuthority(5, named: "ma2", secretOf: 0)
    #expect(form(world, [0], later: [5]) != nil)
    world.crash(3)
    #expect(text(rows(world.ask(0, ["accept", "--yes"], attachment: key)).first?["verdict"]) == "accepted")
    world.start(5)
    world.run(for: .seconds(1))
    #expect(world.epoch(of: 3) == 1 && world.epoch(of: 2) == 2)
    world.start(3)
    let time = world.run(atMost: .seconds(10)) { $0.isServed(by: [0, 5]) }
    tell("a node at an old epoch comes back: all served", time)
    #expect(time ?? .seconds(99) < .seconds(3))
    #expect(world.epoch(of: 3) == 2 && world.epoch(of: 5) == 2)
    #expect(world.violations == [])
  }

  /// No MA it knows is left; its neighbour knows the one that came after.
  @Test func `a linked neighbour leads to an MA that a node has never heard of`() throws {
    let world = try World(.line(5), authorities: [0], seed: 48)
    let key = try world.replaceBoxByAuthority(4, named: "ma2", secretOf: 0)
    #expect(form(world, [0], later: [4]) != nil)
    let answer = rows(world.ask(0, ["accept", "--yes", "--threshold", "1"], attachment: key))
    #expect(text(answer.first?["verdict"]) == "accepted")
    world.run(for: .seconds(1))
    try world.admitFromKey(4, by: 0)
    // All but node 3 are off, and node 2 comes back as it was before there was a second MA.
    for number in 0..<3 { world.crash(number) }
    world.nodes[2].store = world.firstStore(of: 2)
    #expect(world.epoch(of: 2) == 1 && world.epoch(of: 3) == 2)
    world.run(for: .seconds(1))
    world.start(4)
    world.start(2)
    let time = world.run(atMost: .seconds(10)) { $0.isServed(by: [4]) }
    tell("an MA nobody told of, by a neighbour's descriptor", time)
    #expect(time ?? .seconds(99) < .seconds(3))
    #expect(world.epoch(of: 2) == 2)
    #expect(world.violations == [])
  }

  @Test func `a member that one MA takes in or forgets is so at the other within a second`() throws {
    let world = try World(.grid(3, 3), authorities: [0, 8], seed: 49)
    #expect(form(world, [0, 8]) != nil)
    world.run(for: .seconds(1))
    #expect(world.ask(0, ["forget", "cm2"]) != nil)
    let gone = world.run(atMost: .seconds(2)) { world in
      !self.rows(world.ask(8, ["nodes"])).contains { self.text($0["name"]) == "cm2" }
    }
    tell("forgotten by one MA, forgotten by the other", gone)
    #expect(gone ?? .seconds(99) < .seconds(1))
    world.run(for: .seconds(3))
    #expect(!rows(world.ask(8, ["nodes"])).contains { text($0["name"]) == "cm2" })
    #expect(world.violations == [])
  }

  @Test func `an MA whose store was set back learns from the others what it has lost`() throws {
    let world = try World(.grid(4, 4), authorities: [0, 3], seed: 50)
    let early = world.nodes[0].store
    let key = try world.replaceBoxByAuthority(15, named: "ma3", secretOf: 0)
    #expect(form(world, [0, 3], later: [15]) != nil)
    _ = world.ask(0, ["accept", "--yes"], attachment: key)
    world.run(for: .milliseconds(300))
    let id = text(rows(world.ask(3, ["proposals"])).first?["id"])
    #expect(world.ask(3, ["sign", id]) != nil)
    world.start(15)
    #expect(world.run(atMost: .seconds(5)) { $0.isServed(by: [0, 3, 15]) } != nil)
    let flow = world.startFlow(from: 3, to: 13, every: .milliseconds(1))
    world.crash(0)
    world.nodes[0].store = early
    world.run(for: .seconds(1))
    world.start(0)
    let time = world.run(atMost: .seconds(10)) { $0.isServed(by: [0, 3, 15]) }
    tell("an MA with an old store: serves all again", time)
    #expect(time ?? .seconds(99) < .seconds(4))
    #expect(world.epoch(of: 0) == 3)
    world.endFlow(flow)
    world.run(for: .milliseconds(200))
    #expect(lost(world, flow) == 0)
    #expect(world.violations == [])
  }

  /// Two MAs that each could sign alone, cut off from one another, both take one in: two descriptors of one epoch.
  @Test func `two successors of one epoch are reported, and nobody goes from one to the other`() throws {
    var layout = Layout(nodeCount: 8)
    for i in 0..<5 { layout.cable(i, i + 1) }
    layout.cable(0, 6)
    layout.cable(5, 7)
    let world = try World(layout, authorities: [0, 5], threshold: 1, seed: 51)
    let first = try world.replaceBoxByAuthority(6, named: "new1", secretOf: 0)
    let second = try world.replaceBoxByAuthority(7, named: "new2", secretOf: 5)
    #expect(form(world, [0, 5], later: [6, 7]) != nil)
    world.setCut(2, true)
    world.run(for: .seconds(5))
    for (authority, key) in [(0, first), (5, second)] {
      let answer = rows(world.ask(authority, ["accept", "--yes", "--threshold", "1"], attachment: key))
      #expect(text(answer.first?["verdict"]) == "accepted", "\(answer)")
    }
    world.run(for: .seconds(1))
    func standings() throws -> [ComponentID] {
      try (0..<6).map { try StoreContents(decoding: world.nodes[$0].store).descriptor.proposalID }
    }
    let before = try standings()
    #expect(Set(before).count == 2)
    world.setCut(2, false)
    world.run(for: .seconds(5))
    #expect(try standings() == before)
    for number in 0..<6 { #expect(world.nodes[number].hasLogged("two descriptors of epoch 3"), "node \(number)") }
    // Those whom both halves know go on serving: no channel is lost over it.
    for authority in [0, 5] {
      world.ask(as: authority)
      #expect(world.unanswered([1, 2, 3, 4]) == [])
    }
    #expect(world.violations == [])
  }
}
