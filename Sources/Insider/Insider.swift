// A host tool for `Lab storm`: plays a member of a network on one interface, with the store that member was provisioned
// with, and, once it is authenticated, sends frames that are forged before its keys seal them.
//
//   Insider --store FILE --interface NAME --frames COUNT --seed NUMBER --address MAC
//
// It runs in the member's namespace while that member's own process does not. The last line it prints is one JSON object:
// forged (frames), seconds, joinSeconds, withSession (frames sent while it had a session and a way back), kinds (frames by
// kind), said (what the member itself reported while it forged: links lost, sessions made, by their texts).

import CLab
import Core
import Crypto
import Foundation
import InsiderKit
import Node
import Store

struct InsiderFailure: Error { let text: String }

@main struct Insider {
  static func main() {
    do {
      try run(Array(CommandLine.arguments.dropFirst()))
    } catch let failure as InsiderFailure {
      FileHandle.standardError.write(Data("insider: \(failure.text)\n".utf8))
      exit(1)
    } catch {
      FileHandle.standardError.write(Data("insider: \(error)\n".utf8))
      exit(1)
    }
  }

  private static func run(_ words: [String]) throws {
    func option(_ name: String) throws -> String {
      guard let at = words.firstIndex(of: "--\(name)"), at + 1 < words.count else {
        throw InsiderFailure(text: "--\(name) is missing")
      }
      return words[at + 1]
    }
    guard Sodium.initialize() else { throw InsiderFailure(text: "libsodium does not start") }
    guard let frames = Int(try option("frames")), let seed = UInt64(try option("seed")),
      let address = UInt64(try option("address").split(separator: ":").joined(), radix: 16)
    else { throw InsiderFailure(text: "--frames, --seed and --address are numbers") }
    guard let file = FileManager.default.contents(atPath: try option("store")) else {
      throw InsiderFailure(text: "the store cannot be read")
    }
    let loaded = try StoreFile.decode(Array(file))
    let port = try PacketPort(interface: option("interface"), address: MACAddress(address))
    var member = PlayedMember(loaded.contents, port: port, address: MACAddress(address), seed: seed)
    let joined = try member.join(within: 15)
    print(try member.storm(frames, Choices(seed: seed), joined: joined))
    member.leave()
  }
}

/// A packet socket that carries lifeline frames.
struct PacketPort {
  static let etherType: [UInt8] = [0x88, 0xb5]
  let socket: Int32
  let source: [UInt8]

  init(interface: String, address: MACAddress) throws {
    socket = lab_packet_socket(interface, 0)
    if socket < 0 { throw InsiderFailure(text: "a packet socket on \(interface): errno \(-socket)") }
    source = PacketPort.bytes(address)
    _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK)
  }

  static func bytes(_ address: MACAddress) -> [UInt8] {
    (0..<6).map { UInt8(truncatingIfNeeded: address.value >> UInt64(40 - 8 * $0)) }
  }

  /// False when the kernel's queue is full: the frame is lost, as it would be on a busy wire.
  @discardableResult
  func send(_ frame: UnsafeBufferPointer<UInt8>, to destination: MACAddress) -> Bool {
    var whole = PacketPort.bytes(destination) + source + PacketPort.etherType
    whole.append(contentsOf: frame)
    for _ in 0..<50 {
      if Foundation.send(socket, whole, whole.count, 0) >= 0 { return true }
      if errno != EAGAIN && errno != ENOBUFS { return false }
      usleep(100)
    }
    return false
  }

  /// The next lifeline frame that another sent, if there is one: whole, with its Ethernet header.
  func receive(_ room: UnsafeMutableRawBufferPointer) -> Int? {
    while true {
      let count = recv(socket, room.baseAddress, room.count, 0)
      if count < 0 { return nil }
      if count > 14, room[12] == 0x88, room[13] == 0xb5, !(0..<6).allSatisfy({ room[6 + $0] == source[$0] }) {
        return count
      }
    }
  }
}

struct PlayedMember: ~Copyable {
  private var node: Node
  private let pool = PacketPool(slabSize: 12_288, slabCount: 512)
  private let port: PacketPort
  private var forger = Forger()
  /// What the node reported, by text.
  private var said: [String: Int] = [:]
  private let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
  private static let number = PortNumber(1)

