// Detours as an MA gives them to a node (docs/PROTOCOL.md §5 and §7): ways around a link or a neighbour that are laid
// beforehand, as the facility bypasses of RFC 4090. A frame that cannot go on by its own way goes around under a label
// that every node on the way around swaps, and comes back to its own way as if it had come by it.

import Core

/// The beginning of a detour: what to do when the link of an egress is gone.
public struct DetourHead: Equatable, Sendable {
  /// The adjacency that failed.
  public var egress: UInt16
  /// The neighbour's own egress, for a detour to the node behind it; 0: to the neighbour itself by another way.
  public var onward: UInt16
  /// The adjacency to send on instead, and the label to write.
  public var first: UInt16
  public var label: UInt16
  /// Largest lifeline frame the detour carries, bytes.
  public var frameSize: UInt16

  public init(egress: UInt16, onward: UInt16, first: UInt16, label: UInt16, frameSize: UInt16) {
    self.egress = egress
    self.onward = onward
    self.first = first
    self.label = label
    self.frameSize = frameSize
  }
}

/// What a node on a detour does with a label.
public struct DetourStep: Equatable, Sendable {
  public var ingress: UInt16
  public var label: UInt16
  /// The adjacency to send on; 0: the detour ends here.
  public var egress: UInt16
  /// The label to write; at the end the adjacency that the frame counts as having come by.
  public var next: UInt16

  public init(ingress: UInt16, label: UInt16, egress: UInt16, next: UInt16) {
    self.ingress = ingress
    self.label = label
    self.egress = egress
    self.next = next
  }
}

/// DETOURS (docs/PROTOCOL.md §7): a part of the table of one node.
public struct DetourPart: Equatable {
  public static let headLimit = 1_024
  public static let stepLimit = 4_096
  /// Entries of one message: the longest has 1,024 heads and 2,048 steps, 26,629 bytes.
  public static let stepsAtOnce = 2_048

  /// Of steps, and of heads, this is the first part: what there was of them before is replaced.
  public var replacesSteps: Bool
  public var replacesHeads: Bool
  public var heads: [DetourHead]
  public var steps: [DetourStep]

  public init(replacesSteps: Bool, replacesHeads: Bool, heads: [DetourHead] = [], steps: [DetourStep] = []) {
    self.replacesSteps = replacesSteps
    self.replacesHeads = replacesHeads
    self.heads = heads
    self.steps = steps
  }

  /// `bytes` without the type byte.
  public init(decoding bytes: Span<UInt8>) throws(WireError) {
    var reader = ByteReader(bytes)
    let flags = try reader.u8()
    guard flags <= 3 else { throw .invalid(field: StaticFieldName("detours flags")) }
    replacesSteps = flags & 1 != 0
    replacesHeads = flags & 2 != 0
    let headCount = Int(try reader.u16())
    let stepCount = Int(try reader.u16())
    heads = []
    steps = []
    guard reader.remaining == headCount * 10 + stepCount * 8 else {
      throw .invalid(field: StaticFieldName("detours length"))
    }
    for _ in 0..<headCount {
      heads.append(
        DetourHead(
          egress: try reader.u16(), onward: try reader.u16(), first: try reader.u16(), label: try reader.u16(),
          frameSize: try reader.u16()))
    }
    for _ in 0..<stepCount {
      steps.append(
        DetourStep(
          ingress: try reader.u16(), label: try reader.u16(), egress: try reader.u16(), next: try reader.u16()))
    }
  }

  public func encode() -> [UInt8] {
    var writer = ByteWriter(reserving: 6 + heads.count * 10 + steps.count * 8)
    writer.u8(ControlType.detours.rawValue)
    writer.u8((replacesSteps ? 1 : 0) | (replacesHeads ? 2 : 0))
    writer.u16(UInt16(truncatingIfNeeded: heads.count))
    writer.u16(UInt16(truncatingIfNeeded: steps.count))
    for head in heads {
      writer.u16(head.egress)
      writer.u16(head.onward)
      writer.u16(head.first)
      writer.u16(head.label)
      writer.u16(head.frameSize)
    }
    for step in steps {
      writer.u16(step.ingress)
      writer.u16(step.label)
      writer.u16(step.egress)
      writer.u16(step.next)
    }
    return writer.bytes
  }
}
