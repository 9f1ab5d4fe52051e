// What the kernel refused, with the call it refused.

/// A failed system call: errno as the kernel gave it, and what was being done.
public struct SystemError: Error {
  /// Positive errno.
  public let code: Int32
  /// What was being done, for a person: "open /dev/net/tun".
  public let action: String

  public init(code: Int32, action: String) {
    self.code = code
    self.action = action
  }
}
