// The USB key: a directory `lifeline` with the network, the secrets for boxes to come, and the records of boxes that
// came. Every file is framed with a checksum and appears under its name only when it is whole; other names are ignored.
//
//   lifeline/network.llc          the network descriptor
//   lifeline/secrets/NNNN.lls     an unused secret;  NNNN.taken while a box is using it
//   lifeline/records/ID.llr       a sealed record for the authority that issued the secret
//   lifeline/proposal.llp         a descriptor that too few authorities have signed yet
//   lifeline/authorities/ID.lla   what a box that has become an authority needs, sealed to it

import Core
import Membership
import Runtime
import Store
import Wire

struct KeyDirectory {
  /// DIR/lifeline
  let root: [UInt8]
  private let usb: [UInt8]

  var networkFile: [UInt8] { Files.join(root, Array("network.llc".utf8)) }
  var secrets: [UInt8] { Files.join(root, Array("secrets".utf8)) }
  var records: [UInt8] { Files.join(root, Array("records".utf8)) }
  var authorities: [UInt8] { Files.join(root, Array("authorities".utf8)) }
  var proposalFile: [UInt8] { Files.join(root, Array("proposal.llp".utf8)) }

  init(_ usb: [UInt8]) throws(CommandFailure) {
    self.usb = usb
    root = Files.join(usb, Array("lifeline".utf8))
    let status: FileStatus?
    do throws(SystemError) { status = try Files.statusIfPresent(usb) } catch { throw .failed(systemMessage(error)) }
    guard let status else { throw .failed("no directory \(text(usb)): mount the USB key, or give another DIR") }
    if status.kind != .directory {
      throw .failed("\(text(usb)) is not a directory: mount the USB key and give its mount point")
    }
    // A key of unknown origin must not lead what root writes and removes somewhere else.
    for directory in [root, secrets, records, authorities] {
      let isLink: Bool
      do throws(SystemError) { isLink = try Files.isLink(directory) } catch { throw .failed(systemMessage(error)) }
      if isLink { throw .failed("\(text(directory)) is a symbolic link: a key has plain directories; remove it") }
    }
  }

  func makeDirectories() throws(CommandFailure) {
    do throws(SystemError) {
      for directory in [root, secrets, records] { try Files.makeDirectory(directory) }
    } catch { throw .failed(systemMessage(error)) }
  }

  // MARK: - Network

  enum NetworkFile {
    case absent
    case damaged(MembershipError)
    case found(NetworkDescriptor)
  }

  func readNetwork() throws(CommandFailure) -> NetworkFile {
    let file: [UInt8]
    do throws(SystemError) {
      if try Files.statusIfPresent(networkFile) == nil { return .absent }
      file = try Files.read(networkFile, limit: KeyFile.sizeLimit + 1)
    } catch { throw .failed(systemMessage(error)) }
    do throws(MembershipError) {
      let descriptor = try NetworkDescriptor(decoding: try KeyFile.unwrap(.network, file))
      if descriptor.epoch == 1, !descriptor.isFounding { throw .badSignature }
      return .found(descriptor)
    } catch { return .damaged(error) }
  }

  /// The network a new box is to join.
  func network() throws(CommandFailure) -> NetworkDescriptor {
    switch try readNetwork() {
    case .found(let descriptor): return descriptor
    case .absent:
      throw .failed(
        "\(text(usb)) is no lifeline key: \(text(networkFile)) is missing; make one on an authority with "
          + "lifeline provision key")
    case .damaged(let error):
      throw .failed(
        "\(text(networkFile)) is unusable (\(error.description)): write the key again with lifeline provision key")
    }
  }

  // MARK: - Secrets

  struct SecretFile {
    let path: [UInt8]
    let secret: EnrolmentSecret
    /// A box was interrupted while it used this one.
    let isTaken: Bool

    /// The name it has while a box uses it.
    var takenPath: [UInt8] { isTaken ? path : Array(path.dropLast(4)) + Array(".taken".utf8) }
  }

  /// All secrets of the network in the order of their names, and how many files were damaged or of another network.
  func readSecrets(of network: NetworkDescriptor) throws(CommandFailure) -> (usable: [SecretFile], unusable: Int) {
    var usable: [SecretFile] = []
    var unusable = 0
    for name in try list(secrets) {
      let isTaken = name.ends(with: ".taken")
      if !isTaken, !name.ends(with: ".lls") { continue }
      let path = Files.join(secrets, name)
      let file: [UInt8]
      do throws(SystemError) { file = try Files.read(path, limit: KeyFile.sizeLimit) } catch {
        if !isNoFile(error) { throw .failed(systemMessage(error)) }
        unusable += 1
        continue
      }
      do throws(MembershipError) {
        let secret = try EnrolmentSecret(decoding: try KeyFile.unwrap(.secret, file))
        if secret.networkID == network.networkID, network.authority(at: secret.issuer) != nil {
          usable.append(SecretFile(path: path, secret: secret, isTaken: isTaken))
          continue
        }
      } catch {}
      unusable += 1
    }
    return (usable, unusable)
  }

