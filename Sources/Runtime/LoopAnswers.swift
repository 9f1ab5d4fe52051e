// Control answers that only the loop can give or complete: its own counters, and how the bearer device stands.

import CSystem
import Core
import Wire

extension Loop where Node: ~Copyable {
  /// `status` with the member `bearer` added to what the node says.
  mutating func withBearer(_ answer: ControlAnswer) -> ControlAnswer {
    guard case .document(let document) = answer, let last = document.last, last == 125 else { return answer }
    guard let status = bearer?.statusJSON else { return answer }
    var whole = document
    whole.removeLast()
    if document.count > 2 { whole.append(44) }
    whole.append(contentsOf: "\"bearer\":".utf8)
    whole.append(contentsOf: status.utf8)
    whole.append(125)
    return .document(whole)
  }

  /// `counters`: the node's, the ports', the loop's.
  mutating func withCounters(_ answer: ControlAnswer) -> ControlAnswer {
    var json = JSONWriter(reserving: 2048)
    json.beginObject()
    json.key("node")
    if case .document(let document) = answer, !document.isEmpty { json.raw(document) } else { json.null() }
    json.key("loop")
    appendLoopCounters(to: &json)
    json.key("ports")
    json.beginArray()
    for slot in 0..<ports.end where ports.isUsed(slot) {
      ports.sockets[slot].readKernelDrops()
      ports.sockets[slot].append(to: &json)
    }
    json.endArray()
    json.endObject()
    return .document(json.bytes)
  }

  private mutating func appendLoopCounters(to json: inout JSONWriter) {
    json.beginObject()
    json.field("turns", counters.turns)
    json.field("late", counters.late)
    json.key("latest_ms")
    json.thousandths(counters.latest.microseconds)
    json.field("bearer_read", counters.bearerRead)
    json.field("bearer_written", counters.bearerWritten)
    json.field("bearer_refused", counters.bearerRefused)
    json.field("unknown_port", counters.unknownPort)
    json.field("ports_refused", counters.portsRefused)
    json.field("persist_failed", store.failed)
    json.field("buffers", pool.slabCount)
    json.field("buffers_free", pool.freeCount)
    json.field("log_lines_left_out", log.suppressedTotal)
    json.field("control_clients_refused", control?.refusedClients ?? 0)
    json.field("control_requests_bad", control?.badRequests ?? 0)
    json.field("resident_kib", max(0, cs_resident_kib()))
    json.endObject()
  }
}

extension PortSocket {
  func append(to json: inout JSONWriter) {
    json.beginObject()
    json.field("port", number.value)
    json.field("name", status.name)
    json.field("up", status.isUp)
    json.field("received", counters.received)
    json.field("received_bytes", counters.receivedBytes)
    json.field("sent", counters.sent)
    json.field("sent_bytes", counters.sentBytes)
    json.field("waiting", waiting)
    json.field("dropped_by_kernel", counters.kernelDropped)
    json.field("dropped_queue_full", counters.queueDropped)
    json.field("dropped_no_buffer", counters.receivedWithoutBuffer)
    json.field("dropped_too_long", counters.receivedTooLong)
    json.field("send_failed", counters.sendFailed)
    json.endObject()
  }
}
