// The wire and the store, checked in the binary as it is shipped: known answers of Tests/Vectors, and a torn write.

import Beacon
import Core
import Crypto
import Membership
import Onion
import Store
import Topology
import Wire

/// Nil, or what does not hold.
func wireSelfTest() -> StaticString? {
  guard
    let beaconBytes = known(
      """
      9d24e2eeaf27c2a088a564a32fc03a8800000001000000010000000100000000ae13498cc828819500d1eea2b4169607b4cd\
      5c791c68263ca3301ee63019febd543388ad5b9b767a001d18a7c5700e8d3eae41ee71514c5e081992c072e47402
      """),
    let network = known("e0e1e2e3e4e5e6e7e8e9eaebecedeeef"),
    let key = known("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"),
    let advertisement = known(
      """
      01020304fffffffe020001a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1020305dc000a00000000000000fa000000030465746830\
      ffff000102030405060708090a0b0c0d0e0f00012328ffffdeadbeefffffffff800000000f656e70313933733066316e7031\
      323300000001000000020000000300000004000000050000000600000007ffffffff
      """),
    let hops = known(
      """
      bfcdd14202d7b65371074a1e4c41fd11acf2b1e67a5b6a7ddee6aace31cd142c00040006aba9ff8da250a98295948e41299d\
      4007172735b815c56ba3fee7fc5b0998eba6000b0011de2832baeba49eb4ca6af9b04c896210e20a1972d5860391a6f6a08f\
      a37debd30012001c7f29ff3ffd6cb2a3127a3af4e5281601319d50590de1d7a9abe8c69027dfccc1001900275365281ee8fe\
      eba51c2bd42da441ef408d74e2d0b9c36ad5f7d8172c0c18835d00200032e20446203ce256013f67cb50a8dd343811c981ff\
      3f21891a7b45a643a4a56d820027003d3b6985dfda8a465773e3f4a5e53f2ee3e525f95e565c0c0165cde14ae4b48461002e\
      0048fb1ea19334dbf0efe0081dd9e1c4ad2a387936aa25dc11da2c5b09995db03b1300350000
      """),
    let header = known(
      """
      00deadbeef00000001f00f5059ec654dc5b762192305836e52561098aea12eb608de0152566f0e66a040a8f176d1ed82f1e7\
      0c1e6be9ebda6adf2058523a05ddc8c35b04d6c64c566cc675723dff32d69e36003b2944925df4c7433ccdc7f852dc
      """)
  else { return "a constant" }
  do throws(WireError) {
    let beacon = try Beacon(decoding: beaconBytes.span)
    guard beacon.isAuthentic(network: bytes16(network), key: bytes32(key)), beacon.encode() == beaconBytes else {
      return "beacon"
    }
    guard try LinkStateAdvertisement(decoding: advertisement.span).encode() == advertisement else { return "LSA" }
    // A way of eight hops: of each the key, the ingress and the egress.
    let number: UInt32 = 0xdead_beef
    var reader = ByteReader(hops.span)
    var shares: [RouteHop] = []
    while reader.remaining > 0 {
      let key = try reader.bytes32()
      let ingress = try reader.u16()
      shares.append(RouteHop(key: key, route: number, ingress: ingress, egress: try reader.u16()))
    }
    var entropy = Entropy(seed: Bytes32())
    let size = OnionSize(code: 0)
    guard let builder = OnionBuilder(route: number, size: size, hops: shares, entropy: &entropy) else {
      return "onion route"
    }
    var frame = [UInt8](repeating: 0, count: size.endToEnd)
    let isBuilt = frame.withUnsafeMutableBufferPointer {
      builder.build($0.baseAddress!, class: OnionClass(traffic: .control, towardAuthority: false, authority: 0))
    }
    guard isBuilt, frame[OnionLayout.classByte...].elementsEqual(header) else { return "onion header" }
  } catch {
    return "a decoder"
  }
  return nil
}

/// Founds a network in memory, writes it twice, and tears the second write at every 512th byte: either copy must load.
func storeSelfTest() -> StaticString? {
  var entropy = Entropy(seed: Bytes32())
  do throws(MembershipError) {
    let domain = try DomainName(Array("self-test.example".utf8))
    let prefix = try IPv4Prefix("10.1.0.0/16")
    let name = try NodeName("node")
    var contents = try StoreContents(founding: domain, prefix: prefix, name: name, entropy: &entropy)
    do throws(StoreError) {
      let file = try StoreFile.newFile(contents)
      contents.bumpBoot()
      let write = try StoreFile.nextWrite(contents, after: StoreFile.decode(file).generation)
      var torn = 0
      while torn <= write.bytes.count {
        var image = file
        if image.count < write.offset + write.bytes.count {
          image += [UInt8](repeating: 0, count: write.offset + write.bytes.count - image.count)
        }
        for i in 0..<torn { image[write.offset + i] = write.bytes[i] }
        let boot = try StoreFile.decode(image).contents.bootCount
        guard boot <= 1, torn < write.bytes.count || boot == 1 else { return "torn write" }
        torn = torn == write.bytes.count ? torn + 1 : min(torn + 512, write.bytes.count)
      }
    } catch {
      return "store"
    }
  } catch {
    return "names"
  }
  return nil
}

func known(_ digits: StaticString) -> [UInt8]? {
  bytes(hexadecimal: UnsafeBufferPointer(start: digits.utf8Start, count: digits.utf8CodeUnitCount))
}

private func bytes16(_ bytes: [UInt8]) -> Bytes16 {
  bytes.count < 16 ? Bytes16() : bytes.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) }
}

private func bytes32(_ bytes: [UInt8]) -> Bytes32 {
  bytes.count < 32 ? Bytes32() : bytes.withUnsafeBufferPointer { Bytes32(loadingFrom: $0.baseAddress!) }
}
