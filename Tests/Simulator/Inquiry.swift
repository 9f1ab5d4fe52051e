// What a world's nodes say of themselves, through the same door as `lifeline ctl`.

import Core
import Node
import Wire

extension World {
  /// The document a node answers, or nil when it has no process or refuses.
  public func ask(_ number: Int, _ words: [String], attachment: [UInt8] = []) -> JSONValue? {
    var answer: JSONValue?
    let box = nodes[number]
    enter(box) { node in
      let request = ControlRequest(words: words.map { Array($0.utf8) }, attachment: attachment)
      guard case .document(let bytes) = node.control(request, at: box.own(now)) else { return }
      do throws(JSONError) {
        answer = try JSONValue(decoding: bytes)
      } catch {
        violated("node \(number) answers \(words[0]) with what is not JSON")
      }
    }
    return answer
  }

  public func isReady(_ number: Int) -> Bool {
    if case .bool(true)? = ask(number, ["status"])?["ready"] { return true }
    return false
  }

  /// Members that the MA has a session with and a route to.
  public var reachable: Int { integer(ask(authority, ["status"])?["reachable"]) ?? 0 }

  /// All others are authenticated, and know their way back.
  public var isComplete: Bool {
    reachable == nodes.count - 1 && nodes.allSatisfy { $0.number == authority || isReady($0.number) }
  }

  /// A counter by the names that lead to it.
  public func counter(_ number: Int, _ group: StaticString, _ name: StaticString? = nil) -> Int {
    guard let all = ask(number, ["counters"]) else { return 0 }
    return integer(name.map { all[group]?[$0] } ?? all[group]) ?? 0
  }

  private func integer(_ value: JSONValue?) -> Int? {
    guard case .number(let text)? = value else { return nil }
    return Int(String(decoding: text, as: UTF8.self))
  }

  /// The number of elements a node lists.
  public func count(_ number: Int, _ command: String) -> Int {
    if case .array(let elements)? = ask(number, [command]) { return elements.count }
    return 0
  }

  /// What may not grow is within its limit: called at the end of a run.
  public func checkTables() {
    for box in nodes where box.isRunning {
      let neighbours = count(box.number, "neighbours")
      if neighbours > 255 { violated("node \(box.number) lists \(neighbours) neighbours") }
      let overflow = counter(box.number, "outputOverflow")
      if overflow > 0 { violated("node \(box.number) lost \(overflow) outputs of its own") }
      let empty = counter(box.number, "poolEmpty")
      if empty > 0 { violated("node \(box.number) found its pool empty \(empty) times") }
    }
  }
}
