// Whatever may wait for the kernel or a medium, in a thread of its own. A request over rtnetlink, a sysctl, opening a
// packet socket and raising a port wait for RTNL, the one lock of the kernel's network configuration, as long as anybody
// on the machine holds it; closing a packet socket waits until every processor has let go of it; writing the store waits
// for the flash. A neighbour calls a link down after 62 ms of silence, so the loop waits for none of it: it posts orders,
// which are carried out here one after the other, and takes in reports.
//
// The bearer's guard lives here whole, beside the loop's reading and writing of the bearer's descriptor; of the ports only
// what is done to them does.

import CSystem
import Core

/// What the loop wants done.
enum HouseOrder {
  case openSocket(SocketOrder)
  case closeSocket(Int32)
  case writeStore([UInt8])
  case port(PortOrder)
  case configureBearer(BearerAddresses)
  /// A packet of the bearer's self-probe.
  case bearerPacket([UInt8], path: Int)
  /// The descriptor of this generation gives nothing but errors.
  case bearerLost(generation: UInt32)
  /// Undo what was made; then close these, and end.
  case finish(closing: [Int32])
}

struct SocketOrder {
  /// Comes back with the report.
  let ticket: UInt32
  let ifindex: Int32
  let bypassesQueueing: Bool
}

/// What has come of it.
enum HouseReport {
  /// The descriptor, or -errno.
  case socketOpened(ticket: UInt32, Int32)
  /// Nil when the store is on the medium, otherwise why not.
  case storeWritten(String?)
  case port(PortReport)
  case bearer(BearerView)
  case note(LogLevel, String)
  /// The last report.
  case finished
}

/// Made and used by the loop until the thread starts; from then on the thread's alone.
final class Housekeeper {
  /// A node that had audited, written its store and lost a port had touched 16 KiB of it.
  static let stackSize = 128 << 10
  /// A report that finds the mailbox full is tried again.
  private static let patience = Duration.milliseconds(10)
  /// Whoever was away for so long cannot tell whether the bearer's answers came in time.
  private static let absence = Duration.milliseconds(100)

  private let orders: Mailbox<HouseOrder>
  private let reports: Mailbox<HouseReport>
  private let ports: PortKeeper
  private let bearer: BearerGuard?
  private let persist: ([UInt8]) -> String?
  private var shown: BearerStanding?

  init(
    orders: Mailbox<HouseOrder>, reports: Mailbox<HouseReport>, ports: PortKeeper, bearer: BearerGuard?,
    persist: @escaping ([UInt8]) -> String?
  ) {
    self.orders = orders
    self.reports = reports
    self.ports = ports
    self.bearer = bearer
    self.persist = persist
  }

  /// The thread takes this object over.
  func startThread() throws(SystemError) {
    let own = Unmanaged.passRetained(self)
    let result = cs_thread_start(
      "housekeeping",
      { raw in if let raw { Unmanaged<Housekeeper>.fromOpaque(raw).takeRetainedValue().live() } },
      own.toOpaque(), Housekeeper.stackSize)
    if result < 0 { own.release() }
    try SystemError.check(result, "start the housekeeping thread")
  }

  private func live() {
    while true {
      orders.wait(atMost: bearer?.nextDeadline.map { $0 - Process.now })
      orders.clear()
      while let order = orders.take() {
        if case .finish(let descriptors) = order { return finish(descriptors) }
        carryOut(order)
      }
      tendBearer()
    }
  }

  func carryOut(_ order: HouseOrder) {
    let began = Process.now
    switch order {
    case .openSocket(let order):
      report(.socketOpened(ticket: order.ticket, PortSocket.open(order.ifindex, bypass: order.bypassesQueueing)))
    case .closeSocket(let descriptor): cs_close(descriptor)
    case .writeStore(let contents): report(.storeWritten(persist(contents)))
    case .port(let order): ports.carryOut(order) { report(.port($0)) }
    case .configureBearer(let addresses):
      bearer?.configure(addresses, at: began)
      showBearer()
      return
    case .bearerPacket(let bytes, let path): bearer?.observed(bytes, path: path)
    case .bearerLost(let generation): if generation == bearer?.generation { bearer?.lost() }
    case .finish(let descriptors): return finish(descriptors)
    }
    if Process.now - began > Housekeeper.absence { bearer?.wasAway() }
  }

  private func tendBearer() {
    guard let bearer, let due = bearer.nextDeadline, due <= Process.now else { return }
    bearer.timeout(at: Process.now)
    showBearer()
  }

  /// What is new about the bearer.
  private func showBearer() {
    guard let bearer else { return }
    while let (level, text) = bearer.nextNote() { report(.note(level, text)) }
    let standing = bearer.standing
    if standing == shown { return }
    shown = standing
    report(.bearer(bearer.view))
  }

  private func finish(_ descriptors: [Int32]) {
    bearer?.shutdown()
    showBearer()
    bearer?.close()
    report(.finished)
    for descriptor in descriptors { cs_close(descriptor) }
  }

  private func report(_ report: HouseReport) {
    while !reports.post(report) { cs_rest(Housekeeper.patience.nanoseconds) }
  }
}
