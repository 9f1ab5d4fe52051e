// Known answers of the link layer, for `lifeline --self-test`.

import Core
import Wire

/// hello.txt, "small", under the key of handshake.txt: sealed as written, and opened once. Nil, or what failed.
public func linkSelfTest() -> StaticString? {
  func constant(_ text: StaticString) -> [UInt8] {
    bytes(hexadecimal: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)) ?? []
  }
  let golden =
    constant("30000000017fde5f715882b255000001001400000003000003e8000003e63031")
    + constant("32333435363738393a3b3c3d3e3ffffffff005dc05780038")
  let secret = constant("8ecd9e19e0544c6c267d2605d86c9267d3e6d14a6ec22892ddfb2036f819064b")
  guard secret.count == 32, golden.count == HelloFrame.size else { return "a constant" }
  let link = secret.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
  var key = LinkKey(send: link, receive: link, phase: 0)
  var frame = golden
  return frame.withUnsafeMutableBufferPointer { (p) -> StaticString? in
    let start = p.baseAddress!
    for i in 0..<LinkHeader.size { p[i] = 0 }
    key.seal(
      start, head: FrameHead(.hello).byte, detour: 0, encryptedEnd: LinkHeader.detour, taggedEnd: HelloFrame.size)
    if !p.elementsEqual(golden) { return "the golden hello" }
    guard case .authentic(counter: 1) = key.open(start, taggedEnd: HelloFrame.size) else {
      return "opening the golden hello"
    }
    do throws(WireError) {
      return try HelloFrame(decoding: start).interval == 20 ? nil : "the hello's fields"
    } catch {
      return "reading the golden hello"
    }
  }
}
