// The few field forms that this module's codecs share.

import Core
import Crypto
import Wire

/// A byte of length and that many bytes.
func readCounted(_ reader: inout ByteReader) throws(MembershipError) -> [UInt8] {
  try wired { () throws(WireError) in try reader.array(Int(try reader.u8())) }
}

func writeCounted(_ bytes: [UInt8], _ writer: inout ByteWriter) {
  invariant(bytes.count < 256, "a counted field has at most 255 bytes")
  writer.u8(UInt8(truncatingIfNeeded: bytes.count))
  writer.array(bytes)
}

/// Runs a piece of decoding and wraps what the cursor throws.
@inline(__always)
func wired<R>(_ body: () throws(WireError) -> R) throws(MembershipError) -> R {
  do throws(WireError) { return try body() } catch { throw .wire(error) }
}

func readSignature(_ reader: inout ByteReader) throws(MembershipError) -> Signature {
  let bytes = try wired { () throws(WireError) in try reader.array(64) }
  return bytes.withUnsafeBufferPointer { Signature(loadingFrom: $0.baseAddress!) }
}

/// The bytes of a context string, which keeps what one message signs from being read as another.
func context(_ text: StaticString) -> [UInt8] {
  Array(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
}

/// The first 16 bytes.
func truncated(_ hash: Bytes32) -> Bytes16 { hash.withBytes { Bytes16(loadingFrom: $0) } }

extension ByteReader {
  /// Throws when bytes are left over: every format here has one length.
  func expectEnd() throws(MembershipError) {
    if remaining != 0 { throw .wire(.invalid(field: StaticFieldName("trailing bytes"))) }
  }
}
