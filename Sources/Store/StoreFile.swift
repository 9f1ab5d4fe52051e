// The nonvolatile file: two copies at fixed places, written alternately, each with a generation and a checksum. A write
// touches only the older copy, so one that is cut off anywhere leaves the newer one; the worst that is lost is the last
// change. One file per copy with rename would be as safe, and would not work on a raw flash partition.

import Core
import Crypto
import Membership
import Wire

/// Where the copies lie.
public struct StoreLayout: Sendable {
  /// 1 component, 2 authority.
  public let role: NodeRole
  public init(_ role: NodeRole) { self.role = role }

  /// Bytes of one copy.
  public var copySize: Int { role == .component ? 2048 : 128 * 1024 }
  /// 4 KiB on a component, 256 KiB on an authority.
  public var fileSize: Int { 2 * copySize }
  /// What the contents may take.
  public var room: Int { copySize - StoreFile.headerSize }
  /// What a component's settings may take (`Settings.size`), so that every descriptor that authorities may propose and a
  /// certificate with the longest name fit beside them (`SettingsRoomTests`, docs/decisions/0059).
  public static let settingsRoom = 209
  /// Odd generations are the first copy, even ones the second.
  public func offset(ofGeneration generation: UInt64) -> Int { generation % 2 == 1 ? 0 : copySize }
}

public struct LoadedStore {
  public let contents: StoreContents
  public let generation: UInt64
  /// The other copy holds something that is not whole: the last write was cut off, or the medium is failing.
  public let damagedCopy: Bool
}

/// Bytes to put at an offset of the file, in one write, then synchronize.
public struct StoreWrite {
  public let offset: Int
  public let bytes: [UInt8]
  public let generation: UInt64
}

public enum StoreFile {
  static let magic: UInt32 = 0x4c4c_4e56  // "LLNV"
  public static let version: UInt8 = 1
  /// magic 4, version 1, role 1, generation 8, length 4, checksum 32 over the fields before and the contents.
  public static let headerSize = 4 + 1 + 1 + 8 + 4 + 32
  private static let fieldsSize = 18
  /// Copies are written padded with zeros to a multiple of this.
  private static let block = 2048

  /// The whole newest copy of a file, or of a partition that is larger than the store.
  public static func decode(_ file: [UInt8]) throws(StoreError) -> LoadedStore {
    var best: (generation: UInt64, contents: StoreContents)?
    var newerVersion: UInt8?
    for role in [NodeRole.component, .authority] {
      let layout = StoreLayout(role)
      for parity in [1, 2] as [UInt64] {
        switch examine(file, at: layout.offset(ofGeneration: parity), layout: layout, parity: parity) {
        case .blank, .otherLayout, .damaged: continue
        case .newerVersion(let version): newerVersion = version
        case .whole(let generation, let contents):
          if let have = best, have.generation >= generation { continue }
          best = (generation, contents)
        }
      }
    }
    guard let best else {
      if let newerVersion { throw .unsupportedVersion(newerVersion) }
      throw isBlank(file[...]) ? .blank : .damaged
    }
    return LoadedStore(
      contents: best.contents, generation: best.generation,
      damagedCopy: file.count < StoreLayout(best.contents.role).fileSize
        || otherCopyDamaged(file, role: best.contents.role, generation: best.generation))
  }

  private static func otherCopyDamaged(_ file: [UInt8], role: NodeRole, generation: UInt64) -> Bool {
    let layout = StoreLayout(role)
    let other = generation &+ 1
    switch examine(file, at: layout.offset(ofGeneration: other), layout: layout, parity: other) {
    case .whole: return false
    case .blank: return generation > 1
    case .damaged, .otherLayout, .newerVersion: return true
    }
  }

  /// The write that makes `contents` the newest copy after `generation`.
  public static func nextWrite(_ contents: StoreContents, after generation: UInt64) throws(StoreError) -> StoreWrite {
    try nextWrite(encoded: try contents.encode(), role: contents.role, after: generation)
  }

  /// The same for contents encoded before.
  public static func nextWrite(
    encoded contents: [UInt8], role: NodeRole, after generation: UInt64
  ) throws(StoreError) -> StoreWrite {
    let layout = StoreLayout(role)
    if contents.count > layout.room { throw .tooLarge(neededBytes: contents.count, haveBytes: layout.room) }
    let next = generation &+ 1
    var writer = ByteWriter(reserving: contents.count + headerSize + block)
    writer.u32(magic)
    writer.u8(version)
    writer.u8(role.rawValue)
    writer.u64(next)
    writer.u32(UInt32(truncatingIfNeeded: contents.count))
    writer.bytes32(blake2b256(writer.bytes + contents, key: nil))
    writer.array(contents)
    writer.zeros((block - writer.bytes.count % block) % block)
    return StoreWrite(offset: layout.offset(ofGeneration: next), bytes: writer.bytes, generation: next)
  }

  /// A new file: the first copy written, the second blank.
  public static func newFile(_ contents: StoreContents) throws(StoreError) -> [UInt8] {
    let first = try nextWrite(contents, after: 0)
    return first.bytes + [UInt8](repeating: 0, count: StoreLayout(contents.role).fileSize - first.bytes.count)
  }

  /// The most bytes of a file worth reading.
  public static let sizeLimit = StoreLayout(.authority).fileSize

  private enum Copy {
    case blank
    case damaged
    case otherLayout
    case newerVersion(UInt8)
    case whole(UInt64, StoreContents)
  }

  private static func examine(_ file: [UInt8], at offset: Int, layout: StoreLayout, parity: UInt64) -> Copy {
    if file.count < offset + headerSize { return offset >= file.count ? .blank : .damaged }
    let end = min(file.count, offset + layout.copySize)
    let copy = Array(file[offset..<end])
    var reader = ByteReader(copy.span)
    let version: UInt8
    let role: UInt8
    let generation: UInt64
    let checksum: Bytes32
    let contents: [UInt8]
    do throws(WireError) {
      if try reader.u32() != magic { return isBlank(copy[...]) ? .blank : .damaged }
      version = try reader.u8()
      role = try reader.u8()
      generation = try reader.u64()
      let length = Int(truncatingIfNeeded: try reader.u32())
      checksum = try reader.bytes32()
      contents = try reader.array(length)
    } catch { return .damaged }
    if blake2b256(Array(copy[..<fieldsSize]) + contents, key: nil) != checksum { return .damaged }
    if version != Self.version { return .newerVersion(version) }
    if role != layout.role.rawValue || generation % 2 != parity % 2 { return .otherLayout }
    do throws(StoreError) {
      let decoded = try StoreContents(decoding: contents)
      return decoded.role == layout.role ? .whole(generation, decoded) : .damaged
    } catch { return .damaged }
  }

  private static func isBlank(_ bytes: ArraySlice<UInt8>) -> Bool {
    guard let first = bytes.first else { return true }
    if first != 0 && first != 0xff { return false }
    for byte in bytes where byte != first { return false }
    return true
  }
}
