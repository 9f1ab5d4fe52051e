// Sessions get new keys while they are in use, and no frame is lost over it (docs/PROTOCOL.md §4, "Renewal").
//
// The MA begins: it knows every session's age and lays the routes. RENEW and RENEWED are the two messages of another
// handshake, inside the session's own control stream, which goes on under the new keys with the numbers it has. The
// component can open frames under the new keys, and routes laid under the new K_i, before it answers; so the MA may use
// both from the moment it has the answer. The component uses them as soon as a frame under them has come. Routes are
// laid anew under the new K_i and told before the old ones end.

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

/// When sessions get new keys, and how long the old ones stay.
public struct SessionRenewal: Sendable {
  /// Of a session's keys when new ones are agreed, less up to an eighth of it at random.
  public var age = Duration.seconds(3_600)
  /// So many frames under one key and space, and new keys are agreed whatever their age: RFC 9001 §6.6 has ChaCha20-Poly1305
  /// at 2^36 forgeries at the most.
  public var frames: UInt64 = 1 << 36
  /// How often an MA looks which sessions are due.
  public var interval = Duration.seconds(1)
  /// Between the beginnings of two renewals: each has an MA lay all routes through a component anew.
  public var pace = Duration.milliseconds(20)

  /// Old keys are kept for so long while nothing under the new ones has come, and for `settled` when it has. The other end
  /// has either used the new ones by then, or has lost the session (10 sendings of a chunk, 10 s).
  public static let unproved = Duration.seconds(60)
  public static let settled = Duration.seconds(10)
  /// A renewal that was not answered in this time is begun anew, and its answer no longer taken.
  public static let patience = Duration.seconds(30)

  public init() {}
}

extension Channel {
  /// New keys for the session: stream, route and everything else go on.
  func renew(_ fresh: SecureSession, keeping old: Duration, at now: Instant) {
    previousSession = session
    streamGoesOn = true
    previousEnds = now + old
    isProved = false
    session = fresh
    // One that was asked for meanwhile may have been agreed already.
    pendings.removeAll { $0.isRenewal }
    keysSince = now
  }

  /// A frame under the present keys came: the other end has them.
  @inline(__always)
  func prove(at now: Instant) {
    if isProved { return }
    isProved = true
    laterCarrier = .none
    previousEnds = min(previousEnds, now + SessionRenewal.settled)
  }

  /// When keys of this channel are to be forgotten.
  var keysEnd: Instant {
    var end = previousSession == nil ? .never : previousEnds
    for pending in pendings { end = min(end, pending.ends) }
    return end
  }
}

extension Node {
  /// Forgets the keys that have had their time.
  mutating func expireKeys(_ channel: Channel, at now: Instant) {
    guard channel.keysEnd <= now else { return }
    if channel.previousEnds <= now {
      if let authority, let previous = channel.previousSession { authority.forget(spi: previous.keys.spi, of: channel) }
      channel.previousSession = nil
      channel.previousEnds = .never
    }
    if channel.pendings.contains(where: { $0.isRenewal && $0.ends <= now }) {
      relay.setNextKey(nil, authority: channel.authorityIndex)
    }
    channel.pendings.removeAll { $0.ends <= now }
  }

  // MARK: The MA

  /// Begins renewals that are due, one at a time.
  mutating func tendRenewals(at now: Instant) {
    guard let authority, now >= authority.renewalDue else { return }
    authority.renewalDue = now + renewal.interval
    var hasBegun = false
    for channel in channels where !channel.isUplink {
      guard let admission = authority.admissions[channel.number], isDue(channel, admission, at: now) else { continue }
      if hasBegun {
        authority.renewalDue = min(authority.renewalDue, now + renewal.pace)
        return
      }
      hasBegun = beginRenewal(channel, admission, at: now)
    }
  }

  private func isDue(_ channel: Channel, _ admission: Admission, at now: Instant) -> Bool {
    // Two key phases at once: the next begins when the last is over.
    guard let session = channel.session, channel.isRouted, channel.previousSession == nil,
      !channel.stream.hasGivenUp
    else { return false }
    if admission.renewal != nil, now - admission.renewalBegan < SessionRenewal.patience { return false }
    return now >= admission.renewalDue || session.framesUsed >= renewal.frames
  }

  /// Has the session renewed as soon as it can be.
  func requestRenewal(_ channel: Channel, at now: Instant) {
    guard let authority, let admission = authority.admissions[channel.number] else { return }
    admission.renewalDue = now
    authority.renewalDue = now
  }

