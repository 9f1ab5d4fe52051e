// What the process may do and how the system treats it. What it does not need to run is given up; what helps it to
// survive (first in line for the processor, last for the out-of-memory killer) is tried and noted when it is refused.

import CCap
import CSystem
import Core

public enum Privileges {
  /// Raw sockets, and links, addresses, routes and rules: without these nothing works.
  private static let needed: [cap_value_t] = [CAP_NET_ADMIN, CAP_NET_RAW]

  /// The names of needed capabilities that the process lacks, or nil when it has them all.
  public static func missing() -> String? {
    var names = ""
    guard let set = cap_get_proc() else { return "capabilities" }
    defer { cap_free(UnsafeMutableRawPointer(set)) }
    for capability in needed {
      var value = CAP_CLEAR
      if cap_get_flag(set, capability, CAP_EFFECTIVE, &value) < 0 || value != CAP_SET {
        names += (names.utf8.isEmpty ? "" : " and ") + (capability == CAP_NET_ADMIN ? "CAP_NET_ADMIN" : "CAP_NET_RAW")
      }
    }
    return names.utf8.isEmpty ? nil : names
  }

  /// Scheduling, memory and the out-of-memory score; before privileges are dropped, after the large allocations.
  public static func settle(_ log: EventLog) {
    _ = cs_ignore_signals()
    note(cs_oom_score(-1000), "out-of-memory score -1000", log)
    note(cs_schedule_fifo(1), "SCHED_FIFO 1", log)
    note(cs_timer_slack(1000), "timer slack of 1 µs", log)
    note(cs_lock_memory(), "locking memory", log)
  }

  /// From here on only what is needed to run, for the process and what it might execute.
  public static func drop(_ log: EventLog) {
    // The bounding set first: taking from it needs a capability that goes with the rest.
    var capability: cap_value_t = 0
    while cap_get_bound(capability) >= 0 {
      if !needed.contains(capability) { _ = cap_drop_bound(capability) }
      capability += 1
    }
    _ = cap_reset_ambient()
    note(cs_no_new_privileges(), "no new privileges", log)
    guard let set = cap_init() else {
      log.record(.warning, "capabilities were not dropped: no memory")
      return
    }
    defer { cap_free(UnsafeMutableRawPointer(set)) }
    for flag in [CAP_PERMITTED, CAP_EFFECTIVE] {
      _ = needed.withUnsafeBufferPointer { cap_set_flag(set, flag, Int32($0.count), $0.baseAddress, CAP_SET) }
    }
    if cap_set_proc(set) < 0 { log.record(.warning, "capabilities were not dropped: the kernel refused") }
  }

  private static func note(_ result: Int32, _ what: StaticString, _ log: EventLog) {
    if result < 0 { log.record(.debug, "\(text(what)) was refused: \(text(cs_error_text(0 &- result)))") }
  }
}
