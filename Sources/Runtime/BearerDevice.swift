// The management interface: a TUN device the kernel hands super-packets through, kept working by BearerGuard.

import CSystem
import Core
import Wire

public struct BearerDevice: ~Copyable {
  let guardian: BearerGuard
  private var isOpen = true
  /// The probe's reserved addresses as they lie in memory, for a quick look at every packet; 0 when there is none.
  private var reserved4: UInt32 = 0
  private var reserved6: (UInt64, UInt64) = (0, 0)

  /// Makes the device, down and without addresses. With `protect` false, damage is reported and not mended.
  public init(name: [UInt8], protect: Bool) throws(SystemError) {
    if name.isEmpty || name.count > 15 || name.contains(where: { $0 <= 32 || $0 == 47 || $0 == 58 || $0 == 37 }) {
      throw SystemError(code: 22, action: "create the bearer: its name must be 1 to 15 letters, digits, '-' or '_'")
    }
    if withZeroTerminated(name, { cs_net_index($0) }) > 0 {
      throw SystemError(code: 17, action: BearerDevice.takenText(name))
    }
    var step: Int32 = 0
    let fd = withZeroTerminated(name) { cs_tun_open($0, &step) }
    if fd < 0 { throw SystemError(code: -fd, action: BearerDevice.openingText(name, code: -fd, step: step)) }
    let index = withZeroTerminated(name) { cs_net_index($0) }
    let made: BearerGuard
    do throws(SystemError) {
      made = try BearerGuard(name: name, protect: protect, tun: fd, index: index)
    } catch {
      cs_net_close(fd)
      throw error
    }
    guardian = made
  }

  private static func takenText(_ name: [UInt8]) -> String {
    "create \(nameText(name)): an interface of that name exists already; remove it or give --bearer another name"
  }

  private static func openingText(_ name: [UInt8], code: Int32, step: Int32) -> String {
    if step == 0 {
      return code == 2 || code == 6 || code == 19
        ? "open /dev/net/tun: load the tun module (modprobe tun) or build it in (CONFIG_TUN=y), and make the node "
          + "(mkdir -p /dev/net; mknod /dev/net/tun c 10 200)"
        : "open /dev/net/tun (as root, or with CAP_NET_ADMIN)"
    }
    if step == 1 { return code == 17 ? takenText(name) : "create \(nameText(name)) (CAP_NET_ADMIN is needed)" }
    return "set up \(nameText(name)): the kernel's TUN has no virtio headers (older than 2.6.32?)"
  }

  private var tun: Int32 { guardian.tun }

  /// Readable when the kernel has sent a packet. -1 while the device is gone.
  public var fileDescriptor: Int32 { tun }

  /// Differs when `fileDescriptor` is another than before, even of the same number.
  var generation: UInt32 { guardian.generation }

  /// Reading gives nothing but errors: the descriptor is watched no longer, and replaced.
  mutating func lost() { guardian.lost() }

  /// A virtio header (10 bytes) and an IP packet. The byte count, or -errno (-11: nothing there).
  public func read(into room: UnsafeMutableRawBufferPointer) -> Int {
    Int(cs_tun_read(tun, room.baseAddress, room.count))
  }

  /// A virtio header and an IP packet for the kernel. The byte count, or -errno.
  public func write(_ packet: UnsafeRawBufferPointer) -> Int {
    Int(cs_tun_write(tun, packet.baseAddress, packet.count))
  }

  /// Sets the device up with these addresses, or changes to them.
  public mutating func configure(_ addresses: BearerAddresses, at now: Instant) {
    guardian.configure(addresses, at: now)
    reserved4 = 0
    reserved6 = (0, 0)
    for path in guardian.paths {
      path.reserved.withUnsafeBytes {
        if path.isIPv6 {
          reserved6 = ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        } else {
          reserved4 = $0.loadUnaligned(as: UInt32.self)
        }
      }
    }
  }

  /// Looks at a packet the kernel sent. True when it belongs to the self-probe: it is done with.
  public mutating func observed(fromKernel packet: UnsafeMutableRawBufferPointer) -> Bool {
    guard packet.count >= VirtioNetHeader.size + 20 else { return false }
    let version = packet[VirtioNetHeader.size] >> 4
    if version == 4 {
      let to = packet.loadUnaligned(fromByteOffset: VirtioNetHeader.size + 16, as: UInt32.self)
      if to != reserved4 || reserved4 == 0 { return false }
    } else {
      guard version == 6, reserved6.1 != 0, packet.count >= VirtioNetHeader.size + 40 else { return false }
      let at = VirtioNetHeader.size + 24
      if packet.loadUnaligned(fromByteOffset: at, as: UInt64.self) != reserved6.0
        || packet.loadUnaligned(fromByteOffset: at + 8, as: UInt64.self) != reserved6.1
      {
        return false
      }
    }
    // The probe's own packets are short; of others no more is looked at than of those.
    let bytes = Array(packet[VirtioNetHeader.size..<min(packet.count, 256)])
    guardian.observed(bytes, path: version == 4 ? 0 : 1)
    return true
  }

  public mutating func timeout(at now: Instant) { guardian.timeout(at: now) }

  public var nextDeadline: Instant? { guardian.nextDeadline }

  /// What there is to say, oldest first, until nil.
  public mutating func nextNote() -> (LogLevel, String)? { guardian.nextNote() }

  /// One JSON object: name, up, probe (what passes, by family and direction), repairs, overlaps.
  public var statusJSON: String { guardian.statusJSON }

  /// The device is there, and up.
  var isUp: Bool { guardian.isUp }

  /// Takes away every rule, route and filter rule of ours, and the device.
  public mutating func shutdown() {
    if !isOpen { return }
    isOpen = false
    guardian.shutdown()
    if tun >= 0 { cs_net_close(tun) }
  }
}

extension BearerGuard {
  var statusJSON: String {
    var probe = ""
    for path in paths {
      let family = path.isIPv6 ? "v6" : "v4"
      let isIn = path.isKnown && path.failing.isDisjoint(with: .inward)
      let isOut = path.isKnown && path.failing.isDisjoint(with: .outward)
      probe += "\(probe.isEmpty ? "" : ",")\"\(family)in\":\(isIn),\"\(family)out\":\(isOut)"
    }
    var overlaps = ""
    for route in overlap.routes {
      overlaps += overlaps.isEmpty ? "" : ","
      overlaps += "\"\(jsonEscaped(overlapText(route)))\""
    }
    return "{\"name\":\"\(jsonEscaped(nameText(name)))\",\"up\":\(isUp),\"probe\":{\(probe)},\"protect\":\(protect),"
      + "\"repairs\":\(repairs),\"notesSuppressed\":\(suppressed),\"overlaps\":[\(overlaps)]}"
  }

  private func jsonEscaped(_ text: String) -> String {
    var out: [UInt8] = []
    for byte in text.utf8 {
      if byte < 32 {
        out.append(63)
        continue
      }
      if byte == 34 || byte == 92 { out.append(92) }
      out.append(byte)
    }
    return String(decoding: out, as: UTF8.self)
  }
}
