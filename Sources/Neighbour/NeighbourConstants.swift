// The numbers of the neighbour protocol (docs/PROTOCOL.md §2), and apart from them those of this implementation.

import Core

/// What both ends of a link must agree on.
enum LinkProtocol {
  /// Own nonces stay valid for two turns of this.
  static let nonceTurn = Duration.seconds(1)
  static let discoverPace = Duration.seconds(1)
  /// On a port with an authenticated neighbour, and of the wide discovery.
  static let discoverSlowPace = Duration.seconds(10)
  static let discoverBurst = 3
  static let discoverBurstGap = Duration.milliseconds(20)
  /// Silence after which a neighbour is down, µs for each millisecond of the link's interval: three hellos missed, and a
  /// tenth of an interval, so that the third is late and not merely under way.
  static let holdMicroseconds: Int64 = 3_100
  /// Hellos, or DISCOVERs, sent at once when something changes.
  static let changeBurst = 3
  /// A full-size hello goes out at least once a second: two, so that a lossy link is not taken for one that eats them.
  static let fullSizePace = Duration.milliseconds(500)
  /// `largest` looks back 2 to 2.5 s: this many turns of `fullSizePace`.
  static let largestTurns = 5
  static let firstRetry = Duration.milliseconds(40)
  static let retryLimit = Duration.seconds(1)
  /// The old key is accepted this long after the new one was proved.
  static let oldKeyLife = Duration.seconds(3)
  /// No more than this many frames go under one key.
  static let rekeyCounter: UInt64 = 1 << 48
  /// DISCOVERs answered and handshakes answered, a second and port.
  static let answersPerSecond: Int64 = 20
  /// OPEN frames let through, a second and adjacency and direction.
  static let openPerSecond: Int64 = 64
  static let openBurst: Int64 = 32
}

/// How ticks of neighbours come together.
enum LinkTicks {
  /// A tick less than this part of an interval ahead is taken at once.
  static let atOnce: Int64 = 8
  /// Otherwise it comes nearer by this part of what is left.
  static let share: Int64 = 4
}

