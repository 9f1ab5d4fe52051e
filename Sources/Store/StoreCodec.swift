// The contents of one copy: a sequence of sections, each a tag, a length and its bytes. What follows from something
// else (IDs, commitments, enrolment secrets) is not stored.

import Core
import Crypto
import Membership
import Wire

private enum SectionTag {
  static let identity: UInt8 = 1
  static let node: UInt8 = 2
  static let descriptor: UInt8 = 3
  static let certificate: UInt8 = 4
  static let pendingSecret: UInt8 = 5
  static let settings: UInt8 = 6
  static let members: UInt8 = 7
  static let secrets: UInt8 = 8
  static let nextSerial: UInt8 = 9
  static let earlierDescriptors: UInt8 = 10
  static let proposal: UInt8 = 11
  static let forgetters: UInt8 = 12
}

extension StoreContents {
  /// The bytes one copy holds; throws `tooLarge` when they do not fit the role's copy. Where there is no room for it, a
  /// component's descriptor is kept without its signatures, which were checked when it came, and its name only where the
  /// certificate's opening says it.
  public func encode() throws(StoreError) -> [UInt8] {
    do throws(StoreError) { return try encode(descriptor, name: name) } catch {
      if role == .authority { throw error }
    }
    do throws(StoreError) { return try encode(descriptor.unsigned, name: name) } catch {
      guard let opening, opening.name == name else { throw error }
    }
    return try encode(descriptor.unsigned, name: nil)
  }

  private func encode(_ descriptor: NetworkDescriptor, name: NodeName?) throws(StoreError) -> [UInt8] {
    var writer = ByteWriter(reserving: role == .authority ? 8192 : 2048)
    section(SectionTag.identity, &writer) {
      $0.bytes32(identity.signing.seed)
      $0.bytes32(identity.agreement.secret)
    }
    section(SectionTag.node, &writer) {
      $0.u8(role.rawValue)
      $0.u32(bootCount)
      if let name { name.encode(into: &$0) } else { $0.u8(0) }
    }
    section(SectionTag.descriptor, &writer) { descriptor.encode(into: &$0) }
    if let certificate, let opening {
      section(SectionTag.certificate, &writer) { encodeShort(certificate, opening, into: &$0) }
    }
    if let pendingSecret { section(SectionTag.pendingSecret, &writer) { pendingSecret.encode(into: &$0) } }
    if !settings.entries.isEmpty { section(SectionTag.settings, &writer) { settings.encode(into: &$0) } }
    if role == .authority { encodeAuthority(into: &writer) }
    for unknown in unknownSections { section(unknown.tag, &writer) { $0.array(unknown.bytes) } }
    let room = largerRoom ?? StoreLayout(role).room
    if writer.bytes.count > room { throw .tooLarge(neededBytes: writer.bytes.count, haveBytes: room) }
    return writer.bytes
  }

  private func encodeAuthority(into writer: inout ByteWriter) {
    section(SectionTag.nextSerial, &writer) { $0.u32(authority.nextSerial) }
    if !authority.secrets.isEmpty {
      section(SectionTag.secrets, &writer) {
        for secret in authority.secrets {
          $0.bytes16(secret.serial)
          $0.u8(secret.usedBy == nil ? 0 : 1)
          if let user = secret.usedBy { $0.componentID(user) }
        }
      }
    }
    if !authority.earlierDescriptors.isEmpty {
      section(SectionTag.earlierDescriptors, &writer) {
        for earlier in authority.earlierDescriptors { earlier.encode(into: &$0) }
      }
    }
    if let proposal = authority.proposal { section(SectionTag.proposal, &writer) { proposal.encode(into: &$0) } }
    if authority.members.contains(where: { $0.forgottenBy != 0 }) {
      section(SectionTag.forgetters, &writer) {
        for member in authority.members where member.forgottenBy != 0 {
          $0.componentID(member.id)
          $0.u16(member.forgottenBy)
        }
      }
    }
    if !authority.members.isEmpty {
      section(SectionTag.members, &writer) {
        for member in authority.members {
          $0.u8(member.state.rawValue << 4 | member.certificate.role.rawValue)
          $0.bytes32(member.certificate.signingKey)
          $0.bytes32(member.certificate.agreementKey)
          encodeShort(member.certificate, member.opening, into: &$0)
        }
      }
    }
  }

  /// All of `bytes`.
  public init(decoding bytes: [UInt8]) throws(StoreError) {
    var reader = ByteReader(bytes.span)
    var sections: [UnknownSection] = []
    do throws(WireError) {
      while reader.remaining > 0 {
        let tag = try reader.u8()
        let length = Int(truncatingIfNeeded: try reader.u32())
        sections.append(UnknownSection(tag: tag, bytes: try reader.array(length)))
      }
    } catch { throw .wire(error) }
    do throws(MembershipError) {
      self = try StoreContents(sections: sections)
    } catch { throw .membership(error) }
  }