  init(_ contents: StoreContents, port: PacketPort, address: MACAddress, seed: UInt64) {
    self.port = port
    var secret = Bytes32()
    // Fresh in every run: a node must not repeat its nonces.
    secret.withMutableBytes { for i in 0..<32 { $0[i] = UInt8.random(in: 0 ... .max) } }
    node = Node(contents: contents, pool: pool, seed: secret, startingAt: PlayedMember.now)
    let status = PortStatus(
      name: "eth0", address: address, frameSize: 1_500, isUp: true, medium: .ethernet, riskGroup: 0)
    node.portChanged(PlayedMember.number, status, at: PlayedMember.now)
    drain()
  }

  deinit {
    forger.free()
    room.deallocate()
  }

  private static var now: Instant { Instant(nanoseconds: DispatchTime.now().uptimeNanoseconds) }

  private mutating func drain() {
    while let output = node.nextOutput() {
      switch output {
      case .transmit(let buffer, _, let destination):
        let frame = UnsafeBufferPointer(start: buffer.bytes, count: buffer.count)
        forger.remember(Array(frame))
        port.send(frame, to: destination)
        pool.give(buffer)
      case .event(_, let text):
        // "link 1 on eth0 to ...: down, silent": what stands before the colon is always the same.
        said[text.components(separatedBy: ": ").last ?? text, default: 0] += 1
      case .deliver, .configureBearer, .persist: break
      }
    }
  }

  /// Everything that is due and everything that has come.
  private mutating func turn() {
    while let count = port.receive(room) {
      guard var buffer = pool.take() else { break }
      var source: UInt64 = 0
      for i in 6..<12 { source = source << 8 | UInt64(room[i]) }
      if count - 14 <= buffer.tailRoom, let base = room.baseAddress {
        UnsafeMutableRawPointer(buffer.bytes).copyMemory(from: base + 14, byteCount: count - 14)
        buffer.count = count - 14
        node.receive(buffer, on: PlayedMember.number, from: MACAddress(source), at: PlayedMember.now)
      } else {
        pool.give(buffer)
      }
      drain()
    }
    if let due = node.nextDeadline, due <= PlayedMember.now {
      node.timeout(at: PlayedMember.now)
      drain()
    }
  }

  private func wait() {
    var poll = pollfd(fd: port.socket, events: Int16(POLLIN), revents: 0)
    _ = Foundation.poll(&poll, 1, 1)
  }

  /// The seconds it took.
  mutating func join(within seconds: Double) throws -> Double {
    let begun = Date()
    while !InsiderKit.isReady(node) {
      if Date() > begun + seconds { throw InsiderFailure(text: "not authenticated within \(seconds) s: \(said)") }
      turn()
      wait()
    }
    return Date().timeIntervalSince(begun)
  }

  /// Between forged frames the member behaves: it says hello, acknowledges, and joins again when it lost its link.
  mutating func storm(_ frames: Int, _ choices: consuming Choices, joined: Double) throws -> String {
    var counts: [String: Int] = [:]
    var (sent, withSession) = (0, 0)
    let begun = Date()
    var patience = begun + 20
    said = [:]
    while sent < frames {
      if sent % 16 == 0 { turn() }
      guard let forged = forger.forge(&node, &choices, at: PlayedMember.now) else {
        // No link, or nothing of this kind to be had: with a link, another kind is tried at once.
        if !InsiderKit.hasLink(node) {
          wait()
          if Date() > patience {
            throw InsiderFailure(text: "the link did not come back after \(sent) frames: \(said)")
          }
        }
        turn()
        continue
      }
      patience = Date() + 20
      forged.bytes.withUnsafeBufferPointer { frame in
        if port.send(frame, to: forged.destination) {
          sent += 1
          counts[forged.kind.name, default: 0] += 1
        }
      }
      if InsiderKit.isReady(node) { withSession += 1 }
      if forged.isHarmful {
        InsiderKit.sayHello(&node, at: PlayedMember.now)
        drain()
      }
    }
    let account = Account(
      forged: sent, seconds: Date().timeIntervalSince(begun), joinSeconds: joined, withSession: withSession,
      kinds: counts, said: said)
    return String(decoding: try JSONEncoder().encode(account), as: UTF8.self)
  }

  private struct Account: Encodable {
    let forged: Int
    let seconds: Double
    let joinSeconds: Double
    let withSession: Int
    let kinds: [String: Int]
    let said: [String: Int]
  }

  mutating func leave() {
    node.shutdown(at: PlayedMember.now)
    drain()
  }
}
