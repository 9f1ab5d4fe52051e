import Core
import Crypto
import Foundation
import Membership
import Testing

@testable import Store

@Suite struct StoreFileTests {
  @Test func `A new store loads, and each write goes to the copy that is older`() throws {
    var authority = try founded()
    var contents = try member(10, "sw1", of: &authority)
    var image = try StoreFile.newFile(contents)
    #expect(image.count == 4096)
    #expect(try StoreFile.newFile(authority).count == 256 * 1024)
    var generation: UInt64 = 1
    for boot in 1...5 as ClosedRange<UInt32> {
      contents.bumpBoot()
      let write = try StoreFile.nextWrite(contents, after: generation)
      #expect(write.offset == (boot % 2 == 1 ? 2048 : 0))
      #expect(write.bytes.count == 2048)
      image = whole(image, write)
      generation = write.generation
      let loaded = try StoreFile.decode(image)
      #expect(loaded.generation == UInt64(boot) + 1)
      #expect(loaded.contents.bootCount == boot)
      #expect(!loaded.damagedCopy)
      #expect(try loaded.contents.encode() == contents.encode())
    }
  }

  @Test func `A component's write cut off after any byte leaves the old contents or the new (mms.md, store)`() throws {
    var authority = try founded()
    var contents = try member(10, "sw1", of: &authority)
    // Over a blank copy, over an older shorter one, and over an older longer one.
    let first = try StoreFile.newFile(contents)
    try contents.set("tunnel=192.0.2.1:7,192.0.2.2:8")
    let second = whole(first, try StoreFile.nextWrite(contents, after: 1))
    try contents.change(Settings())
    let third = whole(second, try StoreFile.nextWrite(contents, after: 2))
    for (image, generation) in [(first, 1), (second, 2), (third, 3)] as [([UInt8], UInt64)] {
      let old = try StoreFile.decode(image).contents.encode()
      contents.bumpBoot()
      let new = try contents.encode()
      let write = try StoreFile.nextWrite(contents, after: generation)
      var oldCount = 0
      for length in 0...write.bytes.count {
        let loaded = try StoreFile.decode(torn(image, write, after: length))
        let bytes = try loaded.contents.encode()
        if bytes == old {
          oldCount += 1
          #expect(loaded.generation == generation)
        } else {
          #expect(bytes == new)
          #expect(loaded.generation == generation + 1)
          #expect(!loaded.damagedCopy)
        }
        // Mended by the next write, which goes to the damaged copy again.
        if loaded.damagedCopy {
          let mended = whole(torn(image, write, after: length), try StoreFile.nextWrite(contents, after: generation))
          #expect(try !StoreFile.decode(mended).damagedCopy)
        }
      }
      #expect(oldCount > StoreFile.headerSize && oldCount < write.bytes.count)
    }
  }

