import Core
import Crypto
import TestSupport
import Testing

@testable import Beacon

@Suite struct BeaconOriginTests {
  let own = Authority(1)
  let other = Authority(2)

  func decode(_ content: [UInt8]?) throws -> Beacon {
    let content = try #require(content)
    return try Beacon(decoding: content.span)
  }

  @Test func `an authority sends the first beacon at once and then one a second (section 3)`() throws {
    var engine = BeaconEngine([other, own], own: own)
    #expect(engine.ownIndex == 1 && engine.nextDeadline == nil)
    engine.epoch = 6
    engine.sizeCode = 2
    engine.originate(boot: 3, at: milliseconds(0))
    var out = engine.drain()
    #expect(out.order == "f" && out.flooded.first?.except == 0)
    var beacon = try decode(out.flooded.first?.content)
    #expect(beacon.authority == own.id && beacon.boot == 3 && beacon.counter == 1)
    #expect(beacon.epoch == 6 && beacon.sizeCode == 2)
    #expect(beacon.isAuthentic(network: home, key: own.key.publicKey))
    var last = milliseconds(0)
    for counter in 2...50 as ClosedRange<UInt32> {
      let due = try #require(engine.nextDeadline)
      #expect(due - last > .milliseconds(949) && due - last <= .seconds(1))
      engine.timeout(at: due - .nanoseconds(1))
      #expect(engine.drain().isEmpty)
      engine.timeout(at: due)
      out = engine.drain()
      beacon = try decode(out.flooded.first?.content)
      #expect(out.order == "f" && beacon.counter == counter)
      last = due
    }
    #expect(engine.counters.originated == 50)
    #expect(!engine.isSilent(authority: 1, at: last + .seconds(3)))
    #expect(engine.newest(authority: 1)?.counter == 50 && engine.newest(authority: 1)?.adjacency == nil)
    #expect(engine.treeAdjacency(authority: 1, boot: 3, counter: 50) == nil)
  }

