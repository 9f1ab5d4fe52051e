// Decoders of Wire, Topology and Runtime: values from bytes, and back to the same bytes.

import Beacon
import Core
import InsiderKit
import Onion
import Topology
import Wire

@testable import Runtime

let wireTargets = [
  FuzzTarget(name: "messages", limit: 2_048, run: fuzzMessages),
  FuzzTarget(name: "lsa", limit: 4_096, run: fuzzAdvertisements),
  FuzzTarget(name: "ip", limit: 512, run: fuzzHeaders),
  FuzzTarget(name: "json", limit: 2_048, run: fuzzJSON),
  FuzzTarget(name: "control", limit: 4_096, run: fuzzControlProtocol),
  FuzzTarget(name: "netlink", limit: 4_096, run: fuzzNetlink),
]

/// RELAY, ATTACH, TOWARD, what hands descriptors on, and every message of a session, chosen by the first byte.
let messageKinds = 16

private func fuzzMessages(_ input: UnsafeBufferPointer<UInt8>) {
  guard let first = input.first else { return }
  let bytes = Array(input.dropFirst())
  switch first % UInt8(messageKinds) {
  case 0: fuzzRelay(bytes)
  case 1: fuzzAttach(bytes)
  case 2: fuzzToward(bytes)
  case 3: fuzzRelayUp(bytes)
  case 4: fuzzRelayDown(bytes)
  case 5: fuzzWelcome(bytes)
  case 6: fuzzPresent(bytes)
  case 7: fuzzAsk(bytes)
  case 8: fuzzPiece(bytes)
  case 9: fuzzStanding(bytes)
  case 10: fuzzDetours(bytes)
  case 11: fuzzShares(bytes)
  case 12: fuzzSuspect(bytes)
  case 13: fuzzTrace(bytes)
  case 14: fuzzTraced(bytes)
  default: fuzzReturnRoute(bytes)
  }
}

// A function for each: in one, the optimizer of Swift 6.3.1 stops at the spans of arrays under typed errors.

@inline(never)
private func fuzzRelay(_ bytes: [UInt8]) {
  guard let message = try? RelayMessage(decoding: bytes.span) else { return }
  require(message.encode() == bytes, "a relay message is kept")
}

@inline(never)
private func fuzzAttach(_ bytes: [UInt8]) {
  guard let message = try? AttachRequest(decoding: bytes.span) else { return }
  require(message.encode() == bytes, "an attach request is kept")
}

@inline(never)
private func fuzzToward(_ bytes: [UInt8]) {
  guard let message = try? TowardMessage(decoding: bytes.span) else { return }
  require(message.encode() == bytes, "a toward message is kept")
}

@inline(never)
private func fuzzRelayUp(_ bytes: [UInt8]) {
  guard let message = try? RelayUp(decoding: bytes.span) else { return }
  require(message.encode().dropFirst().elementsEqual(bytes), "RELAY UP is kept")
}

@inline(never)
private func fuzzRelayDown(_ bytes: [UInt8]) {
  guard let message = try? RelayDown(decoding: bytes.span) else { return }
  require(message.encode().dropFirst().elementsEqual(bytes), "RELAY DOWN is kept")
}

@inline(never)
private func fuzzWelcome(_ bytes: [UInt8]) {
  guard let message = try? Welcome(decoding: bytes.span) else { return }
  require(message.encode().dropFirst().elementsEqual(bytes), "WELCOME is kept")
}

@inline(never)
private func fuzzPresent(_ bytes: [UInt8]) {
  guard let message = try? Present(decoding: bytes.span) else { return }
  require(message.encode().dropFirst().elementsEqual(bytes), "PRESENT is kept")
}

@inline(never)
private func fuzzAsk(_ bytes: [UInt8]) {
  guard let message = try? SuccessionAsk(decoding: bytes.span) else { return }
  require(message.encode() == bytes, "ASK is kept")
}

@inline(never)
private func fuzzPiece(_ bytes: [UInt8]) {
  guard let message = try? SuccessionPiece(decoding: bytes.span) else { return }
  require(message.encode() == bytes, "PIECE is kept")
}

@inline(never)
private func fuzzStanding(_ bytes: [UInt8]) {
  guard let message = try? SuccessionStanding(decoding: bytes.span) else { return }
  require(message.encode() == bytes, "STANDING is kept")
}

/// A part of a detour table, kept, and taken into a table whose limits hold.
@inline(never)
private func fuzzDetours(_ bytes: [UInt8]) {
  guard let part = try? DetourPart(decoding: bytes.span) else { return }
  require(part.encode().dropFirst().elementsEqual(bytes), "DETOURS is kept")
  let table = Detours()
  for round in 0..<3 as Range<Int64> {
    let now = Instant.zero + .seconds(4 * round)
    _ = table.install(part, at: now)
    for head in part.heads.prefix(8) { _ = table.head(egress: head.egress, onward: head.onward) }
    for step in part.steps.prefix(8) { _ = table.step(ingress: step.ingress, label: step.label, at: now) }
  }
  require(
    table.headCount <= DetourPart.headLimit && table.stepCount <= Detours.stepLimit, "detours are within limits")
}

@inline(never)
private func fuzzShares(_ bytes: [UInt8]) {
  guard let shares = try? SuccessorShare.decode(bytes.span) else { return }
  require(SuccessorShare.encode(shares[...]).dropFirst().elementsEqual(bytes), "SUCCESSORS is kept")
  let table = Detours()
  for _ in 0..<3 { table.install(shares) }
  require(table.shareCount <= min(shares.count, Detours.shareLimit), "shares are within limits")
}

