// Whole nodes: an authority, a component, and behind it a member that has turned. The input decides what the insider
// forges, what a stranger sends, what the local stacks send, and how time passes.

import Core
import Foundation
import InsiderKit

let nodeTargets = [
  FuzzTarget(name: "node", limit: 4_096, run: fuzzNode),
  FuzzTarget(name: "insider", limit: 4_096, run: fuzzInsider),
]

nonisolated(unsafe) private let provisioned: ProvisionedNodes = {
  guard let nodes = try? ProvisionedNodes(seed: 1) else { fatalError("a network is made") }
  return nodes
}()

private func check(_ network: MemoryNetwork) {
  network.settle()
  if let violation = network.violation() { fatalError(violation) }
}

/// From the first DISCOVER on, with strangers' frames between the members' own.
private func fuzzNode(_ input: UnsafeBufferPointer<UInt8>) {
  let network = MemoryNetwork(provisioned)
  var choices = Choices(bytes: copy(input))
  for _ in 0..<64 where !choices.isExhausted {
    let node = Int(choices.u8() % 3)
    switch choices.u8() & 7 {
    case 0, 1: network.run(.milliseconds(Int64(choices.u8())))
    case 2: network.setPort(node, 1 + UInt16(choices.u8() & 1), isUp: choices.u8() & 3 != 0)
    case 3: network.setPort(node, 1, isUp: true, frameSize: Int(choices.u16()))
    case 4:
      let packet = choices.array(10 + choices.below(200))
      network.send(packet, from: node)
    default:
      let type = choices.u8()
      let source = MACAddress(choices.u8() & 1 == 0 ? 0x0200_0000_0101 : UInt64(choices.u8()))
      network.arrive([type] + choices.array(choices.below(300)), at: node, port: 1 + UInt16(type & 1), from: source)
    }
  }
  check(network)
}

/// Bringing a network up takes twenty times as long as an input, so one serves for many. An input alone does not repeat
/// what it found then: all that came since the network was made are in the file that FUZZ_HISTORY names, each behind its
/// length, and `Fuzz --history insider FILE` runs them again.
private final class Serving {
  static let inputs = 64
  private var network: MemoryNetwork?
  private var served = 0
  private let history: Int32

  init() {
    history = getenv("FUZZ_HISTORY").map { open($0, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0o644) } ?? -1
  }

  func network(for input: UnsafeBufferPointer<UInt8>) -> MemoryNetwork {
    if let network, served < Serving.inputs, network.isEstablished {
      served += 1
      record(input)
      return network
    }
    let fresh = MemoryNetwork(provisioned)
    for _ in 0..<40 where !fresh.isEstablished { fresh.run(.milliseconds(100)) }
    require(fresh.isEstablished, "the insider is a member")
    network = fresh
    served = 1
    if history >= 0 {
      _ = ftruncate(history, 0)
      _ = lseek(history, 0, SEEK_SET)
    }
    record(input)
    return fresh
  }

  private func record(_ input: UnsafeBufferPointer<UInt8>) {
    guard history >= 0 else { return }
    let bytes = [UInt8(input.count >> 8 & 255), UInt8(input.count & 255)] + input
    _ = write(history, bytes, bytes.count)
  }
}

nonisolated(unsafe) private let serving = Serving()

/// After all is up: frames forged before the link key, the route and the session seal them.
private func fuzzInsider(_ input: UnsafeBufferPointer<UInt8>) {
  let network = serving.network(for: input)
  var choices = Choices(bytes: copy(input))
  for _ in 0..<64 where !choices.isExhausted {
    if choices.u8() & 7 == 0 { network.run(.milliseconds(Int64(choices.u8() & 31))) } else { network.forge(&choices) }
  }
  check(network)
}