  @Test func `An authority's write cut off leaves the old contents or the new`() throws {
    var authority = try founded()
    for seed in 10..<20 as Range<UInt8> { _ = try member(seed, "sw\(seed)", of: &authority) }
    let image = try StoreFile.newFile(authority)
    let old = try authority.encode()
    try authority.forget(NodeName("sw12"))
    let new = try authority.encode()
    let write = try StoreFile.nextWrite(authority, after: 1)
    for length in Array(stride(from: 0, to: write.bytes.count, by: 97)) + [write.bytes.count] {
      let bytes = try StoreFile.decode(torn(image, write, after: length)).contents.encode()
      #expect(bytes == old || bytes == new)
      if length == write.bytes.count { #expect(bytes == new) }
    }
  }

  @Test func `One damaged copy is survived and reported, two are an error, and garbage is never contents`() throws {
    var authority = try founded()
    var contents = try member(10, "sw1", of: &authority)
    let first = try contents.encode()
    var image = try StoreFile.newFile(contents)
    contents.bumpBoot()
    image = whole(image, try StoreFile.nextWrite(contents, after: 1))
    let second = try contents.encode()
    var source = entropy(9)
    let used = StoreFile.headerSize + first.count
    for _ in 0..<300 {
      var newer = image
      newer[2048 + Int(source.below(UInt32(used)))] ^= UInt8(1 + source.below(255))
      let loaded = try StoreFile.decode(newer)
      #expect(try loaded.contents.encode() == first)
      #expect(loaded.damagedCopy)
      var older = image
      older[Int(source.below(UInt32(used)))] ^= UInt8(1 + source.below(255))
      let kept = try StoreFile.decode(older)
      #expect(try kept.contents.encode() == second)
      #expect(kept.damagedCopy)
      newer[Int(source.below(UInt32(used)))] ^= UInt8(1 + source.below(255))
      #expect(throws: StoreError.damaged) { try StoreFile.decode(newer) }
    }
  }

  @Test func `Blank flash, foreign files and newer formats are told apart`() throws {
    #expect(throws: StoreError.blank) { try StoreFile.decode([]) }
    #expect(throws: StoreError.blank) { try StoreFile.decode([UInt8](repeating: 0, count: 4096)) }
    #expect(throws: StoreError.blank) { try StoreFile.decode([UInt8](repeating: 0xff, count: 262144)) }
    #expect(throws: StoreError.damaged) { try StoreFile.decode(Array("network: lab\n".utf8)) }
    #expect(throws: StoreError.damaged) { try StoreFile.decode([UInt8](repeating: 0, count: 4095) + [1]) }
    var image = try StoreFile.newFile(try founded())
    image[4] = 2
    let length = image[14...17].reduce(0) { $0 << 8 | Int($1) }
    let covered = Array(image[..<18]) + Array(image[50..<(50 + length)])
    image.replaceSubrange(18..<50, with: blake2b256(covered, key: nil).array)
    #expect(throws: StoreError.unsupportedVersion(2)) { try StoreFile.decode(image) }
  }

  @Test func `A store on a partition larger than itself loads`() throws {
    var authority = try founded()
    let contents = try member(10, "sw1", of: &authority)
    let partition = try StoreFile.newFile(contents) + [UInt8](repeating: 0xff, count: 300_000)
    #expect(try StoreFile.decode(partition).contents.encode() == contents.encode())
    #expect(try !StoreFile.decode(partition).damagedCopy)
  }

  @Test func `Random changes to encoded contents never trap`() throws {
    var authority = try founded()
    for seed in 10..<13 as Range<UInt8> { _ = try member(seed, "sw\(seed)", of: &authority) }
    try authority.set("protect=off")
    let good = try authority.encode()
    for length in 0..<good.count { _ = try? StoreContents(decoding: Array(good[..<length])) }
    var source = entropy(6)
    var refused = 0
    for _ in 0..<500 {
      var bytes = good
      for _ in 0...source.below(4) { bytes[Int(source.below(UInt32(bytes.count)))] = source.u8() }
      do throws(StoreError) { _ = try StoreContents(decoding: bytes) } catch { refused += 1 }
    }
    #expect(refused > 50)
  }

  @Test func `Sections a newer version wrote survive an older one`() throws {
    var authority = try founded()
    let contents = try member(10, "sw1", of: &authority)
    let extended = try contents.encode() + [200, 0, 0, 0, 3, 1, 2, 3]
    let again = try StoreContents(decoding: extended)
    #expect(try again.encode() == extended)
  }

  @Test func `Golden images are those of Tests slash Vectors slash membership-store dot txt`() throws {
    var authority = try founded()
    var component = try member(10, "sw1", of: &authority)
    component.bumpBoot()
    try component.set("keep-down=eth3,eth4")
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../Vectors/membership-store.txt")
    let golden = try String(contentsOf: url, encoding: .utf8).split(separator: "\n")
    for (name, bytes) in [
      ("component-contents", try component.encode()), ("authority-contents", try authority.encode()),
      ("component-copy", Array(try StoreFile.nextWrite(component, after: 6).bytes.prefix(700))),
    ] {
      let line = "\(name) = \(hexadecimal(bytes))"
      #expect(golden.contains { $0 == line }, "\(line)")
    }
  }
}
