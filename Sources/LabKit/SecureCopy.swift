// Copying a file with scp, the way an operator would: dropbear on the component, its host key made on the fly, OpenSSH's
// scp on the authority. The account's own home is not touched: the server sees a private one.

import Foundation

public final class SecureCopyServer {
  private let node: LabNode
  private let directory: String
  private let process: BackgroundProcess

  /// Starts a server on `address` of a node and waits until it listens.
  public init(on node: LabNode, address: String, in laboratory: Laboratory) throws {
    guard let server = programPath("dropbear"), programPath("dropbearkey") != nil else {
      throw LabError.expectation("dropbear is not installed: run board/setup demo")
    }
    self.node = node
    directory = node.directory + "/ssh"
    let home = directory + "/home"
    try FileManager.default.createDirectory(atPath: home + "/.ssh", withIntermediateDirectories: true)
    for path in [directory, home, home + "/.ssh"] { chmod(path, 0o700) }
    if access("\(directory)/client", F_OK) != 0 {
      try run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", "\(directory)/client"])
      try run(["dropbearkey", "-t", "ed25519", "-f", "\(directory)/host"])
      try FileManager.default.copyItem(atPath: "\(directory)/client.pub", toPath: "\(home)/.ssh/authorized_keys")
    }
    chmod("\(home)/.ssh/authorized_keys", 0o600)
    guard let account = getpwuid(0), let accountHome = account.pointee.pw_dir else {
      throw LabError.expectation("no account with number 0")
    }
    // `ip netns exec` has given it a mount namespace of its own, so the bind mount is seen by nobody else.
    let listen = address.contains(":") ? "[\(address)]:22" : "\(address):22"
    process = try laboratory.startBackground(
      [
        "sh", "-c", "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"", home, String(cString: accountHome), server,
        "-F", "-E",
        "-s", "-p", listen, "-r", "\(directory)/host", "-P", "\(directory)/pid",
      ], in: node.namespace, name: "\(node.name)-dropbear")
    let process = process
    let took = try wait(upTo: 5) {
      guard process.isRunning else { return true }
      return try run(["ss", "-Hltn", "sport", "=", ":22"], in: node.namespace, tolerant: true).output.contains(":22")
    }
    guard took != nil, process.isRunning else {
      throw LabError.expectation("dropbear on \(node.name) does not listen on \(listen)")
    }
  }

  /// Copies a local file to the server's node; seconds it took.
  @discardableResult
  public func copy(
    _ file: String, to address: String, as destination: String, from source: LabNode, timeout: Double = 60
  )
    throws -> Double
  {
    let begun = now()
    let host = address.contains(":") ? "[\(address)]" : address
    try source.run(
      [
        "scp", "-O", "-q", "-F", "/dev/null", "-i", "\(directory)/client", "-o", "IdentitiesOnly=yes",
        "-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", file, "root@\(host):\(destination)",
      ], timeout: timeout)
    return now() - begun
  }

  public func stop() { process.stop(patience: 0.5) }
}

extension Laboratory {
  /// A file of `mebibytes` random MiB in the laboratory's folder.
  public func makeRandomFile(_ name: String, mebibytes: Int) throws -> String {
    let path = "\(directory)/\(name)"
    try run(["dd", "if=/dev/urandom", "of=\(path)", "bs=1M", "count=\(mebibytes)", "status=none"])
    return path
  }
}

/// Whether two files hold the same bytes.
public func filesAreEqual(_ a: String, _ b: String) throws -> Bool {
  try run(["cmp", "-s", a, b], tolerant: true).succeeded
}
