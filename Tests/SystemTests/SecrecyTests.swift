// What an eavesdropper on a link learns.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Secrecy {
    /// Bytes before the end-to-end part of an ONION frame (PROTOCOL.md, section 5); nil for other types.
    private static func endToEndOffset(_ frame: [UInt8]) -> Int? {
      guard frame.count > 14, frame[14] >> 4 == 4 else { return nil }
      return 32 + 10 * (8 << Int(frame[14] >> 1 & 3))
    }

    private static func isLifeline(_ frame: [UInt8]) -> Bool {
      frame.count > 14 && frame[12] == 0x88 && frame[13] == 0xb5
    }

    private static func onion(_ frames: [[UInt8]]) -> [[UInt8]] { frames.filter { endToEndOffset($0) != nil } }

    @Test func `no frame on any link shows a name or an address, from the first frame on`() throws {
      var options = LaboratoryOptions()
      options.authorityName = "quartermaster"
      options.componentStem = "wallaby"
      options.domain = "outback.example"
      try withLaboratory(.chain(4), options: options) { laboratory in
        let captures = try laboratory.linkEnds.map {
          try Capture($0.a.interface, in: laboratory.nodes[$0.a.node].namespace)
        }
        var trial = try Trial(laboratory)
        try trial.start(.ascending)
        for node in laboratory.components {
          let (four, six) = try trial.pair(of: node)
          for address in [four, six] { _ = try laboratory.authority.ping(address.text, count: 10, interval: 0.02) }
        }
        let frames = captures.flatMap { $0.finish() }.filter(Self.isLifeline)
        #expect(frames.count > 100)
        var secrets: [(String, [UInt8])] = []
        for name in ["quartermaster", "wallaby", "outback"] { secrets.append((name, Array(name.utf8))) }
        for address in trial.addresses.values.flatMap({ $0 }) { secrets.append((address.text, address.bytes)) }
        for (name, bytes) in secrets {
          let shown = frames.filter { position(of: bytes, in: Array($0.dropFirst(14))) != nil }
          // Four bytes meet by chance once in 2^32 places: one frame is chance, two are a leak.
          #expect(shown.count <= (bytes.count == 4 ? 1 : 0), "\(name) stands in \(shown.count) frames")
        }
      }
    }

    @Test func `nothing of a protected packet is equal on two links, and its frames do not show the path's length`()
      throws
    {
      try withRunningNetwork(.chain(4)) { laboratory, trial in
        let first = try Capture("eth0", in: laboratory.nodes[0].namespace)
        let last = try Capture("eth0", in: laboratory.nodes[3].namespace)
        let (four, _) = try trial.pair(of: laboratory.nodes[3])
        _ = try laboratory.authority.ping(four.text, count: 50, interval: 0.02)
        let (onTheFirst, onTheLast) = (Self.onion(first.finish()), Self.onion(last.finish()))
        #expect(onTheFirst.count > 50 && onTheLast.count > 50)
        let shared = sharedRuns(onTheFirst, onTheLast)
        #expect(
          shared.isEmpty,
          "\(shared.count) runs of eight bytes are equal, for instance \(String(describing: shared.first))")

        // The same packet to the nearest and to the farthest: one size on the first link.
        var sizes: [Set<Int>] = []
        for node in [laboratory.nodes[1], laboratory.nodes[3]] {
          let capture = try Capture("eth0", in: laboratory.nodes[0].namespace)
          let (four, _) = try trial.pair(of: node)
          _ = try laboratory.authority.ping(four.text, count: 30, interval: 0.02, payload: 555)
          let frames = Self.onion(capture.finish()).filter { $0.count > 555 + 28 }
          #expect(!frames.isEmpty)
          sizes.append(Set(frames.map(\.count)))
        }
        #expect(sizes[0] == sizes[1], "sizes \(sizes[0]) and \(sizes[1])")
      }
    }

    @Test func `of a bulk packet only the end-to-end ciphertext is equal on two links`() throws {
      try withRunningNetwork(.chain(4)) { laboratory, trial in
        let far = laboratory.nodes[3]
        let (four, _) = try trial.pair(of: far)
        let first = try Capture("eth0", in: laboratory.nodes[0].namespace, limit: 3000)
        let last = try Capture("eth0", in: far.namespace, limit: 3000)
        let receiver = try udpSocket(in: far.namespace, isIPv6: false, port: 9)
        let sender = try udpSocket(in: laboratory.authority.namespace, isIPv6: false)
        let payload = [UInt8](repeating: 0x55, count: 1200)
        // 20 Mbit/s for a second: far above what counts as protected.
        for _ in 0..<2000 {
          _ = four.withSocketAddress(port: 9) { sendto(sender.number, payload, payload.count, 0, $0, $1) }
          usleep(300)
        }
        withExtendedLifetime(receiver) {}
        let (onTheFirst, onTheLast) = (Self.onion(first.finish()), Self.onion(last.finish()))
        let shared = sharedRuns(onTheFirst, onTheLast)
        #expect(!shared.isEmpty, "no bulk frame was seen on both links")
        let offset = try #require(onTheFirst.compactMap(Self.endToEndOffset).min())
        // Before the end-to-end part nothing may be equal, but for the last byte or two before it by chance (1 in 256).
        let early = shared.filter { $0.key.offsetInFirst < offset - 2 || $0.key.offsetInSecond < offset - 2 }
        #expect(early.isEmpty, "equal before byte \(offset): \(early.prefix(3))")
        let chance = shared.filter { $0.key.offsetInFirst < offset || $0.key.offsetInSecond < offset }
          .reduce(0) { $0 + $1.value }
        #expect(chance <= 8 + shared.reduce(0) { $0 + $1.value } / 64, "\(chance) runs begin before byte \(offset)")
      }
    }
  }
}
