// The certificate and its opening, checked in the binary as it is shipped: Tests/Vectors/membership.txt. Small: the issuer's
// signature is Ed25519, which the part "crypto" checks.

import Core
import Membership

/// Nil, or what does not hold.
func certificateSelfTest() -> StaticString? {
  guard
    let golden = known(
      """
      0177726958a91064e6239242349acabe1b6f59589c8ed04346d6d14baa999361c79625ac455ce491659366111f988640\
      22e7ffe0cb836935ebd88fd723d2f66d0a478f3667d17c2dd4ff5cc5d76148c9ee6fe33864f293fe13f2f81676947f78\
      050100000007000000010129c9ef16098e8a28a4a7b34fd821e7d45f201657a9e5d7593ea8e80f1622686b8be6e77968\
      33803a6bed6b990ba636c9e28f7242ce72d7e177aff2866ba7ae2b9bee00bf1ce5004fccbd431f90be0dfbeb0637171c\
      f6bc24656bdd15a0979403
      """), let secret = known("090909090909090909090909090909090a14010203737731")
  else { return "a constant" }
  do throws(MembershipError) {
    let certificate = try MembershipCertificate(decoding: golden)
    let opening = try MembershipOpening(decoding: secret)
    return certificate.encode() == golden && opening.matches(certificate) ? nil : "the golden certificate"
  } catch {
    return "reading the golden certificate"
  }
}