  /// When the session's keys that were just made are to be replaced.
  mutating func scheduleRenewal(_ admission: Admission, at now: Instant) {
    let slack = UInt32(clamping: max(1, renewal.age.milliseconds / 8))
    admission.renewal = nil
    admission.renewalDue = now + (renewal.age - .milliseconds(Int64(entropy.below(slack))))
  }

  private mutating func beginRenewal(_ channel: Channel, _ admission: Admission, at now: Instant) -> Bool {
    guard let session = channel.session else { return false }
    let challenge: SessionChallenge
    do throws(SessionHandshakeError) {
      challenge = try SessionChallenge(
        network: descriptor.networkID.bytes, authority: identity.id, authorityKey: identity.agreement,
        component: channel.peer, componentKey: admission.agreementKey, nonce: session.keys.renewal,
        epoch: freeEpoch(channel, admission, besides: AttachRequest.noKeyEpoch), spi: freshSPI(), entropy: &entropy)
    } catch {
      counters.handshakeRefused &+= 1
      return false
    }
    guard channel.stream.send([ControlType.renew.rawValue] + challenge.body) else { return false }
    admission.renewal = challenge
    admission.renewalBegan = now
    return true
  }

  /// The component's answer: from now on the new keys are used, for frames and for routes.
  mutating func completeRenewal(_ body: Span<UInt8>, on channel: Channel, at now: Instant) {
    guard let authority, let admission = authority.admissions[channel.number],
      now - admission.renewalBegan < SessionRenewal.patience
    else {
      counters.handshakeRefused &+= 1
      return
    }
    let keys: SessionKeys
    do throws(SessionHandshakeError) {
      guard let completed = try admission.renewal?.complete(response: body) else {
        counters.handshakeRefused &+= 1
        return
      }
      keys = completed
    } catch {
      counters.handshakeRefused &+= 1
      return
    }
    authority.bySPI[keys.spi] = channel.number
    admission.spi = keys.spi
    channel.renew(SecureSession(keys: keys), keeping: SessionRenewal.unproved, at: now)
    scheduleRenewal(admission, at: now)
    markStale(through: channel, admission, isWorn: false)
    scheduleRecompute(at: now)
    counters.sessionsRenewed &+= 1
  }

  /// A component's ways, and every way through it, hang on its K_i, which has just changed. After a renewal those of the
  /// one before go on working for a while; after a new session they are worn.
  func markStale(through channel: Channel, _ own: Admission, isWorn: Bool) {
    guard let authority else { return }
    own.markStale(isWorn: isWorn)
    for (_, other) in authority.admissions {
      for i in other.laid.indices where other.laid[i].path?.passes(channel.peer) ?? false {
        other.laid[i].markStale(isWorn: isWorn)
      }
    }
  }

  // MARK: The component

  /// RENEW: the new keys are ready before the answer leaves, and wait for the first frame under them.
  mutating func answerRenewal(_ body: Span<UInt8>, _ uplink: Uplink, at now: Instant) {
    let channel = uplink.channel
    guard let session = channel.session, let entry = descriptor.authority(at: UInt8(channel.authorityIndex)),
      // A session that is being made anew is not renewed.
      channel.pendings.allSatisfy({ $0.isRenewal })
    else {
      counters.handshakeRefused &+= 1
      return
    }
    let answer: SessionAnswer
    do throws(SessionHandshakeError) {
      answer = try SessionAnswer(
        challenge: body, network: descriptor.networkID.bytes, authority: entry.id, authorityKey: entry.agreementKey,
        component: identity.id, componentKey: identity.agreement, nonce: session.keys.renewal, entropy: &entropy)
    } catch {
      counters.handshakeRefused &+= 1
      return
    }
    guard answer.keys.epoch != session.keys.epoch,
      channel.stream.send([ControlType.renewed.rawValue] + answer.body)
    else {
      counters.handshakeRefused &+= 1
      return
    }
    if channel.previousSession?.keys.epoch == answer.keys.epoch { channel.previousSession = nil }
    channel.pendings = [
      PendingSession(
        session: SecureSession(keys: answer.keys), challenge: [], response: [], ends: now + SessionRenewal.unproved)
    ]
    relay.setNextKey(answer.keys.onion, authority: channel.authorityIndex)
  }

  /// The first frame under the new keys came: they are in use from now on.
  mutating func useRenewed(_ channel: Channel, _ pending: SecureSession, at now: Instant) {
    channel.renew(pending, keeping: SessionRenewal.settled, at: now)
    channel.isProved = true
    relay.useNextKey(authority: channel.authorityIndex, at: now)
    counters.sessionsRenewed &+= 1
  }
}
