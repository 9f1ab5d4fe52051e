// Where the fields of an ONION frame stand (docs/PROTOCOL.md §5).

/// Number of entries of an onion header, one for a whole network: 8, 16, 32 or 64.
public struct OnionSize: Equatable, Sendable {
  /// 0…3, as in byte 0 of a frame and in beacons.
  public let code: UInt8

  public init(code: UInt8) { self.code = code & 3 }

  /// The smallest size that holds `hops` hops (1…64), or nil beyond.
  public init?(hops: Int) {
    guard hops >= 1, hops <= 64 else { return nil }
    var code: UInt8 = 0
    while 8 << code < hops { code += 1 }
    self.init(code: code)
  }

  /// N.
  public var entries: Int { 8 << Int(code) }
  /// Offset of the end-to-end frame: link header, onion header and N entries.
  public var endToEnd: Int { OnionLayout.entries + OnionLayout.entrySize * entries }
  /// Bytes a frame must have at least to be of use on a route: the headers, the end-to-end part (26) and one chunk of
  /// the control stream (512). 650 at N = 8.
  public var smallestFrame: Int { endToEnd + 26 + 512 }
}

public enum OnionLayout {
  /// Bytes of the link header before the onion header.
  public static let linkHeader = 15
  public static let classByte = 15
  static let label = 13
  static let route = 16
  static let counter = 20
  static let mac = 24
  public static let entries = 32
  public static let entrySize = 10
}

/// What a frame carries, and how it is treated on its way.
public enum FrameClass: UInt8, Sendable {
  case control = 0
  case protected = 1
  case bulk = 2
}

/// Byte 15 of a frame: class, direction and which MA's keys apply.
public struct OnionClass: Equatable, Sendable {
  public var traffic: FrameClass
  /// True for frames on a component's way back to the MA.
  public var towardAuthority: Bool
  /// Index of the MA in the network descriptor, 0…15.
  public var authority: Int

  public init(traffic: FrameClass, towardAuthority: Bool, authority: Int) {
    self.traffic = traffic
    self.towardAuthority = towardAuthority
    self.authority = authority
  }

  /// Nil for a class number that does not exist.
  public init?(byte: UInt8) {
    guard let traffic = FrameClass(rawValue: byte >> 5) else { return nil }
    self.init(traffic: traffic, towardAuthority: byte & 0x10 != 0, authority: Int(byte & 15))
  }

  public var byte: UInt8 { traffic.rawValue << 5 | (towardAuthority ? 0x10 : 0) | UInt8(authority & 15) }
}
