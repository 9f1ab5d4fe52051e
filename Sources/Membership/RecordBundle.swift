// Record files of a key in one piece of bytes, for an operator's client to hand to a running authority.

import Core
import Wire

public enum RecordBundle {
  /// 1,024 records × 514 B = 514 KiB.
  public static let recordLimit = 1024

  /// Each record with two bytes of length before it. Records beyond the limits are left out by the caller.
  public static func encode(_ records: [[UInt8]]) -> [UInt8] {
    var writer = ByteWriter(reserving: records.count * 400)
    for record in records {
      invariant(record.count <= SealedRecord.sizeLimit, "a record file is within its limit")
      writer.u16(UInt16(truncatingIfNeeded: record.count))
      writer.array(record)
    }
    return writer.bytes
  }

  public static func decode(_ bytes: [UInt8]) throws(MembershipError) -> [[UInt8]] {
    var reader = ByteReader(bytes.span)
    var records: [[UInt8]] = []
    do throws(WireError) {
      while reader.remaining > 0 {
        let length = Int(try reader.u16())
        if records.count == recordLimit || length > SealedRecord.sizeLimit {
          throw .invalid(field: StaticFieldName("records"))
        }
        records.append(try reader.array(length))
      }
    } catch { throw .wire(error) }
    return records
  }
}
