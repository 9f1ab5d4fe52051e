// Networks with several MAs: stores made the way the provisioning commands make them, one MA after the other, each with
// the components that it took in itself. What one knows of another's members it must learn from the wire.

import Core
import Crypto
import Membership
import Store

public struct CouncilNetwork {
  public private(set) var authorities: [StoreContents]
  public private(set) var components: [StoreContents] = []
  private var entropy: Entropy

  /// - Parameters:
  ///   - count: MAs, ma1, ma2 and so on; each epoch is signed by a majority of those before.
  ///   - components: cm1, cm2 and so on, taken in by the MAs in turn.
  public init(authorities count: Int, components: Int, threshold: UInt8? = nil, seed: UInt64) throws {
    var bytes = Bytes32()
    var random = SeededRandom(seed: seed)
    bytes.withMutableBytes { p in for i in 0..<32 { p[i] = UInt8(truncatingIfNeeded: random.next()) } }
    entropy = Entropy(seed: bytes)
    authorities = [
      try StoreContents(
        founding: DomainName("lab.example"), prefix: IPv4Prefix("10.20.0.0/16"), name: NodeName("ma1"),
        entropy: &entropy)
    ]
    for i in 1..<max(count, 1) { try addAuthority("ma\(i + 1)", threshold) }
    for i in 0..<components { try addComponent("cm\(i + 1)", by: i % count) }
  }

  /// One more MA, taken in by the first and agreed to by as many others as it takes.
  private mutating func addAuthority(_ name: String, _ threshold: UInt8?) throws {
    let secret = try authorities[0].issueSecrets(1, entropy: &entropy)[0]
    var box = StoreContents(
      enrolling: authorities[0].descriptor, secret: secret, name: try NodeName(name), role: .authority,
      entropy: &entropy)
    guard let record = box.enrolmentRecord, let entry = box.descriptor.authority(at: secret.issuer),
      let sealed = SealedRecord(record, for: entry, entropy: &entropy)
    else { throw ProvisioningError.refused("no record") }
    let outcome = try authorities[0].accept(
      records: [sealed.encode()], policy: .all, threshold: threshold, entropy: &entropy)[0]
    var finisher = 0
    var next: NetworkDescriptor?
    switch outcome.verdict {
    case .accepted: next = authorities[0].descriptor
    case .proposed(var proposal, _, _):
      for i in 1..<authorities.count where next == nil {
        switch try authorities[i].sign(proposal, entropy: &entropy) {
        case .waiting(let gathered, _, _): proposal = gathered
        case .adopted(let done): (next, finisher) = (done, i)
        }
      }
    case .listed, .alreadyMember, .passedOver, .refused: throw ProvisioningError.refused(outcome.summary)
    }
    guard let next, let own = next.authority(at: next.index(of: box.identity.id) ?? 16),
      let admission = authorities[finisher].admission(for: own)
    else { throw ProvisioningError.refused("not adopted") }
    for i in authorities.indices where authorities[i].descriptor.epoch < next.epoch { try authorities[i].adopt(next) }
    try box.complete(with: admission)
    authorities.append(box)
  }

  private mutating func addComponent(_ name: String, by index: Int) throws {
    var (contents, record) = try ProvisionedNetwork.freshBox(name, &authorities[index], &entropy)
    let outcomes = try authorities[index].accept(records: [record], policy: .all, entropy: &entropy)
    guard case .accepted(let member) = outcomes[0].verdict else { throw ProvisioningError.refused(outcomes[0].summary) }
    try contents.install(member.certificate, member.opening)
    components.append(contents)
  }
}

extension World {
  /// A layout with MAs at these nodes; nothing is started. The first of them is the one the world asks.
  public convenience init(_ layout: Layout, authorities places: [Int], threshold: UInt8? = nil, seed: UInt64) throws {
    self.init(seed: seed)
    let network = try CouncilNetwork(
      authorities: places.count, components: layout.nodeCount - places.count, threshold: threshold, seed: seed)
    var next = 0
    for number in 0..<layout.nodeCount {
      if let place = places.firstIndex(of: number) {
        addNode(store: try network.authorities[place].encode())
      } else {
        addNode(store: try network.components[next].encode())
        next += 1
      }
    }
    authorities = places
    for segment in layout.segments { connect(segment.kind, segment.ends, frameSize: segment.frameSize) }
  }

  /// What a node's store held when it was made.
  public func firstStore(of number: Int) -> [UInt8] { firstStores[number] }

  /// Has another of the MAs asked from now on.
  public func ask(as number: Int) { authorities = [number] + authorities.filter { $0 != number } }

  /// Of these MAs, each has a session with every other running node and a route to it.
  public func isServed(by authorities: [Int]) -> Bool {
    authorities.allSatisfy { number in
      guard case .array(let rows)? = ask(number, ["nodes"]) else { return false }
      var reached = 0
      for row in rows {
        if case .string(let state)? = row["state"], state == Array("authenticated".utf8) { reached += 1 }
      }
      return reached == nodes.filter { $0.isRunning }.count
    }
  }

  /// The epoch of a node's descriptor, as it stands in its store.
  public func epoch(of number: Int) -> Int {
    do throws(StoreError) { return Int(try StoreContents(decoding: nodes[number].store).descriptor.epoch) } catch {
      return 0
    }
  }

  /// Takes the admission that an MA leaves on a key to the box that has become one.
  public func admitFromKey(_ number: Int, by authority: Int) throws {
    var contents = try StoreContents(decoding: nodes[number].store)
    guard case .array(let rows)? = ask(authority, ["keyfiles", contents.identity.id.description])?["admissions"],
      case .string(let digits)? = rows.first?["file"], let file = bytes(hexadecimal: digits)
    else { throw ProvisioningError.refused("no admission") }
    try contents.complete(with: try SealedAdmission(decoding: file).open(with: contents.identity))
    nodes[number].store = try contents.encode()
  }

  /// Replaces a node's box by one that asks to become an MA; what its key brings to the MA, for `accept`.
  public func replaceBoxByAuthority(_ number: Int, named name: String, secretOf issuer: Int) throws -> [UInt8] {
    crash(number)
    var seed = Bytes32()
    seed.withMutableBytes { p in for i in 0..<32 { p[i] = UInt8(truncatingIfNeeded: random.next()) } }
    var entropy = Entropy(seed: seed)
    var store = try StoreContents(decoding: nodes[issuer].store)
    let secret = try store.issueSecrets(1, entropy: &entropy)[0]
    nodes[issuer].store = try store.encode()
    let contents = StoreContents(
      enrolling: store.descriptor, secret: secret, name: try NodeName(name), role: .authority, entropy: &entropy)
    guard let record = contents.enrolmentRecord, let entry = store.descriptor.authority(at: secret.issuer),
      let sealed = SealedRecord(record, for: entry, entropy: &entropy)
    else { throw ProvisioningError.refused("no record") }
    nodes[number].store = try contents.encode()
    return RecordBundle.encode([sealed.encode()])
  }
}
