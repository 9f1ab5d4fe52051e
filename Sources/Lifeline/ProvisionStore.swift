// The store on its medium: opened under a lock, written one copy at a time.

import Core
import Membership
import Runtime
import Store

/// An open store, locked against other writers as long as it lives.
struct StoreOnDisk: ~Copyable {
  private let file: OpenFile
  private let role: NodeRole
  private(set) var generation: UInt64
  /// What was in it when it was opened.
  let loaded: StoreContents

  /// `whenLocked` says what to do while another process has it.
  init(_ path: [UInt8], whenLocked: String = "stop it first") throws(CommandFailure) {
    if case .absent = try StoreState(of: path) { throw missingStore(path) }
    let file = try openForUpdate(path)
    let isLocked: Bool
    let image: [UInt8]
    do throws(SystemError) {
      isLocked = try file.lock()
      image = try file.read(limit: StoreFile.sizeLimit)
    } catch { throw .store(systemMessage(error)) }
    if !isLocked { throw .failed("a node (or another command) is using this store (\(text(path))): \(whenLocked)") }
    let found: LoadedStore
    do throws(StoreError) { found = try StoreFile.decode(image) } catch { throw unusableStore(path, error) }
    if found.damagedCopy {
      complain(
        "warning: one of the two copies in \(text(path)) is damaged; going on with the other, the next write mends it")
    }
    loaded = found.contents
    generation = found.generation
    role = found.contents.role
    self.file = file
  }

  /// When it returns, the contents are on the medium; when it throws, the file still holds the ones before.
  mutating func write(_ contents: StoreContents) throws(CommandFailure) {
    let encoded: [UInt8]
    do throws(StoreError) { encoded = try contents.encode() } catch {
      throw .failed("the store \(text(file.path)) \(error.description)")
    }
    try write(encoded: encoded)
  }

  /// The same for contents a node encoded.
  mutating func write(encoded contents: [UInt8]) throws(CommandFailure) {
    let write: StoreWrite
    do throws(StoreError) {
      write = try StoreFile.nextWrite(encoded: contents, role: role, after: generation)
    } catch { throw .failed("the store \(text(file.path)) \(error.description)") }
    do throws(SystemError) { try file.write(write.bytes, at: write.offset) } catch {
      throw .failed(systemMessage(error))
    }
    generation = write.generation
  }

  /// Makes a store where none is: a new file, or a blank partition. The caller has looked (`requireNoStore`).
  static func create(_ path: [UInt8], _ contents: StoreContents) throws(CommandFailure) {
    let image: [UInt8]
    do throws(StoreError) { image = try StoreFile.newFile(contents) } catch {
      throw .failed("the store \(text(path)) \(error.description)")
    }
    var isKept = true
    do throws(SystemError) {
      if try Files.statusIfPresent(path) == nil {
        let draft = try Files.draft(for: path, image)
        do throws(SystemError) { try Files.commit(draft: draft, as: path) } catch {
          // A store that was reported as not made is not there when the command is run again.
          Files.discard(path)
          throw error
        }
      } else {
        let file = try OpenFile(path, .update)
        try file.write(image, at: 0)
        isKept = try file.read(limit: image.count) == image
      }
    } catch { throw .failed(systemMessage(error)) }
    if !isKept { throw .failed("\(text(path)) does not keep what is written to it: give another --store") }
  }
}

private func openForUpdate(_ path: [UInt8]) throws(CommandFailure) -> OpenFile {
  do throws(SystemError) { return try OpenFile(path, .update) } catch { throw .store(systemMessage(error)) }
}

/// What is at a store's path, looked at without a lock.
enum StoreState {
  case absent
  /// A file or partition that was never written.
  case blank
  case found(LoadedStore)

  /// Fails with exit 78 when there is something that is not a usable store.
  init(of path: [UInt8], warns: Bool = true) throws(CommandFailure) {
    let status: FileStatus?
    do throws(SystemError) { status = try Files.statusIfPresent(path) } catch { throw .store(systemMessage(error)) }
    guard let status else {
      self = .absent
      return
    }
    if status.kind == .directory || status.kind == .other {
      throw .store("\(text(path)) is not a file or a partition: give another --store")
    }
    if warns, status.kind == .regular, status.isReadableByOthers {
      complain("warning: others than its owner can read or write \(text(path)), which holds secret keys: chmod 600 it")
    }
    let image: [UInt8]
    do throws(SystemError) { image = try Files.read(path, limit: StoreFile.sizeLimit) } catch {
      throw .store(systemMessage(error))
    }
    do throws(StoreError) { self = .found(try StoreFile.decode(image)) } catch {
      if error == .blank { self = .blank } else { throw unusableStore(path, error) }
    }
  }
}

/// Refuses, with what to do, unless a store can be made at `path`.
func requireNoStore(_ path: [UInt8]) throws(CommandFailure) {
  switch try StoreState(of: path) {
  case .absent:
    let isLink: Bool
    do throws(SystemError) { isLink = try Files.isLink(path) } catch { throw .failed(systemMessage(error)) }
    if isLink { throw .failed("\(text(path)) is a symbolic link to nothing: name the place itself, or remove it") }
  case .blank: return
  case .found(let store):
    let contents = store.contents
    throw .failed(
      "\(text(path)) is already the store of \(contents.name.description) in \(contents.descriptor.domain.description): "
        + "give another --store, or remove the file to lose that identity")
  }
}

func missingStore(_ path: [UInt8]) -> CommandFailure {
  .store(
    "no store at \(text(path)): found a network with lifeline provision network, join one with lifeline provision enroll, "
      + "or give --store FILE")
}

func unusableStore(_ path: [UInt8], _ error: StoreError) -> CommandFailure {
  switch error {
  case .blank: missingStore(path)
  case .unsupportedVersion: .store("\(text(path)) \(error.description): install that version")
  default:
    .store(
      "\(text(path)) \(error.description), or not a store: put a backup in its place, or remove it and enroll anew")
  }
}

/// "cannot write FILE: No space left on device", and what to do where that is not obvious.
func systemMessage(_ error: SystemError) -> String {
  let advice =
    switch error.code {
    case 28: ": free some space and run the command again"  // ENOSPC
    case 30: ": remount it writable, or use another"  // EROFS
    case 13, 1: ": run as root"  // EACCES, EPERM
    case 5, 19: ": the medium failed or was pulled out; put it back and run the command again"  // EIO, ENODEV
    default: ""
    }
  return "cannot \(error.action): \(Host.text(ofError: error.code))\(advice)"
}
