// Faults by chance: kind, place, time and length of each follow from a seed. Each is mended after its time, and `heal`
// mends all.

import Core
import Node
import Store

public enum FaultLoad: String, Sendable, CaseIterable {
  case none
  /// One at a time, each mended before the next.
  case light
  /// Several at once, of every kind, boxes that are replaced among them.
  case heavy

  /// Between the beginnings of two faults, on the average.
  var pace: Duration {
    switch self {
    case .none: .seconds(3_600)
    case .light: .seconds(4)
    case .heavy: .milliseconds(400)
    }
  }
}

/// What chance does to a world, until its time is over.
struct Mischief {
  var load: FaultLoad
  var random: SeededRandom
  var end: Instant
  /// Boxes that may still be replaced by others.
  var replacements = 2
  var count = 0
}

extension World {
  /// Lets chance loose from now on, for so long. Its seed is its own, so that links and nodes draw as they would without.
  public func disturb(_ load: FaultLoad, seed: UInt64, for length: Duration) {
    mischief = Mischief(load: load, random: SeededRandom(seed: seed ^ 0x6d69_7363_6869_6566), end: now + length)
    if load != .none { after(load.pace / 2) { $0.nextFault() } }
  }

  /// Faults begun so far.
  public var faultCount: Int { mischief?.count ?? 0 }

  /// Everything is as it was at first, but for clocks, which run on as they do.
  public func heal() {
    for medium in media.indices {
      setCarrier(medium, true)
      setCut(medium, false)
      setQuality(medium, media[medium].kind == .tunnel ? .tunnel : .perfect)
      if media[medium].largestFrame != .max { setLargestFrame(medium, .max) }
    }
    for box in nodes {
      setConduct(box.number, .honest)
      start(box.number)
    }
  }

  private func nextFault() {
    guard var mischief, now < mischief.end else { return }
    mischief.count += 1
    let pace = Int(mischief.load.pace.milliseconds)
    let length: Duration
    switch mischief.load {
    case .none: return
    case .light: length = .milliseconds(Int64(500 + mischief.random.below(pace / 2 - 500)))
    case .heavy: length = .milliseconds(Int64(20 << mischief.random.below(9)))
    }
    begin(&mischief, length)
    let gap = mischief.load == .light ? pace : pace / 4 + mischief.random.below(pace * 3 / 2)
    self.mischief = mischief
    after(.milliseconds(Int64(gap))) { $0.nextFault() }
  }

  private func begin(_ mischief: inout Mischief, _ length: Duration) {
    let node = mischief.random.below(nodes.count)
    let medium = mischief.random.below(media.count)
    let ends = ends(of: medium)
    let end = ends[mischief.random.below(ends.count)]
    let isHeavy = mischief.load == .heavy
    switch mischief.random.below(isHeavy ? 16 : 8) {
    case 0:
      setCarrier(medium, false)
      after(length) { $0.setCarrier(medium, true) }
    case 1:
      setCut(medium, true)
      after(length) { $0.setCut(medium, false) }
    case 2:
      setCut(medium, true, from: end)
      after(length) { $0.setCut(medium, false) }
    case 3: fall(node, for: length)
    case 4: pause(node, for: min(length, .seconds(2)))
    case 5: pause(node, for: .milliseconds(Int64(5 + mischief.random.below(60))))
    case 6: setDrift(node, Int64(mischief.random.below(401)) - 200)
    case 7:
      setLargestFrame(medium, 100 + mischief.random.below(1_400))
      after(length * 4) { $0.setLargestFrame(medium, .max) }
    case 8:
      stop(node)
      after(length) { $0.start(node) }
    case 9:
      setConduct(node, .greyHole)
      after(length) { $0.setConduct(node, .honest) }
    case 10: stallClock(node, for: min(length, .milliseconds(500)))
    case 11: fall(node, for: length, memory: canSetBack(node, mischief) ? .setBack : .kept)
    case 12: replace(node, &mischief, after: length)
    case 13:
      // A port that goes up and down.
      for i in 0..<6 {
        after(.milliseconds(Int64(50 * i))) { $0.setCarrier(medium, i % 2 == 1) }
      }
    default:
      let quality = quality(&mischief.random)
      setQuality(medium, quality, from: mischief.random.below(2) == 0 ? end : nil)
      after(length * 2) { $0.setQuality(medium, $0.media[medium].kind == .tunnel ? .tunnel : .perfect) }
    }
  }

  private func quality(_ random: inout SeededRandom) -> LinkQuality {
    var quality = LinkQuality()
    switch random.below(7) {
    case 0: quality.loss = Double(1 + random.below(40)) / 100
    case 1: quality.duplication = 0.2
    case 2: quality.jitter = .milliseconds(1 + Int64(random.below(10)))
    case 3: quality.corruption = Double(1 + random.below(10)) / 100
    case 4: quality.delay = .milliseconds(1 + Int64(random.below(40)))
    case 5:
      quality.burstBegin = 0.01
      quality.burstEnd = 0.1
    default:
      quality.bitsPerSecond = 1_000_000 + Int64(random.below(20_000_000))
      quality.queueBytes = 4_096 << random.below(6)
    }
    return quality
  }

  private func fall(_ node: Int, for length: Duration, memory: Memory = .kept) {
    guard nodes[node].isRunning else { return }
    crash(node, memory: memory)
    after(length) { $0.start(node) }
  }

  /// An MA that was set back would not know the boxes that came since.
  private func canSetBack(_ node: Int, _ mischief: Mischief) -> Bool {
    !authorities.contains(node) || (authorities.count == 1 && mischief.replacements == 2)
  }

  /// The box dies with all it knew, and another takes its place when the MA has accepted it.
  private func replace(_ node: Int, _ mischief: inout Mischief, after length: Duration) {
    guard mischief.replacements > 0, !spareSecrets.isEmpty, !authorities.contains(node), nodes[node].isRunning else {
      return
    }
    mischief.replacements -= 1
    do {
      let records = try replaceBox(node, named: "again\(mischief.replacements)")
      after(length) { $0.accept(records, then: node) }
    } catch {
      violated("a box cannot be replaced: \(error)", at: node)
    }
  }

  /// The key with a box's record is brought to the MA, as soon as that runs; then the box is started.
  private func accept(_ records: [UInt8], then node: Int) {
    guard nodes[authority].isRunning, !nodes[authority].isPaused else {
      after(.milliseconds(500)) { $0.accept(records, then: node) }
      return
    }
    if ask(authority, ["accept", "--yes"], attachment: records) == nil {
      violated("does not accept a box", at: authority)
    }
    start(node)
  }
}
