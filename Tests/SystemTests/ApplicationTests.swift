// Real applications over the channel.

import Foundation
import LabKit
import Testing

extension SystemTests {
  @Suite struct Applications {
    @Test func `scp of 64 MiB over four hops arrives intact`() throws {
      try withRunningNetwork(.chain(5)) { laboratory, trial in
        let far = laboratory.nodes[4]
        let (four, _) = try trial.pair(of: far)
        let server = try SecureCopyServer(on: far, address: four.text, in: laboratory)
        let file = try laboratory.makeRandomFile("file", mebibytes: 64)
        let copy = far.directory + "/copy"
        let took = try server.copy(file, to: four.text, as: copy, from: laboratory.authority, timeout: 120)
        #expect(try filesAreEqual(file, copy))
        print("scp of 64 MiB over 4 hops: \(took) s")
      }
    }

    @Test func `memory of a component stays flat under traffic`() throws {
      try withRunningNetwork(.chain(3)) { laboratory, trial in
        let far = laboratory.nodes[2]
        let (four, _) = try trial.pair(of: far)
        func load(_ seconds: Double) throws {
          let stream = try GapStream(from: laboratory.authority.namespace, to: four, in: far.namespace, size: 1000)
          do { try pause(seconds) } catch {
            _ = stream.finish()
            throw error
          }
          let result = stream.finish()
          #expect(result.received > 0 && Double(result.lost) < 0.01 * Double(result.sent), "\(result)")
        }
        try load(3)
        let before = try #require(laboratory.nodes[1].figures).residentKiB
        try load(5)
        let after = try #require(laboratory.nodes[1].figures).residentKiB
        #expect(after - before <= 256, "the relay grew from \(before) to \(after) KiB")
        // The soak's other half: one that is killed comes back, and the relay, which is not, has grown no more for it.
        try trial.restartComponent(far)
        try load(1)
        let last = try #require(laboratory.nodes[1].figures).residentKiB
        #expect(last - before <= 256, "the relay grew from \(before) to \(last) KiB over a restart")
      }
    }
  }
}
