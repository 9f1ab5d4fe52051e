// End-to-end protection between an MA and a component (docs/PROTOCOL.md §6): ChaCha20-Poly1305 in place, a sequence
// and a replay window for each space. A packet transform: nothing here allocates after the start.

import Core
import Crypto

/// Sequence spaces, so that one kind of traffic never moves another's window.
public enum SequenceSpace: UInt8, Sendable {
  case control = 0
  case protected = 1
  case bulk = 2
}

public enum SessionLayout {
  /// Epoch byte and sequence.
  public static let header = 5
  public static let segment = 5
  public static let tag = 16
  /// Bytes around the payload.
  public static let overhead = header + segment + tag
}

public enum SessionRefusal: UInt8, Sendable, CaseIterable {
  case short, reservedBits, replayed, wrongTag

  /// As `lifeline ctl` shows it.
  public var name: StaticString {
    switch self {
    case .short: "short"
    case .reservedBits: "reservedBits"
    case .replayed: "replayed"
    case .wrongTag: "wrongTag"
    }
  }
}

public enum SessionOpening: Equatable {
  /// Segment and payload stand decrypted at `SessionLayout.header`, `count` bytes.
  case opened(space: SequenceSpace, sequence: UInt64, count: Int)
  case refused(SessionRefusal)
}

/// One pair of keys with its counters. Replay windows: 1,024 in the control space, 8,192 in the others; 2.3 KiB.
public final class SecureSession {
  public private(set) var keys: SessionKeys
  /// Frames sealed so far in each space.
  var sent: InlineArray<3, UInt64> = [0, 0, 0]
  var control = ReplayWindow<17>()
  var protected = ReplayWindow<129>()
  var bulk = ReplayWindow<129>()

  public init(keys: SessionKeys) { self.keys = keys }

  deinit { keys.erase() }

  /// The most frames that were protected under one key and space, this way or that, as far as it is known here.
  public var framesUsed: UInt64 {
    max(max(sent[0], max(sent[1], sent[2])), max(control.highest, max(protected.highest, bulk.highest)))
  }

  /// Protects a frame whose segment and payload (`count` bytes) stand at `frame + SessionLayout.header`.
  /// `frame` has room for the tag behind them.
  /// - Returns: bytes of the whole end-to-end frame.
  public func seal(_ frame: UnsafeMutablePointer<UInt8>, count: Int, space: SequenceSpace) -> Int {
    let index = Int(space.rawValue)
    sent[index] &+= 1
    let sequence = sent[index]
    frame[0] = keys.epoch << 6 | space.rawValue << 4
    UnsafeMutableRawPointer(frame + 1).storeBytes(
      of: UInt32(truncatingIfNeeded: sequence).bigEndian, as: UInt32.self)
    AEAD.seal(
      frame + SessionLayout.header, count: count, additional: frame, additionalCount: 1,
      prefix: UInt32(space.rawValue), counter: sequence, key: keys.seal)
    return SessionLayout.header + count + SessionLayout.tag
  }

  /// Which key epoch a frame claims.
  public static func epoch(of frame: UnsafePointer<UInt8>) -> UInt8 { frame[0] >> 6 }

  /// Whether a frame opens under these keys; nothing changes, neither the frame nor a window. For where several sessions
  /// may be meant: makes a copy.
  public func recognizes(_ frame: UnsafePointer<UInt8>, count: Int) -> Bool {
    guard count >= SessionLayout.overhead, frame[0] >> 6 == keys.epoch, frame[0] & 15 == 0,
      let space = SequenceSpace(rawValue: frame[0] >> 4 & 3)
    else { return false }
    let low = UInt32(bigEndian: UnsafeRawPointer(frame + 1).loadUnaligned(as: UInt32.self))
    let sequence: UInt64
    switch space {
    case .control: sequence = control.reconstruct(low: low)
    case .protected: sequence = protected.reconstruct(low: low)
    case .bulk: sequence = bulk.reconstruct(low: low)
    }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { copy in
      guard let p = copy.baseAddress else { return false }
      UnsafeMutableRawPointer(p).copyMemory(from: frame, byteCount: count)
      return AEAD.open(
        p + SessionLayout.header, count: count - SessionLayout.header - SessionLayout.tag, additional: p,
        additionalCount: 1, prefix: UInt32(space.rawValue), counter: sequence, key: keys.open)
    }
  }

  /// Checks and decrypts in place. After a refusal the bytes are unspecified, and no window has moved.
  public func open(_ frame: UnsafeMutablePointer<UInt8>, count: Int) -> SessionOpening {
    guard count >= SessionLayout.overhead else { return .refused(.short) }
    guard frame[0] & 15 == 0, let space = SequenceSpace(rawValue: frame[0] >> 4 & 3) else {
      return .refused(.reservedBits)
    }
    let low = UInt32(bigEndian: UnsafeRawPointer(frame + 1).loadUnaligned(as: UInt32.self))
    switch space {
    case .control: return open(frame, count, space, low, &control)
    case .protected: return open(frame, count, space, low, &protected)
    case .bulk: return open(frame, count, space, low, &bulk)
    }
  }

  @inline(__always)
  private func open<let words: Int>(
    _ frame: UnsafeMutablePointer<UInt8>, _ count: Int, _ space: SequenceSpace, _ low: UInt32,
    _ window: inout ReplayWindow<words>
  ) -> SessionOpening {
    let sequence = window.reconstruct(low: low)
    guard window.check(sequence) else { return .refused(.replayed) }
    let plain = count - SessionLayout.header - SessionLayout.tag
    guard
      AEAD.open(
        frame + SessionLayout.header, count: plain, additional: frame, additionalCount: 1,
        prefix: UInt32(space.rawValue), counter: sequence, key: keys.open)
    else { return .refused(.wrongTag) }
    _ = window.accept(sequence)
    return .opened(space: space, sequence: sequence, count: plain)
  }
}
