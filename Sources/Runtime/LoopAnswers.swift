// Control answers that only the loop can give or complete: its own counters, and how the bearer device stands.

import CSystem
import Core
import Wire

extension Loop where Node: ~Copyable {
  /// `status` with the member `bearer` added to what the node says.
  mutating func withBearer(_ answer: ControlAnswer) -> ControlAnswer {
    guard case .document(let document) = answer, let last = document.last, last == 125 else { return answer }
    guard let status = bearer?.view.status else { return answer }
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
    if let tunnels {
      for place in 0..<tunnels.end where tunnels.places[place].isUsed { tunnels.places[place].append(to: &json) }
    }
    json.endArray()
    json.endObject()
    return .document(json.bytes)
  }

  private mutating func appendLoopCounters(to json: inout JSONWriter) {
    json.beginObject()
    json.field("turns", counters.turns)
    json.field("rests", gathering.count)
    json.field("late", counters.late)
    json.key("latestMs")
    json.thousandths(counters.latest.microseconds)
    json.field("bearerRead", counters.bearerRead)
    json.field("bearerWritten", counters.bearerWritten)
    json.field("bearerRefused", counters.bearerRefused)
    json.field("unknownPort", counters.unknownPort)
    json.field("portsRefused", counters.portsRefused)
    if let tunnels {
      json.field("tunnelStrangers", tunnels.counters.strangers)
      json.field("tunnelNoPlace", tunnels.counters.noPlace)
      json.field("tunnelMoved", tunnels.counters.moved)
      json.field("tunnelOverBearer", tunnels.counters.overBearer)
      json.field("tunnelNoBuffer", tunnels.counters.noBuffer)
    }
    json.field("persistFailed", store.failed)
    json.field("buffers", pool.slabCount)
    json.field("buffersFree", pool.freeCount)
    json.field("logLinesLeftOut", log.suppressedTotal)
    json.field("controlClientsRefused", control?.refusedClients ?? 0)
    json.field("controlRequestsBad", control?.badRequests ?? 0)
    json.field("residentKiB", max(0, cs_resident_kib()))
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
    json.field("receivedBytes", counters.receivedBytes)
    json.field("sent", counters.sent)
    json.field("sentBytes", counters.sentBytes)
    json.field("waiting", waiting)
    json.field("droppedByKernel", counters.kernelDropped)
    json.field("droppedQueueFull", counters.queueDropped)
    json.field("droppedNoBuffer", counters.receivedWithoutBuffer)
    json.field("droppedTooLong", counters.receivedTooLong)
    json.field("sendFailed", counters.sendFailed)
    json.endObject()
  }
}

extension TunnelPlace {
  func append(to json: inout JSONWriter) {
    json.beginObject()
    json.field("port", number.value)
    json.field("name", name)
    json.field("up", status.isUp)
    json.field("peer", address.remote.text)
    json.field("obstacle", obstacle?.text)
    json.field("frameSize", status.frameSize)
    json.field("received", counters.received)
    json.field("receivedBytes", counters.receivedBytes)
    json.field("sent", counters.sent)
    json.field("sentBytes", counters.sentBytes)
    json.field("droppedQueueFull", counters.queueDropped)
    json.field("sendFailed", counters.sendFailed)
    json.endObject()
  }
}
