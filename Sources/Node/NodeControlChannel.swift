// The control channel of a session: datagrams and the reliable stream, both ways.

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
  /// Sends what the stream has due. An MA may have as much to say at once as it has components: what finds the pool nearly
  /// empty waits for the next turn, a millisecond later, when the loop has sent what there is.
  mutating func pump(_ channel: Channel, at now: Instant) {
    guard channel.session != nil, !channel.stream.isSilent else { return }
    while pool.freeCount >= min(Node.bufferReserve, pool.slabCount / 4),
      let send = channel.stream.nextSend(at: now, onlyAcknowledging: isPromising)
    {
      switch send {
      case .chunk(let number, let isLast, let bytes, let attempt):
        sendSegment(
          kind: SegmentKind.chunk, flags: isLast ? 1 : 0, word: number, payload: bytes, on: channel, attempt: attempt,
          at: now)
      case .acknowledgement(let next, let bitmap):
        // Acknowledgements take the way the chunks take. Of chunks that are repeated every second one is acknowledged by the
        // other way: when all ways back are stale, the MA cannot give better ones before it knows that its window is free.
        sendSegment(
          kind: SegmentKind.acknowledgement, flags: 0, word: next, payload: bigEndian(bitmap), on: channel,
          attempt: channel.stream.repetitions % 2 == 0 ? 1 : 2, at: now)
      }
    }
  }

  mutating func sendDatagram(_ message: [UInt8], on channel: Channel, at now: Instant) {
    sendSegment(
      kind: SegmentKind.datagram, flags: 0, word: 0, payload: message, on: channel, attempt: 1, at: now)
  }

  /// A decrypted segment that is not IP.
  mutating func receiveControl(
    _ plain: UnsafeMutablePointer<UInt8>, count: Int, space: SequenceSpace, on channel: Channel, at now: Instant
  ) {
    // A probe looks like bulk traffic; nothing else does that is not IP.
    let isProbe =
      plain[0] >> 4 == SegmentKind.datagram && count > SessionLayout.segment
      && plain[SessionLayout.segment] == ControlType.probe.rawValue
    guard (space == .bulk) == isProbe, space != .protected else {
      counters.controlInvalid &+= 1
      return
    }
    let word = UInt32(bigEndian: UnsafeRawPointer(plain + 1).loadUnaligned(as: UInt32.self))
    let payload = UnsafeBufferPointer(start: plain + SessionLayout.segment, count: count - SessionLayout.segment)
    switch plain[0] >> 4 {
    case SegmentKind.datagram: dispatch(Array(payload), on: channel, at: now)
    case SegmentKind.chunk:
      channel.stream.receiveChunk(number: word, isLast: plain[0] & 1 != 0, bytes: Array(payload))
      while let message = channel.stream.nextMessage() { dispatch(message, on: channel, at: now) }
    case SegmentKind.acknowledgement:
      guard payload.count == 4 else {
        counters.controlInvalid &+= 1
        return
      }
      let bitmap = UInt32(bigEndian: UnsafeRawPointer(payload.baseAddress!).loadUnaligned(as: UInt32.self))
      channel.stream.receiveAcknowledgement(next: word, bitmap: bitmap, at: now)
    default: counters.controlInvalid &+= 1
    }
  }

  private mutating func dispatch(_ message: [UInt8], on channel: Channel, at now: Instant) {
    guard let first = message.first, let type = ControlType(rawValue: first) else {
      counters.controlInvalid &+= 1
      return
    }
    counters.controlTaken &+= 1
    let body = Array(message.dropFirst())
    if channel.isUplink {
      receiveFromAuthority(type, body.span, on: channel, at: now)
    } else {
      receiveFromComponent(type, body.span, on: channel, at: now)
    }
  }
}
