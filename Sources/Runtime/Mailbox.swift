// Letters from one thread to one other, handed over with all they own: whoever posts keeps nothing of it.

import CSystem
import Core

final class Mailbox<Letter> {
  private let box: OpaquePointer

  init() { box = cs_mailbox_create()! }

  deinit {
    while take() != nil {}
    cs_mailbox_destroy(box)
  }

  /// Readable when there is something new; `clear` before taking.
  var descriptor: Int32 { cs_mailbox_descriptor(box) }

  /// Letters that wait, at most `CS_MAILBOX_LETTERS`.
  var count: Int { Int(cs_mailbox_count(box)) }

  /// False, and the letter is the caller's still, when it is full.
  func post(_ letter: Letter) -> Bool {
    let place = UnsafeMutablePointer<Letter>.allocate(capacity: 1)
    place.initialize(to: letter)
    if cs_mailbox_post(box, place) == 1 { return true }
    place.deinitialize(count: 1)
    place.deallocate()
    return false
  }

  func clear() { cs_mailbox_clear(box) }

  func take() -> Letter? {
    guard let raw = cs_mailbox_take(box) else { return nil }
    let place = raw.assumingMemoryBound(to: Letter.self)
    let letter = place.move()
    place.deallocate()
    return letter
  }

  /// Until something is posted, at most `limit`.
  func wait(atMost limit: Duration?) { _ = cs_wait_readable(descriptor, limit.map { max(0, $0.nanoseconds) } ?? -1) }
}
