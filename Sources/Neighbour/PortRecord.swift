// What the engine keeps of one port: who is heard on it, and the pace of DISCOVER there.

import Core
import Crypto

/// The last two nonces given out in one place. They turn at most once in `LinkProtocol.nonceTurn`, however many frames
/// ask for one, so that nobody can make them stale by asking.
struct NoncePair {
  private var current = Bytes16()
  private var previous = Bytes16()
  /// Rises with each turn in the whole engine; 0 is none.
  private var currentTurn: UInt64 = 0
  private var previousTurn: UInt64 = 0
  private var madeAt = Instant.zero

  mutating func fresh(at now: Instant, turn: inout UInt64, entropy: inout Entropy) -> Bytes16 {
    if currentTurn == 0 || now >= madeAt + LinkProtocol.nonceTurn {
      previous = current
      previousTurn = currentTurn
      turn += 1
      currentTurn = turn
      current = entropy.bytes16()
      madeAt = now
    }
    return current
  }

  /// The turn in which `nonce` was given out, when it is one of the last two.
  func turn(of nonce: Bytes16) -> UInt64? {
    if currentTurn != 0, nonce == current { return currentTurn }
    if previousTurn != 0, nonce == previous { return previousTurn }
    return nil
  }
}

struct PortRecord {
  // What every frame touches, as in `AdjacencyRecord`.
  let number: PortNumber
  var isUp: Bool
  var neighbourCount = 0
  /// The neighbours' addresses and records: a short table, searched from the front.
  var addresses = InlineArray<8, UInt64>(repeating: 0)
  var records = InlineArray<8, AdjacencyPointer?>(repeating: nil)

  var status: PortStatus
  var nonces = NoncePair()
  var burstLeft = 0
  var nextDiscover = Instant.never
  var nextWide = Instant.never
  var lastDiscover = Instant.zero
  var loopReport = Instant.zero
  var cloneReport = Instant.zero

  var answers = TokenBucket(rate: LinkProtocol.answersPerSecond, burst: LinkProtocol.answersPerSecond)
  var handshakes = TokenBucket(rate: LinkProtocol.answersPerSecond, burst: LinkProtocol.answersPerSecond)
  var beginnings = TokenBucket(
    rate: NeighbourLimits.beginningsPerSecond, burst: NeighbourLimits.beginningsPerSecond)
  var newcomers = TokenBucket(rate: NeighbourLimits.newcomersPerSecond, burst: NeighbourLimits.newcomersPerSecond)
  var memberNewcomers = TokenBucket(
    rate: NeighbourLimits.newcomersPerSecond, burst: NeighbourLimits.newcomersPerSecond)
  /// Of those who showed that the certificate is theirs.
  var provedBeginnings = TokenBucket(
    rate: NeighbourLimits.beginningsPerSecond, burst: NeighbourLimits.beginningsPerSecond)
  var provedNewcomers = TokenBucket(
    rate: NeighbourLimits.newcomersPerSecond, burst: NeighbourLimits.newcomersPerSecond)
  /// DISCOVERs that ask who has a place already for a proof that it wants another.
  var proofsAsked = TokenBucket(rate: LinkProtocol.answersPerSecond, burst: LinkProtocol.answersPerSecond)
  var verifications = TokenBucket(
    rate: NeighbourLimits.verificationsPerSecond, burst: NeighbourLimits.verificationsPerSecond)

  init(number: PortNumber, status: PortStatus) {
    self.number = number
    self.status = status
    isUp = false
  }

  /// What a frame on this port may measure, as 16 bits carry it.
  @inline(__always)
  var frameSize: Int { min(max(status.frameSize, HelloFrame.size), 65_535) }

  /// What is taken to pass before a larger frame was heard.
  @inline(__always)
  var assumedFrameSize: Int {
    status.medium == .tunnel ? min(frameSize, NeighbourLimits.tunnelFrame) : frameSize
  }

  /// Of a link that does not flap.
  @inline(__always)
  var cost: UInt16 { status.cost == 0 ? status.medium.cost : min(status.cost, NeighbourLimits.portCost) }
}
