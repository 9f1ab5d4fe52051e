// What tells a member's DISCOVER from those that others make of it: a tag under a key that only its sender and one other
// node can compute. It holds for one nonce and one address, so that from anywhere else it is worth nothing. In tunnels all
// addresses are one: there a proof says who made it, and not where.

import Core
import Crypto
import Membership

enum DiscoverProof {
  /// From what the two agreement keys agree on; nil for one of low order.
  static func key(_ own: AgreementKeyPair, with other: Bytes32) -> Bytes16? {
    guard var shared = own.agree(with: other) else { return nil }
    var long = deriveKey(shared, "lifeline discover")
    let key = long.withBytes { Bytes16(loadingFrom: $0) }
    shared.erase()
    long.erase()
    return key
  }

  /// SipHash-2-4 over the sender's ID, the nonce and the address the frame comes from.
  static func tag(_ key: Bytes16, sender: ComponentID, nonce: Bytes16, address: MACAddress) -> UInt64 {
    var text = InlineArray<38, UInt8>(repeating: 0)
    sender.bytes.withBytes { for i in 0..<16 { text[i] = $0[i] } }
    nonce.withBytes { for i in 0..<16 { text[16 + i] = $0[i] } }
    for i in 0..<6 { text[32 + i] = UInt8(truncatingIfNeeded: address.value >> UInt64(40 - 8 * i)) }
    return withUnsafeBytes(of: &text) { bytes in
      guard let p = bytes.baseAddress else { return 0 }
      return ShortMAC.sipHash24(p.assumingMemoryBound(to: UInt8.self), count: 38, key: key)
    }
  }
}

extension NeighbourEngine {
  /// The key shared with the holder of a certificate that was verified: computed once while that is remembered.
  private mutating func proofKey(_ certificate: MembershipCertificate, _ bytes: [UInt8]) -> Bytes16? {
    if ownCertificate.isEmpty { return nil }
    let hash = blake2b256(bytes)
    if let known = verified.key(of: hash) { return known }
    let key = DiscoverProof.key(configuration.agreement, with: certificate.agreementKey)
    if let key { verified.setKey(key, of: hash) }
    return key
  }

  /// For the neighbour that is to see that it is this node who speaks on the port.
  mutating func ownProof(for neighbour: AdjacencyPointer?, _ nonce: Bytes16, on port: PortPointer) -> UInt64? {
    guard let neighbour, let certificate = neighbour.pointee.certificate,
      let key = proofKey(certificate, neighbour.pointee.certificateBytes)
    else { return nil }
    return DiscoverProof.tag(key, sender: configuration.id, nonce: nonce, address: port.pointee.status.address)
  }

  /// Whether the holder of the certificate, which was verified, said this from there.
  mutating func isProved(_ discover: DiscoverFrame, _ certificate: MembershipCertificate, from source: MACAddress)
    -> Bool
  {
    guard let proof = discover.proof, let key = proofKey(certificate, discover.certificate) else { return false }
    return DiscoverProof.tag(key, sender: discover.id, nonce: discover.nonce, address: source) == proof
  }
}
