// Members among several MAs: a component that another MA took in is let in by its certificate and says in its session who
// it is; and every MA tells the others of the members it knows, all when their session is made, and each change at once
// (docs/PROTOCOL.md §9, "Members among authorities").

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
  /// Bytes of records in one message: some 60, whose signatures take an MA 3 ms.
  private static let tellingLimit = 14_000
  /// Certificates made anew in one turn of the loop, 30 µs each, and the pause between two turns.
  private static let orphansAtOnce = 16
  private static let orphanPause = Duration.milliseconds(5)

  // MARK: Who may attach

  /// The channel for whoever asks, when it is a member: by this MA's list, or by a certificate of another MA's.
  mutating func channel(for request: AttachRequest, at now: Instant) -> Channel? {
    guard let authority, !descriptor.isRevoked(request.id) else { return nil }
    for entry in descriptor.authorities where entry.id == request.id {
      let known = contents.authority.member(entry.id)
      guard let member = contents.certify(entry, entropy: &entropy) else { return nil }
      if known?.state != .active {
        persist(promising: true)
        memberChanged(member.id, at: now)
      }
      if descriptor.authority(at: member.certificate.issuer) != nil { return channel(for: member) }
    }
    if let member = contents.authority.member(request.id) {
      guard member.state == .active else { return nil }
      guard descriptor.authority(at: member.certificate.issuer) == nil else { return channel(for: member) }
      return certifyAnew(member.id, at: now).flatMap { channel(for: $0) }
    }
    if let number = authority.byID[request.id] { return channels[Int(number)] }
    return guest(request, at: now)
  }

  /// A component that only its certificate speaks for.
  private mutating func guest(_ request: AttachRequest, at now: Instant) -> Channel? {
    guard let authority, request.certificate.count == MembershipCertificate.encodedSize else { return nil }
    do throws(MembershipError) {
      let certificate = try MembershipCertificate(decoding: request.certificate)
      guard certificate.id == request.id, certificate.role == .component else { return nil }
      try certificate.checkClaims(with: descriptor)
      guard authority.guests.takeIfAvailable(at: now) else {
        counters.challengesOverBudget &+= 1
        return nil
      }
      try certificate.verify(with: descriptor)
      return newChannel(with: request.id, agreementKey: certificate.agreementKey)
    } catch { return nil }
  }

  /// Gives a channel the name, address and certificate of its member. An address that two members were given leads to the
  /// one that keeps it.
  mutating func introduce(_ member: Member, on channel: Channel) {
    guard let authority, let admission = authority.admissions[channel.number] else { return }
    if authority.byIPv4[channel.ipv4] == channel.number { authority.byIPv4[channel.ipv4] = nil }
    channel.name = member.name.bytes
    channel.ipv4 = member.opening.ipv4
    admission.certificate = member.certificate.encode()
    admission.opening = member.opening.encode()
    if let number = authority.byIPv4[channel.ipv4], number != channel.number,
      let holder = contents.authority.member(channels[Int(number)].peer), !member.precedes(holder)
    {
      return
    }
    authority.byIPv4[channel.ipv4] = channel.number
  }

  /// WELCOME without a certificate: the MA does not know this component yet.
  mutating func present(to uplink: Uplink) {
    guard let certificate = contents.certificate, let opening = contents.opening else { return }
    _ = uplink.channel.stream.send(Present(certificate: certificate.encode(), opening: opening.encode()).encode())
  }

  mutating func receivePresent(_ message: Present, on channel: Channel, at now: Instant) {
    do throws(MembershipError) {
      let record = MemberRecord(
        certificate: try MembershipCertificate(decoding: message.certificate),
        opening: try MembershipOpening(decoding: message.opening), isForgotten: false)
      guard record.certificate.id == channel.peer, let own = authorityIndex, channel.chains.takeIfAvailable(at: now)
      else {
        counters.controlInvalid &+= 1
        return
      }
      take([record], from: UInt8(own), at: now)
    } catch {
      counters.controlInvalid &+= 1
    }
  }

  // MARK: Telling

  /// All members, this MA first, are to be told to an MA whose session was just made.
  func tellAllMembers(_ channel: Channel, _ admission: Admission) {
    admission.untold = [identity.id]
    for member in contents.authority.members where member.id != channel.peer { admission.untold.append(member.id) }
    authority?.tellingDue = .zero
  }

  /// Every other MA is to hear of a member.
  mutating func memberChanged(_ id: ComponentID, except teller: Int? = nil, at now: Instant) {
    guard let authority else { return }
    for entry in descriptor.authorities where Int(entry.index) != teller && entry.id != id {
      guard let number = authority.byID[entry.id], let admission = authority.admissions[number],
        !admission.untold.contains(id)
      else { continue }
      admission.untold.append(id)
    }
    authority.tellingDue = .zero
  }

  mutating func tendMembers(at now: Instant) {
    guard let authority else { return }
    adoptSomeOrphans(at: now)
    guard authority.tellingDue <= now else { return }
    authority.tellingDue = .never
    for entry in descriptor.authorities {
      guard let number = authority.byID[entry.id], let admission = authority.admissions[number],
        !admission.untold.isEmpty
      else { continue }
      // Before there is a route, all that goes to the MA shares its neighbour's budget.
      let channel = channels[Int(number)]
      if channel.session == nil || !channel.isRouted { continue }
      tell(channel, admission)
      if !admission.untold.isEmpty { authority.tellingDue = now + AuthorityState.retryDelay }
    }
  }

  private mutating func tell(_ channel: Channel, _ admission: Admission) {
    while !admission.untold.isEmpty {
      var writer = ByteWriter(reserving: Node.tellingLimit)
      writer.u8(ControlType.members.rawValue)
      var count = 0
      while count < admission.untold.count, writer.bytes.count + MemberRecord.sizeLimit <= Node.tellingLimit {
        record(admission.untold[count])?.encode(into: &writer)
        count += 1
      }
      guard channel.stream.send(writer.bytes) else { return }
      admission.untold.removeFirst(count)
    }
  }

  private func record(_ id: ComponentID) -> MemberRecord? {
    if id == identity.id { return contents.ownRecord }
    return contents.authority.member(id).map { contents.record(of: $0) }
  }

  // MARK: Hearing

  /// MEMBERS: what another MA says of members.
  mutating func receiveMembers(_ body: Span<UInt8>, on channel: Channel, at now: Instant) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(body.count)
    for i in body.indices { bytes.append(body[i]) }
    guard authority != nil else { return }
    do throws(MembershipError) {
      take(try MemberRecord.list(decoding: bytes), from: UInt8(channel.authorityIndex), at: now)
    } catch {
      counters.controlInvalid &+= 1
    }
  }

  private mutating func take(_ records: [MemberRecord], from teller: UInt8, at now: Instant) {
    let changes = contents.merge(records, from: teller)
    if changes.contains(where: { $0.isStored }) { persist() }
    for change in changes { apply(change, from: teller, at: now) }
  }

  private mutating func apply(_ change: MemberChange, from teller: UInt8, at now: Instant) {
    let source = Int(teller) == authorityIndex ? "its certificate" : authorityName(Int(teller))
    switch change {
    case .unchanged: return
    case .added(let member), .replaced(let member):
      guard let channel = channel(for: member) else {
        report(.warning, "\(member.name.description) cannot be served: \(limits.channels) nodes are in use")
        return
      }
      introduce(member, on: channel)
      report(.info, "\(member.name.description) is a member, by \(source)")
      reportConflicts(of: member)
      memberChanged(member.id, except: Int(teller), at: now)
    case .forgotten(let member):
      drop(member.id, at: now)
      report(.notice, "\(member.name.description) is forgotten, by \(source)")
      memberChanged(member.id, except: Int(teller), at: now)
    case .givenUpElsewhere(let member):
      report(
        .notice,
        "\(member.name.description) is forgotten by \(source); this authority serves it until \(contents.forgetQuorum) "
          + "authorities have forgotten it")
      memberChanged(member.id, except: Int(teller), at: now)
    case .refused(let reason):
      counters.membersRefused &+= 1
      if succession.complaints.takeIfAvailable(at: currentTime) {
        report(.warning, "from \(source): \(reason.description)")
      }
    }
  }

  mutating func reportConflicts(of member: Member) {
    for conflict in contents.conflicts(of: member) { report(.error, conflict.description) }
  }

  /// Ends what there is with a node that is no member any more.
  mutating func drop(_ id: ComponentID, at now: Instant) {
    guard let authority, let number = authority.byID[id] else { return }
    let channel = channels[Int(number)]
    if channel.session != nil { sendDatagram([ControlType.goodbye.rawValue], on: channel, at: now) }
    authority.remove(channel)
    freeNumbers.append(number)
    authority.graph.setPenalty(0, onLinksOf: id)
    authority.graph.remove(id)
    // The name and address may have another holder.
    for member in contents.authority.members where member.state == .active && member.opening.ipv4 == channel.ipv4 {
      if let other = authority.byID[member.id] { introduce(member, on: channels[Int(other)]) }
    }
    scheduleRecompute(at: now)
  }

  // MARK: Orphans

  /// Members whose certificates' issuer is no authority any more need new ones.
  mutating func adoptOrphans(at now: Instant) {
    guard let authority else { return }
    for member in contents.authority.members
    where member.state == .active && descriptor.authority(at: member.certificate.issuer) == nil
      && !authority.orphans.contains(member.id)
    {
      authority.orphans.append(member.id)
    }
    if !authority.orphans.isEmpty { authority.orphansDue = now }
    if let own = contents.certificate, descriptor.authority(at: own.issuer) == nil, contents.reissueOwn() {
      persist()
      memberChanged(identity.id, at: now)
    }
  }

  /// The reachable MA with the lowest index does it; of those who come to another before, that one does.
  private mutating func adoptSomeOrphans(at now: Instant) {
    guard let authority, authority.orphansDue <= now else { return }
    authority.orphansDue = .never
    for entry in descriptor.authorities where Int(entry.index) < authority.index {
      if let number = authority.byID[entry.id], channels[Int(number)].isRouted {
        authority.orphansDue = now + .seconds(1)
        return
      }
    }
    for _ in 0..<Node.orphansAtOnce {
      guard let id = authority.orphans.popLast() else { return }
      if let member = contents.authority.member(id), descriptor.authority(at: member.certificate.issuer) == nil {
        _ = certifyAnew(id, at: now)
      }
    }
    if !authority.orphans.isEmpty { authority.orphansDue = now + Node.orphanPause }
  }

  /// A new certificate for a member, told to the other MAs and to the member itself.
  private mutating func certifyAnew(_ id: ComponentID, at now: Instant) -> Member? {
    guard let authority, let member = contents.reissue(id) else { return nil }
    persist(promising: true)
    memberChanged(id, at: now)
    if let number = authority.byID[id] {
      let channel = channels[Int(number)]
      introduce(member, on: channel)
      if channel.session != nil { sendWelcome(on: channel) }
    }
    return member
  }

  // MARK: Being an authority

  /// What a new descriptor changes for an MA: it may have become one, or be none any more, and members may have gone.
  mutating func followAsAuthority(_ before: NetworkDescriptor, at now: Instant) {
    let own = contents.authorityIndex.map { Int($0) }
    if own != authorityIndex {
      if authority != nil { endAuthority() }
      authorityIndex = own
      if let own {
        startAuthority(own, at: now)
        report(.notice, "this node is authority number \(own) of \(descriptor.domain.description) now")
      }
      topologyIsDirty = true
      return
    }
    guard let authority else { return }
    authority.proposals.removeAll { $0.epoch <= descriptor.epoch }
    for member in contents.authority.members where member.state != .active { drop(member.id, at: now) }
    for channel in channels
    where !channel.isUplink && descriptor.isRevoked(channel.peer) && authority.byID[channel.peer] == channel.number {
      drop(channel.peer, at: now)
    }
    for member in contents.authority.members
    where member.state == .active && member.certificate.role == .authority && authority.byID[member.id] == nil {
      _ = channel(for: member)
      memberChanged(member.id, at: now)
    }
    adoptOrphans(at: now)
  }

  private mutating func endAuthority() {
    guard let authority else { return }
    report(.error, "this node is no authority of \(descriptor.domain.description) any more: another descriptor says so")
    for channel in channels where !channel.isUplink && authority.byID[channel.peer] == channel.number {
      channel.end()
      freeNumbers.append(channel.number)
    }
    relay.removeKey(authority: authority.index)
    detours[authority.index] = nil
    self.authority = nil
  }

  /// Says in a beacon which other MAs are reached, at once when that changes: components then know what one MA's
  /// silence means.
  mutating func tellReached(at now: Instant) {
    guard let authority else { return }
    var mask: UInt16 = 0
    for entry in descriptor.authorities {
      guard let number = authority.byID[entry.id] else { continue }
      let channel = channels[Int(number)]
      if channel.session != nil, channel.isRouted { mask |= 1 << UInt16(entry.index) }
    }
    guard mask != authority.reached else { return }
    authority.reached = mask
    beacon.reached = mask
    beacon.announceChange(at: now)
    // What could not be told so far, can be now.
    authority.tellingDue = .zero
  }

  /// Whether an MA is silent, or others say so: of those whose newest beacon came after its last one, most do not reach
  /// it, or where as many do, the last to speak does not. Its next beacon proves them wrong.
  private func isGone(_ uplink: Uplink, at now: Instant) -> Bool {
    let index = uplink.channel.authorityIndex
    let position = beaconPosition(index)
    guard let heard = beacon.lastHeard(authority: position), !beacon.isSilent(authority: position, at: now) else {
      return true
    }
    var balance = 0
    var last = heard
    var lastDoes = true
    for other in uplinks where other !== uplink {
      let place = beaconPosition(other.channel.authorityIndex)
      guard let newest = beacon.newest(authority: place), let said = beacon.lastHeard(authority: place), said > heard,
        !beacon.isSilent(authority: place, at: now)
      else { continue }
      let does = newest.reached & 1 << UInt16(index) != 0
      balance += does ? 1 : -1
      if said >= last { (last, lastDoes) = (said, does) }
    }
    return balance < 0 || (balance == 0 && !lastDoes)
  }

  /// The MA that traffic for others goes through: the reached one with the lowest index.
  mutating func choosePreferred(at now: Instant) {
    if authority != nil { return }
    var best: Channel?
    for uplink in uplinks where best == nil && uplink.isReady {
      if uplinks.count == 1 || !isGone(uplink, at: now) { best = uplink.channel }
    }
    guard best !== preferred else { return }
    preferred = best
    if let best, uplinks.count > 1 {
      report(.info, "authority \(authorityName(best.authorityIndex)) hands on what is for others")
    }
  }
}
