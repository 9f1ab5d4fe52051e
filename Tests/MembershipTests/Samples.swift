// Networks, identities and records made from fixed seeds, the same in every run.

import Core
import Crypto
import Foundation

@testable import Membership

func entropy(_ number: UInt8) -> Entropy {
  let seed = [UInt8](repeating: number, count: 32)
  return Entropy(seed: seed.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) })
}

func identity(_ number: UInt8) -> Identity {
  var source = entropy(number)
  return Identity(entropy: &source)
}

func entry(_ index: UInt8, _ identity: Identity, name: String) throws -> AuthorityEntry {
  AuthorityEntry(
    index: index, signingKey: identity.signing.publicKey, agreementKey: identity.agreement.publicKey,
    name: try NodeName(name), ipv4: 0x0a14_0001 + UInt32(index))
}

/// A network of `count` authorities, ma0, ma1, ..., with identities 1, 2, ..., all of which signed.
func network(_ count: Int) throws -> (descriptor: NetworkDescriptor, identities: [Identity]) {
  var identities: [Identity] = []
  var entries: [AuthorityEntry] = []
  for i in 0..<count {
    identities.append(identity(UInt8(i + 1)))
    entries.append(try entry(UInt8(i), identities[i], name: "ma\(i)"))
  }
  var descriptor = try NetworkDescriptor(
    founding: DomainName("lab.example"), prefix: IPv4Prefix("10.20.0.0/16"), authorities: entries)
  for i in 0..<count { descriptor.sign(as: UInt8(i), with: identities[i].signing) }
  return (descriptor, identities)
}

func salt(_ number: UInt8) -> Bytes16 {
  [UInt8](repeating: number, count: 16).withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
}

/// A certificate for `subject` by authority `issuer`.
func certify(
  _ subject: Identity, name: String, role: NodeRole = .component, by issuer: UInt8, _ key: Identity,
  in descriptor: NetworkDescriptor, serial: UInt32 = 7
) throws -> (certificate: MembershipCertificate, opening: MembershipOpening) {
  let opening = MembershipOpening(salt: salt(9), ipv4: 0x0a14_0102, name: try NodeName(name))
  let certificate = MembershipCertificate(
    issuing: opening, networkID: descriptor.networkID, signingKey: subject.signing.publicKey,
    agreementKey: subject.agreement.publicKey, role: role, serial: serial, epoch: descriptor.epoch, issuer: issuer,
    with: key.signing)
  return (certificate, opening)
}

/// "name = hex" lines of a file in Tests/Vectors.
func vectors(_ file: String) throws -> [String: [UInt8]] {
  let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Vectors/\(file)")
  var found: [String: [UInt8]] = [:]
  for line in try String(contentsOf: url, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#") {
    let parts = line.split(separator: "=").map { $0.trimmingCharacters(in: .whitespaces) }
    if parts.count == 2 { found[parts[0]] = Core.bytes(hexadecimal: parts[1].utf8) }
  }
  return found
}
