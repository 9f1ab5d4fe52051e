// The management interface: a TUN device the kernel hands super-packets through, kept working by BearerGuard. The loop
// reads and writes its packets; the guard works beside it.

import CSystem
import Core
import Wire

public struct BearerDevice: ~Copyable {
  let guardian: BearerGuard
  /// Readable when the kernel has sent a packet. The number stays, whatever device is behind it.
  let descriptor: Int32
  /// What the guard has told last.
  var view: BearerView

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
    descriptor = fd
    view = made.view
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

  /// A virtio header (10 bytes) and an IP packet. The byte count, or -errno (-11: nothing there).
  public func read(into room: UnsafeMutableRawBufferPointer) -> Int {
    Int(cs_tun_read(descriptor, room.baseAddress, room.count))
  }

  /// A virtio header and an IP packet for the kernel. The byte count, or -errno.
  public func write(_ packet: UnsafeRawBufferPointer) -> Int {
    Int(cs_tun_write(descriptor, packet.baseAddress, packet.count))
  }

  /// Looks at a packet the kernel sent. One that belongs to the self-probe is the guard's: its bytes, and of which path.
  func probe(in packet: UnsafeMutableRawBufferPointer) -> (bytes: [UInt8], path: Int)? {
    guard packet.count >= VirtioNetHeader.size + 20 else { return nil }
    let version = packet[VirtioNetHeader.size] >> 4
    if version == 4 {
      let to = packet.loadUnaligned(fromByteOffset: VirtioNetHeader.size + 16, as: UInt32.self)
      if to != view.reserved4 || view.reserved4 == 0 { return nil }
    } else {
      guard version == 6, view.reserved6.1 != 0, packet.count >= VirtioNetHeader.size + 40 else { return nil }
      let at = VirtioNetHeader.size + 24
      if packet.loadUnaligned(fromByteOffset: at, as: UInt64.self) != view.reserved6.0
        || packet.loadUnaligned(fromByteOffset: at + 8, as: UInt64.self) != view.reserved6.1
      {
        return nil
      }
    }
    // The probe's own packets are short; of others no more is looked at than of those.
    return (Array(packet[VirtioNetHeader.size..<min(packet.count, 256)]), version == 4 ? 0 : 1)
  }
}
