// The shipped file itself: one static position-independent executable that asks nothing of the system it is put on.

import Foundation
import LabKit
import Testing

/// What the headers of a 64-bit little-endian ELF file say (System V ABI, chapters 4 and 5).
private struct Image {
  struct Segment {
    var kind: UInt32
    var flags: UInt32
    var range: Range<Int>
  }

  let bytes: Data
  private(set) var segments: [Segment] = []
  /// Tag and value.
  private(set) var dynamic: [(tag: UInt64, value: UInt64)] = []
  private(set) var sections: [String] = []

  func word(_ offset: Int, _ size: Int) throws -> UInt64 {
    try #require(offset >= 0 && offset + size <= bytes.count, "the file ends before \(offset + size)")
    return (0..<size).reduce(0) { $0 | UInt64(bytes[$1 + offset]) << UInt64(8 * $1) }
  }

  init(_ path: String) throws {
    bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    try #require(bytes.prefix(6) == Data([0x7f, 0x45, 0x4c, 0x46, 2, 1]), "not an ELF file of this kind")
    let (programs, programSize) = (Int(try word(32, 8)), Int(try word(54, 2)))
    for i in 0..<Int(try word(56, 2)) {
      let at = programs + i * programSize
      let start = Int(try word(at + 8, 8))
      segments.append(
        Segment(
          kind: UInt32(try word(at, 4)), flags: UInt32(try word(at + 4, 4)),
          range: start..<(start + Int(try word(at + 32, 8)))))
    }
    for segment in segments where segment.kind == 2 {
      for at in stride(from: segment.range.lowerBound, to: segment.range.upperBound, by: 16) {
        let tag = try word(at, 8)
        if tag == 0 { break }
        dynamic.append((tag, try word(at + 8, 8)))
      }
    }
    let (headers, size) = (Int(try word(40, 8)), Int(try word(58, 2)))
    let names = Int(try word(headers + Int(try word(62, 2)) * size + 24, 8))
    for i in 0..<Int(try word(60, 2)) {
      let name = names + Int(try word(headers + i * size, 4))
      sections.append(String(decoding: bytes[name...].prefix { $0 != 0 }, as: UTF8.self))
    }
  }
}

extension SystemTests {
  @Suite struct Shipped {
    @Test func `the binary is a static PIE, stripped, with no page both writable and executable`() throws {
      let image = try Image(shippedBinary)
      // ET_DYN without PT_INTERP (3) and without DT_NEEDED (1), and the flag that says PIE (DF_1_PIE).
      #expect(try image.word(16, 2) == 3)
      #expect(image.segments.contains { $0.kind == 1 })
      #expect(!image.segments.contains { $0.kind == 3 }, "it names a dynamic loader")
      #expect(!image.dynamic.isEmpty && !image.dynamic.contains { $0.tag == 1 }, "it needs shared libraries")
      #expect(image.dynamic.contains { $0.tag == 0x6fff_fffb && $0.value & 0x0800_0000 != 0 })
      // No relocations in what is executed (DT_TEXTREL 22); PT_GNU_STACK is not executable, PT_GNU_RELRO is there.
      #expect(!image.dynamic.contains { $0.tag == 22 })
      #expect(image.segments.allSatisfy { $0.kind != 1 || $0.flags & 3 != 3 })
      #expect(image.segments.first { $0.kind == 0x6474_e551 }.map { $0.flags & 1 == 0 } == true)
      #expect(image.segments.contains { $0.kind == 0x6474_e552 })
      #expect(image.sections.contains(".text"))
      for section in image.sections {
        #expect(
          section != ".symtab" && section != ".strtab" && !section.hasPrefix(".debug"), "not stripped: \(section)")
      }
    }
  }
}
