// network, set, unset, export and import: what concerns one store alone.

import Core
import Crypto
import Membership
import Runtime
import Store

func provisionNetwork(_ options: ProvisionOptions) throws(CommandFailure) {
  guard let domain = options.domain else { throw .usage("provision network needs --domain NAME") }
  try requireNoStore(options.store)
  let name: NodeName
  if let given = options.name { name = given } else { name = try nameOfHost() }
  var entropy = try freshEntropy()
  let contents: StoreContents
  do throws(MembershipError) {
    let prefix: IPv4Prefix
    if let given = options.prefix {
      prefix = given
    } else {
      prefix = try IPv4Prefix(address: 10 << 24 | entropy.below(256) << 16, length: 16)
    }
    contents = try StoreContents(founding: domain, prefix: prefix, name: name, entropy: &entropy)
  } catch { throw .failed("the network \(error.description)") }
  try StoreOnDisk.create(options.store, contents)
  let descriptor = contents.descriptor
  say("network      \(descriptor.networkID.description)")
  say("domain       \(descriptor.domain.description)")
  say("prefix       \(descriptor.prefix.description)")
  say("name         \(contents.name.description)")
  say("address      \(dottedQuad(contents.ipv4 ?? 0))")
  say("id           \(contents.identity.id.description)")
  say("fingerprint  \(contents.identity.fingerprint)")
  say("Next: lifeline provision key --usb DIR")
}

func provisionSettings(_ verb: ProvisionVerb, _ options: ProvisionOptions) throws(CommandFailure) {
  var store = try StoreOnDisk(options.store)
  var contents = store.loaded
  var settings = contents.settings
  for word in options.operands {
    do throws(StoreError) {
      if verb == .set {
        if !word.contains(UInt8(ascii: "=")) { throw StoreError.badSetting(try SettingKey(known: word), .empty) }
        try settings.set(word)
      } else {
        let key = try SettingKey(known: word)
        if !settings.unset(key) { complain("warning: \(key.name) was not set") }
      }
    } catch {
      switch error {
      case .unknownSetting, .badSetting: throw .usage("\(text(word)): \(error.description)")
      default: throw .failed("\(text(options.store)) \(error.description)")
      }
    }
  }
  do throws(StoreError) { try contents.change(settings) } catch {
    switch error {
    case .badSetting: throw .usage(error.description)
    case .settingsTooLarge:
      throw .failed("\(text(options.store)) \(error.description): nothing was changed; shorten or unset some")
    default: throw .failed("\(text(options.store)) \(error.description)")
    }
  }
  try store.write(contents)
}

/// A passphrase has at most this many bytes.
private let passphraseLimit = 1024

private func passphrase(_ options: ProvisionOptions) throws(CommandFailure) -> [UInt8] {
  guard let path = options.passphraseFile else {
    guard let line = Host.secretLine(limit: passphraseLimit), !line.isEmpty else {
      throw .failed(
        "no passphrase: give one line of 1 to \(passphraseLimit) bytes on standard input or a --passphrase-file")
    }
    return line
  }
  let file: [UInt8]
  do throws(SystemError) { file = try Files.read(path, limit: passphraseLimit + 2) } catch {
    throw .failed(systemMessage(error))
  }
  let line = file.prefix { $0 != 10 }
  if line.isEmpty || line.count > passphraseLimit {
    throw .failed("the first line of \(text(path)) must be a passphrase of 1 to \(passphraseLimit) bytes")
  }
  return Array(line)
}

func provisionExport(_ options: ProvisionOptions) throws(CommandFailure) {
  let target = options.operands[0]
  let store = try StoreOnDisk(options.store)
  if store.loaded.role != .authority {
    throw .failed("\(text(options.store)) is a component's store: a component is not moved, enroll the new box instead")
  }
  let existing: FileStatus?
  do throws(SystemError) { existing = try Files.statusIfPresent(target) } catch { throw .failed(systemMessage(error)) }
  if existing != nil { throw .failed("\(text(target)) exists: give another name, or remove it") }
  let encoded: [UInt8]
  do throws(StoreError) { encoded = try store.loaded.encode() } catch {
    throw .failed("\(text(options.store)) \(error.description)")
  }
  let words = try passphrase(options)
  var entropy = try freshEntropy()
  guard let sealed = PasswordSeal.seal(encoded, passphrase: words, entropy: &entropy) else {
    throw .failed("not enough memory to derive the key: 48 MiB are needed")
  }
  do throws(SystemError) { try Files.replace(target, with: sealed) } catch { throw .failed(systemMessage(error)) }
  say(
    "\(text(target)) holds \(store.loaded.name.description) of \(store.loaded.descriptor.domain.description); "
      + "let only one of the two run")
}

func provisionImport(_ options: ProvisionOptions) throws(CommandFailure) {
  let source = options.operands[0]
  try requireNoStore(options.store)
  let sealed: [UInt8]
  do throws(SystemError) {
    sealed = try Files.read(source, limit: StoreFile.sizeLimit)
  } catch { throw .failed(systemMessage(error)) }
  let words = try passphrase(options)
  let encoded: [UInt8]
  switch PasswordSeal.open(sealed, passphrase: words) {
  case .opened(let bytes): encoded = bytes
  case .wrongPassphraseOrDamaged: throw .failed("\(text(source)): wrong passphrase, or the file is damaged")
  case .notThisFormat: throw .failed("\(text(source)) was not made by lifeline provision export")
  case .outOfMemory(let needed): throw .failed("not enough memory to derive the key: \(needed >> 20) MiB are needed")
  }
  let contents: StoreContents
  do throws(StoreError) { contents = try StoreContents(decoding: encoded) } catch {
    throw .failed("\(text(source)) \(error.description)")
  }
  try StoreOnDisk.create(options.store, contents)
  say("\(text(options.store)) is now the store of \(contents.name.description); let only one of the two run")
}
