// What an authority hands to a box that has become one, and how that box takes it in: the way an authority gets its
// network when no wire leads to the others yet. With a wire it gets the same inside its first session.

import Core
import Crypto
import Membership
import Wire

private let admissionVersion: UInt8 = 1

extension StoreContents {
  /// The contents of an admission, not yet sealed, for one of the descriptor's authorities: version 1, teller's index 1,
  /// number of descriptors 2, each length 2 and bytes, oldest first; the box's own record; those of all members. Nil
  /// where this store has no certificate for it.
  public func admission(for entry: AuthorityEntry) -> [UInt8]? {
    guard let own = authorityIndex, let member = authority.member(entry.id), member.state == .active else { return nil }
    var writer = ByteWriter(reserving: 8192)
    writer.u8(admissionVersion)
    writer.u8(own)
    let chain = authority.earlierDescriptors + [descriptor]
    writer.u16(UInt16(truncatingIfNeeded: chain.count))
    for each in chain {
      let bytes = each.encode()
      writer.u16(UInt16(truncatingIfNeeded: bytes.count))
      writer.array(bytes)
    }
    record(of: member).encode(into: &writer)
    ownRecord?.encode(into: &writer)
    for each in authority.members where each.id != entry.id { record(of: each).encode(into: &writer) }
    return writer.bytes
  }

  /// Takes an admission in: the descriptors that lead on from this store's, the certificate, the members. Members that
  /// have no room are left out: they are learnt from the wire.
  public mutating func complete(with admission: [UInt8]) throws(StoreError) {
    if role != .authority { throw .notAnAuthority }
    var after = self
    do throws(MembershipError) { try after.take(admission) } catch { throw .membership(error) }
    self = after
  }

  private mutating func take(_ admission: [UInt8]) throws(MembershipError) {
    var reader = ByteReader(admission.span)
    var teller: UInt8 = 0
    var chain: [NetworkDescriptor] = []
    do throws(WireError) {
      if try reader.u8() != admissionVersion { throw .invalid(field: StaticFieldName("admission version")) }
      teller = try reader.u8()
      let count = try reader.u16()
      for _ in 0..<count {
        let length = Int(try reader.u16())
        let bytes = try reader.array(length)
        do throws(MembershipError) { chain.append(try NetworkDescriptor(decoding: bytes)) } catch {
          throw .invalid(field: StaticFieldName("descriptor"))
        }
      }
    } catch { throw .wire(error) }
    guard let anchor = chain.firstIndex(where: { $0.proposalID == descriptor.proposalID }) else {
      throw .badDescriptor(.epoch)
    }
    for i in chain.indices.dropFirst() where !chain[i].isSuccessor(of: chain[i - 1]) { throw .badSignature }
    authority.earlierDescriptors = []
    for each in chain[..<anchor] { authority.remember(each) }
    do throws(StoreError) {
      for each in chain[(anchor + 1)...] { try adopt(each) }
      var rest: [UInt8] = []
      rest = reader.rest()
      let records = try records(rest)
      guard let own = records.first, own.certificate.id == identity.id else { throw StoreError.notOurs }
      if certificate == nil { try install(own.certificate, own.opening) }
      _ = merge(Array(records.dropFirst()), from: teller)
      // Whom it takes over as forgotten, it forgets.
      for record in records where record.isForgotten {
        for i in authority.members.indices where authority.members[i].id == record.certificate.id {
          authority.members[i].state = .forgotten
        }
      }
    } catch {
      switch error {
      case .membership(let inner): throw inner
      case .notASuccessor: throw .badSignature
      default: throw .badOpening
      }
    }
  }

  private func records(_ bytes: [UInt8]) throws(StoreError) -> [MemberRecord] {
    do throws(MembershipError) { return try MemberRecord.list(decoding: bytes) } catch { throw .membership(error) }
  }
}
