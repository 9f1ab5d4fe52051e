// A known answer of the end-to-end layer, for `lifeline --self-test`: session.txt, the first control frame down.

import Core

/// Nil, or what failed.
public func sessionSelfTest() -> StaticString? {
  func known(_ text: StaticString) -> [UInt8] {
    bytes(hexadecimal: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)) ?? []
  }
  let secret = known("fbf09adc2157be92b8885c9b4473e5511470757198cedb8f914da3eec62baff2")
  let golden = known(
    """
    8000000001ecfa08bb401b58dec8d18f7858a57b2808ba92eec43e95c3465c6023cb7ca5c3856188c19bac39cfd97339\
    312f0dc32ac562a2864f
    """)
  guard secret.count == 32, golden.count > SessionLayout.overhead else { return "a constant" }
  let key = secret.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
  let session = SecureSession(keys: SessionKeys(seal: key, open: key, onion: key, epoch: 2, spi: 0))
  var frame = golden
  return frame.withUnsafeMutableBufferPointer { (p) -> StaticString? in
    let start = p.baseAddress!
    guard case .opened(space: .control, sequence: 1, let count) = session.open(start, count: p.count) else {
      return "opening the golden frame"
    }
    _ = session.seal(start, count: count, space: .control)
    return p.elementsEqual(golden) ? nil : "the golden frame"
  }
}
