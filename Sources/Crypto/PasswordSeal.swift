// A file under a passphrase: Argon2id (RFC 9106) makes the key, ChaCha20-Poly1305 seals, and the header is
// authenticated with the contents.
//
//   0   8  magic "lfl-seal"
//   8   1  version, 1
//   9  16  salt, fresh for every file (so the key is, and the nonce may be constant)
//   25  4  Argon2id passes, big endian
//   29  4  Argon2id memory, KiB, big endian
//   33     contents encrypted, then 16 bytes of tag

import Core
internal import CSodium

public enum PasswordSeal {
  /// Bytes a sealed file is longer than its contents.
  public static let overhead = 49

  /// What `open` found.
  public enum Opened {
    case opened([UInt8])
    case wrongPassphraseOrDamaged
    case notThisFormat
    /// The memory the file's key derivation needs could not be had.
    case outOfMemory(neededBytes: Int)
  }

  private static let magic: StaticString = "lfl-seal"
  private static let version: UInt8 = 1
  private static let headerSize = 33

  /// Passes over 48 MiB: with the rest of the process within 64 MiB, a few tenths of a second on a small processor.
  private static let passes: UInt32 = 3
  private static let memoryKibibytes: UInt32 = 48 * 1024
  /// What `open` is willing to spend on a file's word.
  private static let passesLimit: UInt32 = 16
  private static let memoryLimitKibibytes: UInt32 = 64 * 1024

  /// Nil when the passphrase is empty or 48 MiB of memory cannot be had.
  public static func seal(_ plain: [UInt8], passphrase: [UInt8], entropy: inout Entropy) -> [UInt8]? {
    var file: [UInt8] = []
    file.reserveCapacity(plain.count + overhead)
    file.append(contentsOf: UnsafeBufferPointer(start: magic.utf8Start, count: magic.utf8CodeUnitCount))
    file.append(version)
    let salt = entropy.bytes16()
    salt.withBytes { file.append(contentsOf: UnsafeBufferPointer(start: $0, count: 16)) }
    for word in [passes, memoryKibibytes] {
      for shift in [24, 16, 8, 0] as [UInt32] { file.append(UInt8(truncatingIfNeeded: word >> shift)) }
    }
    guard var key = stretch(passphrase, salt, passes: passes, memoryKibibytes: memoryKibibytes) else { return nil }
    file.append(contentsOf: plain)
    for _ in 0..<AEAD.tagSize { file.append(0) }
    file.withUnsafeMutableBufferPointer {
      guard let base = $0.baseAddress else { return }
      AEAD.seal(
        base + headerSize, count: plain.count, additional: base, additionalCount: headerSize, prefix: 0, counter: 0,
        key: key)
    }
    key.erase()
    return file
  }

  public static func open(_ sealed: [UInt8], passphrase: [UInt8]) -> Opened {
    let mark = UnsafeBufferPointer(start: magic.utf8Start, count: magic.utf8CodeUnitCount)
    guard sealed.starts(with: mark), sealed.count > mark.count, sealed[mark.count] == version else {
      return .notThisFormat
    }
    let count = sealed.count - overhead
    guard count >= 0, !passphrase.isEmpty else { return .wrongPassphraseOrDamaged }
    let (passes, memory) = (word(sealed, at: 25), word(sealed, at: 29))
    guard passes >= 1, passes <= passesLimit, memory >= 8, memory <= memoryLimitKibibytes else {
      return .wrongPassphraseOrDamaged
    }
    let salt = sealed.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress! + 9) }
    guard var key = stretch(passphrase, salt, passes: passes, memoryKibibytes: memory) else {
      return .outOfMemory(neededBytes: Int(memory) * 1024)
    }
    var file = sealed
    let authentic = file.withUnsafeMutableBufferPointer {
      AEAD.open(
        $0.baseAddress! + headerSize, count: count, additional: $0.baseAddress, additionalCount: headerSize, prefix: 0,
        counter: 0, key: key)
    }
    key.erase()
    return authentic ? .opened(Array(file[headerSize..<headerSize + count])) : .wrongPassphraseOrDamaged
  }

  private static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 {
    var value: UInt32 = 0
    for i in 0..<4 { value = value << 8 | UInt32(bytes[offset + i]) }
    return value
  }

  /// Argon2id version 1.3, one lane. Nil when the passphrase is empty or memory is short.
  static func stretch(
    _ passphrase: [UInt8], _ salt: Bytes16, passes: UInt32, memoryKibibytes: UInt32
  ) -> Bytes32? {
    if passphrase.isEmpty { return nil }
    var key = Bytes32()
    let status = key.withMutableBytes { out in
      salt.withBytes { salt in
        passphrase.withUnsafeBytes {
          crypto_pwhash_argon2id(
            out, 32, $0.baseAddress!.assumingMemoryBound(to: CChar.self), length($0.count), salt, UInt64(passes),
            Int(memoryKibibytes) * 1024, crypto_pwhash_argon2id_ALG_ARGON2ID13)
        }
      }
    }
    return status == 0 ? key : nil
  }
}
