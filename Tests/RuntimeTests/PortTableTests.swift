import Core
import Testing

@testable import Runtime

struct PortTableTests {
  private func socket(_ number: PortNumber) -> PortSocket {
    let status = PortStatus(
      name: "a0", address: MACAddress(2), frameSize: 1500, isUp: true, medium: .ethernet, riskGroup: 0)
    return PortSocket(ifindex: Int32(number.value), number: number, status: status, descriptor: -1)
  }

  @Test func `numbers come in turns, and after 65,535 again, but for those in use and those freed last`() {
    let pool = PacketPool(slabSize: 256, slabCount: 1)
    var table = PortTable()
    let kept = table.insert(socket(table.freshNumber))
    let tunnel = table.takeNumber(forTunnel: 7)
    #expect(tunnel == PortNumber(2) && table.tunnel(of: tunnel) == 7)
    var last = table.freshNumber
    #expect(last == PortNumber(3))
    for _ in 0..<65_533 {
      last = table.freshNumber
      let slot = table.insert(socket(last))
      #expect(table.slot(of: last) == slot)
      table.remove(slot, returningTo: pool)
      #expect(table.slot(of: last) == nil)
    }
    #expect(last == PortNumber(.max))
    #expect(table.freshNumber == PortNumber(3))
    #expect(table.slot(of: PortNumber(1)) == kept && table.tunnel(of: tunnel) == 7)
    // The one just freed rests.
    table.remove(kept, returningTo: pool)
    let again = table.insert(socket(table.freshNumber))
    #expect(table.slot(of: PortNumber(3)) == again && table.slot(of: PortNumber(1)) == nil)
    table.remove(again, returningTo: pool)
  }
}
