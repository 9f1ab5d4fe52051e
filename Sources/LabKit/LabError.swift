// What can go wrong in the laboratory, in words for the person who started it.

public enum LabError: Error, CustomStringConvertible, Equatable {
  /// A system call of ours failed.
  case system(call: String, code: Int32)
  /// A program ended with a status that was not expected.
  case command(line: String, status: Int32, output: String)
  /// A program did not end in time and was killed.
  case timeout(line: String, seconds: Double)
  /// Something expected of the network did not come about.
  case expectation(String)
  /// The command line was not understood.
  case usage(String)
  /// Ctrl-C or SIGTERM: tidy up and end.
  case interrupted

  public var description: String {
    switch self {
    case .system(let call, let code): "\(call): \(text(ofErrorCode: code))"
    case .command(let line, let status, let output):
      "`\(line)` ended with \(status)\(output.isEmpty ? "" : ": \(output.trimmed.suffix(2000))")"
    case .timeout(let line, let seconds): "`\(line)` did not end within \(seconds) s"
    case .expectation(let what): what
    case .usage(let what): what
    case .interrupted: "interrupted"
    }
  }
}
