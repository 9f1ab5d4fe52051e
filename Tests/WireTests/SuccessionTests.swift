import Core
import Testing

@testable import Wire

@Suite struct SuccessionTests {
  private func id(_ number: UInt8) -> ComponentID {
    var bytes = Bytes16()
    bytes.withMutableBytes { p in for i in 0..<16 { p[i] = number &+ UInt8(i) } }
    return ComponentID(bytes)
  }

  @Test func `ask, piece and standing are what section 9 says, and come back the same`() throws {
    let ask = SuccessionAsk(epoch: 0x0102_0304, offset: 512, name: id(1))
    #expect(ask.encode() == [1, 2, 3, 4, 2, 0] + Array(1...16))
    #expect(try SuccessionAsk(decoding: ask.encode().span) == ask)
    let piece = SuccessionPiece(epoch: 2, length: 515, offset: 512, bytes: [7, 8, 9])
    #expect(piece.encode() == [0, 0, 0, 2, 2, 3, 2, 0, 7, 8, 9])
    #expect(try SuccessionPiece(decoding: piece.encode().span) == piece)
    let standing = SuccessionStanding(epoch: 9, name: id(3))
    #expect(standing.encode() == [0, 0, 0, 9] + Array(3...18))
    #expect(try SuccessionStanding(decoding: standing.encode().span) == standing)
    let present = Present(certificate: [1, 2], opening: [3])
    #expect(present.encode() == [17, 0, 2, 1, 2, 0, 1, 3])
    let body = Array(present.encode().dropFirst())
    #expect(try Present(decoding: body.span) == present)
  }

  /// Whether each decoder refuses these bytes.
  private func refused(_ bytes: [UInt8]) -> (ask: Bool, piece: Bool, standing: Bool, present: Bool) {
    var all = (ask: false, piece: false, standing: false, present: false)
    do throws(WireError) { _ = try SuccessionAsk(decoding: bytes.span) } catch { all.ask = true }
    do throws(WireError) { _ = try SuccessionPiece(decoding: bytes.span) } catch { all.piece = true }
    do throws(WireError) { _ = try SuccessionStanding(decoding: bytes.span) } catch { all.standing = true }
    do throws(WireError) { _ = try Present(decoding: bytes.span) } catch { all.present = true }
    return all
  }

  @Test func `a piece beyond its whole, empty or too long, and bytes left over or missing are refused`() {
    for bytes in [
      [0, 0, 0, 2, 0, 3, 0, 1, 7, 8, 9], [0, 0, 0, 2, 0, 3, 0, 0], [0, 0, 0, 2, 0, 3],
      [0, 0, 0, 2, 4, 0, 0, 0] + [UInt8](repeating: 1, count: 513),
    ] as [[UInt8]] {
      #expect(refused(bytes).piece)
    }
    for count in [0, 21, 23] {
      let all = refused([UInt8](repeating: 0, count: count))
      #expect(all.ask && all.standing)
    }
    for bytes in [[], [0, 1], [0, 0, 0, 0, 0]] as [[UInt8]] { #expect(refused(bytes).present) }
  }
}
