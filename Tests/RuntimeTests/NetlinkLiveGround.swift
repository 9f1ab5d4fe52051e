// What tests against a live kernel stand on: a network namespace of their own, a shell in it, the clock.

import Core
import Glibc
import Testing

/// Runs `body` on a thread that lives in a fresh network namespace.
func inNamespace(_ body: @escaping @Sendable () -> Void) {
  typealias Unshare = @convention(c) (Int32) -> Int32
  final class Job: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  var thread = pthread_t()
  let job = Unmanaged.passRetained(Job(body)).toOpaque()
  let refused = pthread_create(
    &thread, nil,
    { raw in
      let job = Unmanaged<Job>.fromOpaque(raw!).takeRetainedValue()
      let unshare = unsafeBitCast(dlsym(nil, "unshare"), to: Unshare.self)
      if unshare(0x4000_0000) == 0 { job.body() } else { Issue.record("unshare(CLONE_NEWNET): errno \(errno)") }
      return nil
    }, job)
  #expect(refused == 0)
  pthread_join(thread, nil)
}

/// A shell command in the calling thread's namespace.
@discardableResult
func shell(_ command: String) -> Int32 {
  var child = pid_t()
  var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/sh"), strdup("-c"), strdup(command), nil]
  defer { for a in arguments { free(a) } }
  var environment: [UnsafeMutablePointer<CChar>?] = [strdup("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), nil]
  defer { for e in environment { free(e) } }
  guard posix_spawn(&child, "/bin/sh", nil, nil, &arguments, &environment) == 0 else { return -1 }
  var status: Int32 = 0
  waitpid(child, &status, 0)
  return status >> 8 & 255
}

func timeNow() -> Instant {
  var t = timespec()
  clock_gettime(CLOCK_MONOTONIC, &t)
  return Instant(nanoseconds: UInt64(t.tv_sec) * 1_000_000_000 + UInt64(t.tv_nsec))
}
