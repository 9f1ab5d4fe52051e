// The run directory: which process runs here, and where its control socket is.

import CSystem
import Core

public enum RunDirectoryError: Error {
  /// Another process holds the lock; its number, or 0 when it has not written it yet.
  case held(process: Int32)
  case system(SystemError)
}

/// Held from the start to the end of a personality; the lock on the pid file keeps a second one out.
public struct RunDirectory: ~Copyable {
  public let path: [UInt8]
  private let lock: Int32

  /// Makes the directory where it is missing (0700; its parent has to be there) and takes the lock.
  public init(_ path: [UInt8]) throws(RunDirectoryError) {
    guard let name = terminated(path), let pidName = terminated(RunDirectory.pidPath(path)) else {
      throw .system(SystemError(code: 22, action: "use the run directory"))
    }
    let made = name.withUnsafeBufferPointer { cs_run_directory($0.baseAddress!) }
    if made < 0 { throw .system(SystemError(code: 0 &- made, action: "make \(RunDirectory.shown(path))")) }
    var holder: Int32 = 0
    let lock = pidName.withUnsafeBufferPointer { cs_pid_lock($0.baseAddress!, &holder) }
    if lock == 0 &- SystemCode.again { throw .held(process: holder) }
    if lock < 0 {
      throw .system(SystemError(code: 0 &- lock, action: "lock \(RunDirectory.shown(RunDirectory.pidPath(path)))"))
    }
    self.path = path
    self.lock = lock
  }

  /// Removes what was made, the directory excepted.
  deinit {
    for file in [controlPath, RunDirectory.pidPath(path)] {
      if let name = terminated(file) { _ = name.withUnsafeBufferPointer { cs_unlink($0.baseAddress!) } }
    }
    cs_close(lock)
  }

  public var controlPath: [UInt8] { path + Array("/control".utf8) }

  private static func pidPath(_ path: [UInt8]) -> [UInt8] { path + Array("/pid".utf8) }
  private static func shown(_ path: [UInt8]) -> String { String(decoding: printable(path), as: UTF8.self) }
}
