// Carrier that comes and goes faster than netlink tells. A tap device is a port whose carrier can be set, and whose loss
// of carrier the kernel holds back like a physical port's. Needs root.

import Core
import Glibc
import Testing

@testable import Runtime

/// A tap device that is a port, up and with carrier, while the value lives.
private final class Tap {
  private let descriptor: Int32

  init?(_ name: String) {
    descriptor = open("/dev/net/tun", O_RDWR | O_CLOEXEC)
    if descriptor < 0 { return nil }
    // struct ifreq: the name, then flags IFF_TAP | IFF_NO_PI.
    var request = [UInt8](repeating: 0, count: 40)
    for (i, c) in name.utf8.enumerated() { request[i] = c }
    request[16] = 0x02
    request[17] = 0x10
    if ioctl(descriptor, 0x4004_54ca, &request) != 0 { return nil }
    if shell("ip link set \(name) addrgenmode none up") != 0 { return nil }
  }

  deinit { close(descriptor) }

  func setCarrier(_ isThere: Bool) {
    var value: Int32 = isThere ? 1 : 0
    #expect(ioctl(descriptor, 0x4004_54e2, &value) == 0)
  }
}

/// Runs `body` in a network namespace that /sys is of.
private func inNamespaceWithSys(_ body: @escaping @Sendable () -> Void) {
  inNamespace {
    typealias Unshare = @convention(c) (Int32) -> Int32
    let unshare = unsafeBitCast(dlsym(nil, "unshare"), to: Unshare.self)
    #expect(unshare(0x0002_0000) == 0, "CLONE_NEWNS")
    #expect(shell("mount --make-rprivate / && mount -t sysfs none /sys") == 0)
    body()
  }
}

@Suite(.serialized, .enabled(if: geteuid() == 0, "namespaces need root")) struct CarrierFileTests {
  private func carryOut(_ monitor: inout PortMonitor) {
    while let order = monitor.nextOrder() {
      var reports: [PortReport] = []
      monitor.keeper.carryOut(order) { reports.append($0) }
      for report in reports { _ = monitor.take(report, at: timeNow()) }
    }
  }

  /// Follows the port as the loop does; how long until it is up, or down.
  private func wait(_ monitor: inout PortMonitor, until isUp: Bool, _ limit: Duration = .seconds(3)) -> Duration? {
    let start = timeNow()
    while timeNow() - start < limit {
      for change in monitor.refresh(at: timeNow()) {
        if case .present(_, let status) = change, status.isUp == isUp { return timeNow() - start }
      }
      let left = (monitor.nextDeadline ?? .never) > timeNow() ? 1 : 0
      var waiting = pollfd(fd: monitor.fileDescriptor, events: Int16(POLLIN), revents: 0)
      poll(&waiting, 1, Int32(left))
    }
    return nil
  }

  @Test func `carrier that is lost twice within a second is seen within two looks each time`() {
    inNamespaceWithSys {
      do throws(SystemError) {
        guard let tap = Tap("tp0") else {
          Issue.record("no tap device")
          return
        }
        var monitor = try PortMonitor(
          policy: PortPolicy(named: [Array("tp0".utf8)], keepDown: [], bearerName: Array("mm0".utf8)))
        monitor.start()
        carryOut(&monitor)
        _ = wait(&monitor, until: true, .seconds(2))
        var worst = Duration.zero
        for _ in 0..<8 {
          tap.setCarrier(false)
          let down = wait(&monitor, until: false)
          #expect(down != nil)
          worst = max(worst, down ?? .seconds(9))
          tap.setCarrier(true)
          let up = wait(&monitor, until: true)
          #expect(up != nil)
        }
        // 5 ms asked for; the machine may be busy. Netlink alone takes up to a second.
        #expect(worst < .milliseconds(200), "\(worst.nanoseconds / 1000) us")
        monitor.shutdown()
        carryOut(&monitor)
      } catch { Issue.record("\(error.action): errno \(error.code)") }
    }
  }

  @Test func `carrier is told by its count where the kernel has one, and by the old file where it has none`() {
    inNamespaceWithSys {
      guard let tap = Tap("tp0") else {
        Issue.record("no tap device")
        return
      }
      guard var link = CarrierFileTests.link("tp0"), let told = link.carrier else {
        Issue.record("the kernel tells no count of carrier changes")
        return
      }
      #expect(told.isThere && link.isUp)
      guard var counting = CarrierFile(of: link), var plain = CarrierFile(of: link, isCounting: false) else {
        Issue.record("no file")
        return
      }
      for isThere in [true, false, false, true, false] {
        tap.setCarrier(isThere)
        #expect(counting.hasCarrier() == isThere)
        #expect(plain.hasCarrier() == isThere)
      }
      // The message from the beginning is older than what was read.
      counting.heard(&link)
      #expect(!link.isUp)
      // Down, carrier is not to be read in the old file; its count goes on.
      #expect(shell("ip link set tp0 down") == 0)
      #expect(plain.hasCarrier() == nil)
      counting.close()
      plain.close()
    }
  }

  private static func link(_ name: String) -> LinkRecord? {
    do throws(SystemError) {
      return try NetlinkSocket(NetlinkSocket.route, nonblocking: false, action: "open netlink")
        .link(Int32(bitPattern: if_nametoindex(name)))
    } catch { return nil }
  }

  @Test func `ports that the kernel tells of at once have no file, nor has one whose name is another namespace's`() {
    inNamespaceWithSys {
      #expect(shell("ip link add va type veth peer name vb") == 0)
      for (name, kind) in [("va", "veth"), ("lo", "dsa")] {
        var link = LinkRecord.named(name, index: index(of: name))
        link.kind = Array(kind.utf8)
        #expect(CarrierFile(of: link) == nil)
      }
      var link = LinkRecord.named("va", index: index(of: "va"))
      #expect(CarrierFile(of: link) != nil)
      link.slaveKind = Array("bond".utf8)
      #expect(CarrierFile(of: link) == nil)
      #expect(CarrierFile(of: LinkRecord.named("va", index: 4_711)) == nil)
    }
  }

  private func index(of name: String) -> Int32 { Int32(bitPattern: if_nametoindex(name)) }
}

