// The bearer's guard against a kernel: each test is one kind of damage in a network namespace of its own, and passes
// when echoes in both families and both directions go through again in time. Needs root, TUN, ip and nft.

import Core
import Glibc
import Testing

@testable import Runtime

/// A bearer, driven the way the loop drives it.
private final class Rig {
  var device: BearerDevice
  var notes: [String] = []

  init(protect: Bool = true) throws(SystemError) {
    shell("ip link set lo up")
    device = try BearerDevice(name: Array("mm0".utf8), protect: protect)
    var six = Bytes16()
    six.withMutableBytes {
      $0[0] = 0xfd
      $0[1] = 0x11
      $0[15] = 1
    }
    device.guardian.configure(
      BearerAddresses(ipv4: 0x0a01_0001, ipv4PrefixLength: 16, ipv6: six, ipv6PrefixLength: 64), at: timeNow())
    device.view = device.guardian.view
  }

  func shutdown() {
    device.guardian.shutdown()
    device.guardian.close()
  }

  /// Until `isDone` holds, at most `limit`; the milliseconds it took, or nil.
  func run(_ limit: Duration, until isDone: (Rig) -> Bool) -> Int64? {
    let start = timeNow()
    var room = [UInt8](repeating: 0, count: 65_546)
    while timeNow() - start < limit {
      var waiting = pollfd(fd: device.descriptor, events: Int16(POLLIN), revents: 0)
      poll(&waiting, 1, 5)
      for _ in 0..<64 {
        let n = room.withUnsafeMutableBytes { device.read(into: $0) }
        if n <= 0 { break }
        let probe = room.withUnsafeMutableBytes { device.probe(in: UnsafeMutableRawBufferPointer(rebasing: $0[0..<n])) }
        if let probe { device.guardian.observed(probe.bytes, path: probe.path) }
      }
      if let due = device.guardian.nextDeadline, due <= timeNow() { device.guardian.timeout(at: timeNow()) }
      while let (_, text) = device.guardian.nextNote() { notes.append(text) }
      device.view = device.guardian.view
      if isDone(self) { return (timeNow() - start).milliseconds }
    }
    return nil
  }

  var isHealthy: Bool { !device.view.status.contains("false,\"v") && device.view.status.contains("\"v6out\":true") }
  func hasNote(_ text: String) -> Bool { notes.contains { $0.contains(text) } }
  /// A second and a half of quiet running: at least one whole round of everything after the last change.
  func settle() { _ = run(.milliseconds(1500)) { _ in false } }
}

