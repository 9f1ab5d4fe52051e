// The bearer's packet transform: what the local kernel hands over, and what a session's peer does.

import Bearer
import Core
import InsiderKit
import Wire

let bearerTargets = [
  FuzzTarget(name: "cutter", limit: 4_096, run: fuzzCutter),
  FuzzTarget(name: "reassembler", limit: 4_096, run: fuzzReassembler),
]

/// A virtio header and an IP packet; half of the inputs have headers that agree with their length.
private func packet(_ choices: inout Choices) -> [UInt8] {
  let shape = choices.u8()
  if shape & 3 == 0 { return choices.array(choices.below(600)) }
  let isTCP = shape & 4 == 0
  let payload = shape & 8 == 0 ? choices.below(100) : choices.below(9_000)
  let transport = isTCP ? 20 : 8
  let isIPv4 = shape & 16 == 0
  let length = (isIPv4 ? 20 : 40) + transport + payload
  var ip = [UInt8](repeating: 0, count: length)
  if isIPv4 {
    ip[0] = 0x45
    (ip[2], ip[3]) = (UInt8(length >> 8), UInt8(length & 255))
    (ip[8], ip[9]) = (64, isTCP ? 6 : 17)
    ip.replaceSubrange(12..<20, with: [10, 0, 0, 1, 10, 0, 0, 2])
  } else {
    ip[0] = 0x60
    (ip[4], ip[5]) = (UInt8((length - 40) >> 8), UInt8((length - 40) & 255))
    (ip[6], ip[7]) = (isTCP ? 6 : 17, 64)
    (ip[8], ip[24]) = (0xfd, 0xfd)
  }
  let at = isIPv4 ? 20 : 40
  if isTCP {
    ip[at + 12] = 0x50
    ip[at + 13] = choices.u8()
  } else {
    (ip[at + 4], ip[at + 5]) = (UInt8((length - at) >> 8), UInt8((length - at) & 255))
  }
  let gso: UInt8 = shape & 32 == 0 ? 0 : isTCP ? (isIPv4 ? 1 : 4) : 5
  let size = gso == 0 ? 0 : choices.u16()
  let virtio: [UInt8] = [
    gso == 0 ? choices.u8() & 1 : 1, gso, 0, 0, UInt8(size & 255), UInt8(size >> 8), UInt8(at), 0, isTCP ? 16 : 6, 0,
  ]
  let whole = virtio + ip
  return shape & 64 == 0 ? whole : choices.mutated(whole, limit: 70_000)
}

/// Cuts, and puts together again: what one end cuts the other takes whole.
private func fuzzCutter(_ input: UnsafeBufferPointer<UInt8>) {
  var choices = Choices(bytes: copy(input))
  var reassembler = Reassembler(slots: 2)
  var sequence: UInt64 = 100
  let now = Instant(nanoseconds: 1_000_000_000)
  for _ in 0..<8 where !choices.isExhausted {
    let payloadSize = choices.u8() & 7 == 0 ? Int(choices.u16()) : 256 + choices.below(1_200)
    withExactBlock(packet(&choices)) { block, count in
      var cutter: PacketCutter
      do throws(BearerError) {
        cutter = try PacketCutter(
          buffer: UnsafeMutableRawBufferPointer(start: block, count: count), payloadSize: payloadSize)
      } catch { return }
      _ = cutter.destination
      let frame = UnsafeMutablePointer<UInt8>.allocate(capacity: payloadSize + 5 + 16)
      defer { frame.deallocate() }
      while let length = cutter.nextFrame(into: frame + 16) {
        require(length <= payloadSize + 5, "a frame keeps to its size")
        let refused = reassembler.accept(frame + 16, count: length, sequence: sequence, peer: 1, at: now)
        require(refused == nil, "what was cut is taken")
        sequence += 1
        while reassembler.nextDelivery() != nil {}
      }
    }
  }
}

/// Plaintexts of a peer that holds the session's key: any bytes, or fields that nearly agree.
private func fuzzReassembler(_ input: UnsafeBufferPointer<UInt8>) {
  var choices = Choices(bytes: copy(input))
  var reassembler = Reassembler(slots: 3)
  var now = Instant(nanoseconds: 1_000_000_000)
  var sequence: UInt64 = 1_000
  for _ in 0..<64 where !choices.isExhausted {
    var plaintext: [UInt8]
    if choices.u8() & 3 == 0 {
      plaintext = choices.array(choices.below(320))
    } else {
      let index = choices.u8() & 1 == 0 ? choices.u8() & 3 : choices.u8()
      let size = 256 + Int(choices.u8() & 3) * 100
      let gso = choices.u8() & 1 == 0 ? 0 : 0x80 | choices.u8() & 11
      let offset = Int(index) * size - (gso & 7 != 0 && index > 0 ? 2 : 0)
      plaintext = [0x20 | choices.u8() & 1, index, UInt8(offset >> 8 & 255), UInt8(offset & 255), gso]
      if index == 0 {
        var whole = Array(packet(&choices).dropFirst(10).prefix(size))
        if gso & 7 != 0 { whole = [choices.u8() & 7, choices.u8()] + whole.prefix(size - 2) }
        plaintext += whole
      }
      while plaintext.count < 5 + size { plaintext.append(0x5a) }
      if choices.u8() & 7 == 0 { plaintext = choices.mutated(plaintext, limit: 9_000) }
    }
    sequence = choices.u8() & 15 == 0 ? choices.u64() : sequence &+ UInt64(choices.u8() & 3)
    withExactBlock([UInt8](repeating: 0, count: 64) + plaintext) { block, _ in
      reassembler.accept(
        block + 64, count: plaintext.count, sequence: sequence, peer: UInt32(choices.u8() & 3), at: now)
      while let delivery = reassembler.nextDelivery() {
        // The kernel reads all of it.
        var sum: UInt8 = 0
        for byte in delivery.packet { sum &+= byte }
        require(delivery.packet.count <= 65_545 && sum == sum, "a delivery is one packet")
        _ = delivery.destination
      }
    }
    if choices.u8() & 7 == 0 {
      now = now + .milliseconds(Int64(choices.u8()))
      reassembler.expire(at: now)
      while reassembler.nextDelivery() != nil {}
    }
    if choices.u8() & 31 == 31 { reassembler.forget(peer: 1) }
    require(reassembler.fillingCount <= 4, "packets being put together are bounded")
  }
}
