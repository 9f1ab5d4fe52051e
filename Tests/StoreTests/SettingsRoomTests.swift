// What settings may take of a component's store, and what must fit beside them (docs/decisions/0059).

import Core
import Crypto
import Membership
import Testing

@testable import Store

@Suite struct SettingsRoomTests {
  private let longName = String(repeating: "n", count: NodeName.limit)

  /// The largest descriptor authorities may propose, 16 of them, after the founding one; signed.
  private func largest(after authority: StoreContents) throws -> NetworkDescriptor {
    var entries = authority.descriptor.authorities
    for i in 1..<UInt8(NetworkDescriptor.authorityLimit) {
      let name = "authority-\(i)" + String(repeating: "x", count: i < 10 ? 13 : 12)
      let other = try founded(seed: 40 + i, name: name).descriptor.authorities[0]
      entries.append(
        AuthorityEntry(
          index: i, signingKey: other.signingKey, agreementKey: other.agreementKey, name: other.name,
          ipv4: 0x0a14_0100 + UInt32(i)))
    }
    var next = try authority.descriptor.successor(authorities: entries)
    let spare = NetworkDescriptor.componentRoom - next.unsigned.encode().count
    #expect((0..<16).contains(spare))
    next = try authority.descriptor.successor(
      authorities: entries.dropLast() + [try lengthened(entries[15], by: spare)])
    #expect(next.unsigned.encode().count == NetworkDescriptor.componentRoom)
    next.sign(as: 0, with: authority.identity.signing)
    return next
  }

  private func lengthened(_ entry: AuthorityEntry, by count: Int) throws -> AuthorityEntry {
    let name = try NodeName(entry.name.bytes + [UInt8](repeating: UInt8(ascii: "y"), count: count))
    return AuthorityEntry(
      index: entry.index, signingKey: entry.signingKey, agreementKey: entry.agreementKey, name: name, ipv4: entry.ipv4)
  }

  /// Settings of exactly this size: keep-down of as many ports as are needed, and the rest in a second list.
  private func settings(ofSize size: Int) throws -> Settings {
    var settings = Settings()
    let keys: [SettingKey] = [.keepDown, .interface]
    var left = size
    for (i, key) in keys.enumerated() {
      let overhead = 2 + key.name.utf8.count
      // What is left for the second has room for a port's name.
      let count = i == 0 ? min(left - overhead, max(150, left - overhead - 255)) : left - overhead
      if left == 0 { break }
      try settings.set(key, list(count))
      left -= overhead + count
    }
    #expect(settings.size == size)
    return settings
  }

