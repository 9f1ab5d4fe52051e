// Packets as a kernel would hand them out, made field by field here, without the code under test.

struct Random: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }
  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state &* 0x2545_f491_4f6c_dd1d
  }
}

extension Random {
  mutating func bytes(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      var i = 0
      while i < count {
        buffer[i] = UInt8(truncatingIfNeeded: next() >> 32)
        i += 1
      }
      initialized = count
    }
  }
}

func bytes16(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }

/// The one's complement sum, the slow and obvious way.
func plainSum(_ bytes: [UInt8]) -> Int {
  bytes.withUnsafeBufferPointer { b in
    var sum = 0
    var i = 0
    while i < b.count {
      sum += Int(b[i]) << 8
      if i + 1 < b.count { sum += Int(b[i + 1]) }
      i += 2
    }
    while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
    return sum
  }
}

func plainSum(_ bytes: ArraySlice<UInt8>) -> Int { plainSum(Array(bytes)) }

func pseudoHeader(_ ip: [UInt8], transport: UInt8, length: Int) -> [UInt8] {
  var bytes = Array(ip[0] >> 4 == 4 ? ip[12..<20] : ip[8..<40])
  bytes += [0, transport, 0, UInt8(length >> 16)]
  bytes += bytes16(length & 0xffff)
  return bytes
}

struct TestPacket {
  enum Kind: CaseIterable, Sendable { case tcp4, tcp6, udp4, udp6 }

  var virtio = [UInt8](repeating: 0, count: 10)
  var ip: [UInt8] = []
  var headerLength = 0

  var all: [UInt8] { virtio + ip }
  var payload: ArraySlice<UInt8> { ip[headerLength...] }
  /// Where the flags are, IPv4 without options or IPv6.
  var tcpFlagsAt: Int { (ip[0] >> 4 == 4 ? 20 : 40) + 13 }

  /// A TCP or UDP packet with `payload` bytes; a super-packet when `gsoSize` is not 0.
  static func make(
    _ kind: Kind, payload count: Int, gsoSize: Int, partial: Bool = true, tcpOptions: Int = 12, ipOptions: Int = 0,
    flags: UInt8 = 0x18, ecn: Bool = false, seed: UInt64 = 1
  ) -> TestPacket {
    var random = Random(seed: seed)
    let payload = random.bytes(count)
    let isTCP = kind == .tcp4 || kind == .tcp6
    let is4 = kind == .tcp4 || kind == .udp4
    var l4: [UInt8] = bytes16(40_000) + bytes16(5201)
    if isTCP {
      l4 += [0xff, 0xff, 0xf0, 0x00, 0x01, 0x02, 0x03, 0x04]
      l4 += [UInt8((20 + tcpOptions) / 4) << 4, flags, 0x20, 0, 0, 0, 0, 0]
      l4 += [UInt8](repeating: 1, count: tcpOptions)
    } else {
      l4 += bytes16(8 + count) + [0, 0]
    }
    let transport: UInt8 = isTCP ? 6 : 17
    var p = TestPacket()
    if is4 {
      let h = 20 + ipOptions
      p.ip =
        [0x40 | UInt8(h / 4), 0] + bytes16(h + l4.count + count) + bytes16(0xfffe) + [0x40, 0, 64, transport, 0, 0]
      p.ip += [10, 1, 2, 3, 10, 9, 8, 7] + [UInt8](repeating: 1, count: ipOptions)
      let sum = bytes16(~plainSum(p.ip) & 0xffff)
      p.ip[10] = sum[0]
      p.ip[11] = sum[1]
    } else {
      p.ip = [0x60, 0, 0, 0] + bytes16(l4.count + count) + [transport, 64]
      p.ip += (0..<32).map { UInt8(0xa0 + $0) }
    }
    let ipLength = p.ip.count
    let pseudo = pseudoHeader(p.ip, transport: transport, length: l4.count + count)
    let field = isTCP ? 16 : 6
    let sum = partial ? plainSum(pseudo) : ~plainSum(pseudo + l4 + payload) & 0xffff
    l4[field] = UInt8(sum >> 8)
    l4[field + 1] = UInt8(sum & 255)
    p.headerLength = ipLength + l4.count
    p.ip += l4 + payload
    func native(_ value: Int) -> [UInt8] { [UInt8(value & 255), UInt8(value >> 8)] }
    if partial || gsoSize > 0 {
      let type: UInt8 = gsoSize == 0 ? 0 : isTCP ? (is4 ? 1 : 4) : 5
      p.virtio = [partial ? 1 : 0, type | (ecn ? 0x80 : 0)] + native(p.headerLength)
      p.virtio += native(gsoSize) + native(partial ? ipLength : 0) + native(partial ? field : 0)
    }
    return p
  }

  /// A packet with no transport the bearer knows.
  static func plain(version: Int, count: Int, transport: UInt8 = 1, seed: UInt64 = 1) -> TestPacket {
    var random = Random(seed: seed)
    var p = TestPacket()
    if version == 4 {
      p.ip = [0x45, 0] + bytes16(20 + count) + [0, 7, 0, 0, 64, transport, 0, 0, 10, 1, 2, 3, 10, 9, 8, 7]
      let sum = bytes16(~plainSum(p.ip) & 0xffff)
      p.ip[10] = sum[0]
      p.ip[11] = sum[1]
    } else {
      p.ip = [0x60, 0, 0, 0] + bytes16(count) + [transport, 64] + (0..<32).map { UInt8(0xa0 + $0) }
    }
    p.headerLength = p.ip.count
    p.ip += random.bytes(count)
    return p
  }
}
