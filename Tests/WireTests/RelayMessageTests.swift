// RELAY, TOWARD and the control messages against golden vectors, and what their decoders must refuse
// (docs/PROTOCOL.md §4, §6, §7).

import Core
import Foundation
import Testing
import Wire

@Suite struct RelayMessageTests {
  /// Lines "name hexadecimal" of Tests/Vectors/relay.txt.
  func golden(_ name: String, at here: String = #filePath) throws -> [UInt8] {
    let folder = URL(fileURLWithPath: here).deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(contentsOf: folder.appendingPathComponent("Vectors/relay.txt"), encoding: .utf8)
    for line in text.split(separator: "\n") where line.hasPrefix(name + " ") {
      let value: [UInt8] = try #require(bytes(hexadecimal: line.dropFirst(name.count + 1).utf8))
      return value
    }
    return try #require(nil, "no vector \(name)")
  }

  func counting(from first: UInt8, _ count: Int) -> [UInt8] { (0..<count).map { first &+ UInt8($0) } }

  func id(from first: UInt8) -> ComponentID {
    ComponentID(counting(from: first, 16).withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) })
  }

  func relay(_ bytes: [UInt8]) throws(WireError) -> RelayMessage { try RelayMessage(decoding: bytes.span) }
  func attach(_ bytes: [UInt8]) throws(WireError) -> AttachRequest { try AttachRequest(decoding: bytes.span) }
  func toward(_ bytes: [UInt8]) throws(WireError) -> TowardMessage { try TowardMessage(decoding: bytes.span) }
  func relayUp(_ bytes: [UInt8]) throws(WireError) -> RelayUp { try RelayUp(decoding: bytes.span) }
  func relayDown(_ bytes: [UInt8]) throws(WireError) -> RelayDown { try RelayDown(decoding: bytes.span) }
  func welcome(_ bytes: [UInt8]) throws(WireError) -> Welcome { try Welcome(decoding: bytes.span) }

  func refusal<T>(_ bytes: [UInt8], _ decode: ([UInt8]) throws(WireError) -> T) -> WireError? {
    do throws(WireError) {
      _ = try decode(bytes)
      return nil
    } catch { return error }
  }

  func isTruncated(_ error: WireError?) -> Bool {
    if case .truncated = error { return true }
    return false
  }

  // MARK: RELAY

  @Test(arguments: [
    ("attach", RelayMessage.Kind.attach), ("challenge", .challenge), ("response", .response), ("sealedUp", .sealedUp),
    ("sealedDown", .sealedDown), ("empty", .sealedDown),
  ])
  func `a RELAY message goes round, and is refused without its head (section 4)`(
    name: String, kind: RelayMessage.Kind
  ) throws {
    let bytes = try golden(name)
    let message = try relay(bytes)
    #expect(message.kind == kind && message.authority == id(from: 0xa0) && message.body == Array(bytes[17...]))
    #expect(message.encode() == bytes)
    for count in 0..<17 {
      let cut = Array(bytes[..<count])
      #expect(isTruncated(refusal(cut, relay)))
    }
  }

  @Test func `kinds that do not exist are refused, and each kind has one direction (section 4)`() throws {
    var bytes = try golden("attach")
    for kind in UInt8(0)...255 {
      bytes[0] = kind
      let error = refusal(bytes, relay)
      #expect(error == ((1...5).contains(kind) ? nil : .invalid(field: StaticFieldName("relay kind"))))
    }
    let upward = [RelayMessage.Kind.attach, .challenge, .response, .sealedUp, .sealedDown].filter(\.isUpward)
    #expect(upward == [.attach, .response, .sealedUp])
  }

  @Test func `ATTACH goes round, with and without a certificate (section 4)`() throws {
    let bytes = try golden("attachBody")
    let request = try attach(bytes)
    #expect(request.id == id(from: 0x10) && request.nonce == id(from: 0x50).bytes && request.epoch == 7)
    #expect(request.keyEpoch == AttachRequest.noKeyEpoch && request.certificate == [1, 2, 3, 4, 5])
    #expect(request.encode() == bytes)
    #expect(try relay(golden("attach")).body == bytes)
    let plain = try golden("attachBodyPlain")
    let second = try attach(plain)
    #expect(second.certificate.isEmpty && second.keyEpoch == 3 && second.epoch == .max)
    #expect(second.encode() == plain)
    for count in 0..<bytes.count {
      let cut = Array(bytes[..<count])
      #expect(isTruncated(refusal(cut, attach)))
    }
    let long = bytes + [0]
    #expect(
      refusal(long, attach)
        == .invalid(field: StaticFieldName("attach length")))
  }

  @Test func `a key epoch is 0 to 3, or 255 for none (section 4)`() throws {
    var bytes = try golden("attachBodyPlain")
    for epoch in UInt8(0)...255 {
      bytes[36] = epoch
      let error = refusal(bytes, attach)
      #expect(error == (epoch <= 3 || epoch == 255 ? nil : .invalid(field: StaticFieldName("attach key epoch"))))
    }
  }

  // MARK: TOWARD

  @Test func `TOWARD goes round and never has more than 64 hops left (section 6)`() throws {
    var bytes = try golden("toward")
    let message = try toward(bytes)
    #expect(
      message
        == TowardMessage(
          authority: id(from: 0xa0), boot: 3, counter: 0x0102_0304, budget: TowardMessage.fullBudget,
          spi: 0xcafe_f00d, sealed: counting(from: 5, 30)))
    #expect(message.encode() == bytes)
    for count in 0..<29 {
      let cut = Array(bytes[..<count])
      #expect(isTruncated(refusal(cut, toward)))
    }
    for budget in UInt8(0)...255 {
      bytes[24] = budget
      let error = refusal(bytes, toward)
      #expect(error == (budget <= 64 ? nil : .invalid(field: StaticFieldName("toward budget"))))
    }
  }

  // MARK: Control messages

  @Test func `RELAY-UP goes round and says whether the neighbour is proved (section 7)`() throws {
    let bytes = try golden("relayUp")
    #expect(bytes[0] == ControlType.relayUp.rawValue)
    let up = try relayUp(Array(bytes[1...]))
    #expect(up.adjacency == 258 && up.neighbour == id(from: 0x10) && up.linked)
    #expect(up.relay.encode() == (try golden("attach")))
    #expect(up.encode() == bytes)
    let open = try golden("relayUpOpen")
    let second = try relayUp(Array(open[1...]))
    #expect(!second.linked && second.neighbour == ComponentID(Bytes16()) && second.relay.kind == .response)
    #expect(second.encode() == open)
    for count in 1..<(20 + 17) {
      let cut = Array(bytes[1..<count])
      #expect(isTruncated(refusal(cut, relayUp)))
    }
    var other = Array(bytes[1...])
    for flag in UInt8(2)...255 {
      other[18] = flag
      #expect(
        refusal(other, relayUp)
          == .invalid(field: StaticFieldName("relay linked")))
    }
  }

  @Test func `RELAY-DOWN goes round (section 7)`() throws {
    let bytes = try golden("relayDown")
    #expect(bytes[0] == ControlType.relayDown.rawValue)
    let down = try relayDown(Array(bytes[1...]))
    #expect(down.adjacency == .max && down.relay.kind == .challenge)
    #expect(down.relay.encode() == (try golden("challenge")))
    #expect(down.encode() == bytes)
    for count in 1..<20 {
      let cut = Array(bytes[1..<count])
      #expect(isTruncated(refusal(cut, relayDown)))
    }
  }

  @Test func `WELCOME goes round, and every truncation is refused (section 7)`() throws {
    let bytes = try golden("welcome")
    #expect(bytes[0] == ControlType.welcome.rawValue)
    let message = try welcome(Array(bytes[1...]))
    #expect(
      message
        == Welcome(
          epoch: 6, certificate: [1, 2, 3], opening: [9, 10, 11, 12], authorityIPv4: 0x0a01_0203,
          authorityName: Array("alpha".utf8)))
    #expect(message.encode() == bytes)
    let bare = try golden("welcomeBare")
    #expect(try welcome(Array(bare[1...])).encode() == bare)
    for count in 1..<bytes.count {
      let cut = Array(bytes[1..<count])
      #expect(isTruncated(refusal(cut, welcome)))
    }
    let long = Array(bytes[1...]) + [0]
    #expect(
      refusal(long, welcome)
        == .invalid(field: StaticFieldName("welcome length")))
  }

  @Test func `a name in WELCOME has at most 63 bytes, as a label has (section 7)`() throws {
    for count in [0, 1, 63, 64, 255] {
      let bare = try golden("welcomeBare")
      let bytes = Array(bare[1..<(bare.count - 1)]) + [UInt8(count)] + [UInt8](repeating: 97, count: count)
      let error = refusal(bytes, welcome)
      #expect(error == (count <= 63 ? nil : .invalid(field: StaticFieldName("welcome name length"))))
    }
  }

  // MARK: Damage

  @Test func `whatever of random bytes is taken encodes to the same bytes again`() throws {
    var generator = SystemRandomNumberGenerator()
    let seed = UInt64.random(in: 0...UInt64.max, using: &generator)
    var state = seed
    func next() -> UInt8 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 56)
    }
    let names = ["attach", "attachBody", "toward", "relayUp", "relayDown", "welcome"]
    let samples = try names.map { try golden($0) }
    var taken = 0
    for round in 0..<20_000 {
      var bytes = samples[round % samples.count]
      for _ in 0..<(1 + Int(next() & 3)) { bytes[Int(next()) % bytes.count] = next() }
      if next() & 3 == 0 { bytes.removeLast(min(bytes.count, Int(next() & 15))) }
      let body = Array(bytes.dropFirst())
      var again: [UInt8]?
      do throws(WireError) {
        switch round % samples.count {
        case 0: again = try relay(bytes).encode()
        case 1: again = try attach(bytes).encode()
        case 2: again = try toward(bytes).encode()
        case 3: again = Array(try relayUp(body).encode().dropFirst())
        case 4: again = Array(try relayDown(body).encode().dropFirst())
        default: again = Array(try welcome(body).encode().dropFirst())
        }
        taken += 1
        #expect(again == (round % samples.count < 3 ? bytes : body), "seed \(seed) round \(round)")
      } catch {
        #expect(again == nil)
      }
    }
    #expect(taken > 5_000 && taken < 19_500, "seed \(seed)")
  }
}
