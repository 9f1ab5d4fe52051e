// `lifeline ctl accept`: carries the records of a key to a running authority, says what came of each, and takes from the
// key what the authority's store holds. Cut off anywhere, the same command finishes the work: an authority calls a box it
// took in before a member already, and its record goes then.

import Core
import Membership
import Runtime
import Wire

/// The words after `ctl accept`.
struct AcceptOptions {
  private(set) var directory: [UInt8] = []
  private(set) var takesAll = false
  private(set) var expect: ComponentID?
  private(set) var name: NodeName?
  private(set) var threshold: [UInt8]?

  var isListing: Bool { !takesAll && expect == nil }

  init(_ words: [[UInt8]]) throws(CommandFailure) {
    var rest = words[...]
    while var word = rest.popFirst() {
      if !word.starts(with: "-".utf8) {
        if !directory.isEmpty { throw ControlCommand.usage("ctl accept takes one DIR, not also \(text(word))") }
        directory = word
        continue
      }
      if word.elementsEqual("--yes".utf8) {
        takesAll = true
        continue
      }
      var inline: [UInt8]?
      if let equals = word.firstIndex(of: UInt8(ascii: "=")) {
        inline = Array(word[(equals + 1)...])
        word = Array(word[..<equals])
      }
      let isExpect = word.elementsEqual("--expect".utf8)
      let isThreshold = word.elementsEqual("--threshold".utf8)
      guard isExpect || isThreshold || word.elementsEqual("--name".utf8) else {
        throw ControlCommand.usage(
          "ctl accept has no option \(text(word)): possible are --yes, --expect ID, --name NAME, --threshold K, --run DIR, "
            + "--json")
      }
      guard let value = inline ?? rest.popFirst(), !value.isEmpty else {
        throw ControlCommand.usage("\(text(word)) needs a value")
      }
      if isExpect {
        try takeExpected(value)
      } else if isThreshold {
        guard let k = decimal(value[...]), (1...NetworkDescriptor.authorityLimit).contains(k) else {
          throw ControlCommand.usage("--threshold \(text(value)): is 1 to \(NetworkDescriptor.authorityLimit)")
        }
        threshold = value
      } else {
        try takeName(value)
      }
    }
    if directory.isEmpty { throw ControlCommand.usage("ctl accept needs the DIR of the USB key") }
    if takesAll, expect != nil {
      throw ControlCommand.usage("--yes takes in all records, --expect one: give only one of them")
    }
    if name != nil, expect == nil { throw ControlCommand.usage("--name names one box: say which with --expect ID") }
  }

  private mutating func takeExpected(_ value: [UInt8]) throws(CommandFailure) {
    guard let id = componentID(hexadecimal: value) else {
      throw ControlCommand.usage("--expect \(text(value)): an ID is 32 hexadecimal digits")
    }
    expect = id
  }

  private mutating func takeName(_ value: [UInt8]) throws(CommandFailure) {
    do throws(MembershipError) { name = try NodeName(value) } catch {
      throw ControlCommand.usage("--name \(text(value)) \(error.description)")
    }
  }

  /// What the node is told about the records from number `first` on; the directory means nothing to it.
  func wordsForNode(from first: Int) -> [[UInt8]] {
    var words = [Array("accept".utf8), Array("--from".utf8), Array(String(first).utf8)]
    if takesAll { words.append(Array("--yes".utf8)) }
    if let expect { words += [Array("--expect".utf8), Array(expect.description.utf8)] }
    if let name { words += [Array("--name".utf8), Array(name.description.utf8)] }
    if let threshold { words += [Array("--threshold".utf8), threshold] }
    return words
  }

  /// What the node is told about the key's proposal.
  var wordsForProposal: [[UInt8]] {
    var words = [Array("accept".utf8), Array("--proposal".utf8)]
    if takesAll { words.append(Array("--yes".utf8)) }
    if let expect { words += [Array("--expect".utf8), Array(expect.description.utf8)] }
    return words
  }
}

func componentID(hexadecimal digits: [UInt8]) -> ComponentID? {
  guard let id = bytes(hexadecimal: digits), id.count == 16 else { return nil }
  return ComponentID(id.withUnsafeBufferPointer { Bytes16(loadingFrom: $0.baseAddress!) })
}

/// The records on their way to the authority.
struct KeyDelivery {
  /// Records that the authority judges in one turn of its loop, some milliseconds: all 240 that a key can hold took it
  /// so long that its neighbours gave its links up.
  private static let recordsAtOnce = 32

