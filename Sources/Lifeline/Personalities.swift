// `lifeline ma` and `lifeline cm`: everything between the command line and the loop, in the order in which it can fail
// with the least left behind.

import Core
import Crypto
import Membership
import Node
import Runtime
import Store
import Wire

func personalityMain(_ role: NodeRole, _ words: [[UInt8]]) -> Int32 {
  let program = role == .authority ? "ma" : "cm"
  if asksForHelp(words) {
    say(role == .authority ? Usage.ma : Usage.cm)
    return 0
  }
  do throws(CommandFailure) {
    let options = try PersonalityOptions(program, words)
    guard Sodium.initialize() else { throw .failed("libsodium cannot be initialized on this machine") }
    // Looked at first without its lock, so that a second instance hears of the first and not of its lock.
    try checkStore(options.store, role)
    if let missing = Privileges.missing() {
      throw .failed("\(missing) is missing: run as root, or give the program these capabilities")
    }
    let runDirectory = try openRunDirectory(options.run)
    let store = StoreKeeper(try StoreOnDisk(options.store, whenLocked: "stop it, or give another --store"))
    try runPersonality(role, options, store, controlPath: runDirectory.controlPath)
    return 0
  } catch {
    complain(error.message)
    return error.code
  }
}

/// The store for as long as the process runs: the lock on it keeps `lifeline provision` out.
final class StoreKeeper {
  private var store: StoreOnDisk
  let contents: StoreContents

  init(_ store: consuming StoreOnDisk) {
    contents = store.loaded
    self.store = store
  }

  /// Writes encoded contents; nil, or why not.
  func write(_ encoded: [UInt8]) -> String? {
    do throws(CommandFailure) { try store.write(encoded: encoded) } catch { return error.message }
    return nil
  }
}

private func openRunDirectory(_ path: [UInt8]) throws(CommandFailure) -> RunDirectory {
  do throws(RunDirectoryError) { return try RunDirectory(path) } catch {
    switch error {
    case .held(let process):
      let who = process > 0 ? " (pid \(process))" : ""
      throw .failed("another lifeline runs here\(who): stop it or choose another --run")
    case .system(let error):
      throw .failed("cannot \(error.reason): make its parent directory writable or choose another --run")
    }
  }
}

private func checkStore(_ path: [UInt8], _ role: NodeRole) throws(CommandFailure) {
  guard case .found(let store) = try StoreState(of: path) else { throw missingStore(path) }
  if store.contents.role == role { return }
  let (owner, program) = role == .authority ? ("a component", "cm") : ("an authority", "ma")
  throw .store("\(text(path)) is the store of \(owner): run lifeline \(program), or give another --store")
}

/// Makes the devices and the node, and turns the loop until a signal ends it.
private func runPersonality(
  _ role: NodeRole, _ options: PersonalityOptions, _ store: StoreKeeper, controlPath: [UInt8]
) throws(CommandFailure) {
  let log = EventLog(level: options.log)
  let settings = store.contents.settings
  // 768 × 12 KiB reserved; resident are the slabs that were ever in use.
  let pool = PacketPool(slabSize: 12288, slabCount: 768)
  for setting in settings.entries where SettingKey(setting.key) == nil {
    log.record(.warning, "the store has the setting \(text(setting.key)); this build does not act on it")
  }
  if role == .component, settings.size > StoreLayout.settingsRoom {
    log.record(
      .warning,
      "the store's settings take \(settings.size) bytes, and \(StoreLayout.settingsRoom) are theirs: a network of many "
        + "authorities would find no room; unset some")
  }
  Privileges.settle(log)
  let policy = PortPolicy(
    named: options.interfaces.isEmpty ? settings.list(.interface) : options.interfaces,
    keepDown: settings.list(.keepDown), bearerName: options.bearer)
  do throws(SystemError) {
    let monitor = try PortMonitor(policy: policy)
    let bearer = try BearerDevice(name: options.bearer, protect: settings.isOn(.protect, default: true))
    let tunnels = TunnelConfiguration(options, store.contents, log)
    let table = tunnels.isEmpty ? nil : TunnelTable(tunnels, pool: pool)
    Privileges.drop(log)
    log.begin()
    defer { log.end() }
    let node = try makeNode(role, store.contents, pool)
    var loop = Loop(
      node: node, pool: pool, monitor: monitor, bearer: bearer, tunnels: table, log: log,
      options: LoopOptions(handlesSignals: true, controlPath: controlPath), persist: { store.write($0) })
    do throws(SystemError) { try loop.start() } catch {
      loop.shutdown()
      throw error
    }
    loop.run()
  } catch { throw .failed(systemMessage(error)) }
}

extension TunnelConfiguration {
  /// The options go before the store's settings, whose form was checked when they were set: what a later version wrote
  /// and this one cannot read is reported, and done without.
  @inline(never)
  init(_ options: PersonalityOptions, _ contents: StoreContents, _ log: EventLog) {
    self.init()
    peers = options.tunnels
    listener = options.listener
    do throws(TunnelFault) {
      if peers.isEmpty, let list = contents.settings.value(.tunnel) { peers = try TunnelPeer.list(list) }
      if listener == nil, let value = contents.settings.value(.tunnelListen) { listener = try TunnelListener(value) }
    } catch { log.record(.error, "the store's tunnel settings are not used: one \(error.description)") }
    let descriptor = contents.descriptor
    exclude(
      InternetEndpoint(ipv4: descriptor.prefix.address, port: 0).addressBytes, length: Int(descriptor.prefix.length))
    exclude(descriptor.networkID.ipv6Prefix + [UInt8](repeating: 0, count: 10), length: 48)
  }
}
