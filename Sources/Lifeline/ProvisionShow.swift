// show: what is in a store, never a secret, for a person or as one JSON document. Takes no lock: a running node's store
// can be looked at.

import Core
import Membership
import Runtime
import Store

func provisionShow(_ options: ProvisionOptions) throws(CommandFailure) {
  var state = try StoreState(of: options.store)
  // A copy that a running node is just writing looks damaged for a moment.
  if case .found(let store) = state, store.damagedCopy { state = try StoreState(of: options.store, warns: false) }
  guard case .found(let store) = state else { throw missingStore(options.store) }
  if options.json { say(document(store)) } else { describe(store) }
  if store.damagedCopy {
    complain("warning: one of the two copies in \(text(options.store)) is damaged; the next write mends it")
  }
}

private func membership(_ contents: StoreContents) -> String {
  if contents.descriptor.isRevoked(contents.identity.id) { return "revoked" }
  if contents.isEnrolled { return "member" }
  return contents.pendingSecret == nil ? "none" : "pending"
}

private func describe(_ store: LoadedStore) {
  let contents = store.contents
  let descriptor = contents.descriptor
  say("name         \(contents.name.description).\(descriptor.domain.description)")
  say("role         \(contents.role.name)")
  say("membership   \(membership(contents))")
  say("id           \(contents.identity.id.description)")
  say("fingerprint  \(contents.identity.fingerprint)")
  if let ipv4 = contents.ipv4 { say("address      \(dottedQuad(ipv4))") }
  say("prefix       \(descriptor.prefix.description)")
  say("network      \(descriptor.networkID.description)  epoch \(Int(descriptor.epoch))")
  for entry in descriptor.authorities {
    say(
      "authority    \(Int(entry.index))  \(entry.name.description)  \(dottedQuad(entry.ipv4))  ID \(entry.id.description)"
    )
  }
  say("threshold    \(Int(descriptor.threshold)) of \(descriptor.authorities.count)")
  if let proposal = contents.authority.proposal { describe(proposal, from: descriptor) }
  for id in descriptor.revoked { say("revoked      ID \(id.description)") }
  if let certificate = contents.certificate {
    say(
      "certificate  serial \(Int(certificate.serial))  epoch \(Int(certificate.epoch))  "
        + "issued by authority \(Int(certificate.issuer))")
  }
  for setting in contents.settings.entries {
    let isActedOn = SettingKey(setting.key) != nil
    say(
      "setting      \(text(setting.key))=\(text(setting.value))"
        + (isActedOn ? "" : "  (this build does not act on it)"))
  }
  if contents.role == .authority {
    let unused = contents.authority.unusedSecretCount
    say("secrets      \(unused) unused, \(contents.authority.secrets.count - unused) used")
    for member in contents.authority.members {
      say(
        "member       \(member.name.description)  \(dottedQuad(member.opening.ipv4))  "
          + "\(member.certificate.role.name)  \(member.state.name)  ID \(member.id.description)")
    }
  }
  say("boots        \(Int(contents.bootCount))")
  say("generation   \(store.generation)")
}

private func document(_ store: LoadedStore) -> String {
  let contents = store.contents
  let descriptor = contents.descriptor
  var json = JSONObject()
  json.put("name", contents.name.description)
  json.put("domain", descriptor.domain.description)
  json.put("role", contents.role.name)
  json.put("membership", membership(contents))
  json.put("id", contents.identity.id.description)
  json.put("fingerprint", contents.identity.fingerprint)
  if let ipv4 = contents.ipv4 { json.put("ipv4", dottedQuad(ipv4)) }
  json.put("prefix", descriptor.prefix.description)
  json.put("network", descriptor.networkID.description)
  json.put("epoch", Int(descriptor.epoch))
  json.put("threshold", Int(descriptor.threshold))
  json.putArray("authorities", descriptor.authorities.map { authorityObject($0) })
  json.putArray("revoked", descriptor.revoked.map { jsonString($0.description) })
  if let proposal = contents.authority.proposal {
    var object = JSONObject()
    object.put("id", proposal.proposalID.description)
    object.put("epoch", Int(proposal.epoch))
    object.put("fingerprint", proposal.fingerprint)
    object.putArray("changes", proposal.changes(from: descriptor).map { jsonString($0) })
    object.putArray(
      "signedBy", proposal.validSigners(among: descriptor.authorities).map { jsonString($0.name.description) })
    json.put("proposal", object)
  }
  if let certificate = contents.certificate {
    var object = JSONObject()
    object.put("serial", Int(certificate.serial))
    object.put("epoch", Int(certificate.epoch))
    object.put("issuer", Int(certificate.issuer))
    json.put("certificate", object)
  }
  var settings = JSONObject()
  for setting in contents.settings.entries { settings.put(text(setting.key), text(setting.value)) }
  json.put("settings", settings)
  if contents.role == .authority {
    let unused = contents.authority.unusedSecretCount
    var secrets = JSONObject()
    secrets.put("unused", unused)
    secrets.put("used", contents.authority.secrets.count - unused)
    json.put("secrets", secrets)
    json.putArray("members", contents.authority.members.map { memberObject($0) })
  }
  json.put("boots", Int(contents.bootCount))
  json.putLiteral("generation", "\(store.generation)")
  json.putLiteral("damagedCopy", store.damagedCopy ? "true" : "false")
  return json.text
}

private func authorityObject(_ entry: AuthorityEntry) -> String {
  var object = JSONObject()
  object.put("index", Int(entry.index))
  object.put("name", entry.name.description)
  object.put("id", entry.id.description)
  object.put("ipv4", dottedQuad(entry.ipv4))
  return object.text
}

private func memberObject(_ member: Member) -> String {
  var object = JSONObject()
  object.put("name", member.name.description)
  object.put("id", member.id.description)
  object.put("role", member.certificate.role.name)
  object.put("state", member.state.name)
  object.put("ipv4", dottedQuad(member.opening.ipv4))
  object.put("fingerprint", member.certificate.fingerprint)
  return object.text
}

/// An object under construction; keys are put once each, in the order of the document.
private struct JSONObject {
  private var body = ""

  var text: String { "{" + body + "}" }

  mutating func put(_ key: String, _ value: String) { putLiteral(key, jsonString(value)) }
  mutating func put(_ key: String, _ value: Int) { putLiteral(key, "\(value)") }
  mutating func put(_ key: String, _ value: JSONObject) { putLiteral(key, value.text) }

  mutating func putArray(_ key: String, _ elements: [String]) {
    var list = ""
    for element in elements { list += (list.utf8.isEmpty ? "" : ",") + element }
    putLiteral(key, "[" + list + "]")
  }

  /// `value` is JSON already.
  mutating func putLiteral(_ key: String, _ value: String) {
    body += (body.utf8.isEmpty ? "" : ",") + jsonString(key) + ":" + value
  }
}

/// Printable ASCII in quotes; what else there could be was shown as '?' before.
private func jsonString(_ text: String) -> String {
  var bytes = [UInt8(ascii: "\"")]
  for byte in text.utf8 {
    if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { bytes.append(UInt8(ascii: "\\")) }
    bytes.append(byte)
  }
  bytes.append(UInt8(ascii: "\""))
  return String(decoding: bytes, as: UTF8.self)
}
