// What a world's nodes say of themselves, through the same door as `lifeline ctl`.

import CSimulator
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

  /// The flash of a box that kept its node waiting has taken everything.
  public func storeAnswers(_ number: Int) {
    nodes[number].keepsStoreWaiting = false
    let count = nodes[number].running?.persisted ?? 0
    enter(nodes[number]) { $0.storeIsSettled(through: count, at: nodes[number].own(now)) }
  }

  /// Prints what a node answers.
  func tell(_ number: Int, _ requests: [String]...) {
    for words in requests {
      enter(nodes[number]) { node in
        let request = ControlRequest(words: words.map { Array($0.utf8) }, attachment: [])
        guard case .document(let bytes) = node.control(request, at: nodes[number].own(now)) else { return }
        print("\(elapsed.microseconds) µs node \(number) \(words[0]): \(String(decoding: bytes, as: UTF8.self))")
      }
    }
  }

  public func isReady(_ number: Int) -> Bool { nodes[number].running?.storage.pointee.isReady ?? false }

  /// Members that the first MA has a session with and a route to.
  public var reachable: Int { nodes[authority].running?.storage.pointee.membersReached ?? 0 }

  /// All others are authenticated by every MA, and know their way back.
  public var isComplete: Bool {
    authorities.allSatisfy { number in
      nodes.allSatisfy { $0.number == number || isAuthenticated($0.number, by: number) }
    }
  }

  /// Those that some MA has not authenticated, or that do not know it; at most 20 of them.
  public var missing: [Int] {
    Array(
      nodes.map { $0.number }.filter { number in
        authorities.contains { $0 != number && !isAuthenticated(number, by: $0) }
      }.prefix(20))
  }

  public var framesSent: Int { nodes.reduce(0) { $0 + $1.framesSent } }
  public var storeBytes: Int { nodes.reduce(0) { $0 + $1.store.count } }

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
}

/// Bytes that this process's allocator has given out.
public func allocatedBytes() -> Int { Int(simulator_allocated()) }