/// What only this node decides.
enum NeighbourLimits {
  static let ports = 64
  /// Ports that wait for one of those to go: as many as the system follows beyond them.
  static let waitingPorts = 192
  /// Adjacency numbers are 1...255.
  static let numbers = 255
  static let neighboursPerPort = 8
  /// Of these for one member, under addresses of its own, as of a listener's tunnels: a box with four NICs on a segment.
  static let placesPerMember = 4
  /// Of the limit of hellos this part is what members' further places on a port share at least.
  static let furtherHellos = 20
  /// Neighbours without a proved key, on all ports; the longest silent one makes room.
  static let strangers = 64
  /// A number is given to another neighbour only after this.
  static let numberRest = Duration.seconds(10)
  /// A neighbour without a key is forgotten when no DISCOVER came for this long (three wide discoveries and a half).
  static let strangerLife = Duration.seconds(35)
  /// A neighbour with a key that is down is forgotten after this.
  static let downLife = Duration.seconds(60)
  /// A neighbour with a key whose certificate's issuer has left the network keeps its link for so long.
  static let orphanLife = Duration.seconds(60)
  /// A neighbour that is down hears hellos at the normal pace for this long, then once a second; nobody else may claim
  /// its address until then, unless he proves himself.
  static let eagerLife = Duration.seconds(10)
  /// New neighbours let in, a second and port; with and without a certificate that holds are counted apart.
  static let newcomersPerSecond: Int64 = 20
  /// Certificates verified (not found in the cache), a second and port.
  static let verificationsPerSecond: Int64 = 20
  /// Handshakes begun, a second and port.
  static let beginningsPerSecond: Int64 = 20
  /// What all ports share beside that. In a flood an honest box gets of a budget what its frames are among the flood's;
  /// it sends 20 a second, and with these it gets in within seconds. On the machine of the tests (Ed25519 48 µs, X25519
  /// 30 µs) the three are 1.0, 1.5 and 0.1 % of a processor.
  static let spareVerifications: Int64 = 200
  static let spareHandshakes: Int64 = 100
  static let spareNewcomers: Int64 = 100
  /// Between two openings to a neighbour without a key, each for another nonce: one of them may have been somebody
  /// else's.
  static let openingGap = Duration.milliseconds(10)
  /// Who showed a certificate that holds keeps its address for so long against those who show none.
  static let certifiedPatience = Duration.seconds(3)
  /// Handshakes begun because a live neighbour asks anew, a second and adjacency.
  static let restartsPerSecond: Int64 = 1
  /// A neighbour that is not linked after this is reported as a stranger, for the relay.
  static let strangerPatience = Duration.seconds(1)
  /// A neighbour that does not hear us is sent to at its own address instead of the group, or the other way round, after
  /// this.
  static let addressPatience = Duration.seconds(1)
  /// A key no hello has proved is dropped after this.
  static let candidateLife = Duration.seconds(2)
  /// Verified certificates remembered: 64 × 56 B.
  static let certificates = 64
  /// Frames of less do not make a usable link in any network.
  static let smallestUsableFrame = 576
  /// Sizes tried when full-size hellos are lost, bytes, largest first; below them the smallest that is of use.
  static let probeSizes: [Int] = [8192, 4096, 1500, 1400, 1280, 1232, 1024, 768]
  /// A frame that every path of the Internet carries in one UDP datagram over IPv6 (RFC 8200 §5: 1,280 bytes, less the
  /// headers' 40 and 8). What a tunnel is taken to carry until a larger one was heard.
  static let tunnelFrame = 1232
  /// Hellos from unknown addresses that are tried under every tunnel's key: 1,000 a second, 0.2 % of a processor with
  /// 40 tunnels. Those with a counter that nobody waits for cost nothing.
  static let arrivalsPerSecond: Int64 = 1000
  static let arrivalsBurst: Int64 = 200
  /// How far ahead of the newest counter heard a hello from an unknown address may be.
  static let arrivalWindow: UInt64 = 1 << 20
  /// A neighbour is not taken to have moved while it was heard at the address before so lately. Longer than the pace of
  /// hellos in tunnels, so that a copy that overtakes each hello moves nobody.
  static let arrivalSilence = Duration.milliseconds(600)
  /// The highest cost a port may have by itself; penalties come on top.
  static let portCost: UInt16 = 10_000
  /// Outputs waiting; frames are dropped at the first limit, so that changes of state always find room.
  static let waitingFrames = 3072
  static let waitingOutputs = 4096
  /// Added to a link's cost for each fall within `flapMemory` of the one before, to at most `flapLimit`; halved after
  /// each `flapMemory` without one. A neighbour's falls are remembered apart from its place: 256 × 32 B = 8 KiB.
  static let flapStep: UInt16 = 10
  static let flapLimit: UInt16 = 1000
  static let flapMemory = Duration.seconds(60)
  static let falls = 256
  /// A cable loop or a clone is reported once in this time, a port.
  static let reportPace = Duration.seconds(10)
  /// Times a link is taken to be in doubt, a second and adjacency: each costs notices to the routes that go by it.
  static let doubtsPerSecond: Int64 = 2
  static let doubtsBurst: Int64 = 4
  /// Where frames cross a switch, beside the medium's cost: a direct wire to the same place is preferred.
  static let wideCost: UInt16 = 5
}

/// What every port may use when its own budget is used up.
struct SpareBudgets {
  var verifications = TokenBucket(
    rate: NeighbourLimits.spareVerifications, burst: NeighbourLimits.spareVerifications / 4)
  var handshakes = TokenBucket(rate: NeighbourLimits.spareHandshakes, burst: NeighbourLimits.spareHandshakes / 4)
  var newcomers = TokenBucket(rate: NeighbourLimits.spareNewcomers, burst: NeighbourLimits.spareNewcomers / 4)
}

/// From a port's own budget, else from what all share.
func take(_ own: inout TokenBucket, else spare: inout TokenBucket, at now: Instant) -> Bool {
  own.takeIfAvailable(at: now) || spare.takeIfAvailable(at: now)
}
