import Core
import Testing

@testable import Wire

struct JSONTests {
  private func text(_ json: JSONWriter) -> String { String(decoding: json.bytes, as: UTF8.self) }

  @Test func `a writer places commas and nests`() {
    var json = JSONWriter()
    json.object { json in
      json.field("a", 1)
      json.key("b")
      json.array { json in
        json.integer(-2)
        json.object { _ in }
        json.array { _ in }
        json.bool(false)
        json.null()
      }
      json.field("c", nil as String?)
      json.field("d", UInt64.max)
      json.field("e", Int64.min)
      json.key("f")
      json.raw(Array("[1]".utf8))
      json.field("g", true)
    }
    #expect(
      text(json) == #"{"a":1,"b":[-2,{},[],false,null],"c":null,"d":18446744073709551615,"e":-9223372036854775808,"#
        + #""f":[1],"g":true}"#)
  }

  @Test(
    arguments: [(0, "0.000"), (1, "0.001"), (-1, "-0.001"), (12345, "12.345"), (-12345, "-12.345")] as [(Int64, String)]
  )
  func `thousandths are written with three decimals`(value: Int64, expected: String) {
    var json = JSONWriter()
    json.thousandths(value)
    #expect(text(json) == expected)
  }

  @Test func `strings are escaped as RFC 8259 §7 asks, and bytes that are not UTF-8 are replaced`() {
    var json = JSONWriter()
    json.array { json in
      json.string("\"\\\n\r\t\u{1}\u{1f}\u{7f}é")
      json.string(utf8: [0x61, 0xff, 0x62])
    }
    #expect(text(json) == #"["\"\\\n\r\t\u0001\u001f\u007fé","a\#u{fffd}b"]"#)
  }

  @Test func `what a writer wrote a reader reads`() throws {
    let original = "quote \" back \\ slash / line \n tab \t null \u{0} snow ☃ clef 𝄞"
    var json = JSONWriter()
    json.object { $0.field("text", original) }
    guard case .string(let read)? = try JSONValue(decoding: json.bytes)["text"] else {
      Issue.record("no text")
      return
    }
    #expect(read == Array(original.utf8))
  }

  @Test func `escapes are read, surrogate pairs joined`() throws {
    let document = #"["\u0041\u00e9\u20ac\ud834\udd1e\/\b\f"]"#
    guard case .array(let elements) = try JSONValue(decoding: Array(document.utf8)),
      case .string(let read) = elements[0]
    else {
      Issue.record("no string")
      return
    }
    #expect(read == Array("Aé€𝄞/\u{8}\u{c}".utf8))
  }

  @Test(arguments: [
    "", " ", "[", "]", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "01", "-", "1.", ".5", "1e", "+1",
    "nul",
    "true false", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\\ud834\"", "\"\\udd1e\"", "\"\\ud834\\u0041\"", "\"a\nb\"", "NaN",
    "'a'", "[1] x",
  ])
  func `what RFC 8259 does not allow is refused`(document: String) {
    #expect(throws: JSONError.self) { try JSONValue(decoding: Array(document.utf8)) }
  }

  @Test(arguments: [
    "0", "-0", "10", "1.5", "1e9", "-2.5E-3", "null", "true", "false", "\"\"", "[]", "{}", " [ 1 , 2 ] ",
  ])
  func `what RFC 8259 allows is read`(document: String) throws {
    _ = try JSONValue(decoding: Array(document.utf8))
  }

  @Test func `nesting is limited`() throws {
    let limit = JSONValue.depthLimit
    func nested(_ depth: Int) -> [UInt8] {
      [UInt8](repeating: 91, count: depth) + [UInt8](repeating: 93, count: depth)
    }
    _ = try JSONValue(decoding: nested(limit + 1))
    #expect(throws: JSONError.tooDeep(limit: limit)) { try JSONValue(decoding: nested(limit + 2)) }
    #expect(throws: JSONError.tooDeep(limit: limit)) { try JSONValue(decoding: [UInt8](repeating: 91, count: 1 << 20)) }
  }

  @Test func `damaged documents never trap`() {
    let seed: UInt64 = 0x5eed
    var state = seed
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let whole = Array(#"{"a":[1,-2.5e3,"x\u00e9\n",{"b":null,"c":true}],"d":"\ud834\udd1e"}"#.utf8)
    for _ in 0..<5000 {
      var bytes = whole
      for _ in 0...random(3) {
        switch random(3) {
        case 0: bytes[random(bytes.count)] = UInt8(random(256))
        case 1: bytes.removeLast(random(bytes.count))
        default: bytes.insert(UInt8(random(256)), at: random(bytes.count))
        }
        if bytes.isEmpty { bytes = [91] }
      }
      _ = try? JSONValue(decoding: bytes)
    }
  }
}
