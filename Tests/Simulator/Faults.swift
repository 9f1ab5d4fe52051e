// What can be done to a world: processes, boxes, clocks, cables, the quality of links. Each tells the oracles of itself.

import Core
import Crypto
import Node
import Store

/// What is left in a box's flash after a crash.
public enum Memory: Sendable {
  /// The last thing its node wrote.
  case kept
  /// What it was provisioned with: every later write is gone.
  case setBack
}

extension World {
  // MARK: Processes

  /// Starts a node's process from its store.
  public func start(_ number: Int) {
    let box = nodes[number]
    guard box.running == nil else { return }
    var contents: StoreContents
    do throws(StoreError) {
      contents = try StoreContents(decoding: box.store)
    } catch {
      violated("wrote a store that it cannot read: \(error.description)", at: number)
      return
    }
    contents.largerRoom = storeRoom
    var seed = Bytes32()
    seed.withMutableBytes { p in for i in 0..<32 { p[i] = UInt8(truncatingIfNeeded: random.next()) } }
    box.addresses = nil
    box.awaited = .never
    box.turn &+= 1
    box.startedAt = now
    box.running = RunningNode(
      Node(contents: contents, pool: pool, seed: seed, startingAt: box.own(now), renewal: renewal, limits: limits),
      pool)
    disturbed(.restored)
    enter(box) { _ in }
    for index in box.ports.indices {
      enter(box) { $0.portChanged(PortNumber(UInt16(index + 1)), status(of: box, index), at: box.own(now)) }
    }
  }

  public func startAll() { for box in nodes { start(box.number) } }

  /// Ends a node's process without a word.
  public func crash(_ number: Int, memory: Memory = .kept) {
    let box = nodes[number]
    if memory == .setBack { box.store = box.firstStore }
    if box.running != nil { disturbed(.nodeDown) }
    box.running = nil
    box.isPaused = false
    for case .frame(_, let handle) in box.backlog { drop(handle) }
    box.backlog = []
    box.awaited = .never
    box.addresses = nil
    box.turn &+= 1
  }

  /// Ends a node's process as a signal does.
  public func stop(_ number: Int) {
    let box = nodes[number]
    enter(box) { $0.shutdown(at: box.own(now)) }
    crash(number)
  }

  /// The node's loop does not run for this long, as after SIGSTOP.
  public func pause(_ number: Int, for length: Duration) {
    let box = nodes[number]
    guard box.running != nil, !box.isPaused else { return }
    box.isPaused = true
    disturbed(.nodeFrozen)
    queue.push(.resume, at: now + length, place: number, reference: 0)
  }

  public func setConduct(_ number: Int, _ conduct: Conduct) {
    guard nodes[number].conduct != conduct else { return }
    nodes[number].conduct = conduct
    disturbed(conduct == .honest ? .restored : .greyHole)
  }

  // MARK: Clocks

  /// From now on a box's clock runs fast by so many millionths; slow when negative.
  public func setDrift(_ number: Int, _ partsPerMillion: Int64) {
    nodes[number].clock.set(drift: partsPerMillion, at: now)
    clockChanged(nodes[number])
  }

  /// A box's clock stands still for so long; its process runs on.
  public func stallClock(_ number: Int, for length: Duration) {
    guard !nodes[number].clock.isStill else { return }
    nodes[number].clock.set(still: true, at: now)
    disturbed(.clock)
    after(length) { world in
      world.nodes[number].clock.set(still: false, at: world.now)
      world.disturbed(.clock)
      world.clockChanged(world.nodes[number])
    }
  }

  private func clockChanged(_ box: SimulatedNode) {
    box.awaited = .never
    box.turn &+= 1
    if let running = box.running, !box.isPaused { setDeadline(box, running) }
  }

  // MARK: Ports and media

