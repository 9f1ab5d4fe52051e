// Frames that nobody should believe: random ones; genuine ones of the link with bytes changed, cut or grown; and crafted
// ones, which only a key is missing to: discoveries and handshake openings under addresses, IDs and certificates that were
// heard or made up.

import CLab
import Foundation

public struct FrameStorm {
  /// How many frames went out, of each kind.
  public struct Count: Sendable {
    public var random = 0
    public var mutated = 0
    public var crafted = 0
    public var refusedByKernel = 0
    public var sent: Int { random + mutated + crafted }
    public init() {}
  }

  private let socket: Descriptor
  private var generator: SplitMix64
  /// Genuine frames by type (the high half of byte 14), so that the many hellos do not crowd out the rest.
  private var samples: [[[UInt8]]]
  private let discovers: [[UInt8]]
  private let etherType: [UInt8] = [0x88, 0xb5]
  /// The newest nonce the node under attack gave out, as far as it was heard here.
  private var nonce: [UInt8]
  private let target: [UInt8]
  private var lastSource: [UInt8] = [2, 0, 0, 0, 0, 1]
  private var room = [UInt8](repeating: 0, count: 2_048)

  /// - Parameters:
  ///   - interface: an interface of `namespace`; what it sends arrives at the port under attack.
  ///   - samples: whole genuine frames to mutate.
  ///   - target: address of the port under attack; whose nonces are used.
  public init(
    from interface: String, in namespace: String, samples: [[UInt8]], target: [UInt8] = [], seed: UInt64
  ) throws {
    socket = try inNetwork(of: namespace) {
      try Descriptor(lab_packet_socket(interface, 0), "storm on \(interface)")
    }
    generator = SplitMix64(state: seed)
    let genuine = samples.filter { $0.count > 15 && $0[12] == 0x88 && $0[13] == 0xb5 }
    self.samples = (1...6).map { type in genuine.filter { $0[14] >> 4 == type } }.filter { !$0.isEmpty }
    // With a certificate, so that one can be shown.
    discovers = genuine.filter { $0[14] == 0x10 && $0.count >= 14 + 254 && $0[16] & 1 == 1 }
    nonce = [UInt8](repeating: 0, count: 16)
    self.target = target
  }

  /// Sends `frames` frames, as fast as the link takes them: random, mutated and crafted ones in turn.
  public mutating func send(_ frames: Int) throws -> Count {
    var count = Count()
    for number in 0..<frames {
      if number % 256 == 0 {
        try checkInterrupt()
        listen()
      }
      let kind = samples.isEmpty ? 0 : number % 3 == 2 && discovers.isEmpty ? 1 : number % 3
      let frame = kind == 0 ? random() : kind == 1 ? mutated() : crafted()
      if Foundation.send(socket.number, frame, frame.count, 0) < 0 {
        count.refusedByKernel += 1
        continue
      }
      switch kind {
      case 0: count.random += 1
      case 1: count.mutated += 1
      default: count.crafted += 1
      }
    }
    return count
  }

  /// Takes what the wire carries; of it only the target's nonces count.
  private mutating func listen() {
    for _ in 0..<1_024 {
      let count = recv(socket.number, &room, room.count, Int32(MSG_DONTWAIT))
      if count < 0 { break }
      if count >= 14 + 51, room[14] == 0x10, room[12] == 0x88, target.isEmpty || room[6..<12].elementsEqual(target) {
        nonce = Array(room[31..<47])
      }
    }
  }

  private mutating func bytes(_ count: Int) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(count + 8)
    while out.count < count { withUnsafeBytes(of: generator.next()) { out.append(contentsOf: $0) } }
    out.removeLast(out.count - count)
    return out
  }

  private mutating func below(_ limit: Int) -> Int { Int(generator.next() % UInt64(limit)) }

  private mutating func header() -> [UInt8] {
    lastSource = [0x02] + bytes(5)
    return [0x01, 0x80, 0xc2, 0, 0, 0x0e] + lastSource + etherType
  }

  private mutating func random() -> [UInt8] {
    let length = 1 + below(1_500)
    var frame = header()
    // A plausible type in three frames of four, so that the storm gets past the first comparison.
    if generator.next() % 4 != 0 { frame.append(UInt8(generator.next() % 7) << 4 | UInt8(generator.next() & 0x0f)) }
    return frame + bytes(max(0, min(1_514, length + 14) - frame.count))
  }

  private mutating func mutated() -> [UInt8] {
    let type = below(samples.count)
    var frame = samples[type][below(samples[type].count)]
    switch generator.next() % 6 {
    case 0: frame = Array(frame.prefix(15 + below(frame.count - 14)))
    case 1: frame += bytes(min(1_514 - min(1_514, frame.count), 1 + below(256)))
    case 2: break  // A replay.
    default: for _ in 0...(generator.next() % 8) { frame[14 + below(frame.count - 14)] ^= UInt8(1 + below(255)) }
    }
    return Array(frame.prefix(1_514))
  }

  /// DISCOVER: 14 head 3, 17 port 2, 19 network 8, 27 epoch 4, 31 nonce 16, 47 id 16, 63 length 2, 65 certificate 203.
  private mutating func crafted() -> [UInt8] {
    let genuine = discovers[below(discovers.count)]
    var certificate = Array(genuine[65..<268])
    switch generator.next() % 8 {
    case 0:
      // Somebody new, of this network, without a certificate.
      return header() + [0x10, 1, 4] + genuine[17..<31] + bytes(32) + [0, 0]
    case 1, 2:
      // A member that was heard, elsewhere.
      return header() + [0x10, 1, 5] + genuine[17..<31] + bytes(16) + genuine[47..<268]
    case 3:
      // A member nobody signed: the ID fits its key, the signature nothing.
      certificate[139 + below(64)] ^= UInt8(1 + below(255))
      return header() + [0x10, 1, 5] + genuine[17..<31] + bytes(16) + genuine[47..<65] + certificate
    case 4, 5:
      // A handshake's opening with the right nonce and a member's certificate.
      return header() + [0x20, 1, 0, 1, 0, 0] + nonce + [1, 7] + certificate + bytes(60)
    case 6:
      certificate[139 + below(64)] ^= UInt8(1 + below(255))
      return header() + [0x20, 1, 0, 1, 0, 0] + nonce + [1, 7] + certificate + bytes(60)
    default:
      // An ATTACH of the last stranger's.
      let content = [1] + bytes(16 + 39)
      return [0x01, 0x80, 0xc2, 0, 0, 0x0e] + lastSource + etherType + [0x60, 2, 0, UInt8(content.count)] + content
    }
  }
}
