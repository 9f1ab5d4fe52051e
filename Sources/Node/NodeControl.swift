// Answers for `lifeline ctl`: one JSON document each (the command line of the architecture names the required fields).

import Beacon
import Bearer
import Core
import Crypto
import Membership
import Neighbour
import Onion
import Session
import Store
import Topology
import Wire

extension Node {
  public mutating func control(_ request: ControlRequest, at now: Instant) -> ControlAnswer {
    currentTime = now
    guard let command = request.words.first else { return .failure("no command given") }
    let argument = request.words.count > 1 ? request.words[1] : nil
    if isWord(command, "status") { return status(bearerIsUp: request.bearerIsUp, at: now) }
    if isWord(command, "nodes") { return nodes() }
    if isWord(command, "links") { return links() }
    if isWord(command, "neighbours") { return neighbours() }
    if isWord(command, "routes") { return routes(argument) }
    if isWord(command, "counters") { return allCounters() }
    if isWord(command, "accept") { return accept(request, at: now) }
    if isWord(command, "forget") { return forget(argument, at: now) }
    if isWord(command, "rekey") { return rekey(argument, at: now) }
    if let answer = council(command, request, at: now) { return answer }
    return .failure(
      "unknown command \(String(decoding: command, as: UTF8.self)): status, nodes, links, neighbours, routes, counters, "
        + "events, accept, forget, rekey, proposals, sign, remove, revoke")
  }

  /// An MA always; a component that has its address and reaches an MA. What the bearer device adds, the loop knows.
  public var isReady: Bool {
    if authority != nil { return true }
    return ownAddresses() != nil && uplinks.contains { isReached($0) }
  }

  /// Its session and the way back stand, the way's first link is up, and its beacons come: what happened further on the
  /// beacons show within 3.5 s.
  func isReached(_ uplink: Uplink) -> Bool {
    uplink.isReady && (uplink.channel.ways.main.map { isUp($0.egress) } ?? false)
      && !beacon.isSilent(authority: beaconPosition(uplink.channel.authorityIndex), at: currentTime)
  }

  private func status(bearerIsUp: Bool, at now: Instant) -> ControlAnswer {
    var json = JSONWriter()
    json.object { json in
      json.field("name", contents.name.description)
      json.field("id", identity.id.description)
      json.field("role", (authority == nil ? NodeRole.component : .authority).name)
      json.field("domain", descriptor.domain.description)
      json.field("epoch", Int(descriptor.epoch))
      json.field("ipv4", ownIPv4 == 0 ? nil : dottedQuad(ownIPv4))
      json.field("ipv6", ownAddresses() == nil ? nil : ipv6Text(ipv6Address(of: identity.id)))
      json.field("prefix", descriptor.prefix.description)
      json.field("ready", isReady && bearerIsUp)
      json.field("uptimeSeconds", Int((now - startedAt).milliseconds / 1_000))
      json.field("boot", Int(contents.bootCount))
      json.field("neighbours", neighbour.adjacencies.filter { $0.state == .up }.count)
      if authority != nil {
        json.field("members", contents.authority.members.filter { $0.state == .active }.count)
        json.field("reachable", channels.filter { !$0.isUplink && $0.isRouted }.count)
      }
      json.field("threshold", Int(descriptor.threshold))
      writeAuthorities(&json)
    }
    return .document(json.bytes)
  }

  // MARK: Nodes

  private func nodes() -> ControlAnswer {
    var json = JSONWriter()
    json.array { json in
      writeNode(
        &json, name: contents.name.description, id: identity.id,
        role: authority == nil ? .component : .authority, state: "authenticated", ipv4: ownIPv4, hops: 0)
      for uplink in uplinks where authority?.byID[uplink.channel.peer] == nil {
        writeNode(
          &json, name: authorityName(uplink.channel.authorityIndex), id: uplink.channel.peer, role: .authority,
          state: isReached(uplink) ? "authenticated" : "unreachable", ipv4: uplink.channel.ipv4, hops: nil)
      }
      if let authority {
        for member in contents.authority.members where member.state != .forgotten && member.id != identity.id {
          let number = authority.byID[member.id]
          let channel = number.map { channels[Int($0)] }
          let state: String
          if member.state == .revoked || descriptor.isRevoked(member.id) {
            state = "revoked"
          } else {
            state = channel?.isRouted == true && channel?.session != nil ? "authenticated" : "unreachable"
          }
          writeNode(
            &json, name: member.name.description, id: member.id, role: member.certificate.role, state: state,
            ipv4: member.opening.ipv4, hops: channel?.ways.main?.hops)
        }
      }
    }
    return .document(json.bytes)
  }

