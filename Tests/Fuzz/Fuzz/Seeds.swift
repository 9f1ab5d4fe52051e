// Where the fuzzers begin: the golden vectors in the shape each target reads, and random decisions for those that are
// driven by decisions.

import Foundation
import InsiderKit

enum Seeds {
  /// Writes `folder`/TARGET/NUMBER for every target, from the vectors in `vectors`.
  static func write(to folder: String, vectors: String) throws {
    for target in Fuzz.targets {
      let name = target.name.description
      let place = "\(folder)/\(name)"
      try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
      var all = shaped(name, vectors)
      for seed in 1...8 as ClosedRange<UInt64> {
        var choices = Choices(seed: seed)
        all.append(choices.array(min(target.limit, 256 << Int(seed % 4))))
      }
      for (number, bytes) in all.enumerated() where bytes.count <= target.limit {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(place)/\(number)"))
      }
    }
  }

  /// Every hexadecimal value of a vector file.
  private static func values(_ folder: String, _ file: String) -> [[UInt8]] {
    guard let text = try? String(contentsOfFile: "\(folder)/\(file).txt", encoding: .utf8) else { return [] }
    var out: [[UInt8]] = []
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      for word in line.split(separator: " ").dropFirst() where word.count >= 4 && word.count % 2 == 0 {
        let digits = Array(word)
        let bytes = stride(from: 0, to: digits.count, by: 2).compactMap {
          UInt8(String(digits[$0...$0 + 1]), radix: 16)
        }
        if bytes.count * 2 == digits.count { out.append(bytes) }
      }
    }
    return out
  }

  private static func shaped(_ target: String, _ vectors: String) -> [[UInt8]] {
    func counted(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 8 & 255), UInt8(bytes.count & 255)] + bytes }
    switch target {
    case "messages":
      let messages = values(vectors, "relay")
      return messages.flatMap { bytes in (0..<UInt8(messageKinds)).flatMap { [[$0] + bytes, [$0] + bytes.dropFirst()] }
      }
    case "lsa": return values(vectors, "lsa").map { [1] + counted($0) + [3] }
    case "membership": return values(vectors, "membership").flatMap { bytes in (0..<9).map { [$0] + bytes } }
    case "store":
      let seals = [0, 1, 2, 16, 17, 48 * 1024 >> 8].map { cost -> [UInt8] in
        let head = Array("lfl-seal".utf8) + [1] + [UInt8](repeating: 0x5a, count: 16)
        return [4] + head + [0, 0, 0, UInt8(min(cost, 17)), 0, 0, UInt8(cost), 8] + [UInt8](repeating: 3, count: 40)
      }
      return values(vectors, "membership-store").flatMap { bytes in (0..<4).map { [$0] + bytes } } + seals
    case "neighbour":
      let frames = ["discover", "handshake", "hello", "link"].flatMap { values(vectors, $0) }
      return frames.map { [1, 1] + counted($0) }
    case "node":
      let frames = ["discover", "handshake", "hello", "link"].flatMap { values(vectors, $0) }
      return frames.filter { !$0.isEmpty }.map { [0, 5, $0[0], 0] + counted(Array($0.dropFirst())) }
    case "beacon": return values(vectors, "beacon").map { [0, 1, 4, 1] + $0 + [1] }
    case "onion":
      return values(vectors, "onion").map {
        [0, 1, 0, UInt8((15 + $0.count) & 255)] + [UInt8](repeating: 0, count: 15) + $0
      }
    case "session": return values(vectors, "session").map { [0, UInt8(min($0.count, 79))] + $0 }
    case "handshake": return values(vectors, "session").map { [2, 0, 0, 0, 0, 0, UInt8(min($0.count, 119))] + $0 }
    case "json":
      return [
        #"{"name":"sw1","hops":3,"up":true,"list":[1,-2.5e3,null,"é\n"]}"#, #"[[[[{"a":{}}]]]]"#, "12",
        #""\ud834\udd1e""#,
      ].map { Array($0.utf8) }
    case "control": return [[0, 1, 0, 6] + Array("status".utf8) + [0, 0, 0, 0]]
    default: return []
    }
  }
}
