// A first-in first-out ring with a fixed limit. What happens at the limit is the caller's decision: `append` says no.

/// At most `limit` elements; storage grows by doubling up to the limit and is kept. Elements move out: nothing is copied
/// or counted on the way.
public struct BoundedQueue<Element> {
  private var ring: [Element?] = []
  private var head = 0
  public private(set) var count = 0
  public let limit: Int

  public init(limit: Int) {
    invariant(limit > 0, "a queue holds at least one element")
    self.limit = limit
  }

  public var isEmpty: Bool { count == 0 }

  /// False, and nothing changed, when the queue is full.
  @discardableResult
  public mutating func append(_ element: Element) -> Bool {
    if count == limit { return false }
    if count == ring.count { grow() }
    var tail = head + count
    if tail >= ring.count { tail -= ring.count }
    // What is there is nil, and nothing to be released.
    ring.withUnsafeMutableBufferPointer { ($0.baseAddress.unsafelyUnwrapped + tail).initialize(to: element) }
    count += 1
    return true
  }

  public mutating func popFirst() -> Element? {
    if count == 0 { return nil }
    let element = ring.withUnsafeMutableBufferPointer {
      let place = $0.baseAddress.unsafelyUnwrapped + head
      let element = place.move()
      place.initialize(to: nil)
      return element
    }
    head += 1
    if head == ring.count { head = 0 }
    count -= 1
    return element
  }

  public var first: Element? { count == 0 ? nil : ring[head] }

  public mutating func removeAll() { while popFirst() != nil {} }

  private mutating func grow() {
    let size = min(limit, max(8, ring.count * 2))
    var larger: [Element?] = []
    larger.reserveCapacity(size)
    for i in 0..<count { larger.append(ring[(head + i) % ring.count]) }
    for _ in count..<size { larger.append(nil) }
    ring = larger
    head = 0
  }
}
