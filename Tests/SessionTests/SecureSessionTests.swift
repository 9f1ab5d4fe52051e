// End-to-end frames: sealed, opened once, and nothing else (docs/PROTOCOL.md §6).

import Core
import Crypto
import TestSupport
import Testing

@testable import Session

@Suite struct SecureSessionTests {
  @Test func `the busiest space and direction says how much a key was used`() throws {
    var meeting = Meeting()
    let (mine, theirs) = try meeting.sessions()
    #expect(mine.framesUsed == 0 && theirs.framesUsed == 0)
    var frame = [UInt8](repeating: 0, count: 64)
    func send(_ space: SequenceSpace, _ from: SecureSession, _ to: SecureSession) {
      frame.withUnsafeMutableBufferPointer {
        guard let p = $0.baseAddress else { return }
        let count = from.seal(p, count: 20, space: space)
        _ = to.open(p, count: count)
      }
    }
    for _ in 0..<3 { send(.bulk, mine, theirs) }
    for _ in 0..<2 { send(.control, theirs, mine) }
    #expect(mine.framesUsed == 3 && theirs.framesUsed == 3)
    for _ in 0..<5 { send(.protected, theirs, mine) }
    #expect(mine.framesUsed == 5 && theirs.framesUsed == 5)
  }

  static let spaces = [SequenceSpace.control, .protected, .bulk]

  /// A sealed frame with `plain` (segment and payload) in it.
  func seal(_ plain: [UInt8], _ session: SecureSession, _ space: SequenceSpace) -> [UInt8] {
    var frame = [UInt8](repeating: 0xee, count: 5) + plain + [UInt8](repeating: 0xee, count: 16)
    let count = frame.withUnsafeMutableBufferPointer {
      session.seal($0.baseAddress!, count: plain.count, space: space)
    }
    #expect(count == frame.count)
    return frame
  }

  func open(_ frame: [UInt8], _ session: SecureSession) -> (SessionOpening, plain: [UInt8]) {
    var frame = frame
    let opening = frame.withUnsafeMutableBufferPointer { session.open($0.baseAddress!, count: $0.count) }
    guard case .opened(_, _, let count) = opening else { return (opening, []) }
    return (opening, Array(frame[5..<(5 + count)]))
  }

  func highest(_ session: SecureSession) -> [UInt64] {
    [session.control.highest, session.protected.highest, session.bulk.highest]
  }

