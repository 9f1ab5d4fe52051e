// The port monitor against a kernel: ports come, go, change, and are raised for the channel alone. Needs root.

import Core
import Glibc
import Testing

@testable import Runtime

/// The monitor and what it said, as "present NAME up", "gone", or a note's text.
private final class Watch {
  var monitor: PortMonitor
  var said: [String] = []

  init(named: [String] = [], keepDown: [String] = []) throws(SystemError) {
    monitor = try PortMonitor(
      policy: PortPolicy(
        named: named.map { Array($0.utf8) }, keepDown: keepDown.map { Array($0.utf8) }, bearerName: Array("mm0".utf8)))
    monitor.start()
    carryOut()
  }

  /// As the housekeeping does it.
  func carryOut() {
    while let order = monitor.nextOrder() {
      var reports: [PortReport] = []
      monitor.keeper.carryOut(order) { reports.append($0) }
      for report in reports { take(monitor.take(report, at: timeNow())) }
    }
  }

  func finish() {
    monitor.shutdown()
    carryOut()
  }

  func take(_ changes: [PortChange]) {
    for change in changes {
      switch change {
      case .present(_, let status):
        said.append("present \(status.name) \(status.isUp ? "up" : "down") \(status.frameSize)")
      case .gone: said.append("gone")
      case .note(_, let text): said.append(text)
      }
    }
  }

  /// Until something that contains `text` was said.
  func hears(_ text: String, within limit: Duration = .milliseconds(1000)) -> Bool {
    let start = timeNow()
    while timeNow() - start < limit {
      if said.contains(where: { $0.contains(text) }) { return true }
      var waiting = pollfd(fd: monitor.fileDescriptor, events: Int16(POLLIN), revents: 0)
      poll(&waiting, 1, 10)
      take(monitor.refresh(at: timeNow()))
      carryOut()
    }
    return false
  }
}

