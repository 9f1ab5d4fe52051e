// Files as the store and the USB key need them: small, read whole, and written so that power may fail at any moment.
// Paths are bytes, as the command line gives them.

import CSystem
import Core

/// What a path leads to.
public struct FileStatus {
  public enum Kind {
    case regular, directory, device, other
  }
  public let kind: Kind
  /// The low twelve bits of the mode.
  public let permissions: UInt32
  /// Bytes; 0 for a device.
  public let size: UInt64

  public var isReadableByOthers: Bool { permissions & 0o077 != 0 }
}

/// An open file that closes itself. Every operation names the path when it fails.
public struct OpenFile: ~Copyable {
  public let path: [UInt8]
  let descriptor: Int32

  public enum Access {
    case read
    /// Read and write what is there.
    case update
    /// A new file, mode 0600; fails where one is.
    case create
  }

  public init(_ path: [UInt8], _ access: Access) throws(SystemError) {
    let how =
      switch access {
      case .read: CS_FILE_READ
      case .update: CS_FILE_UPDATE
      case .create: CS_FILE_CREATE
      }
    self.path = path
    descriptor = Int32(
      try checked(Int64(withPath(path) { cs_file_open($0, Int32(how.rawValue), 0o600) }), "open", path))
  }

  deinit { _ = cs_file_close(descriptor) }

  /// Up to `limit` bytes from the start.
  public func read(limit: Int) throws(SystemError) -> [UInt8] {
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: min(limit, 16 * 1024))
    while bytes.count < limit {
      let wanted = min(block.count, limit - bytes.count)
      let at = UInt64(bytes.count)
      let count = block.withUnsafeMutableBytes { cs_file_pread(descriptor, $0.baseAddress, wanted, at) }
      if try checked(count, "read", path) == 0 { break }
      bytes.append(contentsOf: block[..<Int(count)])
    }
    return bytes
  }

  /// Writes all of `bytes` at `offset` and synchronizes: when it returns, they are on the medium.
  public func write(_ bytes: [UInt8], at offset: Int) throws(SystemError) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        cs_file_pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, UInt64(offset + done))
      }
      if try checked(count, "write", path) == 0 {
        throw SystemError(code: FileErrno.inputOutput, action: Files.action("write", path))
      }
      done += Int(count)
    }
    try checked(Int64(cs_file_sync(descriptor)), "write", path)
  }

  /// False when another process holds the lock; ours ends when the file is closed.
  public func lock() throws(SystemError) -> Bool {
    let outcome = cs_file_lock(descriptor)
    if outcome == -FileErrno.wouldBlock { return false }
    try checked(Int64(outcome), "lock", path)
    return true
  }
}

public enum Files {
  /// Names in one directory: 64 KiB of them, about 1,700 record files.
  static let listingLimit = 64 * 1024

  public static func status(_ path: [UInt8]) throws(SystemError) -> FileStatus {
    var kind: Int32 = 0
    var permissions: UInt32 = 0
    var size: UInt64 = 0
    try checked(Int64(withPath(path) { cs_file_status($0, &kind, &permissions, &size) }), "look at", path)
    let known: FileStatus.Kind =
      switch UInt32(bitPattern: kind) {
      case CS_FILE_REGULAR.rawValue: .regular
      case CS_FILE_DIRECTORY.rawValue: .directory
      case CS_FILE_DEVICE.rawValue: .device
      default: .other
      }
    return FileStatus(kind: known, permissions: permissions, size: size)
  }

  /// Nil when nothing is there; other failures are thrown.
  public static func statusIfPresent(_ path: [UInt8]) throws(SystemError) -> FileStatus? {
    do throws(SystemError) { return try status(path) } catch {
      if error.code == FileErrno.noEntry { return nil }
      throw error
    }
  }

  /// Whether there is a symbolic link at the path, wherever it leads.
  public static func isLink(_ path: [UInt8]) throws(SystemError) -> Bool {
    try checked(Int64(withPath(path) { cs_file_is_link($0) }), "look at", path) == 1
  }

  public static func read(_ path: [UInt8], limit: Int) throws(SystemError) -> [UInt8] {
    try OpenFile(path, .read).read(limit: limit)
  }

  /// Writes a new file beside `path`, synchronizes and renames it over `path`: readers and power cuts see the old file
  /// or the new one. On failure nothing is left behind.
  public static func replace(_ path: [UInt8], with bytes: [UInt8]) throws(SystemError) {
    let draft = try self.draft(for: path, bytes)
    try commit(draft: draft, as: path)
  }

  /// The first half of `replace`: the file under its temporary name, on the medium.
  public static func draft(for path: [UInt8], _ bytes: [UInt8]) throws(SystemError) -> [UInt8] {
    let draft = path + Array(".tmp".utf8)
    // What a run that was cut off left there.
    if try statusIfPresent(draft) != nil { try remove(draft) }
    let file = try OpenFile(draft, .create)
    do throws(SystemError) { try file.write(bytes, at: 0) } catch {
      discard(draft)
      throw error
    }
    return draft
  }

  /// The second half of `replace`.
  public static func commit(draft: [UInt8], as path: [UInt8]) throws(SystemError) {
    do throws(SystemError) { try rename(draft, path) } catch {
      discard(draft)
      throw error
    }
    try synchronizeDirectory(parent(of: path))
  }

  public static func rename(_ from: [UInt8], _ to: [UInt8]) throws(SystemError) {
    try checked(Int64(withPath(from) { f in withPath(to) { t in cs_file_rename(f, t) } }), "write", to)
  }