  /// Removes secrets that this authority gave out and does not honour any more: a box that took one would be refused
  /// when its record comes back. The number removed.
  func discardWorthless(_ contents: StoreContents) throws(CommandFailure) -> Int {
    var count = 0
    for file in try readSecrets(of: contents.descriptor).usable
    where file.secret.issuer == contents.authorityIndex && !contents.authority.honours(file.secret.serial) {
      do throws(SystemError) { try Files.remove(file.path) } catch { throw .failed(systemMessage(error)) }
      count += 1
    }
    return count
  }

  /// Writes secrets under the next free numbers: how many of them boxes may find there, and why not all. Those stay: one
  /// that was taken back from a failing key could be there all the same, and cost a box its way in.
  func write(_ issued: [EnrolmentSecret]) throws(CommandFailure) -> (written: Int, failure: CommandFailure?) {
    var number = 1
    for name in try list(secrets) {
      // A draft that was never finished; it holds a secret no box will see.
      if name.ends(with: ".tmp") { Files.discard(Files.join(secrets, name)) }
      if let dot = name.firstIndex(of: UInt8(ascii: ".")), let taken = number4(name[..<dot]) {
        number = max(number, taken + 1)
      }
    }
    var written = 0
    do throws(SystemError) {
      for secret in issued {
        let digits = String(number)
        let name = String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits + ".lls"
        let path = Files.join(secrets, Array(name.utf8))
        let draft = try Files.draft(for: path, KeyFile.wrap(.secret, secret.encode()))
        do throws(SystemError) { try Files.rename(draft, path) } catch {
          Files.discard(draft)
          throw error
        }
        written += 1
        try Files.synchronizeDirectory(secrets)
        number += 1
      }
    } catch { return (written, .failed(systemMessage(error))) }
    return (written, nil)
  }

  // MARK: - Records

  func recordPath(_ id: ComponentID) -> [UInt8] { Files.join(records, Array((id.description + ".llr").utf8)) }

  struct Record {
    let path: [UInt8]
    let file: [UInt8]
  }

  /// The record files in the order of their names, at most 1,024; drafts that were never finished are removed.
  func readRecords() throws(CommandFailure) -> [Record] {
    var found: [Record] = []
    for name in try list(records) {
      let path = Files.join(records, name)
      if name.ends(with: ".tmp") { Files.discard(path) }
      if !name.ends(with: ".llr") { continue }
      if found.count == RecordBundle.recordLimit {
        complain("warning: \(text(records)) holds more than \(found.count) records; the rest wait for the next run")
        break
      }
      do throws(SystemError) {
        found.append(Record(path: path, file: try Files.read(path, limit: SealedRecord.sizeLimit + 1)))
      } catch {
        // Another accept was faster.
        if error.code == FileErrno.noEntry { continue }
        if isNoFile(error) {
          complain("warning: \(text(path)) is no file: left out")
          continue
        }
        throw .failed(systemMessage(error))
      }
    }
    return found
  }

  /// Removes a record that an authority's store has made useless, unless the box has put a newer one in its place.
  func discard(_ record: Record) {
    do throws(SystemError) {
      if try Files.read(record.path, limit: SealedRecord.sizeLimit + 1) != record.file { return }
      try Files.remove(record.path)
      try Files.synchronizeDirectory(records)
    } catch {
      if error.code == FileErrno.noEntry { return }
      complain("warning: \(systemMessage(error)); the record there is used up and does no harm")
    }
  }

  func nothingToAccept() -> CommandFailure {
    .failed(
      "no enrolment record in \(text(records)), and no proposal beside it: all were taken in, or no new box has run "
        + "lifeline provision enroll yet")
  }

  private func isNoFile(_ error: SystemError) -> Bool {
    error.code == FileErrno.isDirectory || error.code == FileErrno.wrongMedium
  }

  /// None when the directory is not there.
  private func list(_ directory: [UInt8]) throws(CommandFailure) -> [[UInt8]] {
    do throws(SystemError) { return try Files.list(directory) } catch {
      if error.code == FileErrno.noEntry { return [] }
      throw .failed(systemMessage(error))
    }
  }
}

extension [UInt8] {
  func ends(with suffix: StaticString) -> Bool {
    let length = suffix.utf8CodeUnitCount
    return count >= length
      && self[(count - length)...].elementsEqual(
        UnsafeBufferPointer(start: suffix.utf8Start, count: length))
  }
}

/// A number with leading zeros, as secret files have it.
private func number4(_ digits: ArraySlice<UInt8>) -> Int? {
  decimal(digits.count > 1 ? digits.drop { $0 == UInt8(ascii: "0") } : digits)
}
