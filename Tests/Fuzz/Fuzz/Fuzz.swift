// One program for all fuzzers: the first argument chooses the target, the rest are libFuzzer's. `--list` names them, and
// `--seeds FOLDER VECTORS` writes what they begin with.
//
// A target is a function of the input's bytes alone: it makes its state anew each time, so that a saved input is all it
// takes to repeat a crash. A Swift trap, an address that is not ours or an invariant that fails ends the process, and
// libFuzzer saves the input. (`insider` alone keeps its network for 64 inputs; `--history` repeats those.)

import CFuzz
import Core
import Crypto
import Foundation

struct FuzzTarget: Sendable {
  let name: StaticString
  /// The longest input worth trying, bytes.
  let limit: Int
  let run: @Sendable (UnsafeBufferPointer<UInt8>) -> Void
}

nonisolated(unsafe) private var chosen: FuzzTarget?

@main struct Fuzz {
  static let targets: [FuzzTarget] = wireTargets + membershipTargets + engineTargets + bearerTargets + nodeTargets

  static func main() {
    guard Sodium.initialize() else { fatalError("libsodium does not start") }
    invariantReporter = { file, line, what in print("invariant at \(file):\(line): \(what)") }
    let words = CommandLine.arguments
    guard words.count > 1, words[1] != "--list" else {
      for target in targets { print("\(target.name) \(target.limit)") }
      return
    }
    if words[1] == "--seeds", words.count == 4 {
      do { try Seeds.write(to: words[2], vectors: words[3]) } catch { fatalError("seeds are not written: \(error)") }
      return
    }
    if words[1] == "--history", words.count == 4 {
      repeatHistory(words[3], with: words[2])
      return
    }
    guard let target = targets.first(where: { $0.name.description == words[1] }) else {
      fatalError("no fuzz target is called \(words[1]); --list names them")
    }
    chosen = target
    var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.unsafeArgv.map(to: CommandLine.argc)
    arguments.remove(at: 1)
    var count = Int32(arguments.count)
    arguments.append(nil)
    let status = arguments.withUnsafeMutableBufferPointer {
      var start = $0.baseAddress
      return LLVMFuzzerRunDriver(&count, &start) { bytes, count in
        chosen?.run(UnsafeBufferPointer(start: bytes, count: count))
        return 0
      }
    }
    if status != 0 { fatalError("libFuzzer ended with \(status)") }
  }
}

extension Fuzz {
  /// Inputs of a target that keeps what it made from one to the next, each behind its length.
  private static func repeatHistory(_ file: String, with name: String) {
    guard let target = targets.first(where: { $0.name.description == name }),
      let bytes = FileManager.default.contents(atPath: file).map({ [UInt8]($0) })
    else { fatalError("no such target or file") }
    var (at, count) = (0, 0)
    while at + 2 <= bytes.count {
      let end = min(bytes.count, at + 2 + (Int(bytes[at]) << 8 | Int(bytes[at + 1])))
      Array(bytes[(at + 2)..<end]).withUnsafeBufferPointer { target.run($0) }
      (at, count) = (end, count + 1)
    }
    print("\(count) inputs, no crash")
  }
}

extension UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> {
  fileprivate func map(to count: Int32) -> [UnsafeMutablePointer<CChar>?] { (0..<Int(count)).map { self[$0] } }
}

/// What a decoder took must encode to what a decoder takes again, and to the same bytes.
func require(_ condition: Bool, _ what: String, line: UInt = #line) {
  if !condition { fatalError("\(what) (line \(line))") }
}

/// The input as an array of exactly its size, so that a read past its end is seen.
func copy(_ input: UnsafeBufferPointer<UInt8>) -> [UInt8] { Array(input) }

/// Runs `body` on a heap block of exactly the bytes' size: what is read behind it is reported.
func withExactBlock(_ bytes: [UInt8], _ body: (UnsafeMutablePointer<UInt8>, Int) -> Void) {
  let block = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, bytes.count))
  defer { block.deallocate() }
  for i in bytes.indices { block[i] = bytes[i] }
  body(block, bytes.count)
}

func key(_ fill: UInt8) -> Bytes32 {
  var value = Bytes32()
  value.withMutableBytes { for i in 0..<32 { $0[i] = fill &+ UInt8(i) } }
  return value
}

func nonce(_ fill: UInt8) -> Bytes16 {
  var value = Bytes16()
  value.withMutableBytes { for i in 0..<16 { $0[i] = fill &+ UInt8(i) } }
  return value
}
