import Core
import Crypto
import TestSupport
import Testing
import Wire

@testable import Beacon

@Suite struct BeaconCodecTests {
  func refusal(_ bytes: [UInt8]) -> WireError? {
    do throws(WireError) {
      _ = try Beacon(decoding: bytes.span)
      return nil
    } catch { return error }
  }

  @Test func `the golden vectors decode, verify, and come out of signing byte for byte (section 3)`() throws {
    let golden = try vectors("beacon.txt")
    let key = SigningKeyPair(seed: bytes32(try #require(golden["seed"])))
    let net = bytes16(try #require(golden["network"]))
    #expect(key.publicKey.array == golden["key"])
    for name in ["first", "other"] {
      let bytes = try #require(golden[name])
      #expect(bytes.count == Beacon.encodedSize)
      let beacon = try Beacon(decoding: bytes.span)
      #expect(beacon.isAuthentic(network: net, key: key.publicKey))
      #expect(beacon.encode() == bytes)
      let again = Beacon.signed(
        authority: beacon.authority, boot: beacon.boot, counter: beacon.counter, epoch: beacon.epoch,
        sizeCode: beacon.sizeCode, network: net, with: key)
      #expect(again.encode() == bytes)
    }
    let otherBytes = try #require(golden["other"])
    let other = try Beacon(decoding: otherBytes.span)
    #expect(other.boot == 0x0102_0304 && other.counter == 0xffff_fffe && other.epoch == 0xa0b0_c0d0)
    #expect(other.sizeCode == 3)
  }

  @Test func `any flipped bit, another network and another key make a beacon false or malformed (section 3)`() throws {
    let golden = try vectors("beacon.txt")
    let bytes = try #require(golden["first"])
    let key = bytes32(try #require(golden["key"]))
    let net = bytes16(try #require(golden["network"]))
    for bit in 0..<(bytes.count * 8) {
      var changed = bytes
      changed[bit / 8] ^= 1 << UInt8(bit % 8)
      do throws(WireError) {
        let beacon = try Beacon(decoding: changed.span)
        #expect(!beacon.isAuthentic(network: net, key: key), "bit \(bit)")
        #expect(beacon.encode() == changed)
      } catch {
        #expect(bit / 8 >= 28, "only the size code, the zeros and S have values that are refused unseen")
      }
    }
    let beacon = try Beacon(decoding: bytes.span)
    #expect(!beacon.isAuthentic(network: home, key: key))
    #expect(!beacon.isAuthentic(network: net, key: Authority(1).key.publicKey))
  }

  @Test func `96 bytes are a beacon, 95 and 97 are not; size code and zeros are checked (section 3)`() throws {
    let bytes = Authority(1).beacon(1, 1)
    for count in 0..<96 { #expect(refusal(Array(bytes.prefix(count))) != nil) }
    #expect(refusal(bytes) == nil)
    #expect(refusal(bytes + [0]) == .invalid(field: StaticFieldName("length")))
    var changed = bytes
    changed[28] = 4
    #expect(refusal(changed) == .invalid(field: StaticFieldName("sizeCode")))
    changed = bytes
    changed[31] = 1
    #expect(refusal(changed) == .invalid(field: StaticFieldName("zero")))
    changed = bytes
    for i in 64..<96 { changed[i] = 0xff }
    #expect(refusal(changed) == .invalid(field: StaticFieldName("signature")))
  }

  @Test(arguments: [11, 12] as [UInt64])
  func `random bytes of any length never trap and never verify`(seed: UInt64) {
    var generator = Generator(seed: seed)
    let authority = Authority(1)
    let valid = authority.beacon(3, 4)
    var engine = BeaconEngine([authority])
    var taken = 0
    for round in 0..<3000 {
      var bytes = valid
      switch generator.below(3) {
      case 0:
        bytes = (0..<generator.below(200)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
      case 1:
        for _ in 0...generator.below(5) { bytes[generator.below(96)] = UInt8(truncatingIfNeeded: generator.next()) }
      default:
        if generator.below(2) == 0 { bytes.removeLast(generator.below(96)) } else { bytes.append(0) }
      }
      if bytes == valid { continue }
      engine.take(
        bytes, UInt16(generator.below(5)), authenticated: generator.below(2) == 0,
        at: milliseconds(Int64(round) * 20))
      taken += 1
    }
    let counters = engine.counters
    #expect(
      UInt64(taken)
        == counters.refusedMalformed + counters.refusedUnknownAuthority + counters.refusedSignature
        + counters.refusedBudget, "seed \(seed)")
    #expect(counters.refusedSignature > 100 && counters.refusedMalformed > 1000)
    #expect(engine.drain().isEmpty)
  }
}
