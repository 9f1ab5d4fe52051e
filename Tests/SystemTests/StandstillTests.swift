// The kernel's lock of the network configuration, held by others: links, and the end of a node, must not hang on it.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Standstills {
    /// 200 bridges that are deleted take 3.5 s where this was written, for most of which they hold RTNL. Until `ready` is
    /// there they are being made.
    private func holdRTNL(in laboratory: Laboratory, bridges: Int = 200) throws -> (
      process: BackgroundProcess, ready: String
    ) {
      let ready = laboratory.nodes[0].runDirectory + "-rtnl"
      let script =
        "for i in $(seq \(bridges)); do echo link add d$i group 5 type bridge; done | ip -batch -; : > \(ready); "
        + "sleep 0.3; exec ip link del group 5"
      return (try BackgroundProcess(["unshare", "-n", "sh", "-c", script], log: ready + ".log"), ready)
    }

    @Test func `no link is called down while RTNL is held for seconds and the bearer's guard has rules to look at`()
      throws
    {
      try withRunningNetwork(.ring(3)) { laboratory, _ in
        let node = laboratory.nodes[1]
        let before = try laboratory.nodes.map { try $0.counters()["node.link.adjacenciesDown"] }
        // Each is seen within 200 ms, and looked into.
        let rules = try BackgroundProcess(
          node.inside([
            "sh", "-c",
            "for k in $(seq 60); do timeout 3 ip rule add from 172.21.0.$k table 78 pref $((28000+k)); sleep 0.03; done",
          ]), log: node.log + ".rules")
        let holder = try holdRTNL(in: laboratory)
        try #require(try wait(upTo: 5) { FileManager.default.fileExists(atPath: holder.ready) } != nil)
        let held = now()
        _ = try wait(upTo: 6) { !holder.process.isRunning }
        print("RTNL was held for up to \(now() - held) s")
        try pause(0.3)
        let after = try laboratory.nodes.map { try $0.counters()["node.link.adjacenciesDown"] }
        #expect(before == after)
        _ = rules.stop()
      }
    }

    @Test func `SIGTERM while RTNL is held ends a node with 0 and undoes its rules`() throws {
      try withRunningNetwork(.ring(3)) { laboratory, _ in
        let node = laboratory.nodes[1]
        #expect(try node.run(["ip", "rule"]).output.contains("19529"))
        let holder = try holdRTNL(in: laboratory, bridges: 100)
        try #require(try wait(upTo: 5) { FileManager.default.fileExists(atPath: holder.ready) } != nil)
        try pause(0.4)
        #expect(node.stop(patience: 9) == 0)
        #expect(try !node.run(["ip", "rule"]).output.contains("19529"))
        _ = holder.process.stop()
      }
    }

    /// A terminal with room for less than a line is writable, and a write to it waits for whoever reads it.
    @Test func `no link is called down while the terminal that the log goes to takes a few bytes at a time`() throws {
      try withRunningNetwork(.chain(3)) { laboratory, _ in
        let node = laboratory.nodes[1]
        #expect(node.stop() == 0)
        // TIOCSPTLCK and TIOCGPTN of a pseudoterminal, ptmx(4).
        let reader = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK)
        var (lock, number): (Int32, Int32) = (0, -1)
        try #require(ioctl(reader, 0x4004_5431, &lock) == 0 && ioctl(reader, 0x8004_5430, &number) == 0)
        let path = "/dev/pts/\(number)"
        let terminal = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK)
        try #require(terminal >= 0)
        defer {
          close(terminal)
          close(reader)
        }
        var byte: UInt8 = 46
        while write(terminal, &byte, 1) == 1 {}
        #expect(errno == EAGAIN)
        try node.start(extra: ["--log", "debug"], under: ["sh", "-c", "exec \"$@\" 2>\(path)", "sh"])
        var chunk = [UInt8](repeating: 0, count: 8)
        func readSome(_ seconds: Double) throws -> Int {
          var count = 0
          for _ in 0..<Int(seconds / 0.01) {
            count += max(0, read(reader, &chunk, chunk.count))
            try pause(0.01)
          }
          return count
        }
        var taken = try readSome(2)
        let authority = laboratory.authority
        #expect(try wait(upTo: 5) { try authority.knownLinks().count == 2 } != nil)
        let before = try authority.counters()["node.link.adjacenciesDown"]
        for turn in 0..<20 {
          // A line each, and there is never room for more than a part of one.
          try laboratory.setCarrier(1, up: turn % 2 == 1)
          taken += try readSome(0.3)
        }
        #expect(taken > 500)
        #expect(try authority.counters()["node.link.adjacenciesDown"] == before)
        #expect(try wait(upTo: 5) { !(try authority.route(to: node.name)).isEmpty } != nil)
        // It does not wait for the reader when it ends either.
        let end = now()
        #expect(node.stop(patience: 5) == 0)
        #expect(now() - end < 3)
      }
    }

    @Test func `lines that the log's medium refuses are counted`() throws {
      try withRunningNetwork(.chain(2)) { laboratory, _ in
        let node = laboratory.nodes[1]
        #expect(node.stop() == 0)
        try node.start(under: ["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"])
        // Each is counted with the next one.
        #expect(try wait(upTo: 10) { (try? node.counters()["loop.logLinesLeftOut"]) ?? 0 > 1 } != nil)
      }
    }

    @Test func `the threads have the two capabilities and no more, and signals reach only the loop`() throws {
      try withRunningNetwork(.chain(2)) { laboratory, _ in
        let process = try #require(laboratory.nodes[1].process).identifier
        let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")
        #expect(tasks.count == 3)
        for task in tasks {
          let status = try String(contentsOfFile: "/proc/\(process)/task/\(task)/status", encoding: .utf8)
          for set in ["CapPrm", "CapEff", "CapBnd"] {
            #expect(status.contains("\(set):\t0000000000003000"), "\(status)")
          }
          #expect(status.contains("CapInh:\t0000000000000000") && status.contains("NoNewPrivs:\t1"), "\(status)")
          guard task != String(process) else { continue }
          let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("SigBlk:") })
          let blocked = try #require(UInt64(line.dropFirst(8), radix: 16))
          for signal in [SIGHUP, SIGINT, SIGTERM, SIGUSR1] { #expect(blocked >> UInt64(signal - 1) & 1 == 1) }
        }
      }
    }
  }
}
