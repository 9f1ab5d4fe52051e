// The laboratory's commands. A host tool: it drives the shipped binary in throw-away network namespaces.

import CLab
import Foundation
import LabKit

@main struct Lab {
  static let usage = """
    Lab COMMAND [--binary FILE] [options]      (root, but for simulate)
      demo                                the channel in a mesh of nine, in 90 seconds
      up [--topology T] [--wires]         a network that stays up until Enter or Ctrl-C
      check T [--order O] [--interval S]  start, authenticate, ping, restart; prints figures
                                          O: ascending, descending, ma-last, shuffle:SEED; repeatable
      bench [--runs N] [--seconds S] [--hops N] [--only lifeline|fastd] [--part bearer|repair] [--cuts N]
                                          throughput, small packets, round trips and processor time beside fastd; then
                                          `repair` with 10 cuts a kind on ring:6 between the MA and a component, beside
                                          the peers that are installed (from --cuts 50 on: all that `repair` does)
      repair [--topology T] [--kind K] [--cuts N] [--flow F] [--protected] [--unprotected] [--svg FILE] [--json FILE]
                                          what failures cost a 1 kHz stream, against the limits; by default everything:
                                          ring:6 and grid:5x5, 50 cuts a kind
                                          K: carrier, silent, one-way-out, one-way-back, large, killed, frozen, grey
                                          --peers N: also N cuts of each peer that is installed, on the ring; --peer P:
                                          of those alone whose name contains P
                                          F: authority (both ways), components; T, K and F are repeatable
      soak [--minutes M] [--topology T]   traffic and restarts; memory must stay flat
      idle [--seconds S]                  processor time of a component with four ports and nothing to do
      authorities                         several MAs, some or all killed: what the others' channels lose
      hellos [--ports N] [--seconds S]    processor time of a component with N ports, all of them links
      calm [--minutes M] [--stops] [--topology T]
                                          links called down while other processes load every core, with --stops also while
                                          a node is stopped for 35 ms every second: 0
      storm [--frames N] [--seed N] [--rounds N]
                                          random, mutated and forged frames on a port of a running node
      simulate [--topology T] [--nodes N] [--seed S] [--faults none|light|heavy] [--seconds V]
               [--authorities M] [--talk] [--events N] [--cut P] [--unprotected] [--json FILE]
               [--check]
                                          a network in virtual time (no root, no binary): figures, and what oracles say
                                          N single links fail and come back: the MA's processor time for each, what
                                          flows lose; P per cent of the links fail at once: when all come again
                                          (--check: a figure over its limit fails)
                                          T here also: random:N,LINKS, star:N, star-of-rings:RxN, fat-tree:K, zoo:NAME
      simulate --schedules N [--seed S] [--nodes N] [--faults F] [--seconds V]
               [--authorities M] [--workers W] [--keep-going] [--talk]
                                          so many random schedules of faults, from seed S on, on all cores
      paths [--grid WxH] [--root corner|centre] [--random N,L] [--costs C] [--events N] [--seed S] [--check]
                                          what a link event costs an authority, and how it grows (--check: judged
                                          figures only); no root needed; build it with -c release
      sweep [--check]                     removes (or only reports) what killed runs have left
      jump PROGRAM ARGUMENT...            runs a program with a wall clock that jumps by years at each reading
    T: chain:N, ring:N, grid:WxH, star:N, mesh, figure4, figure5
    """

  static func main() {
    lab_write_lines_at_once()
    if CommandLine.argc > 2, CommandLine.arguments[1] == "jump" {
      exit(lab_run_with_jumping_clock(CommandLine.unsafeArgv + 2))
    }
    lab_catch_interrupts()
    do {
      exit(try run(Options(Array(CommandLine.arguments.dropFirst()))))
    } catch LabError.usage(let what) {
      write("lab: \(what)\n\(usage)\n")
      exit(2)
    } catch LabError.interrupted {
      write("lab: interrupted; everything was removed\n")
      exit(130)
    } catch {
      write("lab: \(error)\n")
      exit(1)
    }
  }

  static func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }

  private static func run(_ options: Options) throws -> Int32 {
    switch options.command {
    case "demo": return try Demo(options).run()
    case "up": return try keepUp(options)
    case "check": return try check(options)
    case "bench": return try bench(options)
    case "repair": return try repair(options)
    case "soak": return try soak(options)
    case "idle": return try idle(options)
    case "authorities": return try authorities(options)
    case "hellos": return try hellos(options)
    case "calm": return try calm(options)
    case "storm": return try storm(options)
    case "sweep": return try sweep(options)
    case "simulate": return try simulate(options)
    case "paths": return try PathsBench(options).run()
    case "serve-page":
      // Used by the demo where there is no other web server.
      try servePage(options.value("page") ?? "", in: options.words.first ?? "")
      return 0
    case "help":
      print(usage)
      return 0
    case "": throw LabError.usage("no command")
    default: throw LabError.usage("no command '\(options.command)'")
    }
  }

  private static func sweep(_ options: Options) throws -> Int32 {
    let left = Leftovers.ofTheDead()
    for thing in left { print(thing) }
    if options.flag("check") {
      print(left.isEmpty ? "nothing is left behind" : "\(left.count) things are left behind")
      return left.isEmpty ? 0 : 1
    }
    try Leftovers.removeDead()
    return Leftovers.ofTheDead().isEmpty ? 0 : 1
  }
}

/// `COMMAND WORD... --name value --flag`.
struct Options {
  let command: String
  private(set) var words: [String] = []
  private var values: [(name: String, value: String)] = []
  private static let flags = [
    "wires", "check", "keep", "verbose", "talk", "keep-going", "protected", "unprotected", "stops",
  ]

  init(_ arguments: [String]) throws {
    let asksForHelp = arguments.contains("--help") || arguments.contains("-h")
    command = asksForHelp ? "help" : arguments.first ?? ""
    var rest = asksForHelp ? [] : arguments.dropFirst()
    while let word = rest.popFirst() {
      guard word.hasPrefix("--") else {
        words.append(word)
        continue
      }
      let name = String(word.dropFirst(2))
      if Self.flags.contains(name) {
        values.append((name, ""))
      } else if let value = rest.popFirst() {
        values.append((name, value))
      } else {
        throw LabError.usage("\(word) needs a value")
      }
    }
  }

  func flag(_ name: String) -> Bool { values.contains { $0.name == name } }
  func value(_ name: String) -> String? { values.last { $0.name == name }?.value }
  func all(_ name: String) -> [String] { values.filter { $0.name == name }.map(\.value) }
  func number(_ name: String, default normal: Double) throws -> Double {
    guard let text = value(name) else { return normal }
    guard let number = Double(text), number >= 0 else { throw LabError.usage("--\(name) \(text): not a number") }
    return number
  }
  var binary: String { value("binary") ?? "build/x86_64/lifeline" }
  func topology(default normal: Topology) throws -> Topology {
    try value("topology").map { text throws(LabError) in try Topology(parsing: text) } ?? normal
  }
}
