// Files and certificates: what a USB key, a peer or a damaged flash chip hands over.

import Core
import Crypto
import InsiderKit
import Membership
import Store
import Wire

let membershipTargets = [
  FuzzTarget(name: "membership", limit: 2_048, run: fuzzMembership),
  FuzzTarget(name: "store", limit: 8_192, run: fuzzStore),
]

nonisolated(unsafe) private let holder: Identity = {
  var entropy = Entropy(seed: key(1))
  return Identity(entropy: &entropy)
}()

private func fuzzMembership(_ input: UnsafeBufferPointer<UInt8>) {
  guard let first = input.first else { return }
  let bytes = Array(input.dropFirst())
  do throws(MembershipError) {
    switch first % 9 {
    case 0: require(try MembershipCertificate(decoding: bytes).encode() == bytes, "a certificate is kept")
    case 1: require(try MembershipOpening(decoding: bytes).encode() == bytes, "an opening is kept")
    case 2:
      let descriptor = try NetworkDescriptor(decoding: bytes)
      require(try NetworkDescriptor(decoding: descriptor.encode()) == descriptor, "a descriptor is kept")
      _ = descriptor.isSuccessor(of: descriptor)
    case 3: require(try EnrolmentSecret(decoding: bytes).encode() == bytes, "a secret is kept")
    case 4: require(try EnrolmentRecord(decoding: bytes).encode() == bytes, "an enrolment record is kept")
    case 5: _ = try SealedRecord(decoding: bytes).open(with: holder)
    case 6:
      for kind in [KeyFileKind.network, .secret, .record] { _ = try? KeyFile.unwrap(kind, bytes) }
    case 7:
      let records = try RecordBundle.decode(bytes)
      require(RecordBundle.encode(records) == bytes, "a bundle is kept")
    default:
      _ = try? NodeName(bytes)
      _ = try? DomainName(bytes)
      _ = try? IPv4Prefix(bytes)
      _ = ipv4(dotted: bytes)
    }
  } catch {}
}

/// A store file as it is, or its contents given a right checksum, so that what lies behind is reached; or the file of an
/// authority that moves.
private func fuzzStore(_ input: UnsafeBufferPointer<UInt8>) {
  guard let first = input.first else { return }
  let bytes = Array(input.dropFirst())
  do throws(StoreError) {
    switch first & 3 {
    case 0 where first & 4 != 0: fuzzSeal(bytes, first >> 3)
    case 0: _ = try StoreFile.decode(bytes)
    case 1, 2:
      let role: NodeRole = first & 3 == 1 ? .component : .authority
      let write = try StoreFile.nextWrite(encoded: bytes, role: role, after: UInt64(first >> 2))
      var file = [UInt8](repeating: 0, count: StoreLayout(role).fileSize)
      file.replaceSubrange(write.offset..<(write.offset + write.bytes.count), with: write.bytes)
      _ = try StoreFile.decode(file)
    default:
      var contents = try StoreContents(decoding: bytes)
      let encoded = try contents.encode()
      require(try StoreContents(decoding: encoded).encode() == encoded, "a store is kept")
      contents.bumpBoot()
      // Records of boxes, as they would be read from a key.
      var entropy = Entropy(seed: key(2))
      _ = try contents.accept(records: [bytes], policy: .all, entropy: &entropy)
    }
  } catch {}
}

/// A sealed file as it is, and its fields in a file whose key derivation is cheap: Argon2id over what a file may ask for,
/// up to 64 MiB 16 times, would leave two inputs a second. `choice` picks what is kept of the input.
private func fuzzSeal(_ bytes: [UInt8], _ choice: UInt8) {
  let passphrase: [UInt8] = choice & 1 == 0 ? [0x70] : []
  var file = bytes
  if choice & 2 != 0 {
    // The magic and the version right, so that lengths and costs are reached.
    let mark = Array("lfl-seal".utf8) + [1]
    file.replaceSubrange(0..<min(file.count, mark.count), with: mark)
  }
  if file.count >= 33 {
    // Refused costs stay as they are; costs that would be paid become small ones.
    if (1...16).contains(word(file, 25)), (8...65_536).contains(word(file, 29)) {
      file.replaceSubrange(25..<33, with: [0, 0, 0, 1 + file[28] % 2, 0, 0, 0, 8 + file[32] % 8])
    }
  }
  switch PasswordSeal.open(file, passphrase: passphrase) {
  case .opened: fatalError("a seal that nobody made opens")
  case .outOfMemory: fatalError("\(word(file, 29)) KiB were refused")
  case .wrongPassphraseOrDamaged: require(file.starts(with: Array("lfl-seal".utf8) + [1]), "another format is damaged")
  case .notThisFormat: require(!file.starts(with: Array("lfl-seal".utf8) + [1]), "this format is another")
  }
}

private func word(_ bytes: [UInt8], _ at: Int) -> UInt32 { bytes[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) } }