  @Test func `sealed frames are the golden ones in both directions (section 6)`() throws {
    let golden = try vectors("session.txt")
    func field(_ name: String) throws -> [UInt8] { try #require(golden[name]) }
    let (down, up) = (bytes32(try field("sealDown")), bytes32(try field("sealUp")))
    let onion = bytes32(try field("onion"))
    for (name, sealKey, openKey) in [("down", down, up), ("up", up, down)] {
      let sender = SecureSession(keys: SessionKeys(seal: sealKey, open: openKey, onion: onion, epoch: 2, spi: 1))
      let receiver = SecureSession(keys: SessionKeys(seal: openKey, open: sealKey, onion: onion, epoch: 2, spi: 1))
      for (number, space) in Self.spaces.enumerated() {
        for sequence in 1...2 {
          let plain = try field("\(name).\(number).\(sequence).plain")
          let sealed = try field("\(name).\(number).\(sequence).sealed")
          #expect(seal(plain, sender, space) == sealed)
          let (opening, opened) = open(sealed, receiver)
          #expect(opening == .opened(space: space, sequence: UInt64(sequence), count: plain.count))
          #expect(opened == plain)
        }
      }
      // Sequence 2^32 + 7, of which 7 travels.
      sender.sent[2] = 0x1_0000_0006
      _ = receiver.bulk.accept(0xffff_ff00)
      let sealed = try field("\(name).2.late.sealed")
      #expect(seal([0, 0, 0, 0, 0], sender, .bulk) == sealed)
      #expect(open(sealed, receiver).0 == .opened(space: .bulk, sequence: 0x1_0000_0007, count: 5))
    }
  }

  @Test func `frames of every size go through, 26 bytes longer than the payload (section 6)`() throws {
    var meeting = Meeting()
    for epoch in UInt8(0)...3 {
      let (authority, component) = try meeting.sessions(epoch: epoch)
      for (from, to) in [(authority, component), (component, authority)] {
        for count in [0, 1, 15, 16, 17, 63, 64, 65, 512, 802, 1_362, 8_900] {
          for space in Self.spaces {
            let plain = (0..<(count + 5)).map { _ in meeting.entropy.u8() }
            let frame = seal(plain, from, space)
            #expect(frame.count == count + SessionLayout.overhead)
            #expect(frame[0] == epoch << 6 | space.rawValue << 4)
            #expect(frame.withUnsafeBufferPointer { SecureSession.epoch(of: $0.baseAddress!) } == epoch)
            let (opening, opened) = open(frame, to)
            #expect(opening == .opened(space: space, sequence: from.sent[Int(space.rawValue)], count: plain.count))
            #expect(opened == plain)
          }
        }
      }
    }
  }

  @Test func `every bit of a frame is authenticated, and a refused one moves no window (section 6)`() throws {
    var meeting = Meeting()
    let (authority, component) = try meeting.sessions()
    for space in Self.spaces {
      _ = open(seal([0, 0, 0, 0, 0], authority, space), component)
      let frame = seal([1, 2, 3, 4, 5, 6, 7, 8, 9], authority, space)
      let before = highest(component)
      for bit in 0..<(frame.count * 8) {
        let (opening, _) = open(frame.flipping(bit: bit), component)
        guard case .refused = opening else {
          Issue.record("bit \(bit) of \(space)")
          return
        }
      }
      #expect(highest(component) == before)
      #expect(open(frame, component).plain == [1, 2, 3, 4, 5, 6, 7, 8, 9])
    }
  }

  @Test func `frames cut short, with reserved bits or in space 3 are refused (section 6)`() throws {
    var meeting = Meeting()
    let (authority, component) = try meeting.sessions()
    let frame = seal([1, 2, 3, 4, 5, 6], authority, .protected)
    for count in 1..<frame.count {
      let reason: SessionRefusal = count < 26 ? .short : .wrongTag
      #expect(open(Array(frame[..<count]), component).0 == .refused(reason))
    }
    #expect(open(frame + [0], component).0 == .refused(.wrongTag))
    for bit in 0..<4 { #expect(open(frame.flipping(bit: bit), component).0 == .refused(.reservedBits)) }
    var other = frame
    other[0] |= 0x30
    #expect(open(other, component).0 == .refused(.reservedBits))
    #expect(open(frame, component).plain.count == 6)
    let names = SessionRefusal.allCases.map { "\($0.name)" }
    #expect(names == ["short", "reservedBits", "replayed", "wrongTag"])
  }

  @Test func `another session's frames, an epoch's neighbour's and one's own are refused`() throws {
    var meeting = Meeting()
    let (authority, component) = try meeting.sessions(epoch: 1)
    let (other, _) = try meeting.sessions(epoch: 1)
    let (next, _) = try meeting.sessions(epoch: 2)
    for sender in [other, next, component] {
      let frame = seal([0, 0, 0, 0, 0], sender, .control)
      #expect(open(frame, component).0 == .refused(.wrongTag))
    }
    // The right keys under another epoch's bits: byte 0 is additional data.
    var frame = seal([0, 0, 0, 0, 0], authority, .control)
    frame[0] ^= 0xc0
    #expect(open(frame, component).0 == .refused(.wrongTag))
  }

  @Test func `each frame is opened once; windows reach back 1,024 in control and 8,192 elsewhere (section 6)`() throws {
    for (space, size) in [(SequenceSpace.control, 1_024), (.protected, 8_192), (.bulk, 8_192)] {
      var meeting = Meeting()
      let (authority, component) = try meeting.sessions()
      let frames = (0..<(size + 10)).map { _ in seal([0, 0, 0, 0, 0], authority, space) }
      // The last one first: what lies `size` or more behind it is too old.
      #expect(open(frames[size + 9], component).0 == .opened(space: space, sequence: UInt64(size) + 10, count: 5))
      for i in 0..<(size + 9) {
        let expected: SessionOpening =
          i < 10 ? .refused(.replayed) : .opened(space: space, sequence: UInt64(i) + 1, count: 5)
        #expect(open(frames[i], component).0 == expected, "\(space) \(i)")
      }
      for frame in frames { #expect(open(frame, component).0 == .refused(.replayed)) }
    }
  }

  @Test func `one space does not move another's window, and a frame does not change spaces (section 6)`() throws {
    var meeting = Meeting()
    let (authority, component) = try meeting.sessions()
    for _ in 0..<9_000 { _ = open(seal([0, 0, 0, 0, 0], authority, .bulk), component) }
    #expect(highest(component) == [0, 0, 9_000])
    let first = seal([1, 0, 0, 0, 0], authority, .control)
    let second = seal([2, 0, 0, 0, 0], authority, .protected)
    for (frame, space) in [(first, UInt8(1)), (first, 2), (second, 0), (second, 2)] {
      var moved = frame
      moved[0] = frame[0] & 0xcf | space << 4
      let (opening, _) = open(moved, component)
      #expect(opening == .refused(space == 2 ? .replayed : .wrongTag))
    }
    #expect(open(first, component).0 == .opened(space: .control, sequence: 1, count: 5))
    #expect(open(second, component).0 == .opened(space: .protected, sequence: 1, count: 5))
    #expect(highest(component) == [1, 1, 9_000])
    #expect(Self.spaces.map { authority.sent[Int($0.rawValue)] } == [1, 1, 9_000])
  }

  @Test func `frames in any order across the turn of the 32-bit sequence are opened once each (section 6)`() throws {
    for seed in UInt64(1)...3 {
      var meeting = Meeting(seed: seed)
      let (authority, component) = try meeting.sessions()
      authority.sent[1] = 0xffff_f000
      _ = component.protected.accept(0xffff_f000)
      var frames = (0..<8_000).map { i in
        seal([UInt8(i & 255), UInt8(i >> 8), 0, 0, 0], authority, .protected)
      }
      for i in frames.indices {
        // Not more than 2,000 from its place.
        frames.swapAt(i, min(frames.count - 1, i + Int(meeting.entropy.below(2_000))))
      }
      var seen: Set<[UInt8]> = []
      for frame in frames {
        let (opening, plain) = open(frame, component)
        if case .opened = opening { #expect(seen.insert(plain).inserted) }
        #expect(open(frame, component).0 == .refused(.replayed))
      }
      #expect(seen.count == 8_000, "seed \(seed)")
    }
  }
}
