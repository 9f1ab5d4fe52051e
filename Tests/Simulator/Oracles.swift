// What must hold in every run, whatever happens in it. Looked at after every event where that is cheap (loops, buffers,
// deliveries: in Turns and Traffic); tables, authentication and repair every 10 ms, each node's tables once a second.

import Core
import Node

/// What a fault is, as the table of what a failure may cost knows it.
public enum FaultKind: Int, Sendable, CaseIterable {
  case carrier, silent, oneWay, largeFrames, nodeDown, nodeFrozen, greyHole, quality, clock, restored
}

/// The longest gap of a flow after a fault of each kind, while some path is left.
public struct RepairLimits: Sendable {
  private var limits = [Duration](repeating: .milliseconds(75), count: FaultKind.allCases.count)

  public init() {
    self[.carrier] = .milliseconds(5)
    self[.oneWay] = .milliseconds(95)
    self[.largeFrames] = .seconds(3)
    self[.greyHole] = .seconds(1)
  }

  public subscript(_ kind: FaultKind) -> Duration {
    get { limits[kind.rawValue] }
    set { limits[kind.rawValue] = newValue }
  }

  /// Every limit longer by this.
  public func with(allowance: Duration) -> RepairLimits {
    var looser = self
    for kind in FaultKind.allCases { looser[kind] = looser[kind] + allowance }
    return looser
  }
}

/// What the oracles hold a run to.
public struct Rules: Sendable {
  /// How often one node may pass on the same copy of a frame.
  public var visitsAllowed = 1
  /// After so long without a fault all that is connected must be authenticated; nil: not asked.
  public var authentication: Duration?
  /// What a flow may lose; nil: not asked.
  public var repair: RepairLimits?
  /// How long after a way came back, or an end of the flow, that flow must stand.
  public var reconnection = Duration.seconds(5)

  public init() {}
}

/// What the oracles remember.
struct Watch {
  static let pace = Duration.milliseconds(10)

  /// Of the next look, ns.
  var due: UInt64 = 0
  /// The node whose tables come next.
  var nextNode = 0
  var lastFault = World.beginning
  var lastKind = FaultKind.restored
  /// Faults since, of all kinds: the longest limit counts.
  var connectionsAreStale = true
  var authenticationDue = Instant.never
  var isBlamed = false
}

extension World {
  /// Something was done to the world that a node may need time for.
  func disturbed(_ kind: FaultKind) {
    // What falls together is judged by the worst of it.
    if watch.lastFault == now, let repair = rules.repair, repair[watch.lastKind] > repair[kind] {
      watch.connectionsAreStale = true
      return
    }
    watch.lastFault = now
    watch.lastKind = kind
    watch.connectionsAreStale = true
    watch.isBlamed = false
    if let patience = rules.authentication { watch.authenticationDue = now + patience }
  }

  /// Called while time passes.
  @inline(never)
  func lookAround() {
    watch.due = (now + Watch.pace).nanoseconds
    let share = (nodes.count + 99) / 100
    for _ in 0..<min(share, nodes.count) {
      watch.nextNode = watch.nextNode + 1 < nodes.count ? watch.nextNode + 1 : 0
      checkTables(of: nodes[watch.nextNode])
    }
    if rules.repair != nil { checkFlows() }
    if let patience = rules.authentication {
      if watch.authenticationDue == .never { watch.authenticationDue = watch.lastFault + patience }
      if now >= watch.authenticationDue {
        watch.authenticationDue = now + .seconds(1)
        checkAuthentication()
      }
    }
  }

  // MARK: Loops

  /// The trail of a frame that `box` passes on; nil when it has been here too often.
  func follow(_ trail: Int32, _ box: SimulatedNode) -> Int32? {
    if trails.visits(trail, of: box.number) >= rules.visitsAllowed {
      let way = (trails.nodes(trail) + [box.number]).map { "\($0)" }.joined(separator: " ")
      violated("passes the same frame on again: it went \(way)", at: box.number)
      return nil
    }
    return trails.extend(trail, by: box.number)
  }

  // MARK: Tables

  /// What may not grow is within its limit. Called for every node once a second, and at the end of a run.
  public func checkTables() { for box in nodes { checkTables(of: box) } }

  func checkTables(of box: SimulatedNode) {
    guard let running = box.running else { return }
    running.storage.pointee.forEachTable { name, count, limit in
      if count > limit { violated("\(name) holds \(count), the limit is \(limit)", at: box.number) }
    }
    if running.storage.pointee.outputsLost > 0 { violated("lost outputs of its own", at: box.number) }
    if poolSize >= 768, running.storage.pointee.poolWasEmpty { violated("found its pool empty", at: box.number) }
  }

  // MARK: Authentication

  /// Nothing that a fault left in force keeps a connected node from its MA.
  private var isSettled: Bool {
    nodes.allSatisfy { !$0.isPaused && !$0.clock.isStill && $0.conduct == .honest }
      && taps.allSatisfy { $0.isCut || !$0.hasCarrier || $0.quality.isFaultless }
      && media.allSatisfy { $0.largestFrame == .max || isDead($0) }
  }

  private func isDead(_ medium: Medium) -> Bool {
    medium.taps.allSatisfy { taps[$0].isCut || !taps[$0].hasCarrier }
  }

  private func checkAuthentication() {
    guard !watch.isBlamed, isSettled else { return }
    for authority in authorities where nodes[authority].isRunning {
      for number in connected(from: authority) where number != authority {
        if isAuthenticated(number, by: authority) { continue }
        watch.isBlamed = true
        violated(
          "is connected to MA \(authority) and not authenticated \((now - watch.lastFault).milliseconds) ms after the last fault",
          at: number)
        break
      }
    }
  }

  /// Both ends hold session and route.
  public func isAuthenticated(_ number: Int, by authority: Int) -> Bool {
    guard let above = nodes[authority].running, let below = nodes[number].running else { return false }
    return above.storage.pointee.reaches(below.storage.pointee.id)
      && below.storage.pointee.isReached(by: above.storage.pointee.id)
  }

  // MARK: Repair

  private func checkFlows() {
    if watch.connectionsAreStale {
      watch.connectionsAreStale = false
      for i in traffic.flows.indices { traffic.flows[i].isConnected(areConnected(traffic.flows[i]), now) }
    }
    for i in traffic.flows.indices { checkFlow(i) }
  }

  private func areConnected(_ flow: Traffic.Flow) -> Bool {
    guard nodes[flow.source].isRunning, nodes[flow.destination].isRunning else { return false }
    return connected(from: flow.source).contains(flow.destination)
  }

  /// A flow's packets come, or something happened lately that excuses them.
  private func checkFlow(_ i: Int) {
    guard let repair = rules.repair, let connectedSince = traffic.flows[i].connectedSince else { return }
    let flow = traffic.flows[i]
    guard flow.isRunning, !flow.isBlamed else { return }
    if now - max(connectedSince, flow.startedAt) < rules.reconnection { return }
    guard let last = flow.arrivals.last else { return }
    // A fault begins a gap only while packets came; what stands since then counts from the fault.
    let from = max(last, watch.lastFault)
    let limit = repair[watch.lastKind] + flow.interval * 2 + flow.propagation * 2 + Watch.pace
    if now - from > limit {
      traffic.flows[i].isBlamed = true
      violated(
        "flow \(flow.source) to \(flow.destination) stands still \((now - from).milliseconds) ms after \(watch.lastKind), the limit is "
          + "\(limit.milliseconds) ms", at: flow.destination)
    }
  }
}
