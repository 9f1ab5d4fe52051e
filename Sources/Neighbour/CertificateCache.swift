// Certificates whose signature was verified, by hash: a DISCOVER a second must not cost an Ed25519 verification a second.

import Core
import Crypto
import Membership

/// Good certificates only, so that bad ones cannot push them out. The oldest entry makes room: 64 × 32 B = 2 KiB.
struct CertificateCache {
  private var hashes: [Bytes32] = []
  private var next = 0

  func contains(_ hash: Bytes32) -> Bool {
    for each in hashes where each == hash { return true }
    return false
  }

  mutating func insert(_ hash: Bytes32) {
    if hashes.count < NeighbourLimits.certificates {
      hashes.append(hash)
    } else {
      hashes[next] = hash
      next = (next + 1) % NeighbourLimits.certificates
    }
  }

  /// When the descriptor changes.
  mutating func removeAll() {
    hashes.removeAll(keepingCapacity: true)
    next = 0
  }
}