  private func writeNode(
    _ json: inout JSONWriter, name: String, id: ComponentID, role: NodeRole, state: String, ipv4: UInt32, hops: Int?
  ) {
    json.object { json in
      json.field("name", name)
      json.field("id", id.description)
      json.field("role", role.name)
      json.field("state", state)
      json.field("ipv4", ipv4 == 0 ? nil : dottedQuad(ipv4))
      json.field("ipv6", ipv6Text(ipv6Address(of: id)))
      if let hops {
        json.field("hops", hops)
      } else {
        json.key("hops")
        json.null()
      }
    }
  }

  // MARK: Links

  /// On an MA every link that both ends report; on a component its own.
  private func links() -> ControlAnswer {
    guard let authority else { return neighbours() }
    var json = JSONWriter()
    json.array { json in
      for link in authority.graph.confirmedLinks {
        json.object { json in
          json.field("from", nameOf(link.low.component) ?? link.low.component.description)
          json.field("fromPort", link.low.label.description)
          json.field("to", nameOf(link.high.component) ?? link.high.component.description)
          json.field("toPort", link.high.label.description)
          json.field("cost", Int(link.cost))
          // What this authority adds to it because the link loses frames; 0 for a good one.
          json.field("penalty", Int(authority.graph.penalty(of: link)))
          json.field("frameSize", Int(link.frameSize))
          json.field("roundTripMicroseconds", Int(max(link.low.roundTrip, link.high.roundTrip)))
          json.field("losses", Int(link.low.losses) + Int(link.high.losses))
        }
      }
    }
    return .document(json.bytes)
  }

  private func neighbours() -> ControlAnswer {
    var json = JSONWriter()
    json.array { json in
      for view in neighbour.adjacencies {
        json.object { json in
          json.field("adjacency", Int(view.number))
          json.field("port", portName(view.port))
          json.field("neighbour", nameOf(view.id) ?? view.id.description)
          json.field("id", view.id.description)
          json.field("state", stateText(view))
          json.field("cost", Int(view.cost))
          json.field("frameSize", view.frameSize)
          json.field("roundTripMicroseconds", Int(view.roundTrip))
          json.field("losses", view.losses)
          json.field("sent", view.sent)
          json.field("received", view.received)
          json.field("intervalMilliseconds", Int(view.interval))
        }
      }
    }
    return .document(json.bytes)
  }

  private func stateText(_ view: Adjacency) -> String {
    if case .down(let reason) = view.state {
      return "down: " + neighbour.describe(reason, frameSize: view.frameSize)
    }
    return text(view.state.text)
  }

  // MARK: Routes

  private func routes(_ wanted: [UInt8]?) -> ControlAnswer {
    guard let authority else { return uplinkRoutes(wanted) }
    if let wanted {
      guard let member = member(named: wanted) else { return unknownNode(wanted) }
      return explain(member, channels.first { !$0.isUplink && $0.peer == member.id }, authority)
    }
    var json = JSONWriter()
    json.array { json in
      for channel in channels where !channel.isUplink {
        guard let admission = authority.admissions[channel.number] else { continue }
        json.object { json in
          json.field("node", String(decoding: channel.name, as: UTF8.self))
          json.field("state", channel.isRouted ? "installed" : "none")
          writePath(&json, channel.isRouted ? admission.path : nil)
          writeWays(&json, channel, admission)
        }
      }
    }
    return .document(json.bytes)
  }

  private func writePath(_ json: inout JSONWriter, _ path: TopologyPath?) {
    json.key("hops")
    if let path { json.integer(path.links.count) } else { json.null() }
    json.key("cost")
    if let path { json.integer(path.cost) } else { json.null() }
    json.key("frameSize")
    if let path { json.integer(path.frameSize) } else { json.null() }
    json.key("path")
    json.array { json in
      for link in path?.links ?? [] { json.string(nameOf(link.to) ?? link.to.description) }
    }
  }

