import Core
import Foundation
import Testing
import Wire

@testable import Runtime

private func words(_ text: String) -> [[UInt8]] { text.split(separator: " ").map { Array($0.utf8) } }

/// A client whose calls do not wait, so that loop and client take turns on one thread.
final class RawClient {
  let descriptor: Int32
  init(_ directory: [UInt8]) {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: directory + Array("/control".utf8)) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    #expect(result == 0)
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
  }
  deinit { close(descriptor) }

  func send(_ bytes: [UInt8]) {
    #expect(Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
  }

  /// Nil at the end of the connection, empty when there is nothing.
  func receive() -> [UInt8]? {
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    let count = recv(descriptor, &chunk, chunk.count, 0)
    return count == 0 || count < 0 && errno == ECONNRESET ? nil : count < 0 ? [] : Array(chunk[..<count])
  }
}

private func document(_ bytes: [UInt8]) throws -> JSONValue {
  try JSONValue(decoding: Array(bytes.dropFirst(ControlProtocol.answerHeaderSize)))
}

@Suite(.serialized, .enabled(if: isRoot))
struct ControlTests {
  private func withLoop(_ body: (inout Loop<Relay>, [UInt8]) throws -> Void) throws {
    try inDirectory { directory in
      var loop = try relayLoop([], options: LoopOptions(controlPath: directory + Array("/control".utf8)))
      try body(&loop, directory)
      loop.shutdown()
    }
  }

  @Test func `a request split anywhere is answered once it is whole, and the connection serves another`() throws {
    try withLoop { loop, directory in
      let client = RawClient(directory)
      let request = ControlProtocol.encode(ControlRequest(words: words("status"), attachment: [1, 2, 3]))
      for _ in 0..<2 {
        for byte in request {
          client.send([byte])
          _ = loop.turn(waitingAtMost: .milliseconds(1))
        }
        let answer = try document(try #require(client.receive()))
        guard case .number(let count) = try #require(answer["attachment"]) else {
          throw Refused(what: "json", errno: 0)
        }
        #expect(count == [51])
      }
    }
  }

  @Test func `a failure and an unknown command come back as one line`() throws {
    try withLoop { loop, directory in
      let client = RawClient(directory)
      client.send(ControlProtocol.encode(ControlRequest(words: words("frobnicate"), attachment: [])))
      for _ in 0..<3 { _ = loop.turn(waitingAtMost: .milliseconds(1)) }
      let answer = try #require(client.receive())
      #expect(answer[0] == ControlProtocol.Status.failure.rawValue)
      #expect(Array(answer[5...]) == Array("unknown command".utf8))
    }
  }

  @Test func `a request over the limit, of no words, or with bytes after it closes the connection`() throws {
    let whole = ControlProtocol.encode(ControlRequest(words: words("status"), attachment: []))
    let bad: [[UInt8]] = [
      [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 6, 0, 0, 0, 0, 0, 0], whole + [0],
      [0, 0, 0, 8, 0, 1, 0xff, 0xff, 0, 0, 0, 0],
    ]
    try withLoop { loop, directory in
      for request in bad {
        let client = RawClient(directory)
        client.send(request)
        for _ in 0..<3 { _ = loop.turn(waitingAtMost: .milliseconds(1)) }
        #expect(client.receive() == nil)
      }
      #expect(loop.control?.badRequests == UInt64(bad.count))
    }
  }

  @Test func `an answer larger than the socket's buffer is sent as the client reads it, and the loop never waits`()
    throws
  {
    try withLoop { loop, directory in
      let client = RawClient(directory)
      client.send(ControlProtocol.encode(ControlRequest(words: words("big"), attachment: [])))
      for _ in 0..<3 { _ = loop.turn(waitingAtMost: .milliseconds(1)) }
      var all: [UInt8] = []
      for _ in 0..<1000 {
        guard let bytes = client.receive() else { break }
        all += bytes
        if all.count > 5, all.count == 5 + all[1..<5].reduce(0, { $0 << 8 | Int($1) }) { break }
        _ = loop.turn(waitingAtMost: .milliseconds(1))
      }
      guard case .array(let elements) = try document(all) else { throw Refused(what: "json", errno: 0) }
      #expect(elements.count == 100_000)
    }
  }

