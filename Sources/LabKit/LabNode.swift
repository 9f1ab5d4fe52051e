// One box: a namespace, a store, a run folder, a log, and the shipped binary running in it under its own host name.

import Foundation

public enum Role: String, Sendable, Equatable {
  case authority, component
}

public final class LabNode {
  public let index: Int
  public let name: String
  public let role: Role
  public let namespace: String
  public let directory: String
  public let binary: String
  private let logLevel: String
  /// The running node, when there is one; also one that has ended by itself.
  public private(set) var process: BackgroundProcess?
  /// When the node was last started, seconds of `now()`.
  public private(set) var startedAt = 0.0

  init(index: Int, name: String, laboratory: Laboratory) {
    self.index = index
    self.name = name
    role = laboratory.options.authorities.contains(index) ? .authority : .component
    namespace = "\(laboratory.tag)-\(name)"
    directory = "\(laboratory.directory)/\(name)"
    binary = laboratory.binary
    logLevel = laboratory.options.logLevel
  }

  public var store: String { "\(directory)/lifeline.nv" }
  public var runDirectory: String { "\(directory)/run" }
  public var log: String { "\(directory)/log" }
  public var personality: String { role == .authority ? "ma" : "cm" }

  public var arguments: [String] {
    [personality, "--store", store, "--run", runDirectory, "--log", logLevel]
  }

  /// Command words that run others with this node's network and host name.
  public func inside(_ words: [String]) -> [String] {
    [
      "ip", "netns", "exec", namespace, "unshare", "--uts", "sh", "-c",
      "echo \"$0\" >/proc/sys/kernel/hostname; exec \"$@\"", name,
    ] + words
  }

  /// Starts the node; `extra` options follow the usual ones, `wrapper` is a program that runs it in its own place.
  public func start(extra: [String] = [], under wrapper: [String] = []) throws {
    startedAt = now()
    process = try BackgroundProcess(inside(wrapper + [binary] + arguments + extra), log: log)
  }

  public var isRunning: Bool { process?.isRunning ?? false }

  public func send(_ signal: Int32) { process?.send(signal) }

  /// SIGTERM, then SIGKILL after `patience` seconds; the exit status (128 + n for signal n).
  @discardableResult
  public func stop(patience: Double = 3) -> Int32 { process?.stop(patience: patience) ?? -1 }

  /// SIGKILL: the node has no time to say goodbye.
  public func crash() {
    process?.send(SIGKILL)
    _ = process?.hasEnded(within: 2)
  }

  /// The log's last lines.
  public func logTail(_ count: Int = 10) -> String {
    let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
    return text.split(separator: "\n").suffix(count).joined(separator: "\n")
  }

  /// A program in this node's namespace.
  @discardableResult
  public func run(
    _ words: [String], input: String = "", timeout: Double = 30, tolerant: Bool = false
  ) throws(LabError) -> CommandResult {
    try LabKit.run(words, in: namespace, input: input, timeout: timeout, tolerant: tolerant)
  }

  /// Names of the Ethernet interfaces (not the loopback, not the management device).
  public func ethernetInterfaces() throws(LabError) -> [String] {
    try run(["ls", "/sys/class/net"]).output.split(separator: "\n").map(String.init).filter { $0.hasPrefix("eth") }
  }
}
