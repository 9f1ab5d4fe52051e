// The control socket's client side, for `lifeline ctl`. A node that is stopped or hangs keeps its socket: no call waits
// longer than `patience`.

import CSystem
import Core

/// A connection to a running node; calls wait.
public struct ControlClient: ~Copyable {
  /// For a connection, for the next bytes of an answer; an accepted key's store is on its medium by then.
  public static let patience = Duration.seconds(5)

  private let descriptor: Int32

  /// Connects to the node that runs with this run directory.
  public init(runDirectory: [UInt8]) throws(SystemError) {
    let path = runDirectory + Array("/control".utf8)
    guard let name = terminated(path) else { throw SystemError(code: 22, action: "connect") }
    descriptor = try SystemError.check(
      name.withUnsafeBufferPointer {
        cs_local_connect($0.baseAddress!, Int32(truncatingIfNeeded: ControlClient.patience.milliseconds))
      },
      "connect to \(String(decoding: path, as: UTF8.self))")
  }

  deinit { cs_close(descriptor) }

  /// True when the request is one the server would read at all.
  public static func fits(_ request: ControlRequest) -> Bool {
    var size = 6 + request.attachment.count
    for word in request.words {
      if word.count > Int(UInt16.max) { return false }
      size += 2 + word.count
    }
    return request.words.count <= ControlProtocol.wordLimit && size <= ControlProtocol.requestLimit
  }

  public func send(_ request: ControlRequest) throws(SystemError) {
    let bytes = ControlProtocol.encode(request)
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes { cs_send(descriptor, $0.baseAddress! + sent, $0.count - sent) }
      if count < 0 { throw SystemError(code: Int32(-count), action: "send the request") }
      sent += Int(count)
    }
  }

  /// From now on an answer may take as long as it likes: events that are followed.
  public func waitForEver() { _ = cs_local_patience(descriptor, 0) }

  /// What a call throws when the node took too long.
  public static func isImpatience(_ error: SystemError) -> Bool { error.code == SystemCode.again }

  public enum Answer {
    case document([UInt8])
    /// A document that others will follow.
    case part([UInt8])
    case failure([UInt8])
  }

  /// The next answer, or nil when the node has closed the connection.
  public func receive() throws(SystemError) -> Answer? {
    guard let header = try read(ControlProtocol.answerHeaderSize) else { return nil }
    let length = Int(header[1]) << 24 | Int(header[2]) << 16 | Int(header[3]) << 8 | Int(header[4])
    guard let status = ControlProtocol.Status(rawValue: header[0]), length <= ControlProtocol.answerLimit else {
      throw SystemError(code: 71, action: "read the answer")  // EPROTO
    }
    guard let bytes = try read(length) else { return nil }
    switch status {
    case .document: return .document(bytes)
    case .part: return .part(bytes)
    case .failure: return .failure(bytes)
    }
  }

  private func read(_ length: Int) throws(SystemError) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: length)
    var have = 0
    while have < length {
      let count = bytes.withUnsafeMutableBytes { cs_receive(descriptor, $0.baseAddress! + have, length - have) }
      if count < 0 { throw SystemError(code: Int32(-count), action: "read the answer") }
      if count == 0 { return nil }
      have += Int(count)
    }
    return bytes
  }
}
