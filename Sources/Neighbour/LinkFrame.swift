// The first bytes of every lifeline frame (docs/PROTOCOL.md §1): what byte 0 says, and where the fields of the link
// header stand that types 3, 4 and 5 share.

import Core
import Wire

public enum FrameType: UInt8, Sendable {
  case discover = 1
  case handshake = 2
  case hello = 3
  case onion = 4
  case linked = 5
  case open = 6
}

/// What LINKED and OPEN frames carry.
public enum ContentSubtype {
  public static let beacon: UInt8 = 1
  public static let relay: UInt8 = 2
  /// In LINKED frames only.
  public static let toward: UInt8 = 3
  /// Routes that are broken, in LINKED frames only.
  public static let broken: UInt8 = 4
  /// Descriptors, in LINKED frames only (docs/PROTOCOL.md section 9).
  public static let successionAsk: UInt8 = 8
  public static let successionPiece: UInt8 = 9
  public static let standing: UInt8 = 10

  /// Whether a LINKED frame may carry it.
  @inline(__always)
  static func isLinked(_ subtype: UInt8) -> Bool {
    subtype >= beacon && subtype <= broken || subtype >= successionAsk && subtype <= standing
  }
}

extension NeighbourEngine {
  /// What byte 0 of a frame says, which anybody may have written.
  @inline(__always)
  public static func isHello(_ head: UInt8) -> Bool { head >> 4 == FrameType.hello.rawValue }
}

/// Byte 0: type 4 bits, phase 1, size code 2, and a bit that is 0.
struct FrameHead {
  let type: FrameType
  /// 0 or 1: which of the two live link keys protects the frame.
  let phase: UInt8
  let sizeCode: UInt8

  init(_ type: FrameType, phase: UInt8 = 0, sizeCode: UInt8 = 0) {
    self.type = type
    self.phase = phase & 1
    self.sizeCode = sizeCode & 3
  }

  /// Nil when the byte is not one this version sends.
  @inline(__always)
  init?(_ byte: UInt8) {
    guard byte & 1 == 0, let type = FrameType(rawValue: byte >> 4) else { return nil }
    self.type = type
    phase = byte >> 3 & 1
    sizeCode = byte >> 1 & 3
    switch type {
    case .onion: break
    case .hello, .linked: if sizeCode != 0 { return nil }
    case .discover, .handshake, .open: if byte & 0x0f != 0 { return nil }
    }
  }

  @inline(__always)
  var byte: UInt8 { type.rawValue << 4 | phase << 3 | sizeCode << 1 }
}

/// The link header of types 3, 4 and 5: offsets in the frame, bytes.
public enum LinkHeader {
  public static let size = 15
  static let counter = 1
  static let tag = 5
  /// The detour label, 2 bytes, in the clear once the frame was received.
  public static let detour = 13

  /// The end of the onion header (link header, 17 fixed bytes, 8 << sizeCode entries of 10).
  @inline(__always)
  public static func onionHeaderEnd(sizeCode: UInt8) -> Int { 32 + 10 * (8 << Int(sizeCode & 3)) }
  /// The size code in byte 0 of an ONION frame: 0...3.
  @inline(__always)
  public static func sizeCode(_ byte: UInt8) -> UInt8 { byte >> 1 & 3 }
  /// An ONION frame holds at least the 26 bytes around an end-to-end payload after its header.
  static let endToEndSize = 26
  /// The class of an ONION frame: bits 7..5 of this byte; bulk is 2.
  static let onionClass = 15
}

/// LINKED: link header, subtype 1, length 2, content. OPEN: byte 0, subtype 1, length 2, content.
public enum ContentFrame {
  public static let linkedContent = 18
  public static let openContent = 4
}

// MARK: - Fields in place

@inline(__always)
func loadBig16(_ p: UnsafePointer<UInt8>) -> UInt16 { UInt16(p[0]) << 8 | UInt16(p[1]) }

@inline(__always)
func loadBig32(_ p: UnsafePointer<UInt8>) -> UInt32 {
  UInt32(bigEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt32.self))
}

@inline(__always)
func loadLittle64(_ p: UnsafePointer<UInt8>) -> UInt64 {
  UInt64(littleEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt64.self))
}

@inline(__always)
func storeBig16(_ value: UInt16, _ p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.bigEndian, as: UInt16.self)
}

@inline(__always)
func storeBig32(_ value: UInt32, _ p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.bigEndian, as: UInt32.self)
}

@inline(__always)
func storeLittle64(_ value: UInt64, _ p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: value.littleEndian, as: UInt64.self)
}
