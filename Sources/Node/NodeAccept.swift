// `ctl accept`: records of a USB key, which the operator's client sends along, judged and taken in by a running authority.

import Core
import Crypto
import Membership
import Store
import Wire

extension Node {
  mutating func accept(_ request: ControlRequest, at now: Instant) -> ControlAnswer {
    guard authority != nil else { return .failure("only an authority accepts boxes: run this on the MA") }
    let records: [[UInt8]]
    do throws(MembershipError) {
      records = try RecordBundle.decode(request.attachment)
    } catch {
      return .failure("the records did not arrive whole: try again")
    }
    guard let order = AcceptOrder(request.words) else {
      return .failure("accept takes --yes, or --expect ID with 32 hexadecimal digits and perhaps --name NAME")
    }
    let before = contents
    let outcomes: [AcceptOutcome]
    do throws(StoreError) {
      outcomes = try contents.accept(records: records, policy: order.policy, entropy: &entropy)
    } catch {
      return .failure(error.description)
    }
    if outcomes.contains(where: { $0.changesStore }) {
      // Nothing is told to anybody before it is known that the store holds it.
      do throws(StoreError) { _ = try contents.encode() } catch {
        contents = before
        return .failure(error.description)
      }
      persist()
    }
    for outcome in outcomes {
      if case .accepted(let member) = outcome.verdict {
        report(.notice, "\(member.name.description) is accepted as \(dottedQuad(member.opening.ipv4))")
        if channel(for: member) == nil {
          report(
            .warning,
            "\(member.name.description) cannot be served: \(limits.channels) nodes are in use; forget one that is "
              + "gone")
        }
      }
    }
    return .document(acceptDocument(outcomes, from: order.first))
  }

  private func acceptDocument(_ outcomes: [AcceptOutcome], from first: Int) -> [UInt8] {
    var json = JSONWriter()
    json.array { json in
      for outcome in outcomes {
        json.object { json in
          json.field("record", first + outcome.position)
          if let record = outcome.record {
            json.field("name", (outcome.member?.name ?? record.name).description)
            if let given = outcome.member?.name, given != record.name { json.field("wanted", record.name.description) }
            json.field("id", record.id.description)
            json.field("role", record.role.name)
            json.field("fingerprint", record.fingerprint)
          }
          json.field("verdict", verdictText(outcome.verdict))
          if let member = outcome.member { json.field("ipv4", dottedQuad(member.opening.ipv4)) }
          if case .refused(let reason) = outcome.verdict { json.field("why", reason.description) }
          json.field("spent", outcome.isSpent)
        }
      }
    }
    return json.bytes
  }

  private func verdictText(_ verdict: AcceptVerdict) -> String {
    switch verdict {
    case .listed: "waiting"
    case .accepted: "accepted"
    case .alreadyMember: "member already"
    case .passedOver: "passed over"
    case .refused: "refused"
    }
  }
}

/// The words of `accept`, as the client sends them.
private struct AcceptOrder {
  var policy = AcceptPolicy.list
  /// The first record's number on the key: a client sends many in several requests.
  var first = 0

  init?(_ words: [[UInt8]]) {
    var takesAll = false
    var expected: ComponentID?
    var name: NodeName?
    var rest = words.dropFirst()
    while let word = rest.popFirst() {
      if word.elementsEqual("--yes".utf8) {
        takesAll = true
      } else if word.elementsEqual("--expect".utf8), let digits = rest.popFirst() {
        guard let raw = bytes(hexadecimal: digits), raw.count == 16 else { return nil }
        expected = ComponentID(raw.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) })
      } else if word.elementsEqual("--name".utf8), let text = rest.popFirst() {
        do throws(MembershipError) { name = try NodeName(text) } catch { return nil }
      } else if word.elementsEqual("--from".utf8), let digits = rest.popFirst() {
        guard let number = decimal(digits[...]), number <= 65_535 else { return nil }
        first = number
      } else {
        return nil
      }
    }
    if let expected {
      policy = .only(expected, as: name)
    } else if name != nil {
      return nil
    } else if takesAll {
      policy = .all
    }
  }
}