  private init(sections: [UnknownSection]) throws(MembershipError) {
    func find(_ tag: UInt8) -> [UInt8]? {
      for section in sections where section.tag == tag { return section.bytes }
      return nil
    }
    guard let identityBytes = find(SectionTag.identity), let nodeBytes = find(SectionTag.node),
      let descriptorBytes = find(SectionTag.descriptor)
    else { throw .wire(.invalid(field: StaticFieldName("sections"))) }
    var identityReader = ByteReader(identityBytes.span)
    let identity: Identity
    do throws(WireError) {
      let seed = try identityReader.bytes32()
      identity = Identity(signingSeed: seed, agreementSecret: try identityReader.bytes32())
    } catch { throw .wire(error) }
    var node = ByteReader(nodeBytes.span)
    let role: NodeRole
    let bootCount: UInt32
    do throws(WireError) {
      guard let known = NodeRole(rawValue: try node.u8()) else { throw .invalid(field: StaticFieldName("role")) }
      role = known
      bootCount = try node.u32()
    } catch { throw .wire(error) }
    let descriptor = try NetworkDescriptor(decoding: descriptorBytes)
    let name: NodeName
    // A name takes two bytes at least.
    if node.remaining == 1, let bytes = find(SectionTag.certificate) {
      var short = ByteReader(bytes.span)
      name = try decodeShort(
        signingKey: identity.signing.publicKey, agreementKey: identity.agreement.publicKey, role: role,
        networkID: descriptor.networkID, from: &short
      ).1.name
    } else {
      name = try NodeName(decoding: &node)
    }
    self.init(role: role, identity: identity, name: name, descriptor: descriptor)
    self.bootCount = bootCount
    for section in sections { try decode(section) }
    if let bytes = find(SectionTag.forgetters) { try decodeForgetters(bytes) }
  }

  private mutating func decode(_ section: UnknownSection) throws(MembershipError) {
    var reader = ByteReader(section.bytes.span)
    switch section.tag {
    case SectionTag.identity, SectionTag.node, SectionTag.descriptor, SectionTag.forgetters: break
    case SectionTag.certificate:
      let (certificate, opening) = try decodeShort(
        signingKey: identity.signing.publicKey, agreementKey: identity.agreement.publicKey, role: role,
        networkID: networkID, from: &reader)
      self.certificate = certificate
      self.opening = opening
    case SectionTag.pendingSecret: pendingSecret = try EnrolmentSecret(decoding: &reader)
    case SectionTag.settings:
      do throws(WireError) { settings = try Settings(decoding: &reader) } catch { throw .wire(error) }
    case SectionTag.nextSerial:
      do throws(WireError) { authority.nextSerial = try reader.u32() } catch { throw .wire(error) }
    case SectionTag.secrets:
      do throws(WireError) { try decodeSecrets(&reader) } catch { throw .wire(error) }
    case SectionTag.earlierDescriptors:
      while reader.remaining > 0 { authority.remember(try NetworkDescriptor(decoding: &reader)) }
    case SectionTag.proposal: authority.proposal = try NetworkDescriptor(decoding: &reader)
    case SectionTag.members:
      while reader.remaining > 0 { try decodeMember(&reader) }
    default: unknownSections.append(section)
    }
  }

  private mutating func decodeSecrets(_ reader: inout ByteReader) throws(WireError) {
    while reader.remaining > 0 {
      let serial = try reader.bytes16()
      switch try reader.u8() {
      case 0: authority.secrets.append(IssuedSecret(serial: serial, usedBy: nil))
      case 1: authority.secrets.append(IssuedSecret(serial: serial, usedBy: try reader.componentID()))
      default: throw .invalid(field: StaticFieldName("secret state"))
      }
    }
  }

  private mutating func decodeForgetters(_ bytes: [UInt8]) throws(MembershipError) {
    var reader = ByteReader(bytes.span)
    do throws(WireError) {
      while reader.remaining > 0 {
        let id = try reader.componentID()
        let mask = try reader.u16()
        for i in authority.members.indices where authority.members[i].id == id {
          authority.members[i].forgottenBy = mask
        }
      }
    } catch { throw .wire(error) }
  }

  private mutating func decodeMember(_ reader: inout ByteReader) throws(MembershipError) {
    let flags: UInt8
    let signingKey: Bytes32
    let agreementKey: Bytes32
    do throws(WireError) {
      flags = try reader.u8()
      signingKey = try reader.bytes32()
      agreementKey = try reader.bytes32()
    } catch { throw .wire(error) }
    guard let state = MemberState(rawValue: flags >> 4), let role = NodeRole(rawValue: flags & 15) else {
      throw .wire(.invalid(field: StaticFieldName("member state")))
    }
    let (certificate, opening) = try decodeShort(
      signingKey: signingKey, agreementKey: agreementKey, role: role, networkID: networkID, from: &reader)
    authority.members.append(Member(certificate: certificate, opening: opening, state: state))
  }
}

private func section(_ tag: UInt8, _ writer: inout ByteWriter, _ body: (inout ByteWriter) -> Void) {
  var inner = ByteWriter()
  body(&inner)
  writer.u8(tag)
  writer.u32(UInt32(truncatingIfNeeded: inner.bytes.count))
  writer.array(inner.bytes)
}

/// A certificate without what its holder's keys and the network say already.
private func encodeShort(
  _ certificate: MembershipCertificate, _ opening: MembershipOpening, into writer: inout ByteWriter
) {
  writer.u32(certificate.serial)
  writer.u32(certificate.epoch)
  writer.u8(certificate.issuer)
  writer.array(certificate.signature.array)
  opening.encode(into: &writer)
}

private func decodeShort(
  signingKey: Bytes32, agreementKey: Bytes32, role: NodeRole, networkID: NetworkID, from reader: inout ByteReader
) throws(MembershipError) -> (MembershipCertificate, MembershipOpening) {
  let serial: UInt32
  let epoch: UInt32
  let issuer: UInt8
  let signature: [UInt8]
  do throws(WireError) {
    serial = try reader.u32()
    epoch = try reader.u32()
    issuer = try reader.u8()
    signature = try reader.array(64)
  } catch { throw .wire(error) }
  let opening = try MembershipOpening(decoding: &reader)
  let certificate = MembershipCertificate(
    networkID: networkID, signingKey: signingKey, agreementKey: agreementKey, role: role, serial: serial,
    epoch: epoch, issuer: issuer, commitment: opening.commitment,
    signature: signature.withUnsafeBufferPointer { Signature(loadingFrom: $0.baseAddress!) })
  return (certificate, opening)
}
