// What the tests of this module share: vectors, authorities from numbers, and engines whose outputs are sorted.

import Core
import Crypto
import Foundation
import TestSupport
import Testing

@testable import Beacon

let home = bytes16(Array(repeating: 0x6e, count: 16))

func milliseconds(_ count: Int64) -> Instant { .zero + .seconds(1000) + .milliseconds(count) }

/// Authority number n: its key follows from n.
struct Authority {
  let key: SigningKeyPair
  let id: ComponentID

  init(_ number: UInt8) {
    key = SigningKeyPair(seed: bytes32(Array(repeating: number, count: 32)))
    let hash = blake2b256(key.publicKey.array)
    id = hash.withBytes { ComponentID(Bytes16(loadingFrom: $0)) }
  }

  var entry: BeaconAuthority { BeaconAuthority(id: id, signingKey: key.publicKey) }

  func beacon(
    _ boot: UInt32, _ counter: UInt32, epoch: UInt32 = 1, sizeCode: UInt8 = 1, network other: Bytes16 = home
  ) -> [UInt8] {
    Beacon.signed(
      authority: id, boot: boot, counter: counter, epoch: epoch, sizeCode: sizeCode, network: other, with: key
    ).encode()
  }

  /// Well-formed, signed by nobody.
  func forged(_ boot: UInt32, _ counter: UInt32) -> [UInt8] {
    var bytes = beacon(boot, counter)
    bytes[40] ^= 1
    return bytes
  }
}

/// An engine's outputs since the last drain.
struct Drained {
  var sent: [(content: [UInt8], adjacency: UInt16)] = []
  var flooded: [(content: [UInt8], except: UInt16)] = []
  var newest: [(authority: Int, boot: UInt32, counter: UInt32, adjacency: UInt16, epoch: UInt32, sizeCode: UInt8)] = []
  var newBoots: [Int] = []
  var jumps: [UInt32] = []
  var events: [String] = []
  /// One letter an output, in order: s f n b j e.
  var order = ""
  var isEmpty: Bool { order.isEmpty }
}

extension BeaconEngine {
  init(_ authorities: [Authority], own: Authority? = nil, seed: UInt8 = 9) {
    self.init(
      network: home, authorities: authorities.map(\.entry), ownKey: own?.key,
      entropy: Entropy(seed: bytes32(Array(repeating: seed, count: 32))))
  }

  mutating func take(_ content: [UInt8], _ adjacency: UInt16, authenticated: Bool = true, at now: Instant) {
    receive(content.span, from: adjacency, authenticated: authenticated, at: now)
  }

  mutating func drain() -> Drained {
    var drained = Drained()
    while let output = nextOutput() {
      switch output {
      case .send(let content, let adjacency):
        drained.sent.append((content, adjacency))
        drained.order += "s"
      case .flood(let content, let except):
        drained.flooded.append((content, except))
        drained.order += "f"
      case .newest(let authority, let boot, let counter, let adjacency, let epoch, let sizeCode):
        drained.newest.append((authority, boot, counter, adjacency, epoch, sizeCode))
        drained.order += "n"
      case .newBoot(let authority):
        drained.newBoots.append(authority)
        drained.order += "b"
      case .bootJumped(let boot):
        drained.jumps.append(boot)
        drained.order += "j"
      case .event(_, let text):
        drained.events.append(text)
        drained.order += "e"
      }
    }
    return drained
  }
}