  public static func remove(_ path: [UInt8]) throws(SystemError) {
    try checked(Int64(withPath(path) { cs_file_unlink($0) }), "remove", path)
  }

  /// Removes a temporary file; a failure leaves nothing anyone believes.
  public static func discard(_ path: [UInt8]) { _ = withPath(path) { cs_file_unlink($0) } }

  public static func synchronizeDirectory(_ path: [UInt8]) throws(SystemError) {
    try checked(Int64(withPath(path) { cs_file_sync_directory($0) }), "synchronize", path)
  }

  /// Does nothing when the directory is there.
  public static func makeDirectory(_ path: [UInt8]) throws(SystemError) {
    let outcome = withPath(path) { cs_file_mkdir($0, 0o700) }
    if outcome == -FileErrno.exists, try status(path).kind == .directory { return }
    try checked(Int64(outcome), "make directory", path)
    try synchronizeDirectory(parent(of: path))
  }

  /// The names in a directory in ascending byte order.
  public static func list(_ path: [UInt8]) throws(SystemError) -> [[UInt8]] {
    var buffer = [UInt8](repeating: 0, count: listingLimit)
    let count = buffer.withUnsafeMutableBytes { raw in
      withPath(path) { cs_file_list($0, raw.baseAddress, raw.count) }
    }
    try checked(count, "list", path)
    var names: [[UInt8]] = [[]]
    for byte in buffer[..<Int(count)] {
      if byte == 0 { names.append([]) } else { names[names.count - 1].append(byte) }
    }
    names.removeLast()
    names.sort { $0.lexicographicallyPrecedes($1) }
    return names
  }

  /// The directory a path lies in.
  public static func parent(of path: [UInt8]) -> [UInt8] {
    guard let slash = path.lastIndex(of: UInt8(ascii: "/")) else { return [UInt8(ascii: ".")] }
    return slash == 0 ? [UInt8(ascii: "/")] : Array(path[..<slash])
  }

  /// `directory` and `name` with one slash between them.
  public static func join(_ directory: [UInt8], _ name: [UInt8]) -> [UInt8] {
    directory.last == UInt8(ascii: "/") ? directory + name : directory + [UInt8(ascii: "/")] + name
  }

  static func action(_ verb: StaticString, _ path: [UInt8]) -> String {
    verb.description + " " + String(decoding: path, as: UTF8.self)
  }
}

/// What the process was given and where it runs.
public enum Host {
  public static func arguments() -> [[UInt8]] {
    var arguments: [[UInt8]] = []
    for i in 0..<cs_argc() { arguments.append(bytes(of: cs_argv(i))) }
    return arguments
  }

  public static func exit(_ code: Int32) -> Never { cs_file_exit(code) }

  /// Empty when the system has none.
  public static func name() -> [UInt8] {
    var buffer = [CChar](repeating: 0, count: 256)
    let outcome = buffer.withUnsafeMutableBufferPointer { cs_host_name($0.baseAddress, $0.count) }
    return outcome < 0 ? [] : buffer.withUnsafeBufferPointer { bytes(of: $0.baseAddress) }
  }

  /// 32 bytes of the kernel's generator.
  public static func entropy() throws(SystemError) -> Bytes32 {
    var seed = Bytes32()
    let outcome = seed.withMutableBytes { cs_kernel_entropy($0, 32) }
    if outcome < 0 { throw SystemError(code: -outcome, action: "get entropy from the kernel") }
    return seed
  }

  /// What an errno means.
  public static func text(ofError code: Int32) -> String {
    String(decoding: bytes(of: cs_error_text(code)), as: UTF8.self)
  }

  /// One line of standard input without its end, at most `limit` bytes; a terminal does not show it. Nil when it is
  /// longer or there is none.
  public static func secretLine(limit: Int) -> [UInt8]? {
    let hidden = cs_terminal_echo(0, 0) == 0
    defer { if hidden { _ = cs_terminal_echo(0, 1) } }
    var line: [UInt8] = []
    while line.count <= limit {
      var byte: UInt8 = 0
      let count = cs_file_read(0, &byte, 1)
      if count <= 0 { return line.isEmpty ? nil : line }
      if byte == 10 { return line }
      line.append(byte)
    }
    return nil
  }

  private static func bytes(of text: UnsafePointer<CChar>?) -> [UInt8] {
    guard let text else { return [] }
    var bytes: [UInt8] = []
    var at = 0
    while text[at] != 0 {
      bytes.append(UInt8(bitPattern: text[at]))
      at += 1
    }
    return bytes
  }
}

/// The errno values told apart here; the same on every Linux.
public enum FileErrno {
  public static let noEntry: Int32 = 2
  public static let inputOutput: Int32 = 5
  public static let isDirectory: Int32 = 21
  public static let brokenPipe: Int32 = 32
  /// A pipe or a socket, where a file is wanted.
  public static let wrongMedium: Int32 = 124
  static let wouldBlock: Int32 = 11
  static let exists: Int32 = 17
}

@discardableResult
private func checked(_ outcome: Int64, _ verb: StaticString, _ path: [UInt8]) throws(SystemError) -> Int64 {
  if outcome >= 0 { return outcome }
  throw SystemError(code: Int32(truncatingIfNeeded: 0 &- outcome), action: Files.action(verb, path))
}

private func withPath<R>(_ path: [UInt8], _ body: (UnsafePointer<CChar>) -> R) -> R {
  var terminated: [CChar] = []
  terminated.reserveCapacity(path.count + 1)
  for byte in path { terminated.append(CChar(bitPattern: byte)) }
  terminated.append(0)
  return terminated.withUnsafeBufferPointer { body($0.baseAddress!) }
}
