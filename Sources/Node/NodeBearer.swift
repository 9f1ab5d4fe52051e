// IP packets between the local stack and the channels: cut and sealed on the way out; put together, checked for their
// addresses and handed on on the way in. A packet is taken only from the peer it claims to come from.

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
  // MARK: Out

  public mutating func bearerSent(_ packet: UnsafeMutableRawBufferPointer, at now: Instant) {
    currentTime = now
    sendPacket(packet, from: nil, at: now)
  }

  /// Sends a packet of the local stack's, or (`from`) one that an MA hands on from another channel.
  mutating func sendPacket(_ packet: UnsafeMutableRawBufferPointer, from origin: Channel?, at now: Instant) {
    guard packet.count > VirtioNetHeader.size, let destination = ipDestination(UnsafeRawBufferPointer(packet)) else {
      counters.bearerInvalid &+= 1
      return
    }
    guard let channel = channel(toward: destination), channel !== origin else {
      counters.bearerNoRoute &+= 1
      return
    }
    let isProtected = channel.classifier.classify(bytes: packet.count - VirtioNetHeader.size, at: now) != .bulk
    guard let way = isProtected ? channel.ways.first : channel.ways.main, let session = channel.session else {
      counters.bearerNoRoute &+= 1
      return
    }
    let twins = isProtected ? channel.ways.twins : []
    // All copies are the same bytes: they fit the narrowest way.
    var payloadSize = way.payloadSize
    for twin in twins { payloadSize = min(payloadSize, twin.payloadSize) }
    var cutter: PacketCutter
    do throws(BearerError) {
      cutter = try PacketCutter(buffer: packet, payloadSize: payloadSize)
    } catch {
      counters.bearerInvalid &+= 1
      return
    }
    let space: SequenceSpace = isProtected ? .protected : .bulk
    let onionClass = OnionClass(
      traffic: isProtected ? .protected : .bulk, towardAuthority: channel.isUplink, authority: channel.authorityIndex)
    let offset = way.builder.size.endToEnd
    for _ in 0..<cutter.frameCount {
      guard var buffer = pool.take() else {
        counters.poolEmpty &+= 1
        return
      }
      let sealedAt = buffer.bytes + offset
      guard buffer.tailRoom >= offset + SessionLayout.overhead + payloadSize,
        let count = cutter.nextFrame(into: sealedAt + SessionLayout.header),
        way.builder.build(buffer.bytes, class: onionClass)
      else {
        pool.give(buffer)
        return
      }
      let sealedCount = session.seal(sealedAt, count: count, space: space)
      buffer.count = offset + sealedCount
      for twin in twins {
        counters.twinsSent &+= 1
        sendCopy(sealedAt, sealedCount, twin, onionClass, at: now)
      }
      sendFirst(buffer, way, at: now)
    }
    probe(way, onionClass, of: channel, at: now)
    for twin in twins { probe(twin, onionClass, of: channel, at: now) }
    if way.builder.isWornOut { routeWornOut(channel, at: now) }
    if twins.contains(where: { $0.builder.isWornOut }) { routeWornOut(channel, at: now) }
  }

  /// An end-to-end frame that is ready, by this way.
  mutating func sendCopy(
    _ sealed: UnsafePointer<UInt8>, _ count: Int, _ way: Way, _ onionClass: OnionClass, at now: Instant
  ) {
    guard var buffer = pool.take() else {
      counters.poolEmpty &+= 1
      return
    }
    let offset = way.builder.size.endToEnd
    guard buffer.tailRoom >= offset + count, way.builder.build(buffer.bytes, class: onionClass) else {
      pool.give(buffer)
      return
    }
    UnsafeMutableRawPointer(buffer.bytes + offset).copyMemory(from: sealed, byteCount: count)
    buffer.count = offset + count
    sendFirst(buffer, way, at: now)
  }

  /// A frame with its header goes out on the first link of its way; takes the buffer over.
  private mutating func sendFirst(_ frame: PacketBuffer, _ way: Way, at now: Instant) {
    if sendOnion(frame, size: way.builder.size, on: way.egress, at: now) { return }
    counters.noAdjacency &+= 1
    pool.give(frame)
  }

  /// A route nears the end of its counter: the MA lays another.
  mutating func routeWornOut(_ channel: Channel, at now: Instant) {
    guard let authority, let admission = authority.admissions[channel.number],
      admission.laid.contains(where: { !$0.isStale })
    else { return }
    admission.markStale()
    scheduleRecompute(at: now)
    controlDeadline = earlier(controlDeadline, authority.recomputeDue)
  }

  /// The channel a destination is reached through: the member itself; from a component, an MA for all the rest.
  func channel(toward destination: IPAddress) -> Channel? {
    if let authority {
      switch destination {
      case .ipv4(let address): return authority.byIPv4[address].map { channels[Int($0)] }
      case .ipv6(let address):
        guard isOwnSubnet(address) else { return nil }
        return authority.byInterfaceID[lowHalf(address)].map { channels[Int($0)] }
      }
    }
    guard isUnicast(destination) else { return nil }
    var fallback: Channel?
    for uplink in uplinks where uplink.channel.isRouted {
      switch destination {
      case .ipv4(let address): if uplink.channel.ipv4 == address { return uplink.channel }
      case .ipv6(let address):
        if isOwnSubnet(address), uplink.channel.interfaceID == lowHalf(address) { return uplink.channel }
      }
      if fallback == nil { fallback = uplink.channel }
    }
    if let preferred, preferred.isRouted { return preferred }
    return fallback
  }

  private func ipDestination(_ packet: UnsafeRawBufferPointer) -> IPAddress? {
    let ip = packet.baseAddress! + VirtioNetHeader.size
    do throws(WireError) {
      return try IPLayout(ip, readable: packet.count - VirtioNetHeader.size).destination(of: ip)
    } catch { return nil }
  }

  /// In this network's IPv6 /64.
  func isOwnSubnet(_ address: Bytes16) -> Bool {
    let own = ipv6Address(of: identity.id)
    return address.withBytes { a in
      own.withBytes { b in
        for i in 0..<8 where a[i] != b[i] { return false }
        return true
      }
    }
  }

  private func lowHalf(_ address: Bytes16) -> UInt64 {
    address.withBytes { p in
      var value: UInt64 = 0
      for i in 8..<16 { value = value << 8 | UInt64(p[i]) }
      return value
    }
  }

  /// Neither multicast, nor broadcast, nor loopback, nor link-local.
  private func isUnicast(_ address: IPAddress) -> Bool {
    switch address {
    case .ipv4(let value):
      return value >> 28 != 0xe && value != .max && value >> 24 != 127 && value != 0
        && value != (descriptor.prefix.address | ~descriptor.prefix.mask)
    case .ipv6(let value):
      return value.withBytes { p in
        p[0] != 0xff && !(p[0] == 0xfe && p[1] & 0xc0 == 0x80) && !(0..<15).allSatisfy { p[$0] == 0 }
      }
    }
  }

  // MARK: In

  /// A frame of an IP packet, decrypted; takes the buffer over until its packet is handed out.
  mutating func receivePacket(
    _ frame: PacketBuffer, plain: UnsafeMutablePointer<UInt8>, count: Int, sequence: UInt64, from channel: Channel,
    epoch: UInt8, space: SequenceSpace, at now: Instant
  ) {
    // Each key and space counts for itself.
    let peer = channel.number << 3 | UInt32(epoch) << 1 | (space == .bulk ? 1 : 0)
    let refusal = reassembler.accept(plain, count: count, sequence: sequence, peer: peer, at: now)
    if refusal == nil { counters.delivered &+= 1 }
    hasDeliveries = true
    // The packet may stand in this very buffer until it is drained.
    if let held = heldBuffer { pool.give(held) }
    heldBuffer = frame
  }

  /// The next packet for the local stack; what is for another component goes on to it.
  mutating func nextDelivery() -> UnsafeRawBufferPointer? {
    while let delivery = reassembler.nextDelivery() {
      let number = Int(delivery.peer >> 3)
      guard number < channels.count, let source = delivery.source, let destination = delivery.destination else {
        counters.bearerInvalid &+= 1
        continue
      }
      let channel = channels[number]
      // An MA may hand on for others; a component speaks for itself alone.
      if !channel.isUplink, !isAddress(source, of: channel) {
        counters.bearerWrongSource &+= 1
        continue
      }
      if isOwnAddress(destination) { return delivery.packet }
      guard authority != nil, isUnicast(destination) else {
        counters.bearerWrongDestination &+= 1
        continue
      }
      if let next = self.channel(toward: destination) {
        if next !== channel {
          sendPacket(
            UnsafeMutableRawBufferPointer(mutating: delivery.packet), from: channel, at: currentTime)
        }
        continue
      }
      // Beyond the network: the MA's own system decides whether it forwards.
      if isMemberPrefix(destination) {
        counters.bearerWrongDestination &+= 1
        continue
      }
      return delivery.packet
    }
    return nil
  }

  private func isMemberPrefix(_ address: IPAddress) -> Bool {
    switch address {
    case .ipv4(let value): return descriptor.prefix.contains(value)
    case .ipv6(let value): return isOwnSubnet(value)
    }
  }

  private func isAddress(_ address: IPAddress, of channel: Channel) -> Bool {
    switch address {
    case .ipv4(let value): return value == channel.ipv4
    case .ipv6(let value): return isOwnSubnet(value) && lowHalf(value) == channel.interfaceID
    }
  }

  private func isOwnAddress(_ address: IPAddress) -> Bool {
    switch address {
    case .ipv4(let value): return value == ownIPv4
    case .ipv6(let value): return value == ipv6Address(of: identity.id)
    }
  }

  var ownIPv4: UInt32 {
    if let own = authorityIndex { return descriptor.authority(at: UInt8(own))?.ipv4 ?? 0 }
    return contents.opening?.ipv4 ?? 0
  }

  mutating func expireReassembly(at now: Instant) {
    guard reassembler.fillingCount > 0 else { return }
    reassembler.expire(at: now)
    hasDeliveries = true
  }

  var reassemblyDeadline: Instant? { reassembler.nextDeadline }
}