  func status(of box: SimulatedNode, _ index: Int) -> PortStatus {
    let port = box.ports[index]
    return PortStatus(
      name: port.name, address: port.address, frameSize: Int(taps[port.tap].frameSize),
      isUp: taps[port.tap].hasCarrier, medium: port.portMedium, riskGroup: port.riskGroup)
  }

  private func portChanged(_ tap: Int) {
    let (box, index) = (nodes[Int(taps[tap].node)], Int(taps[tap].port))
    guard box.running != nil else { return }
    let status = status(of: box, index)
    deliver(box, isOfPort: true) { $0.portChanged(PortNumber(UInt16(index + 1)), status, at: $1) }
  }

  /// Carrier of all ports of a medium, or of one node's alone; a tunnel has none to lose.
  public func setCarrier(_ medium: Int, _ isUp: Bool, of node: Int? = nil) {
    if media[medium].kind == .tunnel {
      setCut(medium, !isUp)
      return
    }
    for tap in media[medium].taps
    where taps[tap].hasCarrier != isUp && Int(taps[tap].node) == node ?? Int(taps[tap].node) {
      taps[tap].hasCarrier = isUp
      disturbed(isUp ? .restored : .carrier)
      portChanged(tap)
    }
  }

  /// The MTU of the port with which a node is at a medium.
  public func setFrameSize(_ medium: Int, of node: Int, _ bytes: Int) {
    for tap in media[medium].taps where Int(taps[tap].node) == node {
      taps[tap].frameSize = Int32(bytes)
      disturbed(.largeFrames)
      portChanged(tap)
    }
  }

  public func hasCarrier(_ medium: Int) -> Bool { media[medium].taps.allSatisfy { taps[$0].hasCarrier } }

  /// Frames vanish, and no port shows it; those of one node only when it is named.
  public func setCut(_ medium: Int, _ isCut: Bool, from node: Int? = nil) {
    for tap in media[medium].taps where node == nil || Int(taps[tap].node) == node {
      guard taps[tap].isCut != isCut else { continue }
      taps[tap].isCut = isCut
      disturbed(!isCut ? .restored : node == nil ? .silent : .oneWay)
    }
  }

  /// Frames vanish in some direction.
  public func isCut(_ medium: Int) -> Bool { media[medium].taps.contains { taps[$0].isCut } }

  public func setQuality(_ medium: Int, _ quality: LinkQuality, from node: Int? = nil) {
    for tap in media[medium].taps where node == nil || Int(taps[tap].node) == node {
      guard taps[tap].quality != quality else { continue }
      taps[tap].quality = quality
      disturbed(quality.isFaultless ? .restored : .quality)
    }
  }

  public func setQualityEverywhere(_ quality: LinkQuality) {
    for medium in media.indices { setQuality(medium, quality) }
  }

  /// Longer frames are lost in this medium, which its ports do not know.
  public func setLargestFrame(_ medium: Int, _ bytes: Int) {
    media[medium].largestFrame = bytes
    disturbed(bytes == .max ? .restored : .largeFrames)
  }

  public var mediumCount: Int { media.count }
  public func ends(of medium: Int) -> [Int] { media[medium].taps.map { Int(taps[$0].node) } }
  public func media(of node: Int) -> [Int] { nodes[node].ports.map { $0.medium } }

  /// The nodes that run and that frames can reach from here, there and back, in order.
  public func connected(from start: Int) -> [Int] {
    guard nodes[start].isRunning else { return [] }
    var isFound = [Bool](repeating: false, count: nodes.count)
    isFound[start] = true
    var found = [start]
    var next = 0
    while next < found.count {
      for own in nodes[found[next]].taps where taps[Int(own)].hasCarrier && !taps[Int(own)].isCut {
        for other in media[Int(taps[Int(own)].medium)].taps where other != own {
          let node = Int(taps[other].node)
          if !isFound[node], nodes[node].isRunning, taps[other].hasCarrier, !taps[other].isCut {
            isFound[node] = true
            found.append(node)
          }
        }
      }
      next += 1
    }
    return found.sorted()
  }
}