  @Test func `the ninth client is told so and the others stay`() throws {
    try withLoop { loop, directory in
      let clients = (0..<ControlServer.clientLimit).map { _ in RawClient(directory) }
      _ = loop.turn(waitingAtMost: .milliseconds(1))
      let late = RawClient(directory)
      _ = loop.turn(waitingAtMost: .milliseconds(1))
      #expect(late.receive()?.first == ControlProtocol.Status.failure.rawValue)
      clients[7].send(ControlProtocol.encode(ControlRequest(words: words("status"), attachment: [])))
      for _ in 0..<2 { _ = loop.turn(waitingAtMost: .milliseconds(1)) }
      #expect(clients[7].receive()?.first == ControlProtocol.Status.document.rawValue)
    }
  }

  @Test func `a client that sends half a request is given up after its patience`() throws {
    try withLoop { loop, directory in
      let client = RawClient(directory)
      client.send([0, 0])
      _ = loop.turn(waitingAtMost: .milliseconds(1))
      let now = Process.now
      #expect(loop.control?.nextDeadline ?? .never <= now + ControlServer.patience)
      loop.control?.timeout(at: now + ControlServer.patience)
      #expect(client.receive() == nil)
      #expect(loop.control?.nextDeadline == nil)
    }
  }

  @Test func `a follower gets the events there are and those to come, and is told what it missed`() throws {
    try withLoop { loop, directory in
      loop.log.record(.notice, "first")
      let client = RawClient(directory)
      client.send(ControlProtocol.encode(ControlRequest(words: words("events --follow"), attachment: [])))
      for _ in 0..<3 { _ = loop.turn(waitingAtMost: .milliseconds(1)) }
      let first = try #require(client.receive())
      #expect(first[0] == ControlProtocol.Status.part.rawValue)
      #expect(String(decoding: first, as: UTF8.self).contains("first"))
      // More than the ring holds while the client reads nothing: the loop keeps only what fits.
      for i in 0..<1000 { loop.log.record(.notice, "event \(i)") }
      var all = ""
      for _ in 0..<40 {
        _ = loop.turn(waitingAtMost: .milliseconds(1))
        all += String(decoding: client.receive() ?? [], as: UTF8.self)
      }
      #expect(all.contains("events were lost"))
      #expect(all.contains("event 999"))
      #expect(!all.contains("event 10\""))
    }
  }

  @Test func `counters hold the node's, the loop's and the ports'`() throws {
    try withLoop { loop, directory in
      let client = RawClient(directory)
      client.send(ControlProtocol.encode(ControlRequest(words: words("counters"), attachment: [])))
      for _ in 0..<2 { _ = loop.turn(waitingAtMost: .milliseconds(1)) }
      let answer = try document(try #require(client.receive()))
      #expect(answer["loop"]?["turns"] != nil)
      #expect(answer["ports"] != nil)
    }
  }

  @Test func `random bytes on the control socket are refused and nothing else happens`() throws {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      let bytes = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      do throws(WireError) {
        let request = try ControlProtocol.decode(bytes.span)
        // What is accepted is what encoding it gives again.
        #expect(Array(ControlProtocol.encode(request)[4...]) == bytes)
      } catch { continue }
    }
  }

  @Test func `a second instance on one run directory is refused with the first one's process number`() throws {
    try inDirectory { directory in
      let path = directory + Array("/run".utf8)
      func tryAgain() -> RunDirectoryError? {
        do throws(RunDirectoryError) {
          _ = try RunDirectory(path)
          return nil
        } catch { return error }
      }
      do {
        let first = try RunDirectory(path)
        guard case .held(let process)? = tryAgain() else { throw Refused(what: "a second instance ran", errno: 0) }
        #expect(process == getpid())
        #expect(first.path == path)
      }
      #expect(tryAgain() == nil)
      let left = try FileManager.default.contentsOfDirectory(atPath: String(decoding: path, as: UTF8.self))
      #expect(left.isEmpty)
    }
  }
}
