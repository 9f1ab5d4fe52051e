// invariant() guards our own bugs, never a peer's input. A plain trap in Embedded Swift is a silent SIGILL, so the
// outermost layer installs a reporter that writes file and line before the process ends.

/// Called with file, line and what should have held; must not return. Installed once at start by the executable.
public nonisolated(unsafe) var invariantReporter: (StaticString, UInt, StaticString) -> Void = { _, _, _ in }

/// Stops the process when `condition` does not hold. Always on, in every build.
@inline(__always)
public func invariant(
  _ condition: @autoclosure () -> Bool, _ what: StaticString, file: StaticString = #fileID, line: UInt = #line
) {
  if !condition() { invariantFailed(what, file: file, line: line) }
}

@inline(never)
public func invariantFailed(_ what: StaticString, file: StaticString = #fileID, line: UInt = #line) -> Never {
  invariantReporter(file, line, what)
  fatalError()
}