  private let options: AcceptOptions
  private let key: KeyDirectory
  /// As they are sent, in this order.
  private var records: [KeyDirectory.Record] = []
  /// A proposal that waits for signatures, as it lies on the key.
  private var proposal: [UInt8]?

  init(_ options: AcceptOptions) throws(CommandFailure) {
    self.options = options
    key = try KeyDirectory(options.directory)
    for record in try key.readRecords() {
      if record.file.count > SealedRecord.sizeLimit {
        complain("warning: \(text(record.path)) is no record: left out")
      } else {
        records.append(record)
      }
    }
    proposal = try key.readProposalFile()
  }

  /// Asks the authority, shows its answers as one and clears the key of what its store holds. When it fails half-way, what
  /// became of the records before is told and settled all the same.
  func carry(over connection: borrowing ControlConnection, json: Bool) throws(CommandFailure) {
    if records.isEmpty, proposal == nil {
      // What this authority has proposed, and a key that lost it.
      if try !fetchKeyFiles(over: connection, admitting: []) { throw key.nothingToAccept() }
      if !json { say("The proposal of this authority is on the key; lifeline ctl proposals shows it.") }
      return
    }
    var settlement = Settlement()
    if let proposal { try agree(to: proposal, over: connection, json: json, &settlement) }
    if records.isEmpty {
      if json { settlement.print(json: true) }
      if settlement.isCouncil { _ = try fetchKeyFiles(over: connection, admitting: settlement.admitted) }
      return
    }
    var fault: CommandFailure?
    for first in stride(from: 0, to: records.count, by: KeyDelivery.recordsAtOnce) {
      let files = records[first..<min(first + KeyDelivery.recordsAtOnce, records.count)].map { $0.file }
      do throws(CommandFailure) {
        try connection.ask(
          ControlRequest(words: options.wordsForNode(from: first), attachment: RecordBundle.encode(files)))
        try settle(try connection.answer().document, &settlement)
      } catch {
        fault = error
        break
      }
    }
    if fault == nil || !settlement.rows.isEmpty { settlement.print(json: json) }
    if settlement.isCouncil { _ = try fetchKeyFiles(over: connection, admitting: settlement.admitted) }
    // Only now: what is on the key in their place is whole.
    for record in settlement.spent { key.discard(record) }
    if let fault { throw fault }
    if let failure = settlement.count.failure(options.expect, isListing: options.isListing, key) { throw failure }
    if options.isListing, !json {
      if records.count > KeyDelivery.recordsAtOnce {
        say("Addresses are those that each \(KeyDelivery.recordsAtOnce) boxes would get on their own.")
      }
      say(AcceptCount.advice)
    }
  }

  private struct Settlement {
    var documents: [[UInt8]] = []
    var rows: [JSONValue] = []
    var count = AcceptCount()
    /// Records that the authority's store has made useless.
    var spent: [KeyDirectory.Record] = []
    /// Something about authorities was decided: the key gets other files.
    var isCouncil = false
    /// Boxes that are authorities now.
    var admitted: [ComponentID] = []

    func print(json: Bool) {
      if json {
        var whole: [UInt8] = []
        for document in documents where document.count > 2 {
          whole.append(UInt8(ascii: whole.isEmpty ? "[" : ","))
          whole += document.dropFirst().dropLast()
        }
        Process.print((whole.isEmpty ? Array("[".utf8) : whole) + Array("]\n".utf8))
      } else if !rows.isEmpty {
        Process.print(JSONRendering.text(of: .array(rows)))
      }
    }
  }