@Suite(.serialized, .enabled(if: geteuid() == 0, "namespaces and TUN need root")) struct GuardLiveTests {
  /// Applies `command`, and expects `note` within 3 s and, after another second and a half, a healthy probe and `check` to
  /// succeed.
  private func damage(_ command: String, before: String = "true", note: String, check: String) {
    inNamespace {
      do throws(SystemError) {
        #expect(shell(before) == 0)
        let rig = try Rig()
        #expect(rig.run(.seconds(3)) { $0.isHealthy } != nil, "healthy at first")
        rig.settle()
        #expect(shell(command) == 0)
        let took = rig.run(.seconds(3)) { $0.hasNote(note) }
        #expect(took != nil, "noted: \(note); notes were \(rig.notes)")
        rig.settle()
        #expect(rig.isHealthy, "\(rig.device.view.status)")
        #expect(shell(check) == 0, "\(check)")
        rig.shutdown()
        #expect(shell("! ip rule | grep -q 19529 && ! ip -6 rule | grep -q 19529") == 0, "rules are undone")
        #expect(shell("test $(ip rule | grep -c 'lookup local') = 1") == 0, "the local table is asked once")
        #expect(shell("! nft list ruleset | grep -q lifeline") == 0, "filter rules are undone")
        #expect(shell("! ip link show mm0 2>/dev/null") == 0, "the device is gone")
      } catch { Issue.record("\(error.action): errno \(error.code)") }
    }
  }

  @Test func `a device set down is set up again, with its IPv6 address`() {
    damage(
      "ip link set mm0 down", note: "set down; set up again",
      check: "ip -6 addr show dev mm0 | grep -q fd11::1/64 && ip route get 10.1.7.2 | grep -q 'dev mm0'")
  }

  @Test func `a deleted device is made again`() {
    damage(
      "ip link del mm0", note: "deleted or moved to another namespace; made again",
      check: "ip addr show mm0 | grep -q 10.1.0.1/16")
  }

  @Test func `a device moved to another namespace is made again, once`() {
    inNamespace {
      do throws(SystemError) {
        let rig = try Rig()
        #expect(rig.run(.seconds(3)) { $0.isHealthy } != nil)
        #expect(shell("unshare -n sleep 4 >/dev/null 2>&1 & sleep 0.2; ip link set mm0 netns $!") == 0)
        #expect(rig.run(.seconds(3)) { $0.hasNote("made again") && $0.isHealthy } != nil, "\(rig.notes)")
        rig.settle()
        #expect(rig.isHealthy)
        #expect(shell("ip addr show mm0 | grep -q 10.1.0.1/16") == 0)
        #expect(rig.device.view.status.contains("\"repairs\":1,"), "\(rig.device.view.status)")
        rig.shutdown()
      } catch { Issue.record("\(error.action): errno \(error.code)") }
    }
  }

  @Test(arguments: ["ip link del mm0", "ip link set mm0 name mmx"])
  func `another's device with our name is said once, left alone, and the name taken back when it is free`(
    _ command: String
  ) {
    inNamespace {
      do throws(SystemError) {
        let rig = try Rig()
        #expect(rig.run(.seconds(3)) { $0.isHealthy } != nil)
        let text = "another's device (veth) has its name"
        #expect(shell("\(command); ip link add mm0 type veth peer name other") == 0)
        #expect(rig.run(.seconds(2)) { $0.hasNote(text) } != nil, "\(rig.notes)")
        rig.settle()
        #expect(rig.notes.filter { $0.contains(text) }.count == 1, "\(rig.notes)")
        #expect(shell("ip -d link show mm0 | grep -q veth") == 0)
        let isThere = shell("ip link show mmx 2>/dev/null | grep -q UP") == 0
        #expect(rig.isHealthy == isThere && rig.device.view.isUp == isThere, "\(rig.device.view.status)")
        shell("ip link del mm0")
        #expect(rig.run(.seconds(2)) { _ in shell("ip addr show mm0 2>/dev/null | grep -q 10.1.0.1/16") == 0 } != nil)
        #expect(rig.run(.seconds(1)) { $0.isHealthy } != nil, "\(rig.device.view.status)")
        rig.shutdown()
      } catch { Issue.record("\(error.action): errno \(error.code)") }
    }
  }

  @Test func `a queue of no packets is set back`() {
    damage(
      "ip link set mm0 txqueuelen 0", note: "its queue was set to 0 packets; set back to 1000",
      check: "ip link show mm0 | grep -q 'qlen 1000'")
  }

  @Test func `a carrier taken away is given back`() {
    damage(
      "ip link set mm0 carrier off", note: "its carrier was taken away; given back",
      check: "ip link show mm0 | grep -q LOWER_UP")
  }

  @Test func `others' routes in our table are taken out`() {
    damage(
      "ip route add blackhole 10.1.7.0/24 table 19529; ip -6 route add unreachable fd11::7:0/112 table 19529; "
        + "ip route add 10.1.0.0/16 dev lo metric 7 table 19529",
      note: "another's route to 10.1.0.0/16 and 1 more was in table 19529; removed",
      check: "ip route get 10.1.7.2 | grep -q 'dev mm0' && test $(ip route show table 19529 | wc -l) = 2 && "
        + "test $(ip -6 route show table 19529 | wc -l) = 2")
  }

  @Test func `our table and the local one flushed are mended without an error`() {
    inNamespace {
      do throws(SystemError) {
        let rig = try Rig()
        #expect(rig.run(.seconds(3)) { $0.isHealthy } != nil)
        #expect(shell("ip route flush table 255; ip route flush table 19529") == 0)
        #expect(rig.run(.seconds(3)) { $0.hasNote("10.1.0.0/16 was missing; put back") } != nil, "\(rig.notes)")
        rig.settle()
        #expect(rig.isHealthy && !rig.hasNote("failed"), "\(rig.notes)")
        rig.shutdown()
      } catch { Issue.record("\(error.action): errno \(error.code)") }
    }
  }

  @Test(arguments: [
    ("ip addr add 10.1.0.9/16 dev d0", "address 10.1.0.9/32 (d0) hides", "10.1.0.9 from 10.1.0.1", ""),
    ("ip -6 addr add fd11::9/64 dev d0 nodad", "address fd11::9/128 (d0) hides", "fd11::9 from fd11::1", "-6"),
    ("ip addr add 10.1.0.9/32 dev mm0", "address 10.1.0.9/32 (mm0) hides", "10.1.0.9 from 10.1.0.1", ""),
    (
      "ip route add blackhole 10.1.7.0/24 table 255", "local-table route 10.1.7.0/24 hides", "10.1.7.2 from 10.1.0.1",
      ""
    ),
  ])
  func `what hides a member's address is reported; answers to it leave by the bearer, the rest as before`(
    _ command: String, _ note: String, _ route: String, _ family: String
  ) {
    let plain = "ip \(family) route get \(route.prefix { $0 != " " })"
    damage(
      "\(plain) >/dev/null; \(command)",
      before: "ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up", note: note,
      check: "ip \(family) route get \(route) | grep -q 'dev mm0' && ! \(plain) | grep -q 'dev mm0'")
  }

  @Test func `a removed address is put back`() {
    damage(
      "ip addr del 10.1.0.1/16 dev mm0", note: "address 10.1.0.1/16 was missing",
      check: "ip addr show mm0 | grep -q 10.1.0.1/16")
  }

  @Test func `an overlapping data-plane route is reported, left alone, and does not win`() {
    damage(
      "ip route add 10.1.7.0/24 dev d0",
      before: "ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up",
      note: "route 10.1.7.0/24 (d0) overlaps",
      check: "ip route get 10.1.7.2 | grep -q 'dev mm0' && ip route show | grep -q '10.1.7.0/24 dev d0'")
  }

  @Test func `another's rule before ours does not win`() {
    damage(
      "ip rule del pref 0 lookup 19529; ip rule add pref 0 to 10.1.0.0/16 lookup 77; "
        + "ip route add unreachable 10.1.0.0/16 table 77",
      note: "stands before ours",
      check: "ip route get 10.1.7.2 | grep -q 'dev mm0' && ip rule | grep -q 'lookup 77'")
  }

  @Test func `strict reverse-path filtering is loosened`() {
    damage(
      "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 1 >/proc/sys/net/ipv4/conf/mm0/rp_filter",
      note: "rp_filter was 1", check: "grep -q 2 /proc/sys/net/ipv4/conf/mm0/rp_filter")
  }

  @Test func `IPv6 switched off is switched on again`() {
    damage(
      "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6", note: "switched on again",
      check: "ip -6 addr show dev mm0 | grep -q fd11::1/64")
  }

  @Test(arguments: [
    "add table inet f; add chain inet f c { type filter hook input priority 0; policy drop; }",
    "add table inet f; add chain inet f c { type filter hook output priority 0; }; add rule inet f c drop",
    "add table ip f; add chain ip f c { type filter hook prerouting priority -300; }; add rule ip f c drop",
    "add table ip6 f; add chain ip6 f c { type filter hook postrouting priority 300; policy drop; }",
    "add table netdev f; add chain netdev f c { type filter hook ingress device mm0 priority 0; policy drop; }",
    // Echoes and answers pass, everything else is dropped: only the full probe sees it.
    "add table inet f; add chain inet f c { type filter hook input priority 0; policy drop; }; "
      + "add rule inet f c ct state established accept; add rule inet f c meta l4proto { 1, 58 } accept",
  ])
  func `a filter that covers the bearer gets an accept for it first`(_ ruleSet: String) {
    damage(
      "nft '\(ruleSet)'", note: "an accept for it was put first", check: "nft list ruleset | grep -q 'lifeline mm0'")
  }

  @Test func `legacy filter tables are named by the kernel's two lists`() {
    inNamespace {
      do throws(SystemError) {
        let rig = try Rig()
        // Any file with something in it is a list that is not empty.
        let guardian = rig.device.guardian
        let (some, none) = ("/proc/version", "/dev/null") as (StaticString, StaticString)
        #expect(guardian.suspects(list4: some, list6: none).contains("(iptables-legacy -I INPUT -i mm0 "))
        #expect(guardian.suspects(list4: none, list6: some).contains("(ip6tables-legacy -I INPUT -i mm0 "))
        #expect(guardian.suspects(list4: some, list6: some).contains("(iptables-legacy, ip6tables-legacy -I "))
        for list in [none, "/proc/no-such-file"] {
          #expect(guardian.suspects(list4: list, list6: list).contains("nftables are in order"))
        }
        rig.shutdown()
      } catch { Issue.record("\(error.action): errno \(error.code)") }
    }
  }

  @Test func `with protection off damage is reported and left`() {
    inNamespace {
      do throws(SystemError) {
        let rig = try Rig(protect: false)
        #expect(rig.run(.seconds(3)) { $0.isHealthy } != nil)
        shell("ip link set mm0 down")
        #expect(rig.run(.seconds(3)) { $0.hasNote("set down; left as it is") } != nil)
        #expect(shell("ip link show mm0 | grep -q 'state DOWN'") == 0)
        rig.shutdown()
      } catch { Issue.record("\(error.action): errno \(error.code)") }
    }
  }

  @Test func `a name that is taken is refused with what to do`() {
    inNamespace {
      shell("ip link add mm0 type veth peer name x")
      do throws(SystemError) {
        _ = try Rig()
        Issue.record("made although the name was taken")
      } catch {
        #expect(error.code == EEXIST)
        #expect(error.action.contains("--bearer"))
      }
    }
  }
}