  /// Every place: what is sent by it now, and on an MA where it leads.
  private func writeWays(_ json: inout JSONWriter, _ channel: Channel, _ admission: Admission?) {
    json.key("ways")
    json.array { json in
      for (place, way) in channel.ways.places.enumerated() {
        guard let way else { continue }
        json.object { json in
          json.field("place", place)
          json.field("carries", carried(way, channel))
          json.field("state", state(of: way, channel))
          json.field("port", neighbour.adjacency(way.egress).map { portName($0.port) })
          if let admission, place < admission.laid.count {
            writePath(&json, admission.laid[place].path)
          } else {
            json.field("frameSize", way.frameSize)
          }
        }
      }
    }
  }

  private func state(of way: Way, _ channel: Channel) -> String {
    if !isUp(way.egress) { return "down" }
    if way.isInDoubt(at: currentTime) { return "broken" }
    // Nothing is heard of what is at its end.
    if channel.isUplink, beacon.isSilent(authority: beaconPosition(channel.authorityIndex), at: currentTime) {
      return "silent"
    }
    return "good"
  }

  private func carried(_ way: Way, _ channel: Channel) -> String {
    let isProtected = channel.ways.uses(way, .protected)
    if way === channel.ways.main { return isProtected ? "all" : "bulk" }
    return isProtected ? "protected" : "nothing"
  }

  private func explain(_ member: Member, _ channel: Channel?, _ authority: AuthorityState) -> ControlAnswer {
    let paths = authority.graph.explain(to: member.id)
    var json = JSONWriter()
    json.object { json in
      json.field("node", member.name.description)
      json.field(
        "rule", "lowest cost, then the largest frame size, then the fewest hops, then the lowest identifiers")
      json.key("candidates")
      json.array { json in
        for (rank, path) in paths.enumerated() {
          json.object { json in
            json.field("chosen", rank == 0)
            writePath(&json, path)
            json.field("why", rank == 0 ? "the best of all paths" : whyNot(path, best: paths[0]))
          }
        }
      }
      // Those are reasons; what frames go by are the routes laid.
      if let channel { writeWays(&json, channel, authority.admissions[channel.number]) }
    }
    return .document(json.bytes)
  }

  private func whyNot(_ path: TopologyPath, best: TopologyPath) -> String {
    if path.cost > best.cost { return "costs \(path.cost), the chosen one \(best.cost)" }
    if path.frameSize < best.frameSize {
      return "carries frames of \(path.frameSize) bytes, the chosen one of \(best.frameSize)"
    }
    if path.links.count > best.links.count {
      return "has \(path.links.count) hops, the chosen one \(best.links.count)"
    }
    return "is equal; the chosen one's identifiers are lower"
  }

  /// A component knows the ways to its authorities only.
  private func uplinkRoutes(_ wanted: [UInt8]?) -> ControlAnswer {
    var json = JSONWriter()
    guard let wanted else {
      json.array { json in
        for uplink in uplinks { json.object { json in writeRoutes(&json, uplink.channel) } }
      }
      return .document(json.bytes)
    }
    for uplink in uplinks where authorityName(uplink.channel.authorityIndex).utf8.elementsEqual(wanted) {
      json.object { json in writeRoutes(&json, uplink.channel) }
      return .document(json.bytes)
    }
    if isOwn(wanted) { return unknownNode(wanted) }
    return .failure(
      "no route to \(String(decoding: wanted, as: UTF8.self)) here: a component knows those to its authorities")
  }

  private func writeRoutes(_ json: inout JSONWriter, _ channel: Channel) {
    json.field("node", authorityName(channel.authorityIndex))
    json.field("state", channel.isRouted ? "installed" : "none")
    let main = channel.ways.main
    json.field("port", main.flatMap { neighbour.adjacency($0.egress) }.map { portName($0.port) })
    json.field("frameSize", main?.frameSize ?? 0)
    writeWays(&json, channel, nil)
  }

  // MARK: Members

