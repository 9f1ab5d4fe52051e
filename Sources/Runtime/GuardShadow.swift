// Addresses of the host's own inside the management prefix. The kernel asks its local table first, so a member that has
// such an address would never be answered: its packets even count as martians. A rule for what comes from our own
// address, before the local table, keeps answers on their way and leaves all other traffic as it is, the data plane's
// own with that address too.

import Core

extension BearerGuard {
  /// The rule is there while it is needed, and only then. True when something was amiss.
  func auditAnswerRule(_ prefix: IPPrefix) -> Bool {
    let all = rules(family: prefix.family)
    let place = all.firstIndex { $0.isAnswer(prefix) }
    let remove = RuleRecord.change(prefix, from: prefix.address, add: false)
    if !overlap.hides(prefix) {
      if place != nil { _ = requests.request(remove) }
      return false
    }
    guard let local = all.firstIndex(where: { $0.isLocal }) else { return false }
    if let place, place < local { return false }
    let what = "the local table hides addresses of \(prefix.network.text)"
    if protect && all.contains(where: { $0.priority == 0 && !$0.isLocal && !$0.isOwn(nil) }) {
      // It would come to stand before the local table by this.
      finding(.error, "\(nameText(name)): \(what), and another's rule of priority 0 keeps us from helping it")
      return false
    }
    mend(what, "answers from \(prefix.addressText) go before it") {
      if place != nil { _ = requests.request(remove) }
      return putAnswerRuleFirst(prefix)
    }
    return true
  }

  /// A new rule stands last among those of its priority. What was before it is added again after it, and then taken away
  /// in front: none is missing in between.
  private func putAnswerRuleFirst(_ prefix: IPPrefix) -> Int32 {
    var refused = requests.request(RuleRecord.change(prefix, from: prefix.address, add: true))
    if refused != 0 { return refused }
    refused = requests.request(RuleRecord.local(family: prefix.family, add: true))
    if refused == 0 { refused = requests.request(RuleRecord.local(family: prefix.family, add: false)) }
    if refused != 0 { return refused }
    refused = requests.request(RuleRecord.change(prefix, add: true, again: true))
    return refused == 0 ? requests.request(RuleRecord.change(prefix, add: false)) : refused
  }
}
