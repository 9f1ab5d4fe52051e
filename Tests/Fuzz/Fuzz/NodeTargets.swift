// Whole nodes: an authority, a component, and behind it a member that has turned. The input decides what the insider
// forges, what a stranger sends, what the local stacks send, and how time passes.

import Core
import InsiderKit

let nodeTargets = [
  FuzzTarget(name: "node", limit: 4_096, run: fuzzNode),
  FuzzTarget(name: "insider", limit: 4_096, run: fuzzInsider),
]

private func established() -> MemoryNetwork {
  guard let network = try? MemoryNetwork(seed: 1) else { fatalError("a network is made") }
  for _ in 0..<40 where !network.isEstablished { network.run(.milliseconds(100)) }
  require(network.isEstablished, "the insider is a member")
  return network
}

private func check(_ network: MemoryNetwork) {
  network.settle()
  if let violation = network.violation() { fatalError(violation) }
}

/// From the first DISCOVER on, with strangers' frames between the members' own.
private func fuzzNode(_ input: UnsafeBufferPointer<UInt8>) {
  guard let network = try? MemoryNetwork(seed: 1) else { fatalError("a network is made") }
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

/// After all is up: frames forged before the link key, the route and the session seal them.
private func fuzzInsider(_ input: UnsafeBufferPointer<UInt8>) {
  let network = established()
  var choices = Choices(bytes: copy(input))
  for _ in 0..<64 where !choices.isExhausted {
    if choices.u8() & 7 == 0 { network.run(.milliseconds(Int64(choices.u8() & 31))) } else { network.forge(&choices) }
  }
  check(network)
}