  private func list(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(ascii: $0 % 10 == 9 && $0 + 1 < count ? "," : "p") }
  }

  @Test func `what a component's store must hold, measured`() throws {
    var authority = try founded()
    let component = try member(10, longName, of: &authority)
    let bare = try component.encode().count - component.descriptor.encode().count
    // 69 identity, 74 node with the longest name, 5 of the descriptor's section, 162 certificate and opening.
    #expect(bare == 69 + 74 + 5 + 162)
    #expect(StoreLayout(.component).room == 1_998)
    // 63 of the name, which the opening says too, and 6 of the settings' section come on top.
    #expect(
      StoreLayout.settingsRoom == 1_998 - bare - NetworkDescriptor.componentRoom + NodeName.limit - 6)
  }

  @Test func `settings at their limit leave room for 16 MAs and a renewed certificate`() throws {
    var authority = try founded()
    var (component, record) = try box(10, longName, of: &authority)
    try component.change(settings(ofSize: StoreLayout.settingsRoom))
    let next = try largest(after: authority)
    // Pending, with the key's descriptor and with the largest.
    _ = try component.encode()
    var pending = component
    try pending.adopt(next)
    #expect(try StoreContents(decoding: pending.encode()).pendingSecret != nil)

    let member = try #require(try authority.takeIn(record))
    try component.install(member.certificate, member.opening)
    try component.adopt(next)
    let renewed = MembershipCertificate(
      issuing: member.opening, networkID: authority.networkID, signingKey: member.certificate.signingKey,
      agreementKey: member.certificate.agreementKey, role: .component, serial: .max, epoch: 2, issuer: 0,
      with: authority.identity.signing)
    try component.install(renewed, member.opening)
    component.jumpBoot(to: .max)
    let bytes = try component.encode()
    #expect(bytes.count == StoreLayout(.component).room)
    let image = try StoreFile.newFile(component)
    let again = try StoreFile.decode(image).contents
    #expect(again.name.description == longName)
    #expect(again.certificate?.serial == .max)
    #expect(again.descriptor.proposalID == next.proposalID)
    #expect(again.settings.size == StoreLayout.settingsRoom)
    #expect(again.settings.value(.keepDown) == component.settings.value(.keepDown))
    #expect(try again.encode() == bytes)
    // Nothing is left out where there is room: the name and the signature are there again.
    var small = component
    try small.change(Settings())
    #expect(try small.encode().count == bytes.count - 6 - StoreLayout.settingsRoom + NodeName.limit + 65)
  }

  @Test func `a byte more is refused, by what is longest, and nothing is lost`() throws {
    var authority = try founded()
    var component = try member(10, "sw1", of: &authority)
    try component.set("protect=off")
    let before = try component.encode()
    let over = try settings(ofSize: StoreLayout.settingsRoom + 1)
    let error = #expect(throws: StoreError.self) { try component.change(over) }
    #expect(
      error
        == .settingsTooLarge(
          neededBytes: 210, haveBytes: 209, longest: Array("keep-down".utf8), longestBytes: 161))
    #expect(
      error?.description
        == "has room for 209 bytes of settings, and these would take 210, 161 of them keep-down")
    #expect(try component.encode() == before)
    try component.change(settings(ofSize: StoreLayout.settingsRoom))
    // An authority's store has the room.
    try authority.change(over)
  }

  @Test func `a store over the limit is read and used, and changed to no more`() throws {
    var authority = try founded()
    var component = try member(10, "sw1", of: &authority)
    component.settings = try settings(ofSize: 400)
    var old = try StoreContents(decoding: component.encode())
    #expect(old.settings.size == 400)
    old.bumpBoot()
    _ = try old.encode()
    #expect(throws: StoreError.self) { try old.set("wide-discovery=off") }
    // As long as before, and shorter, though still over.
    try old.change(settings(ofSize: 400))
    try old.change(settings(ofSize: 399))
    #expect(throws: StoreError.self) { try old.change(settings(ofSize: 400)) }
    try old.change(settings(ofSize: 100))
    #expect(throws: StoreError.self) { try old.change(settings(ofSize: 400)) }
  }

  @Test func `a copy without a name is whole only with the certificate that says it`() throws {
    var authority = try founded()
    let pending = try box(10, longName, of: &authority).contents
    var bytes = try pending.encode()
    // The node's section: its length, and the name's.
    #expect(bytes[69] == 2)
    bytes[73] -= UInt8(NodeName.limit)
    bytes[79] = 0
    bytes.removeSubrange(80..<(80 + NodeName.limit))
    #expect(throws: StoreError.self) { try StoreContents(decoding: bytes) }
  }

  @Test func `a proposal too large for components is signed by nobody`() throws {
    var authority = try founded()
    var source = entropy(7)
    var ids: [ComponentID] = []
    for i in 0..<100 as Range<UInt8> {
      ids.append(ComponentID(source.bytes16()))
      _ = i
    }
    var proposal = try authority.descriptor.successor(
      authorities: authority.descriptor.authorities, revoked: ids.sorted())
    proposal.sign(as: 0, with: authority.identity.signing)
    let size = proposal.unsigned.encode().count
    #expect(throws: ProposalRefusal.descriptor(.badDescriptor(.tooLarge(neededBytes: size, haveBytes: 1_536)))) {
      try authority.sign(proposal, entropy: &source)
    }
  }

  @Test(
    arguments: [
      ("tunnel=10.20.7.1:4500", true), ("tunnel=192.0.2.1:1,10.20.0.0:4500", true),
      ("tunnel=[::ffff:10.20.7.1]:1", true), ("tunnel=10.21.0.1:4500", false), ("tunnel=10.19.255.255:1", false),
      ("tunnel-listen=10.20.0.9:4500", true), ("tunnel-listen=4500", false), ("tunnel-listen=10.21.0.9:4500", false),
    ])
  func `a tunnel does not lead through the network itself`(setting: String, isInside: Bool) throws {
    var authority = try founded()
    var component = try member(10, "sw1", of: &authority)
    guard isInside else { return try component.set(setting) }
    let key: SettingKey = setting.hasPrefix("tunnel=") ? .tunnel : .tunnelListen
    #expect(throws: StoreError.badSetting(key, .tunnelInside(component.descriptor.prefix))) {
      try component.set(setting)
    }
    // One that an older version let in stays, and other settings can be changed.
    component.settings = Settings()
    var old = component.settings
    try old.set(Array(setting.utf8))
    component.settings = old
    try component.set("protect=off")
    #expect(component.settings.entries.count == 2)
  }

  @Test func `the network's IPv6 addresses are inside it too`() throws {
    var authority = try founded()
    var component = try member(10, "sw1", of: &authority)
    let digits = component.networkID.description
    func group(_ at: Int) -> Substring { digits.dropFirst(at).prefix(4) }
    let own = "[fd\(digits.prefix(2)):\(group(2)):\(group(6))::1]:4500"
    #expect(throws: StoreError.badSetting(.tunnel, .tunnelInside(nil))) {
      try component.set("tunnel=" + own)
    }
    try component.set("tunnel=[fdff:ffff:ffff::1]:4500")
  }
}
