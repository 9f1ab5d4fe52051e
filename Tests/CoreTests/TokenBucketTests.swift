// Budgets: so much at once, so much in the long run, and never more after debts or odd clocks.

import Core
import Testing

@Suite struct TokenBucketTests {
  private func milliseconds(_ value: Int64) -> Instant { .zero + .milliseconds(value) }

  private func count(_ bucket: inout TokenBucket, _ from: Int64, _ to: Int64) -> Int {
    var taken = 0
    for now in from..<to where bucket.takeIfAvailable(at: milliseconds(now)) { taken += 1 }
    return taken
  }

  @Test func `a token bucket gives its burst, then its rate`() {
    var bucket = TokenBucket(rate: 64, burst: 32, at: milliseconds(0))
    var first = 0
    while bucket.takeIfAvailable(at: milliseconds(0)) { first += 1 }
    #expect(first == 32)
    let later = count(&bucket, 0, 10_000)
    #expect(later == 639)
  }

  @Test func `time that stands still or goes back gives nothing; centuries give one burst`() {
    var bucket = TokenBucket(rate: 64, burst: 32, at: milliseconds(0))
    _ = count(&bucket, 0, 10_000)
    let early = bucket.takeIfAvailable(at: .zero)
    #expect(!early)
    var late = 0
    while bucket.takeIfAvailable(at: .never) { late += 1 }
    #expect(late == 32)
  }

  @Test func `debts go no deeper than the burst, and only time pays them`() {
    var indebted = TokenBucket(rate: 10, burst: 5, at: milliseconds(0))
    for _ in 0..<4 { indebted.take(100) }
    let taken = [count(&indebted, 0, 600), count(&indebted, 600, 601)]
    #expect(taken == [0, 1])
  }

  @Test func `an interval longer than a second is as good as a rate`() {
    var bucket = TokenBucket(every: .seconds(10), burst: 2, at: milliseconds(0))
    let taken = [count(&bucket, 0, 100), count(&bucket, 100, 10_000), count(&bucket, 10_000, 30_000)]
    #expect(taken == [2, 0, 2])
    // Asking takes nothing.
    let answers = [bucket.hasToken(at: milliseconds(30_000)), bucket.hasToken(at: milliseconds(30_000))]
    #expect(answers == [true, true])
  }
}
