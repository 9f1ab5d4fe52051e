// What a process costs, as the kernel counts it.

import Foundation

public struct ProcessFigures: Sendable, Equatable {
  /// User and system time, seconds.
  public var processorSeconds: Double
  /// Resident memory, KiB.
  public var residentKiB: Int

  /// nil when there is no such process.
  public init?(process identifier: Int32) {
    guard
      let stat = try? String(contentsOfFile: "/proc/\(identifier)/stat", encoding: .utf8),
      let status = try? String(contentsOfFile: "/proc/\(identifier)/status", encoding: .utf8),
      let end = stat.lastIndex(of: ")")
    else { return nil }
    // After the command's name: state is field 0, utime 11, stime 12 (proc(5) counts from 3).
    let fields = stat[stat.index(after: end)...].split(separator: " ")
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return nil }
    processorSeconds = (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    residentKiB = line.flatMap { Int($0.split(separator: " ")[1]) } ?? 0
  }
}

extension LabNode {
  public var figures: ProcessFigures? { process.flatMap { ProcessFigures(process: $0.identifier) } }
}

/// The middle value; nan of none.
public func median(_ values: [Double]) -> Double {
  values.isEmpty ? .nan : values.sorted()[values.count / 2]
}
