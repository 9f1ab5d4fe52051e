// The compiler hands a large struct to its own non-mutating methods by a copy on the stack, also one that cannot be copied
// in the source: 6.7 KB a call for a node, several times a frame. A struct with an atomic in it has an address that
// counts, so it is used where it is. Engines have a field of this type for that alone.

import Synchronization

/// A field that keeps the struct it stands in from being moved to be looked at. One byte; nothing reads it.
public struct InPlace: ~Copyable {
  private let byte = Atomic<UInt8>(0)

  public init() {}

  // Without one of its own, Embedded Swift looks for the field's deinit in the module that uses this one.
  @inlinable
  deinit {}
}
