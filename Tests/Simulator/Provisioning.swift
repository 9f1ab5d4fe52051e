// A network's stores, made in memory the way the provisioning commands make them: founding, secrets, sealed records,
// acceptance; with certificates installed, or with boxes that must get theirs through their neighbours.

import Core
import Crypto
import Membership
import Store

public struct ProvisionedNetwork {
  public private(set) var authority: StoreContents
  public private(set) var components: [StoreContents] = []
  /// Given out with the network, for boxes to come.
  public private(set) var spareSecrets: [EnrolmentSecret] = []
  private var entropy: Entropy

  /// - Parameter enrolled: false for boxes that the MA has accepted and that do not know it yet.
  public init(components count: Int, enrolled: Bool, seed: UInt64, storeRoom: Int? = nil) throws {
    var bytes = Bytes32()
    var random = SeededRandom(seed: seed)
    bytes.withMutableBytes { p in for i in 0..<32 { p[i] = UInt8(truncatingIfNeeded: random.next()) } }
    entropy = Entropy(seed: bytes)
    authority = try StoreContents(
      founding: DomainName("lab.example"), prefix: IPv4Prefix("10.20.0.0/16"), name: NodeName("ma1"),
      entropy: &entropy)
    authority.largerRoom = storeRoom
    spareSecrets = try authority.issueSecrets(4, entropy: &entropy)
    for first in stride(from: 0, to: count, by: Self.together) {
      try accept(first..<min(count, first + Self.together), enrolled: enrolled)
    }
  }

  /// Boxes accepted at once: the store is encoded anew for each call.
  private static let together = 128

  private mutating func accept(_ numbers: Range<Int>, enrolled: Bool) throws {
    var records: [[UInt8]] = []
    for i in numbers {
      let (contents, record) = try Self.freshBox("cm\(i + 1)", &authority, &entropy)
      components.append(contents)
      records.append(record)
    }
    let outcomes = try authority.accept(records: records, policy: .all, entropy: &entropy)
    for (i, outcome) in zip(numbers, outcomes) {
      guard case .accepted(let member) = outcome.verdict else { throw ProvisioningError.refused(outcome.summary) }
      if enrolled { try components[i].install(member.certificate, member.opening) }
    }
  }

  /// A box that holds a secret of this authority's, and its sealed record.
  public static func freshBox(
    _ name: String, _ authority: inout StoreContents, _ entropy: inout Entropy
  ) throws -> (contents: StoreContents, record: [UInt8]) {
    let secret = try authority.issueSecrets(1, entropy: &entropy)[0]
    return try freshBox(name, in: authority.descriptor, with: secret, &entropy)
  }

  public static func freshBox(
    _ name: String, in descriptor: NetworkDescriptor, with secret: EnrolmentSecret, _ entropy: inout Entropy
  ) throws -> (contents: StoreContents, record: [UInt8]) {
    let contents = StoreContents(
      enrolling: descriptor, secret: secret, name: try NodeName(name), role: .component, entropy: &entropy)
    guard let record = contents.enrolmentRecord, let entry = descriptor.authority(at: secret.issuer),
      let sealed = SealedRecord(record, for: entry, entropy: &entropy)
    else { throw ProvisioningError.refused("no record") }
    return (contents, sealed.encode())
  }
}

extension StoreContents {
  /// `provision set` of one setting.
  public mutating func set(_ assignment: String) throws {
    var next = settings
    try next.set(Array(assignment.utf8))
    try change(next)
  }
}

extension World {
  /// `provision set` on every node, from its next start on.
  public func set(_ assignment: String) throws {
    for box in nodes {
      var contents = try StoreContents(decoding: box.store)
      contents.largerRoom = storeRoom
      try contents.set(assignment)
      box.store = try contents.encode()
    }
  }

  /// Puts a box of another identity in a node's place, with one of the network's spare secrets; what its key then brings
  /// to the MA, for `accept`. Its process is not running.
  public func replaceBox(_ number: Int, named name: String) throws -> [UInt8] {
    guard let secret = spareSecrets.popLast() else { throw ProvisioningError.refused("no secret left") }
    crash(number)
    var seed = Bytes32()
    seed.withMutableBytes { p in for i in 0..<32 { p[i] = UInt8(truncatingIfNeeded: random.next()) } }
    var entropy = Entropy(seed: seed)
    let descriptor = try StoreContents(decoding: nodes[authority].store).descriptor
    let (contents, record) = try ProvisionedNetwork.freshBox(name, in: descriptor, with: secret, &entropy)
    nodes[number].store = try contents.encode()
    return RecordBundle.encode([record])
  }
}

public enum ProvisioningError: Error { case refused(String) }
