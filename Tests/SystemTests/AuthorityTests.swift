// Several MAs of the shipped binary: they join by a key and by `ctl`, agree by signatures, and one's death is not felt
// on another's channel.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Authorities {
    private struct Seen: Decodable {
      struct Authority: Decodable {
        var name: String
        var index: Int
        var ipv4: String
        var reached: Bool
        var preferred: Bool?
      }
      var epoch: Int
      var authorities: [Authority]
    }

    private func seen(_ node: LabNode) throws -> Seen {
      try JSONDecoder().decode(Seen.self, from: Data(node.control(["status"], json: true).output.utf8))
    }

    private func isServed(by authority: LabNode, _ laboratory: Laboratory, but missing: [LabNode] = []) throws -> Bool {
      // One that has just been started has no socket yet.
      guard let nodes = try? authority.knownNodes() else { return false }
      let known = nodes.filter { $0.state == "authenticated" }.map(\.name)
      let wanted = laboratory.nodes.filter { node in !missing.contains { $0 === node } }.map(\.name)
      return Set(wanted).isSubset(of: known)
    }

    private func provision(_ laboratory: Laboratory, _ node: LabNode, _ words: [String], tolerant: Bool = false) throws
      -> CommandResult
    {
      try laboratory.provision(node, [words[0], "--usb", laboratory.usb] + words.dropFirst(), tolerant: tolerant)
    }

    /// A ring of MAs at these nodes and components between them; all but the first MA only have their places.
    private func withCouncil(_ count: Int, _ authorities: [Int], _ body: (Laboratory) throws -> Void) throws {
      var options = LaboratoryOptions()
      options.authorities = authorities
      try withLaboratory(.ring(count), options: options, body)
    }

    private func enrollAuthority(_ laboratory: Laboratory, _ node: LabNode) throws {
      _ = try provision(laboratory, node, ["enroll", "--name", node.name, "--as", "authority"])
    }

    @Test func `a second MA joins a running network, and the first one's death takes nothing from it`() throws {
      try withCouncil(5, [0, 2]) { laboratory in
        let (first, second) = (laboratory.nodes[0], laboratory.nodes[2])
        for node in laboratory.nodes where node !== second { try node.start() }
        _ = try laboratory.waitUntilAuthenticated(timeout: 10)
        let pids = try laboratory.components.map {
          try String(contentsOfFile: $0.runDirectory + "/pid", encoding: .utf8)
        }
        try enrollAuthority(laboratory, second)
        let listed = try first.control(["accept", laboratory.usb])
        #expect(listed.output.contains("authority") && listed.output.contains("waiting"), "\(listed)")
        let accepted = try first.control(["accept", laboratory.usb, "--yes"])
        #expect(accepted.output.contains("accepted"), "\(accepted)")
        // The components follow without a restart, faster than one can look.
        let spread = try wait(upTo: 2, every: 0.02) { try laboratory.components.allSatisfy { try seen($0).epoch == 2 } }
        #expect(spread != nil)
        print("new descriptor at all components after \(spread ?? 99) s")

        // The key has what the new one needs; it is not more than one box's.
        #expect(try laboratory.onKey("authorities").count == 1 && laboratory.onKey("records").isEmpty)
        let completed = try provision(laboratory, second, ["enroll"])
        #expect(completed.output.contains("authority number 1, epoch 2"), "\(completed)")
        #expect(try laboratory.onKey("authorities").isEmpty)
        try second.start()
        let took = try wait(upTo: 10, every: 0.05) {
          try isServed(by: second, laboratory) && isServed(by: first, laboratory)
        }
        #expect(took != nil, "\(second.logTail(20))")
        print("both MAs serve all after \(took ?? 99) s")
        for node in laboratory.components {
          let known = try seen(node)
          #expect(
            known.authorities.map(\.name) == ["ma", "ma2"] && known.authorities.allSatisfy(\.reached), "\(known)")
          #expect(known.authorities.map(\.preferred) == [true, false])
        }
        #expect(
          try pids
            == laboratory.components.map { try String(contentsOfFile: $0.runDirectory + "/pid", encoding: .utf8) })

        // One is killed: a stream on the other's channel loses nothing.
        let far = laboratory.nodes[3]
        let four = try #require(try second.knownNodes().first { $0.name == far.name }?.ipv4.flatMap(IPAddress.init))
        let stream = try GapStream(from: second.namespace, to: four, in: far.namespace)
        try pause(0.5)
        first.crash()
        try pause(1.5)
        let result = stream.finish()
        print("stream on ma2's channel, ma killed: \(result.lost) of \(result.sent) lost, gap \(result.longestGap) ms")
        #expect(result.received > 1_000 && result.lost == 0, "\(result)")
        let preferred = try wait(upTo: 1) { try seen(far).authorities.map(\.preferred) == [false, true] }
        #expect(preferred != nil)
      }
    }

    /// The paper's worst case: whoever knew the boxes is gone.
    @Test func `the only MA dies, and one that was configured and never ran reaches 24 components within 2 s`() throws {
      var options = LaboratoryOptions()
      options.authorities = [0, 25]
      try withLaboratory(.grid(13, 2), options: options) { laboratory in
        let (first, second) = (laboratory.nodes[0], laboratory.nodes[25])
        try enrollAuthority(laboratory, second)
        _ = try provision(laboratory, first, ["accept", "--yes"])
        _ = try provision(laboratory, second, ["enroll"])
        for node in laboratory.nodes where node !== second { try node.start() }
        _ = try laboratory.waitUntilAuthenticated(timeout: 10)
        first.crash()
        try pause(0.5)
        try second.start()
        let took = try wait(upTo: 10, every: 0.02) { try isServed(by: second, laboratory, but: [first]) }
        print("24 components authenticated by the new MA after \(took ?? 99) s")
        #expect(took ?? 99 < 2)
        let addresses = try second.knownNodes().filter { $0.role == "component" }.compactMap(\.ipv4).compactMap(
          IPAddress.init)
        let answered = try Prober(in: second.namespace).probe(addresses, timeout: 2, since: second.startedAt)
        #expect(addresses.count == 24 && addresses.allSatisfy { answered[$0] != nil })
      }
    }

    @Test func `a third MA needs two signatures, carried by the key; a wrong or late one changes nothing`() throws {
      try withCouncil(4, [0, 1, 2]) { laboratory in
        let (first, second, third) = (laboratory.nodes[0], laboratory.nodes[1], laboratory.nodes[2])
        try enrollAuthority(laboratory, second)
        let alone = try provision(laboratory, first, ["accept", "--yes"])
        #expect(alone.output.contains("accepted as ma2"), "\(alone)")
        _ = try provision(laboratory, second, ["enroll"])

        try enrollAuthority(laboratory, third)
        let proposed = try provision(laboratory, first, ["accept", "--yes"])
        #expect(
          proposed.output.contains("proposed as an authority") && proposed.output.contains("1 of 2"), "\(proposed)")
        // A key that lost the proposal gets it again.
        let file = laboratory.usb + "/lifeline/proposal.llp"
        let proposal = try Data(contentsOf: URL(fileURLWithPath: file))
        try FileManager.default.removeItem(atPath: file)
        _ = try provision(laboratory, first, ["accept"])
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == proposal)
        // Another order of the same epoch is refused by who has signed.
        let other = try provision(laboratory, first, ["descriptor", "--remove", "ma2"], tolerant: true)
        #expect(other.status == 1 && other.errorOutput.contains("signs one only"), "\(other)")

        // Damaged on the way: said, and nothing happens.
        var damaged = proposal
        damaged[60] ^= 1
        try damaged.write(to: URL(fileURLWithPath: file))
        let before = try Data(contentsOf: URL(fileURLWithPath: second.store))
        let refused = try provision(laboratory, second, ["accept", "--yes"], tolerant: true)
        #expect(refused.status == 1 && refused.errorOutput.contains("is unusable"), "\(refused)")
        #expect(refused.errorOutput.split(separator: "\n").count == 1)
        #expect(try Data(contentsOf: URL(fileURLWithPath: second.store)) == before)
        try proposal.write(to: URL(fileURLWithPath: file))

        let shown = try provision(laboratory, second, ["accept"])
        for part in ["adds authority ma3", "signed by ma;", "fingerprint", "Nothing was signed"] {
          #expect(shown.output.contains(part), "\(shown)")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: second.store)) == before)
        let signed = try provision(laboratory, second, ["accept", "--yes"])
        #expect(signed.output.contains("epoch 3 of lab.example is in force"), "\(signed)")
        #expect(!FileManager.default.fileExists(atPath: file))
        let completed = try provision(laboratory, third, ["enroll"])
        #expect(completed.output.contains("authority number 2, epoch 3"), "\(completed)")
        // The first one has its own copy still, and hears of epoch 3 on the wire; the proposal comes too late there.
        try proposal.write(to: URL(fileURLWithPath: file))
        let late = try provision(laboratory, second, ["accept", "--yes"], tolerant: true)
        #expect(late.status == 1 && late.errorOutput.contains("is for epoch 3, and the network is at 3"), "\(late)")

        for node in laboratory.nodes { try node.start() }
        let took = try wait(upTo: 10, every: 0.05) {
          try [first, second, third].allSatisfy { try isServed(by: $0, laboratory) }
        }
        #expect(took != nil, "\(third.logTail(20))")
        #expect(try laboratory.nodes.allSatisfy { try seen($0).epoch == 3 })

        // Running ones agree over the wire.
        let order = try first.control(["remove", "ma2"])
        #expect(order.output.contains("waits for signatures"), "\(order)")
        struct Waiting: Decodable { var id: String }
        var waiting: [Waiting] = []
        _ = try wait(upTo: 2) {
          waiting = try JSONDecoder().decode(
            [Waiting].self, from: Data(third.control(["proposals"], json: true).output.utf8))
          return waiting.count == 1
        }
        let agreed = try third.control(["sign", try #require(waiting.first?.id)])
        #expect(agreed.output.contains("in force"), "\(agreed)")
        let gone = try wait(upTo: 3) {
          try [first, third].allSatisfy { try seen($0).epoch == 4 && isServed(by: $0, laboratory, but: [second]) }
        }
        #expect(gone != nil)
      }
    }

    @Test(arguments: [
      ["descriptor"], ["descriptor", "--usb", "/"], ["descriptor", "--usb", "/", "--remove", "a", "--revoke", "b"],
      ["accept", "--usb", "/", "--threshold", "17"], ["descriptor", "--usb", "/", "--threshold", "0"],
    ])
    func `a mistyped order about authorities exits 2 with one line`(words: [String]) throws {
      let result = try run([shippedBinary, "provision"] + words, timeout: 5, tolerant: true)
      #expect(result.status == 2 && result.errorOutput.split(separator: "\n").count == 1, "\(result)")
    }
  }
}
