// The loop's side of the housekeeping: orders go out, reports come in, and neither is waited for. Until the thread is
// started, while the process sets itself up and has no neighbours yet, orders are carried out at once.

import CSystem
import Core

struct HouseDesk: ~Copyable {
  /// Orders that found the mailbox full are tried again.
  static let retryAfter = Duration.milliseconds(10)
  /// Of the bearer's probe, which anybody on this host may send to: no more than so many orders may wait before one.
  static let packetRoom = 64

  private let orders = Mailbox<HouseOrder>()
  private let reports = Mailbox<HouseReport>()
  private var housekeeper: Housekeeper?
  /// In order. While there are any, ports neither come nor go (`PortMonitor.isHeldUp`), no packets are taken, and of the
  /// bearer's addresses only the last matter: so there are at most those of one change of all ports, about 2,000.
  private var backlog: [HouseOrder] = []
  private(set) var hasFinished = false

  init(ports: PortKeeper, bearer: BearerGuard?, persist: @escaping ([UInt8]) -> String?) {
    housekeeper = Housekeeper(orders: orders, reports: reports, ports: ports, bearer: bearer, persist: persist)
  }

  /// Readable when there are reports.
  var descriptor: Int32 { reports.descriptor }

  /// From here on orders are carried out beside the loop.
  mutating func start() throws(SystemError) {
    // What hashing is seeded with is made at first use, which must not come in both threads at once (board/first-use).
    _ = Hasher().finalize()
    try housekeeper?.startThread()
    housekeeper = nil
  }

  var isRunning: Bool { housekeeper == nil }

  mutating func post(_ order: HouseOrder) {
    if let housekeeper { return housekeeper.carryOut(order) }
    if backlog.isEmpty && orders.post(order) { return }
    if case .configureBearer = order {
      backlog.removeAll { if case .configureBearer = $0 { true } else { false } }
    }
    backlog.append(order)
  }

  /// The thread is not far behind.
  var hasRoomForPackets: Bool { backlog.isEmpty && orders.count < HouseDesk.packetRoom }

  func clear() { reports.clear() }

  mutating func takeReport() -> HouseReport? {
    while let first = backlog.first, orders.post(first) { backlog.removeFirst() }
    guard let report = reports.take() else { return nil }
    if case .finished = report { hasFinished = true }
    return report
  }

  /// Orders wait for room in the mailbox.
  var isFull: Bool { !backlog.isEmpty }

  func wait(atMost limit: Duration) { reports.wait(atMost: limit) }
}
