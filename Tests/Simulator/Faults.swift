// What can be done to a world: processes, cables, the quality of links, late loops.

import Core
import Crypto
import Node
import Store

extension World {
  /// Starts a node's process from its store.
  public func start(_ number: Int) {
    let box = nodes[number]
    guard box.running == nil else { return }
    let contents: StoreContents
    do throws(StoreError) {
      contents = try StoreContents(decoding: box.store)
    } catch {
      violated("node \(number) wrote a store that it cannot read: \(error.description)")
      return
    }
    var seed = Bytes32()
    seed.withMutableBytes { p in for i in 0..<32 { p[i] = UInt8(truncatingIfNeeded: random.next()) } }
    let pool = PacketPool(slabSize: SimulatedNode.slabSize, slabCount: poolSize)
    box.addresses = nil
    box.awaited = nil
    box.turn += 1
    box.running = RunningNode(
      Node(contents: contents, pool: pool, seed: seed, startingAt: box.own(now), renewal: renewal), pool)
    enter(box) { _ in }
    for index in box.ports.indices {
      let status = box.ports[index].status
      enter(box) { $0.portChanged(PortNumber(UInt16(index + 1)), status, at: box.own(now)) }
    }
  }

  public func startAll() { for box in nodes { start(box.number) } }

  /// Ends a node's process without a word: what it last wrote is all that stays.
  public func crash(_ number: Int) {
    let box = nodes[number]
    box.running = nil
    box.isPaused = false
    box.backlog = []
    box.awaited = nil
    box.addresses = nil
    box.turn += 1
  }

  /// Ends a node's process as a signal does.
  public func stop(_ number: Int) {
    let box = nodes[number]
    enter(box) { $0.shutdown(at: box.own(now)) }
    crash(number)
  }

  /// The node's loop does not run for this long.
  public func pause(_ number: Int, for length: Duration) {
    let box = nodes[number]
    guard box.running != nil, !box.isPaused else { return }
    box.isPaused = true
    schedule(.resume(node: number), at: now + length)
  }

  /// Carrier of all ports of a medium.
  public func setCarrier(_ medium: Int, _ isUp: Bool) {
    for tap in media[medium].taps {
      let box = nodes[tap.node]
      guard box.ports[tap.port].hasCarrier != isUp else { continue }
      box.ports[tap.port].hasCarrier = isUp
      let status = box.ports[tap.port].status
      guard box.running != nil else { continue }
      deliver(box) { $0.portChanged(PortNumber(UInt16(tap.port + 1)), status, at: $1) }
    }
  }

  /// The MTU of the port with which a node is at a medium.
  public func setFrameSize(_ medium: Int, of node: Int, _ bytes: Int) {
    for tap in media[medium].taps where tap.node == node {
      let box = nodes[node]
      box.ports[tap.port].frameSize = bytes
      let status = box.ports[tap.port].status
      if box.running != nil { deliver(box) { $0.portChanged(PortNumber(UInt16(tap.port + 1)), status, at: $1) } }
    }
  }

  public func hasCarrier(_ medium: Int) -> Bool {
    media[medium].taps.allSatisfy { nodes[$0.node].ports[$0.port].hasCarrier }
  }

  /// Frames vanish, and no port shows it.
  public func setCut(_ medium: Int, _ isCut: Bool) { media[medium].isCut = isCut }
  public func isCut(_ medium: Int) -> Bool { media[medium].isCut }

  public func setQuality(_ medium: Int, _ quality: LinkQuality, from node: Int? = nil) {
    for i in media[medium].taps.indices where node == nil || media[medium].taps[i].node == node {
      media[medium].taps[i].quality = quality
    }
  }

  public func setQualityEverywhere(_ quality: LinkQuality) {
    for medium in media.indices { setQuality(medium, quality) }
  }

  /// Longer frames are lost in this medium, which its ports do not know.
  public func setLargestFrame(_ medium: Int, _ bytes: Int) { media[medium].largestFrame = bytes }

  public var mediumCount: Int { media.count }
  public func ends(of medium: Int) -> [Int] { media[medium].taps.map { $0.node } }

  /// The nodes that run and that frames can reach from here.
  public func connected(from start: Int) -> [Int] {
    guard nodes[start].isRunning else { return [] }
    var found = [start]
    var next = 0
    while next < found.count {
      for medium in media where !medium.isCut && medium.taps.contains(where: { $0.node == found[next] }) {
        for tap in medium.taps
        where nodes[tap.node].isRunning && nodes[tap.node].ports[tap.port].hasCarrier && !found.contains(tap.node) {
          found.append(tap.node)
        }
      }
      next += 1
    }
    return found.sorted()
  }
}
