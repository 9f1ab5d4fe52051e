// `ctl accept`: records of a USB key, which the operator's client sends along, judged and taken in by a running authority.

import Core
import Crypto
import Membership
import Store
import Wire

extension Node {
  mutating func accept(_ request: ControlRequest, at now: Instant) -> ControlAnswer {
    guard authority != nil else { return .failure("only an authority accepts boxes: run this on the MA") }
    guard let order = AcceptOrder(request.words) else {
      return .failure(
        "accept takes --yes, or --expect ID with 32 hexadecimal digits and perhaps --name NAME, and --threshold K")
    }
    if order.isProposal { return acceptProposal(request.attachment, order.policy, at: now) }
    let records: [[UInt8]]
    do throws(MembershipError) {
      records = try RecordBundle.decode(request.attachment)
    } catch {
      return .failure("the records did not arrive whole: try again")
    }
    let before = contents
    let outcomes: [AcceptOutcome]
    do throws(StoreError) {
      outcomes = try contents.accept(
        records: records, policy: order.policy, threshold: order.threshold, entropy: &entropy)
    } catch {
      return .failure(error.description)
    }
    if outcomes.contains(where: { $0.changesStore }) {
      // Nothing is told to anybody before it is known that the store holds it.
      do throws(StoreError) { _ = try contents.encode() } catch {
        contents = before
        return .failure(error.description)
      }
      if contents.descriptor.epoch != before.descriptor.epoch {
        follow(before.descriptor, signing: true, at: now)
      } else {
        persist(promising: true)
      }
    }
    for outcome in outcomes {
      if case .proposed(let proposal, _, _) = outcome.verdict { tellProposal(proposal) }
      if case .accepted(let member) = outcome.verdict {
        memberChanged(member.id, at: now)
        report(.notice, "\(member.name.description) is accepted as \(dottedQuad(member.opening.ipv4))")
        if channel(for: member) == nil {
          report(
            .warning,
            "\(member.name.description) cannot be served: \(limits.channels) nodes are in use; forget one that is "
              + "gone")
        }
      }
    }
    settle(at: now)
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
          if case .proposed(let proposal, let have, let need) = outcome.verdict {
            json.field("proposal", proposal.proposalID.description)
            json.field("proposalFingerprint", proposal.fingerprint)
            json.field("missing", need - have)
          }
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
    case .proposed: "proposed"
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
  /// The attachment is a proposal, not records.
  var isProposal = false
  /// Signatures the network needs once a new authority is in.
  var threshold: UInt8?

  init?(_ words: [[UInt8]]) {
    var takesAll = false
    var expected: ComponentID?
    var name: NodeName?
    var rest = words.dropFirst()
    while let word = rest.popFirst() {
      if word.elementsEqual("--yes".utf8) {
        takesAll = true
      } else if word.elementsEqual("--proposal".utf8) {
        isProposal = true
      } else if word.elementsEqual("--threshold".utf8), let digits = rest.popFirst() {
        guard let number = decimal(digits[...]), (1...NetworkDescriptor.authorityLimit).contains(number) else {
          return nil
        }
        threshold = UInt8(number)
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