  private func settle(_ document: [UInt8], _ settlement: inout Settlement) throws(CommandFailure) {
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(decoding: document) } catch {
      throw .failed("the node's answer is not JSON: lifeline ctl nodes shows whom it took in")
    }
    guard case .array(let rows) = value else { throw .failed("the node's answer is no list of records") }
    settlement.documents.append(document)
    for row in rows {
      let isOurs = options.expect == nil || holds(row["id"], options.expect?.description ?? "")
      if !isOurs { continue }
      if holds(row["verdict"], "refused") { settlement.count.refused += 1 } else { settlement.count.taken += 1 }
      if !options.isListing, case .bool(true) = row["spent"], let record = record(row["record"]) {
        settlement.spent.append(record)
      }
      if holds(row["role"], "authority"), !options.isListing {
        settlement.isCouncil = true
        if case .string(let digits) = row["id"], let id = componentID(hexadecimal: digits) {
          settlement.admitted.append(id)
        }
      }
      if case .object(let members) = row {
        // Numbers and marks for this program; a person sees names.
        settlement.rows.append(
          .object(members.filter { !$0.name.elementsEqual("record".utf8) && !$0.name.elementsEqual("spent".utf8) }))
      }
    }
  }

  /// Shows the key's proposal to the authority, or has it sign.
  private func agree(
    to proposal: [UInt8], over connection: borrowing ControlConnection, json: Bool, _ settlement: inout Settlement
  ) throws(CommandFailure) {
    try connection.ask(ControlRequest(words: options.wordsForProposal, attachment: proposal))
    let document = try connection.answer().document
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(decoding: document) } catch {
      throw .failed("the node's answer is not JSON: lifeline ctl proposals shows what it has signed")
    }
    settlement.isCouncil = !options.isListing
    if holds(value["verdict"], "in force") {
      for line in [value["added"]] {
        guard case .array(let ids) = line else { continue }
        for each in ids {
          if case .string(let digits) = each, let id = componentID(hexadecimal: digits) {
            settlement.admitted.append(id)
          }
        }
      }
    }
    if json {
      settlement.documents.append([UInt8(ascii: "[")] + document + [UInt8(ascii: "]")])
    } else {
      Process.print(JSONRendering.text(of: value))
      if options.isListing { say("Nothing was signed. Compare the fingerprint, then give --yes or --expect ID.") }
    }
  }

  /// Puts on the key what the authority says belongs there; false when that is no proposal and no admission.
  private func fetchKeyFiles(
    over connection: borrowing ControlConnection, admitting ids: [ComponentID]
  ) throws(CommandFailure) -> Bool {
    var words = [Array("keyfiles".utf8)]
    for id in ids { words.append(Array(id.description.utf8)) }
    try connection.ask(ControlRequest(words: words, attachment: []))
    let document = try connection.answer().document
    guard let files = KeyFiles(document) else { throw .failed("the node's answer holds no files for the key") }
    if ids.isEmpty, files.proposal == nil { return false }
    try key.makeDirectories()
    try key.write(network: files.network, epoch: files.epoch, of: files.networkID)
    for (id, file) in files.admissions { try key.write(admission: file, for: id) }
    if let proposal = files.proposal {
      try key.write(proposal: proposal)
    } else if let left = try key.proposal(), left.epoch <= files.epoch {
      try key.removeProposal()
    }
    return true
  }

  private func record(_ position: JSONValue?) -> KeyDirectory.Record? {
    guard case .number(let digits) = position, let place = decimal(digits[...]), place < records.count else {
      return nil
    }
    return records[place]
  }

  private func holds(_ value: JSONValue?, _ text: String) -> Bool {
    guard case .string(let bytes) = value else { return false }
    return bytes.elementsEqual(text.utf8)
  }
}

/// The answer to `keyfiles`.
private struct KeyFiles {
  let epoch: UInt32
  let networkID: NetworkID
  let network: [UInt8]
  let proposal: [UInt8]?
  var admissions: [(ComponentID, [UInt8])] = []

  init?(_ document: [UInt8]) {
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(decoding: document) } catch { return nil }
    guard case .string(let digits) = value["network"], let file = bytes(hexadecimal: digits) else { return nil }
    do throws(MembershipError) {
      let descriptor = try NetworkDescriptor(decoding: try KeyFile.unwrap(.network, file))
      epoch = descriptor.epoch
      networkID = descriptor.networkID
    } catch { return nil }
    network = file
    if case .string(let digits) = value["proposal"] { proposal = bytes(hexadecimal: digits) } else { proposal = nil }
    guard case .array(let rows) = value["admissions"] else { return nil }
    for row in rows {
      guard case .string(let name) = row["id"], let id = componentID(hexadecimal: name),
        case .string(let digits) = row["file"], let file = bytes(hexadecimal: digits)
      else { return nil }
      admissions.append((id, file))
    }
  }
}

/// What came of the records that the command was about, for `ctl accept` and `provision accept` alike.
struct AcceptCount {
  /// Taken in, members already, or in a list: those that could be.
  var taken = 0
  var refused = 0

  static let advice =
    "Nothing was taken in. Compare the fingerprints, then give --yes for all or --expect ID for one."

  /// Why the command fails: a record that was to be taken in was not, or in a list none could be.
  func failure(_ expected: ComponentID?, isListing: Bool, _ key: KeyDirectory) -> CommandFailure? {
    if let expected, taken + refused == 0 {
      return .failed(
        "no usable record of ID \(expected.description) in \(text(key.records)): accept without options lists them")
    }
    if refused == 0 || (isListing && taken > 0) { return nil }
    return .failed(
      "\(refused) of \(taken + refused) records \(isListing ? "would be" : "were") refused, as said above")
  }
}
