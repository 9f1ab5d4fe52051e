// What a node holds of descriptors beside its present one, and what it fetches of others (docs/PROTOCOL.md §9). Nothing
// here may be held by one neighbour: each has a budget of its own, the one that was asked comes before those that were
// not, and nobody is waited for longer than a turn.

import Core
import Membership
import Wire

struct Succession {
  /// A descriptor as it arrives.
  struct Fetch {
    let adjacency: UInt16
    let epoch: UInt32
    /// The one asked for, or zero.
    let name: ComponentID
    /// When the first piece came.
    let since: Instant
    let length: Int
    var bytes: [UInt8]

    init(_ first: SuccessionPiece, named name: ComponentID, from adjacency: UInt16, at now: Instant) {
      self.adjacency = adjacency
      epoch = first.epoch
      self.name = name
      since = now
      length = Int(first.length)
      bytes = first.bytes
    }

    var isWhole: Bool { bytes.count == length }

    /// Takes the piece that comes next of the same descriptor from the same neighbour; whether it was that.
    mutating func take(_ piece: SuccessionPiece, from other: UInt16) -> Bool {
      guard adjacency == other, epoch == piece.epoch, length == Int(piece.length), bytes.count == Int(piece.offset)
      else {
        return false
      }
      bytes.append(contentsOf: piece.bytes)
      return true
    }

    /// When it is given up if nothing more comes.
    func ends(at now: Instant) -> Instant { min(now + Succession.pieceWait, since + Succession.turn) }
  }

  /// Another descriptor of the present epoch, as a neighbour has named it.
  struct Named {
    let adjacency: UInt16
    let name: ComponentID
    var turnsLeft = Succession.turnLimit
  }

  /// Who shows a descriptor.
  enum Teller {
    case neighbour(UInt16)
    case authority(Int)
  }

  /// The last ones, each with its predecessor before it where this node saw it go: 8 × 7.6 KB at the most, 4 KB in all
  /// where nobody is revoked. An MA has more in its store.
  static let keptLimit = 8
  static let firstDelay = Duration.milliseconds(100)
  static let longestDelay = Duration.seconds(2)
  /// For the next piece, and for all of a descriptor: fifteen pieces at 130 ms there and back.
  static let pieceWait = Duration.milliseconds(500)
  static let turn = Duration.seconds(2)
  /// A neighbour that names another descriptor of the epoch is asked so often for it: frames are lost.
  static let turnLimit = 2

  private(set) var kept: [NetworkDescriptor] = []
  /// The present descriptor's name.
  private(set) var standing = ComponentID(Bytes16())
  /// Of the next epoch.
  var fetch: Fetch?
  /// When to ask a neighbour (again); `never` when none has a newer descriptor.
  var askDue = Instant.never
  var askDelay = Succession.firstDelay
  /// The neighbour that was asked last.
  var asked: UInt16 = 0
  /// It has not answered yet.
  var isAwaited = false
  /// The other descriptor of an epoch of which there are two.
  var contested: NetworkDescriptor?
  /// The others of this epoch that are asked for by name, one after the other, the first of them now: one a neighbour, 255
  /// × 32 B at the most.
  private(set) var named: [Named] = []
  /// What has come of the first of them.
  var evidence: Fetch?
  /// When its turn is over.
  var evidenceDue = Instant.never
  /// What is handed to each neighbour.
  var handed = AdjacencyBudgets(rate: 16, burst: 64)
  /// Descriptors that name signers enough and do not follow, each up to 16 × 48 µs: of each neighbour, and of each MA,
  /// whose proposals are among them. What follows costs nothing: nobody can make many of those.
  private var ofNeighbours = AdjacencyBudgets(rate: 1, burst: 4)
  private var ofAuthorities = [TokenBucket](repeating: TokenBucket(rate: 4, burst: 16), count: 16)
  /// By adjacency, the last epoch of which it has shown a descriptor unasked.
  private var shown = [UInt32](repeating: 0, count: 256)
  /// Lines about descriptors that lead nowhere.
  var complaints = TokenBucket(every: .seconds(10), burst: 4)

  mutating func keep(_ descriptor: NetworkDescriptor) {
    kept.removeAll { $0.epoch == descriptor.epoch }
    if kept.count == Succession.keptLimit { kept.removeFirst() }
    kept.append(descriptor)
    standing = descriptor.proposalID
  }

  /// Nothing of what was under way is of use any more: there is a new descriptor.
  mutating func startAnew() {
    fetch = nil
    isAwaited = false
    askDue = .never
    askDelay = Succession.firstDelay
    forgetNamed()
  }

  var nextDeadline: Instant? { min(askDue, evidenceDue) }

  // MARK: Budgets

  /// Whether signatures that this one shows are looked at now.
  mutating func mayJudge(_ teller: Teller, at now: Instant) -> Bool {
    switch teller {
    case .neighbour(let adjacency): ofNeighbours.hasToken(adjacency, at: now)
    case .authority(let index): ofAuthorities[index & 15].hasToken(at: now)
    }
  }

  /// Its signatures were looked at in vain. After `mayJudge`, in the same instant.
  mutating func charge(_ teller: Teller) {
    switch teller {
    case .neighbour(let adjacency): ofNeighbours.take(adjacency)
    case .authority(let index): ofAuthorities[index & 15].take()
    }
  }

  /// The first piece from a neighbour that was not asked counts once an epoch: more could only stand in others' way.
  mutating func mayShow(_ epoch: UInt32, _ adjacency: UInt16) -> Bool {
    let place = Int(adjacency & 255)
    if shown[place] == epoch { return false }
    shown[place] = epoch
    return true
  }

  // MARK: Evidence

  /// Remembers that a neighbour names another descriptor of the epoch. What it has named before goes first.
  mutating func name(_ name: ComponentID, by adjacency: UInt16) {
    if named.contains(where: { $0.adjacency == adjacency }) { return }
    named.append(Named(adjacency: adjacency, name: name))
  }

  /// The neighbour whose turn it is has answered, or has had its time.
  mutating func endTurn(isAnswered: Bool) {
    evidence = nil
    evidenceDue = .never
    guard !named.isEmpty else { return }
    var first = named.removeFirst()
    first.turnsLeft -= 1
    if !isAnswered, first.turnsLeft > 0 { named.append(first) }
  }

  mutating func forgetNamed() {
    named = []
    evidence = nil
    evidenceDue = .never
  }
}
