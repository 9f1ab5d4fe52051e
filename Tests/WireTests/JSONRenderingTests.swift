import Core
import Testing

@testable import Wire

struct JSONRenderingTests {
  private func rendered(_ document: String) throws -> String {
    String(decoding: JSONRendering.text(of: try JSONValue(decoding: Array(document.utf8))), as: UTF8.self)
  }

  @Test func `an array of objects is a table: columns as they first come, numbers to the right, a dash for nothing`()
    throws
  {
    let document = #"""
      [{"name":"alpha","hops":0,"ipv4":"10.0.0.1"},
       {"name":"zürich","hops":12,"ipv4":"","risk_group":null},
       {"name":"b","ipv4":"10.0.0.3","up":true}]
      """#
    #expect(
      try rendered(document) == """
        NAME    HOPS  IPV4      RISK GROUP  UP
        alpha      0  10.0.0.1           -  -
        zürich    12  -                  -  -
        b          -  10.0.0.3           -  yes

        """)
  }

  @Test func `an object is lines of key and value, what is inside stands further in`() throws {
    let document = #"""
      {"name":"alpha","ready":false,"probe":{"v4in":true,"v4":1.5},"empty":{},"ports":["e0","e1"],
       "links":[{"a":1},{"a":22}]}
      """#
    #expect(
      try rendered(document) == """
        name:  alpha
        ready: no
        probe:
          v4in: yes
          v4:   1.5
        empty: -
        ports: e0,e1
        links:
           A
           1
          22

        """)
  }

  @Test func `objects in a cell are key=value`() throws {
    #expect(try rendered(#"[{"n":"a","w":[{"p":0},{"p":1}]},{"n":"bc","w":[]}]"#) == "N   W\na   2\nbc  -\n")
    #expect(try rendered(#"[{"a":{"x":1,"y":"b"},"b":[]}]"#) == "A        B\nx=1 y=b  -\n")
  }

  @Test func `events are lines of time, level and text`() throws {
    let document = #"[{"sequence":7,"time":"2025-11-21T00:00:00.000Z","level":"notice","text":"port e0 is up"}]"#
    #expect(try rendered(document) == "2025-11-21T00:00:00.000Z notice: port e0 is up\n")
  }

  @Test func `nothing in a string reaches the terminal as a command`() throws {
    #expect(try rendered(#"{"a":"x\u001b[2J\u0007\n\u009b1m\u007f"}"#) == "a: x?[2J???1m?\n")
  }

  @Test(arguments: [
    ("[]", "-\n"), ("{}", ""), ("\"x\"", "x\n"), ("null", "-\n"), ("[1,2]", "1,2\n"), ("[[1],{}]", "1,-\n"),
  ])
  func `other documents are one line`(document: String, expected: String) throws {
    #expect(try rendered(document) == expected)
  }
}
