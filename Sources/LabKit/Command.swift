// Running other programs. Output goes to files in memory, so that nothing waits for a reader and a grandchild that
// keeps the descriptor open delays nobody.

import CLab
import Foundation

/// How a program ended and what it wrote.
public struct CommandResult: Sendable {
  /// The exit status; 128 + n when signal n ended it.
  public var status: Int32
  public var output: String
  public var errorOutput: String
  public var succeeded: Bool { status == 0 }
}

/// Seconds of the monotonic clock.
public func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Sleeps; an interrupt ends the sleep with `LabError.interrupted`.
public func pause(_ seconds: Double) throws(LabError) {
  let end = now() + seconds
  while now() < end {
    try checkInterrupt()
    usleep(UInt32(min(0.05, max(0, end - now())) * 1e6))
  }
}

public func checkInterrupt() throws(LabError) {
  if lab_interrupted() != 0 { throw .interrupted }
}

/// Asks every `interval` seconds until the answer is yes; the seconds it took, or nil after `timeout`.
public func wait(
  upTo timeout: Double, every interval: Double = 0.05, until condition: () throws -> Bool
) throws -> Double? {
  let begun = now()
  while true {
    if try condition() { return now() - begun }
    if now() - begun > timeout { return nil }
    try pause(interval)
  }
}

extension String {
  var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}

func text(ofErrorCode code: Int32) -> String { String(cString: strerror(code)) }

/// Turns the -errno of a C call into an error.
@discardableResult
func checked(_ result: Int32, _ call: String) throws(LabError) -> Int32 {
  if result < 0 { throw .system(call: call, code: -result) }
  return result
}

/// The full path of a program, or nil when it is not installed.
public func programPath(_ name: String) -> String? {
  let path = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin"
  return path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
}

/// A C vector of strings, valid during the call.
private func withCStrings<R>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
  let copies: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) } + [nil]
  defer { for copy in copies { free(copy) } }
  return body(copies)
}

private func spawn(
  _ words: [String], environment extra: [String: String], input: Int32, output: Int32, error: Int32
) throws(LabError) -> Int32 {
  var environment = ProcessInfo.processInfo.environment
  environment["PATH"] = (environment["PATH"] ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin"
  for (key, value) in extra { environment[key] = value }
  let pid = withCStrings(words) { argv in
    withCStrings(environment.map { "\($0.key)=\($0.value)" }) { lab_spawn(argv, $0, input, output, error) }
  }
  if pid < 0 { throw .system(call: "start \(words[0])", code: -pid) }
  return pid
}

private func contents(of descriptor: Int32) -> String {
  var bytes = [UInt8](repeating: 0, count: Int(lseek(descriptor, 0, Int32(SEEK_END))))
  let read = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
  return String(decoding: bytes.prefix(max(0, read)), as: UTF8.self)
}

private func status(fromWait raw: Int32) -> Int32 {
  raw & 0x7f == 0 ? (raw >> 8) & 0xff : 128 + (raw & 0x7f)
}

/// Runs a program to its end, in a network namespace when one is named.
///
/// - Parameters:
///   - input: what it reads on standard input; empty by default.
///   - timeout: seconds, after which it is killed and the call throws.
///   - tolerant: do not throw for an exit status other than 0.
@discardableResult
public func run(
  _ words: [String], in namespace: String? = nil, input: String = "", environment: [String: String] = [:],
  timeout: Double = 30, tolerant: Bool = false
) throws(LabError) -> CommandResult {
  let words = namespace.map { ["ip", "netns", "exec", $0] + words } ?? words
  var files: [Int32] = []
  defer { for file in files { close(file) } }
  for _ in 0..<3 { files.append(try checked(lab_memory_file(), "memfd_create")) }
  let bytes = Array(input.utf8)
  if bytes.withUnsafeBytes({ pwrite(files[0], $0.baseAddress, $0.count, 0) }) != bytes.count {
    throw .system(call: "write to memory", code: errno)
  }
  let pid = try spawn(words, environment: environment, input: files[0], output: files[1], error: files[2])
  let begun = now()
  var raw: Int32 = 0
  while try checked(lab_wait(pid, 200, &raw), "wait for \(words[0])") == 0 {
    let late = now() - begun > timeout
    guard late || lab_interrupted() != 0 else { continue }
    kill(-pid, SIGKILL)
    _ = lab_wait(pid, 2000, &raw)
    if late { throw .timeout(line: words.joined(separator: " "), seconds: timeout) }
    throw .interrupted
  }
  let result = CommandResult(
    status: status(fromWait: raw), output: contents(of: files[1]), errorOutput: contents(of: files[2]))
  if !tolerant && !result.succeeded {
    throw .command(
      line: words.joined(separator: " "), status: result.status, output: result.errorOutput + result.output)
  }
  return result
}

/// A program that keeps running until it is stopped; its output goes to a file.
public final class BackgroundProcess {
  public let identifier: Int32
  public let line: String
  /// Set once it has been seen to end.
  public private(set) var endStatus: Int32?

  public init(
    _ words: [String], in namespace: String? = nil, log: String, environment: [String: String] = [:]
  ) throws(LabError) {
    let words = namespace.map { ["ip", "netns", "exec", $0] + words } ?? words
    let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
    let file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    defer {
      close(null)
      close(file)
    }
    if file < 0 { throw .system(call: "open \(log)", code: errno) }
    line = words.joined(separator: " ")
    identifier = try spawn(words, environment: environment, input: null, output: file, error: file)
  }

  public var isRunning: Bool { !hasEnded(within: 0) }

  /// Waits up to `seconds` for it to end by itself.
  public func hasEnded(within seconds: Double) -> Bool {
    if endStatus != nil { return true }
    var raw: Int32 = 0
    let result = lab_wait(identifier, Int32(seconds * 1000), &raw)
    if result == 1 { endStatus = status(fromWait: raw) }
    // Anything but "not yet" means that there is no such child any more.
    if result < 0 { endStatus = -1 }
    return endStatus != nil
  }

  /// Sends a signal to it alone.
  public func send(_ signal: Int32) {
    if endStatus == nil { kill(identifier, signal) }
  }

  /// SIGTERM to its group, then SIGKILL after `patience` seconds.
  @discardableResult
  public func stop(patience: Double = 3) -> Int32 {
    if endStatus == nil {
      kill(-identifier, SIGTERM)
      if !hasEnded(within: patience) {
        kill(-identifier, SIGKILL)
        _ = hasEnded(within: 2)
      }
    }
    // Children that outlived their leader.
    kill(-identifier, SIGKILL)
    return endStatus ?? -1
  }
}

/// A program of this package's host tools: beside the one that runs, or where `swift build` puts it.
public func hostProgram(_ name: String) throws(LabError) -> String {
  let beside = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent(name)
  let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  for path in [beside.path, package.appendingPathComponent(".build/debug/\(name)").path]
  where FileManager.default.isExecutableFile(atPath: path) { return path }
  throw .expectation("the program \(name) is not built: swift build --product \(name)")
}
