// Removing what a laboratory made, from its tag alone: also after a run that was killed before it could tidy up.

import Foundation

public enum Leftovers {
  /// All network namespaces of this machine that bear a laboratory's name.
  static func namespaces() -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "/run/netns")) ?? []).filter { owner(of: $0) != nil }
  }

  static func directories(in parent: String = "/tmp") -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? [])
      .filter { $0.hasPrefix("lifeline-lab-ll") }.map { "\(parent)/\($0)" }
  }

  /// The process that made a thing called `ll<pid><letters>-...`.
  static func owner(of name: String) -> Int32? {
    guard name.hasPrefix("ll"), name.contains("-") else { return nil }
    let digits = name.dropFirst(2).prefix { $0.isASCII && $0.isNumber }
    guard let pid = Int32(digits), name.dropFirst(2 + digits.count).first?.isLetter == true else { return nil }
    return pid
  }

  /// Ends the processes in a namespace, whoever started them: nobody else has business there.
  private static func endProcesses(in namespace: String) {
    let list = interruptible { try run(["ip", "netns", "pids", namespace], tolerant: true).output } ?? ""
    for pid in list.split(separator: "\n").compactMap({ Int32($0) }) { kill(pid, SIGKILL) }
  }

  /// Tidying goes on although the user pressed Ctrl-C.
  private static func interruptible<R>(_ body: () throws -> R) -> R? {
    for _ in 0..<3 {
      do { return try body() } catch LabError.interrupted { continue } catch { return nil }
    }
    return nil
  }

  /// Removes namespaces and the folder of one tag.
  ///
  /// - Returns: what is still there afterwards.
  static func remove(tag: String, directory: String) -> [String] {
    let mine = namespaces().filter { $0.hasPrefix("\(tag)-") }
    for namespace in mine { endProcesses(in: namespace) }
    if !mine.isEmpty { removeNamespaces(mine) }
    try? FileManager.default.removeItem(atPath: directory)
    var left = namespaces().filter { $0.hasPrefix("\(tag)-") }.map { "namespace \($0)" }
    if access(directory, F_OK) == 0 { left.append("folder \(directory)") }
    left += processes(mentioning: directory).map { "process \($0)" }
    return left
  }

  private static func removeNamespaces(_ names: [String]) {
    let lines = names.map { "netns del \($0)\n" }.joined()
    _ = interruptible { try run(["ip", "-force", "-batch", "-"], input: lines, tolerant: true) }
  }

  /// Processes whose command line names the folder: nodes and servers of a laboratory.
  static func processes(mentioning text: String) -> [Int32] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { Int32($0) }.filter { pid in
      guard pid != getpid(), let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else {
        return false
      }
      return String(decoding: line, as: UTF8.self).contains(text)
    }
  }

  /// Everything that laboratories left whose process is dead.
  public static func ofTheDead() -> [String] {
    func isDead(_ name: String) -> Bool { owner(of: name).map { kill($0, 0) != 0 && errno == ESRCH } ?? false }
    let folders = directories().filter { isDead(String($0.dropFirst("/tmp/lifeline-lab-".count)) + "-") }
    return namespaces().filter(isDead) + folders
  }

  /// Removes what dead laboratories left. Others that run now are not touched.
  public static func removeDead() throws {
    for thing in ofTheDead() {
      if thing.hasPrefix("/") {
        for pid in processes(mentioning: thing) { kill(pid, SIGKILL) }
        try? FileManager.default.removeItem(atPath: thing)
      } else {
        endProcesses(in: thing)
        removeNamespaces([thing])
      }
    }
  }
}