@inline(never)
private func fuzzSuspect(_ bytes: [UInt8]) {
  guard let notice = try? SuspectNotice(decoding: bytes.span) else { return }
  require(notice.encode().dropFirst().elementsEqual(bytes), "SUSPECT is kept")
}

@inline(never)
private func fuzzTrace(_ bytes: [UInt8]) {
  guard let request = try? TraceRequest(decoding: bytes.span) else { return }
  require(request.encode().dropFirst().elementsEqual(bytes), "TRACE is kept")
}

@inline(never)
private func fuzzTraced(_ bytes: [UInt8]) {
  guard let answer = try? TraceAnswer(decoding: bytes.span) else { return }
  require(answer.encode().dropFirst().elementsEqual(bytes), "TRACED is kept")
}

@inline(never)
private func fuzzReturnRoute(_ bytes: [UInt8]) {
  guard let route = try? ReturnRoute(decoding: bytes.span) else { return }
  let again = Array(route.encode().dropFirst())
  guard let decoded = try? ReturnRoute(decoding: again.span) else { fatalError("a way back is read again") }
  require(decoded == route, "a way back is kept")
}

@inline(never)
private func fuzzAdvertisement(_ bytes: [UInt8]) -> LinkStateAdvertisement? {
  guard let advertisement = try? LinkStateAdvertisement(decoding: bytes.span) else { return nil }
  let encoded = advertisement.encode()
  guard let again = try? LinkStateAdvertisement(decoding: encoded.span) else { fatalError("an LSA is read again") }
  require(again == advertisement, "an LSA is kept")
  return advertisement
}

/// Several LSAs, each with a length before it and from a component chosen by a byte, into one graph.
private func fuzzAdvertisements(_ input: UnsafeBufferPointer<UInt8>) {
  var choices = Choices(bytes: copy(input))
  var graph = TopologyGraph(root: ComponentID(nonce(0)), nodeLimit: 4)
  var now = Instant.zero
  graph.installRoot(adjacencies: [
    LinkStateAdvertisement.Adjacency(
      number: 1, neighbour: ComponentID(nonce(1)), neighbourNumber: 1, frameSize: 1_500, cost: 10)
  ])
  while !choices.isExhausted {
    let sender = ComponentID(nonce(choices.u8() & 7))
    let bytes = choices.array(min(Int(choices.u16()), input.count))
    now = now + .milliseconds(1)
    if let advertisement = fuzzAdvertisement(bytes) { _ = graph.install(advertisement, from: sender, at: now) }
    let choice = choices.u8()
    if choice & 1 == 1 { _ = graph.recompute() }
    if choice & 2 == 2 { _ = graph.nextAlternates(budget: Int(choice)) }
    if choice & 4 == 4 { _ = graph.nextDetours(budget: Int(choice)) }
    if choice & 24 == 24 { graph.ageDetours() }
    if choices.u8() & 7 == 7 { graph.remove(sender) }
  }
  _ = graph.recompute()
  while graph.hasPendingAlternates { _ = graph.nextAlternates(budget: 1_000) }
  while graph.hasPendingDetours { _ = graph.nextDetours(budget: 1_000) }
  for i in 0..<8 as Range<UInt8> {
    let id = ComponentID(nonce(i))
    if let path = graph.path(to: id) {
      require(path.links.count <= 64, "a path has at most 64 links")
    }
    for path in graph.routes(to: id).paths { require(path.links.count <= 64, "an alternate has at most 64 links") }
    for step in graph.detours(of: id).steps { require(step.label != 0, "a step has a label") }
    _ = graph.explain(to: id)
  }
}

private func fuzzHeaders(_ input: UnsafeBufferPointer<UInt8>) {
  let bytes = copy(input)
  withExactBlock(bytes) { block, count in
    let raw = UnsafeRawBufferPointer(start: block, count: count)
    do throws(WireError) { _ = try VirtioNetHeader(decoding: raw) } catch {}
    do throws(WireError) {
      let layout = try IPLayout(UnsafeRawPointer(block), readable: count)
      _ = layout.source(of: block)
      _ = layout.destination(of: block)
    } catch {}
    do throws(WireError) {
      _ = try trimTrailing(UnsafeMutableRawBufferPointer(start: block, count: count))
    } catch {}
    _ = InternetChecksum.of(block, count: count)
  }
  _ = ProbeReading(bytes)
}

/// Strict, and what it renders it reads again.
private func fuzzJSON(_ input: UnsafeBufferPointer<UInt8>) {
  do throws(JSONError) {
    let value = try JSONValue(decoding: copy(input))
    _ = JSONRendering.text(of: value)
  } catch {}
}

/// The control socket's requests.
private func fuzzControlProtocol(_ input: UnsafeBufferPointer<UInt8>) {
  let bytes = copy(input)
  guard let request = try? ControlProtocol.decode(bytes.span) else { return }
  require(ControlProtocol.encode(request).dropFirst(4).elementsEqual(bytes), "a request is kept")
}

/// What the kernel says.
private func fuzzNetlink(_ input: UnsafeBufferPointer<UInt8>) {
  let bytes = copy(input)
  var messages = NetlinkMessages(bytes, count: bytes.count)
  while let message = messages.next() {
    _ = message.errorCode
    _ = LinkRecord(message)
    _ = AddressRecord(message)
    _ = RouteRecord(message)
    _ = RuleRecord(message)
    _ = FilterChain(message)
    _ = FilterRule(message)
  }
}
