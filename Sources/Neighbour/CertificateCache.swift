// Certificates whose signature was verified, by hash: a DISCOVER a second must not cost an Ed25519 verification a second.

import Core
import Crypto
import Membership

/// Good certificates only, so that bad ones cannot push them out. The oldest entry makes room: 64 × 56 B = 3.5 KiB.
struct CertificateCache {
  private var hashes: [Bytes32] = []
  /// Of each, what `DiscoverProof` uses with its holder, once it was needed.
  private var keys: [Bytes16?] = []
  private var next = 0

  func contains(_ hash: Bytes32) -> Bool {
    for each in hashes where each == hash { return true }
    return false
  }

  func key(of hash: Bytes32) -> Bytes16? {
    for (i, each) in hashes.enumerated() where each == hash { return keys[i] }
    return nil
  }

  mutating func setKey(_ key: Bytes16, of hash: Bytes32) {
    for i in hashes.indices where hashes[i] == hash { keys[i] = key }
  }

  mutating func insert(_ hash: Bytes32) {
    if hashes.count < NeighbourLimits.certificates {
      hashes.append(hash)
      keys.append(nil)
    } else {
      hashes[next] = hash
      keys[next] = nil
      next = (next + 1) % NeighbourLimits.certificates
    }
  }

  /// When the descriptor changes.
  mutating func removeAll() {
    hashes.removeAll(keepingCapacity: true)
    keys.removeAll(keepingCapacity: true)
    next = 0
  }
}