@Suite(.serialized, .enabled(if: geteuid() == 0, "namespaces need root")) struct PortMonitorTests {
  private func watching(
    _ before: String, named: [String] = [], keepDown: [String] = [], _ body: @escaping @Sendable (Watch) -> Void
  ) {
    inNamespace {
      do throws(SystemError) {
        #expect(shell(before) == 0)
        let watch = try Watch(named: named, keepDown: keepDown)
        body(watch)
        watch.finish()
      } catch { Issue.record("\(error.action): errno \(error.code)") }
    }
  }

  private static let pair = "ip link add pa type veth peer name pb && ip link set pa up && ip link set pb up"

  @Test func `ports that change, are renamed, move into a bridge, and vanish are followed`() {
    watching(PortMonitorTests.pair) { watch in
      #expect(watch.hears("present pa up 1500"))
      shell("ip link set pa mtu 1400")
      #expect(watch.hears("present pa up 1400"))
      shell("ip link set pa down; ip link set pa name pc; ip link set pc up")
      #expect(watch.hears("present pc up 1400"))
      #expect(!watch.hears("gone", within: .milliseconds(50)))
      shell("ip link add br0 type bridge; ip link set pc master br0")
      #expect(watch.hears("gone"))
      watch.said = []
      shell("ip link set pc nomaster")
      #expect(watch.hears("present pc"))
      shell("ip link del pb")
      #expect(watch.hears("gone"))
    }
  }

  @Test func `a named port that does not exist is reported once and taken up when it comes`() {
    watching("true", named: ["late"]) { watch in
      #expect(watch.hears("port late does not exist (yet)"))
      shell("ip link add other type veth peer name late")
      #expect(watch.hears("present late"))
      #expect(watch.said.filter { $0.contains("does not exist") }.count == 1)
      #expect(!watch.said.contains { $0.contains("present other") })
    }
  }

  @Test func `a 257th port is reported once, and taken up when another goes`() {
    watching("seq 1001 1129 | sed 's/.*/link add a& type veth peer name b&/' | ip -batch -") { watch in
      #expect(watch.hears("1129 and later ones are not used: 256 ports are in use"))
      #expect(watch.said.filter { $0.hasPrefix("present") }.count == 256)
      shell("ip link set a1001 mtu 1400")
      #expect(watch.hears("present a1001 down 1400"))
      #expect(watch.said.filter { $0.contains("not used") }.count == 1)
      shell("ip link del a1001")
      #expect(watch.hears("gone"))
      #expect(watch.said.filter { $0.hasPrefix("present") }.count == 256 + 1 + 2)
    }
  }

  @Test func `what was lost in an overrun is read anew`() {
    watching(PortMonitorTests.pair) { watch in
      // Far more than a megabyte of notifications while nobody reads.
      shell("yes 'link set pa mtu 1400\nlink set pa mtu 1300' | head -8000 | ip -batch -")
      shell("ip link add px type veth peer name py")
      #expect(watch.hears("present pa up 1300", within: .seconds(3)))
      #expect(watch.hears("present px", within: .seconds(3)))
    }
  }

  @Test func `a device that goes and comes back under its index between two looks is another port`() {
    watching("ip link add index 4711 pa type veth peer name pb && ip link set pa up && ip link set pb up") { watch in
      #expect(watch.hears("present pa up"))
      watch.said = []
      shell("ip link del pa; ip link add index 4711 pa type veth peer name pb; ip link set pa up; ip link set pb up")
      #expect(watch.hears("present pa up"))
      // It and its peer, which has another index now.
      #expect(watch.said.first == "gone" && watch.said.filter { $0 == "gone" }.count == 2)
    }
  }

  @Test func `while orders wait for room no port comes or goes, and how they are is followed`() {
    watching(PortMonitorTests.pair) { watch in
      #expect(watch.hears("present pa up 1500"))
      watch.monitor.isHeldUp = true
      watch.said = []
      shell("ip link add px type veth peer name py; ip link del px; ip link add px type veth peer name py")
      shell("ip link set pa mtu 1400; ip link set pb down")
      #expect(watch.hears("present pa down 1400"))
      #expect(!watch.hears("px", within: .milliseconds(50)) && !watch.said.contains("gone"))
      shell("ip link del pa")
      #expect(!watch.hears("gone", within: .milliseconds(50)))
      #expect(watch.monitor.nextDeadline ?? .never > timeNow())
      watch.monitor.isHeldUp = false
      #expect(watch.monitor.nextDeadline == .zero)
      #expect(watch.hears("present px") && watch.said.filter { $0 == "gone" }.count == 2)
    }
  }

  @Test func `a port whose socket the kernel refused is named again after 10 s, once`() {
    watching(PortMonitorTests.pair) { watch in
      #expect(watch.hears("present pa up") && watch.hears("present pb up"))
      guard let index = watch.monitor.tracked.first?.link.index else { return #expect(Bool(false)) }
      let now = timeNow()
      watch.monitor.wasNotOpened(index, at: now)
      watch.said = []
      watch.take(watch.monitor.refresh(at: now + .milliseconds(9_999)))
      #expect(watch.said == [] && watch.monitor.nextDeadline ?? .never <= now + .seconds(10))
      for _ in 0..<2 { watch.take(watch.monitor.refresh(at: now + .seconds(10))) }
      #expect(watch.said.count == 1 && watch.said[0].hasPrefix("present p"))
      // Unbound: another device has its index.
      watch.monitor.wasTakenAway(index)
      #expect(watch.monitor.nextDeadline == .zero)
      watch.take(watch.monitor.refresh(at: now + .seconds(10)))
      #expect(watch.said.dropFirst().map { $0.prefix(7) } == ["gone", "present"])
    }
  }

  @Test func `a reading of the links that the kernel refuses is noted once and tried again every second`() {
    watching(PortMonitorTests.pair) { watch in
      #expect(watch.hears("present pa up"))
      let start = timeNow()
      for attempt in 0..<3 {
        let now = start + .seconds(Int64(attempt))
        watch.take(watch.monitor.take(.links([], refused: 16), at: now))
        #expect(watch.monitor.nextDeadline ?? .never <= now + .seconds(1))
        watch.take(watch.monitor.refresh(at: now + .milliseconds(999)))
        #expect(watch.monitor.nextOrder() == nil)
        watch.take(watch.monitor.refresh(at: now + .seconds(1)))
        var isTriedAgain = false
        if case .readLinks = watch.monitor.nextOrder() { isTriedAgain = true }
        #expect(isTriedAgain)
      }
      #expect(watch.said.filter { $0.contains("reading the links failed (errno 16)") }.count == 1)
      #expect(!watch.said.contains("gone"))
    }
  }

  @Test func `a port left down for 3 s is raised for the channel only, and set down again at the end [5.2.1]`() {
    inNamespace {
      do throws(SystemError) {
        shell("\(PortMonitorTests.pair); ip link add pk type veth peer name pl; ip link set pl up")
        shell("ip addr add 192.0.2.1/24 dev pa; ip link set pa down")
        let watch = try Watch(keepDown: ["pk"])
        #expect(!watch.hears("brought up", within: .milliseconds(2800)))
        #expect(watch.hears("port pa was administratively down for 3 s", within: .milliseconds(600)))
        #expect(watch.hears("present pa up"))
        #expect(shell("nft list table netdev lifeline | grep -q 'policy drop'") == 0, "data is held out")
        #expect(shell("grep -q 1 /proc/sys/net/ipv6/conf/pa/disable_ipv6") == 0)
        #expect(shell("! ip route | grep -q 192.0.2.0") == 0, "the connected route does not draw traffic")
        #expect(!watch.said.contains { $0.contains("port pk was") }, "keep-down is kept down")
        shell("nft flush ruleset")
        #expect(watch.hears("removed; put back", within: .milliseconds(1500)))
        watch.finish()
        #expect(shell("ip link show pa | grep -q 'state DOWN'") == 0)
        #expect(shell("! nft list tables | grep -q lifeline") == 0)
        #expect(shell("grep -q 0 /proc/sys/net/ipv6/conf/pa/disable_ipv6") == 0)
      } catch { Issue.record("\(error.action): errno \(error.code)") }
    }
  }

  @Test func `a raised port is opened for data when the system sets it up or gives it an address`() {
    watching("\(PortMonitorTests.pair); ip addr add 192.0.2.1/24 dev pa; ip link set pa down") { watch in
      #expect(watch.hears("port pa was administratively down", within: .milliseconds(3500)))
      shell("ip addr add 198.51.100.1/24 dev pa")
      #expect(watch.hears("given an address: open for data"))
      #expect(shell("ip route | grep -q 192.0.2.0") == 0, "its routes are back")
      #expect(shell("! nft list ruleset | grep -q lifeline") == 0)
    }
  }
}