  /// By name or ID; of two that were given one name the one that keeps it.
  func member(named name: [UInt8]) -> Member? {
    var found: Member?
    for member in contents.authority.members where member.state != .forgotten {
      if member.id.description.utf8.elementsEqual(name) { return member }
      if !member.name.bytes.elementsEqual(name) { continue }
      if let found, !member.precedes(found) { continue }
      found = member
    }
    return found
  }

  private func isOwn(_ name: [UInt8]) -> Bool {
    contents.name.bytes.elementsEqual(name) || identity.id.description.utf8.elementsEqual(name)
  }

  func unknownNode(_ name: [UInt8]) -> ControlAnswer {
    if isOwn(name) { return .failure("\(contents.name.description) is this node itself") }
    return .failure("no node \(String(decoding: name, as: UTF8.self)): lifeline ctl nodes lists them")
  }

  private mutating func forget(_ name: [UInt8]?, at now: Instant) -> ControlAnswer {
    guard authority != nil else { return .failure("only an authority can forget a node") }
    guard let name else { return .failure("forget what? lifeline ctl forget NODE") }
    guard let member = member(named: name) else { return unknownNode(name) }
    guard member.id != identity.id else { return .failure("this node does not forget itself") }
    do throws(StoreError) {
      _ = try contents.forget(member.id)
    } catch {
      return .failure(error.description)
    }
    persist(promising: true)
    drop(member.id, at: now)
    memberChanged(member.id, at: now)
    report(.notice, "\(member.name.description) is forgotten")
    settle(at: now)
    let others = contents.forgetQuorum - 1
    var json = JSONWriter()
    json.object { json in
      json.field("forgotten", member.name.description)
      json.field("id", member.id.description)
      // Until as many have given it up, the other authorities go on serving it.
      if others > 0 { json.field("otherAuthoritiesNeeded", others) }
    }
    return .document(json.bytes)
  }

  /// New keys for the sessions with one node or with all, as soon as the keys before the present ones are forgotten.
  private mutating func rekey(_ name: [UInt8]?, at now: Instant) -> ControlAnswer {
    guard let authority else { return .failure("only an authority renews keys: run this on the MA") }
    var wanted: UInt32?
    if let name {
      guard let member = member(named: name) else { return unknownNode(name) }
      guard let number = authority.byID[member.id], channels[Int(number)].session != nil else {
        return .failure("there is no session with \(member.name.description): it gets new keys when it is back")
      }
      wanted = number
    }
    var count = 0
    for channel in channels
    where !channel.isUplink && channel.session != nil && (wanted ?? channel.number) == channel.number {
      requestRenewal(channel, at: now)
      count += 1
    }
    settle(at: now)
    var json = JSONWriter()
    json.object { json in json.field("renewing", count) }
    return .document(json.bytes)
  }

  func isWord(_ word: [UInt8], _ text: StaticString) -> Bool {
    word.elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  func text(_ words: StaticString) -> String {
    String(decoding: UnsafeBufferPointer(start: words.utf8Start, count: words.utf8CodeUnitCount), as: UTF8.self)
  }
}

/// RFC 5952 text, without the shortening of the longest run of zeros where it is a single group.
func ipv6Text(_ address: Bytes16) -> String {
  var groups: [UInt16] = []
  address.withBytes { p in for i in 0..<8 { groups.append(UInt16(p[2 * i]) << 8 | UInt16(p[2 * i + 1])) } }
  var best = (start: 0, count: 0)
  var i = 0
  while i < 8 {
    var j = i
    while j < 8, groups[j] == 0 { j += 1 }
    if j - i > best.count, j - i > 1 { best = (i, j - i) }
    i = max(j, i + 1)
  }
  var out = ""
  var k = 0
  while k < 8 {
    if best.count > 0, k == best.start {
      out += "::"
      k += best.count
      continue
    }
    if k > 0, !(best.count > 0 && k == best.start + best.count) { out += ":" }
    out += hexadecimalDigits(groups[k])
    k += 1
  }
  return out
}

private func hexadecimalDigits(_ value: UInt16) -> String {
  var digits: [UInt8] = []
  var rest = value
  repeat {
    let nibble = UInt8(rest & 15)
    digits.append(nibble < 10 ? 48 + nibble : 87 + nibble)
    rest >>= 4
  } while rest != 0
  return String(decoding: digits.reversed(), as: UTF8.self)
}