struct CarrierCountTests {
  @Test func `an odd difference to what the last message told is the other state, also where the count wraps`() {
    var count = CarrierCount(isThere: true, changes: .max - 1)
    #expect(count.read(.max - 1) == true)
    #expect(count.read(.max) == false)
    #expect(count.read(0) == true)
    #expect(count.read(3) == false)
  }

  @Test func `a message that is older than what the file told changes nothing, and a newer one does`() {
    var count = CarrierCount(isThere: true, changes: 4)
    #expect(count.read(5) == false)
    #expect(count.heard(isThere: true, changes: 4) == false)
    #expect(count.read(5) == false)
    #expect(count.heard(isThere: true, changes: 8) == true)
    #expect(count.read(9) == false)
  }

  @Test func `carrier and count that do not belong together count only when two messages agree`() {
    var count = CarrierCount(isThere: true, changes: 4)
    // Carrier was lost between the two.
    #expect(count.heard(isThere: true, changes: 5) == true)
    #expect(count.read(5) == nil)
    #expect(count.heard(isThere: false, changes: 5) == false)
    #expect(count.read(6) == nil)
    #expect(count.heard(isThere: true, changes: 6) == true)
    #expect(count.read(7) == false)
  }

  @Test func `the file's number has a sign beyond 2^31, and may be cut off`() {
    #expect(CarrierFile.number(Array("7\n".utf8)[...]) == 7)
    #expect(CarrierFile.number(Array("-1\n".utf8)[...]) == .max)
    #expect(CarrierFile.number(Array("-2147483648\n".utf8)[...]) == 1 << 31)
    #expect(CarrierFile.number(Array("\n".utf8)[...]) == nil)
  }
}

extension LinkRecord {
  fileprivate static func named(_ name: String, index: Int32) -> LinkRecord {
    var link = LinkRecord()
    link.name = Array(name.utf8)
    link.index = index
    return link
  }
}
