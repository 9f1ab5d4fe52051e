// Stores made from fixed seeds, and the way of a box from secret to member in one call.

import Core
import Crypto
import Foundation
import Membership

@testable import Store

func entropy(_ number: UInt8) -> Entropy {
  let seed = [UInt8](repeating: number, count: 32)
  return Entropy(seed: seed.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) })
}

func founded(prefix: String = "10.20.0.0/16", seed: UInt8 = 1, name: String = "ma1") throws -> StoreContents {
  var source = entropy(seed)
  return try StoreContents(
    founding: DomainName("lab.example"), prefix: IPv4Prefix(prefix), name: NodeName(name), entropy: &source)
}

/// A new box with a record for it; the secret is issued by `authority`.
func box(
  _ seed: UInt8, _ name: String, role: NodeRole = .component, of authority: inout StoreContents
) throws -> (contents: StoreContents, record: [UInt8]) {
  var source = entropy(seed)
  let secret = try authority.issueSecrets(1, entropy: &source)[0]
  return try box(seed, name, role: role, in: authority.descriptor, with: secret)
}

func box(
  _ seed: UInt8, _ name: String, role: NodeRole = .component, in descriptor: NetworkDescriptor,
  with secret: EnrolmentSecret
) throws -> (contents: StoreContents, record: [UInt8]) {
  var source = entropy(seed &+ 100)
  let contents = StoreContents(
    enrolling: descriptor, secret: secret, name: try NodeName(name), role: role, entropy: &source)
  let record = contents.enrolmentRecord!
  let sealed = SealedRecord(record, for: descriptor.authority(at: secret.issuer)!, entropy: &source)!
  return (contents, sealed.encode())
}

extension StoreContents {
  /// `provision set` of one setting.
  mutating func set(_ assignment: String) throws {
    var next = settings
    try next.set(Array(assignment.utf8))
    try change(next)
  }

  /// The verdict on one record with `--yes`.
  mutating func acceptOne(_ record: [UInt8], _ policy: AcceptPolicy = .all) throws -> AcceptVerdict {
    var source = entropy(200)
    return try accept(records: [record], policy: policy, entropy: &source)[0].verdict
  }

  /// The member made of a record, or nil when it was not accepted.
  mutating func takeIn(_ record: [UInt8], _ policy: AcceptPolicy = .all) throws -> Member? {
    if case .accepted(let member) = try acceptOne(record, policy) { return member }
    return nil
  }
}

func refusal(_ verdict: AcceptVerdict) -> AcceptRefusal? {
  if case .refused(let refusal) = verdict { return refusal }
  return nil
}

/// A component that was taken in by `authority`.
func member(_ seed: UInt8, _ name: String, of authority: inout StoreContents) throws -> StoreContents {
  var (contents, record) = try box(seed, name, of: &authority)
  let member = try authority.takeIn(record)!
  try contents.install(member.certificate, member.opening)
  return contents
}

/// `write` over `image`, cut off after `length` bytes.
func torn(_ image: [UInt8], _ write: StoreWrite, after length: Int) -> [UInt8] {
  var image = image
  image.replaceSubrange(write.offset..<(write.offset + length), with: write.bytes[..<length])
  return image
}

func whole(_ image: [UInt8], _ write: StoreWrite) -> [UInt8] { torn(image, write, after: write.bytes.count) }
