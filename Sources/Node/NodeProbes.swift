// Probes: whether a way that is in use carries frames of full size to its end (docs/PROTOCOL.md §5, "Probes"). Hellos tell of
// links; a node that passes hellos and drops what it should pass on shows only here. On the way a probe is a frame
// like those it goes with; the answer goes by two ways where there are two, so that what is judged is the way there.
//
// They go out with the traffic and need no timer: a way nobody uses costs nothing.

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

/// What a source knows of one way from probes.
struct WayProbing {
  /// Between two probes of a way that carries traffic; longer where the answers take longer.
  static let pace = Duration.milliseconds(200)
  /// So many in a row without an answer, and another way is taken.
  static let lossLimit = 3
  /// For how long then: what drops frames and passes hellos mends itself seldom.
  static let doubt = Duration.seconds(60)

  var nextProbe = Instant.zero
  /// Number of the last probe, and whether it was answered.
  var number: UInt32 = 0
  var isOpen = false
  var sentAt = Instant.zero
  var lost = 0
  /// In the onion headers of the last probes that were lost in a row.
  var lostCounters: [UInt32] = []
  var counter: UInt32 = 0
  /// The class of the last probe.
  var traffic = FrameClass.bulk
  var roundTrip = Duration.zero
}

extension Node {
  /// With a frame that goes by this way: a probe, when one is due.
  @inline(__always)
  mutating func probe(_ way: Way, _ onionClass: OnionClass, of channel: Channel, at now: Instant) {
    if now < way.probing.nextProbe { return }
    sendProbe(way, onionClass, of: channel, at: now)
  }

  @inline(never)
  private mutating func sendProbe(_ way: Way, _ onionClass: OnionClass, of channel: Channel, at now: Instant) {
    if way.probing.isOpen {
      way.probing.lost += 1
      way.probing.lostCounters = way.probing.lostCounters.suffix(WayProbing.lossLimit - 1) + [way.probing.counter]
      counters.probesLost &+= 1
      if way.probing.lost >= WayProbing.lossLimit, leaveSilently(way, of: channel, at: now) { return }
    }
    guard let session = channel.session,
      let buffer = probeFrame(
        way.builder, frameSize: way.frameSize, session: session, class: onionClass, number: way.probing.number &+ 1)
    else { return }
    way.probing.number &+= 1
    way.probing.isOpen = true
    way.probing.counter = way.builder.counter
    way.probing.traffic = onionClass.traffic
    way.probing.sentAt = now
    way.probing.nextProbe = now + max(WayProbing.pace, way.probing.roundTrip * 2)
    counters.probesSent &+= 1
    if sendOnion(buffer, size: way.builder.size, on: way.egress, at: now) { return }
    pool.give(buffer)
  }

  /// A PROBE that fills a route's frame size, link header apart; nil when there is no buffer, or no more of the route.
  func probeFrame(
    _ builder: OnionBuilder, frameSize: Int, session: SecureSession, class onionClass: OnionClass, number: UInt32
  ) -> PacketBuffer? {
    guard var buffer = pool.take() else { return nil }
    let offset = builder.size.endToEnd
    let payloadSize = frameSize - offset - SessionLayout.overhead
    let count = SessionLayout.segment + payloadSize
    guard payloadSize >= 9, buffer.tailRoom >= offset + SessionLayout.overhead + payloadSize,
      builder.build(buffer.bytes, class: onionClass)
    else {
      pool.give(buffer)
      return nil
    }
    let frame = buffer.bytes + offset
    let plain = frame + SessionLayout.header
    for i in 0..<count { plain[i] = 0 }
    plain[SessionLayout.segment] = ControlType.probe.rawValue
    store(builder.route, plain + SessionLayout.segment + 1)
    store(number, plain + SessionLayout.segment + 5)
    buffer.count = offset + session.seal(frame, count: count, space: .bulk)
    return buffer
  }

  /// Three probes in a row were lost: another way is taken, where there is one. True when the way is left.
  private mutating func leaveSilently(_ way: Way, of channel: Channel, at now: Instant) -> Bool {
    way.probing.lost = 0
    way.probing.isOpen = false
    suspect(way, of: channel, at: now)
    way.probing.lostCounters = []
    guard channel.ways.hasOther(than: way, at: now, isUp: { neighbour.isUp($0) }) else { return false }
    way.doubtEnds = max(way.doubtEnds, now + WayProbing.doubt)
    counters.waysSilent &+= 1
    report(
      .warning,
      "a way to \(String(decoding: channel.name, as: UTF8.self)) loses frames while all its links are up: another is taken"
    )
    chooseWays(channel, at: now)
    return true
  }

  /// PROBE: what came in full size is answered in few bytes. `body` is the message without its type byte.
  mutating func answerProbe(_ body: Span<UInt8>, on channel: Channel, at now: Instant) throws(WireError) {
    guard body.count >= 8 else { throw .truncated(neededBytes: 8, haveBytes: body.count) }
    guard channel.probes.takeIfAvailable(at: now) else {
      counters.probesOverBudget &+= 1
      return
    }
    var answer = [ControlType.probed.rawValue]
    for i in 0..<8 { answer.append(body[i]) }
    sendDatagram(answer, on: channel, at: now)
  }

  /// PROBED: the way carries.
  func takeProbed(_ body: Span<UInt8>, on channel: Channel, at now: Instant) throws(WireError) {
    var reader = ByteReader(body)
    let route = try reader.u32()
    let number = try reader.u32()
    guard reader.remaining == 0 else { throw .invalid(field: StaticFieldName("probed length")) }
    guard let way = channel.ways.way(of: route) else { return }
    way.probing.lost = 0
    way.probing.lostCounters = []
    guard way.probing.isOpen, number == way.probing.number else { return }
    way.probing.isOpen = false
    way.probing.roundTrip = now - way.probing.sentAt
  }
}

@inline(__always)
private func store(_ value: UInt32, _ p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.bigEndian, as: UInt32.self)
}