  @Test func `a change is announced at once, but never twice within 20 ms (section 3)`() throws {
    var engine = BeaconEngine([own], own: own)
    engine.announceChange(at: milliseconds(0))
    #expect(engine.drain().isEmpty)
    engine.originate(boot: 1, at: milliseconds(0))
    #expect(engine.drain().order == "f")
    engine.announceChange(at: milliseconds(5))
    engine.announceChange(at: milliseconds(6))
    #expect(engine.drain().isEmpty)
    #expect(engine.nextDeadline == milliseconds(20))
    engine.timeout(at: milliseconds(20))
    #expect(engine.drain().order == "f")
    engine.announceChange(at: milliseconds(100))
    #expect(engine.drain().order == "f")
    var times: [Int64] = []
    for now in 101..<1101 as Range<Int64> {
      engine.announceChange(at: milliseconds(now))
      for _ in engine.drain().flooded { times.append(now) }
    }
    #expect(times.count == 50)
    for (a, b) in zip(times, times.dropFirst()) { #expect(b - a >= 20) }
  }

  @Test
  func `an authority that was set back jumps past its own newest beacon and has the boot stored first (section 3)`()
    throws
  {
    var engine = BeaconEngine([own], own: own)
    engine.originate(boot: 2, at: milliseconds(0))
    _ = engine.drain()
    engine.take(own.beacon(7, 100), 4, at: milliseconds(50))
    var out = engine.drain()
    #expect(out.jumps == [8] && out.events.count == 1)
    #expect(out.order == "ejf")
    var beacon = try decode(out.flooded.first?.content)
    #expect(beacon.boot == 8 && beacon.counter == 1)
    // The old one again changes nothing, but is answered.
    engine.take(own.beacon(7, 100), 4, at: milliseconds(60))
    out = engine.drain()
    #expect(out.order == "s" && out.sent.first?.content == beacon.encode())
    // Forged ones move nothing.
    engine.take(own.forged(9, 1), 4, at: milliseconds(60))
    #expect(engine.drain().isEmpty && engine.counters.refusedSignature == 1)
    // Heard within 20 ms of a beacon, the jump is stored at once and sent when they are over.
    engine.take(own.beacon(8, 5), 4, at: milliseconds(61))
    #expect(engine.drain().order == "ej")
    #expect(engine.nextDeadline == milliseconds(70))
    engine.timeout(at: milliseconds(70))
    beacon = try decode(engine.drain().flooded.first?.content)
    #expect(beacon.boot == 9 && beacon.counter == 1)
  }

  @Test func `a newer own beacon heard before the start is jumped past at the start`() throws {
    var engine = BeaconEngine([own], own: own)
    engine.take(own.beacon(5, 3), 4, at: milliseconds(0))
    #expect(engine.drain().isEmpty)
    engine.originate(boot: 5, at: milliseconds(1))
    let out = engine.drain()
    #expect(out.order == "jf" && out.jumps == [6])
    #expect(try decode(out.flooded.first?.content).boot == 6)
  }

  @Test func `two nodes with one key do not write their boot counts for ever`() {
    var a = BeaconEngine([own], own: own)
    var b = BeaconEngine([own], own: own, seed: 10)
    a.originate(boot: 1, at: milliseconds(0))
    b.originate(boot: 1, at: milliseconds(0))
    var jumps = 0
    for now in 0..<60_000 as Range<Int64> {
      a.timeout(at: milliseconds(now))
      b.timeout(at: milliseconds(now))
      let (x, y) = (a.drain(), b.drain())
      jumps += x.jumps.count + y.jumps.count
      for frame in x.flooded { b.take(frame.content, 1, at: milliseconds(now)) }
      for frame in y.flooded { a.take(frame.content, 1, at: milliseconds(now)) }
      for frame in x.sent { b.take(frame.content, 1, at: milliseconds(now)) }
      for frame in y.sent { a.take(frame.content, 1, at: milliseconds(now)) }
    }
    #expect(jumps >= 16 && jumps <= 16 + 12 + 2)
    #expect(a.counters.refusedJump + b.counters.refusedJump > 0)
  }

  @Test func `at the last boot only the counter goes on, and at its end nothing is sent`() throws {
    var engine = BeaconEngine([own], own: own)
    engine.originate(boot: 1, at: milliseconds(0))
    _ = engine.drain()
    engine.take(own.beacon(.max, .max - 1), 1, at: milliseconds(100))
    let out = engine.drain()
    #expect(out.order == "eef" && out.jumps.isEmpty)
    let beacon = try decode(out.flooded.first?.content)
    #expect(beacon.boot == .max && beacon.counter == .max)
    engine.timeout(at: milliseconds(5000))
    #expect(engine.drain().flooded.isEmpty)
    #expect(engine.nextDeadline == .never)
  }

  @Test func `an authority that a descriptor drops falls silent and goes on when one lists it again`() throws {
    var engine = BeaconEngine([own, other], own: own)
    engine.originate(boot: 1, at: milliseconds(0))
    _ = engine.drain()
    engine.update(authorities: [other.entry])
    #expect(engine.ownIndex == nil && engine.nextDeadline == nil)
    engine.timeout(at: milliseconds(5000))
    engine.announceChange(at: milliseconds(5000))
    #expect(engine.drain().isEmpty)
    engine.update(authorities: [other.entry, own.entry])
    engine.timeout(at: milliseconds(6000))
    #expect(try decode(engine.drain().flooded.first?.content).counter == 2)
  }

  /// Engines joined by links with random delays; node 0 is the authority.
  struct World {
    var engines: [BeaconEngine]
    /// Of each node: the far node and its adjacency number; adjacency numbers are places in the list plus 1.
    var links: [[(node: Int, adjacency: UInt16)]]
    var inFlight: [(time: Instant, node: Int, adjacency: UInt16, content: [UInt8])] = []
    var generator: Generator
    var frames = 0

    mutating func drain(_ node: Int, at now: Instant) {
      let out = engines[node].drain()
      for frame in out.flooded {
        for place in links[node].indices where place + 1 != Int(frame.except) { send(frame.content, node, place, now) }
      }
      for frame in out.sent { send(frame.content, node, Int(frame.adjacency) - 1, now) }
    }

    mutating func send(_ content: [UInt8], _ node: Int, _ place: Int, _ now: Instant) {
      let far = links[node][place]
      frames += 1
      inFlight.append((now + .microseconds(Int64(1 + generator.below(3000))), far.node, far.adjacency, content))
    }

    mutating func run(to end: Instant) {
      while true {
        var next = inFlight.indices.min { inFlight[$0].time < inFlight[$1].time }
        if let place = next, inFlight[place].time > end { next = nil }
        let timer = engines.indices.min {
          (engines[$0].nextDeadline ?? .never) < (engines[$1].nextDeadline ?? .never)
        }!
        let due = engines[timer].nextDeadline ?? .never
        if let place = next, inFlight[place].time <= due {
          let frame = inFlight.remove(at: place)
          engines[frame.node].take(frame.content, frame.adjacency, at: frame.time)
          drain(frame.node, at: frame.time)
        } else if due <= end {
          engines[timer].timeout(at: due)
          drain(timer, at: due)
        } else {
          return
        }
      }
    }
  }

  @Test(arguments: [21, 22, 23] as [UInt64])
  func `in a random network each beacon crosses each link at most once each way and leaves a tree to the authority`(
    seed: UInt64
  ) {
    var generator = Generator(seed: seed)
    let count = 30
    var links: [[(node: Int, adjacency: UInt16)]] = Array(repeating: [], count: count)
    var total = 0
    for b in 1..<count + 25 {
      let (x, y) = b < count ? (generator.below(b), b) : (generator.below(count), generator.below(count))
      if x == y { continue }
      total += 1
      links[x].append((y, UInt16(links[y].count + 1)))
      links[y].append((x, UInt16(links[x].count)))
    }
    let engines = (0..<count).map { BeaconEngine([own], own: $0 == 0 ? own : nil, seed: UInt8($0)) }
    var world = World(engines: engines, links: links, generator: generator)
    for node in 0..<count {
      for adjacency in links[node].indices {
        world.engines[node].adjacencyUp(UInt16(adjacency + 1), at: milliseconds(0))
      }
    }
    world.engines[0].originate(boot: 4, at: milliseconds(0))
    world.run(to: milliseconds(5500))
    let newest = world.engines[0].newest(authority: 0)!
    #expect(newest.counter >= 5)
    #expect(world.frames <= 2 * total * Int(newest.counter), "seed \(seed)")
    for counter in (newest.counter - 3)...newest.counter {
      for start in 1..<count {
        var (node, hops) = (start, 0)
        while node != 0, hops < count {
          guard let next = world.engines[node].treeAdjacency(authority: 0, boot: 4, counter: counter) else { break }
          node = links[node][Int(next) - 1].node
          hops += 1
        }
        #expect(node == 0, "seed \(seed): from \(start) the tree of \(counter) does not lead to the authority")
      }
    }
    // The authority restarts with an older store: the network shows it its newest, and everybody follows.
    world.engines[0] = BeaconEngine([own], own: own, seed: 77)
    for adjacency in links[0].indices { world.engines[0].adjacencyUp(UInt16(adjacency + 1), at: milliseconds(5600)) }
    world.engines[0].originate(boot: 2, at: milliseconds(5600))
    world.drain(0, at: milliseconds(5600))
    world.run(to: milliseconds(5800))
    for node in 1..<count { #expect(world.engines[node].newest(authority: 0)?.boot == 5, "seed \(seed)") }
  }
}
