// JSON as a person reads it in a terminal: arrays of objects as aligned columns, objects as lines of key and value. It
// knows no field by name (events excepted), so that what a newer node says is shown too.

import Core

/// `lifeline ctl` without --json.
public enum JSONRendering {
  /// Lines of UTF-8, the last one ended too; nothing in them acts on a terminal.
  public static func text(of value: JSONValue) -> [UInt8] {
    var out: [UInt8] = []
    block(value, indent: 0, into: &out)
    return out
  }

  private static func block(_ value: JSONValue, indent: Int, into out: inout [UInt8]) {
    switch value {
    case .object(let members): lines(members, indent: indent, into: &out)
    case .array(let elements) where isTable(elements): table(elements, indent: indent, into: &out)
    default: line(cell(value), indent: indent, into: &out)
    }
  }

  private static func line(_ text: [UInt8], indent: Int, into out: inout [UInt8]) {
    spaces(indent, into: &out)
    out += text
    out.append(10)
  }

  private static func spaces(_ count: Int, into out: inout [UInt8]) {
    for _ in 0..<max(0, count) { out.append(32) }
  }

  private static func isTable(_ elements: [JSONValue]) -> Bool {
    for element in elements {
      guard case .object = element else { return false }
    }
    return !elements.isEmpty
  }

  // MARK: Objects

  private static func lines(_ members: [JSONValue.Member], indent: Int, into out: inout [UInt8]) {
    let widest = members.map { width($0.name) }.max() ?? 0
    for member in members {
      let name = printableText(member.name)
      switch member.value {
      case .object(let inner) where !inner.isEmpty:
        line(name + [58], indent: indent, into: &out)
        lines(inner, indent: indent + 2, into: &out)
      case .array(let elements) where isTable(elements):
        line(name + [58], indent: indent, into: &out)
        table(elements, indent: indent + 2, into: &out)
      default:
        spaces(indent, into: &out)
        out += name + [58]
        spaces(widest - width(name) + 1, into: &out)
        out += cell(member.value)
        out.append(10)
      }
    }
  }

  // MARK: Tables

  private static func table(_ elements: [JSONValue], indent: Int, into out: inout [UInt8]) {
    if isEvents(elements) {
      events(elements, into: &out)
      return
    }
    let names = columns(elements)
    var rows: [[[UInt8]]] = [names.map { upperCase($0) }]
    var isNumeric = [Bool](repeating: true, count: names.count)
    for element in elements {
      var row: [[UInt8]] = []
      for (i, name) in names.enumerated() {
        let value = member(name, of: element)
        switch value {
        case .array(let inner) where isTable(inner):
          // No room for another table: how long it is.
          row.append(Array(inner.count.description.utf8))
          continue
        case .number, .null, nil: break
        default: isNumeric[i] = false
        }
        row.append(value.map { cell($0) } ?? [45])
      }
      rows.append(row)
    }
    var widths = [Int](repeating: 0, count: names.count)
    for row in rows { for i in names.indices { widths[i] = max(widths[i], width(row[i])) } }
    for row in rows {
      spaces(indent, into: &out)
      for i in names.indices {
        let padding = widths[i] - width(row[i])
        if isNumeric[i] { spaces(padding, into: &out) }
        out += row[i]
        if i + 1 < names.count { spaces((isNumeric[i] ? 0 : padding) + 2, into: &out) }
      }
      out.append(10)
    }
  }

  /// Every member's name, in the order in which they first come.
  private static func columns(_ elements: [JSONValue]) -> [[UInt8]] {
    var names: [[UInt8]] = []
    for element in elements {
      guard case .object(let members) = element else { continue }
      for member in members where !names.contains(where: { $0.elementsEqual(member.name) }) {
        names.append(member.name)
      }
    }
    return names
  }

  private static func member(_ name: [UInt8], of value: JSONValue) -> JSONValue? {
    guard case .object(let members) = value else { return nil }
    for member in members where member.name.elementsEqual(name) { return member.value }
    return nil
  }

  // MARK: Events

  private static func isEvents(_ elements: [JSONValue]) -> Bool {
    for element in elements where element["sequence"] == nil || element["level"] == nil || element["text"] == nil {
      return false
    }
    return true
  }

  private static func events(_ elements: [JSONValue], into out: inout [UInt8]) {
    for element in elements {
      line(
        cell(element["time"] ?? .null) + [32] + cell(element["level"] ?? .null) + [58, 32]
          + cell(element["text"] ?? .null), indent: 0, into: &out)
    }
  }

  // MARK: Cells

  /// One line whatever the value.
  private static func cell(_ value: JSONValue) -> [UInt8] {
    switch value {
    case .null: return [45]
    case .bool(let value): return Array((value ? "yes" : "no").utf8)
    case .number(let digits): return digits
    case .string(let text): return text.isEmpty ? [45] : printableText(text)
    case .array(let elements):
      if elements.isEmpty { return [45] }
      var out: [UInt8] = []
      for element in elements { out += (out.isEmpty ? [] : [44]) + cell(element) }
      return out
    case .object(let members):
      if members.isEmpty { return [45] }
      var out: [UInt8] = []
      for member in members {
        out += (out.isEmpty ? [] : [32]) + printableText(member.name) + [61] + cell(member.value)
      }
      return out
    }
  }

  /// UTF-8 without what a terminal would act on: C0, DEL, and C1 as U+0080 ... U+009F.
  private static func printableText(_ text: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    for (i, byte) in text.enumerated() {
      let isC1 = byte >= 0x80 && byte < 0xa0 && i > 0 && text[i - 1] == 0xc2
      if isC1 { out.removeLast() }
      out.append(byte < 32 || byte == 127 || isC1 ? 63 : byte)
    }
    return out
  }

  /// Unicode scalars, which is columns for what nodes and ports are called.
  private static func width(_ text: [UInt8]) -> Int {
    var count = 0
    for byte in text where byte & 0xc0 != 0x80 { count += 1 }
    return count
  }

  private static func upperCase(_ name: [UInt8]) -> [UInt8] {
    printableText(name).map { $0 >= 97 && $0 <= 122 ? $0 - 32 : ($0 == 95 ? 32 : $0) }
  }
}
