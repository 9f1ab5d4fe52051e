// What the loop knows of the bearer's guard, which works beside it: told anew whenever it has changed.

import Core

struct BearerView {
  /// Another when there is another device behind the descriptor.
  var generation: UInt32
  var index: Int32
  /// The device is there, and up.
  var isUp: Bool
  /// The probe's reserved addresses as they lie in memory, for a quick look at every packet; 0 when there is none.
  var reserved4: UInt32 = 0
  var reserved6: (UInt64, UInt64) = (0, 0)
  /// One JSON object: name, up, probe (what passes, by family and direction), repairs, overlaps.
  var status: String
}

/// What a view is made from: while it is the same, so is the view.
struct BearerStanding: Equatable {
  var generation: UInt32
  var index: Int32
  var isUp: Bool
  var addresses: BearerAddresses?
  /// Of each family what fails, and whether that is known.
  var probes: [UInt16]
  var repairs: Int
  var suppressed: Int
  var overlaps: UInt32
}

extension BearerGuard {
  var standing: BearerStanding {
    BearerStanding(
      generation: generation, index: index, isUp: isUp, addresses: addresses,
      probes: paths.map { UInt16($0.failing.rawValue) << 1 | ($0.isKnown ? 1 : 0) }, repairs: repairs,
      suppressed: suppressed, overlaps: overlap.version)
  }

  var view: BearerView {
    var view = BearerView(generation: generation, index: index, isUp: isUp, status: statusJSON)
    for path in paths {
      path.reserved.withUnsafeBytes {
        if path.isIPv6 {
          view.reserved6 = ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        } else {
          view.reserved4 = $0.loadUnaligned(as: UInt32.self)
        }
      }
    }
    return view
  }

  private var statusJSON: String {
    var probe = ""
    for path in paths {
      let family = path.isIPv6 ? "v6" : "v4"
      let isIn = path.isKnown && path.failing.isDisjoint(with: .inward)
      let isOut = path.isKnown && path.failing.isDisjoint(with: .outward)
      probe += "\(probe.isEmpty ? "" : ",")\"\(family)in\":\(isIn),\"\(family)out\":\(isOut)"
    }
    var overlaps = ""
    for route in overlap.routes {
      overlaps += overlaps.isEmpty ? "" : ","
      overlaps += "\"\(jsonEscaped(overlapText(route)))\""
    }
    return "{\"name\":\"\(jsonEscaped(nameText(name)))\",\"up\":\(isUp),\"probe\":{\(probe)},\"protect\":\(protect),"
      + "\"repairs\":\(repairs),\"notesSuppressed\":\(suppressed),\"overlaps\":[\(overlaps)]}"
  }

  private func jsonEscaped(_ text: String) -> String {
    var out: [UInt8] = []
    for byte in text.utf8 {
      if byte < 32 {
        out.append(63)
        continue
      }
      if byte == 34 || byte == 92 { out.append(92) }
      out.append(byte)
    }
    return String(decoding: out, as: UTF8.self)
  }
}
